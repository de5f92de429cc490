"""`merged` reads several captures as one, in the order of time: the files of a rotated set, or of several sensors.

Guarantees: a capture is opened when its first packet is due, so that a set of thousands of files needs few
descriptors; within a capture the order of the file stays, and packets without a time follow the one before them; each
packet is numbered `source << SHIFT | number`, where `source` counts the captures as they were given. What is no capture
is handed to `other`. Memory: a buffer for each capture that is open at a time, and those that are handed out.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from imdswatch.finding import Skipped
from imdswatch.read.captures import PADDING, packets_of
from imdswatch.read.packets import Packets
from imdswatch.read.sources import Ignored, Source
from imdswatch.read.streams import Stream, Table, open_streams

SHIFT = 40
"""Bits of a number that count packets."""
_SIZE = 1 << 20  # octets of a buffer: several captures are open at a time
_BEFORE = 24  # octets before a packet that are copied with it: its time stands there

Other = Callable[[Stream | Table], None]


def merged(
    sources: Sequence[Source], names: list[str], other: Other, read: Callable[[int], None]
) -> Iterator[Packets | Skipped | Ignored]:
    """Yield the packets of all sources in the order of time; `names` grows by the name of each capture in turn.

    `read` is told of each capture, once, how many octets it had.
    """
    waiting: list[tuple[float, int, _Reader]] = []
    for number, source in enumerate(sources):
        reader = _Reader(source, names, other, read)
        first = reader.advance()
        yield from reader.told()
        if first is not None:
            if source.mtime is not None:
                reader.close()  # opened again when it is due
            waiting.append((first, number, reader))
    heapq.heapify(waiting)
    while waiting:
        _, number, reader = heapq.heappop(waiting)
        if reader.packets is None:
            reader.reopen()
            yield from reader.told()
        until = waiting[0][0] if waiting else None
        while (packets := reader.take(until)) is not None:
            yield packets
            yield from reader.told()
        yield from reader.told()
        if reader.next is not None:
            heapq.heappush(waiting, (reader.next, number, reader))


@dataclass(slots=True)
class _Place:
    """How far a capture was read."""

    index: int = 0
    source: int = -1


class _Reader:
    """The captures of one source, one after the other."""

    def __init__(self, source: Source, names: list[str], other: Other, read: Callable[[int], None]) -> None:
        self._source, self._names, self._other, self._read = source, names, other, read
        self._told: list[Skipped | Ignored] = []
        self._again = False
        self._passed: set[str] = set()  # streams that were given to `other` when the source was first opened
        self._known: dict[str, int] = {}
        self._place = _Place()
        self._packets = self._all()
        self.packets: Packets | None = None
        self.next: float | None = None

    def told(self) -> list[Skipped | Ignored]:
        """Return, once, what could not be read."""
        told, self._told = self._told, []
        return told

    def close(self) -> None:
        """Give the file back; what was told so far is told."""
        self._packets.close()  # type: ignore[attr-defined]
        self.packets, self._again = None, True

    def reopen(self) -> None:
        """Begin again, to read it all."""
        self._packets = self._all()
        self.advance()

    def advance(self) -> float | None:
        """Go to the next buffer of packets; return the time of its first one, None at the end."""
        self.packets, self._place.index = next(self._packets, None), 0
        if self.packets is None:
            self.next = None
        else:
            when = self.packets.when(0)
            self.next = when if when is not None else (self.next or 0.0)
        return self.next

    def take(self, until: float | None) -> Packets | None:
        """Return the next packets that are not after `until`, None where there is none."""
        packets = self.packets
        if packets is None or (until is not None and self.next is not None and self.next > until):
            return None
        start = stop = self._place.index
        last = self.next
        while stop < len(packets):
            when = packets.when(stop) if until is not None else None
            if when is not None and until is not None and when > until:
                last = when
                break
            stop += 1
        found = _copied(packets, start, stop, self._place.source)
        if stop == len(packets):
            self.advance()
        else:
            self._place.index, self.next = stop, last
        return found

    def _all(self) -> Iterator[Packets]:
        for found in open_streams(self._source, until_interrupt=True):
            if isinstance(found, Table):
                if found.name not in self._passed:
                    self._passed.add(found.name)
                    self._other(found)
            elif not isinstance(found, Stream):
                if not self._again:
                    self._told.append(found)
            elif not found.capture:
                if found.name not in self._passed:
                    self._passed.add(found.name)
                    self._other(found)
            else:
                yield from self._capture(found)

    def _capture(self, stream: Stream) -> Iterator[Packets]:
        if stream.name not in self._known:
            self._known[stream.name] = len(self._names)
            self._names.append(stream.name)
        for found in packets_of(stream, size=_SIZE):
            if isinstance(found, Skipped):
                self._told.append(found)
            else:
                self._place.source = self._known[stream.name]
                yield found
        self._read(stream.bytes)  # not reached where the file is given back, to be opened again


def _copied(packets: Packets, start: int, stop: int, source: int) -> Packets:
    """Return some packets in a buffer of their own, with what stands before them."""
    base = max(0, packets.starts[start] - _BEFORE)
    octets = packets.octets[base : packets.end(stop - 1)] + bytes(PADDING)
    first = source << SHIFT | (packets.first + start)
    return Packets(
        octets,
        first,
        [place - base for place in packets.starts[start:stop]],
        [packets.end(index) - base for index in range(start, stop)],
        packets.interfaces[start:stop] if len(packets.interfaces) > 1 else packets.interfaces,
        list(range(first, first + stop - start)),
    )
