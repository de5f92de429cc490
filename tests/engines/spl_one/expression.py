"""Eval expressions, read into a tree: the language of eval, where and of functions in stats.

Search Reference, "eval": an unquoted or single-quoted word is a field, a double-quoted one a text; `.` joins, so
`a.b` is no field name; `=` and `==` are the same. "Boolean expressions": NOT, then AND, then OR, then XOR.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import SplError
from .text import string_end, unescaped


@dataclass(frozen=True, slots=True)
class Literal:
    """A number or a double-quoted text."""

    value: str | int | float


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the event."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator with its arguments; operators go by their sign."""

    name: str
    args: tuple[Expr, ...]
    position: int = 0


Expr = Literal | Field | Call

TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?(?![\w])|\.\d+)|(?P<word>[A-Za-z_][\w]*(?:\{\})*)"
    r"|(?P<sign><=|>=|!=|==|[-+*/%.,()<>=!]))"
)
COMPARISONS = {"=": "=", "==": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


class Parser:
    """Recursive descent over one expression, or over a comma-separated list of assignments."""

    def __init__(self, source: str) -> None:
        self.source, self.at = source, 0
        self.kind, self.value = "", ""
        self.start = 0
        self.advance()

    def fail(self, message: str) -> SplError:
        return SplError(message, self.source, self.start)

    def advance(self) -> None:
        """Read the next token: number, word, sign, text, name (a single-quoted field) or end."""
        while self.at < len(self.source) and self.source[self.at].isspace():
            self.at += 1
        self.start = self.at
        if self.at >= len(self.source):
            self.kind, self.value = "end", ""
            return
        sign = self.source[self.at]
        if sign in "\"'":
            end = string_end(self.source, self.at)
            self.kind = "text" if sign == '"' else "name"
            self.value = unescaped(self.source[self.at + 1 : end - 1])
            self.at = end
            return
        found = TOKEN.match(self.source, self.at)
        if not found:
            raise self.fail(f"unexpected {sign!r} in an eval expression")
        self.kind, self.value, self.at = str(found.lastgroup), found[found.lastgroup or 0], found.end()

    def accept(self, kind: str, *values: str) -> str | None:
        if self.kind == kind and (not values or self.value in values):
            value = self.value
            self.advance()
            return value
        return None

    def expect(self, value: str) -> None:
        if not self.accept("sign", value):
            raise self.fail(f"{value!r} is expected")

    def whole(self) -> Expr:
        tree = self.any_of("XOR")
        if self.kind != "end":
            raise self.fail("unexpected text after an expression (AND, OR, NOT are capital letters)")
        return tree

    def assignments(self) -> list[tuple[str, Expr]]:
        out = []
        while True:
            if self.kind not in ("word", "name", "text"):
                raise self.fail("eval needs <field>=<expression>")
            field = self.value
            self.advance()
            while self.kind == "sign" and self.value in (".", "-") and field:
                # the manual's own examples assign to low-user: signs are part of a name on the left of =
                sign = self.value
                self.advance()
                if self.kind != "word":
                    raise self.fail("a field name is expected on the left of =")
                field += sign + self.value
                self.advance()
            self.expect("=")
            out.append((field, self.any_of("XOR")))
            if self.kind == "end":
                return out
            self.expect(",")

    def any_of(self, operator: str) -> Expr:
        lower = {"XOR": "OR", "OR": "AND"}.get(operator)
        left = self.any_of(lower) if lower else self.negation()
        while self.kind == "word" and self.value == operator:
            position = self.start
            self.advance()
            right = self.any_of(lower) if lower else self.negation()
            left = Call(operator, (left, right), position)
        return left

    def negation(self) -> Expr:
        position = self.start
        if self.accept("word", "NOT") or self.accept("sign", "!"):
            return Call("NOT", (self.negation(),), position)
        return self.comparison()

    def comparison(self) -> Expr:
        left, position = self.sum(), self.start
        if self.kind == "sign" and self.value in COMPARISONS:
            operator = COMPARISONS[self.value]
            self.advance()
            return Call(operator, (left, self.sum()), position)
        if self.kind == "word" and self.value.upper() == "LIKE":
            self.advance()
            return Call("like", (left, self.sum()), position)
        negated = self.kind == "word" and self.value == "NOT"
        if negated:
            self.advance()
        if self.kind == "word" and self.value.upper() == "IN":
            self.advance()
            self.expect("(")
            inside = Call("in", (left, *self.arguments()), position)
            return Call("NOT", (inside,), position) if negated else inside
        if negated:
            raise self.fail("IN is expected after NOT")
        return left

    def sum(self) -> Expr:
        left = self.product()
        while self.kind == "sign" and self.value in "+-.":
            operator, position = self.value, self.start
            self.advance()
            left = Call(operator, (left, self.product()), position)
        return left

    def product(self) -> Expr:
        left = self.unary()
        while self.kind == "sign" and self.value in "*/%":
            operator, position = self.value, self.start
            self.advance()
            left = Call(operator, (left, self.unary()), position)
        return left

    def unary(self) -> Expr:
        position = self.start
        if self.accept("sign", "-"):
            return Call("-", (Literal(0), self.unary()), position)
        return self.primary()

    def primary(self) -> Expr:
        position = self.start
        if (value := self.accept("number")) is not None:
            return Literal(float(value) if re.search(r"[.eE]", value) else int(value))
        if (value := self.accept("text")) is not None:
            return Literal(value)
        if (value := self.accept("name")) is not None:
            return Field(value)
        if self.accept("sign", "("):
            inner = self.any_of("XOR")
            self.expect(")")
            return inner
        if self.kind == "word":
            if self.value in ("AND", "OR", "XOR", "NOT"):
                raise self.fail(f"{self.value} stands where a value is expected")
            name = self.value
            self.advance()
            if self.accept("sign", "("):
                return Call(name.lower(), self.arguments(), position)
            return Field(name)
        raise self.fail("a value is expected")

    def arguments(self) -> tuple[Expr, ...]:
        """Read arguments up to and with the closing parenthesis."""
        if self.accept("sign", ")"):
            return ()
        args = [self.any_of("XOR")]
        while self.accept("sign", ","):
            args.append(self.any_of("XOR"))
        self.expect(")")
        return tuple(args)


def expression(source: str) -> Expr:
    """Read one expression; raises `SplError` with the place."""
    return Parser(source).whole()
