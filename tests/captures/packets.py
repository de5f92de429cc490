"""Octets of packets and capture files, put together with `struct` alone: an oracle must not share the reader's code.

Every function is pure. Checksums of IPv4, TCP, UDP and ICMP are right, so that tshark has nothing to complain about.
Numbers are those of the RFCs and of https://www.tcpdump.org/linktypes.html; each function names its source.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

VICTIM_MAC, OTHER_MAC = "02:00:00:00:01:16", "02:00:00:00:01:17"
ROUTER_MAC, ROGUE_MAC = "02:00:00:00:01:48", "02:00:00:00:01:66"
VICTIM, OTHER, ROUTER, ROGUE = "10.20.1.10", "10.20.1.11", "10.20.1.1", "10.20.1.66"
VICTIM6, ROGUE6 = "fd20:1::10", "fe80::66"
ENDPOINT, ENDPOINT6 = "169.254.169.254", "fd00:ec2::254"
BROADCAST = "ff:ff:ff:ff:ff:ff"
EPOCH = 1795309200  # 2026-11-22T01:00:00Z

SYN, FIN, RST, PSH, ACK = 2, 1, 4, 8, 16
ETHERNET, RAW, NULL, LOOP, SLL, SLL2 = 1, 101, 0, 108, 113, 276


@dataclass(frozen=True)
class Frame:
    """A captured frame; `wire` is its length on the wire where the capture cut it."""

    time: float
    data: bytes
    wire: int | None = None


def mac(text: str) -> bytes:
    """Return the six octets of a MAC address."""
    return bytes.fromhex(text.replace(":", ""))


def ip(text: str) -> bytes:
    """Return the octets of an address."""
    return ipaddress.ip_address(text).packed


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ether(
    payload: bytes, src: str = VICTIM_MAC, dst: str = ROUTER_MAC, kind: int | None = None, tags: bytes = b""
) -> bytes:
    """Return an Ethernet II frame; the type follows from the IP version unless given. `tags` stand before it."""
    if kind is None:
        kind = 0x0800 if payload[0] >> 4 == 4 else 0x86DD
    return mac(dst) + mac(src) + tags + struct.pack("!H", kind) + payload


def tag(vlan: int, kind: int = 0x8100) -> bytes:
    """Return an IEEE 802.1Q tag (0x88A8: 802.1ad)."""
    return struct.pack("!HH", kind, vlan)


def ip4(
    payload: bytes, protocol: int, src: str, dst: str, *, ttl: int = 64, ident: int = 1, fragment: int = 0
) -> bytes:
    """Return an IPv4 packet (RFC 791); `fragment` is the field of flags and offset."""
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(payload), ident, fragment, ttl, protocol)
    check = checksum(head + b"\0\0" + ip(src) + ip(dst))
    return head + struct.pack("!H", check) + ip(src) + ip(dst) + payload


def ip6(payload: bytes, following: int, src: str, dst: str, *, hops: int = 64) -> bytes:
    """Return an IPv6 packet (RFC 8200); extension headers stand at the beginning of the payload."""
    return struct.pack("!IHBB", 6 << 28, len(payload), following, hops) + ip(src) + ip(dst) + payload


def pseudo(src: str, dst: str, protocol: int, body: bytes) -> bytes:
    """Return what a transport checksum covers (RFC 9293 3.1, RFC 8200 8.1)."""
    if ":" in src:
        return ip(src) + ip(dst) + struct.pack("!II", len(body), protocol) + body
    return ip(src) + ip(dst) + struct.pack("!HH", protocol, len(body)) + body


def inet(body: bytes, protocol: int, src: str, dst: str, *, at: int, ttl: int = 64, ident: int = 1) -> bytes:
    """Return an IP packet of either version, the transport checksum filled in at offset `at`."""
    check = checksum(pseudo(src, dst, protocol, body)) or 0xFFFF
    body = body[:at] + struct.pack("!H", check) + body[at + 2 :]
    if ":" in src:
        return ip6(body, protocol, src, dst, hops=ttl)
    return ip4(body, protocol, src, dst, ttl=ttl, ident=ident)


def udp(payload: bytes, src: str, sport: int, dst: str, dport: int, *, ttl: int = 64) -> bytes:
    """Return a UDP datagram in IP (RFC 768)."""
    body = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    return inet(body, 17, src, dst, at=6, ttl=ttl)


def icmp(body: bytes, src: str, dst: str, *, ttl: int = 64) -> bytes:
    """Return an ICMP message in IP (RFC 792, RFC 4443); its checksum field must be 0."""
    if ":" in src:
        return inet(body, 58, src, dst, at=2, ttl=255)
    return ip4(body[:2] + struct.pack("!H", checksum(body)) + body[4:], 1, src, dst, ttl=ttl)


def arp(op: int, sender_mac: str, sender: str, target_mac: str, target: str) -> bytes:
    """Return the body of an ARP packet (RFC 826)."""
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, op)
    return head + mac(sender_mac) + ip(sender) + mac(target_mac) + ip(target)


@dataclass(frozen=True)
class End:
    """One end of a TCP connection."""

    ip: str
    port: int
    mac: str


class Talk:
    """One TCP connection as its frames on the wire: say what each side sends, take `frames`."""

    def __init__(
        self,
        client: End = End(VICTIM, 40000, VICTIM_MAC),
        server: End = End(ENDPOINT, 80, ROUTER_MAC),
        *,
        isn: tuple[int, int] = (1000, 5000),
    ) -> None:
        self.ends = (client, server)
        self.next = [isn[0], isn[1]]
        self.frames: list[bytes] = []

    def packet(self, direction: int, flags: int, payload: bytes = b"", seq: int | None = None) -> bytes:
        """Return one segment of a side (0 = client) without adding it."""
        a, b = self.ends[direction], self.ends[1 - direction]
        at = self.next[direction] if seq is None else seq
        back = self.next[1 - direction] if flags & ACK else 0
        mask = 0xFFFFFFFF
        ports = struct.pack("!HHII", a.port, b.port, at & mask, back & mask)
        body = ports + struct.pack("!BBHHH", 0x50, flags, 64000, 0, 0) + payload
        return ether(inet(body, 6, a.ip, b.ip, at=16, ttl=63 if direction else 64), a.mac, b.mac)

    def send(self, direction: int, flags: int, payload: bytes = b"") -> None:
        """Add one segment."""
        self.frames.append(self.packet(direction, flags, payload))
        self.next[direction] += len(payload) + bool(flags & (SYN | FIN))

    def open(self) -> Talk:
        """Shake hands."""
        self.send(0, SYN)
        self.send(1, SYN | ACK)
        self.send(0, ACK)
        return self

    def say(self, direction: int, octets: bytes, *cuts: int) -> Talk:
        """Add octets in segments cut at these offsets."""
        for start, end in zip((0, *cuts), (*cuts, len(octets)), strict=True):
            self.send(direction, PSH | ACK, octets[start:end])
        return self

    def close(self) -> Talk:
        """End both directions."""
        self.send(0, FIN | ACK)
        self.send(1, FIN | ACK)
        self.send(0, ACK)
        return self


def request(path: str, *headers: str, method: str = "GET", host: str = ENDPOINT) -> bytes:
    """Return an HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def response(
    body: str | bytes = "", status: str = "200 OK", *headers: str, kind: str = "text/plain"
) -> bytes:
    """Return an HTTP/1.1 response with a length."""
    octets = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers, f"Content-Length: {len(octets)}"]
    return "\r\n".join([*lines, "", ""]).encode() + octets


ROLES = "/latest/meta-data/iam/security-credentials/"
ROLE = ROLES + "fake-role"
KEY_ID = "ASIARZPUZDIKFAKEFAKE"  # of account 123456789012
CREDENTIALS = f"""{{
  "Code" : "Success",
  "LastUpdated" : "2026-11-22T00:59:00Z",
  "Type" : "AWS-HMAC",
  "AccessKeyId" : "{KEY_ID}",
  "SecretAccessKey" : "FAKE/SECRET/NOT/REAL/FAKE/SECRET/NOTREAL",
  "Token" : "FAKE-SESSION-TOKEN-NOT-REAL-FAKE-SESSION-TOKEN-NOT-REAL",
  "Expiration" : "2026-11-22T06:59:00Z"
}}"""


def timed(frames: Iterable[bytes], start: float = EPOCH) -> list[Frame]:
    """Give frames a time each, a millisecond apart."""
    return [Frame(start + number / 1000, data) for number, data in enumerate(frames)]


def pcap(
    frames: Sequence[Frame],
    link: int = ETHERNET,
    *,
    order: str = "<",
    nano: bool = False,
    snaplen: int = 262144,
) -> bytes:
    """Return a pcap file (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-06.html)."""
    out = struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, snaplen, link)
    for frame in frames:
        whole = int(frame.time)
        part = round((frame.time - whole) * (1e9 if nano else 1e6))
        data = frame.data[:snaplen]
        out += struct.pack(order + "IIII", whole, part, len(data), frame.wire or len(frame.data)) + data
    return out


def unpcap(data: bytes) -> list[Frame]:
    """Read back a little-endian microsecond pcap, as tcpdump writes it here."""
    assert data[:4] == b"\xd4\xc3\xb2\xa1"
    frames, at = [], 24
    while at < len(data):
        seconds, micro, kept, wire = struct.unpack_from("<IIII", data, at)
        frames.append(Frame(seconds + micro / 1e6, data[at + 16 : at + 16 + kept], wire))
        at += 16 + kept
    return frames
