"""Which process asked, as a feed of its own: it judges nothing, and the feeds of interfaces ask it for names.

It comes before them in the loop, so that who opened a connection is known when the connection's first packet is read.
"""

from __future__ import annotations

import time

from imdswatch.address import ENDPOINTS
from imdswatch.finding import Skipped
from imdswatch.read.askers import Asker, Askers, Lost
from imdswatch.read.processes import Sockets, Trace, asker
from imdswatch.scan.text import Outcome
from imdswatch.watch.feed import Counts

_POLL = 0.25  # seconds; a SYN without answer waits for a second


class ProcessFeed:
    """Who on this machine opens connections."""

    name = "processes"

    def __init__(self) -> None:
        self._askers = Askers()
        self._skipped: list[Skipped] = []
        self._trace: Trace | None = None
        self._sockets: Sockets | None = None
        self._polled = 0.0
        self._drops = self._records = 0
        try:
            self._trace = Trace()
        except OSError as error:
            self._sockets = Sockets(ENDPOINTS)
            why = f"{error.filename or 'tracefs'}: {(error.strerror or str(error)).lower()}"
            reason = f"connections cannot be traced ({why}); only those that wait for an answer get a process"
            self._skipped.append(Skipped(self.name, "", reason))

    def fileno(self) -> int | None:
        """Return what select() waits on."""
        return None if self._trace is None else self._trace.fileno()

    def read(self, outcome: Outcome) -> None:
        """Take note of connections that began."""
        now = time.monotonic()
        for change in self._trace.read() if self._trace is not None else ():
            if isinstance(change, Lost):
                self._drops += change.events
                self._skipped.append(
                    Skipped(self.name, "", f"the kernel had no room for {change.events} connections")
                )
                continue
            self._records += 1
            if change.begins:
                self._askers.began(change, asker(change.tid, change.comm), now)
            else:
                self._askers.known(change)
        skipped, self._skipped = self._skipped, []
        for one in skipped:
            outcome.skip(one)

    def tick(self, now: float) -> None:
        """Ask for the sockets that wait, where they cannot be traced."""
        if self._sockets is None or now - self._polled < _POLL:
            return
        self._polled = now
        for src, sport, dst, dport, found in self._sockets.read():
            self._askers.name(src, sport, dst, dport, found)

    def due(self) -> float | None:
        """Return when sockets are to be asked for again, where they cannot be traced."""
        return None if self._sockets is None else _POLL

    def finish(self, outcome: Outcome) -> None:
        """There is nothing that only the end shows."""

    def of(self, src: str, sport: int, dst: str, dport: int) -> Asker | None:
        """Return who opened a connection, or None."""
        return self._askers.of(src, sport, dst, dport, time.monotonic())

    def counts(self) -> Counts:
        """Return how many connections were told, and how many the kernel had no room for."""
        return Counts(records=self._records, drops=self._drops)

    def close(self) -> None:
        """Stop tracing."""
        if self._trace is not None:
            self._trace.close()
