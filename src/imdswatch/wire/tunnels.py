"""Tunnels that a span port or an overlay brings: from a tunnel's header to the protocol it carries.

Pure functions of octets: each returns an `Inner`, or None where the octets are no such header. None raises. What
they carry is named by its EtherType, as in `links`.

Sources: GRE RFC 2784, 2890 (key, sequence) and 1701; enhanced GRE RFC 2637 (PPTP); ERSPAN
draft-foschiano-erspan-03 (types I, II, III); VXLAN RFC 7348 and draft-ietf-nvo3-vxlan-gpe; Geneve RFC 8926; MPLS
RFC 3032, pseudowires RFC 4385 and 4448; EtherIP RFC 3378; PPPoE RFC 2516.
"""

from __future__ import annotations

from struct import unpack_from
from typing import NamedTuple

from imdswatch.wire.links import ARP, ETHERNET, IPV4, IPV6, LLC, MPLS, PPP, VLAN_TAGS

_ERSPAN, _ERSPAN3, _WCCP = 0x88BE, 0x22EB, 0x883E
_GPE = {1: IPV4, 2: IPV6, 3: ETHERNET, 5: 0x8847}
_MOST_LABELS = 16


class Inner(NamedTuple):
    """What a tunnel leads to; `vlan` is the mirrored frame's, where the tunnel's header names it."""

    protocol: int
    at: int
    name: str
    vlan: int = 0


def gre(data: bytes, at: int, end: int) -> Inner | None:
    """Read a GRE header and what stands between it and an IP packet or a frame."""
    if end - at < 4:
        return None
    flags, protocol = unpack_from(">HH", data, at)
    version = flags & 7
    if version > 1 or flags & 0x4000:  # source routes went with RFC 1701
        return None
    inner = at + 4
    if flags & 0x8000:
        inner += 4
    name = "gre"
    if flags & 0x2000:
        if end - inner < 4:
            return None
        key = unpack_from(">I", data, inner)[0]
        name = f"gre:{key}" if version == 0 else f"pptp:{key & 0xFFFF}"
        inner += 4
    if flags & 0x1000:
        inner += 4
    if version == 1 and flags & 0x0080:
        inner += 4
    if inner > end:
        return None
    if protocol in (_ERSPAN, _ERSPAN3):
        return _erspan(data, inner, end, bool(flags & 0x1000))
    if protocol == _WCCP:  # WCCP v2 puts four octets before the packet, v1 none
        return Inner(IPV4, inner if inner < end and data[inner] >> 4 == 4 else inner + 4, "wccp")
    return Inner(protocol, inner, name)


def _erspan(data: bytes, at: int, end: int, numbered: bool) -> Inner | None:
    if not numbered:  # type I has no header of its own, and is told by GRE's missing sequence number
        return Inner(ETHERNET, at, "erspan")
    if end - at < 8:
        return None
    first, second = unpack_from(">HH", data, at)
    name, vlan = f"erspan:{second & 0x3FF}", first & 0xFFF
    if first >> 12 == 1:
        return Inner(ETHERNET, at + 8, name, vlan)
    if first >> 12 != 2 or end - at < 12:
        return None
    last = data[at + 10] << 8 | data[at + 11]
    inner = at + (20 if last & 1 else 12)  # O: eight octets of the platform's own follow
    if last >> 10 & 0x1F == 2:  # frame type: an IP packet without its Ethernet header
        return ip(data, inner, end, name, vlan)
    return Inner(ETHERNET, inner, name, vlan)


def ip(data: bytes, at: int, end: int, name: str, vlan: int = 0) -> Inner | None:
    """Tell IPv4 from IPv6 by the version where the tunnel does not say which it carries."""
    version = data[at] >> 4 if at < end else 0
    if version not in (4, 6):
        return None
    return Inner(IPV4 if version == 4 else IPV6, at, name, vlan)


def vxlan(data: bytes, at: int, end: int) -> Inner | None:
    """Read a VXLAN header; its network number must be marked valid."""
    if end - at < 8 or not data[at] & 0x08:
        return None
    return Inner(ETHERNET, at + 8, f"vxlan:{_network(data, at + 4)}")


def vxlan_gpe(data: bytes, at: int, end: int) -> Inner | None:
    """Read the generic form of VXLAN, which names the protocol that it carries."""
    if end - at < 8 or not data[at] & 0x08:
        return None
    protocol = _GPE.get(data[at + 3]) if data[at] & 0x04 else ETHERNET
    return None if protocol is None else Inner(protocol, at + 8, f"vxlan:{_network(data, at + 4)}")


def geneve(data: bytes, at: int, end: int) -> Inner | None:
    """Read a Geneve header and pass over its options."""
    if end - at < 8 or data[at] >> 6:
        return None
    protocol = data[at + 2] << 8 | data[at + 3]
    return Inner(protocol, at + 8 + (data[at] & 0x3F) * 4, f"geneve:{_network(data, at + 4)}")


def _network(data: bytes, at: int) -> int:
    return data[at] << 16 | data[at + 1] << 8 | data[at + 2]


UDP_PORTS = {4789: vxlan, 8472: vxlan, 4790: vxlan_gpe, 6081: geneve}
"""Destination ports that IANA gave to tunnels; 8472 is what Linux took for VXLAN before."""


def pppoe(data: bytes, at: int, end: int) -> Inner | None:
    """Read a PPPoE session header and the PPP header behind it."""
    if end - at < 8 or data[at] != 0x11 or data[at + 1] != 0:
        return None
    return Inner(PPP, at + 6, f"pppoe:{data[at + 2] << 8 | data[at + 3]}")


def etherip(data: bytes, at: int, end: int) -> Inner | None:
    """Read an EtherIP header."""
    return Inner(ETHERNET, at + 2, "etherip") if end - at >= 2 and data[at] >> 4 == 3 else None


def mpls(data: bytes, at: int, end: int) -> Inner | None:
    """Read a label stack and guess what is below it, as the labels themselves do not say.

    IP is told by its version (RFC 4928 asks pseudowires not to look like it); a control word by its zero nibble.
    Where that leaves a doubt, an Ethernet header must have an EtherType that is known here.
    """
    labels: list[str] = []
    while end - at >= 4 and len(labels) < _MOST_LABELS:
        entry = unpack_from(">I", data, at)[0]
        at += 4
        labels.append(str(entry >> 12))
        if entry & 0x100:
            return _below_labels(data, at, end, "mpls:" + "/".join(labels))
    return None


def _below_labels(data: bytes, at: int, end: int, name: str) -> Inner | None:
    if at >= end:
        return None
    nibble = data[at] >> 4
    if nibble in (4, 6) and not (nibble == 4 and data[at] & 15 < 5):
        return ip(data, at, end, name)
    if nibble == 0 and (_looks_like_ethernet(data, at + 4, end) or not _looks_like_ethernet(data, at, end)):
        return Inner(ETHERNET, at + 4, name)
    return Inner(ETHERNET, at, name) if nibble != 1 else None  # 1: an associated channel, RFC 5586


_KNOWN = frozenset((IPV4, IPV6, ARP, PPP, LLC)) | MPLS | VLAN_TAGS


def _looks_like_ethernet(data: bytes, at: int, end: int) -> bool:
    return end - at >= 14 and (data[at + 12] << 8 | data[at + 13]) in _KNOWN
