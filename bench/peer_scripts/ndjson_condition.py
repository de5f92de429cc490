"""Count the records of NDJSON for which the condition of imdswatch's own plan holds, by DuckDB on one thread."""

import sys

import duckdb

from imdswatch.read.streams import Table
from imdswatch.rule import load_rules
from imdswatch.scan.asks import AllOf
from imdswatch.scan.duck import Engine
from imdswatch.scan.judging import Window
from imdswatch.scan.sql import DUCKDB, condition
from imdswatch.scan.tableplan import plan
from imdswatch.schema import load_schemas

lines, table = sys.argv[1:]
with open(table, "rb") as handle:
    columns = Engine().open(Table("table", "parquet", handle.fileno(), 0, None), {}).columns
rules = [(r.slug, r.condition) for r in load_rules() if not r.correlation and not r.placeholders]
made = plan(rules, load_schemas().values(), columns, Window(), True)
asked = condition(AllOf((made.likely, made.wanted)), DUCKDB)
with duckdb.connect(config={"threads": 1}) as connection:
    types = connection.sql(f"SELECT * FROM '{table}' LIMIT 0")
    columns = {name for name in types.columns if f'"{name}"' in asked}
    pairs = [
        f"'{name}': '{kind}'"
        for name, kind in zip(types.columns, types.types, strict=True)
        if name in columns
    ]
    source = f"read_ndjson(?, columns = {{{', '.join(pairs)}}})"
    query = f"SELECT count(*) FROM {source} WHERE {asked}"
    row = connection.execute(query, [lines]).fetchone()
    print(row[0] if row else 0)
