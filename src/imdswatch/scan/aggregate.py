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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import IO, Any, NamedTuple, TypeVar

from imdswatch import address
from imdswatch.errors import UsageError
from imdswatch.event import endpoint, victim_ip, victim_mac
from imdswatch.finding import STAGE_RANK
from imdswatch.scan.incident import Verdict

LIMIT = 60_000
_CHUNK = 256  # incidents that are written and read back together
_MAX_RESPONDERS = 16
_MAX_TOLD = 64
_NO_TIME = float("inf")
_ANSWERED, _USED = STAGE_RANK["answered"], STAGE_RANK["credentials-used"]

_KEPT = (
    "src_port", "vlan", "src_host", "process", "user_agent", "dst_ip", "dst_mac", "src_ip", "src_mac", "nat_dst",
    "ttl", "method", "host", "uri_path", "uri_query", "url", "status", "access_key_id", "account_id", "role",
    "dns_query", "payload", "answered", "arp_opcode", "nd_target", "offered_route", "tls_sni", "dst_port", "expiration",
    "gateway", "signing_key_id", "account_claim", "client",
)  # fmt: skip

Key = tuple[str, ...]
"""Victim, endpoint, name of the suppression, empty text for unknown or none; with `each` also source and position."""


Bounded = TypeVar("Bounded", bound=tuple[Any, ...])
Names = tuple[str, str, str, int, str]
"""Address, MAC address, NAT target, TTL and gateway of a responder; empty or -1 where unknown."""

KEY_ID = "key-id"
"""Under this word the key ids of served credentials stand among what answers told."""


class Sighting(NamedTuple):
    """The most telling event of an incident that matched one combination of rules, ordered by what is shown first.

    `kept` are the values of `_KEPT`: a hundred thousand of these may be open.
    """

    order: tuple[int, int, int, float, str, int]
    verdict: Verdict
    kept: tuple[Any, ...]
    unit: str

    @property
    def fields(self) -> dict[str, Any]:
        """The canonical fields that a finding shows."""
        return {name: value for name, value in zip(_KEPT, self.kept, strict=True) if value is not None}


class Incident:
    """One open incident; picklable, merges with others of the same key.

    `told` is what the answers say of accounts: (source, account) and (`KEY_ID`, key id).
    """

    __slots__ = ("combos", "count", "first", "last", "responders", "told")

    def __init__(self) -> None:
        self.count = 0
        self.first, self.last = _NO_TIME, -_NO_TIME
        self.combos: dict[tuple[int, ...], tuple[int, Sighting]] = {}
        self.responders: set[Names] | None = None
        self.told: set[tuple[str, str]] | None = None

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
            self.responders = _bounded((self.responders or set()) | other.responders, _MAX_RESPONDERS)
        if other.told:
            self.told = _bounded((self.told or set()) | other.told, _MAX_TOLD)


def _bounded(found: set[Bounded], most: int) -> set[Bounded]:
    """Return the set, or its first in order where there are too many: whatever the order in which they came."""
    return found if len(found) <= most else set(sorted(found)[:most])


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
            kept = tuple(map(fields.get, _KEPT))
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
                incident.responders = _bounded(known | {names}, _MAX_RESPONDERS)
            if "access_key_id" in fields or "account_claim" in fields:
                incident.told = _bounded((incident.told or set()) | _told(fields), _MAX_TOLD)

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
        run: IO[bytes] | None = None
        try:
            run = tempfile.TemporaryFile(prefix="imdswatch-")  # noqa: SIM115  closed when the run has been merged
            keys = sorted(self.open)
            for start in range(0, len(keys), _CHUNK):
                chunk = [(key, self.open[key]) for key in keys[start : start + _CHUNK]]
                pickle.dump(chunk, run, protocol=pickle.HIGHEST_PROTOCOL)
            run.flush()
        except OSError as error:
            if run is not None:
                with suppress(OSError):  # what is still buffered cannot be written either
                    run.close()
            raise UsageError(
                f"cannot write temporary files: {(error.strerror or str(error)).lower()}",
                file=tempfile.gettempdir(),
                help="set TMPDIR to a folder with room: about 1 kB for each host that asked",
            ) from error
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
            yield from pickle.load(run)
        except EOFError:
            return


def key_of(fields: Mapping[str, Any], suppressed_by: str | None) -> Key:
    """Return what makes events one incident."""
    victim = victim_ip(fields) or victim_mac(fields) or fields.get("src_host") or ""
    return victim, endpoint(fields) or "", suppressed_by or ""


def _told(fields: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return what one answer says of accounts: each claim, and the key id that it served."""
    told = {(source, number) for source, _, number in map(_claim, fields.get("account_claim") or ())}
    key_id = fields.get("access_key_id")
    return told | {(KEY_ID, key_id)} if key_id else told


def _claim(text: str) -> tuple[str, str, str]:
    return text.partition(":")


def answerer(fields: Mapping[str, Any]) -> Names:
    """Return who answered; the address is the endpoint's own where only the request names it."""
    get = fields.get
    claims = (
        get("src_ip") in address.ENDPOINTS or get("nd_target") in address.ENDPOINTS or get("offered_route")
    )
    mac = get("src_mac") if claims else get("dst_mac")
    ip = get("src_ip") if claims else get("dst_ip")
    if get("offered_route"):  # a server or router: it says where the endpoint is, not that it is the endpoint
        return ip or "", mac or "", "", _ttl(fields), get("gateway") or ""
    if ip is None or (ip not in address.ENDPOINTS and (asked := endpoint(fields)) in address.ENDPOINTS):
        # Behind a proxy or a translation the record names the endpoint only in the request.
        asked = endpoint(fields)
        nat = ip if ip is not None and not claims else None
        return (asked or ip or ""), mac or "", get("nat_dst") or nat or "", _ttl(fields), ""
    return ip, mac or "", get("nat_dst") or "", _ttl(fields), ""


def _ttl(fields: Mapping[str, Any]) -> int:
    ttl: int = fields.get("ttl", -1)
    return ttl
