"""Claims of the endpoint and routes to it: ARP, neighbour discovery, router advertisements, DHCP, ICMP.

Pure: `captures` yields names and frames. The rogue is 10.20.1.66, 02:00:00:00:01:66.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from packets import (
    BROADCAST,
    ENDPOINT,
    ENDPOINT6,
    ROGUE,
    ROGUE6,
    ROGUE_MAC,
    ROUTER,
    ROUTER_MAC,
    SYN,
    VICTIM,
    VICTIM6,
    VICTIM_MAC,
    End,
    Talk,
    arp,
    ether,
    icmp,
    ip,
    mac,
    tag,
    udp,
)

ARP, ALL_NODES, ALL_NODES_MAC = 0x0806, "ff02::1", "33:33:00:00:00:01"
NOBODY = "00:00:00:00:00:00"


def arps() -> Iterator[tuple[str, list[bytes]]]:
    """RFC 826; announcements and probes RFC 5227."""

    def frame(
        op: int, sender: str, target_mac: str, target: str, dst: str, who: str = ROGUE_MAC, tags: bytes = b""
    ) -> bytes:
        return ether(arp(op, who, sender, target_mac, target), who, dst, ARP, tags)

    ask = frame(1, VICTIM, NOBODY, ENDPOINT, BROADCAST, VICTIM_MAC)
    yield "arp-request", [ask]
    yield "arp-reply", [ask, frame(2, ENDPOINT, VICTIM_MAC, VICTIM, VICTIM_MAC)]
    yield "arp-gratuitous-request", [frame(1, ENDPOINT, NOBODY, ENDPOINT, BROADCAST)]
    yield "arp-gratuitous-reply", [frame(2, ENDPOINT, BROADCAST, ENDPOINT, BROADCAST)]
    yield "arp-reply-vlan", [frame(2, ENDPOINT, VICTIM_MAC, VICTIM, VICTIM_MAC, tags=tag(42))]
    yield "arp-reply-padded", [frame(2, ENDPOINT, VICTIM_MAC, VICTIM, VICTIM_MAC) + bytes(18)]
    yield "arp-probe", [frame(1, "0.0.0.0", NOBODY, ENDPOINT, BROADCAST)]
    yield (
        "benign-arp",
        [
            frame(1, VICTIM, NOBODY, ROUTER, BROADCAST, VICTIM_MAC),
            frame(2, ROUTER, VICTIM_MAC, VICTIM, VICTIM_MAC, ROUTER_MAC),
            frame(2, "169.254.169.253", VICTIM_MAC, VICTIM, VICTIM_MAC),
            frame(1, "169.254.7.9", NOBODY, "169.254.7.9", BROADCAST),
        ],
    )


def advertisement(target: str, dst: str, flags: int, link: str = ROGUE_MAC) -> bytes:
    """Return a neighbour advertisement with the target's link-layer address (RFC 4861 4.4)."""
    body = struct.pack("!BBHI", 136, 0, 0, flags << 29) + ip(target) + b"\x02\x01" + mac(link)
    return icmp(body, ROGUE6, dst)


def router(*options: bytes) -> bytes:
    """Return a router advertisement (RFC 4861 4.2)."""
    body = (
        struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
        + b"\x01\x01"
        + mac(ROGUE_MAC)
        + b"".join(options)
    )
    return ether(icmp(body, ROGUE6, ALL_NODES), ROGUE_MAC, ALL_NODES_MAC)


def prefix(network: str, length: int) -> bytes:
    """Return a prefix information option (RFC 4861 4.6.2)."""
    return struct.pack("!BBBBIII", 3, 4, length, 0xC0, 86400, 14400, 0) + ip(network)


def route(network: str, length: int) -> bytes:
    """Return a route information option (RFC 4191 2.3) as short as its prefix allows."""
    octets = (length + 63) // 64 * 8
    return struct.pack("!BBBBI", 24, 1 + octets // 8, length, 0x08, 1800) + ip(network)[:octets]


def neighbours() -> Iterator[tuple[str, list[bytes]]]:
    """RFC 4861, RFC 4191."""
    node = "33:33:ff:00:02:54"
    ask = icmp(
        struct.pack("!BBHI", 135, 0, 0, 0) + ip(ENDPOINT6) + b"\x01\x01" + mac(VICTIM_MAC),
        VICTIM6,
        "ff02::1:ff00:254",
    )
    yield "nd-solicitation", [ether(ask, VICTIM_MAC, node)]
    answer = ether(advertisement(ENDPOINT6, VICTIM6, 3), ROGUE_MAC, VICTIM_MAC)
    yield "nd-advertisement", [ether(ask, VICTIM_MAC, node), answer]
    yield "nd-advertisement-to-all", [ether(advertisement(ENDPOINT6, ALL_NODES, 1), ROGUE_MAC, ALL_NODES_MAC)]
    yield "benign-nd", [ether(advertisement("fd20:1::20", VICTIM6, 3), ROGUE_MAC, VICTIM_MAC)]
    yield "ra-prefix-64", [router(prefix("fd00:ec2::", 64))]
    yield "ra-prefix-32", [router(prefix("fd20:1::", 64), prefix("fd00:ec2::", 32))]
    yield "ra-route-host", [router(route(ENDPOINT6, 128))]
    yield "ra-route-32", [router(route("fd00:ec2::", 32))]
    yield "benign-ra", [router(prefix("fd20:1::", 64), route("fd20::", 16), route("::", 0))]


def dhcp(
    kind: int, options: bytes, *, dst: str = VICTIM, relay: str = "0.0.0.0", your: str = VICTIM,
    client: str = "0.0.0.0", src: str = ROGUE, ports: tuple[int, int] = (67, 68), file: bytes = b"",
    link: tuple[str, str] = (ROGUE_MAC, VICTIM_MAC),
) -> bytes:  # fmt: skip
    """Return a reply of a DHCP server (RFC 2131): 2 is an offer, 5 an acknowledgement."""
    head = struct.pack("!BBBBIHH", 2, 1, 6, 0, 0x1234ABCD, 0, 0x8000 if dst == "255.255.255.255" else 0)
    body = head + ip(client) + ip(your) + ip("0.0.0.0") + ip(relay) + mac(VICTIM_MAC) + bytes(10 + 64)
    body += file.ljust(128, b"\0") + b"\x63\x82\x53\x63" + bytes((53, 1, kind)) + b"\x36\x04" + ip(src)
    return ether(udp(body + options + b"\xff", src, ports[0], dst, ports[1]), *link)


def leases() -> Iterator[tuple[str, list[bytes]]]:
    """Options 121 (RFC 3442) and 249 (Microsoft's own code for the same), and ways to hide them."""

    def classless(code: int, *routes: bytes) -> bytes:
        data = b"".join(routes)
        return bytes((code, len(data))) + data

    host = bytes((32, 169, 254, 169, 254)) + ip(ROGUE)
    default = b"\0" + ip(ROUTER)
    offer, granted = 2, 5
    yield "dhcp-offer-121", [dhcp(offer, classless(121, default, host))]
    yield "dhcp-ack-249", [dhcp(granted, classless(249, host))]
    everyone = {"dst": "255.255.255.255", "link": (ROGUE_MAC, BROADCAST)}
    yield "dhcp-ack-broadcast", [dhcp(granted, classless(121, host), **everyone)]  # type: ignore[arg-type]
    yield "dhcp-ack-link-local", [dhcp(granted, classless(121, bytes((16, 169, 254)) + ip(ROGUE)))]
    relayed = dhcp(
        granted, classless(121, host), dst=ROUTER, relay=ROUTER, ports=(67, 67), link=(ROGUE_MAC, ROUTER_MAC)
    )
    yield "dhcp-ack-relayed", [relayed]
    split = bytes((121, 4)) + host[:4] + bytes((121, 5)) + host[4:]
    yield "dhcp-ack-split-option", [dhcp(granted, split)]  # RFC 3396
    overload = dhcp(granted, b"\x34\x01\x01", file=classless(121, host) + b"\xff")
    yield "dhcp-ack-overload", [overload]  # RFC 2132 9.3
    inform = dhcp(granted, classless(121, host), your="0.0.0.0", client=VICTIM)
    yield "dhcp-ack-inform", [inform]
    other = bytes((16, 10, 30)) + ip(ROUTER) + bytes((24, 169, 254, 42)) + ip(ROUTER)
    yield (
        "benign-dhcp-routes",
        [dhcp(offer, classless(121, default, other)), dhcp(granted, classless(121, default, other))],
    )


def errors() -> Iterator[tuple[str, list[bytes]]]:
    """ICMP: redirects claim a route, unreachables say that there is none."""
    talk = Talk()
    talk.send(0, SYN)
    quoted = talk.frames[0][14 : 14 + 28]
    redirect = struct.pack("!BBH", 5, 1, 0) + ip(ROGUE) + quoted
    back = ether(icmp(redirect, ROUTER, VICTIM), ROGUE_MAC, VICTIM_MAC)
    yield "icmp-redirect", [talk.frames[0], back]
    away = Talk(server=End("192.0.2.9", 80, ROUTER_MAC))
    away.send(0, SYN)
    other = away.frames[0][14 : 14 + 28]
    wanted = ether(
        icmp(struct.pack("!BBH", 5, 1, 0) + ip(ROGUE) + other, ROUTER, VICTIM), ROUTER_MAC, VICTIM_MAC
    )
    yield "benign-icmp-redirect", [wanted]
    body = struct.pack("!BBHI", 137, 0, 0, 0) + ip(ROGUE6) + ip(ENDPOINT6) + b"\x02\x01" + mac(ROGUE_MAC)
    yield "icmp6-redirect", [ether(icmp(body, ROGUE6, VICTIM6), ROGUE_MAC, VICTIM_MAC)]
    gone = struct.pack("!BBHI", 3, 1, 0, 0) + quoted
    yield "icmp-unreachable", [talk.frames[0], ether(icmp(gone, ROUTER, VICTIM), ROUTER_MAC, VICTIM_MAC)]
    yield "icmp-unreachable-alone", [ether(icmp(gone, ROUTER, VICTIM), ROUTER_MAC, VICTIM_MAC)]


def captures() -> Iterator[tuple[str, list[bytes]]]:
    """Yield names and frames."""
    for part in (arps, neighbours, leases, errors):
        yield from part()
