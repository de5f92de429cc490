"""Count the rows that match the bulletin's predicate with Spark SQL, on one core."""

import sys

from pyspark.sql import SparkSession

PREDICATE = """
    `id.resp_h` IN ('169.254.169.254', 'fd00:ec2::254')
    OR host IN ('169.254.169.254', '[fd00:ec2::254]')
    OR contains(lower(uri), '/latest/meta-data')
    OR contains(lower(uri), '/latest/api/token')
    OR contains(lower(uri), '169.254.169.254')
    OR exists(client_header_names, h -> contains(lower(h), 'x-aws-ec2-metadata-token'))
"""
session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
print(session.read.parquet(sys.argv[1]).where(PREDICATE).count())
