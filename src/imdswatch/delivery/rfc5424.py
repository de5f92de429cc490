"""Syslog messages after RFC 5424, and their framing on a stream (RFC 6587 3.4.1, RFC 5425 4.3); pure.

MSG is the JSON document of the result, in ASCII: what is not ASCII is a `\\u` escape, so that no byte order mark is
owed (6.4) and no receiver guesses an encoding. JSON escapes control characters, so a value never leaves its message.
What goes into structured data is escaped as 6.3.3 wants, and hidden characters become `?`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from imdswatch.delivery.message import Message

_VERSION = "1"
_NIL = "-"
_PRIORITIES = {"critical": 2, "high": 3, "medium": 4, "low": 5, "informational": 6}
_KINDS = {"skipped": 4, "verdict": 5, "summary": 6}
"""Severities of table 2: critical 2, error 3, warning 4, notice 5, informational 6."""
_SD_ID = "imdswatch@32473"
"""32473 is the number for examples (RFC 5612): imdswatch has none of its own."""
_LEAST_NEEDED = ("reasons", "evidence", "responders", "rules", "remedy", "notes")
"""What a finding loses first where a message must be short."""


def message(one: Message, *, hostname: str, process: int, facility: int, most: int) -> bytes | None:
    """Return a syslog message of at most `most` octets, or None if it cannot be made so short.

    A result that is too long loses members, which `truncated` then names: half a JSON document would be none.
    """
    severity = _PRIORITIES.get(dict(one.labels).get("severity", ""), _KINDS.get(one.kind, 6))
    moment = datetime.fromtimestamp(one.at, UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    head = " ".join(
        (
            f"<{facility * 8 + severity}>{_VERSION}",
            moment,
            _name(hostname, 255),
            "imdswatch",
            str(process),
            _name(one.kind, 32),
            _structured((("id", one.id), *one.labels)),
            "",
        )
    ).encode("utf-8")
    body = _ascii(one.body)
    if len(head) + len(body) > most:
        body = _shorter(one.body, most - len(head))
    return head + body if body else None


def framed(messages: Sequence[bytes]) -> bytes:
    """Return messages as a stream carries them: each after its length in octets and a space."""
    return b"".join(b"%d %s" % (len(one), one) for one in messages)


def _ascii(body: str) -> bytes:
    if body.isascii():
        return body.encode("ascii")
    return json.dumps(json.loads(body), separators=(",", ":")).encode("ascii")


def _shorter(body: str, room: int) -> bytes:
    document = json.loads(body)
    lost: list[str] = []
    for name in _LEAST_NEEDED:
        if document.pop(name, None) is not None:
            lost.append(name)
            short = json.dumps(document | {"truncated": lost}, separators=(",", ":")).encode("ascii")
            if len(short) <= room:
                return short
    return b""


def _name(text: str, most: int) -> str:
    """Return a header field: PRINTUSASCII without spaces (RFC 5424, 6)."""
    return "".join(one for one in text if "!" <= one <= "~")[:most] or _NIL


def _structured(values: Sequence[tuple[str, str]]) -> str:
    parameters = "".join(f' {name}="{_escaped(value)}"' for name, value in values if value)
    return f"[{_SD_ID}{parameters}]"


def _escaped(value: str) -> str:
    plain = "".join(one if one.isprintable() else "?" for one in value)
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
