import com.amazonaws.ClientConfiguration;
import com.amazonaws.SdkClientException;
import com.amazonaws.services.s3.AmazonS3ClientBuilder;
import com.amazonaws.util.VersionInfoUtils;

/** Makes the AWS SDK for Java 1 look for a region and credentials as a program does that says nothing of either. */
public class Ask {
    public static void main(String[] words) {
        if (words.length > 0) {
            System.out.println(VersionInfoUtils.getVersion());
            return;
        }
        ClientConfiguration quick = new ClientConfiguration().withMaxErrorRetry(0).withConnectionTimeout(1000);
        try {
            AmazonS3ClientBuilder.standard().withClientConfiguration(quick).build().listBuckets();
        } catch (SdkClientException error) {
            System.out.println(error.getMessage());
        }
    }
}
