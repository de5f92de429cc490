"""Frames built octet by octet from the RFCs, for tests: nothing here knows the decoder.

Every function returns bytes; each layer takes what it carries as its last argument. Lengths and (IPv4, ICMPv6-free)
header checksums are right unless a test says otherwise. `Talk` strings TCP packets of one connection together.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from imdswatch.wire.frame import Frame

VICTIM_MAC, RESPONDER_MAC, ROUTER_MAC = "02:00:00:00:00:05", "02:00:00:00:00:fe", "02:00:00:00:00:01"
VICTIM, ENDPOINT = "10.0.1.5", "169.254.169.254"
VICTIM6, ENDPOINT6 = "2001:db8::5", "fd00:ec2::254"
IPV4, IPV6, ARP, VLAN, QINQ, MPLS, PPPOE, TEB = 0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8, 0x8847, 0x8864, 0x6558
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


def frame(
    data: bytes, number: int = 1, time: float | None = None, length: int | None = None, linktype: int = 1
) -> Frame:
    return Frame(number, time, data, len(data) if length is None else length, linktype)


def frames(datas: Iterable[bytes], linktype: int = 1, step: float = 0.001) -> list[Frame]:
    return [frame(data, n, 1.79e9 + n * step, None, linktype) for n, data in enumerate(datas, 1)]


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(
    payload: bytes,
    ethertype: int = IPV4,
    src: str = VICTIM_MAC,
    dst: str = RESPONDER_MAC,
    vlans: Iterable[tuple[int, int]] = (),
    pad: bool = True,
) -> bytes:
    """Ethernet II with (TPID, TCI) tags, padded to 60 octets as it comes off a wire."""
    tags = b"".join(struct.pack(">HH", tpid, tci) for tpid, tci in vlans)
    data = mac(dst) + mac(src) + tags + struct.pack(">H", ethertype) + payload
    return data + b"\xee" * (60 - len(data)) if pad else data


def snap(payload: bytes, ethertype: int = IPV4, src: str = VICTIM_MAC, dst: str = RESPONDER_MAC) -> bytes:
    body = b"\xaa\xaa\x03\x00\x00\x00" + struct.pack(">H", ethertype) + payload
    return mac(dst) + mac(src) + struct.pack(">H", len(body)) + body


def sll(payload: bytes, protocol: int = IPV4, src: str = VICTIM_MAC, hardware: int = 1) -> bytes:
    return struct.pack(">HHH", 4, hardware, 6) + mac(src) + b"\0\0" + struct.pack(">H", protocol) + payload


def sll2(payload: bytes, protocol: int = IPV4, src: str = VICTIM_MAC, hardware: int = 1) -> bytes:
    return struct.pack(">HHIHBB", protocol, 0, 2, hardware, 4, 6) + mac(src) + b"\0\0" + payload


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip4(
    payload: bytes,
    protocol: int = 6,
    src: str = VICTIM,
    dst: str = ENDPOINT,
    ttl: int = 64,
    ident: int = 1,
    offset: int = 0,
    more: bool = False,
    options: bytes = b"",
    total: int | None = None,
) -> bytes:
    """IPv4; `offset` in octets, `options` a multiple of four octets, `total` overrides the length field."""
    header = 20 + len(options)
    fixed = struct.pack(
        ">BBHHHBBH4s4s", 0x40 | header // 4, 0, header + len(payload) if total is None else total, ident,
        (0x2000 if more else 0) | offset // 8, ttl, protocol, 0, socket.inet_aton(src), socket.inet_aton(dst),
    )  # fmt: skip
    head = fixed + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ip6(
    payload: bytes,
    protocol: int = 6,
    src: str = VICTIM6,
    dst: str = ENDPOINT6,
    ttl: int = 64,
    length: int | None = None,
) -> bytes:
    head = struct.pack(">IHBB", 0x60000000, len(payload) if length is None else length, protocol, ttl)
    return head + socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + payload


def extension(payload: bytes, following: int, size: int = 8) -> bytes:
    """A hop-by-hop, destination or routing header of `size` octets, filled with Pad1."""
    return bytes((following, size // 8 - 1)) + bytes(size - 2) + payload


def ah(payload: bytes, following: int, icv: int = 12) -> bytes:
    return struct.pack(">BBHII", following, (12 + icv) // 4 - 2, 0, 1, 1) + bytes(icv) + payload


def fragment6(payload: bytes, following: int, offset: int = 0, more: bool = False, ident: int = 1) -> bytes:
    return struct.pack(">BBHI", following, 0, offset | more, ident) + payload


def tcp(
    payload: bytes = b"",
    sport: int = 40112,
    dport: int = 80,
    seq: int = 1000,
    ack: int = 0,
    flags: int = ACK | PSH,
    options: bytes = b"",
    urgent: int = 0,
) -> bytes:
    head = struct.pack(
        ">HHIIBBHHH",
        sport,
        dport,
        seq & 0xFFFFFFFF,
        ack & 0xFFFFFFFF,
        (20 + len(options)) // 4 << 4,
        flags,
        64240,
        0,
        urgent,
    )
    return head + options + payload


def udp(payload: bytes = b"", sport: int = 40112, dport: int = 53, length: int | None = None) -> bytes:
    return struct.pack(">HHHH", sport, dport, 8 + len(payload) if length is None else length, 0) + payload


def icmp(kind: int, code: int, rest: bytes = bytes(4), body: bytes = b"") -> bytes:
    data = bytes((kind, code, 0, 0)) + rest + body
    return data[:2] + struct.pack(">H", checksum(data)) + data[4:]


def arp(operation: int, sender: tuple[str, str], target: tuple[str, str]) -> bytes:
    """ARP over Ethernet; sender and target are (MAC, address)."""
    return (
        struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation)
        + mac(sender[0]) + socket.inet_aton(sender[1]) + mac(target[0]) + socket.inet_aton(target[1])
    )  # fmt: skip


def gre(
    payload: bytes,
    protocol: int,
    checksummed: bool = False,
    key: int | None = None,
    sequence: int | None = None,
) -> bytes:
    flags = (
        (0x8000 if checksummed else 0)
        | (0x2000 if key is not None else 0)
        | (0x1000 if sequence is not None else 0)
    )
    data = struct.pack(">HH", flags, protocol) + (bytes(4) if checksummed else b"")
    for number in (key, sequence):
        data += b"" if number is None else struct.pack(">I", number)
    return data + payload


def erspan1(payload: bytes) -> bytes:
    return gre(payload, 0x88BE)


def erspan2(payload: bytes, session: int = 7, vlan: int = 0) -> bytes:
    return gre(struct.pack(">HHI", 1 << 12 | vlan, 3 << 11 | session, 5) + payload, 0x88BE, sequence=9)


def erspan3(
    payload: bytes, session: int = 7, vlan: int = 0, frame_type: int = 0, subheader: bool = False
) -> bytes:
    last = frame_type << 10 | subheader
    head = struct.pack(">HHIHH", 2 << 12 | vlan, session, 12345, 0, last)
    return gre(head + (bytes(8) if subheader else b"") + payload, 0x22EB, sequence=9)


def vxlan(payload: bytes, network: int = 7) -> bytes:
    return struct.pack(">II", 0x08000000, network << 8) + payload


def geneve(payload: bytes, network: int = 7, options: bytes = b"", protocol: int = TEB) -> bytes:
    return struct.pack(">BBHI", len(options) // 4, 0, protocol, network << 8) + options + payload


def mpls(payload: bytes, *labels: int) -> bytes:
    entries = [label << 12 | (0x100 if n == len(labels) else 0) | 64 for n, label in enumerate(labels, 1)]
    return struct.pack(f">{len(entries)}I", *entries) + payload


def pppoe(payload: bytes, session: int = 9, protocol: int = 0x0021) -> bytes:
    return struct.pack(">BBHHH", 0x11, 0, session, len(payload) + 2, protocol) + payload


@dataclass
class Talk:
    """The packets of one TCP connection, in the order in which they are sent; `sent` are Ethernet frames."""

    client: str = VICTIM
    server: str = ENDPOINT
    sport: int = 40112
    dport: int = 80
    client_isn: int = 1000
    server_isn: int = 5000
    client_mac: str = VICTIM_MAC
    server_mac: str = RESPONDER_MAC
    vlans: tuple[tuple[int, int], ...] = ()
    server_ttl: int = 63
    sent: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seq = [self.client_isn, self.server_isn]

    def packet(
        self,
        direction: int,
        payload: bytes = b"",
        flags: int = ACK,
        seq: int | None = None,
        ack: int | None = None,
    ) -> bytes:
        """One frame of a side (0 the client), with its next numbers unless others are given; nothing is counted."""
        ends = [(self.client, self.sport, self.client_mac), (self.server, self.dport, self.server_mac)]
        (src, sport, src_mac), (dst, dport, dst_mac) = ends[direction], ends[1 - direction]
        segment = tcp(
            payload, sport, dport, self.seq[direction] if seq is None else seq,
            (self.seq[1 - direction] if ack is None else ack) if flags & ACK else 0, flags,
        )  # fmt: skip
        six = ":" in src
        ttl = 64 if direction == 0 else self.server_ttl
        packet = ip6(segment, 6, src, dst, ttl) if six else ip4(segment, 6, src, dst, ttl)
        return ethernet(packet, IPV6 if six else IPV4, src_mac, dst_mac, self.vlans)

    def send(self, direction: int, payload: bytes = b"", flags: int = ACK) -> Talk:
        """Send one segment and count its octets, its SYN and its FIN."""
        self.sent.append(self.packet(direction, payload, flags))
        self.seq[direction] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        return self

    def handshake(self) -> Talk:
        return self.send(0, flags=SYN).send(1, flags=SYN | ACK).send(0)

    def ask(self, request: bytes, response: bytes = b"", size: int = 1448) -> Talk:
        """Send a request and its answer in segments of at most `size` octets, each side's acknowledged."""
        for direction, octets in ((0, request), (1, response)):
            for at in range(0, len(octets), size):
                self.send(direction, octets[at : at + size], ACK | PSH)
            if octets:
                self.send(1 - direction)
        return self

    def close(self) -> Talk:
        return self.send(0, flags=FIN | ACK).send(1, flags=FIN | ACK).send(0)

    def frames(self) -> list[Frame]:
        return frames(self.sent)
