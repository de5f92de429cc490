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
    """Return what names the responder best; empty if it is unknown, or if nothing answered."""
    return next(answerers(finding), "")


def answerers(finding: Finding) -> Iterator[str]:
    """Yield the name of each responder that has one, that of the highest stage first; none where nothing answered."""
    if STAGE_RANK.get(finding.stage, 0) >= _ANSWERED:
        names = map(responder, (finding.responder, *finding.responders))
        yield from dict.fromkeys(name for name in names if name)


def responder(known: Mapping[str, object]) -> str:
    """Return the name of a responder: its MAC, NAT target, address or gateway.

    The endpoint's own address names nobody: whoever answers there has it.
    """
    get = known.get
    ip = str(get("ip") or "")
    own = "" if ip in address.ENDPOINTS else ip
    return str(get("mac") or get("nat_ip") or own or get("gateway") or "")
