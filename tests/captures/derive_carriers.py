"""The recorded dialogue of boto3 in other envelopes: link types, tags, tunnels, fragments, extension headers.

Pure: `captures` takes the recordings and yields names and files. Each envelope names its source.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

from packets import (
    ETHERNET,
    LOOP,
    NULL,
    RAW,
    SLL,
    SLL2,
    Frame,
    ether,
    ip4,
    ip6,
    mac,
    pcap,
    tag,
    udp,
)

A, B = "192.0.2.1", "192.0.2.2"  # ends of every tunnel
A_MAC, B_MAC = "02:00:00:00:09:01", "02:00:00:00:09:02"
Envelope = Callable[[bytes], bytes]


def tunnel(payload: bytes, protocol: int) -> bytes:
    """Put octets into IPv4 between the ends of the tunnel."""
    return ether(ip4(payload, protocol, A, B), A_MAC, B_MAC)


def vlan(*ids: int, outer: int = 0x8100) -> Envelope:
    """Tag: IEEE 802.1Q, 802.1ad."""
    tags = b"".join(tag(one, outer if one == ids[0] else 0x8100) for one in ids)
    return lambda frame: frame[:12] + tags + frame[12:]


def vxlan(frame: bytes) -> bytes:
    """RFC 7348, VNI 7."""
    return ether(udp(struct.pack("!II", 0x08000000, 7 << 8) + frame, A, 50000, B, 4789), A_MAC, B_MAC)


def geneve(frame: bytes) -> bytes:
    """RFC 8926 with one option of four octets, VNI 7."""
    head = struct.pack("!BBHI", 2, 0, 0x6558, 7 << 8) + struct.pack("!HBBI", 0x0102, 3, 1, 0xFEEDFACE)
    return ether(udp(head + frame, A, 50000, B, 6081), A_MAC, B_MAC)


def gre(frame: bytes) -> bytes:
    """RFC 2784: the IP packet, no Ethernet inside."""
    return tunnel(struct.pack("!HH", 0, int.from_bytes(frame[12:14])) + frame[14:], 47)


def gre_key_ethernet(frame: bytes) -> bytes:
    """RFC 2890 with checksum, key and sequence number; Ethernet inside (RFC 7637 names the type)."""
    return tunnel(struct.pack("!HHHHII", 0xB000, 0x6558, 0, 0, 99, 1) + frame, 47)


def erspan1(frame: bytes) -> bytes:
    """ERSPAN type I: GRE without sequence number, no header of its own (draft-foschiano-erspan 4.1)."""
    return tunnel(struct.pack("!HH", 0, 0x88BE) + frame, 47)


def erspan2(frame: bytes) -> bytes:
    """ERSPAN type II: version 1, VLAN 42, session 5 (draft-foschiano-erspan 4.2)."""
    head = struct.pack("!HHI", 0x1000, 0x88BE, 1) + struct.pack("!HHI", 1 << 12 | 42, 5, 3)
    return tunnel(head + frame, 47)


def erspan3(frame: bytes) -> bytes:
    """ERSPAN type III: version 2, VLAN 42, session 5, no platform subheader (draft-foschiano-erspan 4.3)."""
    head = struct.pack("!HHI", 0x1000, 0x22EB, 1) + struct.pack("!HHIHH", 2 << 12 | 42, 5, 12345, 0, 0)
    return tunnel(head + frame, 47)


def erspan3_platform(frame: bytes) -> bytes:
    """ERSPAN type III with the platform-specific subheader of eight octets (the O bit)."""
    head = struct.pack("!HHI", 0x1000, 0x22EB, 1) + struct.pack("!HHIHH", 2 << 12 | 42, 5, 12345, 0, 1)
    return tunnel(head + struct.pack("!II", 0x0C000000, 0) + frame, 47)


def mpls(frame: bytes) -> bytes:
    """RFC 3032: two labels, IP below."""
    stack = struct.pack("!II", 100 << 12 | 64, 200 << 12 | 1 << 8 | 64)
    return mac(B_MAC) + mac(A_MAC) + struct.pack("!H", 0x8847) + stack + frame[14:]


def pppoe(frame: bytes) -> bytes:
    """RFC 2516: a session packet with PPP's two octets for the protocol."""
    protocol = 0x21 if frame[14] >> 4 == 4 else 0x57
    body = struct.pack("!H", protocol) + frame[14:]
    return frame[:12] + struct.pack("!HBBHH", 0x8864, 0x11, 0, 17, len(body)) + body


def ip_in_ip(frame: bytes) -> bytes:
    """RFC 2003, and RFC 4213 for IPv6."""
    return tunnel(frame[14:], 4 if frame[14] >> 4 == 4 else 41)


def in_ip6(frame: bytes) -> bytes:
    """RFC 2473: IPv4 in IPv6."""
    return ether(ip6(frame[14:], 4, "2001:db8::1", "2001:db8::2"), A_MAC, B_MAC)


def both(*steps: Envelope) -> Envelope:
    """Apply envelopes, the innermost first."""

    def wrap(frame: bytes) -> bytes:
        for step in steps:
            frame = step(frame)
        return frame

    return wrap


def sll(frame: bytes) -> bytes:
    """LINKTYPE_LINUX_SLL: packet type, ARPHRD, length and address of the sender, protocol."""
    return struct.pack("!HHH", 0, 1, 6) + frame[6:12] + b"\0\0" + frame[12:]


def sll2(frame: bytes) -> bytes:
    """LINKTYPE_LINUX_SLL2."""
    return frame[12:14] + struct.pack("!HIHBB", 0, 2, 1, 0, 6) + frame[6:12] + b"\0\0" + frame[14:]


def extended(frame: bytes) -> bytes:
    """Hop-by-hop and destination options, and a routing header without segments left (RFC 8200 4, RFC 4727)."""
    following, payload = frame[20], frame[54:]
    pad = bytes((1, 4, 0, 0, 0, 0))
    headers = bytes((60, 0)) + pad + bytes((43, 0)) + pad + bytes((following, 0, 253, 0, 0, 0, 0, 0))
    head = frame[14:18] + struct.pack("!HB", len(headers) + len(payload), 0) + frame[21:54]
    return frame[:14] + head + headers + payload


def fragments(frame: bytes, size: int, ident: int, order: Sequence[int] = (1,)) -> list[bytes]:
    """Cut the payload of an IP packet into fragments of at most `size` octets (a multiple of 8)."""
    if frame[14] >> 4 == 4:
        src, dst = ".".join(map(str, frame[26:30])), ".".join(map(str, frame[30:34]))
        body, protocol, ttl = frame[34:], frame[23], frame[22]
        cut = [
            ip4(body[at : at + size], protocol, src, dst, ttl=ttl, ident=ident, fragment=more | at // 8)
            for at in range(0, len(body), size)
            for more in [0x2000 if at + size < len(body) else 0]
        ]
    else:
        body = frame[54:]
        cut = []
        for at in range(0, len(body), size):
            more = at + size < len(body)
            head = struct.pack("!BBHI", frame[20], 0, at | more, ident)
            part = head + body[at : at + size]
            cut.append(frame[14:18] + struct.pack("!HB", len(part), 44) + frame[21:54] + part)
    return [frame[:14] + one for one in cut][:: order[0]]


def fragmented(frames: Sequence[Frame], size: int, backwards: bool = False) -> list[Frame]:
    """Cut every packet with payload into fragments."""
    out = []
    for number, frame in enumerate(frames, 1):
        head = 14 + (20 if frame.data[14] >> 4 == 4 else 40)
        if frame.data[12:14] == b"\x08\x06" or len(frame.data) - head <= 40:
            out.append(frame)
            continue
        parts = fragments(frame.data, size, number, (-1 if backwards else 1,))
        out += [Frame(frame.time + n / 1e6, part) for n, part in enumerate(parts)]
    return out


def ipless(frames: Sequence[Frame]) -> list[Frame]:
    """Leave out what is no IP: these link types have no place for ARP."""
    return [frame for frame in frames if frame.data[12:14] in (b"\x08\x00", b"\x86\xdd")]


IN_ETHERNET: dict[str, Envelope] = {
    "vlan": vlan(42),
    "qinq": vlan(100, 42, outer=0x88A8),
    "qinq-9100": vlan(100, 42, outer=0x9100),
    "vxlan": vxlan,
    "vxlan-vlan": both(vlan(42), vxlan),
    "geneve": geneve,
    "gre": gre,
    "gre-ethernet": gre_key_ethernet,
    "erspan-1": erspan1,
    "erspan-2": erspan2,
    "erspan-3": erspan3,
    "erspan-3-platform": erspan3_platform,
    "erspan-2-in-vlan": both(erspan2, vlan(900)),
    "mpls": mpls,
    "pppoe": pppoe,
    "pppoe-vlan": both(pppoe, vlan(7)),
    "ip-in-ip": ip_in_ip,
    "ip-in-ip6": in_ip6,
    "gre-in-vxlan": both(gre, vxlan),
}


def captures(four: Sequence[Frame], six: Sequence[Frame]) -> Iterator[tuple[str, bytes]]:
    """Yield names and files, made of the recorded dialogue over IPv4 and over IPv6."""
    plain = ipless(four)
    for name, envelope in IN_ETHERNET.items():
        frames = four if name in ("vlan", "qinq", "qinq-9100") or "erspan" in name else plain
        yield f"carrier-{name}", pcap([Frame(one.time, envelope(one.data)) for one in frames], ETHERNET)
    plain6 = ipless(six)
    yield "carrier-6in4", pcap([Frame(one.time, ip_in_ip(one.data)) for one in plain6])
    yield "carrier-sll", pcap([Frame(one.time, sll(one.data)) for one in four], SLL)
    yield "carrier-sll2", pcap([Frame(one.time, sll2(one.data)) for one in four], SLL2)
    yield "carrier-raw", pcap([Frame(one.time, one.data[14:]) for one in plain], RAW)
    yield "carrier-raw-ipv4", pcap([Frame(one.time, one.data[14:]) for one in plain], 228)
    yield "carrier-raw-ipv6", pcap([Frame(one.time, one.data[14:]) for one in plain6], 229)
    for name, link, family in (("null", NULL, "<I"), ("loop", LOOP, "!I"), ("null-big-endian", NULL, "!I")):
        head = struct.pack(family, 2)
        yield f"carrier-{name}", pcap([Frame(one.time, head + one.data[14:]) for one in plain], link)
    yield "carrier-ppp", pcap([Frame(one.time, b"\xff\x03\0\x21" + one.data[14:]) for one in plain], 9)
    yield "ipv6-extension-headers", pcap([Frame(one.time, extended(one.data)) for one in plain6])
    yield "fragments-ipv4", pcap(fragmented(four, 64))
    yield "fragments-ipv4-8", pcap(fragmented(four, 8))
    yield "fragments-ipv4-backwards", pcap(fragmented(four, 64, backwards=True))
    yield "fragments-ipv6", pcap(fragmented(six, 64))
    yield "fragments-ipv6-backwards", pcap(fragmented(six, 64, backwards=True))
