"""A finding becomes what the page knows of it: a few values to sort and filter by, and details read when it is opened.

Pure. All texts are made visible here (`markup.shown`), so whatever shows them later needs to know nothing of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import orjson

from imdswatch.finding import CONFIDENCE_RANK, SEVERITY_RANK, STAGE_RANK, Finding
from imdswatch.report import clock, names
from imdswatch.report.html.markup import LONGEST, plain, shown

TEXTS = (
    "victim", "host", "endpoint", "answerer", "account", "rule", "title", "cause", "suppressed", "remedy", "path",
    "client", "source", "also",
)  # fmt: skip
"""Columns that hold texts; empty where unknown. `also` is searched and never shown."""
NUMBERS = ("stage", "severity", "confidence", "count", "first", "last", "expected", "more")
"""Columns that hold integers; times are milliseconds since 1970 or null. `more` counts evidence left out."""

EVIDENCE = 20
"""Places that one finding shows."""
LINES = 20
"""Lines of a remedy."""
_COUNTABLE = (1 << 53) - 1


@dataclass(frozen=True, slots=True)
class Row:
    """What the page knows of one finding; values in the order of TEXTS and NUMBERS, details as plain JSON."""

    texts: list[str]
    numbers: list[int | None]
    details: dict[str, Any]


def row(finding: Finding) -> Row:
    """Return the row of a finding."""
    victim, request, account = finding.victim, finding.request, finding.account
    responders = [value for one in (finding.responder, *finding.responders) for value in one.values()]
    also = (
        victim.get("mac"),
        account.get("access_key_id"),
        account.get("role"),
        *responders,
        finding.fingerprint,
    )
    texts = (
        names.victim(finding),
        victim.get("host") if victim.get("ip") or victim.get("mac") else None,
        names.endpoint(finding),
        names.answerer(finding),
        account.get("id"),
        finding.rule,
        finding.title,
        finding.cause,
        finding.suppressed_by,
        finding.remedy,
        " ".join(str(part) for part in (request.get("method"), request.get("path")) if part),
        victim.get("process") or victim.get("client") or victim.get("user_agent"),
        finding.evidence[0].source if finding.evidence else None,
        " ".join(str(part) for part in also if part),
    )
    evidence, expected = finding.evidence[:EVIDENCE], account.get("expected")
    numbers = [
        STAGE_RANK.get(finding.stage, 0),
        SEVERITY_RANK.get(finding.severity, 0),
        CONFIDENCE_RANK.get(finding.confidence, 0),
        min(finding.count, _COUNTABLE),
        _milliseconds(finding.first_seen),
        _milliseconds(finding.last_seen),
        {True: 1, False: 2}.get(expected, 0) if isinstance(expected, bool) else 0,
        len(finding.evidence) - len(evidence),
    ]
    details = {
        "count": f"{finding.count:,}",
        "victim": finding.victim,
        "responder": finding.responder,
        "responders": finding.responders,
        "request": finding.request,
        "account": finding.account,
        "rules": finding.rules,
        "attack": finding.attack,
        "evidence": [(one.source, one.position, one.excerpt) for one in evidence],
        "verdict": finding.verdict,
        "reasons": [(one.speaks_for, one.text) for one in finding.reasons],
        "fingerprint": finding.fingerprint,
    }
    visible = ["" if text is None else str(text) for text in texts]
    remedy = TEXTS.index("remedy")
    visible[remedy] = ""
    if not _all_plain(visible):
        visible = [*map(shown, visible)]
    visible[remedy] = "\n".join(map(shown, finding.remedy.splitlines()[:LINES]))
    return Row(visible, numbers, _visible(details))


def _all_plain(texts: list[str]) -> bool:
    joined = "".join(texts)
    return len(joined) <= LONGEST and joined.isascii() and joined.isprintable()


def _visible(details: dict[str, Any]) -> dict[str, Any]:
    """Return what `plain` returns; most details are printable ASCII throughout, which their JSON tells at once."""
    try:
        packed = orjson.dumps(details, option=orjson.OPT_STRICT_INTEGER)
    except TypeError:  # numbers that JavaScript cannot hold, keys that are no texts, lone surrogates
        packed = b"\\"
    if len(packed) <= LONGEST and b"\\" not in packed and b"\x7f" not in packed and packed.isascii():
        return {name: value for name, value in details.items() if value}
    known = plain(details)
    assert isinstance(known, dict)
    return known


def _milliseconds(seconds: float | None) -> int | None:
    moment = clock.moment(seconds)
    return None if moment is None or seconds is None else math.floor(seconds * 1000)
