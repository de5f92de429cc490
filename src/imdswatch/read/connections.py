"""What TCP connections show: HTTP exchanges on any port, TLS server names, DNS, and each contact with the endpoint.

Every HTTP exchange is an event, every server name, every lookup; a connection on which none was seen is one only if the
endpoint is an end of it. What is told of a connection depends on its own packets, and beyond them only on packets of
other IMDS dialogues (`exchanges.is_imds`), on ARP and ND claims of the endpoint, and on ICMP errors: leaving out other
connections changes nothing. Events come when they are complete, those of one packet in the order of their numbers.
Nothing here raises for any packets; memory is bounded by `wire.tcp` and by the limits of `steps` and `translations`.

Longer than most: which octets go to which parser, and what becomes of an exchange, is one walk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from imdswatch import clients
from imdswatch.event import endpoint, victim_ip, victim_mac
from imdswatch.read import exchanges
from imdswatch.read.datagrams import Lookups
from imdswatch.read.observed import Observed, moment
from imdswatch.read.steps import Asked, Dialogue, Step, Steps
from imdswatch.read.talk import Hello, Talk
from imdswatch.read.translations import Seen, Translations
from imdswatch.wire import dns
from imdswatch.wire.connection import CLIENT, SERVER, Closed, Connection, Data, Ended, Event, Gap, Opened
from imdswatch.wire.http1 import Conversation, Exchange
from imdswatch.wire.packet import Packet, Quoted
from imdswatch.wire.tcp import Tcp

_MOST_HELD = 48 << 20
_OVERHEAD = 1000  # octets of memory that the packet of a waiting segment takes beyond its payload, about
_MOST_OF_ONE = 512 << 10  # about what the limits of http1 let a conversation hold

_Flow = tuple[str | None, int | None, str | None, int | None]


class Connections:
    """The TCP connections of one capture; a live sensor is told of each that something came of (`touched`)."""

    def __init__(self, steps: Steps, lookups: Lookups, touched: Callable[[Talk], None] | None = None) -> None:
        self._tcp = Tcp()
        self._touched = touched
        self._steps, self._lookups = steps, lookups
        self._talks: dict[int, Talk] = {}
        self._flows: dict[_Flow, Talk] = {}
        self._translations = Translations()
        self._holding: tuple[OrderedDict[int, Talk], OrderedDict[int, Talk]] = (OrderedDict(), OrderedDict())
        self._held = 0

    def push(self, packet: Packet) -> Iterator[Observed]:
        """Take one TCP packet; yield what it completes."""
        events = self._tcp.push(packet)
        for event in events:
            yield from self._event(event)
        talk = self._flows.get((packet.src, packet.sport, packet.dst, packet.dport))
        if talk is not None:
            talk.acknowledge(packet)
        if self._touched is not None:
            if talk is not None:
                self._touched(talk)
            for number in {event.connection.number for event in events}:
                if number in self._talks:
                    self._touched(self._talks[number])

    # -- for a live sensor, to which no end of the capture comes ---------------------------------------------------

    def expire(self, now: float, silent: float) -> Iterator[Observed]:
        """Yield what is left of connections that are over, or silent for so many seconds of capture time."""
        for event in self._tcp.expire(now, silent):
            yield from self._event(event)

    def waits(self, talk: Talk) -> bool:
        """Say whether only more packets, or the end, show what becomes of a connection."""
        return talk.waits or self._tcp.waits(talk.connection)

    def hurry(self, talk: Talk) -> Iterator[Observed]:
        """Yield what waits for packets that may never be seen."""
        for event in self._tcp.hurry(talk.connection):
            yield from self._event(event)

    def so_far(self, talk: Talk, *, cut: bool) -> Iterator[Observed]:
        """Yield what would be told of a connection if the capture ended now; it goes on as if nobody had asked.

        Of a response whose end is missing only that there is one, unless `cut`: its rest may say something else.
        Dialogues learn of it, which they may: it is what happened.
        """
        if self._talks.get(talk.connection.number) is talk:
            # Only parsers change when they are asked for what is left.
            parsed = talk.parsers or talk.inner
            shown = deepcopy(talk, {id(talk.connection): talk.connection}) if parsed else talk
            yield from self._rest(shown, finished=False, cut=cut)

    def end(self) -> Iterator[Observed]:
        """Yield what is left: the capture is over."""
        for event in self._tcp.end():
            yield from self._event(event)

    def refused(self, quoted: Quoted, *, prohibited: bool) -> bool:
        """Take an ICMP error about a packet; say whether its connection is known."""
        talk = self._flows.get((quoted.src, quoted.sport, quoted.dst, quoted.dport))
        if talk is not None:
            talk.prohibited = prohibited or bool(talk.prohibited)
        return talk is not None

    # -- events of wire.tcp --------------------------------------------------------------------------------------

    def _event(self, event: Event) -> Iterator[Observed]:
        if isinstance(event, Opened):
            self._opened(event.connection)
            return
        talk = self._talks[event.connection.number]
        if isinstance(event, Data):
            talk.count(event)
            yield from self._data(talk, event)
        elif isinstance(event, Gap):
            talk.count(event)
            if event.direction == CLIENT and not event.reading:
                talk.hello.stop()  # a hello with a hole says nothing certain
            yield from self._told(
                talk, event.reading, talk.parser(event.reading).gap(event.direction, event.length)
            )
        elif isinstance(event, Ended):
            for reading, parser in tuple(talk.parsers.items()):
                yield from self._told(talk, reading, parser.close(event.direction))
        elif isinstance(event, Closed):
            yield from self._closed(talk, event.how)

    def _opened(self, connection: Connection) -> None:
        client, server = connection.sides
        talk = Talk(connection)
        self._talks[connection.number] = talk
        self._flows[(client.ip, client.port, server.ip, server.port)] = talk
        if talk.endpoint:
            self._translations.opened(talk.start, talk.asked)

    def _data(self, talk: Talk, event: Data) -> Iterator[Observed]:
        reading, direction = event.reading, event.direction
        if direction == CLIENT and not reading:
            if talk.endpoint:
                talk.asked.who = talk.asked.who or talk.ends()
                self._translations.sent(event.packet, talk.asked)
            name = talk.hello.feed(event.octets, event.packet)
            if name is not None:
                yield from self._server_name(talk, name, event.packet)
        if talk.hello.tls and not talk.inner:
            return
        yield from self._hold(talk, len(event.octets) + _OVERHEAD)
        parser = talk.parser(reading)
        if not parser.tunnel:
            yield from self._told(talk, reading, parser.feed(direction, event.octets, event.packet))
            if not parser.tunnel:
                return
        else:
            parser.feed(direction, event.octets, event.packet)
        for side in (CLIENT, SERVER):
            yield from self._tunnelled(talk, reading, side, parser.take_tunnelled(side), event.packet)

    def _tunnelled(
        self, talk: Talk, reading: int, direction: int, octets: bytes, packet: Packet
    ) -> Iterator[Observed]:
        if not octets:
            return
        talk.through[direction] += 0 if reading else len(octets)
        inner = talk.inner.get(reading)
        if inner is None:
            inner = talk.inner[reading] = Conversation()
            talk.hello = Hello()
        if direction == CLIENT and not reading:
            name = talk.hello.feed(octets, packet)
            if name is not None:
                yield from self._server_name(talk, name, packet)
        if not talk.hello.tls:
            yield from self._told(talk, reading, inner.feed(direction, octets, packet))

    def _closed(self, talk: Talk, how: str) -> Iterator[Observed]:
        name = talk.hello.read()
        if name is not None and talk.hello.packet is not None:
            yield from self._server_name(talk, name, talk.hello.packet)
        if talk.dns is not None:
            yield from self._lookups_of(talk)
        yield from self._rest(talk, finished=how == "fin")
        del self._talks[talk.connection.number]
        self._let_go(talk)
        client, server = talk.connection.sides
        flow = (client.ip, client.port, server.ip, server.port)
        if self._flows.get(flow) is talk:
            del self._flows[flow]

    def _rest(self, talk: Talk, *, finished: bool, cut: bool = True) -> Iterator[Observed]:
        """Yield what only the end of a connection shows: requests without response, and that it was there at all."""
        for parsers in (talk.parsers, talk.inner):
            for reading, parser in parsers.items():
                found = parser.close(finished=finished)
                yield from self._told(
                    talk, reading, found if cut else [Exchange(one.request, None) for one in found]
                )
        if talk.held is not None:
            yield self._tunnel_to_endpoint(talk, *talk.held)
        if talk.concerns and not talk.exchanges:
            fields = talk.flow()
            if talk.endpoint:
                dialogue = self._dialogue(fields)
                dialogue.take(Step.CONNECT)
                self._name_responder(dialogue, fields)
                fields["step"] = Step.CONNECT
            yield Observed(fields, talk.connection.first.frame.number)

    # -- memory --------------------------------------------------------------------------------------------------

    def _hold(self, talk: Talk, count: int) -> Iterator[Observed]:
        """Count octets that parsers may hold; beyond `_MOST_HELD` whoever was silent longest tells what it has.

        Connections to the endpoint come last. What comes of such a connection later is read as if the capture began
        there.
        """
        if talk.held_octets < _MOST_OF_ONE:
            talk.held_octets += count
            self._held += count
        holding = self._holding[talk.endpoint]
        holding[talk.connection.number] = talk
        holding.move_to_end(talk.connection.number)
        while self._held > _MOST_HELD:
            oldest = next(iter((self._holding[False] or self._holding[True]).values()))
            for parsers in (oldest.parsers, oldest.inner):
                found = [(reading, parser.close(finished=False)) for reading, parser in parsers.items()]
                parsers.clear()
                for reading, told in found:
                    yield from self._told(oldest, reading, told)
            oldest.broken = True
            self._let_go(oldest)

    def _let_go(self, talk: Talk) -> None:
        number, holding = talk.connection.number, self._holding[talk.endpoint]
        if holding.get(number) is talk:
            del holding[number]
            self._held -= talk.held_octets
            talk.held_octets = 0

    # -- other protocols -----------------------------------------------------------------------------------------

    def _server_name(self, talk: Talk, name: str, packet: Packet) -> Iterator[Observed]:
        if talk.sni is not None:
            return
        talk.sni = name
        if talk.endpoint or name.rstrip(".") == talk.connected:
            return  # the connection's own event, or that of the CONNECT, says the same
        begun = talk.hello.packet or packet
        fields = talk.ends() | moment(begun) | {"tls_sni": name}
        if exchanges.names_aws(name) and self._steps.use(talk.connection.client.ip):
            fields["step"] = Step.USE
        yield Observed(fields, begun.frame.number)

    def _lookups_of(self, talk: Talk) -> Iterator[Observed]:
        assert talk.dns is not None
        first = talk.connection.first
        client, server = talk.connection.sides
        there = first._replace(src=client.ip, sport=client.port, dst=server.ip, dport=server.port)
        back = first._replace(src=server.ip, sport=server.port, dst=client.ip, dport=client.port)
        for stream, packet in zip(talk.dns, (there, back), strict=True):
            for octets in dns.messages(bytes(stream)):
                message = dns.read(octets)
                if message is not None:
                    yield from self._lookups.take(packet, message)

    # -- HTTP ----------------------------------------------------------------------------------------------------

    def _told(self, talk: Talk, reading: int, found: list[Exchange]) -> Iterator[Observed]:
        for number, exchange in enumerate(found):
            later = found[number + 1].request if number + 1 < len(found) else None
            yield from self._exchange(talk, reading, exchange, None if later is None else later.mark)

    def _exchange(
        self, talk: Talk, reading: int, exchange: Exchange, following: Packet | None
    ) -> Iterator[Observed]:
        request, response = exchange.request, exchange.response
        begun = exchanges.first_packet(exchange)
        if begun is None or (response is None and talk.is_text):
            return
        self._let_go(talk)
        talk.exchanges += 1
        talk.responses += response is not None
        fields = talk.ends() | moment(begun)
        if request is not None:
            fields |= exchanges.request_fields(request)
        if response is not None:
            talk.claimed = talk.replied
            fields |= exchanges.response_fields(response, request)
            fields |= exchanges.answerer(response.mark)
        elif request is not None:
            fields |= talk.unanswered(exchange, following)
        if request is not None and request.method == "CONNECT":
            talk.connected = (request.host or "").rpartition(":")[0].rstrip(".").lower()
            fields.pop("resp_bytes", None)
            fields.pop("answered", None)
        number = begun.frame.number
        if exchanges.is_imds(fields):
            yield from self._imds(talk, reading, exchange, fields, number)
        elif request is not None and not talk.repeats(fields, reading):
            signed = "signing_key_id" in fields
            if (signed or exchanges.names_aws(request.host)) and self._steps.use(talk.connection.client.ip):
                fields["step"] = Step.USE
            yield Observed(fields, number)

    def _imds(
        self, talk: Talk, reading: int, exchange: Exchange, fields: dict[str, Any], number: int
    ) -> Iterator[Observed]:
        request, response = exchange.request, exchange.response
        if not talk.endpoint and request is not None and request.target.startswith("/"):
            twin = talk.twin or self._translations.twin(talk.start, talk.asked.ttl, request.mark)
            if twin is not None:
                # The other side of a translation: the same exchange, told already or soon, of the victim itself.
                if talk.twin is None:
                    talk.twin = twin
                    yield from self._translated(talk, twin)
                return
        if response is not None:
            fields |= exchanges.document_fields(response, unbroken=not talk.lost[SERVER])
        dialogue = self._dialogue(fields)
        if request is not None:
            kind = clients.kind(dialogue.asked(Asked(request.path, request.headers)))
            if kind is not None:
                fields["client"] = kind
        self._name_responder(dialogue, fields)
        step = fields["step"] = exchanges.step_of(fields)
        if talk.repeats(fields, reading):
            return
        dialogue.take(step)
        dialogue.name(fields.get("account_claim", ()))
        if request is not None and request.method == "CONNECT":
            talk.held = fields, number
            return
        extra = self._accounts(dialogue, fields)
        yield Observed(fields, number)
        for more in extra:
            yield Observed(more, number)

    def _accounts(self, dialogue: Dialogue, fields: dict[str, Any]) -> list[dict[str, Any]]:
        """Return an event for each further account that is claimed for served credentials, now or before.

        Each is judged by itself: one that the site expects must not hide one that it does not.
        """
        if not dialogue.has_credentials:
            return []
        victim = victim_ip(fields) or victim_mac(fields)
        if victim is not None and fields["step"] is Step.CREDENTIALS:
            self._steps.serve(victim, dialogue)
        own = fields.get("account_id")
        if own is not None and own not in dialogue.served:
            dialogue.served.append(own)
        out: list[dict[str, Any]] = []
        for claim in dialogue.claims:
            number = claim.partition(":")[2]
            if number not in dialogue.served:
                dialogue.served.append(number)
                out.append(
                    {name: fields[name] for name in _OF_A_CLAIM if name in fields}
                    | {"account_id": number, "account_claim": (claim,)}
                )
        return out

    def _translated(self, talk: Talk, twin: Seen) -> Iterator[Observed]:
        """Tell once which machine stands behind the translation, with its own MAC address and TTL."""
        server = talk.connection.server
        twin.target = (server.ip, server.port)
        if not twin.who:
            return
        fields = twin.who | moment(talk.connection.first)
        fields |= {"nat_dst": server.ip, "nat_dst_port": server.port}
        for name, value in (("dst_mac", server.mac), ("ttl", server.ttl)):
            fields.pop(name, None)
            if value is not None:
                fields[name] = value
        yield Observed(fields, talk.connection.first.frame.number)

    def _tunnel_to_endpoint(self, talk: Talk, fields: dict[str, Any], number: int) -> Observed:
        """Return the event of a CONNECT to the endpoint: answered if anything came back through the tunnel."""
        back = talk.through[SERVER]
        return Observed(fields | {"resp_bytes": back, "answered": back > 0}, number)

    def _dialogue(self, fields: dict[str, Any]) -> Dialogue:
        victim = victim_ip(fields) or victim_mac(fields) or ""
        return self._steps.of(victim, endpoint(fields) or "")

    def _name_responder(self, dialogue: Dialogue, fields: dict[str, Any]) -> None:
        """Give the MAC address that claimed the endpoint to an event whose link layer has none."""
        if "dst_mac" not in fields:
            mac = dialogue.claimant or self._steps.of("", endpoint(fields) or "").claimant
            if mac is not None:
                fields["dst_mac"] = mac


_OF_A_CLAIM = (
    "timestamp", "vlan", "src_ip", "dst_ip", "src_port", "dst_port", "src_mac", "dst_mac", "ttl", "proto", "host",
    "nat_dst", "nat_dst_port", "answered",
)  # fmt: skip
"""Fields of an answer that an event about one more account of it has, too."""
