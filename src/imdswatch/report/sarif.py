"""An audit as SARIF 2.1.0 (OASIS), for code scanning and pipelines: what asks is an error, with file and line.

One run with all results, written when it closes. Cells that are protected are results of kind `pass`. What could not
be looked at is a notification of the invocation. Paths are below the base `ROOT`, percent-encoded; what stands in no
file is a logical location.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO
from urllib.parse import quote

import orjson

from imdswatch import __version__
from imdswatch.finding import Evidence, Skipped
from imdswatch.matrix import ASKS, ASKS_ONLY_WHEN, PROTECTED, UNKNOWN, Audited, Cell, Check, Subject
from imdswatch.report import escape

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_CELLS = {
    ASKS: ("error", "An AWS tool asks the metadata service, and whoever answers"),
    UNKNOWN: ("warning", "Whether an AWS tool asks the metadata service cannot be told"),
    ASKS_ONLY_WHEN: ("note", "An AWS tool asks the metadata service under a condition"),
    PROTECTED: ("none", "An AWS tool cannot ask the metadata service"),
}


class Sink:
    """Collects an audit and writes one log when it is closed."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing yet."""
        self._handle = handle
        self._subject = Subject("", "", "", "")
        self._rules: dict[str, dict[str, Any]] = {}
        self._results: list[dict[str, Any]] = []
        self._notifications: list[dict[str, Any]] = []

    def subject(self, subject: Subject) -> None:
        """Keep which host the rest is about."""
        self._subject = subject

    def cell(self, cell: Cell) -> None:
        """Keep a cell as a result of the rule of its state."""
        level, title = _CELLS[cell.state]
        rule = f"imds-{cell.state}"
        when = f" when {cell.when}" if cell.when else ""
        text = f"{cell.tool} ({cell.context} of {cell.user}): {cell.state}{when}: {cell.why}."
        change = f" {cell.change.text}." if cell.change is not None else ""
        self._result(rule, title, level, text + change, cell.evidence, cell.state == PROTECTED)

    def check(self, check: Check) -> None:
        """Keep a check as a result of its own rule."""
        change = f" {check.change.text}." if check.change is not None else ""
        self._result(check.slug, check.title, check.level, f"{check.why}.{change}", check.evidence, False)

    def skipped(self, skipped: Skipped) -> None:
        """Keep what could not be looked at."""
        text = escape.encodable(f"{skipped.source} {skipped.position}".rstrip() + f": {skipped.reason}")
        self._notifications.append({"level": "warning", "message": {"text": text}})

    def close(self, audited: Audited) -> None:
        """Write everything."""
        invocation = {"executionSuccessful": True, "toolExecutionNotifications": self._notifications}
        driver = {"name": "imdswatch", "version": __version__, "rules": list(self._rules.values())}
        run = {
            "tool": {"driver": driver},
            "originalUriBaseIds": {"ROOT": {"description": {"text": "the root that was audited"}}},
            "invocations": [invocation],
            "columnKind": "unicodeCodePoints",
            "results": self._results,
            "properties": {"host": self._subject.host, "machine": self._subject.machine},
        }
        document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
        self._handle.write(escape.json_line(orjson.dumps(document).decode()) + "\n")

    def _result(
        self, rule: str, title: str, level: str, text: str, evidence: Sequence[Evidence], passed: bool
    ) -> None:
        if rule not in self._rules:
            self._rules[rule] = {
                "id": rule,
                "shortDescription": {"text": title},
                "defaultConfiguration": {"level": level},
            }
        result: dict[str, Any] = {
            "ruleId": rule,
            "ruleIndex": list(self._rules).index(rule),
            "level": level,
            "message": {"text": escape.encodable(text)},
            "locations": [_location(one) for one in evidence],
        }
        self._results.append(result | {"kind": "pass"} if passed else result)


def _location(one: Evidence) -> dict[str, Any]:
    message = {"text": escape.encodable(one.excerpt)}
    if not one.source.startswith("/"):
        return {
            "logicalLocations": [{"fullyQualifiedName": escape.encodable(one.source)}],
            "message": message,
        }
    path = quote(one.source.lstrip("/").encode("utf-8", "surrogateescape"))
    place: dict[str, Any] = {"artifactLocation": {"uri": path, "uriBaseId": "ROOT"}}
    line = one.position.removeprefix("line ")
    if line.isdecimal():
        place["region"] = {"startLine": int(line)}
    return {"physicalLocation": place, "message": message}
