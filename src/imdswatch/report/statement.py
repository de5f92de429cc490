"""What an audit says of its host, as it stands in a findings file: the noun between reading files and showing them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Statement:
    """One line of an audit; `kind` is cell, check or summary, `values` are those of the line."""

    kind: str
    host: str
    values: Mapping[str, Any]


def states_of(said: Sequence[Statement]) -> Counter[str]:
    """Return how many cells of one audit are in each state: those that are there, or as its summary counts them.

    A report keeps a bounded number of cells, and always the summary: the larger number counts.
    """
    cells = Counter(str(one.values.get("state")) for one in said if one.kind == "cell")
    for one in said:
        told = one.values.get("states") if one.kind == "summary" else None
        if isinstance(told, Mapping):
            cells |= Counter(
                {str(state): count for state, count in told.items() if type(count) is int and count > 0}
            )
    return cells
