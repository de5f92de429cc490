"""Lines of `imdswatch/1` become values again: findings, verdicts, skipped, summaries, and what hosts and the lab say.

Pure. A line is what anybody may have written: whatever is no such object, or has a value of another kind than the
format promises, raises `Unreadable` with the reason; names that are not known are let go, so a newer file still reads.
Texts are redacted once more, since a file may come from another hand. Nothing else is changed: what `ndjson` wrote of a
finding is read back as that finding, but for texts of more than `_LONGEST` characters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from imdswatch.finding import CONFIDENCES, SEVERITIES, STAGES, Evidence, Finding, Skipped, Summary
from imdswatch.redact import redact
from imdswatch.report.ndjson import FORMAT
from imdswatch.report.statement import Statement
from imdswatch.verdict import VERDICTS, Reason, Verdict

_MOST = 256
"""Entries of one list or object that are read; no writer has more."""
_LONGEST = 8192
"""Characters of one text that are kept: memory stays bounded whatever somebody put into a user agent."""
_DEPTH = 3
_OF_NO_USE = ("status", "not_applicable")
"""What a watch says of itself, and where a scenario says nothing about a client."""
_LAB = "imdswatch-lab/1"
_OF_PERFORMANCE = (
    "format",
    "type",
    "scenario",
    "client",
    "version",
    "result",
    "reason",
    "said",
    "alarms",
    "wrong",
)


class Unreadable(ValueError):
    """A line is no object of `imdswatch/1`; the message says why, without quoting it."""


Result = Finding | Verdict | Skipped | Summary | Statement


def result(line: bytes) -> Result | None:
    """Return what a line says; None for kinds that are of no use in a report, such as the status of a watch."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise Unreadable("is no JSON") from None
    if not isinstance(document, dict):
        raise Unreadable("is no JSON object")
    form = document.get("format")
    if form not in (FORMAT, _LAB):
        said = f"is of format `{form}`" if isinstance(form, str) and len(form) < 40 else "names no format"
        raise Unreadable(f"{said}; this version reads {FORMAT}")
    values = _Values(document)
    kind = values.text("type")
    if kind in _OF_NO_USE:
        return None
    read = (_READERS if form == FORMAT else _LAB_READERS).get(kind)
    if read is None:
        raise Unreadable("is of a type that this version does not know")
    return read(values)


class _Values:
    """An object whose values are asked for by name and kind; absent ones are empty."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def text(self, name: str) -> str:
        value = self._document.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise Unreadable(f"`{name}` is no text")
        return _text(value)

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        value = self._document.get(name)
        if value not in known:
            raise Unreadable(f"`{name}` is none of {', '.join(known)}")
        return str(value)

    def count(self, name: str) -> int:
        value = self._document.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise Unreadable(f"`{name}` is no count")
        return value

    def time(self, name: str) -> float | None:
        value = self._document.get(name)
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (TypeError, ValueError, OverflowError):
            raise Unreadable(f"`{name}` is no time") from None

    def number(self, name: str) -> float:
        value = self._document.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise Unreadable(f"`{name}` is no number")
        return float(value)

    def mapping(self, name: str) -> dict[str, Any]:
        value = self._document.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise Unreadable(f"`{name}` is no object")
        return {key: _cleaned(name, one, _DEPTH) for key, one in _few(name, value).items()}

    def counts(self, name: str) -> dict[str, int]:
        found = self.mapping(name)
        if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in found.values()):
            raise Unreadable(f"`{name}` has values that are no counts")
        return found

    def objects(self, name: str) -> list[_Values]:
        value = self._document.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise Unreadable(f"`{name}` is no list of objects")
        return [_Values(one) for one in _few(name, value)]

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._document.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise Unreadable(f"`{name}` is no list of texts")
        return tuple(map(_text, _few(name, value)))

    def all(self) -> dict[str, Any]:
        return {key: _cleaned(key, one, _DEPTH) for key, one in _few("the object", self._document).items()}

    def some(self, names: tuple[str, ...]) -> dict[str, Any]:
        return {
            name: _cleaned(name, self._document[name], _DEPTH) for name in names if name in self._document
        }


def _text(value: str) -> str:
    text = redact(value)
    return (
        text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text) - _LONGEST:,} more characters)"
    )


def _few(name: str, value: Any) -> Any:
    if len(value) > _MOST:
        raise Unreadable(f"`{name}` has more than {_MOST} entries")
    return value


def _cleaned(name: str, value: Any, depth: int) -> Any:
    """Return any JSON value with its texts redacted; what nests deeper than the format does is refused."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict | list):
        if not depth:
            raise Unreadable(f"`{name}` nests too deep")
        if isinstance(value, list):
            return [_cleaned(name, one, depth - 1) for one in _few(name, value)]
        return {key: _cleaned(name, one, depth - 1) for key, one in _few(name, value).items()}
    return value


def _finding(values: _Values) -> Finding:
    fingerprint = values.text("fingerprint")
    if not fingerprint:
        raise Unreadable("has no fingerprint")
    return Finding(
        rule=values.text("rule"),
        rules=values.counts("rules"),
        title=values.text("title"),
        stage=values.one_of("stage", STAGES),
        severity=values.one_of("severity", SEVERITIES),
        confidence=values.one_of("confidence", CONFIDENCES),
        first_seen=values.time("first_seen"),
        last_seen=values.time("last_seen"),
        count=values.count("count"),
        victim=values.mapping("victim"),
        responder=values.mapping("responder"),
        responders=tuple(one.all() for one in values.objects("responders")),
        request=values.mapping("request"),
        account=values.mapping("account"),
        evidence=tuple(
            Evidence(one.text("source"), one.text("position"), one.text("excerpt"))
            for one in values.objects("evidence")
        ),
        cause=values.text("cause"),
        attack=values.texts("attack"),
        suppressed_by=values.text("suppressed_by") or None,
        remedy=values.text("remedy"),
        fingerprint=fingerprint,
        verdict=values.text("verdict"),
        reasons=_reasons(values),
    )


def _reasons(values: _Values) -> tuple[Reason, ...]:
    found = values.objects("reasons")
    return tuple(Reason(one.text("slug"), one.text("speaks_for"), one.text("text")) for one in found)


def _skipped(values: _Values) -> Skipped:
    return Skipped(values.text("source"), values.text("position"), values.text("reason"))


def _verdict(values: _Values) -> Verdict:
    return Verdict(
        endpoint=values.text("endpoint"),
        interface=values.text("interface"),
        verdict=values.one_of("verdict", VERDICTS),
        reasons=_reasons(values),
        cloud=values.text("cloud"),
        responder=values.mapping("responder"),
        account=values.mapping("account"),
        advice=values.text("advice"),
        notes=values.texts("notes"),
    )


def _summary(values: _Values) -> Summary | Statement:
    if values.text("command") == "audit":
        return _statement("summary")(values)
    counts = {name: values.count(name) for name in _COUNTS}
    return Summary(**counts, seconds=values.number("seconds"), notes=values.texts("notes"))


_COUNTS = ("sources", "bytes", "records", "findings", "suppressed", "skipped", "ignored")


def _statement(kind: str) -> Callable[[_Values], Statement]:
    return lambda values: Statement(kind, values.text("host"), values.all())


def _performance(values: _Values) -> Statement:
    return Statement("performance", "", values.some(_OF_PERFORMANCE))


_READERS: Mapping[str, Callable[[_Values], Result]] = {
    "finding": _finding,
    "skipped": _skipped,
    "summary": _summary,
    "verdict": _verdict,
    "cell": _statement("cell"),
    "check": _statement("check"),
    "edit": _statement("edit"),
    "command": _statement("command"),
    "note": _statement("note"),
    "left": _statement("left"),
}
_LAB_READERS: Mapping[str, Callable[[_Values], Result]] = {
    "performance": _performance,
    "skipped": lambda values: Skipped(values.text("client"), "", values.text("reason")),
    "summary": lambda values: Summary(seconds=values.number("seconds")),
}
