"""A bounded digest of any number of findings: the worst of them, who asked, whose accounts, what was hidden.

The reports for people are made of it. Memory is bounded whatever the input: `DETAILED` findings are kept, `HOSTS`
victims and `ACCOUNTS` accounts told apart, `PLACES` skipped places named; the rest is counted.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field

from imdswatch.finding import CONFIDENCE_RANK, SEVERITY_RANK, STAGE_RANK, Finding, Skipped

DETAILED = 1000
HOSTS = 1 << 16
ACCOUNTS = 64
PLACES = 20

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
        entry = (rank(finding, self.total), finding)  # the number makes ranks unique: findings never compare
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


def rank(finding: Finding, number: int) -> Rank:
    """Return how bad a finding is; `number`, in which order it came, makes ranks unique."""
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
    """What the report needs to know of all results; read by `headline`, `page` and `html`."""

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

    def finding(self, finding: Finding, *, keep_suppressed: bool) -> None:
        """Take a finding; a suppressed one is counted by its entry, and kept only if wanted."""
        if finding.suppressed_by is not None:
            self.suppressed[finding.suppressed_by] += 1
            if keep_suppressed:
                self.hidden.add(finding)
            return
        self.worst.add(finding)
        rank = STAGE_RANK.get(finding.stage, 0)
        self.confidence[rank] = max(self.confidence.get(rank, 0), CONFIDENCE_RANK.get(finding.confidence, 0))
        self.severity[rank] = max(self.severity.get(rank, 0), SEVERITY_RANK.get(finding.severity, 0))
        victim = finding.victim
        name = victim.get("ip") or victim.get("mac") or victim.get("host")
        if not name:
            self.nameless[rank] += 1
        elif str(name) in self.hosts or len(self.hosts) < HOSTS:
            self.hosts[str(name)] = max(rank, self.hosts.get(str(name), 0))
        else:
            self.more_hosts = True
        account = finding.account.get("id")
        if account:
            if str(account) in self.accounts or len(self.accounts) < ACCOUNTS:
                self.accounts.setdefault(str(account), finding.account.get("expected"))
            else:
                self.more_accounts = True

    def skip(self, skipped: Skipped) -> None:
        """Take what could not be looked at; the first `PLACES` are named, all are counted."""
        self.skipped += 1
        if len(self.places) < PLACES:
            self.places.append(skipped)
