"""Address translation seen from both sides: which machine a connection to the endpoint really went to.

A capture on both sides of a router that translates (DNAT) shows each connection twice: to the endpoint, and to the
machine behind it. They are the same if client address, client port and initial sequence number are, which a translator
leaves alone, or (where the source is translated too) if the same request octets go to both within `_CLOSE` seconds.
A translation *to* the endpoint is told apart by TTL: a router lowers it on the way. Working state, bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from imdswatch.read.recent import Recent
from imdswatch.wire.packet import Packet

_MOST = 1 << 12
_CLOSE = 5.0
_LEAST, _LONGEST = 16, 4096  # octets of a request's first packet that are worth comparing

Start = tuple[str, int, int]
"""Client address, client port, initial sequence number."""


@dataclass(slots=True)
class Seen:
    """One connection to the endpoint, as a translation can be recognised by it."""

    ttl: int | None
    target: tuple[str, int] | None = None
    """Where it really went, once that is known."""
    who: dict[str, object] = field(default_factory=dict)
    """The fields that say who asked whom, to tell the same again with the target."""


class Translations:
    """Connections to the endpoint that may be seen again behind a translator."""

    def __init__(self) -> None:
        self._starts: Recent[Start, Seen] = Recent(_MOST)
        self._requests: Recent[bytes, tuple[float | None, Seen]] = Recent(_MOST)

    def opened(self, start: Start | None, asked: Seen) -> None:
        """Take a connection to the endpoint whose SYN was seen."""
        if start is not None:
            self._starts.put(start, asked)

    def sent(self, packet: Packet, asked: Seen) -> None:
        """Take octets that a client sent to the endpoint."""
        if _LEAST <= len(packet.payload) <= _LONGEST:
            self._requests.put(packet.payload, (packet.frame.time, asked))

    def twin(self, start: Start | None, ttl: int | None, request: Packet | None) -> Seen | None:
        """Return the connection to the endpoint that this one, to another address, is the other side of."""
        found = self._starts.get(start) if start is not None else None
        if found is None and request is not None and len(request.payload) >= _LEAST:
            when, found = self._requests.get(request.payload) or (None, None)
            now = request.frame.time
            if when is not None and now is not None and abs(now - when) > _CLOSE:
                return None
        if found is None or (found.ttl is not None and ttl is not None and ttl > found.ttl):
            return None
        return found
