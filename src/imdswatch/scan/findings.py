"""Incidents become the findings that people read: what to show of an incident, and what to do next.

Pure. Texts are redacted here, so that no sink can forget it. Excerpts are built from known fields; only a record of
unknown layout is quoted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from operator import attrgetter
from typing import Any

from imdswatch import account, address, vendor
from imdswatch.event import victim_mac
from imdswatch.finding import CONFIDENCES, SEVERITIES, STAGE_RANK, STAGES, Evidence, Finding, fingerprint
from imdswatch.redact import redact
from imdswatch.rule import Rule
from imdswatch.scan.aggregate import KEY_ID, Incident, Key, Names, Sighting, answerer
from imdswatch.scan.incident import BULLETIN, Verdict
from imdswatch.site import Site

_MAX_EVIDENCE = 5
_EXCERPT = 240
_NEVER = float("inf")
_ANSWERED, _USED = STAGE_RANK["answered"], STAGE_RANK["credentials-used"]
_NOTHING: dict[str, object] = {}
Fields = Mapping[str, Any]


class FindingMaker:
    """Makes the findings of one run; remembers what depends on the rules alone."""

    def __init__(self, rules: Sequence[Rule], site: Site) -> None:
        self._rules, self._site = tuple(rules), site
        self._slugs = [rule.slug for rule in rules]
        self._attack: dict[tuple[int, ...], tuple[str, ...]] = {}

    def make(self, key: Key, incident: Incident) -> Finding:
        """Return what people read of one incident."""
        victim, asked, suppressed = key[:3]
        sightings = [*incident.sightings]
        if len(sightings) > 1:
            sightings.sort(key=attrgetter("order"))
        seen = [sighting.fields for sighting in sightings]
        best = sightings[0]
        verdict = best.verdict
        rule = self._rules[verdict.rule]
        counts = _counts(sightings)
        matched = tuple(sorted(counts))
        responder, others = _responders(sightings, seen, incident)
        whose = _account(seen, incident, self._site)
        return Finding(
            rule=rule.slug,
            rules={self._slugs[index]: counts[index] for index in matched},
            title=rule.title,
            stage=STAGES[verdict.stage],
            severity=SEVERITIES[verdict.severity],
            confidence=CONFIDENCES[verdict.confidence],
            first_seen=None if incident.first == _NEVER else incident.first,
            last_seen=None if incident.last == -_NEVER else incident.last,
            count=incident.count,
            victim=_victim(victim, seen),
            responder=responder,
            responders=others,
            request=_request(seen, asked),
            account=whose,
            evidence=tuple(
                [
                    Evidence(s.source, f"{s.unit} {s.position}", excerpt(fields))
                    for s, fields in zip(sightings[:_MAX_EVIDENCE], seen, strict=False)
                ]
            ),
            cause=verdict.cause,
            attack=self._techniques(matched),
            suppressed_by=suppressed or None,
            remedy=remedy(rule, verdict) + (_FORGED_REMEDY if "forged" in whose else ""),
            fingerprint=fingerprint(victim or None, asked or None),
        )

    def _techniques(self, matched: tuple[int, ...]) -> tuple[str, ...]:
        known = self._attack.get(matched)
        if known is None:
            known = tuple(dict.fromkeys(tag for index in matched for tag in self._rules[index].attack))
            self._attack[matched] = known
        return known


def _counts(sightings: Iterable[Sighting]) -> dict[int, int]:
    """Return how many events each rule matched."""
    counts: dict[int, int] = {}
    for sighting in sightings:
        for index in sighting.combo:
            counts[index] = counts.get(index, 0) + sighting.count
    return counts


_CAUSE_REMEDY = {
    "misconfiguration": "An AWS tool on this host asks IMDS though nobody answers. Set AWS_EC2_METADATA_DISABLED=true "
    "for it, or give it credentials of its own, and block 169.254.169.254 and fd00:ec2::254 at the host.",
    "cloud-application": "Software for another cloud, or a multi-cloud agent, asks here. Tell it where it runs, "
    "or suppress it by source and responder if it is meant to ask.",
}


def remedy(rule: Rule, verdict: Verdict) -> str:
    """Return what to do next: it follows the cause, then the rule."""
    if verdict.stage < _ANSWERED or verdict.cause == "cloud-application":
        advice = _CAUSE_REMEDY.get(verdict.cause)
        if advice is not None and rule.slug not in BULLETIN:
            return advice
    return rule.remedy


def _first(seen: Sequence[Fields], name: str) -> Any:
    for fields in seen:
        if name in fields:
            return fields[name]
    return None


def _present(**values: Any) -> dict[str, object]:
    return {
        name: redact(value) if value.__class__ is str else value
        for name, value in values.items()
        if value is not None and value != "" and value != []
    }


def _victim(victim: str, seen: Sequence[Fields]) -> dict[str, object]:
    stacks: set[tuple[int, ...]] = set()
    mac: str | None = None
    for fields in seen:
        stacks.add(tuple(fields.get("vlan") or ()))  # a list, where an incident was kept as JSON
        mac = mac or victim_mac(fields)
    # Outer tag first, as the frame has them; a record that shows all tags says more than one that shows some.
    ordered = sorted(stacks, key=lambda tags: (-len(tags), tags)) if len(stacks) > 1 else stacks
    vlans = list(dict.fromkeys(vlan for stack in ordered for vlan in stack))
    own: dict[str, object] = {"ip": victim} if address.parse(victim) else {}  # no address is a secret
    return own | _present(
        mac=mac,
        port=_first([fields for fields in seen if fields.get("src_ip") == victim], "src_port"),
        vlan=vlans,
        host=_first(seen, "src_host"),
        process=_first(seen, "process"),
        user_agent=_first(seen, "user_agent"),
        client=_first(seen, "client"),
    )


def _responders(
    sightings: Sequence[Sighting], seen: Sequence[Fields], incident: Incident
) -> tuple[Mapping[str, object], tuple[Mapping[str, object], ...]]:
    if not incident.responders:
        return _NOTHING, ()
    if len(incident.responders) == 1:
        return _responder(next(iter(incident.responders))), ()
    names = sorted(incident.responders, key=lambda one: (-sum(map(bool, one[1:3])), one))
    stages = zip(sightings, seen, strict=True)
    best = next((fields for s, fields in stages if _ANSWERED <= s.verdict.stage < _USED), None)
    first = answerer(best) if best is not None else names[0]
    if not any(first[1:3]):
        first = names[0] if names[0][0] == first[0] else first
    shown = [_responder(one) for one in dict.fromkeys([first, *names])]
    # A record without MAC or NAT says nothing that a fuller record of the same address does not say.
    rest = [one for one in shown[1:] if not one.items() <= shown[0].items()]
    return shown[0], tuple(rest)


@lru_cache(maxsize=1 << 12)
def _responder(names: Names) -> Mapping[str, object]:
    """Return what is shown of one responder; a hundred thousand victims may have had the same."""
    ip, mac, nat, ttl, gateway = names
    return _present(
        ip=ip, mac=mac, nat_ip=nat, ttl=ttl if ttl >= 0 else None, vendor=vendor.of(mac), gateway=gateway
    )


def _request(seen: Sequence[Fields], asked: str) -> dict[str, object]:
    for fields in seen:
        get = fields.get
        path, method = get("uri_path"), get("method")
        if path or method:
            return _present(method=method, host=get("host") or asked, path=path, status=get("status"))
    # Of some requests only the reply was captured.
    return _present(host=_first(seen, "dns_query") or asked, status=_first(seen, "status"))


_WHOSE = frozenset({"access_key_id", "signing_key_id", "role", "account_id"})
"""Fields without which nothing says whose account it is; what answers claimed stands in `Incident.told`."""
CLAIMS = ("access-key-id", "document", "iam-info", "identity-document")
"""What can say whose account it is, the most trusted first: a key id that works carries its true account."""

_FORGED_REMEDY = (
    " The answers name different AWS accounts (account.claims), so at least one was made up: rely on none of them, "
    "and keep the packets for AWS to compare."
)


def _account(seen: Sequence[Fields], incident: Incident, site: Site) -> dict[str, object]:
    if incident.told is None and all(map(_WHOSE.isdisjoint, seen)):
        return _NOTHING
    key_id = _first(seen, "access_key_id") or _first(seen, "signing_key_id")
    role = _first(seen, "role")
    claims = _claims(seen, incident)
    if key_id is None and role is None and not claims:
        return _NOTHING
    derived = account.account_of(key_id) if key_id else None
    source = next((source for source in CLAIMS if source in claims), None)
    number = derived or (sorted(claims[source])[0] if source is not None else None)
    expected = number in site.expected_accounts if number and site.expected_accounts else None
    found = {**_present(id=number, expected=expected), **_present(**{"from": source})}
    found |= _present(access_key_id=key_id, role=role)
    if len(claims) > 1:
        found["claims"] = {one: redact(" ".join(sorted(claims[one]))) for one in CLAIMS if one in claims}
        if _disagree(claims.values()):
            found["forged"] = True
    return found


def _claims(seen: Sequence[Fields], incident: Incident) -> dict[str, set[str]]:
    """Return which accounts each source named; a key id names its own, whether or not the record says so."""
    claims: dict[str, set[str]] = {}
    keys = {fields["access_key_id"] for fields in seen if fields.get("access_key_id")}
    for source, number in incident.told or ():
        if source == KEY_ID:
            keys.add(number)
        elif source in CLAIMS:
            claims.setdefault(source, set()).add(number)
    for number in filter(None, map(account.account_of, keys)):
        claims.setdefault("access-key-id", set()).add(number)
    for fields in seen:
        given = fields.get("account_id")
        if given and "account_claim" not in fields and given not in claims.get("access-key-id", ()):
            claims.setdefault("document", set()).add(given)
    return claims


def _disagree(claims: Iterable[set[str]]) -> bool:
    """Say whether two sources have no account in common: one set of credentials belongs to one account."""
    return any(not one & other for one, other in combinations(claims, 2))


def excerpt(fields: Mapping[str, Any]) -> str:
    """Return one line that shows the event without secrets: built from known fields, or cut from the raw record."""
    get = fields.get
    payload = get("payload")
    if payload is not None:
        return redact(payload)[:_EXCERPT]
    source, asked = get("src_ip") or "?", get("dst_ip") or get("host") or "?"
    parts = [f"{source} -> {asked}"]
    if opcode := get("arp_opcode"):
        parts = [f"ARP {opcode}: {source} is at {get('src_mac') or '?'}"]
    if routes := get("offered_route"):
        parts = [f"route offered for {', '.join(routes)} by {get('src_ip') or get('src_mac') or '?'}"]
    if query := get("dns_query"):
        parts.append(f"DNS {query}")
    if name := get("tls_sni"):
        parts.append(f"TLS {name}")
    if key := get("signing_key_id"):
        parts.append(f"signed with {key}")
    method, url = get("method") or "", get("url") or ""
    if method or url:
        parts.append(f"{method} {url}".strip())
    if (status := get("status")) is not None:
        parts.append(f"status {status}")
    elif (answered := get("answered")) is not None:
        parts.append("answered" if answered else "no answer")
    if nat := get("nat_dst"):
        parts.append(f"translated to {nat}")
    if origin := get("process_origin"):
        parts.append(f"by {get('process')}, {origin}")
    if agent := get("user_agent"):
        parts.append(f"({agent})")
    return redact(" ".join(parts))[:_EXCERPT]
