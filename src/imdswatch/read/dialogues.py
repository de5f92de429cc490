"""`Dialogues` turns the frames of a capture into events: who asked for the endpoint, who answered, and with what.

Push frames in the order of the capture, then call `end`. Each packet goes to what reads its kind: ARP, neighbour
discovery, DHCP, ICMP (`segment`), DNS and other datagrams (`datagrams`), TCP (`connections`). What they learn of one
victim and one endpoint meets in a `Dialogue` (`steps`), a state machine whose transitions are a table.

What becomes an event: below HTTP, TLS and DNS only what has the endpoint's address in it, since no rule of the pack can
match anything else there; above, every HTTP exchange, every TLS server name and every lookup, which the rules judge.
So at most one event comes of an exchange, a lookup, a connection or a packet of the segment (a second one only for a
further account that an answer claims), and a copy of a frame within `_COPY` seconds is no second event.

Guarantees: nothing raises, whatever the frames; memory is bounded; the events of one call come in the order of their
packet numbers; the same frames give the same events.
"""

from __future__ import annotations

from collections.abc import Iterator

from imdswatch.address import ENDPOINTS
from imdswatch.event import endpoint, victim_ip, victim_mac
from imdswatch.read import segment
from imdswatch.read.connections import Connections
from imdswatch.read.datagrams import DNS_PORTS, Datagrams, Lookups
from imdswatch.read.observed import Observed, seen_in
from imdswatch.read.recent import Recent
from imdswatch.read.steps import Step, Steps
from imdswatch.wire import dhcp, dns, icmp
from imdswatch.wire.frame import Frame
from imdswatch.wire.packet import Fragments, Packet, Quoted, decode, decode_ip, flush

__all__ = ["Dialogues", "Observed"]

_COPY = (
    0.01  # seconds; a span port that mirrors both ports of a switch shows a frame twice within a millisecond
)
_MOST = 1 << 12
_DHCP_PORTS = frozenset({dhcp.SERVER_PORT, dhcp.CLIENT_PORT})


class Dialogues:
    """The dialogues of one capture, or of several that are read as one."""

    def __init__(self) -> None:
        self._fragments = Fragments()
        self._steps = Steps()
        self._datagrams = Datagrams()
        self._lookups, self._connections = self._open()
        self._copies: Recent[tuple[object, ...], float] = Recent(_MOST)
        self._refusals: Recent[Quoted, bool] = Recent(_MOST)

    def _open(self) -> tuple[Lookups, Connections]:
        lookups = Lookups()
        return lookups, Connections(self._steps, lookups)

    def push(self, frame: Frame) -> list[Observed]:
        """Take one frame; return the events that it completes."""
        found: list[Observed] = []
        for packet in decode(frame, self._fragments):
            found += self._packet(packet)
        return _in_order(found)

    def end(self) -> list[Observed]:
        """Return the events that nothing completed: the capture is over."""
        found: list[Observed] = []
        for packet in flush(self._fragments):
            found += self._packet(packet)
        found += self._connections.end()
        found += self._lookups.end()
        return _in_order(found)

    def _packet(self, packet: Packet) -> Iterator[Observed]:
        if packet.kind == "tcp":
            yield from self._connections.push(packet)
            return
        if packet.kind == "udp" and not (DNS_PORTS | _DHCP_PORTS).isdisjoint((packet.sport, packet.dport)):
            if not self._is_copy(packet):
                yield from self._service(packet)
            return
        if packet.kind in ("arp", "icmp", "icmp6"):
            if self._is_copy(packet):
                return
            found = self._of_segment(packet)
            if found is not None:
                yield self._claimed(found)
                return
        if packet.kind != "arp" and not ENDPOINTS.isdisjoint((packet.src, packet.dst)):
            seen = self._datagrams.take(packet)
            if seen is not None:
                yield seen

    def _is_copy(self, packet: Packet) -> bool:
        """Say whether the same was seen a moment ago. Payloads differ by number (DNS, DHCP), or the pause is longer."""
        now = packet.frame.time
        if now is None:
            return False
        key = (packet.kind, packet.src, packet.dst, packet.sport, packet.dport, packet.payload)
        before = self._copies.get(key)
        self._copies.put(key, now)
        return before is not None and abs(now - before) <= _COPY

    def _service(self, packet: Packet) -> Iterator[Observed]:
        if _DHCP_PORTS.isdisjoint((packet.sport, packet.dport)):
            message = dns.read(packet.payload)
            if message is not None:
                yield from self._lookups.take(packet, message)
            elif not ENDPOINTS.isdisjoint((packet.src, packet.dst)):
                seen = self._datagrams.take(packet)
                if seen is not None:
                    yield seen
            return
        offer = segment.of_dhcp(packet)
        if offer is not None:
            yield offer

    def _of_segment(self, packet: Packet) -> Observed | None:
        if packet.kind == "arp":
            return segment.of_arp(packet)
        v6 = packet.kind == "icmp6"
        found = segment.of_icmp6(packet) if v6 else None
        if found is not None:
            return found
        error = icmp.read(packet.payload, v6=v6)
        if error is None:
            return None
        quoted = decode_ip(error.quoted)
        if isinstance(error, icmp.Redirected):
            destination = error.destination or (None if quoted is None else quoted.dst)
            return segment.of_redirect(packet, error, destination)
        return None if quoted is None else self._refused(packet, quoted, error)

    def _refused(self, packet: Packet, quoted: Quoted, error: icmp.Refused) -> Observed | None:
        """Take an ICMP error; return an attempt if nothing else shows the packet that it quotes."""
        if self._connections.refused(quoted, prohibited=error.prohibited) or quoted.dst not in ENDPOINTS:
            return None
        if self._datagrams.knows(quoted):
            return None
        key = quoted._replace(ttl=0, seq=None, payload=b"")
        if self._refusals.get(key):
            return None
        self._refusals.put(key, True)
        return seen_in(
            packet,
            src_ip=quoted.src,
            dst_ip=quoted.dst,
            src_port=quoted.sport,
            dst_port=quoted.dport,
            proto=quoted.kind,
            action="deny" if error.prohibited else None,
            resp_bytes=0,
            step=Step.CONNECT,
        )

    def _claimed(self, found: Observed) -> Observed:
        """Let the dialogue know of what the segment showed."""
        step = found.fields.get("step")
        if step is not None:
            victim = victim_ip(found.fields) or victim_mac(found.fields) or ""
            dialogue = self._steps.of(victim, endpoint(found.fields) or "")
            dialogue.take(step)
            if step is Step.CLAIM and found.fields.get("src_mac"):
                dialogue.claimed_by(found.fields["src_mac"])
        return found


def _in_order(found: list[Observed]) -> list[Observed]:
    return sorted(found, key=lambda one: one.number) if len(found) > 1 else found
