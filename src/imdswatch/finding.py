"""What a person acts on (Finding), and what could not be looked at (Skipped).

Both travel to the report as values. `Finding` is the frozen public shape of DESIGN 7; the sinks in `report/` print
it. Stages and severities are ordered here, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from imdswatch.verdict import Reason

STAGES = ("attempted", "requested", "answered", "credentials-served", "credentials-used")
"""How far the impersonation got, in order."""
STAGE_RANK = {name: rank for rank, name in enumerate(STAGES)}

SEVERITIES = ("informational", "low", "medium", "high", "critical")
SEVERITY_RANK = {name: rank for rank, name in enumerate(SEVERITIES)}

CONFIDENCES = ("low", "medium", "high")
CONFIDENCE_RANK = {name: rank for rank, name in enumerate(CONFIDENCES)}


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something could not be looked at: where, and why. A result, never only a log line."""

    source: str
    position: str
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One place where it can be seen; the excerpt has no secrets."""

    source: str
    position: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One incident: what one victim had with one endpoint asked.

    Texts come from logs, which an attacker may write: every sink escapes them for its own medium. Empty mappings
    and None mean unknown; nothing is invented.
    """

    rule: str
    rules: Mapping[str, int]
    title: str
    stage: str
    severity: str
    confidence: str
    first_seen: float | None
    last_seen: float | None
    count: int
    victim: Mapping[str, object]
    responder: Mapping[str, object]
    responders: tuple[Mapping[str, object], ...]
    request: Mapping[str, object]
    account: Mapping[str, object]
    evidence: tuple[Evidence, ...]
    cause: str
    attack: tuple[str, ...]
    suppressed_by: str | None
    remedy: str
    fingerprint: str
    verdict: str = ""
    """What the probe judged the answerer to be (`imdswatch.verdict`), and why; empty in what logs show."""
    reasons: tuple[Reason, ...] = ()


def fingerprint(victim: str | None, endpoint: str | None) -> str:
    """Return the stable id of an incident: it depends on victim and endpoint only, so it stays as the stage rises."""
    text = f"imdswatch/1\x00{victim or ''}\x00{endpoint or ''}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run looked at, and how long it took. `seconds` is wall time."""

    sources: int = 0
    bytes: int = 0
    records: int = 0
    findings: int = 0
    suppressed: int = 0
    skipped: int = 0
    ignored: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())
