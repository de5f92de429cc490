"""An interface as a feed: packets become events as in a scan of a capture, but at once and without end.

With the kernel's filter (`read.sieve`) only what concerns the endpoint comes up; with `everything` all packets come.
Both are searched as those of a capture are (`scan.following`), and open dialogues told early (`read.prompt`).
Evidence names packets by their number since the interface was opened.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from imdswatch.address import ENDPOINTS
from imdswatch.event import complete
from imdswatch.finding import Skipped
from imdswatch.read.bpf import Instruction
from imdswatch.read.live import Live, span
from imdswatch.read.observed import Observed
from imdswatch.read.prompt import Prompt
from imdswatch.read.recent import Recent
from imdswatch.read.ring import BLOCK, SMALL_BLOCK, Captured
from imdswatch.read.sieve import Pair, sieve
from imdswatch.read.sieve import everything as all_packets
from imdswatch.scan.captures import CaptureSearch
from imdswatch.scan.following import SETTLED, Following
from imdswatch.scan.text import Outcome
from imdswatch.watch.feed import Counts
from imdswatch.watch.judgement import Judgement
from imdswatch.watch.processes import ProcessFeed
from imdswatch.wire.frame import Frame

RING = 64 << 20
"""Octets of the ring of an interface: a tenth of a second at 5 Gbit/s."""
_SHORT = 0.01
_READS = 4  # of the ring at one turn, so that other feeds have theirs
_MOST_FILTERED, _MOST_SEARCHED = 64, 256
"""Hosts with served credentials whose use of them is looked for, by the kernel's filter and by the search."""
_MOST_PAIRS = 32
_FEW = 64
"""Packets that passed the kernel's filter which are read at once: searching among so few costs more."""
_UNTOLD = 1.0
"""Seconds within which what a packet shows is told (`read.prompt`), its block's way through the ring included."""
_ADAPT = 0.5
"""Seconds between two changes of the search: one costs as much as reading some ten thousand packets."""
_PAIR = 0.02
"""Seconds between two changes of the filter alone, which cost half a millisecond."""


class LiveFeed:
    """One interface; raises UsageError where it cannot be watched."""

    def __init__(
        self,
        judgement: Judgement,
        interface: str,
        *,
        everything: bool = False,
        processes: ProcessFeed | None = None,
        octets: int = RING,
    ) -> None:
        self._judgement, self._everything, self._processes = judgement, everything, processes
        self._hosts: tuple[str, ...] = ()
        self._pairs: Recent[Pair, bool] = Recent(_MOST_PAIRS)
        self._met = False
        self._generation, self._adapted, self._asked, self._paired = judgement.generation, 0.0, 0.0, 0.0
        self._prompt = Prompt()
        search = CaptureSearch(judgement.conditions, judgement.later).search
        self._following = None if search is None else Following(search)
        self._live = Live(interface, self._filter, octets, BLOCK if everything else SMALL_BLOCK)
        self.name = self._live.name
        self._observed: list[Observed] = []
        self._skipped: list[Skipped] = []
        self._records = self._bytes = self._events = 0
        self._last: float | None = None
        self._until: float | None = None

    def _filter(self, linktype: int) -> tuple[Instruction, ...]:
        return (
            all_packets()
            if self._everything
            else sieve(linktype, self._hosts[:_MOST_FILTERED], self._pairs.keys())
        )

    def _adapt(self, outcome: Outcome, now: float) -> None:
        """Search for what is wanted now: rules have changed, who was served credentials, or which pair has met."""
        judgement = self._judgement
        if self._met and now >= self._paired + _PAIR:
            self._paired, self._met = now, False
            self._live.filter(self._filter)
        if len(self._hosts) == _MOST_SEARCHED and now < self._asked + _ADAPT:
            return  # to list so many takes its time, too
        self._asked = now
        hosts = tuple(sorted(judgement.victims)[:_MOST_SEARCHED])
        same = hosts == self._hosts and judgement.generation == self._generation
        if same or now < self._adapted + _ADAPT:
            return
        self._adapted, self._hosts, self._generation = now, hosts, judgement.generation
        self._live.filter(self._filter)
        search = CaptureSearch(judgement.conditions, judgement.later, hosts or None).search
        if search is None:
            self._following = None
        elif self._following is None:
            self._following = Following(search)
        else:
            for frame in self._following.search_for(search):
                self._take(outcome, self._prompt.push(frame, now))

    def fileno(self) -> int | None:
        """Return what select() waits on, None while the interface is gone."""
        return self._live.fileno()

    def read(self, outcome: Outcome) -> None:
        """Judge the packets that are there, and what waited long enough."""
        for _ in range(_READS):
            before = time.time()
            packets = self._live.read()
            if packets is None:
                self._until = before - _UNTOLD
                break
            self._records += len(packets)
            outcome.lines += len(packets)
            now = time.monotonic()
            for frame in self._chosen(packets, now):
                self._take(outcome, self._prompt.push(frame, now))
            last = packets.when(len(packets) - 1)
            self._last, self._until = last, None if last is None else last - _UNTOLD
        observed, self._observed = self._observed, []
        self._take(outcome, observed)
        self._adapt(outcome, time.monotonic())
        skipped, self._skipped = self._skipped, []
        for one in skipped:
            outcome.skip(one)

    def _chosen(self, packets: Captured, now: float) -> Iterator[Frame]:
        size = sum(packets.ends) - sum(packets.starts)
        self._bytes += size
        if self._following is None:
            return map(packets.frame, range(len(packets)))
        if not self._everything and len(packets) <= _FEW:
            return self._following.pass_on(packets)
        return self._following.take(packets, now)

    def _take(self, outcome: Outcome, observed: Iterable[Observed]) -> None:
        for one in observed:
            self._events += 1
            self._meet(one)
            if self._processes is not None:
                _name_process(self._processes, one.fields)
            self._judgement.take(outcome.incidents, complete(one.fields), self.name, "packet", one.number)

    def _meet(self, one: Observed) -> None:
        """Let the filter pass what two hosts say of which one asked the other for metadata."""
        client, server = one.fields.get("src_ip"), one.fields.get("dst_ip")
        if "method" not in one.fields or "step" not in one.fields or server in ENDPOINTS:
            return
        if client is not None and server is not None and self._pairs.get((client, server)) is None:
            self._pairs.put((client, server), True)
            self._met = not self._everything

    def tick(self, now: float) -> None:
        """Let time pass for dialogues and the interface."""
        if self._following is not None:
            for frame in self._following.settle(now):
                self._observed += self._prompt.push(frame, now)
        self._observed += self._prompt.tick(now)
        self._skipped += self._live.check(now)

    def resume(self, since: float) -> None:
        """Say that nobody looked since then: a watch ended, or was killed."""
        self._skipped.append(Skipped(self.name, span(since, time.time()), "no sensor was running"))

    def due(self) -> float | None:
        """Return when dialogues or the search are to be looked after again."""
        waits = self._prompt.waits or (self._following is not None and self._following.waits)
        return _SHORT if waits or self._observed or self._skipped else None

    def finish(self, outcome: Outcome) -> None:
        """Judge what only the end shows: nothing more is read."""
        if self._following is not None:
            now = time.monotonic() + SETTLED
            for frame in self._following.settle(now):
                self._take(outcome, self._prompt.push(frame, now))
        self._take(outcome, self._prompt.end())
        for one in self._live.close():
            outcome.skip(one)

    def counts(self) -> Counts:
        """Return what was seen so far."""
        until = None if self._until is None else min(self._until, self._live.whole)
        return Counts(self._records, self._bytes, self._live.drops, self._events, self._last, until=until)

    def close(self) -> None:
        """Give the interface back."""
        self._live.close()


def _name_process(processes: ProcessFeed, fields: dict[str, Any]) -> None:
    """Say in an event which process of this machine asked, if one did."""
    get = fields.get
    source, sport, target, dport = get("src_ip"), get("src_port"), get("dst_ip"), get("dst_port")
    if get("proto") != "tcp" or source is None or sport is None or target is None or dport is None:
        return
    found = processes.of(source, sport, target, dport)
    if found is not None:
        fields |= {"process": found.name, "process_origin": found.origin}
