"""The places a vendor's manual leaves open, and whether a query's answer hangs on one of them.

An evaluator written from documentation meets questions the documentation does not settle. It puts each to
`Readings.take`, most plausible reading first. `settle` runs a query on the first readings; when strict it runs it
again with every other reading of every place that was met (alone and in pairs) and raises `Undocumented` if the
answer changes. So a query passes strictly when it means the same under all the readings considered.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


class Undocumented(Exception):
    """The answer depends on something the vendor's manual does not say; `places` names it."""

    def __init__(self, places: list[str]) -> None:
        super().__init__("the documentation does not settle this query: " + "; ".join(places))
        self.places = places


@dataclass(slots=True)
class Readings:
    """One choice for each open place; places not chosen take their first reading."""

    chosen: dict[str, int] = field(default_factory=dict)
    met: dict[str, int] = field(default_factory=dict)

    def take(self, place: str, *readings: T) -> T:
        """Return the reading in force; a place where all readings agree is no question and is not noted."""
        if all(same(reading, readings[0]) for reading in readings[1:]):
            return readings[0]
        self.met[place] = max(self.met.get(place, 0), len(readings))
        return readings[min(self.chosen.get(place, 0), len(readings) - 1)]


def same(left: object, right: object) -> bool:
    """Tell equal values of equal type apart from equal values of different type (0, False and "0")."""
    return type(left) is type(right) and left == right


def others(met: dict[str, int]) -> Iterator[dict[str, int]]:
    """Every way to choose differently at one place, then at two."""
    flips = [(place, reading) for place, count in sorted(met.items()) for reading in range(1, count)]
    yield from ({place: reading} for place, reading in flips)
    for first, second in itertools.combinations(flips, 2):
        if first[0] != second[0]:
            yield dict([first, second])


def settle(evaluate: Callable[[Readings], Any], *, strict: bool) -> Any:
    """Return what `evaluate` answers on the first readings; raise `Undocumented` if strict and others differ."""
    first = Readings()
    answer = evaluate(first)
    if not strict:
        return answer
    tried: list[dict[str, int]] = []
    met = dict(first.met)
    while True:
        pending = [choice for choice in others(met) if choice not in tried]
        if not pending:
            return answer
        for choice in pending:
            tried.append(choice)
            again = Readings(choice)
            if evaluate(again) != answer:
                raise Undocumented(sorted(choice))
            met.update(again.met)
