"""Kibana KQL to Elasticsearch's query DSL, as Kibana's `@kbn/es-query` builds it (kuery/functions: is, range, exists).

Quoted values are `match_phrase`, bare ones `match`, with `*` a `query_string` on that field in which everything else
is escaped, a lone `*` is `exists`; `and` is `bool.filter`, `or` `bool.should`, `not` `bool.must_not`. Pure.
"""

from __future__ import annotations

import re
from typing import Any

from kibana_ql import KqlParser
from parsimonious.exceptions import ParseError, VisitationError

_PARSER = KqlParser()
_RANGE = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


class KueryError(Exception):
    """A text that is no KQL."""


def dsl(query: str) -> dict[str, Any]:
    """Return the query DSL of a KQL text; raises KueryError."""
    try:
        tree = _PARSER.ast(_PARSER.parse(query))
    except (ParseError, VisitationError) as error:
        raise KueryError(str(error)[:300]) from error
    return _node(tree)


def _node(node: Any) -> dict[str, Any]:
    match node:
        case {"field": field, "op": op, "value": value}:
            return {"range": {field: {_RANGE[op]: _bare(value)}}}
        case {"field": field, "value": value}:
            return _values(field, value)
        case {"op": "not", "expr": inner}:
            return _bool("must_not", [_node(inner)])
        case {"op": ("and" | "or") as op}:
            return _bool("filter" if op == "and" else "should", [_node(one) for one in _parts(node)])
    raise KueryError(f"unknown node {str(node)[:200]}")


def _values(field: str, value: Any) -> dict[str, Any]:
    match value:
        case {"op": "not", "expr": inner}:
            return _bool("must_not", [_values(field, inner)])
        case {"op": ("and" | "or") as op}:
            return _bool(
                "filter" if op == "and" else "should", [_values(field, one) for one in _parts(value)]
            )
        case tuple():
            return _bare_value(field, value[0])
        case str():
            return {"match_phrase": {field: value}}
    raise KueryError(f"unknown value {str(value)[:200]}")


def _bare_value(field: str, text: str) -> dict[str, Any]:
    if text == "*":
        return {"exists": {"field": field}}
    if "*" in text:
        escaped = re.sub(r'[+\-=&|><!(){}\[\]^"~?:\\/ ]', r"\\\g<0>", text)
        return {"query_string": {"fields": [field], "query": escaped}}
    return {"match": {field: text}}


def _bare(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def _parts(node: dict[str, Any]) -> list[Any]:
    """Return the operands of one `and` or `or`; the parser gives a first one and the rest."""
    rest = node["right"]
    several = isinstance(rest, dict) and set(rest) == {"op", "exprs"}
    return [node["left"], *(rest["exprs"] if several else [rest])]


def _bool(kind: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    more = {"minimum_should_match": 1} if kind == "should" else {}
    return {"bool": {kind: parts, **more}}
