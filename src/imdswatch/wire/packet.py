"""Decode one captured frame down to the transport protocol, through tags, tunnels and fragments.

`decode` never raises, whatever the octets; what it cannot read is not in its answer. It does not check checksums
(network cards fill them in after the capture point) and believes a length field only as far as octets were captured:
a total length of 0 is a packet that the network card was to cut (TSO, Linux BIG TCP), and takes the rest of the
frame; what pads a frame is never payload. The destination is the header's: the last stop of a source route (which
hosts and routers refuse, RFC 7126 and RFC 5095) is not looked for. Names and numbers: IANA protocol-numbers; IPv4
RFC 791, IPv6 RFC 8200, AH RFC 4302, TCP RFC 9293, UDP RFC 768, ARP RFC 826.

The flow key of a packet, as `tcp.Tcp` and any faster twin must use it, is the unordered pair of `(src, sport)` and
`(dst, dport)` in canonical text of the innermost IP packet; VLANs, tunnels and MACs are no part of it.

Longer than most modules: the walk from link to transport is one idea, and its steps call each other.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import unpack_from
from typing import NamedTuple

from imdswatch import address
from imdswatch.wire import fragments as ip_fragments
from imdswatch.wire import links, tunnels
from imdswatch.wire.frame import Frame
from imdswatch.wire.links import ARP, ETHERNET, IPV4, IPV6, LLC, MPLS, PLAIN_TAGS, PPP, PPPOE, VLAN_TAGS

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128

_MOST_TAGS = 8
_MOST_TUNNELS = 8
_MOST_EXTENSIONS = 16

_TCP, _UDP, _FRAGMENT, _AH = 6, 17, 44, 51
_ICMP = {1: "icmp", 58: "icmp6"}
_EXTENSIONS = frozenset((0, 43, 60, 135, 139, 140, _AH, _FRAGMENT))
_TUNNELS: dict[int, Callable[[bytes, int, int], tunnels.Inner | None]] = {
    4: lambda data, at, end: tunnels.Inner(IPV4, at, "ipv4"),
    41: lambda data, at, end: tunnels.Inner(IPV6, at, "ipv6"),
    47: tunnels.gre,
    97: tunnels.etherip,
    137: tunnels.mpls,
}


class Packet(NamedTuple):
    """What one frame carried: who to whom, over which link, and the transport's payload.

    A tuple and not a frozen dataclass because a capture has millions of them. Times and numbers stand in `frame`; of
    a datagram in fragments it is the frame that made it whole.
    """

    frame: Frame
    kind: str  # tcp, udp, icmp, icmp6, arp; other: the addresses are known, the transport is not read
    src: str | None
    dst: str | None
    src_mac: str | None
    dst_mac: str | None
    vlan: tuple[int, ...]
    ttl: int | None
    sport: int | None
    dport: int | None
    seq: int
    ack: int
    flags: int
    payload: bytes
    missing: int  # octets of the payload that the snapshot length cut off
    ip_bytes: int
    tunnels: tuple[str, ...]


class Quoted(NamedTuple):
    """The packet that an ICMP error quotes, as far as it does."""

    kind: str
    src: str
    dst: str
    ttl: int
    sport: int | None
    dport: int | None
    seq: int | None
    payload: bytes


class _Around(NamedTuple):
    """What the layers outside the current one said."""

    frame: Frame
    fragments: Fragments
    src_mac: str | None
    dst_mac: str | None
    vlan: tuple[int, ...]
    tunnels: tuple[str, ...]


class _Ip(NamedTuple):
    src: str
    dst: str
    ttl: int
    size: int


class _Begun(NamedTuple):
    """How to go on with a datagram that came in fragments."""

    around: _Around
    ip: _Ip  # its size is of what stands before the datagram's octets
    protocol: int


class Fragments(ip_fragments.Fragments[_Begun]):
    """The datagrams of one capture that have not come together yet; see `fragments`."""


def decode(frame: Frame, fragments: Fragments) -> Sequence[Packet]:
    """Return the packets that a frame completes: mostly one, none if it holds no IP or ARP that can be read.

    More than one where fragments that overlap have two readings, or where fragments of an earlier datagram are
    given up. A link type that is not in `links.LINKTYPES` gives none.
    """
    link = links.LINKTYPES.get(frame.linktype)
    if link is None:
        return ()
    data = frame.data
    end = len(data)
    inner = link.read(data, 0, end)
    if inner is None:
        return ()
    around = _Around(frame, fragments, inner.src_mac, inner.dst_mac, (), ())
    packets = _network(around, inner.protocol, data, inner.at, end, max(frame.length, end))
    gone = fragments.gone()
    return (*packets, *_given_up(gone)) if gone else packets


def flush(fragments: Fragments) -> Sequence[Packet]:
    """Return what is known of the datagrams whose fragments never came together: the capture is over."""
    return _given_up(list(fragments.end()))


def expire(fragments: Fragments, now: float, seconds: float) -> Sequence[Packet]:
    """Return what is known of the datagrams that began `seconds` ago and are not whole; for a live sensor."""
    return _given_up(list(fragments.expire(now, seconds)))


def decode_ip(data: bytes) -> Quoted | None:
    """Read the IP packet that an ICMP error quotes; eight octets behind its header are enough (RFC 792)."""
    end = len(data)
    if end >= 20 and data[0] >> 4 == 4 and data[0] & 15 >= 5:
        place, ttl, protocol, src, dst = unpack_from(">6xHBBxx4s4s", data)
        at, source, target = (data[0] & 15) * 4, socket.inet_ntoa(src), socket.inet_ntoa(dst)
        later = bool(place & 0x1FFF)
    elif end >= 40 and data[0] >> 4 == 6:
        protocol, ttl, src, dst = unpack_from(">6xBB16s16s", data)
        protocol, at = _past_extensions(protocol, data, 40, end)
        source, target = _text6(src), _text6(dst)
        later = False
        if protocol == _FRAGMENT and end - at >= 8:
            protocol, place = unpack_from(">BxH", data, at)
            at, later = at + 8, place & 0xFFF8 != 0
    else:
        return None
    sport = dport = seq = None
    kind = {_TCP: "tcp", _UDP: "udp", **_ICMP}.get(protocol, "other")
    if later:
        kind = "other"
    elif kind in ("tcp", "udp") and end - at >= 4:
        sport, dport = unpack_from(">HH", data, at)
        if kind == "tcp" and end - at >= 8:
            seq = unpack_from(">I", data, at + 4)[0]
    return Quoted(kind, source, target, ttl, sport, dport, seq, data[at:])


def _given_up(partials: list[ip_fragments.Partial[_Begun]]) -> tuple[Packet, ...]:
    packets: list[Packet] = []
    for octets, claimed, (around, ip, protocol), begins in partials:
        around = around._replace(fragments=Fragments())
        ip = ip._replace(size=ip.size + claimed)
        if begins:
            packets += _whole(around, ip, protocol, octets, 0, len(octets), claimed)
        else:
            packets.append(_other(around, ip))
    return tuple(packets)


def _network(around: _Around, protocol: int, data: bytes, at: int, end: int, wire: int) -> tuple[Packet, ...]:
    """Walk from an EtherType to IP or ARP; `end` is where the captured octets end, `wire` where those sent did."""
    tags: tuple[int, ...] = ()
    while True:
        inner: links.Inner | None
        if protocol == IPV4:
            return _ipv4(around, data, at, end, wire)
        if protocol == IPV6:
            return _ipv6(around, data, at, end, wire)
        if protocol == ARP:
            return _arp(around, data, at, end)
        if protocol in VLAN_TAGS:
            if end - at < 4 or len(tags) == _MOST_TAGS:
                return ()
            number = (data[at] << 8 | data[at + 1]) & 0xFFF
            if number:  # 0 carries a priority and no VLAN (IEEE 802.1Q 6.9.1)
                tags += (number,)
                around = around._replace(vlan=tags)
            inner = links.ethertype(data, at + 2)
        elif protocol in PLAIN_TAGS:
            at += PLAIN_TAGS[protocol]
            inner = links.ethertype(data, at) if at + 2 <= end else None
        elif protocol == LLC:
            inner = links.llc(data, at, end)
        elif protocol == PPP:
            inner = links.ppp(data, at, end)
        elif protocol == ETHERNET:
            inner = links.ethernet(data, at, end)
            if inner is not None:
                around = around._replace(src_mac=inner.src_mac, dst_mac=inner.dst_mac)
                tags = ()
        elif protocol == PPPOE:
            return _tunnel(around, tunnels.pppoe(data, at, end), data, end, wire)
        elif protocol in MPLS:
            return _tunnel(around, tunnels.mpls(data, at, end), data, end, wire)
        else:
            return ()
        if inner is None:
            return ()
        protocol, at = inner.protocol, inner.at


def _tunnel(
    around: _Around, inner: tunnels.Inner | None, data: bytes, end: int, wire: int
) -> tuple[Packet, ...]:
    """Go on with what a tunnel carries."""
    if inner is None or len(around.tunnels) == _MOST_TUNNELS:
        return ()
    around = around._replace(tunnels=(*around.tunnels, inner.name))
    return _network(around, inner.protocol, data, inner.at, end, wire)


def _over_ip(
    around: _Around, inner: tunnels.Inner | None, data: bytes, end: int, wire: int
) -> tuple[Packet, ...]:
    """Go on with what a tunnel over IP carries: MACs and VLAN of the outside are those of the tunnel's two ends."""
    if inner is None:
        return ()
    around = around._replace(src_mac=None, dst_mac=None, vlan=(inner.vlan,) if inner.vlan else ())
    return _tunnel(around, inner, data, end, wire)


def _arp(around: _Around, data: bytes, at: int, end: int) -> tuple[Packet, ...]:
    if end - at < 28 or data[at + 2 : at + 6] != b"\x08\x00\x06\x04":  # IPv4 over six-octet addresses
        return ()
    body = data[at : at + 28]
    return (
        Packet(
            around.frame, "arp", socket.inet_ntoa(body[14:18]), socket.inet_ntoa(body[24:28]),
            body[8:14].hex(":"), body[18:24].hex(":"), around.vlan, None, None, None, 0, 0, 0, body, 0, 0,
            around.tunnels,
        ),
    )  # fmt: skip


def _ipv4(around: _Around, data: bytes, at: int, end: int, wire: int) -> tuple[Packet, ...]:
    if end - at < 20:
        return ()
    first, total, ident, place, ttl, protocol, src, dst = unpack_from(">BxHHHBBxx4s4s", data, at)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < 20:
        return ()
    if total == 0:
        total = wire - at
    if total < header:
        return ()
    claimed = at + total
    stop = end if end < claimed else claimed
    ip = _Ip(socket.inet_ntoa(src), socket.inet_ntoa(dst), ttl, total)
    at += header
    if place & 0x3FFF:
        key = (src, dst, ident, protocol)
        return _fragment(around, ip, protocol, key, place << 3, bool(place & 0x2000), data, at, stop, claimed)
    return _whole(around, ip, protocol, data, at, stop, claimed)


@lru_cache(maxsize=1 << 14)
def _text6(octets: bytes) -> str:
    text = socket.inet_ntop(socket.AF_INET6, octets)
    return address.parse(text) or text


def _ipv6(around: _Around, data: bytes, at: int, end: int, wire: int) -> tuple[Packet, ...]:
    if end - at < 40 or data[at] >> 4 != 6:
        return ()
    length, protocol, ttl, src, dst = unpack_from(">4xHBB16s16s", data, at)
    claimed = at + 40 + length if length else max(wire, at + 40)
    stop = end if end < claimed else claimed
    ip = _Ip(_text6(src), _text6(dst), ttl, claimed - at)
    protocol, at = _past_extensions(protocol, data, at + 40, stop)
    if protocol == _FRAGMENT and stop - at >= 8:
        protocol, place, ident = unpack_from(">BxHI", data, at)
        return _fragment(
            around, ip, protocol, (src, dst, ident), place, bool(place & 1), data, at + 8, stop, claimed
        )
    return _transport(around, ip, protocol, data, at, stop, claimed)


def _past_extensions(protocol: int, data: bytes, at: int, stop: int) -> tuple[int, int]:
    """Pass over extension headers in any order (RFC 8200 4.1 only recommends one) up to a fragment or the payload.

    An atomic fragment stands for itself (RFC 6946) and is passed over. Where the headers are cut or too many, the
    protocol is theirs: none that is read any further.
    """
    for _ in range(_MOST_EXTENSIONS):
        if protocol not in _EXTENSIONS or stop - at < 8:
            break
        if protocol == _FRAGMENT:
            if data[at + 2] or data[at + 3] & 0xF9:
                break
            size = 8
        elif protocol == _AH:
            size = (data[at + 1] + 2) * 4
        else:
            size = (data[at + 1] + 1) * 8
        protocol = data[at]
        at += size
    return protocol, at


def _fragment(
    around: _Around, ip: _Ip, protocol: int, key: tuple[object, ...], place: int, more: bool,
    data: bytes, at: int, stop: int, claimed: int,
) -> tuple[Packet, ...]:  # fmt: skip
    start = place & 0xFFF8
    if stop < claimed and start == 0:
        # The snapshot length cut it: the datagram will never be whole, but its first fragment says who asks what.
        return _whole(around, ip, protocol, data, at, stop, claimed)
    piece = ip_fragments.Piece(start, data[at:stop], more)
    ip = ip._replace(size=ip.size - (claimed - at))
    packets: tuple[Packet, ...] = ()
    frame = around.frame  # its octets stay behind: there may be many around a small piece
    kept = around._replace(frame=Frame(frame.number, frame.time, b"", frame.length, frame.linktype))
    whole = around.fragments.push(key, piece, frame.time, _Begun(kept, ip, protocol))
    for octets, (_, first, first_protocol) in whole:
        size = len(octets)
        ip = ip._replace(size=first.size + size)
        packets += _whole(around, ip, first_protocol, octets, 0, size, size)
    return packets


def _whole(
    around: _Around, ip: _Ip, protocol: int, data: bytes, at: int, stop: int, claimed: int
) -> tuple[Packet, ...]:
    """Go on with a datagram that is whole; extension headers may come first, a further fragment header may not."""
    if protocol in _EXTENSIONS:
        protocol, at = _past_extensions(protocol, data, at, stop)
    return _transport(around, ip, protocol, data, at, stop, claimed)


def _transport(
    around: _Around, ip: _Ip, protocol: int, data: bytes, at: int, stop: int, claimed: int
) -> tuple[Packet, ...]:
    """Read the transport's header; what a tunnel carries comes instead of the tunnel's own packet, if it is read."""
    frame, _, src_mac, dst_mac, vlan, names = around
    src, dst, ttl, size = ip
    if protocol == _TCP:
        if stop - at >= 14:
            sport, dport, seq, ack, offset, flags = unpack_from(">HHIIBB", data, at)
            start = at + (offset >> 4) * 4
            if at + 20 <= start <= claimed:
                return (
                    Packet(
                        frame, "tcp", src, dst, src_mac, dst_mac, vlan, ttl, sport, dport, seq, ack, flags,
                        data[start:stop], claimed - max(start, stop), size, names,
                    ),
                )  # fmt: skip
        return (_other(around, ip, data, at, stop),)
    if protocol == _UDP:
        if stop - at < 8:
            return (_other(around, ip, data, at, stop),)
        sport, dport, length = unpack_from(">HHH", data, at)
        start = at + 8
        if 8 <= length < claimed - at:
            claimed = at + length
            stop = min(stop, claimed)
        below = tunnels.UDP_PORTS.get(dport)
        if below is not None and (inner := _over_ip(around, below(data, start, stop), data, stop, claimed)):
            return inner
        return (
            Packet(
                frame, "udp", src, dst, src_mac, dst_mac, vlan, ttl, sport, dport, 0, 0, 0,
                data[start:stop], claimed - stop, size, names,
            ),
        )  # fmt: skip
    kind = _ICMP.get(protocol)
    if kind is not None and at < stop:
        return (
            Packet(
                frame, kind, src, dst, src_mac, dst_mac, vlan, ttl, None, None, 0, 0, 0,
                data[at:stop], claimed - stop, size, names,
            ),
        )  # fmt: skip
    read = _TUNNELS.get(protocol)
    if read is not None and (inner := _over_ip(around, read(data, at, stop), data, stop, claimed)):
        return inner
    return (_other(around, ip),)


def _other(around: _Around, ip: _Ip, data: bytes = b"", at: int = 0, stop: int = 0) -> Packet:
    """Say who sent to whom where the transport cannot be read; its ports, if they are there."""
    sport, dport = unpack_from(">HH", data, at) if stop - at >= 4 else (None, None)
    return Packet(
        around.frame, "other", ip.src, ip.dst, around.src_mac, around.dst_mac, around.vlan, ip.ttl, sport, dport,
        0, 0, 0, b"", 0, ip.size, around.tunnels,
    )  # fmt: skip
