"""The expressions of `eval` and `where`: a Pratt parser that compiles to closures over one row.

Search Reference, "eval", "where" and "Evaluation functions": case-sensitive, no wildcards, AND before OR.
A missing field is null; a comparison with null is null, AND and OR follow Kleene's tables, and only rows for
which the expression is true stay. Longer than most because lexer, parser and operators are one grammar.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .context import Context
from .errors import SplError, Undocumented
from .values import Event, compare, number_of, text_of, values_of

LEXER = re.compile(
    r"""(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|\.\d+) | (?P<string>"(?:[^"\\]|\\.)*") | (?P<field>'[^']*')
      | (?P<op>==|!=|<=|>=|=|<|>|\+|-|\*|/|%|\.|\(|\)|,) | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\{\}|:[A-Za-z_]\w*)*)""",
    re.VERBOSE | re.DOTALL,
)
# "Boolean expressions with logical operators", column "Eval and where commands"; tighter binds higher.
POWERS = {
    "XOR": 5, "OR": 10, "AND": 20,
    "=": 40, "==": 40, "!=": 40, "<": 40, "<=": 40, ">": 40, ">=": 40, "LIKE": 40, "IN": 40,
    "+": 60, "-": 60, ".": 60, "*": 70, "/": 70, "%": 70,
}  # fmt: skip
NOT_POWER, SIGN_POWER = 30, 80
RELATIONS = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
ESCAPES = {"t": "\t", "n": "\n", "r": "\r"}


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression ready to run: `of` gives its value for a row, `fields` are the fields it reads."""

    of: Callable[[Event], Any]
    fields: frozenset[str] = frozenset()
    field: str | None = None  # the name, when the expression is nothing but a field


class Lexer:
    """The tokens of an expression; private to the parser below."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.items: list[tuple[str, str, int]] = []
        at = start
        while at < end:
            if text[at].isspace():
                at += 1
                continue
            found = LEXER.match(text, at, end)
            if not found:
                raise SplError("no token of an expression begins here", at)
            self.items.append((str(found.lastgroup), found[0], at))
            at = found.end()
        self.items.append(("end", "", end))
        self.index = 0

    @property
    def here(self) -> tuple[str, str, int]:
        return self.items[self.index]

    def take(self) -> tuple[str, str, int]:
        token = self.here
        self.index += token[0] != "end"
        return token

    def accept(self, text: str) -> bool:
        if self.here[0] == "op" and self.here[1] == text:
            self.take()
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise SplError(f"expected {text!r}", self.here[2])


def unquoted(raw: str) -> str:
    r"""Return what a string literal holds.

    Search Manual, "Types of expressions": \\ is a backslash, \" a quote, \t a tab; other sequences stay as
    they are, which regular expressions live from.
    """
    return re.sub(
        r"\\(.)",
        lambda found: found[1] if found[1] in '\\"' else ESCAPES.get(found[1], found[0]),
        raw[1:-1],
        flags=re.DOTALL,
    )


def truth(value: Any, at: int) -> bool | None:
    """Take a value as a condition; only Booleans and null are one."""
    if value is None or isinstance(value, bool):
        return value
    raise SplError("a condition that is not Boolean", at)


class Expression:
    """Parses and compiles one expression after the other from the same lexer."""

    def __init__(self, context: Context, start: int, end: int) -> None:
        self.context, self.lexer = context, Lexer(context.text, start, end)

    def whole(self) -> Compiled:
        found = self.parse(0)
        if self.lexer.here[0] != "end":
            raise SplError("this expression does not go on like that", self.lexer.here[2])
        return found

    def operator(self) -> str | None:
        kind, text, at = self.lexer.here
        if kind == "op" and text in POWERS:
            return text
        if kind == "name":
            if text in POWERS or text.upper() in ("IN", "LIKE"):
                return text.upper()
            if text.upper() in POWERS or text.upper() == "NOT":
                # "The operators must be capitalized."
                raise SplError(f"the operator {text.upper()} must be capitalized", at)
        return None

    def parse(self, power: int) -> Compiled:
        left = self.prefix()
        while (name := self.operator()) and POWERS[name] > power:
            at = self.lexer.take()[2]
            if name == "IN":
                left = self.member(left, at)
            elif name in KLEENE:
                # A chain of one operator is one level, so that a thousand conditions do not nest.
                parts = [left, self.parse(POWERS[name])]
                while self.operator() == name:
                    self.lexer.take()
                    parts.append(self.parse(POWERS[name]))
                left = self.chained(name, parts, at)
            else:
                left = self.joined(name, left, self.parse(POWERS[name]), at)
        return left

    def prefix(self) -> Compiled:
        kind, text, at = self.lexer.take()
        if kind == "number":
            value = number_of(text)
            return Compiled(lambda row: value)
        if kind == "string":
            literal = unquoted(text)
            return Compiled(lambda row: literal)
        if kind == "field":
            return self.field(text[1:-1])
        if kind == "op" and text == "(":
            inner = self.parse(0)
            self.lexer.expect(")")
            return Compiled(inner.of, inner.fields)
        if kind == "op" and text == "-":
            inner = self.parse(SIGN_POWER)
            return Compiled(lambda row: negative(inner.of(row)), inner.fields)
        if kind == "name" and text == "NOT":
            inner = self.parse(NOT_POWER)
            of_null = None if self.context.readings.not_null == "null" else True

            def negated(row: Event) -> bool | None:
                value = truth(inner.of(row), at)
                return of_null if value is None else not value

            return Compiled(negated, inner.fields)
        if kind == "name":
            if self.lexer.here[:2] == ("op", "("):
                return self.call(text, at)
            self.no_dotted_name(text, at)
            return self.field(text)
        raise SplError("expected a value", at)

    def no_dotted_name(self, text: str, at: int) -> None:
        """Refuse a.b, which reads as concatenation though a field name is mostly meant.

        "eval": a field name with other than alphanumeric characters must be surrounded by single quotes.
        """
        here, after = self.lexer.here, self.lexer.items[min(self.lexer.index + 1, len(self.lexer.items) - 1)]
        if here == ("op", ".", at + len(text)) and after[0] == "name" and after[2] == here[2] + 1:
            raise SplError("a field name with a dot must stand in single quotes", at)

    @staticmethod
    def field(name: str) -> Compiled:
        def value(row: Event) -> Any:
            held = row.get(name)
            if isinstance(held, list | tuple):
                items = values_of(held)
                return None if not items else items[0] if len(items) == 1 else items
            return held

        return Compiled(value, frozenset({name}), name)

    def call(self, name: str, at: int) -> Compiled:
        from .functions import called

        self.lexer.expect("(")
        arguments: list[Compiled] = []
        if not self.lexer.accept(")"):
            arguments.append(self.parse(0))
            while not self.lexer.accept(")"):
                self.lexer.expect(",")
                arguments.append(self.parse(0))
        return called(self.context, name.lower(), arguments, at)

    def member(self, left: Compiled, at: int) -> Compiled:
        """`field IN (a, b)`, the operator form of in()."""
        from .functions import called

        self.lexer.expect("(")
        arguments = [left, self.parse(0)]
        while not self.lexer.accept(")"):
            self.lexer.expect(",")
            arguments.append(self.parse(0))
        return called(self.context, "in", arguments, at)

    @staticmethod
    def chained(name: str, parts: list[Compiled], at: int) -> Compiled:
        fields = frozenset().union(*(part.fields for part in parts))
        return Compiled(
            lambda row: functools.reduce(KLEENE[name], (truth(part.of(row), at) for part in parts)), fields
        )

    def joined(self, name: str, left: Compiled, right: Compiled, at: int) -> Compiled:
        from .functions import called

        fields = left.fields | right.fields
        one, two = left.of, right.of
        if name == "LIKE":
            return called(self.context, "like", [left, right], at)
        if name in RELATIONS:
            return Compiled(lambda row: self.related(RELATIONS[name], one(row), two(row), at), fields)
        return Compiled(lambda row: arithmetic(name, one(row), two(row), at), fields)

    def related(self, relation: Callable[[int, int], bool], left: Any, right: Any, at: int) -> bool | None:
        """Compare two values: null if one is null, by value if one has several."""
        if left is None or right is None:
            return None
        if isinstance(left, bool) or isinstance(right, bool):
            raise SplError("a comparison with a Boolean", at)
        if isinstance(left, list) or isinstance(right, list):
            if self.context.readings.several_values == "null":
                return None
            return any(relation(compare(a, b), 0) for a in values_of(left) for b in values_of(right))
        return relation(compare(left, right), 0)


def kleene_and(left: bool | None, right: bool | None) -> bool | None:
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def kleene_or(left: bool | None, right: bool | None) -> bool | None:
    if left is True or right is True:
        return True
    return None if left is None or right is None else False


def kleene_xor(left: bool | None, right: bool | None) -> bool | None:
    return None if left is None or right is None else left != right


KLEENE = {"AND": kleene_and, "OR": kleene_or, "XOR": kleene_xor}


def negative(value: Any) -> Any:
    number = number_of(value)
    return None if number is None else -number


def arithmetic(name: str, left: Any, right: Any, at: int) -> Any:
    """Calculate; null with null. `.` joins texts and numbers, `+` adds two numbers or joins two texts."""
    if left is None or right is None:
        return None
    if isinstance(left, list | bool) or isinstance(right, list | bool):
        raise Undocumented(f"what {name!r} does with several values or a Boolean", at)
    if name == ".":
        return text_of(left) + text_of(right)
    one, two = number_of(left), number_of(right)
    if one is None or two is None:
        if name == "+" and one is None and two is None:
            return text_of(left) + text_of(right)
        return None
    if name in "/%" and two == 0:
        return None
    return {
        "+": lambda: one + two, "-": lambda: one - two, "*": lambda: one * two,
        "/": lambda: one / two, "%": lambda: one % two,
    }[name]()  # fmt: skip


def expression(context: Context, start: int, end: int) -> Compiled:
    """Compile the expression between two offsets of the query."""
    return Expression(context, start, end).whole()
