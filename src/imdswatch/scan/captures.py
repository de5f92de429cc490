"""Captures in, judged events out: select → decode → dialogue → predicate, in constant memory.

Guarantees: every packet is looked at; what could not be read is a `Skipped`; evidence names packets by their number in
their capture. The result is that of reading every packet in full (`Selection` says what it promises). Nothing here
raises for what a capture holds. Imported only where a capture is met: numpy takes longer to load than most logs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

from imdswatch import address
from imdswatch.event import complete
from imdswatch.finding import Skipped
from imdswatch.read.captures import packets_of
from imdswatch.read.dialogues import Dialogues, Observed
from imdswatch.read.merged import SHIFT, Other, merged
from imdswatch.read.packets import Interface, Packets
from imdswatch.read.sources import Ignored, Source
from imdswatch.read.streams import Stream
from imdswatch.scan.flows import HELD, Selection
from imdswatch.scan.text import Look, Outcome
from imdswatch.scan.wirepatterns import needed_on_wire
from imdswatch.scan.wiresearch import Search
from imdswatch.scan.work import Conditions
from imdswatch.wire.frame import Frame
from imdswatch.wire.links import LINKTYPES, name

_COUNT = (1 << SHIFT) - 1


class CaptureSearch:
    """What is searched for in all captures of one look, compiled once.

    What `later` asks for chooses nothing in the first look: whether it stood anywhere is only noted, in `watched`. In
    the second look it counts in packets of the `hosts`, which are named by address (IP or MAC).
    """

    def __init__(self, first: Conditions, later: Conditions = (), hosts: Sequence[str] | None = None) -> None:
        wanted = needed_on_wire(first)
        then = needed_on_wire(later) if later else None
        blind = then is not None and then.everything
        self.notes = wanted.notes
        everything = wanted.everything or (blind and hosts is not None)
        octets = [packed for host in hosts or () if (packed := _packed(host))]
        self.search = None if everything else Search(wanted, None if blind else then, octets)
        self._always = everything or blind

    @property
    def watched(self) -> bool:
        """Whether something to watch for may have stood in the captures since this was last asked."""
        search = self.search
        if search is None or self._always:
            return True
        found, search.watched = search.watched, False
        return found


def _packed(host: str) -> bytes | None:
    """Return an address as it stands on the wire; None for a host that is known by another name."""
    if address.parse(host) is not None:
        return ip_address(host).packed
    digits = host.replace(":", "")
    return bytes.fromhex(digits) if len(digits) == 12 and not digits.strip("0123456789abcdef") else None


class CaptureScan:
    """Scans captures into one outcome."""

    def __init__(self, search: CaptureSearch, look: Look, outcome: Outcome) -> None:
        self._search, self._look, self._outcome = search, look, outcome
        self._names: list[str] = []
        outcome.notes.update(search.notes)

    def one(self, stream: Stream) -> None:
        """Scan one capture."""
        self._names = [stream.name]
        self._run(self._counted(packets_of(stream, held=HELD)))
        self._outcome.bytes += stream.bytes

    def all(self, sources: Sequence[Source], other: Other) -> None:
        """Scan the captures of all sources as one, in the order of time; what is no capture goes to `other`."""
        self._names = []
        self._run(self._counted(merged(sources, self._names, other, self._read)))

    def _read(self, octets: int) -> None:
        self._outcome.bytes += octets

    def _run(self, batches: Iterator[Packets]) -> None:
        dialogues = Dialogues()
        for frame in self._frames(batches):
            self._take(dialogues.push(frame))
        self._take(dialogues.end())

    def _frames(self, batches: Iterator[Packets]) -> Iterator[Frame]:
        if self._search.search is None:
            for packets in batches:
                yield from map(packets.frame, range(len(packets)))
            return
        selection = Selection(self._search.search)
        for packets in batches:
            yield from selection.push(packets)
        yield from selection.end()

    def _counted(self, found: Iterable[Packets | Skipped | Ignored]) -> Iterator[Packets]:
        """Pass packets on, count them, and tell what could not be read."""
        outcome, told = self._outcome, set[Interface]()
        for one in found:
            if isinstance(one, Skipped):
                outcome.skip(one)
            elif isinstance(one, Ignored):
                outcome.ignored += 1
            else:
                outcome.lines += len(one)
                if not told.issuperset(one.interfaces):
                    self._unread(one, told)
                yield one

    def _unread(self, packets: Packets, told: set[Interface]) -> None:
        """Tell of interfaces that were not met before whose packets cannot be read, in the order of their packets."""
        for index, interface in enumerate(packets.interfaces):
            if interface not in told:
                told.add(interface)
                if interface.linktype not in LINKTYPES:
                    self._unknown_link(packets, index)

    def _unknown_link(self, packets: Packets, index: int) -> None:
        number = packets.numbers[index] if packets.numbers else packets.first + index
        source, position = self._place(number)
        linktype = packets.interface(index).linktype
        kind = f"{linktype} ({name(linktype)})"
        reason = f"packets of link type {kind} cannot be read; those of this interface are passed over"
        self._outcome.skip(Skipped(source, f"packet {position}", reason))

    def _take(self, observed: Iterable[Observed]) -> None:
        for one in observed:
            source, position = self._place(one.number)
            self._look.take(self._outcome.incidents, complete(one.fields), source, "packet", position)

    def _place(self, number: int) -> tuple[str, int]:
        return self._names[number >> SHIFT], number & _COUNT
