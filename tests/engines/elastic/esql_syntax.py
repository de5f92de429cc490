"""A small ES|QL reader: FROM, SET and WHERE with the expressions that our queries use, as a tree of tuples.

Elastic's own parser needs up to half a minute for one long condition in Python, so `make test` reads with this one and
`make conformance` asserts that Elastic's gives the same tree for every query. What it does not know is an error.
Precedence after Elastic's grammar: OR, AND, NOT, comparison (also IS NULL, IN, LIKE, RLIKE), `+ -`, `* / %`. Pure.

Tree: ("column", name) · ("value", text | number | bool | None) · ("call", name, argument …) · (operator, left, right).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

Tree = tuple[Any, ...]
_TOKEN = re.compile(
    r"""\s+|(?P<long>\"\"\"(?:.|\n)*?\"\"\")|(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<number>\d+(?:\.\d+)?)"""
    r"""|(?P<quoted>`[^`]+`)|(?P<name>[A-Za-z_@][\w@.]*)|(?P<mark>==|!=|<=|>=|[<>(),*+/%|;=-])"""
)
_COMPARE = ("==", "!=", "<=", ">=", "<", ">")
_CONSTANTS = {"true": True, "false": False, "null": None}


class EsqlSyntaxError(Exception):
    """A text that this reader does not know."""


def conditions(query: str) -> list[Tree]:
    """Return the conditions of the WHERE commands; raises EsqlSyntaxError."""
    reader = _Reader(query)
    while reader.word("set"):
        reader.until(";")
    if not reader.word("from"):
        raise EsqlSyntaxError("a query begins with FROM")
    reader.until("|")
    out = []
    while True:
        if not reader.word("where"):
            raise EsqlSyntaxError(f"a command that is not known here: {reader.rest()}")
        out.append(reader.expression())
        if not reader.mark("|"):
            break
    if reader.rest():
        raise EsqlSyntaxError(f"text is left over: {reader.rest()}")
    return out


def unescaped(text: str) -> str:
    """Return what a quoted text means."""
    return re.sub(r"\\(.)", lambda one: {"n": "\n", "r": "\r", "t": "\t"}.get(one[1], one[1]), text)


class _Reader:
    def __init__(self, query: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        self._at, at = 0, 0
        while at < len(query):
            found = _TOKEN.match(query, at)
            if found is None:
                raise EsqlSyntaxError(f"not read: {query[at : at + 40]!r}")
            if found.lastgroup:
                self._tokens.append((found.lastgroup, found[0]))
            at = found.end()

    def rest(self) -> str:
        return " ".join(text for _, text in self._tokens[self._at : self._at + 6])

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def mark(self, text: str) -> bool:
        found = self._next() == ("mark", text)
        self._at += found
        return found

    def word(self, *words: str) -> bool:
        ahead = self._tokens[self._at : self._at + len(words)]
        found = [(kind, text.lower()) for kind, text in ahead] == [("name", word) for word in words]
        self._at += len(words) if found else 0
        return found

    def until(self, mark: str) -> None:
        while not self.mark(mark):
            if not self._next()[0]:
                raise EsqlSyntaxError(f"`{mark}` is missing")
            self._at += 1

    def _need(self, mark: str) -> None:
        if not self.mark(mark):
            raise EsqlSyntaxError(f"`{mark}` is missing before {self.rest()}")

    # Expressions, from the loosest binding to the tightest.

    def expression(self) -> Tree:
        tree = self._and()
        while self.word("or"):
            tree = ("or", tree, self._and())
        return tree

    def _and(self) -> Tree:
        tree = self._not()
        while self.word("and"):
            tree = ("and", tree, self._not())
        return tree

    def _not(self) -> Tree:
        return ("call", "not", self._not()) if self.word("not") else self._comparison()

    def _comparison(self) -> Tree:
        tree = self._sum()
        kind, text = self._next()
        if kind == "mark" and text in _COMPARE:
            self._at += 1
            return (text, tree, self._sum())
        if self.word("is", "not", "null"):
            return ("call", "is_not_null", tree)
        if self.word("is", "null"):
            return ("call", "is_null", tree)
        for words, name in ((("not", "in"), "not_in"), (("in",), "in")):
            if self.word(*words):
                found = ("in", tree, ("call", "__values__", *self._list()))
                return found if name == "in" else ("call", "not", found)
        for words in (("not", "like"), ("not", "rlike"), ("like",), ("rlike",)):
            if self.word(*words):
                patterns = self._list() if self._next() == ("mark", "(") else [self._primary()]
                return ("call", "_".join(words), tree, *patterns)
        return tree

    def _sum(self) -> Tree:
        tree = self._product()
        while self._next() in (("mark", "+"), ("mark", "-")):
            sign = self._next()[1]
            self._at += 1
            tree = (sign, tree, self._product())
        return tree

    def _product(self) -> Tree:
        tree = self._primary()
        while self._next() in (("mark", "*"), ("mark", "/"), ("mark", "%")):
            sign = self._next()[1]
            self._at += 1
            tree = (sign, tree, self._primary())
        return tree

    def _primary(self) -> Tree:
        kind, text = self._next()
        self._at += 1
        match kind:
            case "long":
                return ("value", text[3:-3])
            case "text":
                return ("value", unescaped(text[1:-1]))
            case "number":
                return ("value", float(text) if "." in text else int(text))
            case "quoted":
                return ("column", text[1:-1])
            case "name" if text.lower() in _CONSTANTS:
                return ("value", _CONSTANTS[text.lower()])
            case "name" if self._next() == ("mark", "("):
                return ("call", text.lower(), *self._list())
            case "name":
                return ("column", text)
            case "mark" if text == "(":
                tree = self.expression()
                self._need(")")
                return tree
        raise EsqlSyntaxError(f"not expected: {text or 'the end'}")

    def _list(self) -> Sequence[Tree]:
        self._need("(")
        if self.mark(")"):
            return []
        out = [self.expression()]
        while self.mark(","):
            out.append(self.expression())
        self._need(")")
        return out
