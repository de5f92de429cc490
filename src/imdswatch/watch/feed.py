"""A feed is one endless input: an interface, or logs that grow.

The loop of `watch` waits on all feeds at once, lets each judge what has come, and commits what they found together
with how far they have read. A feed never waits, never raises for what it reads, and holds a bounded amount of memory;
what it could not look at is a `Skipped` in the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from imdswatch.scan.text import Outcome


@dataclass(frozen=True, slots=True)
class Counts:
    """What a feed has seen since it was opened.

    `records` are packets of an interface and lines of a log; `drops` is what was lost before anybody could look at it;
    `events` were judged; `last_time` is the newest time that stood in a record, epoch seconds; `lag` is how many bytes
    are there and were not read yet. `until` is when all that had come was judged, or told to be lost, epoch seconds,
    where nothing waits to be read later: an interface.
    """

    records: int = 0
    bytes: int = 0
    drops: int = 0
    events: int = 0
    last_time: float | None = None
    lag: int = 0
    until: float | None = None


class Feed(Protocol):
    """One endless input; see the module for what it guarantees."""

    name: str
    """What people call it: "interface eth0", "/var/log/squid/access.log"."""

    def fileno(self) -> int | None:
        """Return what select() waits on, or None where the feed is to be asked at every tick."""

    def read(self, outcome: Outcome) -> None:
        """Judge what is there now, or a bounded part of it, into the outcome: incidents, skipped. Never waits."""

    def tick(self, now: float) -> None:
        """Let time pass: dialogues time out, interfaces come back, files rotate. `now` is monotonic seconds."""

    def due(self) -> float | None:
        """Return the seconds after which it wants to be asked though nothing came; None: some time."""

    def finish(self, outcome: Outcome) -> None:
        """Judge what only the end shows: nothing more will be read."""

    def counts(self) -> Counts:
        """Return what was seen so far."""

    def close(self) -> None:
        """Give back what is open; nothing is read any more."""
