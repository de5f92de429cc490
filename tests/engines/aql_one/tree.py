"""The parts of an AQL statement as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a single-quoted text, or NULL."""

    value: str | int | float | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column, a custom property or an alias; `quoted` if it stands in double quotation marks."""

    name: str
    quoted: bool
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function (upper case) or an operator (its sign or keyword) with arguments; `*` alone counts rows."""

    name: str
    args: tuple[Expr, ...]
    position: int = 0


@dataclass(frozen=True, slots=True)
class Star:
    """`*`, all columns, or what COUNT(*) counts."""


Expr = Literal | Column | Call | Star


@dataclass(frozen=True, slots=True)
class Item:
    """One selected column with the name it is given out under."""

    expr: Expr
    name: str
    aliased: bool


@dataclass(frozen=True, slots=True)
class Window:
    """The time clause: LAST seconds, or START and STOP as expressions, or neither."""

    last: int | None = None
    start: Expr | None = None
    stop: Expr | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """A whole SELECT statement."""

    items: tuple[Item, ...]
    table: str
    where: Expr | None
    group: tuple[Expr, ...]
    having: Expr | None
    order: tuple[tuple[Expr, bool], ...]
    limit: int | None
    window: Window
