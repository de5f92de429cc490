"""Findings and what could not be looked at are written here, one module per format.

A sink writes to the handle it was given (text, UTF-8, `newline=""`), and never flushes or closes it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, TextIO, cast

from imdswatch.errors import UsageError
from imdswatch.finding import Finding, Skipped, Summary

_OF_FINDINGS = ("text", "lines", "ndjson", "csv", "ocsf", "ecs", "html", "verdicts", "edits")
_OF_AUDITS = ("matrix_text", "matrix_ndjson", "sarif", "junit")
SINKS = {name: f"imdswatch.report.{name}" for name in (*_OF_FINDINGS, *_OF_AUDITS)}
"""Format and the module whose `Sink` writes it, imported when it is asked for: rich is slow to import."""


class Sink(Protocol):
    """Takes results one by one, in any order, then one summary."""

    def finding(self, finding: Finding) -> None: ...  # noqa: D102
    def skipped(self, skipped: Skipped) -> None: ...  # noqa: D102
    def close(self, summary: Summary) -> None: ...  # noqa: D102


def open_sink(format: str, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> Sink:
    """Return the sink of a format or raise UsageError; only text heeds `color`, `width` (None: unknown)."""
    if format not in SINKS:
        raise UsageError(f"there is no output format {format!r}", help=f"choose one of: {', '.join(SINKS)}")
    make = import_module(SINKS[format]).Sink
    return cast("Sink", make(handle, color=color, show_suppressed=show_suppressed, width=width))
