"""A Spark Structured Streaming job: findings of the Parquet files that appear in a folder, with checkpoints.

    spark-submit docs/stream.py FOLDER FINDINGS CHECKPOINT [--site site.toml] [--once]

FINDINGS becomes a folder of text files, one finding a line (`imdswatch/1`). `--once` reads what is there and ends; a
scheduler may run it so, for the checkpoint remembers what was done. Needs classic Spark 4 and imdswatch on its workers.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import SparkSession

from imdswatch.finding import Finding, Skipped
from imdswatch.report.ndjson import finding_document, skipped_document
from imdswatch.rule import load_rules
from imdswatch.scan.streaming import findings_of
from imdswatch.scan.work import Options
from imdswatch.schema import load_schemas
from imdswatch.site import Site, load_site

TODAY = datetime.now(UTC).date()


def line(result: Finding | Skipped) -> str:
    """Return a result as a line of `imdswatch/1`."""
    document = finding_document(result) if isinstance(result, Finding) else skipped_document(result)
    return json.dumps(document)


parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("folder")
parser.add_argument("findings")
parser.add_argument("checkpoint")
parser.add_argument("--site", type=Path)
parser.add_argument("--once", action="store_true", help="read what is there, and end")
arguments = parser.parse_args()

rules = load_rules()
site = load_site(arguments.site, [rule.slug for rule in rules], TODAY) if arguments.site else Site()
session = SparkSession.builder.appName("imdswatch-stream").getOrCreate()
shape = session.read.parquet(arguments.folder).schema
rows = session.readStream.schema(shape).parquet(arguments.folder)
found = findings_of(rows, Options(rules=rules, site=site, schemas=load_schemas(), each=True), line)
writer = found.writeStream.format("text").option("checkpointLocation", arguments.checkpoint)
if arguments.once:
    writer = writer.trigger(availableNow=True)
writer.start(arguments.findings).awaitTermination()
