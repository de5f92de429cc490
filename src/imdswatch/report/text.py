"""The report for a person: how far it got, to whom, what to do next, and what could not be looked at.

Everything is written at `close`, worst first. Memory is bounded whatever the input: `DETAILED` findings are
kept, `HOSTS` victims and `ACCOUNTS` accounts told apart, `PLACES` skipped places named; the rest is
counted, and the report says so.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TextIO

from imdswatch.finding import CONFIDENCE_RANK, SEVERITY_RANK, STAGE_RANK, Finding, Skipped, Summary

DETAILED = 1000
HOSTS = 1 << 16
ACCOUNTS = 64
PLACES = 20
WIDTH = 120
"""Columns where the width is unknown, as in a pipe."""

Rank = tuple[int, int, int, int, float, int]


class Worst:
    """Keeps the `DETAILED` worst findings of any number; equal ones in the order in which they came."""

    def __init__(self) -> None:
        """Begin empty."""
        self._heap: list[tuple[Rank, Finding]] = []
        self.total = 0

    def add(self, finding: Finding) -> None:
        """Take a finding, and let go of the mildest where there is no room."""
        self.total += 1
        entry = (_rank(finding, self.total), finding)  # the number makes ranks unique: findings never compare
        if len(self._heap) < DETAILED:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    @property
    def more(self) -> int:
        """How many findings were let go."""
        return self.total - len(self._heap)

    def listed(self) -> list[Finding]:
        """Return the kept findings, worst first."""
        return [finding for _, finding in sorted(self._heap, key=lambda entry: entry[0], reverse=True)]


def _rank(finding: Finding, number: int) -> Rank:
    first = finding.first_seen
    return (
        STAGE_RANK.get(finding.stage, -1),
        SEVERITY_RANK.get(finding.severity, -1),
        CONFIDENCE_RANK.get(finding.confidence, -1),
        finding.count,
        -first if first is not None and math.isfinite(first) else -math.inf,
        -number,
    )


@dataclass(slots=True)
class Digest:
    """What the report needs to know of all results; filled by `Sink`, read by `headline` and `page`."""

    worst: Worst = field(default_factory=Worst)
    hidden: Worst = field(default_factory=Worst)
    """Suppressed findings; kept only if they are shown."""
    hosts: dict[str, int] = field(default_factory=dict)
    """Victim and the rank of its highest stage."""
    more_hosts: bool = False
    nameless: Counter[int] = field(default_factory=Counter)
    """Findings without a known victim, by rank of stage."""
    confidence: dict[int, int] = field(default_factory=dict)
    """Rank of stage and the best confidence there."""
    severity: dict[int, int] = field(default_factory=dict)
    """Rank of stage and the highest severity there."""
    accounts: dict[str, object] = field(default_factory=dict)
    """Account of served credentials; is it expected: True, False, None if the site does not say."""
    more_accounts: bool = False
    suppressed: Counter[str] = field(default_factory=Counter)
    places: list[Skipped] = field(default_factory=list)
    skipped: int = 0


class Sink:
    """Collects a bounded digest, and writes one page at `close`."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing before `close`."""
        self._handle, self._color, self._show_suppressed = handle, color, show_suppressed
        self._width = width or WIDTH
        self._digest = Digest()

    def finding(self, finding: Finding) -> None:
        """Take a finding; a suppressed one is counted by its entry, and kept only if they are shown."""
        digest = self._digest
        if finding.suppressed_by is not None:
            digest.suppressed[finding.suppressed_by] += 1
            if self._show_suppressed:
                digest.hidden.add(finding)
            return
        digest.worst.add(finding)
        rank = STAGE_RANK.get(finding.stage, 0)
        digest.confidence[rank] = max(
            digest.confidence.get(rank, 0), CONFIDENCE_RANK.get(finding.confidence, 0)
        )
        digest.severity[rank] = max(digest.severity.get(rank, 0), SEVERITY_RANK.get(finding.severity, 0))
        victim = finding.victim
        name = victim.get("ip") or victim.get("mac") or victim.get("host")
        if not name:
            digest.nameless[rank] += 1
        elif str(name) in digest.hosts or len(digest.hosts) < HOSTS:
            digest.hosts[str(name)] = max(rank, digest.hosts.get(str(name), 0))
        else:
            digest.more_hosts = True
        account = finding.account.get("id")
        if account:
            if str(account) in digest.accounts or len(digest.accounts) < ACCOUNTS:
                digest.accounts.setdefault(str(account), finding.account.get("expected"))
            else:
                digest.more_accounts = True

    def skipped(self, skipped: Skipped) -> None:
        """Take what could not be looked at; the first `PLACES` are named, all are counted."""
        self._digest.skipped += 1
        if len(self._digest.places) < PLACES:
            self._digest.places.append(skipped)

    def close(self, summary: Summary) -> None:
        """Write the report; characters that the handle cannot encode are spelled out rather than lost."""
        from imdswatch.report import page  # late: rich takes longer to import than all the rest

        text = page.render(self._digest, summary, color=self._color, width=self._width)
        encoding = getattr(self._handle, "encoding", None) or "utf-8"
        self._handle.write(text.encode(encoding, "backslashreplace").decode(encoding))
