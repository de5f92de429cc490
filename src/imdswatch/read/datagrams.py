"""What datagrams show: DNS lookups, and any UDP or ICMP traffic with the endpoint.

A lookup and its answer are one event, told when the answer comes, or when none came within `_PATIENCE` seconds of
capture time. Traffic with the endpoint is told once when it begins and once when the endpoint first replies, for each
flow. Memory is bounded: what is forgotten early is told early, or may be told twice, never lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from imdswatch.address import ENDPOINTS
from imdswatch.event import named_endpoint
from imdswatch.read.observed import Observed, replied, seen_in, sent
from imdswatch.read.recent import Recent
from imdswatch.read.steps import Step
from imdswatch.wire import dns
from imdswatch.wire.packet import Packet, Quoted

DNS_PORTS = frozenset({53, 5353, 5355})
"""DNS, mDNS (RFC 6762) and LLMNR (RFC 4795)."""

_MOST = 1 << 12
_PATIENCE = 10.0  # seconds; resolvers give up after 5 s or so (resolv.conf(5), timeout)
_PINGS = {("icmp", 8): False, ("icmp", 0): True, ("icmp6", 128): False, ("icmp6", 129): True}
"""Echo requests and replies (RFC 792, RFC 4443 4): is it a reply?"""

_Lookup = tuple[str | None, int | None, str | None, int | None, int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A lookup that waits for its answer."""

    key: _Lookup
    packet: Packet
    names: tuple[str, ...]


class Lookups:
    """DNS queries joined to their answers, for which they wait `patience` seconds of capture time."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._waiting: Recent[_Lookup, _Asked] = Recent(_MOST)

    def take(self, packet: Packet, message: dns.Dns) -> Iterator[Observed]:
        """Take one message that a packet carried; yield what is known now, older lookups first."""
        yield from self.expire(packet.frame.time)
        if not message.response:
            key = (packet.src, packet.sport, packet.dst, packet.dport, message.id, message.queries)
            if self._waiting.get(key) is None:  # else sent again
                gone = self._waiting.put(key, _Asked(key, packet, message.queries))
                if gone is not None:
                    yield from _lookup(gone.packet, gone.names)
            return
        key = (packet.dst, packet.dport, packet.src, packet.sport, message.id, message.queries)
        asked = self._waiting.pop(key)
        if asked is not None:
            yield from _lookup(asked.packet, asked.names, message.answers)
        elif message.query is not None:
            yield _about_endpoint(
                packet,
                **replied(packet),
                dns_query=message.query,
                dns_answer=message.answers,
            )

    def expire(self, now: float | None) -> Iterator[Observed]:
        """Yield the lookups that waited long enough."""
        while (first := self._waiting.oldest()) is not None and self._late(first[1].packet.frame.time, now):
            self._waiting.pop(first[0])
            yield from _lookup(first[1].packet, first[1].names)

    def _late(self, asked: float | None, now: float | None) -> bool:
        return asked is not None and now is not None and now - asked > self._patience

    def end(self) -> Iterator[Observed]:
        """Yield the lookups that nobody answered."""
        for asked in self._waiting.drain():
            yield from _lookup(asked.packet, asked.names)


def _about_endpoint(packet: Packet, **fields: Any) -> Observed:
    """Return the event of a lookup; one that leads to the endpoint is a step of its dialogue."""
    found = seen_in(packet, **fields)
    if named_endpoint(fields["dns_query"]) or not ENDPOINTS.isdisjoint(fields["dns_answer"]):
        found.fields["step"] = Step.RESOLVE
    return found


def _lookup(packet: Packet, names: tuple[str, ...], answers: tuple[str, ...] = ()) -> Iterator[Observed]:
    for name in names:
        yield _about_endpoint(
            packet,
            **sent(packet),
            dns_query=name,
            dns_answer=answers,
        )


class Datagrams:
    """Traffic with the endpoint that is neither TCP nor about addresses."""

    def __init__(self) -> None:
        self._flows: Recent[tuple[object, ...], bool] = Recent(_MOST)

    def take(self, packet: Packet) -> Observed | None:
        """Take a packet from or to the endpoint; return an event if it begins a flow or is its first reply."""
        ports: tuple[object, ...] = (packet.sport, packet.dport)
        if packet.kind in ("icmp", "icmp6"):
            reply = _PINGS.get((packet.kind, packet.payload[0])) if packet.payload else None
            if reply is None:
                return None  # errors are told by `icmp`; the rest is about no connection
            ports = (packet.payload[4:6], None) if not reply else (None, packet.payload[4:6])
        if packet.dst in ENDPOINTS:
            return self._asked(packet, (packet.kind, packet.src, packet.dst, *ports))
        return self._answered(packet, (packet.kind, packet.dst, packet.src, *reversed(ports)))

    def knows(self, quoted: Quoted) -> bool:
        """Say whether the flow of a packet that an ICMP error quotes was seen."""
        return self._flows.get((quoted.kind, quoted.src, quoted.dst, quoted.sport, quoted.dport)) is not None

    def _asked(self, packet: Packet, key: tuple[object, ...]) -> Observed | None:
        if self._flows.get(key) is not None:
            return None
        self._flows.put(key, False)
        return seen_in(packet, **sent(packet), step=Step.CONNECT)

    def _answered(self, packet: Packet, key: tuple[object, ...]) -> Observed | None:
        known = self._flows.get(key)
        if known:
            return None
        self._flows.put(key, True)
        if known is None:
            # Nobody was seen asking: the packet is told as it was seen, and is not called an answer.
            return seen_in(packet, **sent(packet))
        size = len(packet.payload) + packet.missing
        return seen_in(
            packet,
            **replied(packet),
            ttl=packet.ttl,
            resp_bytes=size,
            step=Step.CONNECT,
        )
