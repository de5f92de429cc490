"""What a query has to say, before any language says it: typed tests on columns, joined by and, or, not.

A formula is two-valued: a test on a column that a record does not have is false, its negation true (DESIGN 5). The
planner makes formulas of rules and of the site; emitters write them. Everything is frozen and pure. `all_of`, `any_of`
and `negated` fold constants away, so what a schema cannot carry leaves no trace but its reason.

A little longer than most: the tests are one vocabulary, and are read together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from imdswatch.address import Network
from imdswatch.rule import Text
from imdswatch.schema import Column


@dataclass(frozen=True, slots=True)
class Loss:
    """A clause that a query does not carry, and why (with the switch that would help, where there is one)."""

    clause: str
    why: str


@dataclass(frozen=True, slots=True)
class Inside:
    """The column holds an address, in any spelling, inside one of the networks; one address is a network, too."""

    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class AnAddress:
    """The column holds an IP address that names a host: not missing, not a text that is none."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The column's text matches one of the patterns (without case unless they are `cased`)."""

    patterns: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Paths:
    """The path in the column, decoded and resolved as `urlpath.normal_path` does, matches one of the patterns."""

    patterns: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Urls:
    """The URL (or path, or query) in the column, decoded as `urlpath.normal_url` does, matches one of the patterns."""

    patterns: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Hosts:
    """The host in the column, without port and case, is one of these addresses in any spelling a URL may carry,
    or matches one of these names."""

    addresses: tuple[str, ...]
    names: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Macs:
    """The column holds one of these MAC addresses (given lower case with colons), in any spelling."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Numbers:
    """The column, as a number, is one of the values."""

    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ordered:
    """The column, as a number, compares to the value by `op`: < <= > >=."""

    op: str
    value: float


@dataclass(frozen=True, slots=True)
class Flag:
    """The column is true or false."""

    value: bool


@dataclass(frozen=True, slots=True)
class Present:
    """The record has the column, and it is not empty."""


@dataclass(frozen=True, slots=True)
class Found:
    """The regular expression (`flags` are Python's) is found in the column's text."""

    pattern: str
    flags: int


@dataclass(frozen=True, slots=True)
class Same:
    """The column's value equals another column's, without case."""

    other: Column


@dataclass(frozen=True, slots=True)
class Excess:
    """The octets in the column exceed what IP and TCP headers alone of the packets could be: 60 octets a packet, 80
    where the destination is IPv6 (`imdswatch.event`)."""

    packets: Column
    destination: Column | None


@dataclass(frozen=True, slots=True)
class Until:
    """The day of the run is no later than this one (UTC)."""

    day: date


Test = (
    Inside
    | AnAddress
    | Texts
    | Paths
    | Urls
    | Hosts
    | Macs
    | Numbers
    | Ordered
    | Flag
    | Present
    | Found
    | Same
    | Excess
    | Until
)


@dataclass(frozen=True, slots=True)
class Atom:
    """One test on one column; `take` names the part of a URL column that is meant: path, host, query, or all of it.

    `label` names the site's list that the values come from, so that a target can keep it in the SIEM's own place;
    empty for what stands in the rule.
    """

    column: Column
    test: Test
    take: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class No:
    """The part does not hold."""

    part: Formula


@dataclass(frozen=True, slots=True)
class Const:
    """Always true, or never; `why` says what was lost where it is never."""

    value: bool
    why: tuple[Loss, ...] = ()


Formula = All | AnyOf | No | Const | Atom

TRUE, FALSE = Const(True), Const(False)


def all_of(parts: Iterable[Formula]) -> Formula:
    """Return the conjunction: true parts drop out, one that never holds is reason enough."""
    found: list[Formula] = []
    for part in parts:
        if isinstance(part, Const):
            if not part.value:
                return part
        else:
            found += [one for one in (part.parts if isinstance(part, All) else (part,)) if one not in found]
    return TRUE if not found else found[0] if len(found) == 1 else All(tuple(found))


def any_of(parts: Iterable[Formula]) -> Formula:
    """Return the disjunction: parts that never hold drop out; if all do, their reasons stay."""
    found: list[Formula] = []
    why: dict[Loss, None] = {}
    for part in parts:
        if isinstance(part, Const):
            if part.value:
                return part
            why.update(dict.fromkeys(part.why))
        else:
            for one in part.parts if isinstance(part, AnyOf) else (part,):
                _add(found, one)
    if not found:
        return Const(False, tuple(why))
    return found[0] if len(found) == 1 else AnyOf(tuple(found))


def _add(found: list[Formula], part: Formula) -> None:
    """Add an alternative; one list of values is easier to read, and quicker, than two on the same column."""
    for at, other in enumerate(found):
        if part == other:
            return
        if isinstance(part, Atom) and isinstance(other, Atom) and _place(part) == _place(other):
            test = joined(other.test, part.test)
            if test is not None:
                found[at] = Atom(other.column, test, other.take, other.label)
                return
    found.append(part)


def _place(atom: Atom) -> tuple[Column, str, str]:
    return atom.column, atom.take, atom.label


def joined(one: object, other: object) -> Test | None:
    """Return the test for: one of two tests of the same kind holds; None where they are no lists of values."""
    match one, other:
        case (Inside(mine), Inside(more)):
            return Inside(_union(mine, more))
        case (Texts(mine), Texts(more)):
            return Texts(_union(mine, more))
        case (Paths(mine), Paths(more)):
            return Paths(_union(mine, more))
        case (Urls(mine), Urls(more)):
            return Urls(_union(mine, more))
        case (Hosts(mine, names), Hosts(more, others)):
            return Hosts(_union(mine, more), _union(names, others))
        case (Macs(mine), Macs(more)):
            return Macs(_union(mine, more))
        case (Numbers(mine), Numbers(more)):
            return Numbers(_union(mine, more))
    return None


_Value = TypeVar("_Value")


def _union(mine: tuple[_Value, ...], more: tuple[_Value, ...]) -> tuple[_Value, ...]:
    return tuple(dict.fromkeys((*mine, *more)))


def negated(part: Formula) -> Formula:
    """Return the negation; of what is never true it is always true."""
    if isinstance(part, Const):
        return Const(not part.value)
    return part.part if isinstance(part, No) else No(part)


def without_days(formula: Formula) -> Formula:
    """Return the formula without its end dates, for places that keep them by themselves."""
    match formula:
        case Atom(_, Until()):
            return TRUE
        case No(part):
            return negated(without_days(part))
        case All(parts):
            return all_of(map(without_days, parts))
        case AnyOf(parts):
            return any_of(map(without_days, parts))
    return formula


def atoms(formula: Formula) -> Iterator[Atom]:
    """Yield every test, in order."""
    match formula:
        case Atom():
            yield formula
        case No(part):
            yield from atoms(part)
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from atoms(part)
