"""ARP as RFC 826 has it, for IPv4 over hardware with six-octet addresses: who asks, and who says it is whom.

Source: RFC 826; announcements and probes: RFC 5227. Pure; any octets give a value or None, nothing raises. What
follows the twenty-eight octets is padding and is not looked at.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEAD = struct.Struct("!HHBBH")
_LENGTH = 28
_IPV4, _MAC_OCTETS, _IP_OCTETS = 0x0800, 6, 4
_OPERATIONS = {1: "request", 2: "reply"}


@dataclass(frozen=True, slots=True)
class Arp:
    """One ARP packet: `operation` is request or reply; addresses are canonical text."""

    operation: str
    sender_mac: str
    sender_ip: str
    target_mac: str
    target_ip: str

    @property
    def announces(self) -> bool:
        """Whether the sender speaks of its own address to everybody: a gratuitous ARP (RFC 5227 section 3)."""
        return self.sender_ip == self.target_ip and self.sender_ip != "0.0.0.0"


def read(body: bytes) -> Arp | None:
    """Return what an ARP body says; None where it is cut short, or not IPv4 over six-octet addresses.

    Other operations (reverse and inverse ARP) ask for addresses of another kind and claim none: None, too.
    """
    if len(body) < _LENGTH:
        return None
    _, protocol, mac_octets, ip_octets, number = _HEAD.unpack_from(body)
    operation = _OPERATIONS.get(number)
    if (
        operation is None
        or protocol != _IPV4
        or (mac_octets, ip_octets)
        != (
            _MAC_OCTETS,
            _IP_OCTETS,
        )
    ):
        return None
    return Arp(
        operation,
        sender_mac=body[8:14].hex(":"),
        sender_ip=dotted(body[14:18]),
        target_mac=body[18:24].hex(":"),
        target_ip=dotted(body[24:28]),
    )


def dotted(octets: bytes) -> str:
    """Return four octets as an IPv4 address."""
    return "{}.{}.{}.{}".format(*octets)
