"""Link layers: from the first octets of a frame to the protocol it carries, by its EtherType.

Every layer below IP is named by an EtherType here, so that the walk over a frame has one vocabulary; Ethernet itself
is 0x6558 (Transparent Ethernet Bridging, RFC 1701) and PPP is 0x880B (RFC 2637). Pure; nothing raises: octets that
do not hold the header give None.

Sources: https://www.tcpdump.org/linktypes.html (numbers, names, LINKTYPE_LINUX_SLL and _SLL2 headers), IEEE 802.3
and 802.2 (length field, SNAP), RFC 1662 and 1661 (PPP framing), IANA ethernet-numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack_from
from typing import NamedTuple

IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ETHERNET, PPP, PPPOE, LLC = 0x6558, 0x880B, 0x8864, 0x8870
MPLS = frozenset((0x8847, 0x8848))
VLAN_TAGS = frozenset(
    (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)
)  # 802.1Q, 802.1ad, and what was used before 802.1ad
PLAIN_TAGS = {0x8926: 4, 0x893F: 6, 0x8909: 6}
"""Tags that say nothing of the VLAN, with the octets up to the next EtherType: Cisco VN-Tag, 802.1BR E-Tag and
Cisco MetaData with one option (a span port of a Nexus or TrustSec switch brings them)."""

_ETHERNET_HARDWARE = frozenset((1, 772))  # ARPHRD_ETHER, ARPHRD_LOOPBACK (linux/if_arp.h)
_PPP_PROTOCOLS = {0x0021: IPV4, 0x0057: IPV6, 0x0281: 0x8847, 0x0283: 0x8848}  # IANA ppp-numbers
_SNAP_ETHERTYPE = frozenset((b"\x00\x00\x00", b"\x00\x00\xf8"))  # RFC 1042; 802.1H bridge tunnel
_FAMILIES = {
    2: IPV4,
    10: IPV6,
    24: IPV6,
    28: IPV6,
    30: IPV6,
}  # AF_INET; AF_INET6 of Linux, BSDs, FreeBSD, Darwin


class Inner(NamedTuple):
    """What a link header leads to: an EtherType, where it begins and who sent the frame to whom."""

    protocol: int
    at: int
    src_mac: str | None = None
    dst_mac: str | None = None


def ethernet(data: bytes, at: int, end: int) -> Inner | None:
    """Read an Ethernet II or 802.3 header."""
    if end - at < 14:
        return None
    protocol = data[at + 12] << 8 | data[at + 13]
    if protocol <= 1500:  # 802.3: a length; what pads the frame behind it is cut by IP's own length
        protocol = LLC
    return Inner(protocol, at + 14, data[at + 6 : at + 12].hex(":"), data[at : at + 6].hex(":"))


def llc(data: bytes, at: int, end: int) -> Inner | None:
    """Read an 802.2 header: SNAP with an EtherType, or IP by its own service access point (0x06)."""
    if end - at < 3:
        return None
    if data[at] == 0x06:
        return Inner(IPV4, at + 3)
    if data[at : at + 2] == b"\xaa\xaa" and end - at >= 8 and data[at + 3 : at + 6] in _SNAP_ETHERTYPE:
        return Inner(data[at + 6] << 8 | data[at + 7], at + 8)
    return None


def ppp(data: bytes, at: int, end: int) -> Inner | None:
    """Read a PPP header with or without address and control, the protocol in one octet or two."""
    if data[at : at + 2] == b"\xff\x03":
        at += 2
    if end - at < 2:
        return None
    number, width = (data[at], 1) if data[at] & 1 else (data[at] << 8 | data[at + 1], 2)
    protocol = _PPP_PROTOCOLS.get(number)
    return None if protocol is None else Inner(protocol, at + width)


def ethertype(data: bytes, at: int) -> Inner:
    """Read the EtherType behind a tag; the caller knows that its two octets are there."""
    protocol = data[at] << 8 | data[at + 1]
    return Inner(LLC if protocol <= 1500 else protocol, at + 2)


def _pppoe_frame(data: bytes, at: int, end: int) -> Inner | None:
    return Inner(PPPOE, at)


def _raw(data: bytes, at: int, end: int) -> Inner | None:
    """Tell IPv4 from IPv6 by the version, the only thing a raw IP frame says."""
    if at >= end:
        return None
    version = data[at] >> 4
    return Inner(IPV4, at) if version == 4 else Inner(IPV6, at) if version == 6 else None


def _family(data: bytes, at: int, end: int) -> Inner | None:
    """Read NULL and LOOP: an address family, in the byte order of whichever host wrote it."""
    if end - at < 4:
        return None
    number: int = unpack_from("<I", data, at)[0]
    if number > 0xFFFF:
        number = unpack_from(">I", data, at)[0]
    protocol = _FAMILIES.get(number)
    return None if protocol is None else Inner(protocol, at + 4)


def _cooked(data: bytes, at: int, end: int) -> Inner | None:
    """Read a Linux "cooked" header: who sent the frame is known, to whom is not."""
    if end - at < 16:
        return None
    hardware, length, address, protocol = unpack_from(">2xHH8sH", data, at)
    return _from_cooked(hardware, length, address, protocol, at + 16)


def _cooked2(data: bytes, at: int, end: int) -> Inner | None:
    if end - at < 20:
        return None
    protocol, hardware, length, address = unpack_from(">H6xHxB8s", data, at)
    return _from_cooked(hardware, length, address, protocol, at + 20)


def _from_cooked(hardware: int, length: int, address: bytes, protocol: int, at: int) -> Inner:
    source = address[:6].hex(":") if length == 6 and hardware in _ETHERNET_HARDWARE else None
    return Inner(LLC if protocol == 4 else protocol, at, source)


def _cisco_hdlc(data: bytes, at: int, end: int) -> Inner | None:
    return Inner(data[at + 2] << 8 | data[at + 3], at + 4) if end - at >= 4 else None


class Link(NamedTuple):
    """A link type that can be read: its name as tcpdump.org lists it, and its reader."""

    name: str
    read: Callable[[bytes, int, int], Inner | None]


LINKTYPES: dict[int, Link] = {
    0: Link("NULL", _family),
    1: Link("ETHERNET", ethernet),
    9: Link("PPP", ppp),
    12: Link("RAW", _raw),  # DLT_RAW of most systems, found in files of old writers
    14: Link("RAW", _raw),  # DLT_RAW of OpenBSD
    50: Link("PPP_HDLC", ppp),
    51: Link("PPP_ETHER", _pppoe_frame),
    101: Link("RAW", _raw),
    104: Link("C_HDLC", _cisco_hdlc),
    108: Link("LOOP", _family),
    113: Link("LINUX_SLL", _cooked),
    228: Link("IPV4", _raw),
    229: Link("IPV6", _raw),
    276: Link("LINUX_SLL2", _cooked2),
}
"""The link types that can be read, https://www.tcpdump.org/linktypes.html."""

_UNREAD = {
    6: "IEEE802_5",
    7: "ARCNET_BSD",
    10: "FDDI",
    105: "IEEE802_11",
    107: "FRELAY",
    109: "ENC",
    117: "PFLOG",
    119: "IEEE802_11_PRISM",
    127: "IEEE802_11_RADIOTAP",
    163: "IEEE802_11_AVS",
    189: "USB_LINUX",
    192: "PPI",
    204: "PPP_WITH_DIR",
    220: "USB_LINUX_MMAPPED",
    239: "NFLOG",
    240: "NETANALYZER",
    249: "USBPCAP",
    252: "WIRESHARK_UPPER_PDU",
    253: "NETLINK",
    274: "ETHERNET_MPACKET",
}


def name(linktype: int) -> str:
    """Return the name of a link type as tcpdump.org lists it, or "unknown"."""
    link = LINKTYPES.get(linktype)
    return link.name if link else _UNREAD.get(linktype, "unknown")
