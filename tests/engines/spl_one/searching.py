"""The search command: its expressions, read and answered as documented.

Search Reference, "search": terms are ANDed; parentheses, then NOT, then OR, then AND ("Boolean expressions");
operators are capital letters; `field=value`, `!=`, comparisons, `IN (…)`, CIDR, `*`; anything else is looked for
in `_raw`. Values compare without case, field names with it (Search Manual, "Use the search command").
Longer than most because reading and answering one small language belong on one page.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engines.readings_one import Readings

from .errors import SplError
from .text import closing, string_end, unescaped
from .times import event_time, modifier
from .values import Event, listed, network, ordered, text, wildcard, within

Rows = list[Event]


@dataclass(frozen=True, slots=True)
class Bool:
    """AND, OR or NOT over other expressions."""

    operator: str
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """A field beside a value."""

    field: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase to find in `_raw`; `kind` is plain, TERM or CASE."""

    value: str
    kind: str = "plain"


@dataclass(frozen=True, slots=True)
class Nothing:
    """`NOT ( )`, which stands for a subsearch without results (Search Reference, format, emptystr)."""


Node = Bool | Compare | Term | Nothing


@dataclass(frozen=True, slots=True)
class Scope:
    """What a search expression is read and answered against."""

    readings: Readings
    now: float | None = None
    subsearch: Callable[[str], Rows] | None = None


class Parser:
    """Recursive descent over one search expression; `and_first` turns the order of AND and OR round."""

    def __init__(self, source: str, scope: Scope, *, and_first: bool = False) -> None:
        self.source, self.scope, self.at = source, scope, 0
        self.outer, self.inner = ("OR", "AND") if and_first else ("AND", "OR")

    def fail(self, message: str) -> SplError:
        return SplError(message, self.source, self.at)

    def skip(self) -> None:
        while self.at < len(self.source) and self.source[self.at].isspace():
            self.at += 1

    def peek(self, word: str) -> bool:
        self.skip()
        return bool(re.compile(rf"{word}(?![^\s()\[\]\"])").match(self.source, self.at))

    def take(self, word: str) -> bool:
        if not self.peek(word):
            return False
        self.at += len(word)
        return True

    def read(self) -> Node:
        node = self.level(self.outer)
        self.skip()
        if self.at < len(self.source):
            raise self.fail("unexpected text in a search expression")
        return node

    def level(self, operator: str) -> Node:
        def below() -> Node:
            return self.level(self.inner) if operator == self.outer else self.negation()

        parts = [below()]
        while True:
            self.skip()
            if operator == "AND":  # the AND between terms may be left out
                explicit = self.take("AND")
                if not explicit and (
                    self.at >= len(self.source) or self.source[self.at] in ")]" or self.peek("OR")
                ):
                    break
            elif not self.take(operator):
                break
            parts.append(below())
        return parts[0] if len(parts) == 1 else Bool(operator, tuple(parts))

    def negation(self) -> Node:
        if self.take("NOT"):
            return Bool("NOT", (self.negation(),))
        return self.primary()

    def primary(self) -> Node:
        self.skip()
        if self.at >= len(self.source) or self.source[self.at] == ")":
            raise self.fail("a search term is missing")
        if self.take("AND") or self.take("OR"):
            raise self.fail("AND and OR stand between two terms")
        if self.take("XOR"):
            raise self.fail("the search command does not support XOR")
        sign = self.source[self.at]
        if sign == "(":
            return self.group()
        if sign == "[":
            return self.subsearch()
        directive = re.compile(r"(TERM|CASE)\(").match(self.source, self.at)
        if directive:
            end = closing(self.source, directive.end() - 1)
            inner = self.source[directive.end() : end - 1].strip().strip('"')
            self.at = end
            return Term(inner, directive[1])
        name, quoted = self.word(r"[^\s()\[\]\"=!<>,|]+")
        member = re.compile(r"\s+(IN|in|In)\s*\(").match(self.source, self.at)
        if member:
            if member[1] != "IN":
                raise self.fail("the operator IN is written in capital letters")
            self.at = member.end()
            return self.members(name)
        sign_found = re.compile(r"\s*(!=|<=|>=|==|=|<|>)\s*").match(self.source, self.at)
        if not sign_found:
            if not quoted and self.at < len(self.source) and self.source[self.at] in "=!<>,":
                raise self.fail("unexpected sign in a search expression")
            return Term(name)
        operator = sign_found[1]
        if operator == "==":
            raise self.fail("the search command compares with a single =")
        self.at = sign_found.end()
        if re.compile(r"(TERM|CASE)\(").match(self.source, self.at):
            raise self.fail("TERM() and CASE() as the value of a field are not known to this evaluator")
        value, _ = self.word(r"[^\s()\[\]\"|,]+")
        return Compare(name, operator, value)

    def group(self) -> Node:
        self.at += 1
        self.skip()
        if self.at < len(self.source) and self.source[self.at] == ")":
            self.at += 1
            return Bool("NOT", (Nothing(),))
        node = self.level(self.outer)
        self.skip()
        if self.at >= len(self.source) or self.source[self.at] != ")":
            raise self.fail("a parenthesis is not closed")
        self.at += 1
        return node

    def word(self, bare: str) -> tuple[str, bool]:
        if self.at < len(self.source) and self.source[self.at] == '"':
            end = string_end(self.source, self.at)
            body = unescaped(self.source[self.at + 1 : end - 1])
            self.at = end
            return body, True
        found = re.compile(bare).match(self.source, self.at)
        if not found:
            raise self.fail("a word or a quoted value is expected")
        self.at = found.end()
        return found[0], False

    def members(self, name: str) -> Node:
        """`f IN (a, b)` stands for `f=a OR f=b` (search, "Filter using the IN operator")."""
        parts: list[Node] = []
        while True:
            self.skip()
            value, _ = self.word(r"[^\s()\[\]\"|,]+")
            parts.append(Compare(name, "=", value))
            self.skip()
            sign = self.source[self.at] if self.at < len(self.source) else ""
            if sign not in (",", ")"):
                raise self.fail("a comma or a closing parenthesis is expected in IN")
            self.at += 1
            if sign == ")":
                return Bool("OR", tuple(parts))

    def subsearch(self) -> Node:
        """A subsearch becomes the search expression the format command writes for its rows."""
        start, depth = self.at, 0
        while self.at < len(self.source):
            sign = self.source[self.at]
            if sign == '"':
                self.at = string_end(self.source, self.at)
                continue
            depth += (sign == "[") - (sign == "]")
            self.at += 1
            if depth == 0:
                break
        if depth:
            raise SplError("a subsearch is not closed", self.source, start)
        if self.scope.subsearch is None:
            raise SplError("a subsearch is not possible here", self.source, start)
        rows = self.scope.subsearch(self.source[start + 1 : self.at - 1])
        if len(rows) > 10_000:
            raise SplError("a subsearch returns more than the documented limit of 10000 results")
        return formatted(rows, self.scope)


def formatted(rows: Rows, scope: Scope) -> Node:
    """Search Reference, format: columns ANDed, rows ORed, values of a multivalue field ORed, `NOT ( )` for none.

    A field named `search` or `query` gives its value without a name (Search Manual, "Change the format of
    subsearch results"); fields that begin with an underscore are left out.
    """
    alternatives: list[Node] = []
    for row in rows:
        parts: list[Node] = []
        for name, value in row.items():
            if name.startswith("_") or name == "id":
                continue
            if name in ("search", "query"):
                parts.append(Parser(text(value), scope).read())
                continue
            options: list[Node] = [Compare(name, "=", text(item)) for item in listed(value)]
            parts.append(options[0] if len(options) == 1 else Bool("OR", tuple(options)))
        if parts:
            alternatives.append(parts[0] if len(parts) == 1 else Bool("AND", tuple(parts)))
    if not alternatives:
        return Nothing()
    return alternatives[0] if len(alternatives) == 1 else Bool("OR", tuple(alternatives))


def matches(node: Node, event: Event, scope: Scope) -> bool:
    """Tell whether an event fits a search expression; in the search command everything is true or false."""
    if isinstance(node, Bool):
        if node.operator == "NOT":
            return not matches(node.parts[0], event, scope)
        each = (matches(part, event, scope) for part in node.parts)
        return all(each) if node.operator == "AND" else any(each)
    if isinstance(node, Term):
        return found_in(text(event.get("_raw", "")), node)
    if isinstance(node, Nothing):
        return False
    return compared(node, event, scope)


def compared(node: Compare, event: Event, scope: Scope) -> bool:
    if node.field in ("earliest", "latest", "_index_earliest", "_index_latest"):
        return in_time(node, event, scope)
    if node.field == "nodename":  # tstats: which data set of a model; the events are chosen by tstats itself
        return True
    held = listed(event.get(node.field))
    if node.field == "index" and not held:
        held = ["main"]  # Managing Indexers: events go to the index main unless told otherwise
    readings = scope.readings
    if node.operator == "=":
        return any(equal(node.value, value, readings) for value in held)
    if node.operator == "!=":
        # "every event that has a value in the field, where that value does not match" (Search Manual, Difference
        # between NOT and !=). Which of several values must differ is not said.
        differ = [not equal(node.value, value, readings) for value in held]
        place = "search: != beside a field of which some values match"
        return bool(held) and readings.take(place, all(differ), any(differ))
    signs = {"<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (0, 1)}[node.operator]
    return any(ordered(value, node.value, readings) in signs for value in held)


def equal(wanted: str, value: object, readings: Readings) -> bool:
    """Compare as search does: caseless text with wildcards ("1" is not "1.0"), or a subnet."""
    spelled = text(value)
    if wanted and not wanted.strip("*") and not spelled:
        return readings.take("search: * beside an empty value", True, False)
    if wildcard(wanted).fullmatch(spelled):
        return True
    if "/" in wanted and "*" not in wanted and network(wanted) is not None:
        return within(wanted, spelled, readings)
    return False


def in_time(node: Compare, event: Event, scope: Scope) -> bool:
    """`earliest` is inclusive and `latest` exclusive (Search Manual, "Specify time modifiers in your search")."""
    if node.operator != "=" or node.field.startswith("_"):
        raise SplError(f"time modifier {node.field}{node.operator} is not known to this evaluator")
    moment, bound = event_time(event.get("_time")), modifier(node.value, scope.now)
    if moment is None:
        raise SplError("an event without _time meets a time modifier")
    return moment >= bound if node.field == "earliest" else moment < bound


# Getting Data In, "About event segmentation", and segmenters.conf: what parts an event into terms.
MAJOR = r"\[\]<>(){}|!;,'\"*\n\r\s\t&?+"
MINOR = r"/:=@.\-$#%\\_"


@functools.lru_cache(maxsize=4096)
def term_pattern(value: str, kind: str) -> re.Pattern[str]:
    """Build the matcher of a term or phrase: whole segments of `_raw`, without case, `*` for any characters.

    Search Manual, "Event segmentation and searching": a term matches a segment between breakers, so an edge that
    is no breaker itself must stand at one. TERM() is bounded by major breakers only; CASE() minds the case.
    """
    breakers = MAJOR if kind == "TERM" else MAJOR + MINOR
    body = ".*".join(re.sub(r"\\?\s+", r"\\s+", re.escape(part)) for part in value.split("*"))
    inside = re.compile(f"[^{breakers}]")
    left = f"(?<![^{breakers}])" if value and inside.match(value[0]) else ""
    right = f"(?![^{breakers}])" if value and inside.match(value[-1]) else ""
    if kind == "TERM":
        left, right = f"(?<![^{breakers}])", f"(?![^{breakers}])"
    return re.compile(left + body + right, re.DOTALL | (0 if kind == "CASE" else re.IGNORECASE))


def found_in(raw: str, term: Term) -> bool:
    if not term.value.strip("*"):
        return True  # "Searching for * by itself means match all" (Search Manual, Use the search command)
    return bool(term_pattern(term.value, term.kind).search(raw))


def fields_of(node: Node) -> Iterator[str]:
    """Name every field a search expression compares."""
    if isinstance(node, Bool):
        for part in node.parts:
            yield from fields_of(part)
    elif isinstance(node, Compare):
        yield node.field
