"""What carries a record without being it: syslog headers, container and journal envelopes, SIEM exports.

Guarantees: pure; nothing raises; a text or object that is no envelope comes back as it is (`None` for "no envelope");
what the envelope says about the record is kept as the source fields `syslog.time`, `syslog.host`, `syslog.program`
(also where the envelope is no syslog), so a schema can use them and the time is a fallback for `timestamp`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Outer = dict[str, Any]
"""What the envelopes said: `syslog.time`, `syslog.host`, `syslog.program`, as far as known."""

_BSD = (
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]?\d(?: \d{4})? \d\d:\d\d:\d\d(?:\.\d{1,9})?"
    r"(?: (?:[A-Z]{3,4}|[+-]\d\d:?\d\d)(?=[ :]))?"
)
_ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_NAME = r'[^\s=,|"%\[\]{<]*[^\s:=,|"%\[\]{<]'  # a host: never a key=value pair, a CSV row or a message id

_RFC5424 = re.compile(rf"<\d{{1,3}}>1 (-|{_ISO}) (\S+) (\S+) (\S+) (\S+) ?", re.DOTALL)
_SD = re.compile(r'(?:\[[^\s=\]"]+(?: [^\s=\]"]+="(?:[^"\\\]]|\\.)*")*\])+(?: |\Z)')
_SYSLOG = re.compile(
    rf"(?:<\d{{1,3}}>)?(?P<time>{_BSD}|{_ISO})(?::? +|: *)"
    rf"(?:(?P<host>{_NAME}) +(?=\S))?(?::? +)?"
    r"(?:(?P<program>(?!(?:CEF|LEEF|ASM):)[A-Za-z0-9_(/][^\s:\[\]=,\"%|]*)(?:\[[^\]\s]*\])?:(?= |\Z) ?)?",
)
_CISCO_IOS = re.compile(
    rf"(?:<\d{{1,3}}>)?(?:\d+: )?(?:(?P<host>[\w.\-]+): )?(?:\d+: )?[*.]?(?P<time>{_BSD}): (?=%)"
)
_COUNT = re.compile(
    r"\d{1,6} (?=<\d{1,3}>)"
)  # octet counting (RFC 6587 3.4.1), where a stream was kept as it came
_PRI = re.compile(r"<\d{1,3}>(?!\d? )")
_STARTS = frozenset("<JFMASOND*.0123456789")
_DEPTH = 8


def syslog(text: str) -> tuple[str, Outer | None]:
    """Return the message inside a syslog line and what its header says; the text itself and None if it has none.

    RFC 3164 with or without `<PRI>`, year, host or tag; RFC 5424; the ISO time variant of rsyslog and of
    `journalctl -o short-iso`; Cisco IOS, ASA and FTD; CRI container logs.
    """
    if text[:1] not in _STARTS:
        return text, None
    if counted := _COUNT.match(text):
        text = text[counted.end() :]
    if text[0] == "<":
        found = _RFC5424.match(text)
        if found is not None:
            return _rfc5424(text, found)
    found = _SYSLOG.match(text)
    if found is None:
        found = _CISCO_IOS.match(text) if "%" in text else None
        if found is None:
            bare = _PRI.match(text)
            return (text[bare.end() :], {}) if bare else (text, None)
    outer: Outer = {}
    for name, value in found.groupdict().items():
        if value:
            outer["syslog." + name] = value
    message = text[found.end() :]
    if outer.get("syslog.host") in ("stdout", "stderr") and message[:2] in ("F ", "P "):
        del outer["syslog.host"]  # CRI: time, stream, full or partial, message
        message = message[2:]
    return message.removeprefix("@cee:").lstrip() if message.startswith("@cee:") else message, outer


def _rfc5424(text: str, found: re.Match[str]) -> tuple[str, Outer]:
    outer: Outer = {}
    for name, value in zip(("time", "host", "program"), found.groups(), strict=False):
        if value != "-":
            outer["syslog." + name] = value
    rest = text[found.end() :]
    if rest.startswith("- ") or rest == "-":
        return rest[2:].removeprefix("\ufeff"), outer
    data = _SD.match(rest)
    # Check Point writes its whole record where structured data should be: what does not parse as such is the message.
    if data and data.end() < len(rest):
        rest = rest[data.end() :]
    return rest.removeprefix("\ufeff"), outer


def envelope(record: dict[str, Any]) -> tuple[Any, Outer] | None:
    """Return what an object carries (text or object) and what it says about it; None if it carries nothing.

    Docker json-file, journald, Elasticsearch hits, Splunk results and HEC, GELF, and `event.original` or `message`
    of any shipper. To be asked only about objects that no schema recognises.
    """
    get = record.get
    for key in ("_source", "result"):
        if isinstance(inner := get(key), dict):
            return inner, _said(record)
    if "MESSAGE" in record:
        message = get("MESSAGE")
        if isinstance(message, list):  # journald writes what is not UTF-8 as a list of octets
            message = _octets(message)
        outer = _some(
            time=get("__REALTIME_TIMESTAMP") or get("_SOURCE_REALTIME_TIMESTAMP"),
            host=get("_HOSTNAME"),
            program=get("SYSLOG_IDENTIFIER") or get("_COMM"),
        )
        return (message, outer) if isinstance(message, str) else None
    if isinstance(raw := get("_raw"), (str, dict)):
        return raw, _some(time=get("_time"), host=get("host"))
    if isinstance(log := get("log"), str):
        return log, _some(time=get("time") or get("@timestamp"))
    event = get("event")
    original = event.get("original") if isinstance(event, dict) else get("event.original")
    for inner in (original, get("message"), get("full_message"), get("short_message")):
        if isinstance(inner, (str, dict)) and inner:
            return inner, _said(record)
    if isinstance(event, (str, dict)) and event:  # Splunk HTTP Event Collector
        return event, _said(record)
    return None


def _said(record: dict[str, Any]) -> Outer:
    get = record.get
    host = get("host")
    if isinstance(host, dict):
        host = host.get("name") or host.get("hostname")
    return _some(time=get("@timestamp") or get("timestamp") or get("time") or get("_time"), host=host)


def _some(**said: Any) -> Outer:
    return {
        f"syslog.{name}": value
        for name, value in said.items()
        if isinstance(value, (str, int, float)) and value not in ("", "-")
    }


def _octets(values: list[Any]) -> str | None:
    if not all(type(value) is int and 0 <= value < 256 for value in values):
        return None
    return bytes(values).decode("utf-8", "replace")


def objects(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the records of a JSON document in order: arrays, and the containers that exports put around them.

    `{"results": […]}`, `{"Records": […]}`, `{"hits": {"hits": […]}}`, `{"events": […]}` and `{"value": […]}` are
    containers if that list is all they are about; any other object is a record.
    """
    if isinstance(value, list) and depth < _DEPTH:
        for item in value:
            yield from objects(item, depth + 1)
    elif isinstance(value, dict):
        for key in ("results", "Records", "hits", "events", "value"):
            inner = value.get(key)
            if isinstance(inner, dict) and key == "hits":
                inner = inner.get("hits")
            if isinstance(inner, list) and all(isinstance(item, dict) for item in inner) and len(value) <= 8:
                yield from objects(inner, depth + 1)
                return
        yield value
