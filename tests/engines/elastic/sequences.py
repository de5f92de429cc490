"""EQL on the language's reference engine (`eql`, AGPL-3.0: a tool of the tests, never shipped), in Elasticsearch's syntax.

Where the server differs, the query and the documents are brought to what the server does before the engine sees them:

- a field of type `ip` holds an IPv4-mapped address as IPv4, so documents are written that way;
- a regular expression means the whole value, where the engine anchors its start only; Lucene's operators are refused;
- a test on a field of several values holds if it holds for any of them (elastic/elasticsearch#76610; Elastic's own
  rules ask the array `event.type` so), where the engine compares the list: such tests are written once a value; `!=` is the negation of `==`, so it holds where no value is equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import eql
from eql import ast, parser
from eql.walkers import RecursiveWalker

from engines.elastic.esql import address
from engines.elastic.lucene import LuceneRegexError, python_regex
from engines.elastic.server import field_types


class EqlError(Exception):
    """A text that is no EQL, or that the engine cannot run."""


def run(query: str, documents: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the numbers of the documents that a query names, ascending; raises EqlError."""
    several = _several(documents)
    found: list[int] = []
    for pattern in re.findall(r'regex~?\s*\(?\s*"""(.*?)"""', query, re.DOTALL):
        try:
            python_regex(pattern)
        except LuceneRegexError as error:
            raise EqlError(str(error)) from error
    # The engine's `regex~` is `re.match`: `$` says what the server does anyway.
    anchored = re.sub(r'"""(.*?)"""', lambda one: f'"""(?:{one[1]})$"""', query, flags=re.DOTALL)
    try:
        with parser.elasticsearch_syntax:
            engine = eql.PythonEngine()
            engine.add_query(_Each(several).walk(eql.parse_query(anchored)))
    except eql.EqlError as error:
        raise EqlError(str(error)[:500]) from error
    engine.add_output_hook(lambda result: found.extend(one.data["imds_row"] for one in result.events))
    engine.stream_events([_event(number, one, several) for number, one in enumerate(documents)])
    return sorted(set(found))


def _event(number: int, document: Mapping[str, Any], several: Mapping[str, int]) -> eql.Event:
    data: dict[str, Any] = {"imds_row": number}
    for name, value in document.items():
        *path, last = name.split(".")
        inner = data
        for step in path:
            inner = inner.setdefault(step, {})
        values = [_typed(name, one) for one in (value if isinstance(value, list) else [value])]
        # Shorter lists repeat a value, since a place that is not there would be null and not just no match.
        inner[last] = values + values[-1:] * (several[name] - len(values)) if name in several else values[0]
    when = document.get("@timestamp")
    moment = datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp() if isinstance(when, str) else 0.0
    return eql.Event("network", int(moment * 1e7) + 116444736000000000, data)


def _typed(name: str, value: Any) -> Any:
    """Return a value as the index keeps it: addresses as addresses, a number in a keyword field as text."""
    kind = field_types().get(name)
    return address(value) if kind == "ip" else value if kind == "long" else str(value)


def _several(documents: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the fields that hold several values in some document, and how many at most."""
    out: dict[str, int] = {}
    for document in documents:
        for name, value in document.items():
            if isinstance(value, list):
                out[name] = max(out.get(name, 1), len(value))
    return out


class _Each(RecursiveWalker):  # type: ignore[misc]
    """Writes a test on a field of several values once for each value."""

    def __init__(self, several: Mapping[str, int]) -> None:
        super().__init__()
        self._several_values = several

    def _walk_comparison(self, node: Any) -> Any:
        return self._once_a_value(node)

    def _walk_in_set(self, node: Any) -> Any:
        return self._once_a_value(node)

    def _walk_function_call(self, node: Any) -> Any:
        return self._once_a_value(node)

    def _once_a_value(self, node: Any) -> Any:
        for field in (one for one in node if isinstance(one, ast.Field)):
            count = self._several_values.get(".".join([field.base, *field.path]))
            if count:
                fields = [ast.Field(field.base, [*field.path, at]) for at in range(count)]
                each = [_Replace(field, one).walk(node) for one in fields]
                unequal = isinstance(node, ast.Comparison) and node.comparator == ast.Comparison.NE
                return ast.And(each) if unequal else ast.Or(each)
        return node


class _Replace(RecursiveWalker):  # type: ignore[misc]
    def __init__(self, old: Any, new: Any) -> None:
        super().__init__()
        self._old, self._new = old, new

    def _walk_field(self, node: Any) -> Any:
        return self._new if node == self._old else node
