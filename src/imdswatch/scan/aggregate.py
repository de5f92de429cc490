"""Events become incidents: what one victim had with one endpoint asked is one finding (DESIGN 7).

`Incidents.add` takes one judged event, `merge` another table; both are commutative and associative, so the findings
depend neither on the order of files nor on how the work was cut. Of each incident only counts and, for each
combination of rules that matched, the most telling event are kept. When more than `LIMIT` incidents are open they are
written to a temporary file, sorted, and merged at the end: memory does not grow with the number of victims.
"""

from __future__ import annotations

import heapq
import pickle
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import IO, Any, NamedTuple

from imdswatch import account, address
from imdswatch.event import endpoint, victim_ip, victim_mac
from imdswatch.finding import CONFIDENCES, SEVERITIES, STAGE_RANK, STAGES, Evidence, Finding, fingerprint
from imdswatch.redact import redact
from imdswatch.rule import Rule
from imdswatch.scan.incident import BULLETIN, Verdict
from imdswatch.site import Site

LIMIT = 40_000
_MAX_EVIDENCE = 5
_MAX_RESPONDERS = 16
_EXCERPT = 240
_NO_TIME = float("inf")
_ANSWERED, _USED = STAGE_RANK["answered"], STAGE_RANK["credentials-used"]

_KEPT = (
    "src_port", "vlan", "src_host", "process", "user_agent", "dst_ip", "dst_mac", "src_ip", "src_mac", "nat_dst",
    "ttl", "method", "host", "uri_path", "uri_query", "url", "status", "access_key_id", "account_id", "role",
    "dns_query", "payload", "answered", "arp_opcode", "nd_target", "offered_route", "tls_sni", "dst_port", "expiration",
)  # fmt: skip

Key = tuple[str, ...]
"""Victim, endpoint, name of the suppression, empty text for unknown or none; with `each` also source and position."""


class Sighting(NamedTuple):
    """The most telling event of an incident that matched one combination of rules, ordered by what is shown first."""

    order: tuple[int, int, int, float, str, int]
    verdict: Verdict
    fields: dict[str, Any]
    unit: str


class Incident:
    """One open incident; picklable, merges with others of the same key."""

    __slots__ = ("combos", "count", "first", "last", "responders")

    def __init__(self) -> None:
        self.count = 0
        self.first, self.last = _NO_TIME, -_NO_TIME
        self.combos: dict[tuple[int, ...], tuple[int, Sighting]] = {}
        self.responders: set[tuple[str, str, str, int]] | None = None

    def merge(self, other: Incident) -> None:
        """Take in another incident of the same key."""
        self.count += other.count
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        for combo, (count, sighting) in other.combos.items():
            mine = self.combos.get(combo)
            self.combos[combo] = (
                (count, sighting)
                if mine is None
                else (mine[0] + count, mine[1] if mine[1].order <= sighting.order else sighting)
            )
        if other.responders:
            self.responders = _bounded((self.responders or set()) | other.responders)


def _bounded(found: set[tuple[str, str, str, int]]) -> set[tuple[str, str, str, int]]:
    return found if len(found) <= _MAX_RESPONDERS else set(sorted(found)[:_MAX_RESPONDERS])


class Incidents:
    """All incidents of a run; see the module for what it guarantees."""

    def __init__(self, limit: int = LIMIT, *, each: bool = False) -> None:
        self.open: dict[Key, Incident] = {}
        self._limit, self._each, self._shift = limit, each, 0
        self._runs: list[IO[bytes]] = []

    def add(
        self,
        key: Key,
        combo: tuple[int, ...],
        verdict: Verdict,
        fields: Mapping[str, Any],
        source: str,
        unit: str,
        position: int,
    ) -> None:
        """Count one event; `unit` and `position` say where it stands, `combo` which rules matched."""
        if self._each:
            key = (*key, source, f"{position:020}")
        incident = self.open.get(key)
        if incident is None:
            if len(self.open) >= self._limit:
                self._spill()
            incident = self.open[key] = Incident()
        when = fields.get("timestamp")
        incident.count += 1
        if when is not None:
            if when < incident.first:
                incident.first = when
            if when > incident.last:
                incident.last = when
        order = (
            -verdict.stage, -verdict.severity, -verdict.confidence,
            _NO_TIME if when is None else when, source, position,
        )  # fmt: skip
        held = incident.combos.get(combo)
        if held is None or order < held[1].order:
            kept = {name: fields[name] for name in _KEPT if name in fields}
            incident.combos[combo] = (
                1 if held is None else held[0] + 1,
                Sighting(order, verdict, kept, unit),
            )
        else:
            incident.combos[combo] = (held[0] + 1, held[1])
        if (
            _ANSWERED <= verdict.stage < _USED
        ):  # what victims do with the credentials is answered by AWS itself
            known = incident.responders
            names = answerer(fields)
            if known is None:
                incident.responders = {names}
            elif names not in known:
                incident.responders = _bounded(known | {names})

    def merge(self, other: Incidents) -> None:
        """Take in all incidents of another table; `other` is used up."""
        for key, incident in other.items():
            mine = self.open.get(key)
            if mine is not None:
                mine.merge(incident)
            else:
                if len(self.open) >= self._limit:
                    self._spill()
                self.open[key] = incident
        other.close()

    def shift(self, positions: int) -> None:
        """Add to every position: these incidents are of a part of a file, and so much came before it."""
        self._shift += positions

    def _shifted(self, key: Key, incident: Incident) -> tuple[Key, Incident]:
        if self._shift:
            for combo, (count, sighting) in incident.combos.items():
                moved = sighting._replace(order=(*sighting.order[:5], sighting.order[5] + self._shift))
                incident.combos[combo] = (count, moved)
            if self._each:
                key = (*key[:-1], f"{int(key[-1]) + self._shift:020}")
        return key, incident

    def _spill(self) -> None:
        run = tempfile.TemporaryFile(prefix="imdswatch-")  # noqa: SIM115  closed when the run has been merged
        pickler = pickle.Pickler(run, protocol=pickle.HIGHEST_PROTOCOL)
        for key in sorted(self.open):
            pickler.dump((key, self.open[key]))
            pickler.clear_memo()
        self._runs.append(run)
        self.open = {}

    def items(self) -> Iterator[tuple[Key, Incident]]:
        """Yield every incident once; in order of key where some were written out, else as they came."""
        for key, incident in self._merged() if self._runs else self.open.items():
            yield self._shifted(key, incident)

    def _merged(self) -> Iterator[tuple[Key, Incident]]:
        streams: list[Iterable[tuple[Key, Incident]]] = [_load(run) for run in self._runs]
        streams.append((key, self.open[key]) for key in sorted(self.open))
        current: tuple[Key, Incident] | None = None
        for key, incident in heapq.merge(*streams, key=itemgetter(0)):
            if current is not None and current[0] == key:
                current[1].merge(incident)
            else:
                if current is not None:
                    yield current
                current = (key, incident)
        if current is not None:
            yield current

    def close(self) -> None:
        """Give back temporary files; the incidents in them are gone."""
        for run in self._runs:
            run.close()
        self._runs = []

    def __getstate__(self) -> dict[str, object]:
        """Return what travels between processes: incidents that were written out come along in memory."""
        everything = dict(self.items())
        self.close()
        return {
            "open": everything,
            "_limit": self._limit,
            "_each": self._each,
            "_shift": 0,
            "_runs": [],
        }

    @property
    def written_out(self) -> bool:
        """Whether incidents were written to a temporary file, so that they come in order of key."""
        return bool(self._runs)


def _load(run: IO[bytes]) -> Iterator[tuple[Key, Incident]]:
    run.seek(0)
    while True:
        try:
            yield pickle.load(run)
        except EOFError:
            return


def key_of(fields: Mapping[str, Any], suppressed_by: str | None) -> Key:
    """Return what makes events one incident."""
    victim = victim_ip(fields) or victim_mac(fields) or fields.get("src_host") or ""
    return victim, endpoint(fields) or "", suppressed_by or ""


def answerer(fields: Mapping[str, Any]) -> tuple[str, str, str, int]:
    """Return address, MAC address, NAT target and TTL of whoever answered; empty or -1 where unknown."""
    get = fields.get
    claims = (
        get("src_ip") in address.ENDPOINTS or get("nd_target") in address.ENDPOINTS or get("offered_route")
    )
    mac = get("src_mac") if claims else get("dst_mac")
    ip = get("src_ip") if claims else get("dst_ip")
    if ip is None or (ip not in address.ENDPOINTS and (asked := endpoint(fields)) in address.ENDPOINTS):
        # Behind a proxy or a translation the record names the endpoint only in the request.
        asked = endpoint(fields)
        nat = ip if ip is not None and not claims else None
        return (asked or ip or ""), mac or "", get("nat_dst") or nat or "", _ttl(fields)
    return ip, mac or "", get("nat_dst") or "", _ttl(fields)


def _ttl(fields: Mapping[str, Any]) -> int:
    ttl: int = fields.get("ttl", -1)
    return ttl


def to_finding(key: Key, incident: Incident, rules: Sequence[Rule], site: Site) -> Finding:
    """Return the finding that people read; texts are redacted here."""
    victim, asked, suppressed = key[:3]
    sightings = sorted((s for _, s in incident.combos.values()), key=lambda s: s.order)
    best = sightings[0]
    rule = rules[best.verdict.rule]
    counts: dict[str, int] = {}
    for combo, (count, _) in incident.combos.items():
        for index in combo:
            counts[rules[index].slug] = counts.get(rules[index].slug, 0) + count
    responder, others = _responders(sightings, incident)
    stage = STAGES[best.verdict.stage]
    return Finding(
        rule=rule.slug,
        rules=dict(sorted(counts.items())),
        title=rule.title,
        stage=stage,
        severity=SEVERITIES[best.verdict.severity],
        confidence=CONFIDENCES[best.verdict.confidence],
        first_seen=None if incident.first == _NO_TIME else incident.first,
        last_seen=None if incident.last == -_NO_TIME else incident.last,
        count=incident.count,
        victim=_victim(victim, sightings),
        responder=responder,
        responders=others,
        request=_request(sightings, asked),
        account=_account(sightings, site),
        evidence=tuple(
            Evidence(s.order[4], f"{s.unit} {s.order[5]}", excerpt(s.fields))
            for s in sightings[:_MAX_EVIDENCE]
        ),
        cause=best.verdict.cause,
        attack=tuple(
            dict.fromkeys(tag for slug in counts for r in rules if r.slug == slug for tag in r.attack)
        ),
        suppressed_by=suppressed or None,
        remedy=remedy(rule, best.verdict),
        fingerprint=fingerprint(victim or None, asked or None),
    )


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
        if advice is not None and rule.slug != BULLETIN:
            return advice
    return rule.remedy


def _first(sightings: Sequence[Sighting], name: str) -> Any:
    return next((s.fields[name] for s in sightings if s.fields.get(name) is not None), None)


def _present(**values: Any) -> dict[str, object]:
    return {
        name: redact(value) if isinstance(value, str) else value
        for name, value in values.items()
        if value is not None and value not in ("", [])
    }


def _victim(victim: str, sightings: Sequence[Sighting]) -> dict[str, object]:
    vlans = sorted({vlan for s in sightings for vlan in s.fields.get("vlan") or ()})
    mac = next((found for s in sightings if (found := victim_mac(s.fields))), None)
    return _present(
        ip=victim if address.parse(victim) else None,
        mac=mac,
        port=_first([s for s in sightings if s.fields.get("src_ip") == victim], "src_port"),
        vlan=vlans,
        host=_first(sightings, "src_host"),
        process=_first(sightings, "process"),
        user_agent=_first(sightings, "user_agent"),
    )


def _responders(
    sightings: Sequence[Sighting], incident: Incident
) -> tuple[dict[str, object], tuple[dict[str, object], ...]]:
    if not incident.responders:
        return {}, ()
    names = sorted(incident.responders, key=lambda one: (-sum(map(bool, one[1:3])), one))
    best = next((s for s in sightings if _ANSWERED <= s.verdict.stage < _USED), None)
    first = answerer(best.fields) if best is not None else names[0]
    if not any(first[1:3]):
        first = names[0] if names[0][0] == first[0] else first
    shown = [_responder(one) for one in dict.fromkeys([first, *names])]
    # A record without MAC or NAT says nothing that a fuller record of the same address does not say.
    rest = [one for one in shown[1:] if not one.items() <= shown[0].items()]
    return shown[0], tuple(rest)


def _responder(names: tuple[str, str, str, int]) -> dict[str, object]:
    ip, mac, nat, ttl = names
    return _present(ip=ip, mac=mac, nat_ip=nat, ttl=ttl if ttl >= 0 else None)


def _request(sightings: Sequence[Sighting], asked: str) -> dict[str, object]:
    shown = next((s for s in sightings if s.fields.get("uri_path") or s.fields.get("method")), None)
    if shown is None:
        name = _first(sightings, "dns_query")
        return _present(host=name or asked)
    get = shown.fields.get
    return _present(
        method=get("method"), host=get("host") or asked, path=get("uri_path"), status=get("status")
    )


def _account(sightings: Sequence[Sighting], site: Site) -> dict[str, object]:
    key_id, given = _first(sightings, "access_key_id"), _first(sightings, "account_id")
    role = _first(sightings, "role")
    derived = account.account_of(key_id) if key_id else None
    number = given or derived
    if number is None and key_id is None and role is None:
        return {}
    expected = number in site.expected_accounts if number and site.expected_accounts else None
    source = None if number is None else "access-key-id" if derived == number else "document"
    found = _present(id=number, expected=expected, access_key_id=key_id, role=role)
    return found if source is None else {**found, "from": source}


def excerpt(fields: Mapping[str, Any]) -> str:
    """Return one line that shows the event without secrets: built from known fields, or cut from the raw record."""
    get = fields.get
    payload = get("payload")
    if payload is not None:
        return redact(payload)[:_EXCERPT]
    parts: list[str] = [f"{get('src_ip') or '?'} -> {get('dst_ip') or get('host') or '?'}"]
    if get("arp_opcode"):
        parts = [f"ARP {get('arp_opcode')}: {get('src_ip') or '?'} is at {get('src_mac') or '?'}"]
    if get("offered_route"):
        parts = [
            f"route offered for {', '.join(get('offered_route') or ())} by {get('src_ip') or get('src_mac') or '?'}"
        ]
    if get("dns_query"):
        parts.append(f"DNS {get('dns_query')}")
    if get("tls_sni"):
        parts.append(f"TLS {get('tls_sni')}")
    if get("method") or get("url"):
        parts.append(f"{get('method') or ''} {get('url') or ''}".strip())
    if get("status") is not None:
        parts.append(f"status {get('status')}")
    elif get("answered") is not None:
        parts.append("answered" if get("answered") else "no answer")
    if get("nat_dst"):
        parts.append(f"translated to {get('nat_dst')}")
    if get("user_agent"):
        parts.append(f"({get('user_agent')})")
    return redact(" ".join(parts))[:_EXCERPT]
