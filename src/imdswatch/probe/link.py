"""Who answers below HTTP: interface, route and next hop, the neighbour's MAC address, the TTL of its packets.

`Links` is what the run asks; `Kernel` is the Linux one (netlink by pyroute2, a packet socket for the TTL). Nothing here
sends a packet: it reads what the kernel knows once the questions were asked. What is not permitted or not known becomes
a note, and an empty field.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Protocol

_UP, _LOOPBACK = 0x1, 0x8
_ETH_P_IP, _ETH_P_IPV6 = 0x0800, 0x86DD
_SO_ATTACH_FILTER = 26
_ROUTE_LOCAL = 2  # rtnetlink(7): RTN_LOCAL
_OUTGOING = 4  # packet(7): PACKET_OUTGOING
_UNRESOLVED = 0x01 | 0x20 | 0x40  # rtnetlink(7): NUD_INCOMPLETE, NUD_FAILED, NUD_NOARP


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface that is up; `vlan` for a VLAN subinterface."""

    name: str
    index: int
    loopback: bool = False
    vlan: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """How an address is reached, and who stands there; None and "" are unknown.

    is_local    the address is one of this host's own: whoever answers runs here
    gateway     the next hop, if the address is not on the link itself
    mac         of the neighbour that packets go to: the gateway's, or the answerer's own
    heard_mac   of the frames in which answers came, and `ttl` of their packets (packet socket)
    """

    is_local: bool = False
    interface: str = ""
    vlan: int | None = None
    source: str = ""
    gateway: str = ""
    mac: str = ""
    heard_mac: str = ""
    ttl: int | None = None
    notes: tuple[str, ...] = ()


class Ear:
    """Hears the packets of one answerer while questions are under way: TTL and MAC address of the last one."""

    def __init__(self) -> None:
        self.ttl: int | None = None
        self.mac = ""
        self.note = ""


class Links(Protocol):
    """What knows the network below HTTP."""

    def interfaces(self) -> tuple[Interface, ...]: ...  # noqa: D102
    def addresses(self) -> frozenset[str]: ...  # noqa: D102
    def link(self, host: str, interface: str | None) -> Link: ...  # noqa: D102
    def listen(self, host: str, interface: str) -> AbstractContextManager[Ear]: ...  # noqa: D102


class Kernel:
    """The Linux kernel's own view of the network namespace that we are in (so not /sys, which may be of another)."""

    def interfaces(self) -> tuple[Interface, ...]:
        """Return all interfaces that are up, VLAN subinterfaces too, by name; none where netlink does not say."""
        with _netlink() as route:
            return _interfaces(route) if route is not None else ()

    def addresses(self) -> frozenset[str]:
        """Return this host's own addresses; empty where netlink does not say."""
        with _netlink() as route:
            if route is None:
                return frozenset()
            return frozenset(
                address
                for entry in route.get_addr()
                if (address := _attribute(entry, "IFA_ADDRESS")) is not None
            )

    def link(self, host: str, interface: str | None) -> Link:
        """Return how an address is reached and who its neighbour is, as the kernel knows by now."""
        with _netlink() as route:
            if route is None:
                return Link(
                    interface=interface or "", notes=("netlink is not available: no route, no neighbour",)
                )
            names = {one.index: one for one in _interfaces(route)}
            index = next((one.index for one in names.values() if one.name == interface), None)
            if interface is not None and index is None:
                return Link(notes=(f"interface {interface} is not up",))
            try:
                (way,) = route.route("get", dst=host, **({"oif": index} if index is not None else {}))
                via, out = _attribute(way, "RTA_GATEWAY") or "", _attribute(way, "RTA_OIF")
                known = names.get(out) if isinstance(out, int) else None
                return Link(
                    is_local=way["type"] == _ROUTE_LOCAL,
                    interface=known.name if known else interface or "",
                    vlan=known.vlan if known else None,
                    source=_attribute(way, "RTA_PREFSRC") or "",
                    gateway=via,
                    mac=_neighbour(route, via or host, out),
                )
            except (OSError, ValueError, _netlink_error()) as error:
                return Link(interface=interface or "", notes=(f"no route: {error.args[-1]}",))

    @contextmanager
    def listen(self, host: str, interface: str) -> Iterator[Ear]:
        """Hear what comes from an address until the block ends; needs CAP_NET_RAW, and says so where it is missing."""
        ear = Ear()
        try:
            packets = _packet_socket(host, interface)
        except (OSError, ValueError):
            ear.note = "the TTL of answers is unknown: hearing it needs the right CAP_NET_RAW"
            yield ear
            return
        with packets:
            yield ear
            for _ in range(4096):  # what the socket's buffer can hold
                try:
                    octets, (_, _, kind, _, mac) = packets.recvfrom(64)
                except OSError:
                    break
                if kind != _OUTGOING and len(octets) > 9:
                    ear.ttl = octets[8] if octets[0] >> 4 == 4 else octets[7]
                    ear.mac = mac.hex(":") if any(mac) else ""


def _packet_socket(host: str, interface: str) -> socket.socket:
    """Return a packet socket that sees what one address sends, by a filter in the kernel (classic BPF)."""
    ethertype = _ETH_P_IPV6 if ":" in host else _ETH_P_IP
    # Opened for no protocol: nothing may come in before the filter is in place.
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    try:
        program = _filter(host)
        buffer = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
        packets.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer))
        )
        packets.setblocking(False)
        packets.bind((interface, ethertype))
    except OSError:
        packets.close()
        raise
    return packets


def _filter(host: str) -> list[tuple[int, int, int, int]]:
    """Return a classic BPF program: keep the first octets of packets whose source is the host (RFC 791, RFC 8200)."""
    load, equal, give = 0x20, 0x15, 0x06  # linux/bpf_common.h: BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    octets, first = (IPv6Address(host).packed, 8) if ":" in host else (IPv4Address(host).packed, 12)
    words = struct.unpack(f">{len(octets) // 4}I", octets)
    steps = []
    for number, word in enumerate(words):
        steps += [(load, 0, 0, first + 4 * number), (equal, 0, 2 * (len(words) - number) - 1, word)]
    return [*steps, (give, 0, 0, 64), (give, 0, 0, 0)]


@contextmanager
def _netlink() -> Iterator[Any]:
    try:
        from pyroute2 import IPRoute  # type: ignore[import-untyped]  # late: slow to import

        route = IPRoute()
    except (ImportError, OSError):
        yield None
        return
    with route:
        yield route


def _netlink_error() -> type[Exception]:
    from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

    found: type[Exception] = NetlinkError
    return found


def _interfaces(route: Any) -> tuple[Interface, ...]:
    found = []
    for entry in route.get_links():
        if entry["flags"] & _UP:
            kind = _attribute(entry, "IFLA_LINKINFO")
            data = (
                kind.get_attr("IFLA_INFO_DATA")
                if kind and kind.get_attr("IFLA_INFO_KIND") == "vlan"
                else None
            )
            vlan = data.get_attr("IFLA_VLAN_ID") if data else None
            name = _attribute(entry, "IFLA_IFNAME")
            found.append(Interface(name, entry["index"], bool(entry["flags"] & _LOOPBACK), vlan))
    return tuple(sorted(found, key=lambda one: one.name))


def _neighbour(route: Any, host: str, index: object) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for entry in route.get_neighbours(family=family, ifindex=index or 0):
        if _attribute(entry, "NDA_DST") == host and not entry["state"] & _UNRESOLVED:
            return _attribute(entry, "NDA_LLADDR") or ""
    return ""


def _attribute(message: Any, name: str) -> Any:
    return message.get_attr(name)
