"""Put the TCP connections of a capture together: who asked whom, and the octets of both directions in order.

Octets are handed out as soon as they are in order; a live sensor needs them then. Checksums are not checked, as
network cards fill them in after the capture point. Nothing here raises, whatever the packets.

*Which connection.* A packet belongs to a connection of its pair of addresses and ports (`packet`: flow key) if its
sequence and acknowledgement numbers are within 16 MiB of where the two sides are, and else opens another: a port
used again, a SYN lost, a stray or forged packet, or the same addresses behind two tunnels. At most four are open at a
time for one pair; the one with the fewest packets makes room.

*Who is the client.* The sender of the SYN, else the receiver of a SYN-ACK; in the middle of a connection whoever
talks to an address of the IMDS, sends what begins like a request, or has the higher port.

*When a hole is a gap.* When the other side has acknowledged it and three more packets of the connection brought
nothing; when more than `WAITING` octets wait behind it and the other side is not seen or acknowledges beyond it; when
the connection closes or the capture ends. If the other side still waits for the hole, what lies farthest ahead is
forgotten instead. What the snapshot length cut is a gap at once.

*Which direction first.* A packet that acknowledges octets which have not come waits for them, for three packets of
the connection at most, so that a request comes before its answer where a capture has them the wrong way round.

*When copies differ.* See `connection.Data`. An urgent octet is read in its place (RFC 6093). Data in a SYN (RFC 7413)
is the beginning of the stream. The payload of a RST is none (RFC 9293 3.5.3 allows a diagnosis there).

*When it is over.* After both FINs are acknowledged, or a RST, a connection lingers `LINGER` seconds of capture time:
repeated packets are no new connection, and a stream that goes on behind a forged RST is not cut.

Longer than most modules: what a packet does to a connection and how a connection ends hang together.

Bounded: `connections` at a time (closing ones make room first, then those without payload, then the longest silent)
and `octets` of memory for waiting and remembered octets; what is remembered goes first. Time is linear, but for
sorting segments.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import chain
from math import inf
from typing import Literal

from imdswatch.address import ENDPOINTS
from imdswatch.wire.connection import Closed, Connection, Data, Ended, Event, Gap, Opened, Side
from imdswatch.wire.frame import Frame
from imdswatch.wire.packet import ACK, FIN, RST, SYN, Packet
from imdswatch.wire.stream import PATIENCE, Part, Stream

__all__ = ["Closed", "Connection", "Data", "Ended", "Event", "Gap", "Opened", "Side", "Tcp"]

LINGER = 2.0
WAITING = 4 << 20
READINGS = 4
_FAR = 1 << 24
_SAME_PAIR = 4
_REQUESTS = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"CONNECT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"TRACE ")

_Key = tuple[tuple[str, int], tuple[str, int]]


class _Live:
    """A connection that is open, with the state that only its reassembly needs."""

    __slots__ = (
        "closed_at", "connection", "early", "held", "how", "key", "last", "patient", "queue", "readings", "streams",
    )  # fmt: skip

    def __init__(self, key: _Key, connection: Connection, queue: OrderedDict[int, _Live]) -> None:
        self.key = key
        self.connection = connection
        self.streams = (Stream(), Stream())
        self.readings = 1
        self.early: list[tuple[Packet, int, int]] = []  # they acknowledge what has not come; direction, when
        self.patient = True
        self.held = 0
        self.queue = queue
        self.how: Literal["fin", "reset"] | None = None
        self.closed_at: float | None = None
        self.last: float | None = None
        """When its last packet was captured."""

    def fits(self, packet: Packet, direction: int) -> bool:
        """Say whether a packet's numbers are near to where the two sides are."""
        mine, other = self.streams[direction], self.streams[1 - direction]
        seq, flags = packet.seq, packet.flags
        if flags & SYN:
            if mine.isn is not None:
                if mine.isn != seq:
                    return False
            elif mine.near is not None and not 0 <= mine.near - mine.position(seq + 1 & 0xFFFFFFFF) <= 0xFFFF:
                return False
            if flags & ACK and other.isn is not None:
                return packet.ack - other.isn - 1 & 0xFFFFFFFF <= 0xFFFF
        elif mine.near is not None and not -_FAR <= mine.position(seq) - mine.near <= _FAR:
            return False
        if flags & ACK and other.near is not None:
            return -_FAR <= other.position(packet.ack) - other.near <= _FAR
        return True


class Tcp:
    """The TCP connections of one capture."""

    def __init__(self, connections: int = 20_000, octets: int = 64 << 20) -> None:
        self._most = connections
        self._limit = octets
        self._octets = 0
        self._opened = 0
        self._pairs: dict[_Key, list[_Live]] = {}
        self._quiet: OrderedDict[int, _Live] = OrderedDict()  # no payload yet
        self._busy: OrderedDict[int, _Live] = OrderedDict()
        self._closing: OrderedDict[int, _Live] = OrderedDict()

    def push(self, packet: Packet) -> list[Event]:
        """Add a packet; return what it makes known. A packet that is not TCP makes nothing known."""
        events: list[Event] = []
        source, target = packet.src, packet.dst
        if packet.kind != "tcp" or source is None or target is None:
            return events
        if self._closing and packet.frame.time is not None:
            self._expire(packet.frame.time, events)
        live, direction = self._find(packet, source, target, events)
        connection = live.connection
        side = connection.sides[direction]
        _account(connection, side, packet)
        live.last = packet.frame.time
        if live.queue is not self._closing:
            live.queue.move_to_end(connection.number)
        mine, other = live.streams[direction], live.streams[1 - direction]
        seq, flags = packet.seq, packet.flags
        if flags & SYN:
            self._handshake(live, direction, packet)
            seq = seq + 1 & 0xFFFFFFFF
        elif flags & ACK and direction == 0 and connection.synack_seen:
            connection.handshake = True
        if flags & ACK:
            other.acknowledge(other.position(packet.ack), connection.packets)
            self._go_on(live, 1 - direction, packet, events)
        start = mine.position(seq)
        size = len(packet.payload) + packet.missing
        if size and not flags & RST:
            if live.patient and other.lacks(packet):
                live.early.append((packet, direction, connection.packets))
            else:
                self._payload(live, direction, start, packet, events)
        elif mine.near is None:
            mine.near = start
        if live.early:
            self._release(live, events)
        if flags & FIN:
            mine.finish(start + size)
        if mine.waiting or mine.fin is not None:
            self._go_on(live, direction, packet, events)
        if flags & RST:
            connection.reset_by = "server" if direction else "client"
            self._close_later(live, "reset", packet)
        elif mine.ended and other.ended:
            self._close_later(live, "fin", packet)
        self._bound(live, events)
        return events

    def expire(self, now: float, silent: float = inf) -> list[Event]:
        """Close the connections whose lingering is over, and those silent for so long; for a live sensor."""
        events: list[Event] = []
        self._expire(now, events)
        for queue in (self._quiet, self._busy):
            while queue:
                live = next(iter(queue.values()))
                if live.last is None or now - live.last <= silent:
                    break
                self._close(live, "idle", events)
        return events

    def waits(self, connection: Connection) -> bool:
        """Say whether octets of a connection wait for others."""
        live = self._live(connection)
        return live is not None and bool(live.early or live.streams[0].waiting or live.streams[1].waiting)

    def hurry(self, connection: Connection) -> list[Event]:
        """Take up what waits for packets that did not come for a while; for a live sensor.

        A beginning that was not seen will not be; what was lost on the way may be sent again, and is waited for.
        """
        events: list[Event] = []
        live = self._live(connection)
        if live is not None:
            self._release(live, events, now=True)
            for direction, stream in enumerate(live.streams):
                if stream.next is None:
                    self._deliver(live, direction, stream.skip(), connection.first, events)
        return events

    def _live(self, connection: Connection) -> _Live | None:
        queues = (self._busy, self._quiet, self._closing)
        return next((queue[connection.number] for queue in queues if connection.number in queue), None)

    def end(self) -> list[Event]:
        """Close every connection: the capture is over."""
        events: list[Event] = []
        for live in sorted(
            chain(self._closing.values(), self._quiet.values(), self._busy.values()),
            key=lambda live: live.connection.number,
        ):
            self._close(live, live.how or "end", events)
        return events

    def _find(self, packet: Packet, source: str, target: str, events: list[Event]) -> tuple[_Live, int]:
        sender, receiver = (source, packet.sport or 0), (target, packet.dport or 0)
        key = (sender, receiver) if sender <= receiver else (receiver, sender)
        pair = self._pairs.get(key)
        if pair is not None:
            for live in reversed(pair):
                client = live.connection.sides[0]
                direction = 0 if sender == (client.ip, client.port) else 1
                if live.fits(packet, direction):
                    return live, direction
            if packet.flags & RST:  # some stacks reset with numbers of their own: no connection begins so
                client = pair[-1].connection.sides[0]
                return pair[-1], 0 if sender == (client.ip, client.port) else 1
            if packet.flags & SYN:
                for live in [live for live in pair if live.how is not None]:
                    self._close(live, live.how or "end", events)
            if len(pair) >= _SAME_PAIR:
                weakest = min(pair, key=lambda live: live.connection.packets)
                self._close(weakest, weakest.how or "idle", events)
        return self._open(key, sender, receiver, packet, events)

    def _open(
        self,
        key: _Key,
        sender: tuple[str, int],
        receiver: tuple[str, int],
        packet: Packet,
        events: list[Event],
    ) -> tuple[_Live, int]:
        direction = 0 if _asks(packet, sender, receiver) else 1
        client, server = (sender, receiver) if direction == 0 else (receiver, sender)
        self._opened += 1
        frame = packet.frame
        first = packet._replace(
            frame=Frame(frame.number, frame.time, b"", frame.length, frame.linktype), payload=b""
        )
        connection = Connection(self._opened, first, (Side(*client), Side(*server)), packet.vlan)
        live = _Live(key, connection, self._quiet)
        self._quiet[connection.number] = live
        self._pairs.setdefault(key, []).append(live)
        events.append(Opened(connection))
        return live, direction

    def _handshake(self, live: _Live, direction: int, packet: Packet) -> None:
        connection, stream = live.connection, live.streams[direction]
        start = packet.seq + 1 & 0xFFFFFFFF
        stream.isn = connection.sides[direction].isn = packet.seq
        stream.begin(stream.position(start))
        if packet.flags & ACK:
            connection.synack_seen = True
            other = live.streams[1 - direction]
            if other.isn is None:  # its SYN was not seen, but this is the answer to it
                other.begin(other.position(packet.ack))
        else:
            connection.syn_seen = True

    def _payload(self, live: _Live, direction: int, start: int, packet: Packet, events: list[Event]) -> None:
        stream, connection = live.streams[direction], live.connection
        if live.queue is self._quiet:
            self._move(live, self._busy)
        if stream.rewrites(start, packet.payload, live.readings < READINGS):
            connection.contradictions += 1
            if live.readings < READINGS:
                self._read_again(live, packet, events)
        before = stream.next
        parts = stream.push(start, packet.payload, packet.missing, packet, connection.packets)
        self._deliver(live, direction, parts, packet, events)
        if live.how is not None and stream.next != before:  # the RST or FIN was not the hosts'
            live.how = live.closed_at = connection.reset_by = None
            self._move(live, self._busy)
        while stream.waiting > WAITING:
            if stream.acked is not None and stream.next is not None and stream.acked <= stream.next:
                stream.drop_farthest()
            else:
                self._deliver(live, direction, stream.skip(), packet, events)

    def _release(self, live: _Live, events: list[Event], now: bool = False) -> None:
        """Take up early packets whose turn has come, in the order in which they came."""
        while live.early:
            packet, direction, since = live.early[0]
            if live.streams[1 - direction].lacks(packet):
                if not now and live.connection.packets - since < PATIENCE:
                    return
                live.patient = False  # the other direction is not in this capture, or came to harm
            del live.early[0]
            stream = live.streams[direction]
            start = stream.position(packet.seq + bool(packet.flags & SYN) & 0xFFFFFFFF)
            self._payload(live, direction, start, packet, events)
            self._go_on(live, direction, packet, events)

    def _go_on(self, live: _Live, direction: int, packet: Packet, events: list[Event]) -> None:
        """Give up the holes of a direction that are due, and see whether it has ended."""
        stream = live.streams[direction]
        while stream.due(live.connection.packets):
            self._deliver(live, direction, stream.skip(), packet, events)
        fin = stream.fin
        if fin is None or stream.ended or stream.acked != fin + 1:
            return
        if stream.next == fin or (stream.next is None and not stream.waiting):
            stream.ended = True
            events.append(Ended(live.connection, direction))

    def _deliver(
        self, live: _Live, direction: int, parts: list[Part], packet: Packet, events: list[Event]
    ) -> None:
        connection, stream = live.connection, live.streams[direction]
        for first, first_packet, last, last_packet, missing in parts:
            if missing:
                events += [Gap(connection, direction, missing, reading) for reading in range(live.readings)]
                stream.forget(missing)
                continue
            if first != last:
                connection.contradictions += 1
                if live.readings == 1:
                    self._read_again(live, packet, events)
            events.append(Data(connection, direction, first, first_packet, 0))
            for reading in range(1, live.readings):
                events.append(Data(connection, direction, last, last_packet, reading))
            stream.remember(last)

    def _read_again(self, live: _Live, packet: Packet, events: list[Event]) -> None:
        """Begin another reading with what is remembered of both directions."""
        reading = live.readings
        live.readings += 1
        for direction, stream in enumerate(live.streams):
            forgotten, octets = stream.history()
            if forgotten:
                events.append(Gap(live.connection, direction, forgotten, reading))
            if octets:
                events.append(Data(live.connection, direction, octets, packet, reading))

    def _move(self, live: _Live, queue: OrderedDict[int, _Live]) -> None:
        number = live.connection.number
        del live.queue[number]
        live.queue = queue
        queue[number] = live

    def _close_later(self, live: _Live, how: Literal["fin", "reset"], packet: Packet) -> None:
        if live.how is None:
            live.how, live.closed_at = how, packet.frame.time
            self._move(live, self._closing)

    def _expire(self, now: float, events: list[Event]) -> None:
        while self._closing:
            live = next(iter(self._closing.values()))
            if live.closed_at is None or now - live.closed_at <= LINGER:
                return
            self._close(live, live.how or "end", events)

    def _close(self, live: _Live, how: Literal["fin", "reset", "idle", "end"], events: list[Event]) -> None:
        connection = live.connection
        self._release(live, events, now=True)
        for direction, stream in enumerate(live.streams):
            while stream.waiting:
                self._deliver(live, direction, stream.skip(), connection.first, events)
            if missing := stream.outstanding():
                events += [Gap(connection, direction, missing, reading) for reading in range(live.readings)]
        events.append(Closed(connection, how))
        del live.queue[connection.number]
        self._octets -= live.held
        pair = self._pairs[live.key]
        pair.remove(live)
        if not pair:
            del self._pairs[live.key]

    def _bound(self, live: _Live, events: list[Event]) -> None:
        held = live.streams[0].held + live.streams[1].held
        if live.early:
            held += sum(len(packet.frame.data) for packet, _, _ in live.early)
        self._octets += held - live.held
        live.held = held
        while len(self._quiet) + len(self._busy) + len(self._closing) > self._most:
            queue = self._closing or (self._quiet if len(self._quiet) > self._most // 2 else self._busy)
            oldest = next(iter(queue.values()))
            self._close(oldest, oldest.how or "idle", events)
        if self._octets > self._limit:
            self._shed(events)

    def _shed(self, events: list[Event]) -> None:
        """Make half of the memory free: remembered octets first, then connections, the longest silent first."""
        everyone = [*self._closing.values(), *self._quiet.values(), *self._busy.values()]
        for live in everyone:
            if self._octets <= self._limit // 2:
                return
            for stream in live.streams:
                stream.forget()
            held = live.streams[0].held + live.streams[1].held
            self._octets += held - live.held
            live.held = held
        for live in everyone:
            if self._octets <= self._limit // 2:
                return
            if live.held:
                self._close(live, live.how or "idle", events)


def _account(connection: Connection, side: Side, packet: Packet) -> None:
    connection.packets += 1
    side.packets += 1
    side.octets += len(packet.payload) + packet.missing
    side.ip_octets += packet.ip_bytes
    side.flags |= packet.flags
    if side.mac is None:
        side.mac = packet.src_mac
    if side.ttl is None:
        side.ttl = packet.ttl
    if not connection.vlan and packet.vlan:
        connection.vlan = packet.vlan


def _asks(packet: Packet, sender: tuple[str, int], receiver: tuple[str, int]) -> bool:
    """Say whether the sender of a connection's first packet is its client."""
    if packet.flags & SYN:
        return not packet.flags & ACK
    if (receiver[0] in ENDPOINTS) != (sender[0] in ENDPOINTS):
        return receiver[0] in ENDPOINTS
    if packet.payload.startswith(_REQUESTS):
        return True
    if packet.payload.startswith(b"HTTP/"):
        return False
    return sender[1] >= receiver[1]
