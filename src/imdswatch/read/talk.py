"""One TCP connection while it is open: its parsers, and what is counted of it. Working state, bounded."""

from __future__ import annotations

from collections import deque
from typing import Any

from imdswatch.address import ENDPOINTS
from imdswatch.read.observed import moment
from imdswatch.read.translations import Seen, Start
from imdswatch.wire import tls
from imdswatch.wire.connection import SERVER, Connection, Data, Gap
from imdswatch.wire.http1 import Conversation, Exchange
from imdswatch.wire.packet import ACK, SYN, Packet

DNS_PORT = 53
_MOST_DNS = 64 << 10
_MOST_HELLO = 8 << 10  # real ones have about 2000 octets with post-quantum key shares
_MOST_TOLD = (
    32  # a reading that begins late replays the last 64 KiB, which hold no more exchanges of this kind
)
_HALF = 1 << 31
_LETTERS = ((2, "S"), (16, "A"), (1, "F"), (4, "R"), (8, "P"), (32, "U"), (64, "E"), (128, "C"))


class Hello:
    """The octets of a client until they show whether, and with which server name, it speaks TLS."""

    __slots__ = ("_next", "_octets", "packet", "tls")

    def __init__(self) -> None:
        self._octets: bytearray | None = bytearray()
        self._next = 6
        self.tls: bool | None = None
        self.packet: Packet | None = None

    def feed(self, octets: bytes, packet: Packet) -> str | None:
        """Take octets; return the server name once it is there. Tries grow apart, so that single octets cost little."""
        if self._octets is None:
            return None
        self.packet = self.packet or packet
        self._octets += octets
        return self.read() if len(self._octets) >= self._next else None

    def read(self) -> str | None:
        """Return the server name that the octets so far hold; they are kept only while more may be told by them."""
        held = self._octets
        if held is None:
            return None
        if self.tls is None and len(held) >= 6:
            self.tls = tls.is_client_hello(bytes(held[:6]))
        name = tls.server_name(bytes(held)) if self.tls else None
        self._next = len(held) * 5 // 4 + 1
        if name is not None or not self.tls or len(held) >= _most(held):
            self.stop()
        return name

    def stop(self) -> None:
        """Give up: octets are missing, or no more of them matter."""
        self._octets = None


def _most(held: bytearray) -> int:
    """Return how many octets a hello may take that says so much of itself, in records of one octet at worst."""
    return min(_MOST_HELLO, 64 + 6 * int.from_bytes(held[6:9]))


class Talk:
    """What is known of one connection beyond what `wire.tcp` keeps."""

    __slots__ = (
        "asked", "broken", "claimed", "concerns", "connected", "connection", "dns", "endpoint", "exchanges",
        "first_ack", "held", "held_octets", "hello", "inner", "last_ack", "lost", "parsers", "payload", "prohibited",
        "responses", "sni", "through", "told", "twin",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        client, server = connection.sides
        self.endpoint = server.ip in ENDPOINTS
        """Whether the endpoint is asked."""
        self.concerns = self.endpoint or client.ip in ENDPOINTS
        self.parsers: dict[int, Conversation] = {}
        self.inner: dict[int, Conversation] = {}
        """Parsers of what goes through a tunnel that CONNECT opened, by reading."""
        self.hello = Hello()
        self.sni: str | None = None
        self.connected = ""
        """Host that the last CONNECT named."""
        self.through = [0, 0]
        """Octets that went through the tunnel."""
        self.held: tuple[dict[str, Any], int] | None = None
        """A CONNECT to the endpoint that waits for what comes through the tunnel."""
        self.exchanges = 0
        self.responses = 0
        self.payload = [0, 0]
        self.lost = [0, 0]
        self.claimed = 0
        """Octets of the server that belong to responses which were told."""
        self.first_ack: int | None = None
        self.last_ack = 0
        self.prohibited: bool | None = None
        """An ICMP error said that packets did not arrive; True: because a filter forbids it."""
        self.asked = Seen(self._client_ttl())
        self.twin: Seen | None = None
        self.told: deque[int] = deque(maxlen=_MOST_TOLD)
        self.held_octets = 0
        """Octets that the parsers may hold."""
        self.broken = False
        """Parsers had to give up what they held, so the next begin in the middle."""
        self.dns = (bytearray(), bytearray()) if server.port == DNS_PORT else None

    def _client_ttl(self) -> int | None:
        first, client = self.connection.first, self.connection.client
        return first.ttl if first.src == client.ip else None

    @property
    def start(self) -> Start | None:
        """What address translation leaves alone; None if the SYN was not seen."""
        client = self.connection.client
        return None if client.isn is None else (client.ip, client.port, client.isn)

    def parser(self, reading: int) -> Conversation:
        """Return the HTTP parser of one reading of the stream."""
        found = self.parsers.get(reading)
        if found is None:
            found = self.parsers[reading] = Conversation(
                from_start=self.connection.syn_seen and not self.broken
            )
        return found

    @property
    def waits(self) -> bool:
        """Whether only more packets, or the end, show what becomes of it."""
        if self.concerns and not self.exchanges:
            return True
        return self.held is not None or any(
            parser.waits for parser in (*self.parsers.values(), *self.inner.values())
        )

    def count(self, event: Data | Gap) -> None:
        """Count octets of a direction, once whatever the readings."""
        if event.reading:
            return
        if isinstance(event, Data):
            self.payload[event.direction] += len(event.octets)
            if self.dns is not None and len(self.dns[event.direction]) < _MOST_DNS:
                self.dns[event.direction].extend(event.octets)
        else:
            self.lost[event.direction] += event.length

    def acknowledge(self, packet: Packet) -> None:
        """Note what a client acknowledges: the only sign of an answer where its direction alone was captured."""
        if packet.flags & ACK and not packet.flags & SYN:
            if self.first_ack is None:
                self.first_ack = self.last_ack = packet.ack
            elif 0 < (packet.ack - self.last_ack) & 0xFFFFFFFF < _HALF:
                self.last_ack = packet.ack

    def acked_since(self, ack: int | None, until: int | None = None) -> int:
        """Return how many octets of the server the client acknowledged after it had acknowledged `ack`."""
        if ack is None:
            return 0
        grown = ((self.last_ack if until is None else until) - ack) & 0xFFFFFFFF
        return grown if grown < _HALF else 0

    @property
    def replied(self) -> int:
        """Octets of payload that the server sent, seen or known to be missing.

        A single missing octet is none: it may be the number that a FIN takes (RFC 9293 3.4).
        """
        return self.payload[SERVER] + (self.lost[SERVER] if self.lost[SERVER] > 1 else 0)

    def ends(self) -> dict[str, Any]:
        """Return who asked whom, as canonical fields. MAC addresses are of packets that a side sent, if it sent any."""
        connection = self.connection
        first = connection.first
        client, server = connection.sides
        of_client = first.src_mac if first.src == client.ip else first.dst_mac
        of_server = first.dst_mac if first.src == client.ip else first.src_mac
        found: dict[str, Any] = {
            "src_ip": client.ip,
            "dst_ip": server.ip,
            "src_port": client.port,
            "dst_port": server.port,
            "proto": "tcp",
        }
        for name, value in (
            ("src_mac", client.mac if client.packets else of_client),
            ("dst_mac", server.mac if server.packets else of_server),
            ("ttl", server.ttl),
        ):
            if value is not None:
                found[name] = value
        if connection.vlan:
            found["vlan"] = connection.vlan
        if self.asked.target is not None:
            found["nat_dst"], found["nat_dst_port"] = self.asked.target
        return found

    def flow(self) -> dict[str, Any]:
        """Return what became of a connection to the endpoint on which no HTTP was seen."""
        server = self.connection.server
        found = self.ends() | moment(self.connection.first)
        if self.sni is not None:
            found["tls_sni"] = self.sni
        if not self.endpoint:
            return found  # it asked itself: what it got is no answer of the endpoint
        if server.packets:
            found |= {
                "resp_packets": server.packets,
                "resp_ip_bytes": server.ip_octets,
                "resp_bytes": self.replied,
                "resp_flags": "".join(letter for bit, letter in _LETTERS if server.flags & bit),
            }
            # Flags and sizes count payload of a RST, too; the reassembled octets are exact.
            found["answered"] = self.replied > 0
        elif self.acked_since(self.first_ack) > 1:
            found["resp_bytes"] = self.acked_since(self.first_ack) - 1
        elif self.first_ack is None:
            found |= {"resp_packets": 0, "resp_bytes": 0}
        if self.prohibited and not found.get("resp_bytes"):
            found["action"] = "deny"
        return found

    @property
    def is_text(self) -> bool:
        """Whether requests in it are but text that looks so (a mail, a chat): all that the server sent is no HTTP.

        At the endpoint nothing is taken for text: whatever is sent there is sent to an impostor.
        """
        whole = self.connection.syn_seen and not self.lost[SERVER]
        return whole and not self.endpoint and not self.responses and self.payload[SERVER] > 0

    def unanswered(self, exchange: Exchange, following: Packet | None) -> dict[str, Any]:
        """Return what is known of the reply to a request for which no response was read."""
        assert exchange.request is not None
        if self.connection.server.packets:
            left = max(0, self.replied - self.claimed)
            if left and not self.endpoint:
                return {}  # what it sent is no HTTP, so nobody can say that it answered this
            return {"resp_bytes": left, "answered": left > 0}
        if not exchange.request.target.startswith(("/", "*")):
            return {}  # a proxy acknowledges, which may have refused it by itself
        mark: Packet = exchange.request.mark
        acked = self.acked_since(mark.ack, None if following is None else following.ack)
        # The last octet acknowledged may be a FIN's.
        acked -= following is None
        return {"resp_bytes": acked} if acked > 0 else {}

    def repeats(self, fields: dict[str, Any], reading: int) -> bool:
        """Say whether another reading of the stream told the same already.

        When is left out of the comparison: a reading that begins late replays what came before at its own time.
        """
        key = hash(repr([item for item in fields.items() if item[0] not in ("timestamp", "vlan")]))
        if reading and key in self.told:
            return True
        self.told.append(key)
        return False
