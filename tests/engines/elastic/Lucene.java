// Real Lucene as the judge of what stands in for Elasticsearch: finds documents by queries, and matches expressions.
// Run as a single source file with Lucene's jars (Debian liblucene8-java) on the class path; speaks lines on standard input:
//   T field type            a field: ip, long, keyword (also wildcard)
//   D number field value …  a document (fields and values in turn, a field may come again)
//   Q prefix tokens         a query: AND n …, OR n …, NOT …, EXISTS f, TERM f v, WILD f v, RANGE f op v
//   R expression text       does the regular expression match the whole text
// All parts of a line are separated by tabs. Answers: one line a Q (numbers) or R (true, false, or error).
import java.io.*;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.lucene.analysis.core.KeywordAnalyzer;
import org.apache.lucene.document.*;
import org.apache.lucene.index.*;
import org.apache.lucene.search.*;
import org.apache.lucene.store.ByteBuffersDirectory;
import org.apache.lucene.util.BytesRef;
import org.apache.lucene.util.automaton.*;

public class Lucene {
  static final Map<String, String> types = new HashMap<>();

  public static void main(String[] arguments) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, false, "UTF-8");
    ByteBuffersDirectory directory = new ByteBuffersDirectory();
    IndexWriter writer = new IndexWriter(directory, new IndexWriterConfig(new KeywordAnalyzer()));
    IndexSearcher searcher = null;
    for (String line; (line = in.readLine()) != null; ) {
      String[] part = line.split("\t", -1);
      switch (part[0]) {
        case "T": types.put(part[1], part[2]); break;
        case "D": writer.addDocument(document(part)); break;
        case "Q":
          if (searcher == null) { writer.commit(); searcher = new IndexSearcher(DirectoryReader.open(directory)); }
          Deque<String> tokens = new ArrayDeque<>(Arrays.asList(part).subList(1, part.length));
          StringBuilder found = new StringBuilder();
          for (ScoreDoc hit : searcher.search(query(tokens), 100000).scoreDocs)
            found.append(searcher.doc(hit.doc).get("number")).append(' ');
          out.println(found.toString().trim());
          break;
        case "R":
          try {
            Automaton made = new RegExp(part[1]).toAutomaton(1000000);
            out.println(new CharacterRunAutomaton(made, 1000000).run(part[2]));
          } catch (IllegalArgumentException | TooComplexToDeterminizeException error) {
            out.println("error");
          }
          break;
      }
    }
    out.flush();
  }

  static Document document(String[] part) throws Exception {
    Document out = new Document();
    out.add(new StoredField("number", part[1]));
    Set<String> there = new HashSet<>();
    for (int at = 2; at + 1 < part.length; at += 2) {
      String field = part[at], value = part[at + 1];
      there.add(field);
      switch (types.getOrDefault(field, "keyword")) {
        case "ip": out.add(new InetAddressPoint(field, InetAddress.getByName(value))); break;
        case "long": out.add(new LongPoint(field, Long.parseLong(value))); break;
        default: out.add(new StringField(field, value, Field.Store.NO));
      }
    }
    for (String field : there) out.add(new StringField("there", field, Field.Store.NO));
    return out;
  }

  static Query query(Deque<String> tokens) throws Exception {
    String word = tokens.poll();
    BooleanQuery.Builder out = new BooleanQuery.Builder();
    switch (word) {
      case "AND": case "OR":
        for (int count = Integer.parseInt(tokens.poll()); count > 0; count--)
          out.add(query(tokens), word.equals("AND") ? BooleanClause.Occur.MUST : BooleanClause.Occur.SHOULD);
        return out.build();
      case "NOT":
        return out.add(new MatchAllDocsQuery(), BooleanClause.Occur.MUST).add(query(tokens), BooleanClause.Occur.MUST_NOT).build();
      case "EXISTS": return new TermQuery(new Term("there", tokens.poll()));
      case "WILD": return new WildcardQuery(new Term(tokens.poll(), tokens.poll()), 1000000);
      case "TERM": return term(tokens.poll(), tokens.poll());
      case "RANGE": return range(tokens.poll(), tokens.poll(), tokens.poll());
    }
    throw new IllegalArgumentException(word);
  }

  static Query term(String field, String value) throws Exception {
    switch (types.getOrDefault(field, "keyword")) {
      case "ip":
        int slash = value.indexOf('/');
        if (slash < 0) return InetAddressPoint.newExactQuery(field, InetAddress.getByName(value));
        return InetAddressPoint.newPrefixQuery(field, InetAddress.getByName(value.substring(0, slash)), Integer.parseInt(value.substring(slash + 1)));
      case "long": return LongPoint.newExactQuery(field, Long.parseLong(value));
      default: return new TermQuery(new Term(field, new BytesRef(value)));
    }
  }

  static Query range(String field, String operator, String value) {
    long bound = Long.parseLong(value);
    switch (operator) {
      case "lt": return LongPoint.newRangeQuery(field, Long.MIN_VALUE, bound - 1);
      case "lte": return LongPoint.newRangeQuery(field, Long.MIN_VALUE, bound);
      case "gt": return LongPoint.newRangeQuery(field, bound + 1, Long.MAX_VALUE);
      default: return LongPoint.newRangeQuery(field, bound, Long.MAX_VALUE);
    }
  }
}
