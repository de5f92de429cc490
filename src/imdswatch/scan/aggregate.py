"""Events become incidents: what one victim had with one endpoint asked is one finding (DESIGN 7).

`Incidents.add` takes one judged event, `merge` another table; both are commutative and associative, so the findings
depend neither on the order of files nor on how the work was cut. Of each incident only counts and, for each
combination of rules that matched, the most telling event are kept. When more than `LIMIT` such events are kept, all
are written to a temporary file, sorted, and merged at the end: memory does not grow with the number of victims.

What is kept of an event, and what is written, is packed with `marshal`: plain values, read back by the same program
only. `pickle`, which makes an object of each part, cost 44 % of the whole CPU of a log in which every line hits, and
its incidents took 60 % more memory.

Longer than most: an incident, its packed form and the table that writes it out change together.
"""

from __future__ import annotations

import heapq
import marshal
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby, islice
from operator import attrgetter, itemgetter
from typing import IO, Any, TypeVar

from imdswatch import address
from imdswatch.errors import UsageError
from imdswatch.event import endpoint, url_of, victim_ip, victim_mac
from imdswatch.finding import STAGE_RANK
from imdswatch.scan.incident import Verdict

LIMIT = 320_000
"""Incidents and events kept in memory; 0.4 kB each, an event with long texts counts for several."""
_LONG = 1 << 8  # octets of a packed event that count as one
_CHUNK = 256  # incidents that are written and read back together
_PACKING = (
    2  # version of marshal's format: the last without references, which cost more time than they save room
)
_LENGTH = 4  # octets before each chunk that say how long it is
_FEW = 8  # combinations of rules that are looked through one by one
_MAX_RESPONDERS = 16
_MAX_TOLD = 64
_NO_TIME = float("inf")
_ANSWERED, _USED = STAGE_RANK["answered"], STAGE_RANK["credentials-used"]

_KEPT = (
    "src_port", "vlan", "src_host", "process", "user_agent", "dst_ip", "dst_mac", "src_ip", "src_mac", "nat_dst",
    "ttl", "method", "host", "uri_path", "uri_query", "url", "status", "access_key_id", "account_id", "role",
    "dns_query", "payload", "answered", "arp_opcode", "nd_target", "offered_route", "tls_sni", "dst_port", "expiration",
    "gateway", "signing_key_id", "account_claim", "client", "process_origin",
)  # fmt: skip

Key = tuple[str, ...]
"""Victim, endpoint, name of the suppression, empty text for unknown or none; with `each` also source and position."""


Bounded = TypeVar("Bounded", bound=tuple[Any, ...])
Names = tuple[str, str, str, int, str]
"""Address, MAC address, NAT target, TTL and gateway of a responder; empty or -1 where unknown."""

KEY_ID = "key-id"
"""Under this word the key ids of served credentials stand among what answers told."""


@dataclass(slots=True)
class Sighting:
    """The most telling event of an incident that matched one combination of rules, and how many there were.

    `when` is infinite where the event has no time. `kept` are the packed values of `_KEPT`: a hundred thousand of
    these may be open, few are ever looked into.
    """

    combo: tuple[int, ...]
    count: int
    verdict: Verdict
    when: float
    source: str
    position: int
    unit: str
    kept: bytes

    @property
    def order(self) -> Order:
        """What is shown first comes first: the gravest, then the earliest."""
        return _order(self.verdict, self.when, self.source, self.position)

    @property
    def fields(self) -> dict[str, Any]:
        """The canonical fields that a finding shows."""
        names, *values = marshal.loads(self.kept)
        found = dict(zip(_names(names), values, strict=True))
        if found.get("url", "") is None:
            found["url"] = url_of(found)
        return found

    @property
    def weight(self) -> int:
        """How much it counts towards the limit."""
        return 1 + len(self.kept) // _LONG

    def unite(self, other: Sighting) -> None:
        """Take in what another saw of the same combination of rules."""
        self.count += other.count
        if other.order < self.order:
            self.show(other.verdict, other.when, other.source, other.position, other.unit, other.kept)

    def show(self, verdict: Verdict, when: float, source: str, position: int, unit: str, kept: bytes) -> None:
        """Let a more telling event take the place of the one that was."""
        self.verdict, self.when, self.source = verdict, when, source
        self.position, self.unit, self.kept = position, unit, kept


Order = tuple[int, int, int, float, str, int]


def _order(verdict: Verdict, when: float, source: str, position: int) -> Order:
    return -verdict.stage, -verdict.severity, -verdict.confidence, when, source, position


def packed(fields: Mapping[str, Any]) -> bytes:
    """Return what is kept of an event's fields: those that a finding shows, and no URL that they make again."""
    bits, names = _kept_of(tuple(fields))
    values = [bits, *map(fields.__getitem__, names)]
    if "uri_path" in fields and fields.get("url") == url_of(fields):
        values[1 + names.index("url")] = None
    return marshal.dumps(values, _PACKING)


@lru_cache(maxsize=1 << 10)
def _kept_of(names: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Return which of an event's fields are kept, as bits and by name; events of one log mostly have the same."""
    bits = sum(1 << number for number, name in enumerate(_KEPT) if name in names)
    return bits, _names(bits)


@lru_cache(maxsize=1 << 10)
def _names(bits: int) -> tuple[str, ...]:
    return tuple(name for number, name in enumerate(_KEPT) if bits >> number & 1)


Plain = tuple[Any, ...]
"""A key and its incident as plain values, in the order of `Incident.__slots__`."""


class Incident:
    """One open incident; merges with others of the same key.

    `told` is what the answers say of accounts: (source, account) and (`KEY_ID`, key id).
    """

    __slots__ = ("count", "first", "last", "_seen", "responders", "told")  # noqa: RUF023  the order of `Plain`

    def __init__(self) -> None:
        self.count = 0
        self.first, self.last = _NO_TIME, -_NO_TIME
        # Most incidents match one or two combinations: a dictionary would take a sixth of all memory.
        self._seen: tuple[Sighting, ...] | dict[tuple[int, ...], Sighting] = ()
        self.responders: frozenset[Names] | None = None
        self.told: frozenset[tuple[str, str]] | None = None

    @property
    def sightings(self) -> Collection[Sighting]:
        """The most telling event of each combination of rules that matched, as they came."""
        seen = self._seen
        return seen.values() if isinstance(seen, dict) else seen

    def sighting(self, combo: tuple[int, ...]) -> Sighting | None:
        """Return the most telling event of one combination of rules."""
        seen = self._seen
        if isinstance(seen, dict):
            return seen.get(combo)
        for one in seen:
            if one.combo == combo:
                return one
        return None

    def keep(self, sighting: Sighting) -> None:
        """Take in an event of a combination of rules that was not seen before."""
        seen = self._seen
        if isinstance(seen, dict):
            seen[sighting.combo] = sighting
        elif len(seen) < _FEW:
            self._seen = (*seen, sighting)
        else:
            self._seen = {one.combo: one for one in (*seen, sighting)}

    def unite(self, sighting: Sighting) -> None:
        """Take in what another incident of the same key saw; the sighting is used up."""
        held = self.sighting(sighting.combo)
        if held is None:
            self.keep(sighting)
        else:
            held.unite(sighting)

    def merge(self, other: Incident) -> None:
        """Take in another incident of the same key, which stays as it is."""
        self._take(other.count, other.first, other.last, other.responders, other.told)
        for sighting in other.sightings:
            self.unite(copy(sighting))

    def merge_plain(self, plain: Plain) -> None:
        """Take in what `plain` told of another incident of the same key."""
        _, count, first, last, seen, responders, told = plain
        self._take(count, first, last, responders, told)
        for combo, number, verdict, *event in seen:
            self.unite(Sighting(combo, number, Verdict._make(verdict), *event))

    def _take(
        self,
        count: int,
        first: float,
        last: float,
        responders: frozenset[Names] | None,
        told: frozenset[tuple[str, str]] | None,
    ) -> None:
        self.count += count
        if first < self.first:
            self.first = first
        if last > self.last:
            self.last = last
        if responders and responders != self.responders:
            self.responders = _bounded((self.responders or frozenset()) | responders, _MAX_RESPONDERS)
        if told and told != self.told:
            self.told = _bounded((self.told or frozenset()) | told, _MAX_TOLD)

    @property
    def weight(self) -> int:
        """How much it counts towards the limit."""
        return 1 + sum(sighting.weight for sighting in self.sightings)

    def plain(self, key: Key) -> Plain:
        """Return key and incident as values that `marshal` takes: no named tuples."""
        seen = [
            (one.combo, one.count, tuple(one.verdict), one.when, one.source, one.position, one.unit, one.kept)
            for one in self.sightings
        ]
        return key, self.count, self.first, self.last, seen, self.responders, self.told

    @classmethod
    def of(cls, plain: Plain) -> Incident:
        """Return the incident that `plain` told."""
        made = cls()
        made.merge_plain(plain)
        return made


def _bounded(found: frozenset[Bounded], most: int) -> frozenset[Bounded]:
    """Return the set, or its first in order where there are too many: whatever the order in which they came."""
    return found if len(found) <= most else frozenset(sorted(found)[:most])


@lru_cache(maxsize=1 << 12)
def _alone(names: Names) -> frozenset[Names]:
    """Return the set of one responder; most incidents have one, and often the same."""
    return frozenset((names,))


class Incidents:
    """All incidents of a run; see the module for what it guarantees."""

    def __init__(self, limit: int = LIMIT, *, each: bool = False) -> None:
        self.open: dict[Key, Incident] = {}
        self._limit, self._each, self._shift = limit, each, 0
        self._weight = 0
        self._runs: list[IO[bytes]] = []
        self._packed: list[bytes] = []  # chunks that came from another process

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
        if self._weight >= self._limit:
            self._spill()
        incident = self.open.get(key)
        if incident is None:
            incident = self.open[key] = Incident()
            self._weight += 1
        incident.count += 1
        when = fields.get("timestamp")
        if when is None:
            when = _NO_TIME
        else:
            if when < incident.first:
                incident.first = when
            if when > incident.last:
                incident.last = when
        held = incident.sighting(combo)
        if held is None:
            kept = packed(fields)
            incident.keep(Sighting(combo, 1, verdict, when, source, position, unit, kept))
            self._weight += 1 + len(kept) // _LONG
        else:
            held.count += 1
            # Of a log in the order of time, which most are, one look says that the first is still the one to show.
            if (when <= held.when or verdict is not held.verdict) and (
                _order(verdict, when, source, position) < held.order
            ):
                before = held.weight
                held.show(verdict, when, source, position, unit, packed(fields))
                self._weight += held.weight - before
        if _ANSWERED <= verdict.stage < _USED:  # what victims do with credentials is answered by AWS itself
            known = incident.responders
            names = answerer(fields)
            if known is None:
                incident.responders = _alone(names)
            elif names not in known:
                incident.responders = _bounded(known | {names}, _MAX_RESPONDERS)
            if "access_key_id" in fields or "account_claim" in fields:
                incident.told = _bounded((incident.told or frozenset()) | _told(fields), _MAX_TOLD)

    def merge(self, other: Incidents) -> None:
        """Take in all incidents of another table; `other` is used up."""
        for key, incident in other.items():
            if self._weight >= self._limit:
                self._spill()
            mine = self.open.get(key)
            if mine is None:
                self.open[key] = incident
                self._weight += incident.weight
            else:
                before = mine.weight
                mine.merge(incident)
                self._weight += mine.weight - before
        other.close()

    def shift(self, positions: int) -> None:
        """Add to every position: these incidents are of a part of a file, and so much came before it."""
        self._shift += positions

    def _shifted(self, key: Key, incident: Incident) -> tuple[Key, Incident]:
        if self._shift:
            for sighting in incident.sightings:
                sighting.position += self._shift
            if self._each:
                key = (*key[:-1], f"{int(key[-1]) + self._shift:020}")
        return key, incident

    def _spill(self) -> None:
        import tempfile

        run: IO[bytes] | None = None
        try:
            run = tempfile.TemporaryFile(prefix="imdswatch-")  # noqa: SIM115  closed when the run has been merged
            for chunk in _chunks((key, self.open[key]) for key in sorted(self.open)):
                run.write(len(chunk).to_bytes(_LENGTH))
                run.write(chunk)
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
        self.open, self._weight = {}, 0

    def sorted(self) -> Iterator[tuple[Key, Incident]]:
        """Yield every incident once, the gravest first; in order of key where some were written out."""
        if self._runs:
            yield from self.items()
            return
        found = dict(self.items())
        for key in sorted(found, key=lambda key: _gravest_first(key, found[key])):
            yield key, found[key]

    def items(self) -> Iterator[tuple[Key, Incident]]:
        """Yield every incident once; in order of key where some were written out, else as they came."""
        for plain in chain.from_iterable(map(marshal.loads, self._packed)):
            yield self._shifted(plain[0], Incident.of(plain))
        for key, incident in self._merged() if self._runs else self.open.items():
            yield self._shifted(key, incident)

    def _merged(self) -> Iterator[tuple[Key, Incident]]:
        streams: list[Iterable[Plain]] = [_load(run) for run in self._runs]
        streams.append(self.open[key].plain(key) for key in sorted(self.open))
        for key, group in groupby(heapq.merge(*streams, key=_KEY), key=_KEY):
            incident = Incident()
            for plain in group:
                incident.merge_plain(plain)
            yield key, incident

    def close(self) -> None:
        """Give back temporary files; the incidents in them are gone."""
        for run in self._runs:
            run.close()
        self._runs, self._packed = [], []

    def __getstate__(self) -> dict[str, object]:
        """Return what travels between processes: incidents that were written out come along in memory, packed."""
        packed = list(_chunks(self.items()))
        self.close()
        return {
            "open": {},
            "_limit": self._limit,
            "_each": self._each,
            "_shift": 0,
            "_weight": 0,
            "_runs": [],
            "_packed": packed,
        }


_KEY = itemgetter(0)  # of `Plain`
_ORDER = attrgetter("order")


def _chunks(items: Iterable[tuple[Key, Incident]]) -> Iterator[bytes]:
    """Yield the incidents packed, some at a time."""
    items = iter(items)
    while chunk := [incident.plain(key) for key, incident in islice(items, _CHUNK)]:
        yield marshal.dumps(chunk, _PACKING)


def _load(run: IO[bytes]) -> Iterator[Plain]:
    run.seek(0)
    while length := run.read(_LENGTH):
        yield from marshal.loads(run.read(int.from_bytes(length)))


def key_of(fields: Mapping[str, Any], suppressed_by: str | None) -> Key:
    """Return what makes events one incident."""
    victim = victim_ip(fields) or victim_mac(fields) or fields.get("src_host") or ""
    return victim, endpoint(fields) or "", suppressed_by or ""


def _gravest_first(key: Key, incident: Incident) -> tuple[object, ...]:
    first = min(map(_ORDER, incident.sightings))
    return first[0], first[1], incident.first, key


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
