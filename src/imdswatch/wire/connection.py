"""What is known of a TCP connection, and what happens in it, as values for whoever reads its streams.

A `Connection` is one object for the life of a connection and grows while packets come; it is what events name and is
compared by identity. Events come in the order in which a host would notice them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from imdswatch.wire.packet import Packet

CLIENT, SERVER = 0, 1


@dataclass(slots=True, eq=False)
class Side:
    """One end of a connection and what it sent; `mac` and `ttl` are of the first of its own packets that has them."""

    ip: str
    port: int
    mac: str | None = None
    ttl: int | None = None
    isn: int | None = None  # the sequence number of its SYN
    packets: int = 0
    octets: int = 0  # of payload, repeated ones included
    ip_octets: int = 0
    flags: int = 0  # of all its packets


@dataclass(slots=True, eq=False)
class Connection:
    """A TCP connection: its two sides, how it began, and its state."""

    number: int  # counts the connections of a capture from 1
    first: Packet  # without its octets
    sides: tuple[Side, Side]  # the client, the server
    vlan: tuple[int, ...]
    syn_seen: bool = False
    synack_seen: bool = False
    handshake: bool = False  # the client acknowledged the SYN-ACK
    reset_by: Literal["client", "server"] | None = None
    contradictions: int = 0  # copies of the same octets that differ
    packets: int = field(default=0)

    @property
    def client(self) -> Side:
        """Return the side that asks."""
        return self.sides[CLIENT]

    @property
    def server(self) -> Side:
        """Return the side that answers."""
        return self.sides[SERVER]


class Opened(NamedTuple):
    """A connection was seen for the first time, by its SYN or in the middle."""

    connection: Connection


class Data(NamedTuple):
    """The next octets of a direction, and the packet that carried the first of them.

    Reading 0 believes the first copy of every octet. Readings 1 to 3 exist only where copies differ: each begins with
    what is remembered of both directions, as the later copy changed it, and then gets everything that follows.
    """

    connection: Connection
    direction: int
    octets: bytes
    packet: Packet
    reading: int


class Gap(NamedTuple):
    """Octets that will not come: lost, cut by the snapshot length, or forgotten at the beginning of a reading."""

    connection: Connection
    direction: int
    length: int
    reading: int


class Ended(NamedTuple):
    """A side has sent its FIN, the other side has acknowledged it, and everything before it was told."""

    connection: Connection
    direction: int


class Closed(NamedTuple):
    """A connection is over for this capture: nothing of it follows.

    "fin" and "reset" as the hosts closed it, "idle" if it made room for others, "end" of the capture.
    """

    connection: Connection
    how: Literal["fin", "reset", "idle", "end"]


Event = Opened | Data | Gap | Ended | Closed
