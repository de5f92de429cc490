"""`Selection` says which packets of a capture can matter, so that only those are decoded in full.

Every packet is decoded in columns and searched once; a packet that holds what the rules look for makes its whole flow
interesting, before and after. So does a piece of a request that other segments complete (`wire.halves`). Packets that
the columns do not understand, DHCP, router advertisements and ICMP errors are always chosen.

Guarantees: chosen packets come in the order of the capture. Whoever reads only them finds what reading all would find
(tests/test_capture_paths.py), but for one thing: of a flow that becomes interesting, packets further back than
`WINDOW` octets of the capture are not looked at again. Memory is bounded by that window and `MOST` flows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from imdswatch.read.captures import SIZE
from imdswatch.read.datagrams import DNS_PORTS
from imdswatch.read.packets import Packets
from imdswatch.scan.requests import Flows, Held, Requests
from imdswatch.scan.wiresearch import Match, Search
from imdswatch.wire import packet
from imdswatch.wire.columns import Bools, Columns, Ints, columns, flow_key
from imdswatch.wire.frame import Frame

HELD = 8
"""Buffers that are held back: so far a flow that becomes interesting is looked at again."""
WINDOW = HELD * SIZE
_TCP, _UDP = 6, 17
_PROTOCOLS = {"tcp": _TCP, "udp": _UDP}


class Selection:
    """The packets of one capture that can matter."""

    def __init__(self, search: Search) -> None:
        self._search, self._flows = search, Flows()
        self._requests = Requests(search, self._flows)
        self._held: deque[Held] = deque()
        self._unsettled: deque[Held] = deque()
        self._fragments = packet.Fragments()

    def push(self, packets: Packets) -> Iterator[Frame]:
        """Look at the packets of one buffer; yield the chosen ones of the buffer that is held back longest."""
        held = self._looked(packets)
        self._held.append(held)
        self._unsettled.append(held)
        if len(self._unsettled) > HELD // 2:
            self._settle()
        if len(self._held) > HELD:
            yield from self._chosen(self._held.popleft())

    def _looked(self, packets: Packets) -> Held:
        """Look at the packets of one buffer, and note which of them and which flows are wanted."""
        starts, ends = _bounds(packets)
        found = columns(packets.octets, starts, ends, _by_link(packets))
        with memoryview(packets.octets) as view:
            words, signs, theirs = self._search(view[: ends[-1]])
        sign, of_hosts = _holders(signs, starts), _holders(theirs, starts)
        hit = self._confirmed(packets, starts, words, of_hosts)
        chosen = found.odd | found.told
        chosen[hit] = True
        self._flows.add(found.keys[hit].tolist())
        if found.dns.any():  # names of DNS over TCP may be cut anywhere
            self._flows.add(found.keys[found.tcp[found.dns]].tolist())
        if self._search.hosts:
            self._hellos(packets, found, of_hosts)
        for index in np.flatnonzero(found.odd).tolist():
            self._slowly(packets.frame(index))
        held = Held(packets, found, chosen)
        self._requests.mark(held, sign)
        return held

    def end(self) -> Iterator[Frame]:
        """Yield what is held back."""
        while self._unsettled:
            self._settle()
        while self._held:
            yield from self._chosen(self._held.popleft())

    def _settle(self) -> None:
        held = self._unsettled.popleft()
        self._requests.settle(held, self._unsettled)

    def _chosen(self, held: Held) -> Iterator[Frame]:
        held.chosen[self._flows.among(held.found.keys)] = True
        return map(held.packets.frame, np.flatnonzero(held.chosen).tolist())

    def _confirmed(self, packets: Packets, starts: Ints, words: list[Match], of_hosts: Bools) -> Ints:
        """Return the indices of the packets that hold what is wanted, and not only a word of it."""
        search, out = self._search, set[int]()
        places = np.searchsorted(starts, [end - 1 for end, _ in words], "right") - 1
        numbers = (number for _, number in words)
        for index, number in dict.fromkeys(
            zip(places.tolist(), numbers, strict=True)
        ):  # often said, looked at once
            if index < 0 or index in out or (search.of_hosts(number) and not of_hosts[index]):
                continue
            packet = packets.octets[packets.starts[index] : packets.end(index)]
            if search.whole(number) or search.confirms(number, packet):
                out.add(index)
        return np.array(sorted(out), np.int64)

    def _hellos(self, packets: Packets, found: Columns, of_hosts: Bools) -> None:
        """Add the flows of the hosts whose TLS handshake begins in a segment that does not hold all of it."""
        octets = np.frombuffer(packets.octets, np.uint8)
        starts = found.starts
        size = found.ends - starts
        record = (octets[starts + 3].astype(np.int64) << 8) + octets[starts + 4]
        begun = (octets[starts] == 0x16) & ((size < 5) | ((octets[starts + 1] == 3) & (record + 5 > size)))
        self._flows.add(found.keys[found.tcp[begun & of_hosts[found.tcp]]].tolist())

    def _slowly(self, frame: Frame) -> None:
        """Add the flow of a packet that the columns do not understand: none of its packets is hidden in it then."""
        for one in packet.decode(frame, self._fragments):
            protocol = _PROTOCOLS.get(one.kind)
            if (
                protocol is None
                or one.src is None
                or one.dst is None
                or one.sport is None
                or one.dport is None
            ):
                continue
            if protocol == _TCP or not DNS_PORTS.isdisjoint((one.sport, one.dport)):
                self._flows.add([flow_key(protocol, one.src, one.sport, one.dst, one.dport)])


def _bounds(packets: Packets) -> tuple[Ints, Ints]:
    """Return where the packets begin and end."""
    starts = np.array(packets.starts, np.int64) if packets.places is None else packets.places
    if packets.ends:
        return starts, np.array(packets.ends, np.int64)
    ends = np.empty_like(starts)
    ends[:-1] = starts[1:] - packets.gap
    ends[-1] = packets.stop
    return starts, ends


def _holders(ends: list[int], starts: Ints) -> Bools:
    """Say in which packets matches end; what stands between packets counts for the one before it."""
    held = np.zeros(len(starts), np.bool_)
    if ends:
        held[np.maximum(np.searchsorted(starts, np.array(ends, np.int64) - 1, "right") - 1, 0)] = True
    return held


def _by_link(packets: Packets) -> list[tuple[int, Ints | None]]:
    if len({interface.linktype for interface in set(packets.interfaces)}) == 1:
        return [(packets.interfaces[0].linktype, None)]
    types = np.fromiter((interface.linktype for interface in packets.interfaces), np.int64, len(packets))
    return [(int(linktype), np.flatnonzero(types == linktype)) for linktype in np.unique(types)]
