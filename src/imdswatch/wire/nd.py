"""IPv6 neighbour discovery: who asks for a neighbour, who says it is one, and what routers announce.

Source: RFC 4861 (messages and options), RFC 4191 (route information option). Pure; any octets give a value or None,
nothing raises; at most `_MOST` options are looked at. Options before a damaged one are kept.

A host drops such messages unless their hop limit is 255 and their checksum right. Neither is asked here: a claim that
was forged badly is still a claim, and a span port may show checksums that the card had not filled in yet.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

ROUTER_ADVERTISEMENT, SOLICITATION, ADVERTISEMENT, REDIRECT = 134, 135, 136, 137

_MOST = 256
_SOURCE_MAC, _TARGET_MAC, _PREFIX, _ROUTE = 1, 2, 3, 24
_NEIGHBOUR = 24  # octets before the options: type, code, checksum, flags, target
_ROUTER = 16
_UNIT = 8  # octets that an option's length counts


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A neighbour solicitation or advertisement; `mac` is the link-layer address option, if it has one."""

    advertisement: bool
    target: str
    mac: str | None
    solicited: bool = False
    override: bool = False


@dataclass(frozen=True, slots=True)
class Router:
    """A router advertisement: the networks that it routes or puts on the link, in order; default routes as `::/0`.

    What it withdraws (lifetime zero) is no offer and is left out. `mac` is the router's link-layer address option.
    """

    lifetime: int  # seconds for which it is a default router
    networks: tuple[str, ...]
    mac: str | None


def read(message: bytes) -> Neighbour | Router | None:
    """Return what an ICMPv6 message (from its type octet on) says; None if it is none of these, or cut short."""
    if len(message) < 4 or message[1] != 0:
        return None
    kind = message[0]
    if kind in (SOLICITATION, ADVERTISEMENT):
        return _neighbour(message, advertisement=kind == ADVERTISEMENT)
    if kind == ROUTER_ADVERTISEMENT:
        return _router(message)
    return None


def _neighbour(message: bytes, *, advertisement: bool) -> Neighbour | None:
    if len(message) < _NEIGHBOUR:
        return None
    wanted = _TARGET_MAC if advertisement else _SOURCE_MAC
    macs = (_mac(option) for kind, option in options(message, _NEIGHBOUR) if kind == wanted)
    flags = message[4] if advertisement else 0
    target = str(IPv6Address(message[8:24]))
    return Neighbour(advertisement, target, next(macs, None), bool(flags & 0x40), bool(flags & 0x20))


def _router(message: bytes) -> Router | None:
    if len(message) < _ROUTER:
        return None
    networks: list[str] = []
    mac: str | None = None
    for kind, option in options(message, _ROUTER):
        found: str | None = None
        if kind == _SOURCE_MAC:
            mac = mac or _mac(option)
        elif kind == _PREFIX and len(option) >= 32:
            found = _offer(option[2], option[16:32], option[4:8])
        elif kind == _ROUTE and len(option) >= 8:
            # 8, 16 or 24 octets: as much of the prefix as its length needs (RFC 4191 2.3)
            found = _offer(option[2], option[8:24], option[4:8])
        if found is not None and found not in networks:
            networks.append(found)
    return Router(int.from_bytes(message[6:8]), tuple(networks), mac)


def _offer(length: int, prefix: bytes, lifetime: bytes) -> str | None:
    """Return the network of a prefix or route option; None where it is withdrawn or cannot be."""
    if length > 128 or not any(lifetime) or len(prefix) * 8 < length:
        return None
    return str(IPv6Network((prefix.ljust(16, b"\0"), length), strict=False))


def options(message: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield type and octets (header included) of each whole option from an offset on; a length of zero ends them."""
    for _ in range(_MOST):
        if start + 2 > len(message):
            return
        end = start + message[start + 1] * _UNIT
        if end == start or end > len(message):
            return
        yield message[start], message[start:end]
        start = end


def _mac(option: bytes) -> str | None:
    """Return the link-layer address of an option, six octets on Ethernet (RFC 2464)."""
    return option[2:8].hex(":") if len(option) == 8 else None


_REDIRECT = struct.Struct("!4x4x16s16s")


def redirect(message: bytes) -> tuple[str, str] | None:
    """Return destination and new next hop that a redirect (RFC 4861 4.5) names; None if the message is none."""
    if len(message) < _REDIRECT.size or message[0] != REDIRECT or message[1] != 0:
        return None
    target, destination = _REDIRECT.unpack_from(message)
    return str(IPv6Address(destination)), str(IPv6Address(target))
