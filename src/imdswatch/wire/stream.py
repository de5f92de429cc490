"""Put the segments of one direction of a TCP connection in order, with both readings of what overlaps.

Positions are sequence numbers that do not wrap: a position modulo 2**32 is its sequence number (RFC 9293 3.4).
A stream begins where a SYN says so; in a capture that began later, at the lowest segment of the first few.

Segments that lie ahead are kept until the hole before them is filled, or until it is sure or necessary that it never
will be. Where kept segments overlap, one reading takes each octet from the segment that came first and one from
the segment that came last: hosts do either, and mixtures (Novak and Sturges 2007, "Target-based TCP stream
reassembly"). Octets that were handed out already are remembered as the last copies have them, so that a later copy
that differs is noticed.

Longer than most modules, as every rule about holes and copies stands in one class.

Time is O(n log n) in the segments, whatever their order and size. The caller bounds the memory by what `held` says.
"""

from __future__ import annotations

import heapq
from itertools import pairwise
from typing import NamedTuple

from imdswatch.wire.packet import ACK, Packet

HISTORY = 1 << 16
"""Octets remembered of what was handed out: a window that is not scaled, which is what can be sent before an answer."""

PATIENCE = 3
"""Packets of the connection to wait for octets that the other side has acknowledged: captures of several queues or
taps put an acknowledgement before what it acknowledges."""

_OVERHEAD = 400  # octets of memory that a kept segment takes beyond its own, about


class Segment(NamedTuple):
    """Octets that one packet brought; ordered by position and then by arrival."""

    start: int
    arrival: int
    octets: bytes
    missing: int
    packet: Packet

    @property
    def end(self) -> int:
        """Return the position behind the last octet that was captured."""
        return self.start + len(self.octets)


class Part(NamedTuple):
    """The next octets in both readings, equally many, or how many are missing (then there are none)."""

    first: bytes
    first_packet: Packet
    last: bytes
    last_packet: Packet
    missing: int = 0


class Stream:
    """One direction. `next` is the position that comes next, None while the beginning is not known."""

    __slots__ = (
        "_ahead_since", "_arrivals", "_cost", "_held_since", "_segments", "_tail", "_tail_start",
        "acked", "ended", "fin", "isn", "near", "next", "start",
    )  # fmt: skip

    def __init__(self) -> None:
        self.isn: int | None = None
        self.start = 0
        self.next: int | None = None
        self.near: int | None = None  # where this side is, as far as it or the other said
        self.acked: int | None = None
        self.fin: int | None = None
        self.ended = False
        self._segments: list[Segment] = []
        self._arrivals = 0
        self._cost = 0
        self._held_since = 0
        self._ahead_since: int | None = None
        self._tail = bytearray()
        self._tail_start = 0

    @property
    def held(self) -> int:
        """Return the octets of memory that kept segments and remembered octets take, about."""
        return len(self._tail) + self._cost

    @property
    def waiting(self) -> int:
        """Return the octets of memory that kept segments take, about."""
        return self._cost

    def position(self, seq: int) -> int:
        """Return the position nearest to where this side is that has this sequence number."""
        near = self.near
        if near is None:
            return seq
        return near + ((seq - near + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    def begin(self, position: int) -> None:
        """Say where the stream begins, unless that is known."""
        if self.next is None:
            self.start = self.next = self._tail_start = position
            if self.near is None:
                self.near = position

    def acknowledge(self, position: int, count: int) -> None:
        """Note that the other side has everything before a position; `count` counts the connection's packets."""
        if self.acked is None or position > self.acked:
            self.acked = position
            if self.near is None or position > self.near:
                self.near = position
            if self._ahead_since is None and (self.next is None or position > self.next):
                self._ahead_since = count

    def finish(self, position: int) -> None:
        """Note the FIN of this side; another one counts only if the stream went on behind the first."""
        if self.fin is None or (self.next is not None and self.next > self.fin):
            self.fin = position

    def lacks(self, packet: Packet) -> bool:
        """Say whether a packet of the other side acknowledges octets of this one that have not come."""
        if not packet.flags & ACK or self.next is None:
            return False
        acked = self.position(packet.ack)
        return acked > self.next and not (self.fin == self.next and acked == self.next + 1)

    def rewrites(self, start: int, octets: bytes, allowed: bool) -> bool:
        """Say whether octets that were handed out came again and differ; remember them as they are now, if allowed."""
        if self.next is None or start >= self.next:
            return False
        if len(octets) == 1 and start == self.next - 1 and self.acked is not None and self.acked >= self.next:
            return False  # a keep-alive: its octet means nothing (RFC 9293 3.8.4)
        low, high = max(start, self._tail_start), min(start + len(octets), self._tail_start + len(self._tail))
        if low >= high:
            return False
        old = slice(low - self._tail_start, high - self._tail_start)
        new = octets[low - start : high - start]
        if self._tail[old] == new:
            return False
        if allowed:
            self._tail[old] = new
        return True

    def push(self, start: int, octets: bytes, missing: int, packet: Packet, count: int) -> list[Part]:
        """Add a segment; return what it puts in order. What lies before `next` was handed out and is left alone."""
        if self.next is None:
            if not self._segments:
                self._held_since = count
            self._keep(start, octets, missing, packet)
            if self.near is None:
                self.near = start
            return []
        if start > self.next:
            self._keep(start, octets, missing, packet)
            return []
        old = self.next - start
        if old >= len(octets) + missing:
            return []
        if old:
            missing -= max(0, old - len(octets))
            octets = octets[old:]
        if self._segments and self._segments[0].start <= self.next + len(octets) + missing:
            self._keep(self.next, octets, missing, packet)
            return self._drain()
        return self._advance([Segment(self.next, 0, octets, missing, packet)])

    def _keep(self, start: int, octets: bytes, missing: int, packet: Packet) -> None:
        self._arrivals += 1
        heapq.heappush(self._segments, Segment(start, self._arrivals, octets, missing, packet))
        self._cost += _cost(octets, packet)

    def _drain(self) -> list[Part]:
        """Take the kept segments that follow one another from `next` on."""
        run: list[Segment] = []
        end = self.next
        assert end is not None
        while self._segments and self._segments[0].start <= end:
            segment = heapq.heappop(self._segments)
            self._cost -= _cost(segment.octets, segment.packet)
            run.append(segment)
            end = max(end, segment.end + segment.missing)
        return self._advance(run)

    def _advance(self, run: list[Segment]) -> list[Part]:
        end = max((segment.end + segment.missing for segment in run), default=self.next)
        parts = _in_order(run) if _disjoint(run) else _overlay(run)
        self.next = end
        assert end is not None
        if self.near is None or end > self.near:
            self.near = end
        if self._ahead_since is not None and self.acked is not None and end >= self.acked:
            self._ahead_since = None
        return parts

    def due(self, count: int) -> bool:
        """Say whether what is missing before the kept segments is missing for good, or the beginning is certain.

        It is when the other side has acknowledged it and `PATIENCE` packets of the connection brought nothing; a
        beginning is certain when the other side has everything before it.
        """
        if not self._segments:
            return False
        lowest = self._segments[0].start
        covered = self.acked is not None and self.acked >= lowest
        if self.next is None:
            return covered or count - self._held_since >= PATIENCE
        return covered and self._ahead_since is not None and count - self._ahead_since >= PATIENCE

    def skip(self) -> list[Part]:
        """Go on at the lowest kept segment, whatever is missing before it."""
        if not self._segments:
            return []
        lowest = self._segments[0]
        parts: list[Part] = []
        if self.next is None:
            self.begin(lowest.start)
        elif lowest.start > self.next:
            parts.append(Part(b"", lowest.packet, b"", lowest.packet, lowest.start - self.next))
            self.next = lowest.start
        return parts + self._drain()

    def drop_farthest(self) -> None:
        """Forget the half of the kept segments that lies farthest ahead."""
        self._segments.sort()  # a sorted list is a heap
        for segment in self._segments[len(self._segments) // 2 :]:
            self._cost -= _cost(segment.octets, segment.packet)
        del self._segments[len(self._segments) // 2 :]

    def outstanding(self) -> int:
        """Return how many octets were acknowledged, or stand before the FIN, and never came."""
        if self.next is None:
            return 0
        return max(self.next, self.fin or self.next, self.acked_data() or self.next) - self.next

    def acked_data(self) -> int | None:
        """Return the position up to which the other side has octets, not counting an acknowledged FIN."""
        if self.acked is not None and self.fin is not None and self.acked == self.fin + 1:
            return self.fin
        return self.acked

    def remember(self, octets: bytes) -> None:
        """Remember octets as handed out."""
        self._tail += octets
        if len(self._tail) > 2 * HISTORY:
            beyond = len(self._tail) - HISTORY
            del self._tail[:beyond]
            self._tail_start += beyond

    def forget(self, missing: int = 0) -> None:
        """Forget what was handed out, and what is missing behind it."""
        self._tail_start += len(self._tail) + missing
        self._tail = bytearray()

    def history(self) -> tuple[int, bytes]:
        """Return how many octets are forgotten, and those that are remembered."""
        return self._tail_start - self.start, bytes(self._tail)


def _cost(octets: bytes, packet: Packet) -> int:
    return len(octets) + len(packet.frame.data) + _OVERHEAD


def _disjoint(run: list[Segment]) -> bool:
    return all(a.end + a.missing <= b.start for a, b in pairwise(run))


def _in_order(run: list[Segment]) -> list[Part]:
    parts = []
    for _, _, octets, missing, packet in run:
        if octets:
            parts.append(Part(octets, packet, octets, packet))
        if missing:
            parts.append(Part(b"", packet, b"", packet, missing))
    return parts


def _overlay(run: list[Segment]) -> list[Part]:
    """Cut segments that overlap at one another's edges and say of each stretch whose copy came first and last."""
    edges = {segment.start for segment in run} | {segment.end for segment in run}
    edges.add(max(segment.end + segment.missing for segment in run))
    oldest: list[tuple[int, Segment]] = []
    newest: list[tuple[int, Segment]] = []
    stretches: list[tuple[int, int, Segment | None, Segment | None]] = []
    following = 0
    for left, right in pairwise(sorted(edges)):
        while following < len(run) and run[following].start <= left:
            segment = run[following]
            heapq.heappush(oldest, (segment.arrival, segment))
            heapq.heappush(newest, (-segment.arrival, segment))
            following += 1
        while oldest and oldest[0][1].end <= left:
            heapq.heappop(oldest)
        while newest and newest[0][1].end <= left:
            heapq.heappop(newest)
        first = oldest[0][1] if oldest else None
        last = newest[0][1] if newest else None
        if stretches and stretches[-1][2] is first and stretches[-1][3] is last:
            left = stretches.pop()[0]
        stretches.append((left, right, first, last))
    parts: list[Part] = []
    for left, right, first, last in stretches:
        if first is None or last is None:
            packet = parts[-1].first_packet if parts else run[0].packet
            parts.append(Part(b"", packet, b"", packet, right - left))
        else:
            parts.append(
                Part(
                    first.octets[left - first.start : right - first.start], first.packet,
                    last.octets[left - last.start : right - last.start], last.packet,
                )
            )  # fmt: skip
    return parts
