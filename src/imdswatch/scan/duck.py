"""DuckDB reads tables: which columns there are, and which rows hold what was asked, as JSON text.

Guarantees: rows come as (number from 0, JSON of the columns asked for), lazily, in bounded memory (`MEMORY`, no file to
spill to). The engine may open the files of the one folder that is being read and nothing else: no network, no
extension is loaded or installed, and the settings are locked. Whatever it cannot read is `Unreadable` with a reason
in our own words: its own messages quote values, and a value may be a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from imdswatch.read.streams import Table
from imdswatch.scan.asks import ALWAYS, Ask
from imdswatch.scan.columns import Columns, Kind, Shape
from imdswatch.scan.sql import DUCKDB, condition

if TYPE_CHECKING:
    import duckdb

MEMORY = 1 << 30
"""Octets that DuckDB may use."""
_BATCH = 1024
_STRETCH = 1 << 22
"""Rows that are asked at once."""
_FEW, _SPARSE = 64, 4096
"""Of so many rows one may be likely for the others to be left out, and for the next stretch to be tried so."""
_VERY_FEW = 1000
"""So many rows are read and judged in the time that DuckDB takes to understand a long question."""
_ROW = "imdswatch row"
_DEEPEST = 16
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("varchar", "uuid", "enum"), "text"),
    **dict.fromkeys(("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger"), "integer"),
    **dict.fromkeys(("ubigint", "hugeint", "uhugeint", "float", "double", "decimal"), "number"),
    **dict.fromkeys(("list", "array", "map"), "many"),  # but see `_shape`
    "timestamp with time zone": "time",
    "timestamp": "local time",
    "boolean": "bool",
}  # fmt: skip
_REASONS = (
    (r"No magic bytes|footer|too small to be a Parquet", "is cut short: a Parquet table has its index at its end"),
    (r"UTF-?8|string encoding", "holds text that is not UTF-8"),
    (r"Out of Memory|failed to allocate|memory limit", f"needs more than {MEMORY >> 20} MiB of memory"),
    (r"ncrypt", "is encrypted"),
    (r"arrow_scan: get_next", "is damaged, or packed as cannot be read here: its dictionaries are compressed"),
    (r"not yet supported|not implemented|Unsupported", "holds columns or a packing that cannot be read here"),
)  # fmt: skip


class Unreadable(Exception):
    """A table, or a part of it, cannot be read; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Engine:
    """One DuckDB, kept while the tables lie in the same folder: making one takes as long as reading a small table."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._folder: str | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None

    def open(self, table: Table, partitions: dict[str, str]) -> Opened:
        """Open a table; `partitions` are columns whose values its folder names. Raises Unreadable."""
        folder = os.path.dirname(os.path.realpath(table.path))
        if self._connection is None or folder != self._folder:
            self.close()
            self._folder, self._connection = folder, _connect(folder, self._threads)
        return Opened(self._connection, table, partitions)

    def close(self) -> None:
        """Give the engine back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connect(folder: str, threads: int) -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(
        config={
            "threads": threads,
            "memory_limit": f"{MEMORY >> 20}MiB",
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "preserve_insertion_order": "false",
            "arrow_large_buffer_size": "true",
        }
    )
    for setting in (
        "TimeZone = 'UTC'",
        f"allowed_directories = [{DUCKDB.literal(folder.rstrip('/') + '/')}]",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")
    return connection


class Opened:
    """One open table."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, table: Table, partitions: dict[str, str]
    ) -> None:
        self._connection, self._table = connection, table
        self._arrow = None if table.form == "parquet" else _Arrow(table)
        with _told():
            names = self._bound(table)
            own = {name for name, _ in names}
            row = _ROW
            while row in own:
                row += "_"
            self._row = DUCKDB.name_of(row)
            added = {name: value for name, value in partitions.items() if name not in own}
            more = "".join(
                f", {DUCKDB.literal(value)} AS {DUCKDB.name_of(name)}" for name, value in added.items()
            )
            self._numbered = table.form == "parquet" and "file_row_number" not in own
            if self._numbered:
                source, number = f"{self._file(', file_row_number = true')}", "file_row_number"
                star = "* EXCLUDE (file_row_number)"
            else:
                source, number, star = self._file(""), "row_number() OVER () - 1", "*"
            self._source = f"(SELECT {star}{more}, {number} AS {self._row} FROM {source})"
            self.columns = Columns({**dict(names), **dict.fromkeys(added, Shape("text"))})
            found = connection.execute(f"SELECT count(*) FROM {self._file('')}").fetchone()
            self.rows: int = found[0] if found else 0

    def _bound(self, table: Table) -> list[tuple[str, Shape]]:
        if self._arrow is not None:
            self._connection.register("arrow", self._arrow)
        relation = self._connection.sql(f"SELECT * FROM {self._file('')} LIMIT 0")
        return [(name, _shape(kind, 0)) for name, kind in zip(relation.columns, relation.types, strict=True)]

    def _file(self, more: str) -> str:
        if self._table.form != "parquet":
            return "arrow"
        path = DUCKDB.literal(self._table.path)
        return f"read_parquet({path}, hive_partitioning = false, binary_as_string = true{more})"

    def close(self) -> None:
        """Give back what was opened for this table."""
        if self._arrow is not None:
            self._connection.unregister("arrow")
            self._arrow.close()

    def groups(self) -> list[tuple[int, int]]:
        """Return the first row of each group of rows that are stored together, and how many they are."""
        if self._table.form != "parquet":
            return [(0, self.rows)]
        path = DUCKDB.literal(self._table.path)
        query = "SELECT row_group_id, any_value(row_group_num_rows)"
        with _told():
            found = self._connection.execute(
                f"{query} FROM parquet_metadata({path}) GROUP BY row_group_id ORDER BY row_group_id"
            ).fetchall()
        out, first = [], 0
        for _, count in found:
            out.append((first, count))
            first += count
        return out

    def read(
        self,
        names: Sequence[str],
        span: tuple[int, int] | None,
        likely: Ask = ALWAYS,
        ask: Ask = ALWAYS,
        but: Ask | None = None,
    ) -> Iterator[tuple[int, str]]:
        """Yield the rows of the span (first, count) for which `likely` and `ask` hold, and `but` does not.

        Where few rows are likely, only these are read of the columns that `likely` does not ask; where they are very
        few, `ask` is left to the reader.
        """
        wanted = [name for name in names if name in self.columns.shapes] or list(self.columns.shapes)
        packed = ", ".join(f"{DUCKDB.literal(name)}: {DUCKDB.name_of(name)}" for name in wanted)
        record = f"CAST(to_json({{{packed}}}) AS VARCHAR)"
        # Asked of what the filter lets through: joined with it by AND, DuckDB might ask this first, of every row.
        asked = f"CASE WHEN {condition(ask, DUCKDB)} THEN {record} END" if ask != ALWAYS else record
        quick = condition(likely, DUCKDB) + ("" if but is None else f" AND NOT {condition(but, DUCKDB)}")
        first, count = span or (0, self.rows)
        # What is no Parquet is read from its beginning by every query.
        twice = self._numbered and quick != "true"
        stretch = _STRETCH if twice else max(count, 1)
        sparse = True  # as far as the stretch before shows
        for begin in range(first, first + count, stretch):
            here = f"{self._row} BETWEEN {begin} AND {min(begin + stretch, first + count) - 1} AND {quick}"
            value = asked
            if twice and sparse:
                most = stretch // _FEW
                found = [number for (number,) in islice(self._found(self._row, here), most + 1)]
                if not found:
                    continue
                if len(found) <= most:
                    here = f"{self._row} IN ({', '.join(map(str, found))})"
                    value = asked if len(found) > _VERY_FEW else record
            let_through = 0
            for number, text in self._found(f"{self._row}, {value}", here):
                let_through += 1
                if text is not None:
                    yield number, text
            sparse = let_through <= stretch // _SPARSE

    def _found(self, what: str, where: str) -> Iterator[Any]:
        with _told():
            cursor = self._connection.execute(f"SELECT {what} FROM {self._source} WHERE {where}")
        while True:
            with _told():
                rows = cursor.fetchmany(_BATCH)
            if not rows:
                return
            yield from rows


def _shape(kind: Any, depth: int) -> Shape:
    if str(kind) in ("JSON", "VARIANT") or depth > _DEEPEST:
        return Shape("json")
    if kind.id == "struct":
        return Shape("other", {name: _shape(inner, depth + 1) for name, inner in kind.children})
    if kind.id == "list" and kind.children[0][1].id == "varchar" and str(kind.children[0][1]) != "JSON":
        return Shape("texts")
    return Shape(_KINDS.get(kind.id, "other"))


class _Arrow:
    """An Arrow table as DuckDB takes it, by the Arrow PyCapsule interface; it is read anew for every query.

    A file holds the messages of a stream after its eight octets of mark (Arrow columnar format, IPC File Format).
    """

    def __init__(self, table: Table) -> None:
        self._path, self._skip = Path(table.path), 8 if table.form == "arrow" else 0
        self._open: list[BinaryIO] = []

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        from nanoarrow.ipc import InputStream

        handle = self._path.open("rb")
        self._open.append(handle)
        handle.seek(self._skip)
        return InputStream.from_readable(handle).__arrow_c_stream__(requested_schema)

    def close(self) -> None:
        """Close the files that were opened."""
        for handle in self._open:
            handle.close()
        self._open.clear()


@contextmanager
def _told() -> Iterator[None]:
    """Say what the engine says in our own words."""
    import duckdb

    try:
        yield
    except (duckdb.Error, RuntimeError, ValueError) as error:
        text = str(error)
        for pattern, reason in _REASONS:
            if re.search(pattern, text):
                raise Unreadable(reason) from None
        raise Unreadable("is damaged, or no table that can be read here") from None
