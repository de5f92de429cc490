"""`columns` decodes all packets of a buffer at once: whose flow each belongs to, and where its TCP payload lies.

The quick twin of `packet.decode`, in columns instead of packets: numpy walks the headers of thousands of frames
together. It knows the layers that captures are made of; whatever else a frame holds (fragments, extension headers,
rare tunnels, lengths that do not add up, link types without a quick way) is marked `odd`, and the caller decodes it
with the slow one. What is not odd is decoded as the slow one would, which tests/test_columns.py checks on random
frames. Pure; reads up to `REACH` octets behind a packet, which must be there and may be anything.

Longer than most: the walk from link to transport is one idea, as in `packet`, with a short cut for most frames.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imdswatch.wire import links, tunnels

REACH = 128
"""Octets behind the last packet of a buffer that are read, whatever stands there."""

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Keys = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Ends = Callable[[Ints, int], Keys]
"""Where IP headers begin and which side, in; the addresses there, out."""


def _table(*numbers: int, size: int = 1 << 16) -> Bools:
    """Return a table that says of each number whether it is one of these."""
    table = np.zeros(size, np.bool_)
    table[list(numbers)] = True
    return table


_TCP, _UDP, _ICMP, _ICMP6, _IPIP, _IPV6_IN, _GRE = 6, 17, 1, 58, 4, 41, 47
_SLOW_PROTOCOLS = _table(51, 97, 137, size=256)  # AH, EtherIP and MPLS in IP: decoded, but rarely seen
_EXTENSIONS = _table(0, 43, 44, 51, 60, 135, 139, 140, size=256)
_SLOW_ETHERTYPES = _table(links.ETHERNET, links.PPP, links.LLC, *links.PLAIN_TAGS, *range(1501))
_TAGS, _MPLS = _table(*links.VLAN_TAGS), _table(*links.MPLS)
_TUNNELS, _VXLAN, _GENEVE = _table(*tunnels.UDP_PORTS), _table(4789, 8472), 6081
_ERSPAN, _ERSPAN3, _WCCP = 0x88BE, 0x22EB, 0x883E
_ROUNDS = 12  # layers around a packet that are followed; more is odd
_DHCP = _table(67, 68, 546, 547)
_TOLD_OR_TUNNELS = _DHCP | _TUNNELS
_ICMP_TOLD = _table(3, 4, 5, 11, 12, size=256)  # errors and redirects
_ICMP6_TOLD = _table(1, 2, 3, 4, 134, 137, size=256)  # errors, router advertisements, redirects

_MASK = (1 << 64) - 1
_A, _B, _C, _D = (
    0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93,
)  # fmt: skip  # odd constants of splitmix64 and xxHash: any odd numbers would do


@dataclass(slots=True)
class Columns:
    """What was decoded; arrays over the packets of a buffer.

    keys    the flow of a TCP or UDP packet, 0 where there is none; both directions have the same
    odd     decode these one by one
    told    always of interest whatever they hold: router advertisements, DHCP, ICMP errors
    tcp     indices of the TCP packets with payload; the following are parallel to it
    starts, ends    where in the buffer the captured payload begins and ends
    heads   where in the buffer the TCP header begins
    sides   which of the two directions of its flow it has
    cut     the snapshot length cut it
    dns     it goes to or comes from port 53
    """

    keys: Keys
    odd: Bools
    told: Bools
    tcp: Ints
    starts: Ints
    ends: Ints
    heads: Ints
    sides: Bools
    cut: Bools
    dns: Bools


def flow_key(protocol: int, src: str, sport: int, dst: str, dport: int) -> int:
    """Return the key of one flow as `columns` computes it; addresses in canonical text."""
    return ((_half(src, sport) + _half(dst, dport) + protocol) & _MASK) or 1


def _half(address: str, port: int) -> int:
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
        high, low = int.from_bytes(packed[:8]), int.from_bytes(packed[8:])
    else:
        high, low = 0, int.from_bytes(socket.inet_aton(address))
    mixed = ((high * _A & _MASK) ^ (low * _B & _MASK)) + port * _C & _MASK
    mixed ^= mixed >> 31
    mixed = mixed * _D & _MASK
    return mixed ^ mixed >> 29


class _Octets:
    """Numbers at any offset of a buffer: each view has an element for every octet, so nothing need be aligned."""

    def __init__(self, buffer: bytearray) -> None:
        size = len(buffer)
        self.u8 = np.frombuffer(buffer, np.uint8)
        self.u16 = np.ndarray((size - 1,), ">u2", buffer, 0, (1,))
        self.u32 = np.ndarray((size - 3,), ">u4", buffer, 0, (1,))
        self.u64 = np.ndarray((size - 7,), ">u8", buffer, 0, (1,))


class _Walk:
    """All packets of a buffer on their way from the link layer to the transport."""

    def __init__(self, buffer: bytearray, starts: Ints, ends: Ints) -> None:
        count = len(starts)
        self.o = _Octets(buffer)
        self.at, self.end = starts.copy(), ends.copy()
        self.keys = np.zeros(count, np.uint64)
        self.odd = np.zeros(count, np.bool_)
        self.told = np.zeros(count, np.bool_)
        self.tunnelled = np.zeros(
            count, np.bool_
        )  # over UDP: a datagram of its own if nothing in it can be read
        self.next: list[tuple[Ints, Ints]] = []  # indices and EtherTypes of the next round
        self.tcp: list[tuple[tuple[Ints, ...], tuple[Bools, ...]]] = []

    # --- links --------------------------------------------------------------------------------------------------------

    def link(self, linktype: int, which: Ints) -> None:
        """Read the link layer of some packets; what cannot be read quickly is odd."""
        if linktype == 1:
            self.ethernet(self.plain() if len(which) == len(self.at) else which)
        elif linktype in (12, 14, 101, 228, 229):
            self.by_version(which)
        elif linktype == 113:
            self.header(which, 16, 14)
        elif linktype == 276:
            self.header(which, 20, 0)
        elif linktype in (0, 108):
            which = self.whole(which, 4)
            family = self.o.u32[self.at[which]].astype(np.int64)
            v4 = (family == 2) | (family == 2 << 24)
            self.odd[which[~v4]] = True
            self.at[which[v4]] += 4
            self.go(which[v4], links.IPV4)
        elif linktype in links.LINKTYPES:
            self.odd[which] = True

    def plain(self) -> Ints:
        """Decode what most frames are, TCP and UDP over IPv4 over Ethernet without anything special; return the others.

        Their fields stand at fixed places, so that one copy of each header serves for all of them.
        """
        start, end, count = self.at, self.end, len(self.at)
        rows = np.ndarray((len(self.o.u8) - 63,), "V64", self.o.u8, 0, (1,))[start]

        def field(kind: str, place: int) -> NDArray[Any]:
            return np.ndarray((count,), kind, rows, place, (64,))

        total, protocol = field(">u2", 16).astype(np.int64), field("u1", 23)
        stop = np.minimum(start + (14 + total), end)
        size = (field("u1", 46) >> 4).astype(np.int64) << 2
        begin = start + (34 + size)
        source, target = field(">u2", 34), field(">u2", 36)
        tcp = (protocol == _TCP) & (size >= 20) & (begin <= stop)
        udp = (protocol == _UDP) & (start + 42 <= stop)
        datagrams = np.flatnonzero(udp)
        udp[datagrams] = ~(_DHCP[source[datagrams]] | _TOLD_OR_TUNNELS[target[datagrams]])
        fine = (field(">u4", 12) & 0xFFFFFF00 == 0x08004500) & (field(">u2", 20) & 0x3FFF == 0)
        tcp &= fine
        udp &= fine
        address = np.uint64(_B)
        one = _mixed(field(">u4", 26) * address, source.astype(np.uint64))
        other = _mixed(field(">u4", 30) * address, target.astype(np.uint64))
        keys = one + other + protocol
        keys[keys == 0] = 1
        known = tcp | udp
        self.keys = np.where(known, keys, np.uint64(0))
        which = np.flatnonzero(tcp & (begin < stop))
        dns = (source == 53) | (target == 53)
        cut = start + (14 + total) > end
        numbers, flags = (begin, stop, start + 34), (one < other, cut, dns)
        self.tcp.append(((which, *(x[which] for x in numbers)), tuple(x[which] for x in flags)))
        return np.flatnonzero(~known)

    def ethernet(self, which: Ints) -> None:
        self.header(which, 14, 12)

    def header(self, which: Ints, size: int, place: int) -> None:
        """Pass over a header that names the next protocol at a fixed place."""
        which = self.whole(which, size)
        at = self.at[which]
        self.at[which] = at + size
        self.next.append((which, self.o.u16[at + place].astype(np.int64)))

    def whole(self, which: Ints, size: int) -> Ints:
        """Return those whose next header is there; the others are odd."""
        there = self.at[which] + size <= self.end[which]
        if there.all():
            return which
        self.odd[which[~there]] = True
        return which[there]

    def go(self, which: Ints, protocol: int) -> None:
        if len(which):
            self.next.append((which, np.full(len(which), protocol, np.int64)))

    def by_version(self, which: Ints) -> None:
        """Tell IPv4 from IPv6 by the version."""
        which = self.whole(which, 1)
        version = self.o.u8[self.at[which]] >> 4
        self.go(which[version == 4], links.IPV4)
        self.go(which[version == 6], links.IPV6)
        self.odd[which[(version != 4) & (version != 6)]] = True

    def pppoe(self, which: Ints) -> None:
        which = self.whole(which, 8)
        at = self.at[which]
        plain = self.o.u16[at] == 0x1100
        carried = self.o.u16[at + 6]
        self.at[which] += 8
        self.go(which[plain & (carried == 0x0021)], links.IPV4)
        self.go(which[plain & (carried == 0x0057)], links.IPV6)
        self.odd[which[~(plain & ((carried == 0x0021) | (carried == 0x0057)))]] = True

    def mpls(self, which: Ints) -> None:
        """Pass over one label; below the last one there is IP if it looks so, and otherwise something odd."""
        which = self.whole(which, 5)
        at = self.at[which]
        last = self.o.u8[at + 2] & 1 == 1
        below = self.o.u8[at + 4]
        self.at[which] = at + 4
        self.go(which[~last], 0x8847)
        v4, v6 = last & (below >= 0x45) & (below < 0x50), last & (below >> 4 == 6)
        self.go(which[v4], links.IPV4)
        self.go(which[v6], links.IPV6)
        self.odd[which[last & ~v4 & ~v6]] = True

    # --- network ------------------------------------------------------------------------------------------------------

    def round(self) -> None:
        """Go one layer on with everything that is under way."""
        under_way, self.next = self.next, []
        for which, protocols in under_way:
            v4 = protocols == links.IPV4
            if v4.all():
                self.ipv4(which)
                continue
            self.ipv4(which[v4])
            rest, kinds = which[~v4], protocols[~v4]
            v6 = kinds == links.IPV6
            self.ipv6(rest[v6])
            rest, kinds = rest[~v6], kinds[~v6]
            if not len(rest):
                continue
            self.header(rest[_TAGS[kinds]], 4, 2)
            self.pppoe(rest[kinds == links.PPPOE])
            self.mpls(rest[_MPLS[kinds]])
            frames = kinds == links.ETHERNET
            self.ethernet(rest[frames])
            unknown = ~(frames | _TAGS[kinds] | _MPLS[kinds] | (kinds == links.PPPOE))
            self.odd[rest[unknown & (_SLOW_ETHERTYPES[kinds] | self.tunnelled[rest])]] = True

    def ipv4(self, which: Ints) -> None:
        if not len(which):
            return
        which, o = self.whole(which, 20), self.o
        at = self.at[which]
        first = o.u8[at]
        total = o.u16[at + 2].astype(np.int64)
        size = (first & 15).astype(np.int64) << 2
        fine = (first >> 4 == 4) & (size >= 20) & (total >= size) & (o.u16[at + 6] & 0x3FFF == 0)
        if not fine.all():
            self.odd[which[~fine]] = True
            which, at, total, size = which[fine], at[fine], total[fine], size[fine]
        claimed = at + total
        self.end[which] = np.minimum(self.end[which], claimed)
        self.at[which] = at + size
        self.transport(which, o.u8[at + 9], claimed, at, self.v4)

    def ipv6(self, which: Ints) -> None:
        if not len(which):
            return
        which, o = self.whole(which, 40), self.o
        at = self.at[which]
        length = o.u16[at + 4].astype(np.int64)
        protocol = o.u8[at + 6]
        extended = _EXTENSIONS[protocol]
        fine = (o.u8[at] >> 4 == 6) & (length > 0) & ~extended
        if not fine.all():
            self.odd[which[~fine]] = True
            which, at, length, protocol = which[fine], at[fine], length[fine], protocol[fine]
        claimed = at + 40 + length
        self.end[which] = np.minimum(self.end[which], claimed)
        self.at[which] = at + 40
        self.transport(which, protocol, claimed, at, self.v6)

    def v4(self, ip: Ints, side: int) -> Keys:
        """Return the sender's (side 0) or receiver's address."""
        return self.o.u32[ip + (12 + 4 * side)].astype(np.uint64) * np.uint64(_B)

    def v6(self, ip: Ints, side: int) -> Keys:
        place = ip + (8 + 16 * side)
        high, low = self.o.u64[place].astype(np.uint64), self.o.u64[place + 8].astype(np.uint64)
        mapped = (high == 0) & (low >> np.uint64(32) == 0xFFFF)  # an IPv4 address, RFC 4291 2.5.5.2
        low = np.where(mapped, low & np.uint64(0xFFFFFFFF), low)
        return high * np.uint64(_A) ^ low * np.uint64(_B)

    # --- transport ----------------------------------------------------------------------------------------------------

    def transport(self, which: Ints, protocol: Bytes, claimed: Ints, ip: Ints, ends: Ends) -> None:
        tcp = protocol == _TCP
        if tcp.all():
            self.transmission(which, claimed, ip, ends)
            return
        self.transmission(which[tcp], claimed[tcp], ip[tcp], ends)
        udp = protocol == _UDP
        self.datagram(which[udp], ip[udp], ends)
        rest = ~(tcp | udp)
        which, protocol = which[rest], protocol[rest]
        if not len(which):
            return
        self.control(which[protocol == _ICMP], _ICMP_TOLD)
        self.control(which[protocol == _ICMP6], _ICMP6_TOLD)
        self.go(which[protocol == _IPIP], links.IPV4)
        self.go(which[protocol == _IPV6_IN], links.IPV6)
        self.gre(which[protocol == _GRE])
        self.odd[which[_SLOW_PROTOCOLS[protocol]]] = True

    def flow(self, protocol: int, ip: Ints, at: Ints, ends: Ends) -> tuple[Keys, Bools]:
        ports = self.o.u32[at].astype(np.uint64)
        source = _mixed(ends(ip, 0), ports >> np.uint64(16))
        target = _mixed(ends(ip, 1), ports & np.uint64(0xFFFF))
        key = source + target + np.uint64(protocol)
        key[key == 0] = 1
        return key, source < target

    def transmission(self, which: Ints, claimed: Ints, ip: Ints, ends: Ends) -> None:
        if not len(which):
            return
        at, end, o = self.at[which], self.end[which], self.o
        size = (o.u8[at + 12] >> 4).astype(np.int64) << 2
        begin = at + size
        fine = (at + 20 <= end) & (size >= 20) & (begin <= end)
        if not fine.all():
            self.odd[which[~fine]] = True
            which, at, end, begin, claimed, ip = (x[fine] for x in (which, at, end, begin, claimed, ip))
        self.keys[which], sides = self.flow(_TCP, ip, at, ends)
        dns = (o.u16[at] == 53) | (o.u16[at + 2] == 53)
        filled = begin < end
        numbers, flags = (which, begin, end, at), (sides, claimed > end, dns)
        self.tcp.append((tuple(x[filled] for x in numbers), tuple(x[filled] for x in flags)))

    def datagram(self, which: Ints, ip: Ints, ends: Ends) -> None:
        if not len(which):
            return
        at, end, o = self.at[which], self.end[which], self.o
        fine = at + 8 <= end
        if not fine.all():
            self.odd[which[~fine]] = True
            which, at, ip = which[fine], at[fine], ip[fine]
        self.keys[which], _ = self.flow(_UDP, ip, at, ends)
        source, target = o.u16[at], o.u16[at + 2]
        self.told[which[_DHCP[source] | _DHCP[target]]] = True
        tunnelled = _TUNNELS[target]
        if not tunnelled.any():
            return
        there = (at + 16 <= self.end[which]) & (o.u16[at + 4] >= self.end[which] - at)
        vxlan = _VXLAN[target] & there & (o.u8[at + 8] & 0x08 != 0)
        geneve = (target == _GENEVE) & there & (o.u8[at + 8] >> 6 == 0)
        self.odd[which[tunnelled & ~vxlan & ~geneve]] = True
        self.keys[which[vxlan | geneve]] = 0
        self.tunnelled[which[vxlan | geneve]] = True
        self.at[which] = at + 16 + np.where(geneve, (o.u8[at + 8] & 0x3F).astype(np.int64) * 4, 0)
        self.ethernet(which[vxlan])
        if geneve.any():
            self.next.append((which[geneve], o.u16[at + 10].astype(np.int64)[geneve]))

    def gre(self, which: Ints) -> None:
        if not len(which):
            return
        which, o = self.whole(which, 4), self.o
        at = self.at[which]
        flags, protocol = o.u16[at].astype(np.int64), o.u16[at + 2].astype(np.int64)
        plain = (flags & 0x4007 == 0) & (protocol != _WCCP)  # version 0 without source routes
        inner = at + 4 + 4 * (flags >> 15) + 4 * (flags >> 13 & 1) + 4 * (flags >> 12 & 1)
        mirrored = (protocol == _ERSPAN) | (protocol == _ERSPAN3)
        numbered = flags & 0x1000 != 0
        version = o.u8[inner] >> 4
        second = mirrored & numbered & (version == 1)
        third = mirrored & numbered & (version == 2) & (o.u16[inner + 10] & 0x7C00 == 0)
        first = mirrored & ~numbered
        inner = inner + np.where(second, 8, 0)
        inner = inner + np.where(third, 12 + 8 * (o.u8[inner + 11] & 1).astype(np.int64), 0)
        plain &= ~mirrored | first | second | third
        plain &= inner <= self.end[which]
        self.odd[which[~plain]] = True
        self.at[which] = inner
        self.ethernet(which[plain & mirrored])
        rest = plain & ~mirrored
        if rest.any():
            self.next.append((which[rest], protocol[rest]))

    def control(self, which: Ints, told: Bools) -> None:
        if len(which):
            which = self.whole(which, 1)
            self.told[which[told[self.o.u8[self.at[which]]]]] = True


def _mixed(address: Keys, port: Keys) -> Keys:
    """Return one end of a flow as a number: `_half` in columns."""
    mixed = address + port * np.uint64(_C)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(_D)
    mixed ^= mixed >> np.uint64(29)
    return mixed


def columns(
    buffer: bytearray, starts: Ints, ends: Ints, linktypes: Sequence[tuple[int, Ints | None]]
) -> Columns:
    """Decode the packets buffer[starts:ends]; `linktypes` says which of them (None: all) were seen on what."""
    walk = _Walk(buffer, starts, ends)
    for linktype, which in linktypes:
        walk.link(linktype, np.arange(len(starts)) if which is None else which)
    for _ in range(_ROUNDS):
        if not walk.next:
            break
        walk.round()
    for which, _ in walk.next:
        walk.odd[which] = True
    nothing, never = np.zeros(0, np.int64), np.zeros(0, np.bool_)
    parts = walk.tcp or [((nothing,) * 4, (never,) * 3)]
    numbers, flags = parts[0]
    if len(parts) > 1:
        numbers = tuple(np.concatenate(column) for column in zip(*(part[0] for part in parts), strict=True))
        flags = tuple(np.concatenate(column) for column in zip(*(part[1] for part in parts), strict=True))
    which, begins, stops, heads = numbers
    sides, cut, dns = flags
    return Columns(walk.keys, walk.odd, walk.told, which, begins, stops, heads, sides, cut, dns)
