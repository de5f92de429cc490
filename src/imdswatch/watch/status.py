"""How a watch goes: what each feed has seen, how many findings are held, and what is wrong. Frozen; JSON and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
