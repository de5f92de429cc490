"""DuckDB reads tables: which columns there are, and which rows hold what was asked, as JSON text.

Guarantees: rows come as (number from 0, JSON of the columns asked for), lazily, in bounded memory (`MEMORY`, no file to
spill to). The engine may open the files of the one folder that is being read and nothing else: no network, no
extension is loaded or installed, and the settings are locked. Whatever it cannot read is `Unreadable` with a reason
in our own words: its own messages quote values, and a value may be a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imdswatch.read.streams import Table
from imdswatch.scan.arrowfile import ArrowFile
from imdswatch.scan.columns import Column, Columns, Kind, Shape
from imdswatch.scan.sql import DUCKDB

if TYPE_CHECKING:
    import duckdb

MEMORY = 1 << 30
"""Octets that DuckDB may use."""
_BATCH = 1024
_ROW = "imdswatch row"
_LONG = 8
"""So many octets for each value, unpacked, and a column is no dictionary."""
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
        self._arrow = None if table.form == "parquet" else ArrowFile(table)
        with _told():
            names = self._bound(table)
            own = {name for name, _ in names}
            row = _ROW
            while row in own:
                row += "_"
            self.row = DUCKDB.name_of(row)
            added = {name: value for name, value in partitions.items() if name not in own}
            more = "".join(
                f", {DUCKDB.literal(value)} AS {DUCKDB.name_of(name)}" for name, value in added.items()
            )
            self.numbered = table.form == "parquet" and "file_row_number" not in own
            if self.numbered:
                source, number = f"{self._file(', file_row_number = true')}", "file_row_number"
                star = "* EXCLUDE (file_row_number)"
            else:
                source, number, star = self._file(""), "row_number() OVER () - 1", "*"
            self._source = f"(SELECT {star}{more}, {number} AS {self.row} FROM {source})"
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

    @cached_property
    def long(self) -> frozenset[Column]:
        """The columns of texts, none inside another, that are long: to be searched rather than asked value by value."""
        if not self.numbered or not self.rows:
            return frozenset()
        path = DUCKDB.literal(self._table.path)
        query = "SELECT path_in_schema, sum(total_uncompressed_size)"
        with _told():
            sizes = dict(
                self._connection.execute(f"{query} FROM parquet_metadata({path}) GROUP BY ALL").fetchall()
            )
        texts = (name for name, shape in self.columns.shapes.items() if shape.kind == "text")
        return frozenset(Column((name,), "text") for name in texts if sizes.get(name, 0) > _LONG * self.rows)

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

    def ask(self, what: str, where: str) -> Iterator[Any]:
        """Yield rows of values: `what` of the rows for which `where` holds."""
        with _told():
            cursor = self._connection.execute(f"SELECT {what} FROM {self._source} WHERE {where}")
        while True:
            with _told():
                rows = cursor.fetchmany(_BATCH)
            if not rows:
                return
            yield from rows

    def batches(self, what: str, where: str) -> Iterator[list[Any]]:
        """Yield the same by columns: views of Arrow arrays, up to a million rows each."""
        from nanoarrow.c_array_stream import c_array_stream

        with _told():
            stream = c_array_stream(self._connection.sql(f"SELECT {what} FROM {self._source} WHERE {where}"))
        while True:
            with _told():
                batch = next(stream, None)
            if batch is None:
                return
            yield [batch.child(place).view() for place in range(batch.n_children)]


def _shape(kind: Any, depth: int) -> Shape:
    if str(kind) in ("JSON", "VARIANT") or depth > _DEEPEST:
        return Shape("json")
    if kind.id == "struct":
        return Shape("other", {name: _shape(inner, depth + 1) for name, inner in kind.children})
    if kind.id == "list" and kind.children[0][1].id == "varchar" and str(kind.children[0][1]) != "JSON":
        return Shape("texts")
    return Shape(_KINDS.get(kind.id, "other"))


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
