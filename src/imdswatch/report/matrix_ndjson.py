"""An audit as newline-delimited JSON, one object a line, the summary last; the files of many hosts may be joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

import orjson

from imdswatch.finding import Skipped
from imdswatch.matrix import Audited, Cell, Check, Subject
from imdswatch.report import escape, matrix_documents


class Sink:
    """Writes a line as soon as it is given a result."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing yet."""
        self._handle = handle
        self._subject = Subject("", "", "", "")

    def subject(self, subject: Subject) -> None:
        """Keep which host the rest is about."""
        self._subject = subject

    def cell(self, cell: Cell) -> None:
        """Write a cell."""
        self._write(matrix_documents.cell_document(self._subject, cell))

    def check(self, check: Check) -> None:
        """Write a check that is not met."""
        self._write(matrix_documents.check_document(self._subject, check))

    def skipped(self, skipped: Skipped) -> None:
        """Write what could not be looked at."""
        self._write(matrix_documents.skipped_document(self._subject, skipped))

    def close(self, audited: Audited) -> None:
        """Write the summary."""
        self._write(matrix_documents.summary_document(self._subject, audited))

    def _write(self, document: Mapping[str, Any]) -> None:
        text = orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        self._handle.write(escape.json_line(text) + "\n")
