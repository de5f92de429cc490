"""The places that IBM's guide leaves open, each with the reading that this evaluator takes first and another one.

A strict run evaluates a query once more with each other reading, and raises if a single row differs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Readings:
    """One choice for each place that the guide leaves open."""

    not_null: str = "null"
    unequal_null: str = "null"
    matches: str = "full"
    ungrouped: str = "first"
    names: str = "column"
    addresses: str = "value"


OPEN: dict[str, tuple[str, str]] = {
    "not_null": (
        "true",
        "whether NOT of a condition on NULL is NULL (row dropped) or true. Write x IS NULL OR NOT (...)",
    ),
    "unequal_null": (
        "true",
        "whether NULL != 'x' is NULL (row dropped) or true. Write x IS NULL OR x != 'x'",
    ),
    "matches": (
        "find",
        "whether MATCHES asks for the whole value or finds a part. Write '.*...' with .* at both ends",
    ),
    "ungrouped": (
        "last",
        "which row of a group gives a selected column that is not in GROUP BY. Use FIRST or MIN",
    ),
    "names": (
        "alias",
        "whether a name that is a column and an alias is the column. Give the alias another name",
    ),
    "addresses": (
        "text",
        "whether an address compares by value or as it is written. Write it in its short form, or INCIDR",
    ),
}
