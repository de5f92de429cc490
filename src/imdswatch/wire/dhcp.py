"""DHCP replies: which routes a server gives to which client.

Source: RFC 2131 (message), RFC 2132 (options, overload), RFC 3396 (long options: parts of one option are joined,
options field first, then `file`, then `sname`), RFC 3442 (option 121, classless static routes). Option 249 is
Microsoft's number for the same (MS-DHCPE 2.2.8). Option 33 (RFC 2132 5.8) holds routes by address class. Pure; any
octets give a value or None, nothing raises, work is linear in their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

SERVER_PORT, CLIENT_PORT = 67, 68

_COOKIE_AT, _OPTIONS_AT = 236, 240
_COOKIE = bytes((99, 130, 83, 99))
_SNAME, _FILE = slice(44, 108), slice(108, 236)
_PAD, _END = 0, 255
_STATIC_ROUTES, _OVERLOAD, _TYPE, _SERVER, _CLASSLESS, _MICROSOFT = 33, 52, 53, 54, 121, 249
_TYPES = {
    1: "discover",
    2: "offer",
    3: "request",
    4: "decline",
    5: "ack",
    6: "nak",
    7: "release",
    8: "inform",
}
_ETHERNET = 1


@dataclass(frozen=True, slots=True)
class Route:
    """One route: a network in CIDR text, and the gateway that it goes to (0.0.0.0: on the link)."""

    network: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Dhcp:
    """One DHCP message. Addresses that it leaves at 0.0.0.0 are None; `kind` is empty in plain BOOTP."""

    reply: bool
    kind: str
    transaction: int
    client_ip: str | None  # yiaddr, else ciaddr: the one it is given, or has
    client_mac: str | None
    relay: str | None
    server: str | None  # option 54
    routes: tuple[Route, ...]


def read(payload: bytes) -> Dhcp | None:
    """Return what the payload of a datagram to port 67 or 68 says; None if it is no DHCP message."""
    if len(payload) < _OPTIONS_AT or payload[_COOKIE_AT:_OPTIONS_AT] != _COOKIE or payload[0] not in (1, 2):
        return None
    found = _all_options(payload)
    kind, server = found.get(_TYPE, b""), found.get(_SERVER, b"")
    mac = payload[28:34] if payload[1] == _ETHERNET and payload[2] == 6 else b""
    return Dhcp(
        reply=payload[0] == 2,
        kind=_TYPES.get(kind[0], "") if kind else "",
        transaction=int.from_bytes(payload[4:8]),
        client_ip=_address(payload[16:20]) or _address(payload[12:16]),
        client_mac=mac.hex(":") if any(mac) else None,
        relay=_address(payload[24:28]),
        server=_address(server[:4]) if len(server) >= 4 else None,
        routes=_routes(found),
    )


def _address(octets: bytes) -> str | None:
    return str(IPv4Address(octets)) if any(octets) else None


def _all_options(payload: bytes) -> dict[int, bytes]:
    """Return each option's octets, joined in the order of RFC 3396 section 5; the fields are small and fixed."""
    found: dict[int, bytearray] = {}
    for code, value in _options(payload[_OPTIONS_AT:]):
        found.setdefault(code, bytearray()).extend(value)
    overload = found.get(_OVERLOAD, b"\0")[:1] or b"\0"
    for bit, field in ((1, _FILE), (2, _SNAME)):
        if overload[0] & bit:
            for code, value in _options(payload[field]):
                found.setdefault(code, bytearray()).extend(value)
    return {code: bytes(value) for code, value in found.items()}


def _options(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield code and value of each option; a last one that is cut short is given as far as it goes."""
    at = 0
    while at < len(octets) and octets[at] != _END:
        if octets[at] == _PAD:
            at += 1
            continue
        if at + 1 >= len(octets):
            return
        end = at + 2 + octets[at + 1]
        yield octets[at], octets[at + 2 : end]
        at = end


def _routes(found: dict[int, bytes]) -> tuple[Route, ...]:
    """Return the routes of options 121 and 249, in that order; those of option 33 only where both are missing.

    A client that knows option 121 ignores option 33 (RFC 3442, "DHCP Client Behavior").
    """
    classless = [*_classless(found.get(_CLASSLESS, b"")), *_classless(found.get(_MICROSOFT, b""))]
    if not classless:
        classless = list(_by_class(found.get(_STATIC_ROUTES, b"")))
    return tuple(dict.fromkeys(classless))


def _classless(octets: bytes) -> Iterator[Route]:
    at = 0
    while at < len(octets) and octets[at] <= 32:
        width = octets[at]
        significant = (width + 7) // 8
        gateway_at = at + 1 + significant
        if gateway_at + 4 > len(octets):
            return
        network = IPv4Network((octets[at + 1 : gateway_at].ljust(4, b"\0"), width), strict=False)
        yield Route(str(network), str(IPv4Address(octets[gateway_at : gateway_at + 4])))
        at = gateway_at + 4


def _by_class(octets: bytes) -> Iterator[Route]:
    """Yield the routes of option 33: the network of the address's class, or the host itself if it names one."""
    for at in range(0, len(octets) - 7, 8):
        destination, gateway = octets[at : at + 4], octets[at + 4 : at + 8]
        width = 8 if destination[0] < 128 else 16 if destination[0] < 192 else 24
        if any(destination[width // 8 :]):
            width = 32
        yield Route(f"{IPv4Address(destination)}/{width}", str(IPv4Address(gateway)))
