"""Runs Kusto queries on rows: `duckdb-kql` makes SQL of them, after rules its author measured on the Kusto emulator,
and DuckDB runs it.

Strings are never null in Kusto, so a column of text that a row does not have is ''. ASIM parsers and
`_GetWatchlist` are stored functions here; named arguments, which `duckdb-kql` lacks, are put into their places.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb
import duckdb_kql
from duckdb_kql import KqlError

from engines.kusto.functions import Reading, register
from engines.kusto.tables import PARSERS, WATCHLIST, columns

if importlib.util.find_spec("pandas") is None:
    # DuckDB looks for pandas at every value it takes from Python, and a search that fails is slow.
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]

ROW = "imds_row"
_SQL = {"string": "VARCHAR DEFAULT ''", "int": "INTEGER", "long": "BIGINT", "real": "DOUBLE", "bool": "BOOLEAN", "datetime": "TIMESTAMP", "dynamic": "JSON"}  # fmt: skip


class KustoError(Exception):
    """A query that does not run."""


class Kusto:
    """A workspace: tables of rows, the clock, and what is documented two ways in one reading."""

    def __init__(
        self,
        tables: Mapping[str, Iterable[Mapping[str, Any]]],
        now: float,
        watchlists: Mapping[str, Sequence[Mapping[str, str]]] | None = None,
        reading: Reading = Reading(),
    ) -> None:
        self._now = datetime.fromtimestamp(now, UTC)
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET threads = 1")
        self._schema: dict[str, list[str]] = {}
        self._functions: list[str] = []
        register(self._connection, reading)
        for table, rows in tables.items():
            self._load(table, columns(table), rows)
        for alias, items in (watchlists or {}).items():
            self._load(f"watchlist_{alias}", WATCHLIST, items)

    def _load(self, table: str, kinds: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> None:
        stored = f"{table}_rows" if table in PARSERS else table
        self._schema[stored] = [ROW, *kinds]
        names = ", ".join(f'"{name}" {_SQL[kind]}' for name, kind in kinds.items())
        self._connection.execute(f'CREATE TABLE "{stored}" ("{ROW}" BIGINT, {names})')
        for number, row in enumerate(rows):
            unknown = set(row) - set(kinds)
            assert not unknown, f"{table} has no columns {unknown}"
            here = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join("?" * (len(row) + 1))
            values = [number, *(_value(value, kinds[name]) for name, value in row.items())]
            self._connection.execute(f'INSERT INTO "{stored}" ("{ROW}", {here}) VALUES ({marks})', values)
        if table in PARSERS:
            self._functions.append(
                f"function {table}(starttime:datetime, endtime:datetime) "
                f"{{ {stored} | where TimeGenerated >= starttime and TimeGenerated <= endtime }}"
            )

    def run(self, query: str) -> list[int]:
        """Return the numbers of the rows that a query answers, ascending; raises KustoError."""
        text = re.sub(r"\((starttime)=(ago\(\w+\)), (endtime)=(now\(\))\)", r"(\2, \4)", query)
        text = re.sub(r"_GetWatchlist\('(\w+)'\)", r"watchlist_\1", text)
        try:
            sql = duckdb_kql.to_sql(text, schema=self._schema, query_now=self._now, functions=self._functions)
            found = self._connection.sql(str(sql), params=sql.parameters or None)
            if ROW not in found.columns:
                raise KustoError("the query answers no whole rows")
            return sorted({int(row[0]) for row in found.project(f'"{ROW}"').fetchall()})
        except (KqlError, duckdb.Error) as error:
            raise KustoError(f"{type(error).__name__}: {error}") from error


def _value(value: Any, kind: str) -> Any:
    if kind == "string":
        return "" if value is None else str(value)
    if kind == "datetime" and isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00")).astimezone(UTC).replace(tzinfo=None)
    return value if value not in ("", None) else None
