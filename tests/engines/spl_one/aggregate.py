"""Statistics: the functions of stats and tstats, and grouping.

Search Reference, "stats", "Aggregate functions", "Event order functions", "Multivalue stats and chart functions",
"Time functions". Rows are given out sorted by their group, which the manual does not promise.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass

from engines.readings_one import Readings

from .errors import SplError
from .evaluate import Evaluator
from .expression import Expr, expression
from .text import bare, closing, cut
from .times import event_time
from .values import Event, Value, listed, number, packed, text


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One function over the events of a group: `field` empty for a count of events."""

    function: str
    field: str
    name: str
    condition: Expr | None = None


NAMES = {"c": "count", "distinct_count": "dc", "mean": "avg"}
AGGREGATE = re.compile(r"\s*,?\s*([a-z_]+)\b\s*", re.IGNORECASE)


def ranked(values: list[Value]) -> list[Value]:
    """Order numbers before texts, numbers by size and texts lexicographically (Aggregate functions, min)."""
    return sorted(values, key=lambda item: (number(item) is None, number(item) or 0, text(item)))


def numbers(values: list[Value]) -> list[int | float]:
    return [found for found in (number(value) for value in values) if found is not None]


def in_time(events: list[Event], field: str, *, latest: bool) -> Value:
    """Return the value of the chronologically first or last event that has the field."""
    timed = [event for event in events if field in event]
    if any(event_time(event.get("_time")) is None for event in timed):
        raise SplError("earliest() and latest() need events with _time")
    if not timed:
        return None
    moments = [event_time(event["_time"]) or 0.0 for event in timed]
    at = moments.index(max(moments) if latest else min(moments))
    values = listed(timed[at][field])
    return values[0] if values else None


def average(values: list[Value]) -> Value:
    found = numbers(values)
    return sum(found) / len(found) if found else None


FOLDS: dict[str, Callable[[list[Value]], Value]] = {
    "count": len,
    "dc": lambda values: len(set(map(text, values))),
    "values": lambda values: packed(
        sorted(set(map(text, values)))
    ),  # "The order of the values is lexicographical"
    "list": lambda values: packed([text(value) for value in values[:100]]),
    "min": lambda values: ranked(values)[0] if values else None,
    "max": lambda values: ranked(values)[-1] if values else None,
    "sum": lambda values: sum(numbers(values)) if numbers(values) else None,
    "avg": average,
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
}


def folded(one: Aggregate, events: list[Event], of: Evaluator) -> Value:
    if one.condition is not None:
        return sum(of.truth(one.condition, event) is True for event in events)
    if not one.field:
        return len(events)
    if one.function in ("earliest", "latest"):
        return in_time(events, one.field, latest=one.function == "latest")
    many = [listed(event.get(one.field)) for event in events]
    values = [value for each in many for value in each]
    if one.function in ("count", "first", "last") and any(len(each) > 1 for each in many):
        heads = [each[0] for each in many if each]
        place = f"stats: {one.function}() of a multivalue field"
        return of.readings.take(place, FOLDS[one.function](values), FOLDS[one.function](heads))
    return FOLDS[one.function](values)


def read(source: str, *, tstats: bool = False) -> tuple[list[Aggregate], str]:
    """Read `function[(field)] [AS name]…` and return what follows (BY, FROM, WHERE)."""
    out: list[Aggregate] = []
    rest = source
    while rest.strip() and not re.match(r"\s*,?\s*(by|from|where|groupby)\b", rest, re.IGNORECASE):
        head = AGGREGATE.match(rest)
        function = NAMES.get(head[1].lower(), head[1].lower()) if head else ""
        if not head or (function not in FOLDS and function not in ("earliest", "latest")):
            raise SplError(
                f"unknown statistical function {(head[1] if head else rest.strip()[:20])!r}", source
            )
        written, rest = head[1], rest[head.end() :]
        field, condition, inner = "", None, ""
        if rest.startswith("("):
            end = closing(rest, 0)
            inner, rest = rest[1 : end - 1].strip(), rest[end:]
            tested = re.fullmatch(r"eval\((.*)\)", inner, re.DOTALL)
            if tested and (tstats or function != "count"):
                raise SplError(f"an eval expression within {function}() is not known to this evaluator")
            condition = expression(tested[1]) if tested else None
            field = "" if tested else bare(inner)
        if function != "count" and not field:
            raise SplError(f"{function}() needs a field")
        if "*" in field:
            raise SplError("wildcards in statistical functions are not known to this evaluator")
        name = f"{written}({inner})" if inner else "count"
        renamed = re.match(r"\s*as\s+(\"[^\"]+\"|[^\s,]+)", rest, re.IGNORECASE)
        if renamed:
            name, rest = bare(renamed[1]), rest[renamed.end() :]
        out.append(Aggregate(function, field, name, condition))
    if not out:
        raise SplError("a statistical function is missing", source)
    return out, rest.strip().lstrip(",").strip()


def group_fields(source: str) -> list[str]:
    return [bare(word) for part in cut(source, ",") for word in re.findall(r'"[^"]+"|\S+', part)]


def statistics(
    aggregates: list[Aggregate], by: list[str], events: list[Event], of: Evaluator, readings: Readings
) -> list[Event]:
    """Return one row for each group.

    An event without one of the BY fields is in no group, one with several values of a BY field is in a group for
    each ("stats", BY clause: "multivalue fields … each value"). Without BY there is one row, even over no events.
    """
    groups: dict[tuple[str, ...], list[Event]] = {} if by else {(): list(events)}
    for event in events if by else ():
        for key in itertools.product(*(map(text, listed(event.get(field))) for field in by)):
            groups.setdefault(key, []).append(event)
    rows = []
    for key in sorted(
        groups, key=lambda key: [(number(part) is None, number(part) or 0, part) for part in key]
    ):
        row: Event = dict(zip(by, key, strict=True))
        for one in aggregates:
            value = folded(one, groups[key], of)
            if value is not None:
                row[one.name] = value
        rows.append(row)
    return rows
