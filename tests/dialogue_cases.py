"""Whole dialogues for tests: HTTP messages as they stand on the wire, and what a scan makes of frames.

`findings_of` judges every event of every frame, without any search before it: the slow, obvious reading.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from typing import Any

from imdswatch.event import complete
from imdswatch.finding import Finding
from imdswatch.read.dialogues import Dialogues, Observed
from imdswatch.rule import load_rules
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.findings import FindingMaker
from imdswatch.scan.judging import FirstLook, SecondLook, Window, served_victims
from imdswatch.site import Site, parse_site
from imdswatch.wire.frame import Frame

RULES = load_rules()
KEY = "ASIAQAAAAAAAFAKEFAKE"
"""Account 000000000000, as its letters say (facts: LocalStack's offset)."""
OLD_KEY = "ASIAFAKEFAKEFAKEFAKE"
ROLES = "/latest/meta-data/iam/security-credentials/"
TOKEN_HEADERS = ("X-aws-ec2-metadata-token-ttl-seconds: 21600",)


def request(method: str, target: str, *headers: str, host: str | None = "169.254.169.254") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host else []), *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def response(
    body: str | bytes = b"", status: int = 200, *headers: str, mime: str | None = "text/plain"
) -> bytes:
    octets = body.encode() if isinstance(body, str) else body
    named = [f"Content-Type: {mime}"] if mime else []
    lines = [f"HTTP/1.1 {status} Said", *named, f"Content-Length: {len(octets)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + octets


def credentials(key: str = KEY, **more: str) -> str:
    return json.dumps(
        {"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": key, "SecretAccessKey": "fake/fake", "Token": "fake"}
        | {"Expiration": "2026-11-22T07:00:00Z"} | more
    )  # fmt: skip


def observed_of(frames: Iterable[Frame]) -> list[Observed]:
    dialogues = Dialogues()
    found = [one for frame in frames for one in dialogues.push(frame)]
    return found + dialogues.end()


def events_of(frames: Iterable[Frame]) -> list[dict[str, Any]]:
    return [complete(dict(one.fields)) for one in observed_of(frames)]


def findings_of(frames: Iterable[Frame], site: str = "") -> list[Finding]:
    """Return what a scan of these frames would find, the gravest first."""
    where = parse_site(site, "site.toml", [rule.slug for rule in RULES], _TODAY) if site else Site()
    seen = [(complete(dict(one.fields)), one.number) for one in observed_of(frames)]
    incidents, window = Incidents(), Window()
    first = FirstLook(RULES, where, window)
    for fields, number in seen:
        first.take(incidents, fields, "span.pcap", "packet", number)
    for index, rule in enumerate(RULES):
        if rule.correlation is not None:
            served = served_victims(incidents, RULES, rule.correlation.timespan)
            second = SecondLook(RULES, index, where, window, served)
            for fields, number in seen:
                second.take(incidents, fields, "span.pcap", "packet", number)
    maker = FindingMaker(RULES, where)
    found = [maker.make(key, incident) for key, incident in incidents.items()]
    return sorted(found, key=lambda one: _SEVERITIES.index(one.severity))


def finding_of(frames: Iterable[Frame], site: str = "") -> Finding:
    """Return the only finding."""
    found = findings_of(frames, site)
    assert len(found) == 1, [(one.stage, one.rule, one.victim) for one in found]
    return found[0]


_SEVERITIES = ("critical", "high", "medium", "low", "informational")
_TODAY = date(2026, 11, 22)
