"""Count the rows that match the bulletin's predicate with DuckDB's Parquet reader, on one thread."""

import sys

import duckdb
from ndjson_duckdb import PREDICATE

with duckdb.connect(config={"threads": 1}) as connection:
    row = connection.execute(
        f"SELECT count(*) FROM read_parquet(?) WHERE {PREDICATE}", [sys.argv[1]]
    ).fetchone()
    print(row[0] if row else 0)
