"""ICMP messages that speak of another packet: it could not be delivered, or should go another way.

Source: RFC 792, RFC 1812 5.2.7.1 (codes 9, 10, 13: administratively prohibited), RFC 4443 3.1 (ICMPv6 codes), RFC 4861
4.5 (ICMPv6 redirect). Pure; any octets give a value or None, nothing raises. The packet that a message quotes is
returned as octets, from its IP header on; whoever asks decodes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from imdswatch.wire import nd
from imdswatch.wire.arp import dotted

_HEADER = 8
_UNREACHABLE, _REDIRECT, _TIME_EXCEEDED, _PARAMETER = 3, 5, 11, 12
_UNREACHABLE6, _TIME_EXCEEDED6, _PARAMETER6 = 1, 3, 4
_PROHIBITED, _PROHIBITED6 = frozenset({9, 10, 13}), frozenset({1, 5, 6})
_FRAGMENTATION_NEEDED = 4
_REDIRECT6 = 40  # octets before the options
_QUOTED_OPTION = 4  # redirected header, RFC 4861 4.6.3


@dataclass(frozen=True, slots=True)
class Refused:
    """A packet did not arrive; `prohibited`: a filter says so. `quoted` begins with its IP header."""

    prohibited: bool
    quoted: bytes


@dataclass(frozen=True, slots=True)
class Redirected:
    """A router says that packets for a destination should go to another gateway; `destination` None: see `quoted`."""

    destination: str | None
    gateway: str
    quoted: bytes


def read(message: bytes, *, v6: bool) -> Refused | Redirected | None:
    """Return what an ICMP or ICMPv6 message (from its type octet on) says of another packet; None if nothing."""
    if len(message) < _HEADER:
        return None
    kind, code = message[0], message[1]
    return _read6(message, kind, code) if v6 else _read4(message, kind, code)


def _read4(message: bytes, kind: int, code: int) -> Refused | Redirected | None:
    quoted = message[_HEADER:]
    if kind == _UNREACHABLE and code != _FRAGMENTATION_NEEDED:
        return Refused(code in _PROHIBITED, quoted)
    if kind in (_TIME_EXCEEDED, _PARAMETER):
        return Refused(False, quoted)
    if kind == _REDIRECT and code <= 3:
        return Redirected(None, dotted(message[4:8]), quoted)
    return None


def _read6(message: bytes, kind: int, code: int) -> Refused | Redirected | None:
    if kind == _UNREACHABLE6:
        return Refused(code in _PROHIBITED6, message[_HEADER:])
    if kind in (_TIME_EXCEEDED6, _PARAMETER6):
        return Refused(False, message[_HEADER:])
    named = nd.redirect(message)
    if named is None:
        return None
    destination, gateway = named
    options = nd.options(message, _REDIRECT6)
    quoted = next((option[_HEADER:] for code, option in options if code == _QUOTED_OPTION), b"")
    return Redirected(destination, gateway, quoted)
