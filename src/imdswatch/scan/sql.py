"""Asks become SQL: one condition, in the words of DuckDB or of Spark.

Both writers are one class with a table of words, so that the engines are asked the same. Everything that is quoted here
comes from rules, schemas and the names of columns; names are quoted as names, texts as texts. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from imdswatch.scan.asks import (
    AllOf,
    Always,
    Among,
    AnyOf,
    Ask,
    Between,
    Fails,
    Found,
    Has,
    Holds,
    Lacks,
    Never,
    Odd,
    Relative,
)
from imdswatch.scan.columns import MANY, Column

_LARGEST = 2**63 - 1
_SEVERAL = 4  # texts in one column that cost more one by one than as one expression (but for dictionaries)


@dataclass(frozen=True, slots=True)
class Dialect:
    """The words of one engine; `{0}` is the expression of a value, `{1}` a literal or a length."""

    name: str
    text: str
    many: str
    lower: str
    contains: str
    some: str
    long: str
    regex: str
    relative: str
    moment: str
    local: str

    def name_of(self, column: str) -> str:
        """Return a name, quoted."""
        if self.name == "spark":
            return "`" + column.replace("`", "``") + "`"
        return '"' + column.replace('"', '""') + '"'

    def literal(self, text: str) -> str:
        """Return a text, quoted."""
        if self.name == "spark":  # backslashes escape there
            return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
        return "'" + text.replace("'", "''") + "'"

    def value(self, column: Column) -> str:
        """Return the expression of a column's value."""
        first, *inner = column.path
        out = self.name_of(first)
        for key in inner:
            out = (
                f"struct_extract({out}, {self.literal(key)})"
                if self.name == "duckdb"
                else f"{out}.{self.name_of(key)}"
            )
        return out

    def texts(self, column: Column) -> str:
        """Return the expression of a column's value as text."""
        if column.kind == "text":
            return self.value(column)
        return (self.many if column.kind in MANY or column.kind == "other" else self.text).format(
            self.value(column)
        )


DUCKDB = Dialect(
    "duckdb",
    text="CAST({0} AS VARCHAR)",
    many="CAST({0} AS VARCHAR)",
    lower="lower({0})",
    contains="contains({0}, {1})",
    some="len(list_filter({0}, lambda t: contains(lower(t), {1}))) > 0",
    long="len(list_filter({0}, lambda t: strlen(t) >= {1})) > 0",
    regex="regexp_matches({0}, {1}, 'i')",
    relative="NOT starts_with({0}, '/')",
    moment="to_timestamp({0})",
    local="make_timestamp({0})",
)
SPARK = Dialect(
    "spark",
    text="CAST({0} AS STRING)",
    many="to_json({0})",
    lower="lower({0})",
    contains="contains({0}, {1})",
    some="exists({0}, t -> contains(lower(t), {1}))",
    long="exists({0}, t -> length(t) >= {1})",
    regex="rlike({0}, {1})",
    relative="NOT startswith({0}, '/')",
    moment="timestamp_micros({0})",
    local="timestamp_micros({0})",
)


def condition(ask: Ask, dialect: Dialect) -> str:
    """Return the SQL of an ask: an expression that is true or, where it does not hold, false or null."""
    match ask:
        case Always():
            return "true"
        case Never():
            return "false"
        case AnyOf(nodes):
            return _joined(" OR ", _together(nodes), dialect)
        case AllOf((Relative() | Odd() as letter, *rest)):
            return _first(condition(letter, dialect), _joined(" AND ", rest, dialect))
        case AllOf(nodes):
            return _joined(" AND ", nodes, dialect)
        case Fails(node):
            return f"NOT ({condition(node, dialect)})"
        case Has(column):
            return f"{dialect.value(column)} IS NOT NULL"
        case Lacks(column):
            return f"{dialect.value(column)} IS NULL"
        case Holds(column, text) if column.kind == "texts":
            # The length first: it leaves out nearly all names of headers, before they are written in lower case.
            value = dialect.value(column)
            return _first(
                dialect.long.format(value, len(text)), dialect.some.format(value, dialect.literal(text))
            )
        case Holds(column, text):
            value = dialect.texts(column)
            if text.lower() != text.upper():
                value = dialect.lower.format(value)
            return dialect.contains.format(value, dialect.literal(text))
        case Found(column, pattern, needs):
            flag = "" if dialect.name == "duckdb" else "(?i)"
            found = dialect.regex.format(dialect.texts(column), dialect.literal(flag + pattern))
            return _first(condition(Holds(column, needs), dialect), found) if needs else found
        case Relative(column):
            return dialect.relative.format(dialect.texts(column))
        case Odd(column):
            value = dialect.texts(column)
            return f"({value} < 'A' OR {value} >= '{{' OR ({value} >= '[' AND {value} < 'a'))"
        case Among(column, values):
            quoted = ", ".join(map(dialect.literal, values))
            return f"coalesce({dialect.texts(column)} IN ({quoted}), false)"
        case Between():
            return _between(ask, dialect)
    raise AssertionError(ask)


def _first(quick: str, then: str) -> str:
    """Ask a second thing only where a first holds: what AND joins, DuckDB asks in any order, to find a good one."""
    return f"CASE WHEN {quick} THEN {then} ELSE false END"


def _together(nodes: Iterable[Ask]) -> list[Ask]:
    """Ask for several texts or expressions in one column by one search."""
    out: list[Ask] = []
    texts: dict[Column, list[str]] = {}
    patterns: dict[tuple[Column, str], list[str]] = {}
    first: dict[Relative | Odd, list[Ask]] = {}
    for node in nodes:
        match node:
            case Holds(column, text):
                texts.setdefault(column, []).append(text)
            case Found(column, pattern, needs):
                patterns.setdefault((column, needs), []).append(pattern)
            case AllOf((Relative() | Odd() as letter, rest)):
                first.setdefault(letter, []).append(rest)
            case _:
                out.append(node)
    out += [AllOf((letter, AnyOf(tuple(some)))) for letter, some in first.items()]
    for column, some in texts.items():
        if len(some) < _SEVERAL:
            out = [Holds(column, text) for text in some] + out
        else:
            out.append(Found(column, "|".join(map(re.escape, some))))
    return out + [Found(column, "|".join(some), needs) for (column, needs), some in patterns.items()]


def _joined(word: str, nodes: Iterable[Ask], dialect: Dialect) -> str:
    return "(" + word.join(condition(node, dialect) for node in nodes) + ")"


def _between(ask: Between, dialect: Dialect) -> str:
    value, kind = dialect.value(ask.column), ask.column.kind
    bounds = []
    for word, bound in ((">=", ask.low), ("<=", ask.high)):
        if bound is None:
            continue
        if kind == "integer":
            whole = math.floor(bound) if word == ">=" else math.ceil(bound)
            if abs(whole) > _LARGEST:
                if (whole > 0) == (word == ">="):
                    return "false"  # no whole number of a table is so large
                continue
            bounds.append(f"{value} {word} {whole}")
        elif kind in ("time", "local time"):
            bounds.append(f"{value} {word} {_moment(bound, kind == 'time', dialect)}")
        else:
            bounds.append(f"{value} {word} {bound!r}")
    return "(" + " AND ".join(bounds or [f"{value} IS NOT NULL"]) + ")"


def _moment(seconds: float, zoned: bool, dialect: Dialect) -> str:
    if dialect.name == "spark":
        return (dialect.moment if zoned else dialect.local).format(round(seconds * 1e6))
    moment = datetime.fromtimestamp(seconds, UTC)
    text = moment.strftime("%Y-%m-%d %H:%M:%S.%f")
    return f"TIMESTAMPTZ '{text}+00'" if zoned else f"TIMESTAMP '{text}'"
