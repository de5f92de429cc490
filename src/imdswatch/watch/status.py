"""How a watch goes: what each feed has seen, how many findings are held, and what is wrong. Frozen; JSON and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from imdswatch.watch.feed import Counts


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """One feed and what it has seen."""

    name: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Status:
    """One watch at one moment; times are epoch seconds, `findings` counts by stage, `trouble` says what is wrong."""

    pid: int
    began: float
    at: float
    feeds: tuple[FeedStatus, ...]
    findings: Mapping[str, int]
    skipped: int
    reloads: int = 0
    trouble: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return it as JSON in ASCII."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Status:
        """Return the status that `to_json` told; raises ValueError for anything else."""
        try:
            feeds = tuple(FeedStatus(one["name"], Counts(**one["counts"])) for one in values["feeds"])
            trouble = tuple(values["trouble"])
            return cls(**{**values, "feeds": feeds, "trouble": trouble})
        except (KeyError, TypeError) as error:
            raise ValueError(f"no status: {error}") from error


def show(status: Status | None, stages: Mapping[str, int], *, running: bool, now: float) -> str:
    """Return the status for a person; texts of feeds are as they are, for the caller to make visible."""
    lines = ["a watch is running" if running else "no watch is running"]
    if status is not None:
        if running:
            lines[0] += f", process {status.pid}, since {_moment(status.began)}"
        ago = max(0, round(now - status.at))
        lines.append(f"last status: {_moment(status.at)}" + (f", {ago} s ago" if running else ""))
        for feed in status.feeds:
            counts = feed.counts
            last = "none yet" if counts.last_time is None else _moment(counts.last_time)
            lines += [
                f"{feed.name}",
                f"    {counts.records} records, {counts.bytes} bytes, {counts.events} events; last event {last}",
                f"    {counts.lag} bytes behind, {counts.drops} lost",
            ]
    lines.append("findings: " + ", ".join(f"{count} {name}" for name, count in stages.items()))
    if status is not None:
        lines.append(f"not looked at: {status.skipped}")
        lines += [f"trouble: {one}" for one in status.trouble]
    return "\n".join(lines)


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "at no possible time"
