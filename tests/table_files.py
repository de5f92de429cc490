"""Writes records as tables: one Parquet or Arrow file of JSON objects, by DuckDB and by nanoarrow; tests share it.

Types are those that DuckDB infers of the JSON, nested as the objects are; `flattened` makes one column of each leaf.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

Json = Mapping[str, Any]


def ndjson(path: Path, records: Iterable[Json]) -> Path:
    """Write the records a line each."""
    path.write_text(
        "".join(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n" for record in records),
        encoding="utf-8",
    )
    return path


def parquet(path: Path, records: Iterable[Json], *, more: str = "", select: str = "*") -> Path:
    """Write the records as Parquet; `more` are further options of DuckDB's COPY."""
    source = ndjson(path.with_suffix(".source"), records)
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT {select} FROM read_ndjson_auto('{source}', maximum_depth=-1, sample_size=-1, "
            f"map_inference_threshold=-1)) TO '{path}' (FORMAT parquet {more})"
        )
    source.unlink()
    return path


def arrow(path: Path, records: Iterable[Json]) -> Path:
    """Write the records as an Arrow stream."""
    import nanoarrow.ipc

    source = ndjson(path.with_suffix(".source"), records)
    with duckdb.connect() as connection:
        table = connection.sql(
            f"SELECT * FROM read_ndjson_auto('{source}', maximum_depth=-1, sample_size=-1)"
        )
        with nanoarrow.ipc.StreamWriter.from_path(path) as writer:
            writer.write_stream(table)
    source.unlink()
    return path


def by_columns(records: Iterable[Json]) -> Iterator[list[Json]]:
    """Yield the records in lists that one table can hold: DuckDB knows no two columns that differ by case only."""
    groups: list[tuple[dict[str, str], list[Json]]] = []
    for record in records:
        for names, members in groups:  # noqa: B007  used after the loop
            if all(names.get(key.lower(), key) == key for key in record):
                break
        else:
            names, members = {}, []
            groups.append((names, members))
        names.update((key.lower(), key) for key in record)
        members.append(record)
    for _, members in groups:
        yield members


def flattened(record: Json, separator: str = "_", lead: str = "") -> dict[str, Any]:
    """Return a record of one level, in lower case: as warehouses keep it."""
    out: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            out.update(flattened(value, separator, lead + key + separator))
        else:
            out[(lead + key).replace(".", separator).lower()] = value
    return out
