"""What a report calls the parties of a finding: the host that asked, what it asked, who answered; pure.

Names are texts as they came: every sink escapes them for its own medium.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imdswatch import address, event
from imdswatch.finding import STAGE_RANK, Finding

_ANSWERED = STAGE_RANK["answered"]


def victim(finding: Finding) -> str:
    """Return the host that asked by its address, MAC or name; empty where none is known."""
    get = finding.victim.get
    return str(get("ip") or get("mac") or get("host") or "")


def endpoint(finding: Finding) -> str:
    """Return what was asked: an endpoint's address if any is named, else the custom endpoint."""
    host, ip = finding.request.get("host"), finding.responder.get("ip")
    for candidate in (ip, host):
        named = event.named_endpoint(candidate) if isinstance(candidate, str) else None
        if named is not None:
            return named
    return str(host or ip or "")


def answerer(finding: Finding) -> str:
    """Return what names the responder best: its MAC, NAT target, own address or gateway; empty if unknown or none."""
    return next(answerers(finding), "")


def answerers(finding: Finding) -> Iterator[str]:
    """Yield the name of each responder that has one, that of the highest stage first; none where nothing answered."""
    if STAGE_RANK.get(finding.stage, 0) >= _ANSWERED:
        asked = endpoint(finding)
        names = (_named(one, asked) for one in (finding.responder, *finding.responders))
        yield from dict.fromkeys(name for name in names if name)


def _named(responder: Mapping[str, object], asked: str) -> str:
    get = responder.get
    ip = str(get("ip") or "")
    own = ip if ip not in (asked, address.split_port(asked)[0]) else ""
    return str(get("mac") or get("nat_ip") or own or get("gateway") or "")
