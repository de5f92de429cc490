"""Spark Structured Streaming over tables that grow: new files of a folder become findings, with checkpoints.

The condition of the table engine is a filter of the stream, in Spark's words; what it lets through is read by the
schemas and judged where it is, in `mapInArrow`. Every event is a finding of its own (grouping would need state without
an end); its fingerprint says which belong together. Rules that need a second look are not asked. Classic Spark only:
the stream names file and row by `_metadata`, which Sail does not have. A column that Parquet marks as JSON is text to
Spark, so what stands in it is searched as text.

A checkpoint holds which files were done: a job that is started again goes on after them, and its sink writes none
twice. A row that cannot be read is a `Skipped` in the same stream.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imdswatch.finding import Finding, Skipped
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.asks import ALWAYS, AllOf, AnyOf
from imdswatch.scan.columns import Columns, Kind, Shape
from imdswatch.scan.findings import FindingMaker
from imdswatch.scan.judging import FirstLook
from imdswatch.scan.sql import SPARK, condition
from imdswatch.scan.tableplan import plan
from imdswatch.scan.tables import judge_row
from imdswatch.scan.text import Outcome
from imdswatch.scan.work import Options

if TYPE_CHECKING:
    import pyarrow
    from pyspark.sql import DataFrame

Write = Callable[[Finding | Skipped], str]
"""How a result is spelled, such as a line of `imdswatch/1`."""
_KINDS: dict[str, Kind] = {
    "string": "text",
    **dict.fromkeys(("byte", "short", "integer", "long"), "integer"),
    **dict.fromkeys(("float", "double"), "number"),
    "timestamp": "time",
    "timestamp_ntz": "local time",
    "boolean": "bool",
}


def findings_of(frame: DataFrame, options: Options, write: Write) -> DataFrame:
    """Return the findings of a stream of rows, as `write` spells them, one text column `finding`; lazy, stateless.

    `frame` must come from files, for their names and rows stand in the evidence.
    """
    columns = Columns({field["name"]: _shape(field["type"]) for field in frame.schema.jsonValue()["fields"]})
    look = FirstLook(options.rules, options.site, options.window)
    conditions = [(rule.slug, rule.condition) for rule in look.used]
    schemas = [options.schemas[options.schema]] if options.schema else list(options.schemas.values())
    made = plan(conditions, schemas, columns, options.window, True)
    wanted = condition(AllOf((made.known, made.timely, made.likely, made.wanted)), SPARK)
    # What no schema is certain of is judged as it is: a stream has no search of raw text.
    unknown = (
        "false" if made.known == ALWAYS else f"NOT coalesce({condition(AnyOf((made.known,)), SPARK)}, false)"
    )
    spec = pickle.dumps((replace(options, each=True), made.renamed))
    rows = frame.where(f"({wanted}) OR ({unknown})").selectExpr(
        "_metadata.file_path AS source", "_metadata.row_index AS number", "to_json(struct(*)) AS record"
    )

    def judge(batches: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        from imdswatch.scan import streaming

        return streaming.judged(spec, write, batches)

    return rows.mapInArrow(judge, "finding string")


def judged(
    spec: bytes, write: Write, batches: Iterable[pyarrow.RecordBatch]
) -> Iterator[pyarrow.RecordBatch]:
    """Judge batches of rows where they are; each gives a batch of findings."""
    import pyarrow

    options, renamed = pickle.loads(spec)
    look = FirstLook(options.rules, options.site, options.window)
    maker = FindingMaker(options.rules, options.site)
    reader = options.schemas.reader(default_timezone=options.timezone, only=options.schema)
    for batch in batches:
        outcome = Outcome(Incidents(each=True))
        for source, number, record in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            judge_row(record, renamed, reader, look, source, number + 1, outcome)
        found = [write(maker.make(key, incident)) for key, incident in outcome.incidents.items()]
        found += map(write, outcome.skipped)
        yield pyarrow.RecordBatch.from_pydict({"finding": pyarrow.array(found, pyarrow.string())})


def _shape(kind: Any) -> Shape:
    if isinstance(kind, str):
        # Of any other type (date, binary, interval) the text is asked, as of a truth value.
        return Shape("number") if kind.startswith("decimal") else Shape(_KINDS.get(kind, "bool"))
    if kind["type"] == "struct":
        return Shape("other", {field["name"]: _shape(field["type"]) for field in kind["fields"]})
    return Shape("texts" if kind["type"] == "array" and kind["elementType"] == "string" else "many")
