"""Newline-delimited JSON, format `imdswatch/1`: the stable, complete and exact form of findings.

One object a line, in the order in which the results came, the summary last; a file without it was cut
short. Fields are absent when unknown; only `suppressed_by` is always there, null where nothing suppresses.
Numbers are integers, but for `seconds`; other numbers become text. Lines are valid UTF-8 without hidden
characters (`escape.json_line`). `claims` of an account is an object of texts, `forged` is true or absent.
This module is a frozen copy of the shape, not a dump of `Finding`: a new field there appears here only on
purpose. Nothing is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any, TextIO

import orjson

from imdswatch.finding import Finding, Skipped, Summary
from imdswatch.report import clock, escape
from imdswatch.report.statement import Statement
from imdswatch.verdict import Reason, Verdict

FORMAT = "imdswatch/1"

_ORDER = {
    "victim": ("ip", "mac", "port", "vlan", "host", "process", "user_agent", "client"),
    "responder": ("ip", "mac", "nat_ip", "ttl", "vendor", "gateway"),
    "request": ("method", "host", "path", "status"),
    "account": ("id", "expected", "from", "access_key_id", "role", "claims", "forged"),
}
_SMALLEST, _LARGEST = -(1 << 63), (1 << 64) - 1  # what orjson, and most readers, take for an integer


class Sink:
    """Writes a line as soon as it is given a result."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing yet."""
        self._handle, self._show_suppressed = handle, show_suppressed

    def finding(self, finding: Finding) -> None:
        """Write a finding; a suppressed one only if suppressed findings are shown."""
        if finding.suppressed_by is None or self._show_suppressed:
            self._handle.write(line(finding))

    def skipped(self, skipped: Skipped) -> None:
        """Write what could not be looked at."""
        self._write(skipped_document(skipped))

    def verdict(self, verdict: Verdict) -> None:
        """Write what stands at one endpoint."""
        self._write(verdict_document(verdict))

    def statement(self, statement: Statement) -> None:
        """Write what audit, harden or lab say, as it stands in its file."""
        values, seconds = known(statement.values), statement.values.get("seconds")
        if isinstance(seconds, float) and math.isfinite(seconds):
            values["seconds"] = seconds
        self._write(values)

    def close(self, summary: Summary) -> None:
        """Write the summary."""
        self._write(summary_document(summary))

    def _write(self, document: Mapping[str, object]) -> None:
        self._handle.write(escape.json_line(orjson.dumps(document).decode()) + "\n")


def line(finding: Finding) -> str:
    """Return the line of a finding, with its line feed."""
    quick = _quick_line(finding)
    return (
        escape.json_line(orjson.dumps(finding_document(finding)).decode()) + "\n" if quick is None else quick
    )


def _values(finding: Finding) -> dict[str, Any]:
    """Return every value of a finding under its name, in the stable order of names."""
    return {
        "format": FORMAT,
        "type": "finding",
        "rule": finding.rule,
        "rules": finding.rules,
        "title": finding.title,
        "stage": finding.stage,
        "severity": finding.severity,
        "confidence": finding.confidence,
        "first_seen": clock.iso(finding.first_seen),
        "last_seen": clock.iso(finding.last_seen),
        "count": finding.count,
        "victim": finding.victim,
        "responder": finding.responder,
        "responders": finding.responders,
        "request": finding.request,
        "account": finding.account,
        "evidence": [
            {"source": one.source, "position": one.position, "excerpt": one.excerpt}
            for one in finding.evidence
        ],
        "cause": finding.cause,
        "attack": finding.attack,
        "suppressed_by": finding.suppressed_by,
        "remedy": finding.remedy,
        "fingerprint": finding.fingerprint,
        "verdict": finding.verdict,
        "reasons": [_reason(reason) for reason in finding.reasons],
    }


_MAY_BE_UNKNOWN = (
    "first_seen", "last_seen", "victim", "responder", "responders", "request", "account", "verdict", "reasons",
)  # fmt: skip


def _quick_line(finding: Finding) -> str | None:
    """Return what `finding_document` would give, in a fraction of the time, for a finding of plain ASCII; else None.

    A scan in which every line hits writes findings by the ten thousand.
    """
    document = _values(finding)
    for name in _MAY_BE_UNKNOWN:
        if not document[name]:
            del document[name]
    if not all(_never_empty(document)):
        return None
    for one in finding.evidence:
        if not (one.source and one.position and one.excerpt):
            return None
    for name in _MAPPINGS:
        if name in document and not _is_plain(name, document[name]):
            return None
    for other in finding.responders:
        if not _is_plain("responder", other):
            return None
    try:
        line = orjson.dumps(document)
    except TypeError:  # a lone surrogate, a number beyond 64 bits
        return None
    return line.decode("ascii") + "\n" if line.isascii() and b"\x7f" not in line else None


_never_empty = itemgetter(
    "rule", "rules", "title", "stage", "severity", "confidence", "evidence", "cause", "attack", "remedy", "fingerprint",
)  # fmt: skip
_MAPPINGS = ("victim", "responder", "request", "account")


def _is_plain(name: str, values: Mapping[str, object]) -> bool:
    """Say whether the slow way would leave a mapping as it is: keys in order, nothing empty, no odd types."""
    value: Any
    for value in values.values():
        kind = value.__class__
        if kind is str:
            if not value:
                return False
        elif kind is list:
            if not value or any(item.__class__ is not int for item in value):
                return False
        elif kind is not int and kind is not bool:
            return False
    return _ordered_keys(name, tuple(values))


@lru_cache(maxsize=1 << 10)
def _ordered_keys(name: str, keys: tuple[str, ...]) -> bool:
    return keys == tuple(key for key in _ORDER[name] if key in keys)


def finding_document(finding: Finding) -> dict[str, object]:
    """Return the finding as plain JSON values, keys in their stable order."""
    values = _values(finding)
    for name in _MAPPINGS:
        values[name] = _ordered(name, values[name])
    values["responders"] = [_ordered("responder", other) for other in finding.responders]
    filled = known(values) | {
        "suppressed_by": None if finding.suppressed_by is None else _plain(finding.suppressed_by)
    }
    return {name: filled[name] for name in values if name in filled}


def skipped_document(skipped: Skipped) -> dict[str, object]:
    """Return what could not be looked at as plain JSON values."""
    return known(
        {
            "format": FORMAT,
            "type": "skipped",
            "source": skipped.source,
            "position": skipped.position,
            "reason": skipped.reason,
        }
    )


def verdict_document(verdict: Verdict) -> dict[str, object]:
    """Return what stands at one endpoint as plain JSON values; reasons in the order of judging."""
    return known(
        {
            "format": FORMAT,
            "type": "verdict",
            "endpoint": verdict.endpoint,
            "interface": verdict.interface,
            "verdict": verdict.verdict,
            "cloud": verdict.cloud,
            "responder": _ordered("responder", verdict.responder),
            "account": _ordered("account", verdict.account),
            "reasons": [_reason(reason) for reason in verdict.reasons],
            "advice": verdict.advice,
            "notes": verdict.notes,
        }
    )


def summary_document(summary: Summary) -> dict[str, object]:
    """Return the summary as plain JSON values; `ignored` and `notes` only where there are any."""
    return known(
        {
            "format": FORMAT,
            "type": "summary",
            "sources": summary.sources,
            "bytes": summary.bytes,
            "records": summary.records,
            "findings": summary.findings,
            "suppressed": summary.suppressed,
            "skipped": summary.skipped,
            "ignored": summary.ignored or None,
            "notes": summary.notes,
        }
    ) | ({"seconds": round(summary.seconds, 3)} if math.isfinite(summary.seconds) else {})


def _reason(reason: Reason) -> dict[str, object]:
    return {"slug": reason.slug, "speaks_for": reason.speaks_for, "text": reason.text}


def _ordered(name: str, values: Mapping[str, object]) -> dict[str, object]:
    first = {key: values[key] for key in _ORDER[name] if key in values}
    return first | dict(values)


def known(values: Mapping[str, object]) -> dict[str, object]:
    """Return values as JSON carries them, without what is unknown (None) or empty."""
    plain = {escape.encodable(str(key)): _plain(value) for key, value in values.items()}
    return {key: value for key, value in plain.items() if value is not None and value not in ("", [], {})}


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if _SMALLEST <= value <= _LARGEST else str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return _plain(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, Mapping):
        return known(value)
    if isinstance(value, list | tuple):
        return [item for item in map(_plain, value) if item is not None and item not in ("", [], {})]
    return escape.encodable(str(value))
