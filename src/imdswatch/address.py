"""Addresses are parsed and compared as addresses, in every spelling that a log or a URL can carry.

The canonical form used everywhere in imdswatch is text: dotted decimal for IPv4, lower-case compressed (RFC 5952)
for IPv6. IPv4-mapped addresses are IPv4. The NAT64 (RFC 6052), 6to4 (RFC 3056), IPv4-compatible (RFC 4291 2.5.5.1)
and IPv4-translated (RFC 2765) forms of the IPv4 endpoint are the endpoint; such forms of other addresses stay what
they are, since a translator somewhere is not proof of who was meant.

Everything here is pure; results for recent texts are remembered (bounded).
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from urllib.parse import unquote

ENDPOINT_V4 = "169.254.169.254"
ENDPOINT_V6 = "fd00:ec2::254"
ENDPOINTS = frozenset({ENDPOINT_V4, ENDPOINT_V6})
"""The addresses of the Instance Metadata Service (EC2 User Guide, "Access instance metadata")."""

_V4_NUMBER = int(IPv4Address(ENDPOINT_V4))
_EMBEDDING_96 = (
    int(IPv6Address("64:ff9b::")) >> 32,  # NAT64 well-known prefix, RFC 6052
    0,  # IPv4-compatible, RFC 4291
    0xFFFF0000,  # IPv4-translated ::ffff:0:a.b.c.d, RFC 2765
)
_SIX_TO_FOUR = (0x2002 << 32) | _V4_NUMBER  # the /48 of the endpoint, RFC 3056
_NUMBER_HOST = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]*|[0-9]+)){0,3}\.?\Z")

_FULL_WIDTH = {0xFF10 + digit: 0x30 + digit for digit in range(10)} | {
    0xFF0E: 0x2E,
    0x3002: 0x2E,
    0xFF61: 0x2E,
}
# Digits and dots that browsers and URL libraries map to ASCII in a host (UTS 46).

Network = IPv4Network | IPv6Network


@lru_cache(maxsize=1 << 14)
def parse(text: str) -> str | None:
    """Return the canonical text of an IP address, or None if the text is none.

    Brackets, surrounding white space and an IPv6 zone (`%eth0`) are cut off. Decimal, hex and octal host forms
    are not addresses here: flow logs never print them. `parse_host` reads those.
    """
    try:
        # The usual case in a tenth of the time: inet_pton(3) takes nothing but four plain decimal numbers.
        socket.inet_pton(socket.AF_INET, text)
        return text
    except (OSError, ValueError):
        pass
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    if ":" not in text:
        try:
            return str(IPv4Address(text))
        except AddressValueError:
            return None
    try:
        value = int(IPv6Address(text.partition("%")[0]))
    except AddressValueError:
        return None
    high, low = value >> 32, value & 0xFFFFFFFF
    if high == 0xFFFF:
        return str(IPv4Address(low))
    if (low == _V4_NUMBER and high in _EMBEDDING_96) or value >> 80 == _SIX_TO_FOUR:
        return ENDPOINT_V4
    return str(IPv6Address(value))


@lru_cache(maxsize=1 << 14)
def parse_host(text: str) -> str | None:
    """Return the canonical address that a URL host or Host header names, or None if it is a name.

    Beyond `parse` this reads what a URL may carry: a port, percent-encoding, full-width digits, a trailing dot,
    and the one- to four-part decimal, hex, octal and mixed forms of inet_aton(3) that clients resolve. Octets
    above 255 wrap as some parsers let them (`425.510.425.510`).
    """
    host, _ = split_port(text.strip())
    if "%" in host and ":" not in host:
        host = unquote(unquote(host))
    if not host.isascii():
        host = host.translate(_FULL_WIDTH)
    plain = parse(host)
    if plain is not None or not _NUMBER_HOST.match(host):
        return plain
    host = host.rstrip(".")
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return _overflowing(host)


def _overflowing(host: str) -> str | None:
    parts = host.split(".")
    if len(parts) != 4 or not all(part.isdigit() and len(part) <= 3 for part in parts):
        return None
    return ".".join(str(int(part) & 0xFF) for part in parts)


def split_port(host: str) -> tuple[str, int | None]:
    """Split `host:port` or `[v6]:port` into host and port; a bare IPv6 address has no port (RFC 3986 3.2.2)."""
    if host.startswith("["):
        inner, _, rest = host[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else ""
    elif host.count(":") == 1:
        inner, _, port = host.partition(":")
    else:
        return host, None
    return inner, int(port) if port.isdigit() and port.isascii() and len(port) <= 5 else None


@lru_cache(maxsize=1 << 14)
def number(text: str) -> tuple[int, int] | None:
    """Return (family, value) of an address for range comparison, family 4 or 6, or None if the text is none."""
    canonical = parse(text)
    if canonical is None:
        return None
    if ":" in canonical:
        return 6, int(IPv6Address(canonical))
    return 4, int(IPv4Address(canonical))


def network(text: str) -> Network:
    """Return the network that CIDR text names, host bits allowed; raises ValueError if it is none.

    An IPv4-mapped network of /96 or longer is its IPv4 network.
    """
    net = ip_network(text.strip(), strict=False)
    if isinstance(net, IPv6Network) and net.prefixlen >= 96 and int(net.network_address) >> 32 == 0xFFFF:
        return IPv4Network((int(net.network_address) & 0xFFFFFFFF, net.prefixlen - 96))
    return net


class Networks:
    """A set of networks that answers quickly whether an address lies in any of them."""

    def __init__(self, networks: list[Network]) -> None:
        self.networks = tuple(networks)
        self._ranges = tuple(
            (net.version, int(net.network_address), int(net.broadcast_address)) for net in networks
        )
        self._known = lru_cache(maxsize=1 << 14)(self._contains)

    def __reduce__(self) -> tuple[type[Networks], tuple[list[Network]]]:
        return Networks, (list(self.networks),)  # what is remembered stays here

    def _contains(self, text: str) -> bool:
        found = number(text)
        return found is not None and any(
            family == found[0] and low <= found[1] <= high for family, low, high in self._ranges
        )

    def __contains__(self, text: str) -> bool:
        return self._known(text)

    def __bool__(self) -> bool:
        return bool(self._ranges)


_NOT_A_SOURCE = Networks([network(n) for n in ("0.0.0.0/32", "::/128", "169.254.0.0/16", "fe80::/10")])


def names_a_host(text: str | None) -> bool:
    """Say whether a source address tells which host it was: not unspecified, not link-local (DESIGN 5)."""
    return text is not None and text not in _NOT_A_SOURCE
