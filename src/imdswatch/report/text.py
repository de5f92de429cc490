"""The report for a person: how far it got, to whom, what to do next, and what could not be looked at.

Everything is written at `close`, worst first. Memory is bounded whatever the input (`digest`); what the page leaves
out it counts.
"""

from __future__ import annotations

from typing import TextIO

from imdswatch.finding import Finding, Skipped, Summary
from imdswatch.report.beside import Beside
from imdswatch.report.digest import Digest
from imdswatch.report.statement import Statement
from imdswatch.verdict import Verdict

WIDTH = 120
"""Columns where the width is unknown, as in a pipe."""


class Sink:
    """Collects a bounded digest, and writes one page at `close`."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing before `close`."""
        self._handle, self._color, self._show_suppressed = handle, color, show_suppressed
        self._width = width or WIDTH
        self._digest, self._beside = Digest(), Beside()

    def finding(self, finding: Finding) -> None:
        """Take a finding; a suppressed one is counted by its entry, and kept only if they are shown."""
        self._digest.finding(finding, keep_suppressed=self._show_suppressed)

    def skipped(self, skipped: Skipped) -> None:
        """Take what could not be looked at; the first `PLACES` are named, all are counted."""
        self._digest.skip(skipped)

    def verdict(self, verdict: Verdict) -> None:
        """Take what stands at one endpoint."""
        self._beside.verdict(verdict)

    def statement(self, statement: Statement) -> None:
        """Take what audit, harden or lab say."""
        self._beside.statement(statement)

    def close(self, summary: Summary) -> None:
        """Write the report; characters that the handle cannot encode are spelled out rather than lost."""
        from imdswatch.report import page  # late: rich takes longer to import than all the rest

        text = page.render(self._digest, self._beside, summary, color=self._color, width=self._width)
        encoding = getattr(self._handle, "encoding", None) or "utf-8"
        self._handle.write(text.encode(encoding, "backslashreplace").decode(encoding))
