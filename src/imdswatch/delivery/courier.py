"""A courier takes the messages of one spool to one receiver, in order, until each is confirmed.

It works in a thread of its own, so a slow or dead receiver never holds up the search. What fails is tried again after
a time that doubles, with jitter so that many senders do not return in step (Brooker, "Exponential Backoff And Jitter",
AWS Architecture Blog, 2015), and never before the receiver allows it. Only what `Channel` says is confirmed leaves the
spool.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imdswatch.delivery.message import Channel, Message, Refused, Undelivered
from imdswatch.delivery.spool import Closed, Spool


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to wait before the next try: seconds, doubled each time; `last` is the most once the program ends."""

    first: float = 0.5
    most: float = 60.0
    last: float = 2.0
    tick: float = 1.0


class Courier(threading.Thread):
    """Begins with what an earlier run left; `tell` is called from this thread when the receiver goes and comes back."""

    def __init__(
        self, name: str, spool: Spool, channel: Channel, tell: Callable[[str], None], pace: Pace = Pace()
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._spool, self._channel, self._tell, self._pace = spool, channel, tell, pace
        self._news, self._ending, self._stopped = threading.Event(), threading.Event(), threading.Event()
        self._tries = 0
        self.trouble = ""
        """Why the last try failed; empty when it did not."""
        self.refused, self.first_refused = 0, ""
        """How many results the receiver will never take; which was the first, and why."""

    def put(self, message: Message, *, force: bool = False) -> bool:
        """Hand over a message and return whether the spool had room for it."""
        taken = self._spool.put(message, force=force)
        self._news.set()
        return taken

    def end(self) -> None:
        """Say that no more messages come."""
        self._ending.set()
        self._news.set()

    def finish(self, seconds: float) -> int:
        """Wait for everything to be delivered, for so long at most, and return how many messages are left."""
        self.end()
        self.join(seconds)
        self._stopped.set()
        self._news.set()
        left = self._spool.waiting()
        self._spool.close()
        return left

    def run(self) -> None:
        """Deliver until told to end and nothing is left, or until the spool is closed."""
        try:
            while not self._stopped.is_set():
                self._news.clear()
                if self._some():
                    continue
                if self._ending.is_set():
                    break
                self._news.wait(self._pace.tick)
                self._spool.sync()
            self._spool.sync()
        except Closed:
            pass
        finally:
            self._channel.close()

    def _some(self) -> bool:
        """Try the oldest messages, and return whether there were any."""
        try:
            batch = self._spool.head(self._channel.most)
            if not batch:
                return False
            self._try(batch)
        except sqlite3.OperationalError as error:
            # A full disk, or another process that holds the spool for long: what was sent may be sent again.
            self._failed(f"the spool cannot be used: {error}")
        return True

    def _try(self, batch: Sequence[tuple[int, Message]]) -> None:
        numbers = [number for number, _ in batch]
        try:
            done = self._channel.send([message for _, message in batch])
        except Refused as error:
            self._spool.confirmed(numbers[: error.index])
            self._spool.refused(numbers[error.index], str(error))
            self.refused += 1
            if not self.first_refused:  # a receiver that takes nothing must not fill the journal, too
                self.first_refused = f"{batch[error.index][1].id}: {error}"
                self._tell(f"refused a result, and more may follow: {self.first_refused}")
        except Undelivered as error:
            self._failed(str(error), error.after)
        else:
            self._spool.confirmed(numbers[:done])
            if self.trouble:
                self._tell("takes results again")
            self.trouble, self._tries = "", 0

    def _failed(self, why: str, after: float = 0.0) -> None:
        if not self.trouble:
            self._tell(f"does not take results, they wait: {why}")
        self.trouble = why
        self._tries += 1
        self._pause(after)

    def _pause(self, after: float) -> None:
        """Wait for the next try; once the program ends, no longer than `last` but where the receiver says so."""
        longest = min(self._pace.most, self._pace.first * 2.0 ** min(self._tries - 1, 16))
        began, wait = time.monotonic(), random.uniform(longest / 2, longest)
        while not self._stopped.is_set():
            if self._ending.is_set():
                wait = min(wait, self._pace.last)
            rest = began + max(after, wait) - time.monotonic()
            if rest <= 0:
                return
            self._stopped.wait(min(rest, self._pace.tick))
            self._spool.sync()
