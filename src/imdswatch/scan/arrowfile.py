"""`ArrowFile` hands a file of Arrow messages to DuckDB, by the Arrow PyCapsule interface."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from imdswatch.read.streams import Table


class ArrowFile:
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
