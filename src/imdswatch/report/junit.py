"""An audit as JUnit XML, for pipelines that show tests: each cell is a test, one that asks has failed.

The dialect of Jenkins' xUnit plugin (its XSD, version 10, knows `skipped` for a suite only): what asks is a failure,
what is unknown an error, what could not be looked at is skipped; a check of level error or warning is a failure.
Written when it closes. Characters that XML 1.0 does not have are spelled out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO
from xml.sax.saxutils import escape as xml
from xml.sax.saxutils import quoteattr

from imdswatch.finding import Evidence, Skipped
from imdswatch.matrix import ASKS, UNKNOWN, Audited, Cell, Check, Subject
from imdswatch.report.escape import visible


class Sink:
    """Collects an audit and writes one test suite when it is closed."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing yet."""
        self._handle = handle
        self._subject = Subject("", "", "", "")
        self._cases: list[str] = []
        self._counts = {"failure": 0, "error": 0, "skipped": 0}

    def subject(self, subject: Subject) -> None:
        """Keep which host the rest is about."""
        self._subject = subject

    def cell(self, cell: Cell) -> None:
        """Keep a cell."""
        kind = {ASKS: "failure", UNKNOWN: "error"}.get(cell.state, "")
        when = f" when {cell.when}" if cell.when else ""
        change = cell.change.text if cell.change is not None else ""
        text = _text(f"{cell.state}{when}: {cell.why}", cell.evidence, change)
        self._case(f"{cell.context} of {cell.user}", cell.tool, kind, cell.why, text)

    def check(self, check: Check) -> None:
        """Keep a check."""
        change = check.change.text if check.change is not None else ""
        kind = "failure" if check.level != "note" else ""
        self._case("host", check.slug, kind, check.title, _text(check.why, check.evidence, change))

    def skipped(self, skipped: Skipped) -> None:
        """Keep what could not be looked at."""
        self._case("skipped", f"{skipped.source} {skipped.position}".strip(), "skipped", skipped.reason, "")

    def close(self, audited: Audited) -> None:
        """Write everything."""
        counts = self._counts
        numbers = (
            f'tests="{len(self._cases)}" failures="{counts["failure"]}" errors="{counts["error"]}"'
            f' time="{audited.seconds:.3f}"'
        )
        name = quoteattr(visible(f"imdswatch audit {self._subject.host or self._subject.root}"))
        self._handle.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        self._handle.write(
            f'<testsuites {numbers}>\n<testsuite name={name} {numbers} skipped="{counts["skipped"]}">\n'
        )
        self._handle.write("".join(self._cases))
        self._handle.write("</testsuite>\n</testsuites>\n")

    def _case(self, group: str, name: str, kind: str, message: str, text: str) -> None:
        head = f"<testcase classname={quoteattr(visible(group))} name={quoteattr(visible(name))}"
        body = "\n".join(xml(visible(line)) for line in text.split("\n"))
        if kind:
            self._counts[kind] += 1
            inner = f"<{kind} message={quoteattr(visible(message))}>{body}</{kind}>"
        else:
            inner = f"<system-out>{body}</system-out>"
        self._cases.append(f"{head}>{inner}</testcase>\n")


def _text(why: str, evidence: Sequence[Evidence], change: str) -> str:
    places = [f"{one.source} {one.position} {one.excerpt}" for one in evidence]
    return "\n".join([why, *places, *([change] if change else [])])
