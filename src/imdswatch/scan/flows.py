"""`Selection` says which packets of a capture can matter, so that only those are decoded in full.

Every packet is decoded in columns and searched once; a packet that holds what the rules look for makes its whole flow
interesting, before and after. So does a piece of a request that other segments complete (`wire.halves`). Packets that
the columns do not understand, DHCP, router advertisements and ICMP errors are always chosen.

Guarantees: chosen packets come in the order of the capture. Whoever reads only them finds what reading all would find
(tests/test_capture_paths.py), but for one thing: of a flow that becomes interesting, packets further back than
`WINDOW` octets of the capture are not looked at again. Memory is bounded by that window and `MOST` flows.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from imdswatch.read.captures import SIZE
from imdswatch.read.packets import Packets
from imdswatch.scan.wiresearch import Match, Search
from imdswatch.wire import halves, packet
from imdswatch.wire.columns import Bools, Bytes, Columns, Ints, Keys, columns, flow_key
from imdswatch.wire.frame import Frame

HELD = 8
"""Buffers that are held back: so far a flow that becomes interesting is looked at again."""
WINDOW = HELD * SIZE
MOST = 400_000
"""Interesting flows that are remembered; the older half is forgotten where there are more."""

_PROTOCOLS = {"tcp": 6, "udp": 17}


class _Flows:
    """The keys of interesting flows, with a table that tells most others apart at once."""

    def __init__(self) -> None:
        self._known: dict[int, None] = {}
        self._table = np.zeros(1 << 16, np.bool_)
        self._sorted: Keys | None = None

    def add(self, keys: Sequence[int]) -> None:
        for key in keys:
            if key and key not in self._known:
                self._known[key] = None
                self._table[key & 0xFFFF] = True
                self._sorted = None
        if len(self._known) > MOST:
            self._known = dict.fromkeys(list(self._known)[MOST // 2 :])
            self._table[:] = False
            for key in self._known:
                self._table[key & 0xFFFF] = True

    def among(self, keys: Keys) -> Ints:
        """Return the indices of the keys that are known."""
        maybe = np.flatnonzero(self._table[(keys & np.uint64(0xFFFF)).astype(np.int64)])
        if not len(maybe):
            return maybe
        if self._sorted is None:
            self._sorted = np.sort(np.fromiter(self._known, np.uint64, len(self._known)))
        some = keys[maybe]
        place = np.minimum(np.searchsorted(self._sorted, some), len(self._sorted) - 1)
        found: Ints = maybe[self._sorted[place] == some]
        return found


@dataclass(slots=True)
class _Held:
    """The packets of a buffer that were looked at, and which of them are chosen whatever becomes known later."""

    packets: Packets
    keys: Keys
    chosen: Bools


class Selection:
    """The packets of one capture that can matter."""

    def __init__(self, search: Search) -> None:
        self._search, self._flows = search, _Flows()
        self._held: deque[_Held] = deque()
        self._fragments = packet.Fragments()

    def push(self, packets: Packets) -> Iterator[Frame]:
        """Look at the packets of one buffer; yield the chosen ones of the buffer that is held back longest."""
        starts = np.array(packets.starts, np.int64)
        ends = np.array(packets.ends, np.int64)
        found = columns(packets.octets, starts, ends, _by_link(packets))
        with memoryview(packets.octets) as view:
            words, signs, theirs = self._search(view[: packets.ends[-1]])
        sign, of_hosts = np.zeros(len(starts), np.bool_), np.zeros(len(starts), np.bool_)
        sign[_holders(signs, starts)] = True
        of_hosts[_holders(theirs, starts)] = True
        hit = self._confirmed(packets, words, of_hosts)
        chosen = found.odd | found.told
        chosen[hit] = True
        self._flows.add(found.keys[hit].tolist())
        self._halves(packets, found, sign)
        if self._search.hosts:
            self._hellos(packets, found, of_hosts)
        for index in np.flatnonzero(found.odd).tolist():
            self._slowly(packets.frame(index), found.keys[index : index + 1])
        self._held.append(_Held(packets, found.keys, chosen))
        if len(self._held) > HELD:
            yield from self._chosen(self._held.popleft())

    def end(self) -> Iterator[Frame]:
        """Yield what is held back."""
        while self._held:
            yield from self._chosen(self._held.popleft())

    def _chosen(self, held: _Held) -> Iterator[Frame]:
        held.chosen[self._flows.among(held.keys)] = True
        return map(held.packets.frame, np.flatnonzero(held.chosen).tolist())

    def _confirmed(self, packets: Packets, words: list[Match], of_hosts: Bools) -> Ints:
        """Return the indices of the packets that hold what is wanted, and not only a word of it."""
        search, out = self._search, set[int]()
        places = np.searchsorted(packets.starts, [end - 1 for end, _ in words], "right") - 1
        for index, (_, number) in zip(places.tolist(), words, strict=True):
            if index < 0 or index in out or (search.of_hosts(number) and not of_hosts[index]):
                continue
            packet = packets.octets[packets.starts[index] : packets.ends[index]]
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

    def _halves(self, packets: Packets, found: Columns, sign: Bools) -> None:
        """Add the flows of segments that hold a piece of a request."""
        octets = np.frombuffer(packets.octets, np.uint8)
        starts, ends = found.starts, found.ends
        signs = sign[found.tcp]
        look = signs | (ends - starts <= halves.TINY) | self._rests(octets, starts, ends)
        if found.dns.any():
            self._flows.add(found.keys[found.tcp[found.dns]].tolist())
        which = np.flatnonzero(look)
        data, search = packets.octets, self._search
        rows = zip(
            found.keys[found.tcp[which]].tolist(), starts[which].tolist(), ends[which].tolist(),
            signs[which].tolist(), found.cut[which].tolist(), strict=True,
        )  # fmt: skip
        interesting = []
        for key, start, end, sign_of_request, cut in rows:
            segment = bytes(data[start:end])
            if (sign_of_request and search.rare(segment)) or (not cut and halves.unfinished(segment)):
                interesting.append(key)
        self._flows.add(interesting)

    @staticmethod
    def _rests(octets: Bytes, starts: Ints, ends: Ints) -> Bools:
        """Say which segments begin with a blank, or with capitals and a blank that are not a method in one piece."""
        out = np.zeros(len(starts), np.bool_)
        under_way = np.arange(len(starts))
        for position in range(halves.LONGEST_REST + 1):
            octet = octets[starts[under_way] + position]
            out[under_way[(octet == 0x20) | (octet == 0x09)]] = True
            under_way = under_way[(octet >= 0x41) & (octet <= 0x5A)]
            if not len(under_way):
                break
        return out

    def _slowly(self, frame: Frame, key: Keys) -> None:
        """Decode one packet that the columns do not understand, as all packets could be."""
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
            found = flow_key(protocol, one.src, one.sport, one.dst, one.dport)
            key[0] = found
            searched = b"".join((_packed(one.src), _packed(one.dst), one.payload))
            dns = protocol == 6 and 53 in (one.sport, one.dport)
            halved = protocol == 6 and not one.missing and halves.unfinished(one.payload)
            if dns or halved or self._search.touches(searched):
                self._flows.add([found])


def _packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def _holders(ends: list[int], starts: Ints) -> Ints:
    """Return the indices of the packets in which matches end."""
    if not ends:
        return np.zeros(0, np.int64)
    places = np.unique(np.searchsorted(starts, np.array(ends, np.int64) - 1, "right") - 1)
    return places[places >= 0]


def _by_link(packets: Packets) -> list[tuple[int, Ints | None]]:
    interfaces = set(packets.interfaces)
    if len({interface.linktype for interface in interfaces}) == 1:
        return [(packets.interfaces[0].linktype, None)]
    types = np.fromiter((interface.linktype for interface in packets.interfaces), np.int64, len(packets))
    return [(int(linktype), np.flatnonzero(types == linktype)) for linktype in np.unique(types)]
