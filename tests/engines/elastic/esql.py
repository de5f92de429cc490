"""ES|QL: Elastic's own parser and type checker say whether a query is valid; what it answers is calculated here.

The evaluator is ours: three-valued logic (`WHERE` keeps what is true), a field with several values in a function of one
value is null, addresses are compared as addresses, LIKE and RLIKE mean the whole value and know case. It must give
the rows that Elasticsearch's own tests expect (`cases.yml`, restated from their csv-spec files). A function that it
does not know is an error, never a guess.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from engines.elastic.esql_syntax import EsqlSyntaxError, Tree, conditions
from engines.elastic.lucene import LuceneRegexError, python_regex

Row = Mapping[str, Any]
Value = Callable[[Row], Any]


class EsqlError(Exception):
    """A query that the evaluator does not know."""


class Esql:
    """Runs queries over documents whose fields have the given types, at a given time (epoch seconds)."""

    def __init__(self, now: float, types: Mapping[str, str]) -> None:
        self._now, self._types = now, types

    def run(self, query: str, documents: Iterable[Row]) -> list[int]:
        """Return the numbers of the documents that a query keeps, ascending; raises EsqlError."""
        try:
            keep = [self._compiled(tree) for tree in conditions(query)]
        except EsqlSyntaxError as error:
            raise EsqlError(str(error)) from error
        rows = enumerate(map(self._row, documents))
        return [number for number, row in rows if all(test(row) is True for test in keep)]

    def _row(self, document: Row) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, value in document.items():
            if name not in self._types:
                continue  # unmapped: null
            values = [self._typed(name, one) for one in (value if isinstance(value, list) else [value])]
            # A multi-valued field has no order, and a keyword field no duplicates ("ES|QL multivalued fields").
            out[name] = values[0] if len(values) == 1 else sorted(set(values)) if values else None
        return out

    def _typed(self, name: str, value: Any) -> Any:
        match self._types[name]:
            case "ip":
                return address(value)
            case "long":
                return int(value)
            case "date":
                return _moment(str(value))
        return str(value)

    def _compiled(self, tree: Tree) -> Value:
        match tree:
            case ("column", name):
                return lambda row: row.get(name)
            case ("value", value):
                return lambda row: value
            case ("call", name, *args):
                return self._call(name, [self._compiled(one) for one in args])
            case ("in", left, ("call", "__values__", *values)):
                subject, found = self._compiled(left), [self._compiled(one) for one in values]
                return lambda row: _any([_compare("==", subject(row), one(row)) for one in found])
            case (op, left, right):
                return _operator(op, self._compiled(left), self._compiled(right))
        raise EsqlError(f"{tree} is not known here")

    def _call(self, name: str, args: Sequence[Value]) -> Value:
        first = args[0] if args else lambda row: None
        match name:
            case "not":
                return lambda row: None if (value := first(row)) is None else not value
            case "is_null":
                return lambda row: first(row) is None
            case "is_not_null":
                return lambda row: first(row) is not None
            case "coalesce":
                return lambda row: next((value for one in args if (value := one(row)) is not None), None)
            case "case":
                return lambda row: _case(row, args)
            case "like" | "rlike":
                found = [_pattern(name, one({})) for one in args[1:]]
                return lambda row: _single(lambda text: any(p.fullmatch(text) for p in found), first(row))
            case "not_like" | "not_rlike":
                inner = self._call(name.removeprefix("not_"), args)
                return lambda row: None if (value := inner(row)) is None else not value
            case "cidr_match":
                return lambda row: _single(_in_networks, *(one(row) for one in args))
            case "to_lower" | "to_upper":
                change = str.lower if name == "to_lower" else str.upper
                return lambda row: _each(change, first(row))
            case "to_string":
                return lambda row: _each(str, first(row))
            case "mv_concat":
                return lambda row: _mv_concat(first(row), args[1](row))
            case "concat":
                return lambda row: _single(lambda *texts: "".join(texts), *(one(row) for one in args))
            case "starts_with" | "ends_with":
                side = str.startswith if name == "starts_with" else str.endswith
                return lambda row: _single(side, first(row), args[1](row))
            case "now":
                return lambda row: self._now
            case "to_datetime":
                return lambda row: _single(_moment, first(row))
        raise EsqlError(f"function {name} is not known here")


def address(text: Any) -> str:
    """Return an address as a field of type `ip` keeps it: an IPv4-mapped one is IPv4 (Lucene's InetAddressPoint)."""
    found = ipaddress.ip_address(str(text))
    return str(getattr(found, "ipv4_mapped", None) or found)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _operator(op: str, left: Value, right: Value) -> Value:
    match op:
        case "and":
            return lambda row: _all([left(row), right(row)])
        case "or":
            return lambda row: _any([left(row), right(row)])
        case "==" | "!=" | "<" | "<=" | ">" | ">=":
            return lambda row: _compare(op, left(row), right(row))
        case "*" | "+" | "-":
            return lambda row: _single(
                lambda a, b: a * b if op == "*" else a + b if op == "+" else a - b, left(row), right(row)
            )
    raise EsqlError(f"operator {op} is not known here")


def _pattern(kind: str, text: str) -> re.Pattern[str]:
    if kind == "rlike":
        try:
            return python_regex(text)
        except LuceneRegexError as error:
            raise EsqlError(f"RLIKE: {error}") from error
    out, at = "", 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            out, at = out + re.escape(text[at + 1]), at + 2
        else:
            out, at = out + {"*": ".*", "?": "."}.get(text[at], re.escape(text[at])), at + 1
    return re.compile(out, re.DOTALL)


def _any(values: Sequence[Any]) -> bool | None:
    return True if True in values else None if None in values else False


def _all(values: Sequence[Any]) -> bool | None:
    return False if False in values else None if None in values else True


def _single(function: Callable[..., Any], *values: Any) -> Any:
    """Apply a function of single values: null, and several values, give null."""
    return None if any(value is None or isinstance(value, list) for value in values) else function(*values)


def _each(function: Callable[[Any], Any], value: Any) -> Any:
    return (
        None
        if value is None
        else [function(v) for v in value]
        if isinstance(value, list)
        else function(value)
    )


def _mv_concat(value: Any, separator: Any) -> Any:
    if value is None or separator is None:
        return None
    return separator.join(value if isinstance(value, list) else [value])


def _case(row: Row, args: Sequence[Value]) -> Any:
    for at in range(0, len(args) - 1, 2):
        if args[at](row) is True:
            return args[at + 1](row)
    return args[-1](row) if len(args) % 2 else None


def _in_networks(text: str, *networks: str) -> bool:
    found = ipaddress.ip_address(text)
    return any(found in ipaddress.ip_network(net, strict=False) for net in networks)


def _compare(op: str, left: Any, right: Any) -> bool | None:
    def both(a: Any, b: Any) -> bool:
        if isinstance(a, str) and isinstance(b, str):
            one, other = _octets(a), _octets(b)
            a, b = (one, other) if one is not None and other is not None else (a, b)
        elif isinstance(a, str) or isinstance(b, str):
            raise EsqlError(f"a text is compared with a number: {a!r} {op} {b!r}")
        return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]

    found: bool | None = _single(both, left, right)
    return found


def _octets(text: str) -> bytes | None:
    """Return the sixteen octets by which a field of type `ip` is ordered, IPv4 as mapped; None for other texts."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return found.packed if found.version == 6 else bytes(10) + b"\xff\xff" + found.packed
