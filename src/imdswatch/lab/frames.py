"""Frames that a rogue sends and no program of the system would: ARP claims, DHCP with a route, router advertisements.

Each function returns whole Ethernet frames. RFC 826 and 5227 (ARP), 2131, 2132 and 3442 (DHCP, option 121), 4861
(router advertisement). Pure.
"""

from __future__ import annotations

import ipaddress
import struct

EVERYBODY = "ff:ff:ff:ff:ff:ff"
_COOKIE = b"\x63\x82\x53\x63"
_BOOTREQUEST, _BOOTREPLY = 1, 2
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
_LEASE = struct.pack(">I", 3600)


def announcement(ip: str, mac: str) -> bytes:
    """Return a gratuitous ARP: sender and target are the same address."""
    address = _ip(ip)
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + _mac(mac) + address + bytes(6) + address
    return _ethernet(EVERYBODY, mac, 0x0806, body)


def dhcp(
    kind: int, *, client: str, server_ip: str, server_mac: str, offered: str, route: tuple[str, str]
) -> bytes:
    """Return one message of the handshake by which a client gets a lease; the server's carry option 121.

    `route`: the network that the option names, and the gateway to it.
    """
    asks = kind in (DISCOVER, REQUEST)
    options = bytes((53, 1, kind))
    if asks:
        options += bytes((55, 4, 1, 3, 121, 249)) + (
            bytes((50, 4)) + _ip(offered) if kind == REQUEST else b""
        )
    else:
        network = ipaddress.IPv4Network(route[0])
        written = (network.prefixlen + 7) // 8
        classless = bytes((network.prefixlen,)) + network.network_address.packed[:written] + _ip(route[1])
        options += (
            bytes((54, 4)) + _ip(server_ip) + bytes((51, 4)) + _LEASE + bytes((1, 4)) + _ip("255.255.255.0")
        )
        options += bytes((121, len(classless))) + classless
    yours = bytes(4) if asks else _ip(offered)
    message = struct.pack(">BBBBIHH", _BOOTREQUEST if asks else _BOOTREPLY, 1, 6, 0, 0x1AB, 0, 0x8000)
    message += bytes(4) + yours + bytes(8) + _mac(client) + bytes(10 + 64 + 128) + _COOKIE + options + b"\xff"
    ports = (68, 67) if asks else (67, 68)
    source = "0.0.0.0" if asks else server_ip
    return _ethernet(
        EVERYBODY, client if asks else server_mac, 0x0800, _udp4(source, "255.255.255.255", ports, message)
    )


def advertisement(mac: str, prefix: str) -> bytes:
    """Return a router advertisement that says a prefix is on this link; it offers no default route (lifetime 0)."""
    network = ipaddress.IPv6Network(prefix)
    source, target = link_local(mac), ipaddress.IPv6Address("ff02::1").packed
    on_link = (
        struct.pack(">BBBBIII", 3, 4, network.prefixlen, 0x80, 1800, 1800, 0) + network.network_address.packed
    )
    body = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 0, 0, 0) + b"\x01\x01" + _mac(mac) + on_link
    pseudo = source + target + struct.pack(">II", len(body), 58)
    body = body[:2] + struct.pack(">H", _checksum(pseudo + body)) + body[4:]
    header = struct.pack(">IHBB", 0x60000000, len(body), 58, 255) + source + target
    return _ethernet("33:33:00:00:00:01", mac, 0x86DD, header + body)


def link_local(mac: str) -> bytes:
    """Return the link-local IPv6 address that goes with a MAC (RFC 4291, appendix A)."""
    octets = _mac(mac)
    return b"\xfe\x80" + bytes(6) + bytes((octets[0] ^ 2,)) + octets[1:3] + b"\xff\xfe" + octets[3:]


def _udp4(source: str, target: str, ports: tuple[int, int], body: bytes) -> bytes:
    datagram = struct.pack(">HHHH", *ports, 8 + len(body), 0) + body  # no checksum: allowed over IPv4
    header = (
        struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0) + _ip(source) + _ip(target)
    )
    return header[:10] + struct.pack(">H", _checksum(header)) + header[12:] + datagram


def _ethernet(target: str, source: str, kind: int, body: bytes) -> bytes:
    return (_mac(target) + _mac(source) + struct.pack(">H", kind) + body).ljust(60, b"\0")


def _checksum(octets: bytes) -> int:
    even = octets + bytes(len(octets) % 2)
    total = sum(int.from_bytes(even[at : at + 2]) for at in range(0, len(even), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _ip(text: str) -> bytes:
    return ipaddress.IPv4Address(text).packed
