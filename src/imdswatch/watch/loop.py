"""The loop of a watch: wait for any feed, judge what came, tell and keep it, and look at the clock now and then.

One round is judged, told and committed before the next begins, so a kill loses at most what can be read again. Spans of
time are measured by the monotonic clock; a step of the wall clock moves nothing but the times that are shown. Signals
are a wish that is fulfilled between two rounds: `stop` drains what is there, tells what has changed, and ends;
`reload` puts new rules, site and schemas in force, or keeps the old and says why.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from imdswatch.errors import ImdswatchError, UsageError
from imdswatch.finding import STAGES, Skipped, Summary
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.text import Outcome
from imdswatch.scan.work import Options
from imdswatch.watch.feed import Feed
from imdswatch.watch.judgement import Judgement
from imdswatch.watch.ledger import Ledger, Teller
from imdswatch.watch.library import Library
from imdswatch.watch.state import State, StateTrouble
from imdswatch.watch.status import FeedStatus, Status

TICK = 0.25
"""Seconds between two rounds where nothing comes."""
STATUS = 5.0
"""Seconds between two notes of how it goes."""
RETRY = 5.0
"""Seconds after which what could not be written is tried once more."""
_TIDY = 3600.0
_DAY = 86400.0
_WIPED = "was damaged; it is set aside as {} and begun anew: what was told may be told again"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a watch goes: seconds between summaries, seconds after which findings are forgotten, how many are kept."""

    interval: float = 3600.0
    retention: float = 30 * 86400.0
    most: int = 100_000


class Wishes:
    """What signals ask for; `fd` becomes readable when one has come."""

    def __init__(self) -> None:
        self.stop = self.reload = self.reopen = False
        self.fd, self._written = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def wake(self) -> None:
        """End the waiting of the loop; may be called in a signal handler."""
        try:
            os.write(self._written, b"\x00")
        except BlockingIOError:
            pass

    def heard(self) -> None:
        """Take note that the loop is awake."""
        try:
            os.read(self.fd, 1 << 12)
        except BlockingIOError:
            pass


@dataclass(frozen=True)
class Outside:
    """What the loop asks of the command line: `say` to the person who runs it, `reload`, and who wants the status."""

    say: Callable[[str], None]
    reload: Callable[[], Options]
    status: Callable[[Status], None]


class Watch:
    """One watch over some feeds."""

    def __init__(
        self,
        feeds: Sequence[Feed],
        judgement: Judgement,
        library: Library,
        state: State,
        teller: Teller,
        settings: Settings,
        wishes: Wishes,
        outside: Outside,
    ) -> None:
        self._feeds, self._judgement, self._library, self._state = tuple(feeds), judgement, library, state
        self._settings, self._wishes, self._outside = settings, wishes, outside
        self._ledger = Ledger(state, judgement, teller)
        self._skipped = self._reloads = 0
        self._trouble = self._mute = ""
        self._began, self._start = time.time(), time.monotonic()

    def run(self) -> Summary:
        """Watch until it is asked to stop; return what was looked at."""
        now = time.monotonic()
        summary_at, status_at, retry_at, tidy_at = now + self._until_summary(), now, now, now
        if self._state.set_aside:
            self._skip(Skipped(str(self._state.path), "", _WIPED.format(self._state.set_aside)))
        day = time.time() // _DAY
        while True:
            stopping = self._wishes.stop
            now = time.monotonic()
            if self._wishes.reload or time.time() // _DAY != day:  # suppressions expire at midnight, UTC
                self._wishes.reload, day = False, time.time() // _DAY
                self._reload()
            busy = self._round(now, again=now >= retry_at, last=stopping)
            if self._ledger.trouble or self._ledger.mute:
                retry_at = now + RETRY if now >= retry_at else retry_at
                summary_at = min(summary_at, retry_at) if self._ledger.mute else summary_at
            if stopping or now >= summary_at:
                self._ledger.summarise()
                self._note("summary", repr(time.time()))
                summary_at = now + self._settings.interval
            if stopping or now >= tidy_at:
                self._tidy()
                tidy_at = now + _TIDY
            if stopping or now >= status_at:
                self._tell_status()
                status_at = now + STATUS
            if stopping:
                break
            if not busy:
                self._wait()
        for feed in self._feeds:
            feed.close()
        return self._summary()

    def _round(self, now: float, *, again: bool, last: bool) -> bool:
        """Let every feed judge what came, tell and keep it; return whether there was anything."""
        outcome = Outcome(Incidents())
        for feed in self._feeds:
            feed.tick(now)
            feed.read(outcome)
            self._judgement.look_back(outcome.incidents)
            if last:
                feed.finish(outcome)
        places = list(outcome.skipped)
        if outcome.more_skipped:
            places.append(Skipped("", "", f"{outcome.more_skipped} more places could not be read"))
        for place in places:
            self._skip(place)
        if self._ledger.take(outcome.incidents, self._library.changes(), {}, again=again):
            self._library.kept()
        outcome.incidents.close()
        self._complain()
        return bool(outcome.lines or outcome.bytes)

    def _complain(self) -> None:
        """Say once that the state or the output cannot be written, and once that it can again.

        Raises UsageError for a state that is damaged: only a new start can set it aside and read all logs again.
        """
        if self._state.damaged:
            help = "start the watch again: it sets this state aside, and reads followed logs from their start"
            raise UsageError(
                "the state was damaged while it was in use", file=str(self._state.path), help=help
            )
        if self._ledger.trouble != self._trouble:
            self._trouble = self._ledger.trouble
            if self._trouble:
                reason = (
                    f"cannot be written: {self._trouble}; findings are told, and told again after a restart"
                )
                self._skip(Skipped(str(self._state.path), "", reason))
                self._outside.say(f"the state {reason}")
            else:
                self._outside.say("the state can be written again")
        if self._ledger.mute != self._mute:
            self._mute = self._ledger.mute
            said = f"the output cannot be written: {self._mute}; what it misses is kept and told later"
            self._outside.say(said if self._mute else "the output can be written again")

    def _skip(self, place: Skipped) -> None:
        self._skipped += 1
        self._ledger.skipped([place])

    def _reload(self) -> None:
        before = self._judgement.options
        try:
            options = self._outside.reload()
        except ImdswatchError as error:
            self._outside.say(f"what was in force stays in force: {error}")
            position = f"line {error.line}" if error.line else ""
            reason = f"not loaded, what was in force stays in force: {error.what}"
            self._skip(Skipped(error.file, position, reason))
            return
        self._judgement.replace(options)
        self._reloads += 1
        self._ledger.renumber(before.rules)
        self._ledger.renew()

    def _until_summary(self) -> float:
        """Return the seconds until the next summary is due: none if the last watch could not tell what it found."""
        try:
            if self._state.owes():
                return 0.0
            last = float(self._state.meta("summary") or "nan")
        except (StateTrouble, ValueError):
            last = float("nan")
        interval = self._settings.interval
        gone = time.time() - last
        return interval - gone if 0 <= gone < interval else 0.0 if gone >= interval else interval

    def _note(self, name: str, value: str) -> None:
        try:
            self._state.commit(meta={name: value})
        except StateTrouble as trouble:
            self._ledger.trouble = trouble.reason

    def _tidy(self) -> None:
        try:
            gone = self._state.forget(time.time() - self._settings.retention, self._settings.most)
        except StateTrouble as trouble:
            self._ledger.trouble = trouble.reason
            return
        if gone:
            reason = (
                f"holds at most {self._settings.most} findings: the {gone} mildest and oldest are forgotten"
            )
            self._skip(Skipped(str(self._state.path), "", reason))

    def status(self) -> Status:
        """Return how it goes."""
        try:
            stages = self._state.stages()
        except StateTrouble:
            stages = {}
        return Status(
            pid=os.getpid(),
            began=self._began,
            at=time.time(),
            feeds=tuple(FeedStatus(feed.name, feed.counts()) for feed in self._feeds),
            findings={name: stages.get(rank, 0) for rank, name in enumerate(STAGES)},
            skipped=self._skipped,
            reloads=self._reloads,
            trouble=tuple(filter(None, (self._trouble, self._mute))),
        )

    def _tell_status(self) -> None:
        status = self.status()
        self._outside.status(status)
        self._note("status", status.to_json())

    def _summary(self) -> Summary:
        counts = [feed.counts() for feed in self._feeds]
        try:
            findings = sum(self._state.stages().values())
        except StateTrouble:
            findings = 0
        return replace(
            Summary(),
            sources=len(counts),
            bytes=sum(one.bytes for one in counts),
            records=sum(one.records for one in counts),
            findings=findings,
            skipped=self._skipped,
            seconds=time.monotonic() - self._start,
        )

    def _wait(self) -> None:
        """Wait until something comes, or for a tick."""
        poll = select.poll()
        poll.register(self._wishes.fd, select.POLLIN)
        for feed in self._feeds:
            number = feed.fileno()
            if number is not None:
                poll.register(number, select.POLLIN)
        wanted = [due for feed in self._feeds if (due := feed.due()) is not None]
        poll.poll(min([TICK, *wanted]) * 1000)
        self._wishes.heard()
