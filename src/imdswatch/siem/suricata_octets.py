"""What Suricata has no keyword for, found in the octets of a packet: routes offered, addresses in DNS answers, key ids.

Every function returns the inside of a PCRE; octets are `\\xNN`, so that no separator of a rule stands in it. Sources:
RFC 3442 (option 121), MS-DHCPE 2.2.8 (249), RFC 2132 5.8 (33) and 9.3 (overload), RFC 4861 4.2 and 4.6.2 (router
advertisement, prefix), RFC 4191 2.3 (route information), RFC 792 and RFC 4861 4.5 (redirects), RFC 1035 4.1.3 (DNS).
Offsets are those of Suricata 7's payload: it begins behind the first four octets of ICMPv6, behind eight of ICMP.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, ip_address

from imdswatch import address
from imdswatch.address import Network
from imdswatch.rule import Text, Wild

COOKIE = "|63 82 53 63|"
"""At octet 236 of every DHCP message (RFC 2131 3)."""
_ROUTE = r"(?:\x00|[\x01-\x08].|[\x09-\x10].{2}|[\x11-\x18].{3}|[\x19-\x20].{4}).{4}"


def octets(data: bytes) -> str:
    """Return octets as a PCRE."""
    return "".join(f"\\x{one:02x}" for one in data)


def contents(data: bytes) -> str:
    """Return octets as the value of `content`."""
    return f"|{data.hex(' ')}|"


def routes(patterns: Sequence[Text]) -> tuple[Network, ...] | None:
    """Return the networks that texts of `offered_route` mean, None if one of them is no network.

    `fd00:ec2:*` is every network inside fd00:ec2::/32; `169.254.169.254/*` this address with any length, whose networks
    DHCP cannot tell from those without host bits.
    """
    out: dict[Network, None] = {}
    for one in patterns:
        text = "".join(part if isinstance(part, str) else "*" for part in one.parts)
        if any(part is Wild.ONE for part in one.parts) or "*" in text[:-1]:
            return None
        prefix = re.fullmatch(r"((?:[0-9a-f]{1,4}:)+)\*", text.lower())
        try:
            if prefix:
                length = 16 * prefix[1].count(":")
                out[address.network(f"{prefix[1]}:/{length}")] = None
            elif text.endswith("/*"):
                out[address.network(text[:-2])] = None
            else:
                out[address.network(text)] = None
        except ValueError:
            return None
    return tuple(out)


def inside(patterns: Sequence[Text]) -> tuple[Network, ...]:
    """Return those networks of which any network inside is meant, too."""
    open_ended = [one for one in patterns if one.parts[-1] is Wild.ANY and "/" not in str(one.parts[0])]
    return routes(open_ended) or ()


def _leading(net: Network) -> str:
    """Return the octets of a network as far as its length counts; the last one with any host bits."""
    whole, rest = divmod(net.prefixlen, 8)
    data = net.network_address.packed
    text = octets(data[:whole])
    if rest:
        text += f"[\\x{data[whole]:02x}-\\x{data[whole] | 0xFF >> rest:02x}]"
    return text


def _lengths(nets: Iterable[Network], wider: Sequence[Network], width: int) -> list[tuple[str, Network]]:
    """Return the octet of the length, and the network: exactly this long, or this long and longer."""
    return [
        (f"[\\x{net.prefixlen:02x}-\\x{width:02x}]" if net in wider else f"\\x{net.prefixlen:02x}", net)
        for net in nets
    ]


def dhcp(patterns: Sequence[Text]) -> str:
    """Return the PCRE for a DHCP message that offers one of the IPv4 routes: options 121, 249 and 33.

    Options stand behind the cookie or, with option 52, in the fields before it.
    """
    nets = [net for net in routes(patterns) or () if isinstance(net, IPv4Network)]
    if not nets:
        return ""
    classless = "|".join(length + _leading(net) for length, net in _lengths(nets, (), 32))
    by_class = [octets(net.network_address.packed) for net in nets if net.prefixlen in (16, 32)]
    option = rf"[\x79\xf9][\x05-\xff](?:{_ROUTE})*?(?:{classless})"
    if by_class:
        option = rf"(?:{option}|\x21[\x08-\xf8](?:.{{8}})*?(?:{'|'.join(by_class)}))"
    return rf"^(?:.{{240}}.*?|.{{44}}(?=.{{196}}.*?\x34\x01[\x01-\x03]).{{0,180}}?){option}"


def advertisement(patterns: Sequence[Text]) -> str:
    """Return the PCRE for a router advertisement with one of the IPv6 networks as prefix or route."""
    nets = [net for net in routes(patterns) or () if not isinstance(net, IPv4Network)]
    if not nets:
        return ""
    found = _lengths(nets, inside(patterns), 128)
    prefix = "|".join(rf"{length}.{{13}}{_leading(net)}" for length, net in found)
    route = "|".join(rf"{length}.{{5}}{_leading(net)}" for length, net in found)
    return rf"^.{{12}}(?:.{{8}})*?(?:\x03\x04(?:{prefix})|\x18[\x01-\x03](?:{route}))"


def redirect(patterns: Sequence[Text], version: int) -> str:
    """Return the PCRE for a redirect of one address: the destination of the quoted packet, or the named one."""
    nets = [net for net in routes(patterns) or () if net.version == version]
    hosts = [_leading(net) for net in nets if net.prefixlen == net.max_prefixlen or net in inside(patterns)]
    return rf"^.{{{16 if version == 4 else 20}}}(?:{'|'.join(hosts)})" if hosts else ""


def answers(addresses: Sequence[str]) -> str:
    """Return the PCRE for a DNS record of class IN that holds one of the addresses: A or AAAA, any time to live."""
    kinds = {4: r"\x00\x01\x00\x01.{4}\x00\x04", 6: r"\x00\x1c\x00\x01.{4}\x00\x10"}
    found = [ip_address(one) for one in addresses]
    return "|".join(kinds[one.version] + octets(one.packed) for one in found)


# Documents ---------------------------------------------------------------------------------------------------------


def member(name: str, value: str) -> str:
    """Return the PCRE for a member of a JSON object whose text value begins with `value`."""
    return rf"\x22{name}\x22\s*\x3a\s*\x22{value}"


_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def key_ids(account: str) -> str:
    """Return the PCRE for the access key ids of one account (layout: `imdswatch.account`).

    After four letters, base32: one bit that is set in every id of the format, forty of the account, and what is left.
    """
    bits = f"1{int(account):040b}"
    whole = "".join(_ALPHABET[int(bits[at : at + 5], 2)] for at in range(0, 40, 5))
    last = "".join(_ALPHABET[int(bits[40], 2) << 4 | rest] for rest in range(16))
    return rf"A[A-Z0-9]{{3}}{whole}[{last}][A-Z2-7]{{7}}"
