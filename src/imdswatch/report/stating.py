"""What an audit or a hardening says goes as statements to any sink that shows findings; the adapters between them.

`OfAudit` takes what the sinks of audits take (`matrix_text`), `OfHardening` what `edits` takes. Both close the sink
below with a summary of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from imdswatch.edit import Command, Edit, Left, Note
from imdswatch.finding import Skipped, Summary
from imdswatch.matrix import Audited, Cell, Check, Subject
from imdswatch.report import edit_documents, matrix_documents
from imdswatch.report.statement import Statement


class Sink(Protocol):
    """What statements go to."""

    def statement(self, statement: Statement) -> None: ...  # noqa: D102
    def skipped(self, skipped: Skipped) -> None: ...  # noqa: D102
    def close(self, summary: Summary) -> None: ...  # noqa: D102


class OfAudit:
    """Takes an audit."""

    def __init__(self, sink: Sink) -> None:
        """State nothing yet."""
        self._sink, self._subject, self._stated = sink, Subject("", "", "", ""), 0

    def subject(self, subject: Subject) -> None:
        """Keep which host the rest is about."""
        self._subject = subject

    def cell(self, cell: Cell) -> None:
        """State a cell."""
        self._state("cell", matrix_documents.cell_document(self._subject, cell))

    def check(self, check: Check) -> None:
        """State a check that is not met."""
        self._state("check", matrix_documents.check_document(self._subject, check))

    def skipped(self, skipped: Skipped) -> None:
        """Hand on what could not be looked at."""
        self._sink.skipped(skipped)

    def close(self, audited: Audited) -> None:
        """State the counts, and end."""
        self._state("summary", matrix_documents.summary_document(self._subject, audited))
        self._sink.close(
            Summary(sources=1, records=self._stated, skipped=audited.skipped, seconds=audited.seconds)
        )

    def _state(self, kind: str, values: Mapping[str, Any]) -> None:
        self._stated += 1
        self._sink.statement(Statement(kind, self._subject.host, values))


class OfHardening:
    """Takes what is done to a host."""

    def __init__(self, sink: Sink, host: str) -> None:
        """State nothing yet; every statement will name the host."""
        self._sink, self._host, self._stated = sink, host, 0

    def edit(self, edit: Edit, state: str) -> None:
        """State one edit of a file; its diff has no secrets."""
        self._state("edit", edit_documents.edit_document(self._host, edit, state))

    def reverted(self, path: str, state: str, reason: str) -> None:
        """State what became of one path in a revert."""
        self._state("edit", edit_documents.reverted_document(self._host, path, state, reason))

    def command(self, command: Command, state: str) -> None:
        """State one command of a live host."""
        self._state("command", edit_documents.command_document(self._host, command, state))

    def note(self, note: Note) -> None:
        """State what a person should do by hand."""
        self._state("note", edit_documents.note_document(self._host, note))

    def left(self, left: Left) -> None:
        """State what would still ask, and is for a person's hands."""
        self._state("left", edit_documents.left_document(self._host, left))

    def skipped(self, skipped: Skipped) -> None:
        """Hand on what could not be looked at."""
        self._sink.skipped(skipped)

    def close(self, summary: Summary) -> None:
        """End."""
        self._sink.close(summary)

    def _state(self, kind: str, values: Mapping[str, Any]) -> None:
        self._sink.statement(Statement(kind, self._host, values))
