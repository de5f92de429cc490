"""What a running query has at hand, and the readings of places where the manuals leave a choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .values import Event


@dataclass(frozen=True, slots=True)
class Readings:
    """One choice for each place that the manuals leave open; the first of `OPEN` is the default.

    A strict run evaluates the query once more for each other choice and raises if a single row differs.
    """

    tstats_where: str = "search"
    not_null: str = "null"
    several_values: str = "any"
    unequal: str = "no value"
    empty_subsearch: str = "no restriction"


OPEN: dict[str, tuple[tuple[str, str], str]] = {
    "tstats_where": (
        ("search", "where"),
        "whether OR binds before AND in the WHERE of tstats: `Boolean expressions with logical operators` tells "
        "it for search, eval and where; `tstats` says only <search-query>. Write parentheses",
    ),
    "not_null": (
        ("null", "true"),
        "whether NOT of a comparison with a missing field is null (row dropped) or true in eval and where. "
        "Write isnull(field) OR NOT ...",
    ),
    "several_values": (
        ("any", "null"),
        "how =, <, like, match, cidrmatch and in treat a field with several values in eval and where. "
        "Use mvfilter, mvfind or mvmap",
    ),
    "unequal": (
        ("no value", "some value"),
        "whether field!=value in a search asks that no value, or that some value, of a multivalue field differs. "
        "Use NOT field=value",
    ),
    "empty_subsearch": (
        ("no restriction", "nothing"),
        "what NOT ( ) selects, which `format` writes when a subsearch returns nothing",
    ),
}


@dataclass(frozen=True, slots=True)
class Context:
    """Everything besides the rows: the text, the caller's macros, lookups and data models, and the clock."""

    text: str
    events: Sequence[Event]
    lookups: Mapping[str, Any]
    models: Mapping[str, Any]
    now: float
    readings: Readings
    # Runs a piece of the text as a query of its own; commands with subsearches need it.
    run: Callable[[Context, int, int], list[Event]]
