"""Write events of NDJSON as one Parquet table, and as one in a folder for each hour: lines, table, folder."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb

HOUR = 3600
lines, table, folder = sys.argv[1:]
with duckdb.connect(config={"threads": 1, "memory_limit": "2GB"}) as connection:
    source = "read_ndjson_auto(?, sample_size=100000)"
    connection.execute(
        f"COPY (SELECT * REPLACE (CAST(ts AS DOUBLE) AS ts) FROM {source}) TO '{table}' "
        "(FORMAT parquet, COMPRESSION zstd)",
        [lines],
    )
    low, high = connection.execute(f"SELECT min(ts), max(ts) FROM '{table}'").fetchone() or (0, 0)
    for begin in range(int(low) // HOUR * HOUR, int(high) + 1, HOUR):
        part = Path(folder) / datetime.fromtimestamp(begin, UTC).strftime("day=%Y-%m-%d/hour=%H")
        part.mkdir(parents=True, exist_ok=True)
        wanted = f"SELECT * FROM '{table}' WHERE ts >= {begin} AND ts < {begin + HOUR}"
        connection.execute(f"COPY ({wanted}) TO '{part}/part.parquet' (FORMAT parquet, COMPRESSION zstd)")
