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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import IO, Any, NamedTuple, TypeVar

from imdswatch import address
from imdswatch.errors import UsageError
from imdswatch.event import endpoint, url_of, victim_ip, victim_mac
from imdswatch.finding import STAGE_RANK
from imdswatch.scan.incident import Verdict

LIMIT = 140_000
"""Events kept in memory; about 0.8 kB each with what belongs to them, one with long texts counts for several."""
_LONG = 1 << 8  # octets of a packed event that count as one
_CHUNK = 256  # incidents that are written and read back together
_PACKING = (
    2  # version of marshal's format: the last without references, which cost more time than they save room
)
_LENGTH = 4  # octets before each chunk that say how long it is
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
_URL = _KEPT.index("url")

Key = tuple[str, ...]
"""Victim, endpoint, name of the suppression, empty text for unknown or none; with `each` also source and position."""


Bounded = TypeVar("Bounded", bound=tuple[Any, ...])
Names = tuple[str, str, str, int, str]
"""Address, MAC address, NAT target, TTL and gateway of a responder; empty or -1 where unknown."""

KEY_ID = "key-id"
"""Under this word the key ids of served credentials stand among what answers told."""


class Sighting(NamedTuple):
    """The most telling event of an incident that matched one combination of rules, ordered by what is shown first.

    `kept` are the packed values of `_KEPT`: a hundred thousand of these may be open, few are ever looked into.
    """

    order: tuple[int, int, int, float, str, int]
    verdict: Verdict
    kept: bytes
    unit: str

    @property
    def fields(self) -> dict[str, Any]:
        """The canonical fields that a finding shows."""
        found = {
            name: value
            for name, value in zip(_KEPT, marshal.loads(self.kept), strict=True)
            if value is not None
        }
        if "url" not in found and "uri_path" in found:
            found["url"] = url_of(found)
        return found

    @property
    def weight(self) -> int:
        """How much it counts towards the limit."""
        return 1 + len(self.kept) // _LONG


def packed(fields: Mapping[str, Any]) -> bytes:
    """Return what is kept of an event's fields: those that a finding shows, and no URL that they make again."""
    values = [*map(fields.get, _KEPT)]
    if "uri_path" in fields and values[_URL] == url_of(fields):
        values[_URL] = None
    return marshal.dumps(tuple(values), _PACKING)


Plain = tuple[Any, ...]
"""A key and its incident as plain values, in the order of `Incident.__slots__`."""


class Incident:
    """One open incident; merges with others of the same key.

    `told` is what the answers say of accounts: (source, account) and (`KEY_ID`, key id).
    """

    __slots__ = ("count", "first", "last", "combos", "responders", "told")  # noqa: RUF023  the order of `Plain`

    def __init__(self) -> None:
        self.count = 0
        self.first, self.last = _NO_TIME, -_NO_TIME
        self.combos: dict[tuple[int, ...], tuple[int, Sighting]] = {}
        self.responders: frozenset[Names] | None = None
        self.told: frozenset[tuple[str, str]] | None = None

    def merge(self, other: Incident) -> None:
        """Take in another incident of the same key."""
        self._take(other.count, other.first, other.last, other.responders, other.told)
        for combo, (count, sighting) in other.combos.items():
            mine = self.combos.get(combo)
            self.combos[combo] = (
                (count, sighting)
                if mine is None
                else (mine[0] + count, mine[1] if mine[1].order <= sighting.order else sighting)
            )

    def merge_plain(self, plain: Plain) -> None:
        """Take in what `plain` told of another incident of the same key."""
        _, count, first, last, combos, responders, told = plain
        self._take(count, first, last, responders, told)
        for combo, seen, order, verdict, kept, unit in combos:
            mine = self.combos.get(combo)
            if mine is None:
                self.combos[combo] = seen, Sighting(order, Verdict._make(verdict), kept, unit)
            elif mine[1].order <= order:
                self.combos[combo] = mine[0] + seen, mine[1]
            else:
                self.combos[combo] = mine[0] + seen, Sighting(order, Verdict._make(verdict), kept, unit)

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
        return sum(sighting.weight for _, sighting in self.combos.values())

    def plain(self, key: Key) -> Plain:
        """Return key and incident as values that `marshal` takes: no named tuples."""
        combos = [
            (combo, count, order, tuple(verdict), kept, unit)
            for combo, (count, (order, verdict, kept, unit)) in self.combos.items()
        ]
        return key, self.count, self.first, self.last, combos, self.responders, self.told

    @classmethod
    def of(cls, plain: Plain) -> Incident:
        """Return the incident that `plain` told."""
        made = cls()
        _, made.count, made.first, made.last, combos, made.responders, made.told = plain
        made.combos = {
            combo: (count, Sighting(order, Verdict._make(verdict), kept, unit))
            for combo, count, order, verdict, kept, unit in combos
        }
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
            kept = packed(fields)
            sighting = Sighting(order, verdict, kept, unit)
            if held is None:
                incident.combos[combo] = (1, sighting)
                self._weight += 1 + len(kept) // _LONG
            else:
                incident.combos[combo] = (held[0] + 1, sighting)
                self._weight += sighting.weight - held[1].weight
        else:
            incident.combos[combo] = (held[0] + 1, held[1])
        if (
            _ANSWERED <= verdict.stage < _USED
        ):  # what victims do with the credentials is answered by AWS itself
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
            for combo, (count, sighting) in incident.combos.items():
                moved = sighting._replace(order=(*sighting.order[:5], sighting.order[5] + self._shift))
                incident.combos[combo] = (count, moved)
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

    @property
    def written_out(self) -> bool:
        """Whether incidents were written to a temporary file, so that they come in order of key."""
        return bool(self._runs)


_KEY = itemgetter(0)  # of `Plain`


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
