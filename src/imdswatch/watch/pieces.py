"""A log that grows is judged piece by piece, each piece by the first look and, once somebody was served, by the second.

What one piece leaves for the next is the header in force, the number of lines, and whether the layout can be searched;
that is what a checkpoint keeps. So the findings do not depend on how a log was cut into pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from imdswatch.read.blocks import Block
from imdswatch.read.lines import LineReader, State
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.hints import Sniffed, sniff
from imdswatch.scan.prefilter import Prefilter
from imdswatch.scan.text import Outcome, TextScan
from imdswatch.watch.judgement import Judgement, Take

BEGINNING = 1 << 16
"""How much of a log shows its layout."""
_DAY = 86400.0


class Pieces:
    """Judges the pieces of one log in order."""

    def __init__(self, name: str, judgement: Judgement, tally: Tally, header: State, lines: int) -> None:
        """Begin after so many lines, with this header in force."""
        self._name, self._judgement = name, judgement
        self.header, self.lines = header, lines
        self._once = Counted(judgement.once, tally)
        self._again = Counted(judgement.again, Tally())  # the same events once more
        self._generation = -1
        self._latest = 0.0
        self._seen = Sniffed(frozenset(), False)
        self._known = 0  # octets of the beginning that were looked at

    def wants_beginning(self, mtime: float) -> bool:
        """Say whether `begin` is to be called before the next piece; `mtime`: when the log was last written to."""
        return self._known < BEGINNING or self._generation != self._judgement.generation or self._stale(mtime)

    def _stale(self, mtime: float) -> bool:
        """Say whether the year of times without one may have changed since the reader was made."""
        return mtime > self._latest - _DAY / 2

    def begin(self, head: bytes, mtime: float) -> None:
        """Take in how the log begins: `BEGINNING` octets, fewer if there are no more yet."""
        judgement = self._judgement
        if self._generation != judgement.generation or self._stale(mtime):
            self._generation, self._latest, self._known = judgement.generation, mtime + _DAY, 0
            first, again, self._twice = judgement.searches
            self._first_reader, self._first = self._scan(first, self._once)
            self._second_reader, self._second = self._scan(again, self._again)
            self._first_reader.restore(self.header)
        if len(head) > self._known:
            self._known, options = len(head), judgement.options
            seen = sniff(head, options.schemas, options.schema)
            self._seen = seen
            self._first.know(seen)
            self._second.know(seen)

    def judge_again(
        self, blocks: Iterable[Block], header: State, lines: int, take: Take, incidents: Incidents
    ) -> None:
        """Judge pieces that were judged before by something new; they begin after so many lines, with this header."""
        reader, scan = self._scan(self._judgement.searches[1], Counted(take, Tally()))
        reader.restore(header)
        scan.know(self._seen)
        scan.outcome, scan.lines = Outcome(incidents), lines
        for block in blocks:
            scan.block(block, first=not lines and block.base == 0)

    def resume(self, header: State, lines: int) -> None:
        """Go on from another place, which a copy of the log was read to."""
        if (header, lines) != (self.header, self.lines):
            self.header, self.lines = header, lines
            if self._generation >= 0:
                self._first_reader.restore(header)

    def _scan(self, search: Prefilter, look: Counted) -> tuple[LineReader, TextScan]:
        options = self._judgement.options
        reader = options.schemas.reader(options.timezone, self._latest, options.schema)
        return reader, TextScan(self._name, search, reader, look, Outcome())

    def judge(self, block: Block, outcome: Outcome, *, first: bool, muted: bool = False) -> None:
        """Judge one piece; `first` says that the log begins with it, `muted` that what it shows is not told."""
        scan, before = self._first, self.header
        self._once.muted = muted
        scan.outcome, scan.lines = outcome, self.lines
        scan.block(block, first=first)
        if (scan.watched or self._twice) and self._judgement.victims and not muted:
            second = self._second
            self._second_reader.restore(before)
            second.outcome, second.lines = Outcome(outcome.incidents), self.lines  # damage was told already
            second.block(block, first=first)
        self._judgement.look_back(outcome.incidents)
        outcome.lines += scan.lines - self.lines
        outcome.bytes += block.length - block.repeated
        self.lines, self.header = scan.lines, self._first_reader.state


@dataclass(slots=True)
class Tally:
    """How many events the logs of one feed gave, and the newest time in them."""

    events: int = 0
    last_time: float | None = None


class Counted:
    """One way of taking events, as a look: counts them on the way; `muted` lets them pass unjudged."""

    def __init__(self, take: Take, tally: Tally) -> None:
        self._take, self._tally = take, tally
        self.muted = False

    def take(
        self, incidents: Incidents, fields: dict[str, Any], source: str, unit: str, position: int
    ) -> int:
        """Judge one event, and note its time."""
        if self.muted:
            return 0
        tally, when = self._tally, fields.get("timestamp")
        tally.events += 1
        if when is not None and (tally.last_time is None or when > tally.last_time):
            tally.last_time = when
        return self._take(incidents, fields, source, unit, position)
