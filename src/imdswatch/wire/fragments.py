"""Fragments of IP datagrams are kept until a datagram is whole, and every reading of it is handed back.

Where fragments overlap and differ, hosts disagree about which copy counts (Shankar and Paxson 2003, "Active
mapping"; RFC 5722 lets IPv6 drop the datagram), so that the first copies make one datagram and the last copies
another; both are to be judged. Fragments may come in any order and repeatedly.

Bounded: what is kept counts against `octets`; the datagram that was touched longest ago goes first, and goes to the
caller, who judges what its first fragment says. A datagram's pieces are given up `SECONDS` after its first fragment
when its number is used again (RFC 8200 4.5; busy hosts reuse 16-bit numbers within seconds). Time is linear in the
octets pushed. Pure; raises nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

SECONDS = 60.0
_OVERHEAD = 300  # octets of memory that a piece takes beyond its own, about
_BEGUN = 800  # and that a datagram takes beyond its pieces
_MOST_OVERLAPPING = 4 * 65536  # octets of one datagram: as much again and again is no datagram but an attack

Context = TypeVar("Context")


class Piece(NamedTuple):
    """One fragment: where its octets belong, and whether more follow them."""

    start: int
    octets: bytes
    more: bool


class Whole(NamedTuple, Generic[Context]):
    """A reading of a datagram: its octets and what the caller said of the fragment that begins it."""

    octets: bytes
    context: Context


class Partial(NamedTuple, Generic[Context]):
    """A datagram that never became whole: the octets from its beginning that are there, and how many it had.

    Without its first fragment there are no octets, and `context` is of whichever fragment came first.
    """

    octets: bytes
    claimed: int
    context: Context
    begins: bool


class _Datagram(Generic[Context]):
    __slots__ = ("begins", "context", "cost", "have", "length", "pieces", "since")

    def __init__(self, context: Context, since: float | None) -> None:
        self.pieces: list[Piece] = []
        self.have = 0  # one bit for every eight octets that came
        self.length: int | None = None  # known from the last fragment
        self.cost = _BEGUN
        self.begins = False
        self.context = context
        self.since = since

    def add(self, piece: Piece, context: Context) -> int:
        """Keep a piece, unless too many lie on top of one another; return the memory that it takes."""
        start, octets, more = piece
        units = _units(start, start + len(octets))
        if self.have & units and self.cost > _MOST_OVERLAPPING:
            return 0
        self.have |= units
        if not more and self.length is None:
            self.length = start + len(octets)
        if start == 0 and not self.begins:
            self.begins, self.context = True, context
        self.pieces.append(piece)
        cost = len(octets) + _OVERHEAD
        self.cost += cost
        return cost

    def whole(self) -> bool:
        """Say whether every octet up to the end that the last fragment named is there."""
        return self.length is not None and _covers(self.have, self.length)


class Fragments(Generic[Context]):
    """The datagrams of one capture that are not whole yet; `octets` bounds the memory that they take."""

    def __init__(self, octets: int = 32 << 20) -> None:
        self._limit = octets
        self._cost = 0
        self._datagrams: OrderedDict[Hashable, _Datagram[Context]] = OrderedDict()
        self._gone: list[Partial[Context]] = []

    def push(
        self, key: Hashable, piece: Piece, time: float | None, context: Context
    ) -> tuple[Whole[Context], ...]:
        """Add a fragment of the datagram that `key` names; return its readings once it is whole."""
        start, octets, more = piece
        if more and len(octets) % 8:  # hosts cut such a fragment or drop it; only the last may be odd
            octets = octets[: len(octets) // 8 * 8]
        if not octets:
            return ()
        datagram = self._datagrams.get(key)
        if datagram is not None and _too_old(datagram.since, time):
            self._give_up(key)
            datagram = None
        if datagram is None:
            datagram = self._datagrams[key] = _Datagram(context, time)
            self._cost += datagram.cost
        else:
            self._datagrams.move_to_end(key)
        self._cost += datagram.add(Piece(start, octets, more), context)
        if datagram.whole():
            del self._datagrams[key]
            self._cost -= datagram.cost
            return tuple(Whole(octets, datagram.context) for octets in _readings(datagram))
        while self._cost > self._limit:
            self._give_up(next(iter(self._datagrams)))
        return ()

    def _give_up(self, key: Hashable) -> None:
        datagram = self._datagrams.pop(key)
        self._cost -= datagram.cost
        self._gone.append(_partial(datagram))

    def gone(self) -> list[Partial[Context]]:
        """Return, once, the datagrams that were given up since this was last asked."""
        if not self._gone:
            return []
        gone, self._gone = self._gone, []
        return gone

    def expire(self, now: float, seconds: float) -> Iterator[Partial[Context]]:
        """Give up the datagrams that began so long ago, of those touched longest ago; for a live sensor."""
        while self._datagrams:
            key, oldest = next(iter(self._datagrams.items()))
            if oldest.since is None or now - oldest.since <= seconds:
                break
            self._give_up(key)
        yield from self.gone()

    def end(self) -> Iterator[Partial[Context]]:
        """Give up every datagram: the capture is over."""
        while self._datagrams:
            self._give_up(next(iter(self._datagrams)))
        yield from self.gone()


def _too_old(since: float | None, now: float | None) -> bool:
    return since is not None and now is not None and now - since > SECONDS


def _units(start: int, end: int) -> int:
    """Return the bits of the eight-octet units between two octets (RFC 791 counts offsets in them)."""
    first, beyond = start >> 3, (end + 7) >> 3
    return ((1 << (beyond - first)) - 1) << first


def _covers(have: int, length: int) -> bool:
    full = _units(0, length)
    return have & full == full


def _readings(datagram: _Datagram[Context]) -> list[bytes]:
    """Write the pieces over one another, the first copies on top and then the last."""
    assert datagram.length is not None
    first = _overlay(reversed(datagram.pieces), datagram.length)
    last_length = next(p.start + len(p.octets) for p in reversed(datagram.pieces) if not p.more)
    last = _overlay(datagram.pieces, last_length)
    # A second end that lies behind the octets which came is no datagram, only a quarrel about the first.
    if last == first or not _covers(datagram.have, last_length):
        return [first]
    return [first, last]


def _overlay(pieces: Iterator[Piece] | list[Piece], length: int) -> bytes:
    octets = bytearray(length)
    for start, some, _ in pieces:
        if start < length:
            octets[start : start + len(some)] = some
    return bytes(octets[:length])


def _partial(datagram: _Datagram[Context]) -> Partial[Context]:
    pieces = sorted(datagram.pieces, key=lambda piece: piece.start)
    end = 0
    for piece in pieces:
        if piece.start > end:
            break
        end = max(end, piece.start + len(piece.octets))
    claimed = max(piece.start + len(piece.octets) for piece in pieces)
    return Partial(_overlay(reversed(datagram.pieces), end), claimed, datagram.context, datagram.begins)
