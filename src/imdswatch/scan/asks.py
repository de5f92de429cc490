"""What is asked of the columns of a table: a small language that DuckDB and Spark both understand.

The nodes are frozen values, every one of them is true or false and never null (a missing value makes it false). They
are made by `imdswatch.scan.tableplan` and written as SQL by `imdswatch.scan.sql`; `any_of` and `all_of` simplify,
`guard` finds what is worth asking first. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from imdswatch.scan.columns import Column


@dataclass(frozen=True, slots=True)
class Always:
    """True for every row."""


@dataclass(frozen=True, slots=True)
class Never:
    """True for no row."""


@dataclass(frozen=True, slots=True)
class Has:
    """The column has a value."""

    column: Column


@dataclass(frozen=True, slots=True)
class Lacks:
    """The column has no value."""

    column: Column


@dataclass(frozen=True, slots=True)
class Holds:
    """The text of the column, or one of its texts, contains this text, without the case of ASCII letters."""

    column: Column
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """A regular expression is found in the text of the column, without case. Only what every engine writes alike.

    `needs` is a text without letters that stands wherever it is found: quick to ask first. `weight` is how many
    characters of it are fixed, the measure of how rarely it is found. `plain` is the text that it spells in every way,
    percent-encoded or not.
    """

    column: Column
    pattern: str
    needs: str = ""
    weight: int = 4
    plain: str = ""


@dataclass(frozen=True, slots=True)
class Relative:
    """The column has a value that does not begin with a slash."""

    column: Column


@dataclass(frozen=True, slots=True)
class Odd:
    """The column has a text that begins with no letter, as host names do: a digit, a bracket, something encoded."""

    column: Column


@dataclass(frozen=True, slots=True)
class Among:
    """The column, a text or a whole number, is one of these values, each spelled exactly so."""

    column: Column
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """The number in the column lies in the range, its ends included; an end that is None is open."""

    column: Column
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one holds."""

    nodes: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """All hold."""

    nodes: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Fails:
    """The other does not hold."""

    node: Ask


Ask = Always | Never | Has | Lacks | Holds | Found | Relative | Odd | Among | Between | AnyOf | AllOf | Fails
ALWAYS, NEVER = Always(), Never()


@dataclass(slots=True)
class Watch:
    """Something to look out for on the way: `seen` says that a row may hold it."""

    ask: Ask
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of rows: those `within` for which `likely`, asked first, and `wanted` hold."""

    within: Ask = ALWAYS
    likely: Ask = ALWAYS
    wanted: Ask = ALWAYS
    watch: Watch = field(default_factory=lambda: Watch(NEVER))


EVERY_ROW = Question()
Span = tuple[int, int] | None
"""Rows of a table: the first, from 0, and how many; None for all."""


def implies(one: Ask, other: Ask) -> bool:
    """Say whether `other` holds wherever `one` holds, as far as their form tells; false if it does not tell."""
    if one in (other, NEVER) or other == ALWAYS:
        return True
    if isinstance(one, AnyOf):
        return all(implies(node, other) for node in one.nodes)
    if isinstance(other, AllOf):
        return all(implies(one, node) for node in other.nodes)
    if isinstance(other, AnyOf) and any(implies(one, node) for node in other.nodes):
        return True
    if isinstance(one, AllOf):
        return any(implies(node, other) for node in one.nodes)
    if isinstance(other, Has):
        return (
            isinstance(one, Holds | Found | Relative | Odd | Among | Between) and one.column == other.column
        )
    return (
        isinstance(one, Holds)
        and isinstance(other, Holds)
        and one.column == other.column
        and other.text in one.text
    )


def any_of(nodes: Iterable[Ask]) -> Ask:
    """Return one ask that holds where any of these holds."""
    flat = _flat(nodes, AnyOf)
    if ALWAYS in flat:
        return ALWAYS
    left = _reduced(flat, implies)
    return left[0] if len(left) == 1 else AnyOf(left) if left else NEVER


def all_of(nodes: Iterable[Ask]) -> Ask:
    """Return one ask that holds where all of these hold."""
    flat = _flat(nodes, AllOf)
    if NEVER in flat:
        return NEVER
    left = _reduced(flat, lambda one, other: implies(other, one))
    return left[0] if len(left) == 1 else AllOf(left) if left else ALWAYS


def _flat(nodes: Iterable[Ask], kind: type[AnyOf] | type[AllOf]) -> dict[Ask, None]:
    kept: dict[Ask, None] = {}
    for node in nodes:
        kept.update(dict.fromkeys(node.nodes if isinstance(node, kind) else (node,)))
    return kept


def _reduced(nodes: Iterable[Ask], needless: Callable[[Ask, Ask], bool]) -> tuple[Ask, ...]:
    """Drop each node that adds nothing to another one."""
    kept: list[Ask] = []
    for node in nodes:
        if node in (ALWAYS, NEVER) or any(needless(node, other) for other in kept):
            continue
        kept = [other for other in kept if not needless(other, node)]
        kept.append(node)
    return tuple(kept)


def columns_of(ask: Ask) -> set[Column]:
    """Return the columns that an ask looks at."""
    match ask:
        case AnyOf(nodes) | AllOf(nodes):
            return set().union(*map(columns_of, nodes))
        case Fails(node):
            return columns_of(node)
        case Always() | Never():
            return set()
    return {ask.column}


def guard(ask: Ask) -> Ask:
    """Return what is quick to ask and holds wherever the ask holds: of things that must all hold, one.

    Of many such groups few texts are asked for: first what most of them share.
    """
    chosen: list[Ask] = []
    _cover(ask, chosen)
    return any_of(chosen)


def _cover(ask: Ask, chosen: list[Ask]) -> None:
    if chosen and implies(ask, AnyOf(tuple(chosen))):
        return
    if isinstance(ask, AllOf) and not _is_leaf(ask):
        # What is rare enough, adds least to what is asked anyway, and of those the rarest.
        _cover(
            max(ask.nodes, key=lambda part: (_rarity(part) >= _RARE, -_added(part, chosen), _rarity(part))),
            chosen,
        )
    elif isinstance(ask, AnyOf):
        groups = [node for node in ask.nodes if not _is_leaf(node)]
        chosen += [node for node in ask.nodes if _is_leaf(node)]
        plain = [node for node in groups if isinstance(node, AllOf) and all(map(_is_leaf, node.nodes))]
        picked: list[Ask] = []
        while left := [node for node in plain if not implies(node, AnyOf((*chosen, *picked)))]:
            shared = Counter(part for node in left for part in node.nodes)
            picked.append(max(shared, key=lambda part: (_rarity(part) >= _RARE, shared[part], _rarity(part))))
        for part in list(picked):  # what came first may have become needless
            others = AnyOf((*chosen, *(one for one in picked if one != part)))
            if all(implies(node, others) for node in plain):
                picked.remove(part)
        chosen += picked
        for node in groups:
            _cover(node, chosen)
    else:
        chosen.append(ask)


def _added(ask: Ask, chosen: list[Ask]) -> int:
    asked = AnyOf(tuple(chosen))
    return sum(not implies(node, asked) for node in (ask.nodes if isinstance(ask, AnyOf) else (ask,)))


_RARE = 4.0


def _is_leaf(ask: Ask) -> bool:
    """Say whether an ask is asked as it is: one thing, or one after a look at the first letter."""
    if isinstance(ask, AllOf):
        return isinstance(ask.nodes[0], Relative | Odd)
    return not isinstance(ask, AnyOf)


def _rarity(ask: Ask) -> float:
    match ask:
        case AnyOf(nodes):
            return min(map(_rarity, nodes))
        case AllOf(nodes):
            return max(map(_rarity, nodes))
        case Holds(_, text):
            return float(len(text))
        case Found(weight=weight):
            return float(weight)
        case Relative() | Odd() | Among():
            return 1.0
    return 0.0
