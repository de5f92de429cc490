"""Pieces of requests: which segments may hold one, and whether the pieces together hold what is wanted.

`wire.halves` says of one segment whether others may complete it. Here the pieces are joined: if all are there and
hold nothing, their flow is of no interest; if one is missing, or octets came twice and may say two things, the flow is
taken, and read in full. Each buffer is looked at when it comes (`mark`), and when later ones are there (`settle`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from imdswatch.read.packets import Packets
from imdswatch.scan.wiresearch import Search
from imdswatch.wire import halves
from imdswatch.wire.columns import Bools, Bytes, Columns, Ints, Keys

MOST = 400_000
"""Flows that are remembered."""
_TABLE = 1 << 18
_LONGEST = 64 << 10  # octets of a head that are joined
_WORK = 50_000  # segments that are looked through for pieces, for each buffer; a capture made of pieces is read in full
_STARTS = frozenset(int.from_bytes((name + " ").encode()[:4]) for name in halves.METHODS)
_BLANK_LINE = 0x0D0A0D0A
_IS_BLANK, _IS_CAPITAL = 1, 2
_KINDS = np.zeros(256, np.uint8)
_KINDS[[0x20, 0x09]], _KINDS[0x41:0x5B] = _IS_BLANK, _IS_CAPITAL


class Flows:
    """Keys of flows, with a table that tells most others apart at once; of too many the older half is forgotten."""

    def __init__(self) -> None:
        self.count = 0
        """How many were ever added."""
        self._known: dict[int, None] = {}
        self._table = np.zeros(_TABLE, np.bool_)

    def __contains__(self, key: object) -> bool:
        return key in self._known

    def add(self, keys: Sequence[int]) -> None:
        """Remember keys; 0 is none."""
        known = self._known
        fresh = [key for key in keys if key and key not in known]
        if not fresh:
            return
        self.count += len(fresh)
        known.update(dict.fromkeys(fresh))
        if len(known) > MOST:
            fresh = list(known)[MOST // 2 :]
            self._known = dict.fromkeys(fresh)
            self._table[:] = False
        self._table[[key & _TABLE - 1 for key in fresh]] = True

    def among(self, keys: Keys) -> Ints:
        """Return the indices of the keys that are known."""
        maybe = np.flatnonzero(self._table[(keys & np.uint64(_TABLE - 1)).view(np.int64)])
        known = self._known
        found = [key in known for key in keys[maybe].tolist()]
        out: Ints = maybe[found]
        return out


@dataclass(slots=True)
class Held:
    """The packets of a buffer that were looked at.

    chosen      those that are wanted whatever becomes known later
    directions  of each TCP segment: its flow and which way it goes
    opened, pieces  segments in which a head begins and does not end; that may begin within one
    """

    packets: Packets
    found: Columns
    chosen: Bools
    directions: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))
    opened: list[tuple[int, int]] = field(default_factory=list)
    pieces: list[int] = field(default_factory=list)

    def segment(self, row: int) -> bytes:
        """Return the captured payload of a segment."""
        return bytes(self.packets.octets[self.found.starts[row] : self.found.ends[row]])

    def sequence(self, rows: Ints) -> Ints:
        """Return the sequence numbers of some segments."""
        octets = self.packets.octets
        numbers = np.ndarray((len(octets) - 3,), ">u4", octets, 0, (1,))
        return numbers[self.found.heads[rows] + 4].astype(np.int64)


Pieces = dict[int, tuple[Held, int]]
"""Segments of one direction by their sequence number: where each stands."""


class Requests:
    """The requests of one capture that are in pieces, or were sent twice.

    A second copy may say something else, and the words be cut between the two: of each direction in which a request was
    seen, `_reached` has the sequence number up to which octets came (RFC 9293 3.4).
    """

    def __init__(self, search: Search, flows: Flows) -> None:
        self.search, self._flows = search, flows
        self._asking = Flows()
        self._reached: dict[int, int] = {}
        self._used: set[tuple[int, int]] = set()
        """Pieces that were joined to others: direction and sequence number."""

    def mark(self, held: Held, sign: Bools) -> None:
        """Look at each segment of a buffer that came; `sign` says which packets hold a sign of a request."""
        found, octets, search = held.found, held.packets.octets, self.search
        held.directions = found.keys[found.tcp] ^ found.sides
        signs = sign[found.tcp]
        asking = np.flatnonzero(signs)
        self._asking.add(held.directions[asking].tolist())
        places = zip(found.starts[asking].tolist(), found.ends[asking].tolist(), strict=True)
        rare = search.rare([bytes(octets[start:end]) for start, end in places])
        for row in self._doubtful(held, signs):
            segment = held.segment(row)
            if halves.within(segment):
                held.pieces.append(row)
            if signs[row] and (opened := halves.opened(segment)) >= 0:
                held.opened.append((row, opened))
        self._take(held, asking[sorted(rare)].tolist())

    def _doubtful(self, held: Held, signs: Bools) -> list[int]:
        """Return the segments that may hold a piece: all that may, but for most requests that are whole."""
        found, octets = held.found, held.packets.octets
        small = found.ends - found.starts <= halves.TINY
        rests = _rests(np.frombuffer(octets, np.uint8), found.starts, ~(signs | small))
        rows = np.flatnonzero(signs | small | rests)
        words = np.ndarray((len(octets) - 3,), ">u4", octets, 0, (1,))
        first, last = words[found.starts[rows]], words[found.ends[rows] - 4]
        # What begins with a method and ends with an empty line is whole.
        whole = ((last == _BLANK_LINE) | (last & 0xFFFF == 0x0A0A)) & ~small[rows]
        whole[whole] = [begin in _STARTS for begin in first[whole].tolist()]
        out: list[int] = rows[~(whole | found.cut[rows])].tolist()
        return out

    def settle(self, held: Held, later: Sequence[Held]) -> None:
        """Join the pieces of a buffer with what came later, and see what came twice."""
        self._twice(held)
        following = self._following(held, later)
        for row, opened in held.opened:
            self._join(held, row, opened, following)
        alone = [row for row in held.pieces if self._name(held, row) not in self._used]
        self._take(held, alone)
        if len(self._used) > MOST:
            self._used.clear()

    def _following(self, held: Held, later: Sequence[Held]) -> dict[int, Pieces]:
        """Return what there is of the directions in which a head is open; nothing if that is too much to go through."""
        found: dict[int, Pieces] = {}
        if not held.opened:
            return found
        directions, work = held.directions[[row for row, _ in held.opened]], 0
        for one in (held, *later):
            rows = np.flatnonzero(np.isin(one.directions, directions))
            work += len(rows)
            if work > _WORK:
                return {}
            for row, direction, begins in zip(
                rows.tolist(), one.directions[rows].tolist(), one.sequence(rows).tolist(), strict=True
            ):
                found.setdefault(direction, {}).setdefault(begins, (one, row))
        return found

    def _take(self, held: Held, rows: list[int]) -> None:
        self._flows.add(held.found.keys[held.found.tcp[rows]].tolist())

    def _name(self, held: Held, row: int) -> tuple[int, int]:
        return int(held.directions[row]), int(held.sequence(np.array([row]))[0])

    def _join(self, held: Held, row: int, opened: int, following: dict[int, Pieces]) -> None:
        """Join the pieces of one head; take the flow if they hold what is wanted or do not fit."""
        direction, number = self._name(held, row)
        if held.found.keys[held.found.tcp[row]] in self._flows:
            return
        joined, pieces = bytearray(held.segment(row)), following.get(direction, {})
        reached = number + len(joined) & 0xFFFFFFFF
        while not halves.ended(joined, opened):
            place = pieces.get(reached)
            if place is None or place[0].found.cut[place[1]] or len(joined) > _LONGEST:
                self._take(held, [row])
                return
            self._used.add((direction, reached))
            joined += place[0].segment(place[1])
            reached = number + len(joined) & 0xFFFFFFFF
        if self.search.touches(bytes(joined)):
            self._take(held, [row])

    def _twice(self, held: Held) -> None:
        rows = self._asking.among(held.directions)
        if not len(rows):
            return
        found, reached, again = held.found, self._reached, []
        rows = rows[np.argsort(found.tcp[rows], kind="stable")]
        for row, direction, number, size in zip(
            rows.tolist(), held.directions[rows].tolist(), held.sequence(rows).tolist(),
            (found.ends[rows] - found.starts[rows]).tolist(), strict=True,
        ):  # fmt: skip
            before = reached.get(direction)
            if before is not None and 0 < (before - number & 0xFFFFFFFF) < 1 << 31:
                again.append(row)
            else:
                reached[direction] = number + size & 0xFFFFFFFF
        if len(reached) > MOST:
            self._reached = dict(list(reached.items())[MOST // 2 :])
        self._take(held, again)


def _rests(octets: Bytes, starts: Ints, among: Bools) -> Bools:
    """Say which of some segments begin with a blank, or with capitals and a blank: a method, or the rest of one."""
    out = np.zeros(len(starts), np.bool_)
    under_way = np.flatnonzero(among)
    for position in range(halves.LONGEST_REST + 1):
        kind = _KINDS[octets[starts[under_way] + position]]
        out[under_way[kind == _IS_BLANK]] = True
        under_way = under_way[kind == _IS_CAPITAL]
        if not len(under_way):
            break
    return out
