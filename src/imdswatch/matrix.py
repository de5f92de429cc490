"""What an audit answers: cells of the matrix tool × who runs it, checks beside it, and a summary.

`host/` makes them, `report/` prints them. Texts may come from files of the host: every sink escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imdswatch.finding import Evidence

PROTECTED, ASKS_ONLY_WHEN, ASKS, UNKNOWN = "protected", "asks-only-when", "asks", "unknown"
STATES = (ASKS, UNKNOWN, ASKS_ONLY_WHEN, PROTECTED)
"""What a cell can say, the worst first. `asks` is now; `asks-only-when` not now, but when what `when` says is so."""


@dataclass(frozen=True, slots=True)
class Change:
    """What closes a cell, and in which file below the root ("" where no single file holds it)."""

    slug: str
    """A key of `data/host/changes.yml`."""
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One client in one place where it runs."""

    tool: str
    version: str
    family: str
    """The title of what decides for it, such as an SDK."""
    context: str
    """How it is started: `session`, `unit NAME`, `cron FILE`, `container NAME`, `process PID NAME`, …"""
    user: str
    state: str
    why: str
    when: str = ""
    evidence: tuple[Evidence, ...] = ()
    change: Change | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is wrong with the host itself; `level` is error, warning or note."""

    slug: str
    title: str
    level: str
    why: str
    evidence: tuple[Evidence, ...] = ()
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """Which host the rest is about; `machine` is what it says it is: `ec2`, `not-ec2`, or `unknown`."""

    host: str
    root: str
    system: str
    machine: str
    machine_says: str = ""


@dataclass(frozen=True, slots=True)
class Audited:
    """The end of an audit: how many cells of each state, how many checks, and what could not be looked at."""

    states: Mapping[str, int] = field(default_factory=dict)
    checks: int = 0
    skipped: int = 0
    tools: int = 0
    seconds: float = 0.0
