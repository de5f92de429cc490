"""What a network segment says about the endpoint: who asks for it, who claims it, who routes it where.

ARP and neighbour discovery, DHCP replies, router advertisements and redirects become events where they concern the
endpoint, and only there: other addresses are other tools' business, and a rule about the endpoint cannot match them.
Pure; one packet gives at most one event.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from imdswatch.address import ENDPOINT_V4, ENDPOINTS
from imdswatch.read.observed import BROADCAST, Observed, seen_in
from imdswatch.read.steps import Step
from imdswatch.wire import arp, dhcp, icmp, nd
from imdswatch.wire.packet import Packet

_EC2 = IPv6Network("fd00:ec2::/32")
"""AWS uses these for the services of an instance; a route into them elsewhere is meant for its clients."""
_CONCERNS: tuple[IPv4Network | IPv6Network, ...] = (IPv4Network(ENDPOINT_V4), _EC2)


def of_arp(packet: Packet) -> Observed | None:
    """Return an ARP request for the endpoint, or a claim of it."""
    found = arp.read(packet.payload)
    if found is None or not ENDPOINTS & {found.sender_ip, found.target_ip}:
        return None
    claims = found.sender_ip in ENDPOINTS and (found.operation == "reply" or found.announces)
    # The target's MAC in a request is what the sender does not know yet (RFC 826).
    known = found.operation == "reply" and any(bytes.fromhex(found.target_mac.replace(":", "")))
    return seen_in(
        packet,
        src_ip=found.sender_ip,
        dst_ip=found.target_ip,
        src_mac=found.sender_mac,
        dst_mac=BROADCAST if found.announces else found.target_mac if known else None,
        proto="arp",
        arp_opcode=found.operation,
        step=Step.CLAIM if claims else Step.RESOLVE,
    )


def of_icmp6(packet: Packet) -> Observed | None:
    """Return a solicitation for the endpoint, an advertisement of it, or a router's offer of a route to it."""
    found = nd.read(packet.payload)
    if isinstance(found, nd.Router):
        routes = _concerning(found.networks)
        return _route(packet, routes, found.mac or packet.src_mac) if routes else None
    if found is None or found.target not in ENDPOINTS:
        return None
    if found.advertisement:
        return seen_in(
            packet,
            src_ip=packet.src,
            dst_ip=packet.dst,
            src_mac=found.mac or packet.src_mac,
            dst_mac=packet.dst_mac,
            proto="icmp6",
            nd_target=found.target,
            step=Step.CLAIM,
        )
    # As in ARP: the destination is whom it looks for, not the multicast group that it goes to.
    return seen_in(
        packet,
        src_ip=packet.src,
        dst_ip=found.target,
        src_mac=found.mac or packet.src_mac,
        proto="icmp6",
        step=Step.RESOLVE,
    )


def of_redirect(packet: Packet, found: icmp.Redirected, destination: str | None) -> Observed | None:
    """Return a redirect that gives the endpoint another next hop: a route that its sender offers."""
    if destination not in ENDPOINTS:
        return None
    length = 128 if ":" in destination else 32
    return _route(packet, (f"{destination}/{length}",), packet.src_mac, found.gateway)


def _route(packet: Packet, routes: tuple[str, ...], mac: str | None, gateway: str | None = None) -> Observed:
    return seen_in(
        packet,
        src_ip=packet.src,
        dst_ip=packet.dst,
        src_mac=mac,
        dst_mac=packet.dst_mac,
        proto=packet.kind,
        offered_route=routes,
        gateway=gateway,
    )


def of_dhcp(packet: Packet) -> Observed | None:
    """Return a DHCP reply that routes the endpoint; the source is the server, the destination the client."""
    found = dhcp.read(packet.payload)
    if found is None or not found.reply or found.kind not in ("offer", "ack", ""):
        return None
    networks = _concerning(route.network for route in found.routes)
    if not networks:
        return None
    # A relay passes replies on under its own addresses (RFC 2131 4.1): the server is whom option 54 names, and the
    # frame's MAC address is not the server's. Without a relay the sender is the server, whatever option 54 says.
    relayed = found.relay is not None and found.server is not None and packet.src != found.server
    own = packet.src if packet.src != "0.0.0.0" else None
    return seen_in(
        packet,
        src_ip=found.server if relayed or own is None else own,
        dst_ip=found.client_ip or packet.dst,
        src_port=packet.sport,
        dst_port=packet.dport,
        src_mac=None if relayed else packet.src_mac,
        dst_mac=found.client_mac,
        proto="udp",
        offered_route=networks,
        gateway=_next_hop(found.routes),
    )


def _concerning(networks: Iterable[str]) -> tuple[str, ...]:
    """Return the networks that hold the endpoint, or lie in AWS's range or hold it; default routes stay out."""
    return tuple(
        text
        for text in networks
        if (found := ip_network(text)).prefixlen and any(_meet(found, other) for other in _CONCERNS)
    )


def _meet(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _next_hop(routes: tuple[dhcp.Route, ...]) -> str | None:
    """Return the gateway of the narrowest route that holds the endpoint: the one that its packets take."""
    endpoint = ip_address(ENDPOINT_V4)
    holding = [
        (ip_network(route.network).prefixlen, route.gateway)
        for route in routes
        if endpoint in ip_network(route.network)
    ]
    return max(holding, key=lambda found: found[0])[1] if holding else None
