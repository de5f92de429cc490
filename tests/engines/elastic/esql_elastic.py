"""Elastic's own ES|QL parser, type checker and lists of names (`detection-rules-esql-py`, Elastic License 2.0).

A tool of the tests, installed by `make .cache/esql/stamp`, since its wheel asks for a newer Python than it needs. A
long condition takes it up to half a minute: `make conformance` has all queries checked, `make test` the short ones.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.elastic.esql_syntax import Tree, unescaped

_HOME = Path(os.environ.get("IMDSWATCH_ESQL", Path(__file__).parents[3] / ".cache" / "esql"))
VERSIONS = ("9.3.0", "9.4.0", "9.5.0")
"""The grammars a query must suit (`SET unmapped_fields` came with 9.3)."""


def parser_missing() -> str:
    """Return why the parser cannot run here; empty if it can."""
    return (
        ""
        if (_HOME / "esql").is_dir()
        else "Elastic's ES|QL parser is not installed: `make .cache/esql/stamp`"
    )


class ElasticRefuses(Exception):
    """A query that Elastic's parser or type checker refuses."""


class ElasticParser:
    """Checks queries against an index whose fields have the given types."""

    def __init__(self, types: Mapping[str, str]) -> None:
        if str(_HOME) not in sys.path:
            sys.path.append(str(_HOME))
        import esql
        from antlr4.atn.ParserATNSimulator import ParserATNSimulator
        from antlr4.atn.PredictionMode import PredictionMode

        if not hasattr(ParserATNSimulator, "imdswatch_sll"):
            # SLL is the quick first stage that ANTLR recommends: where it succeeds, the answer is that of full LL.
            start = ParserATNSimulator.__init__

            def quick(self: Any, *args: Any, **named: Any) -> None:
                start(self, *args, **named)
                self.predictionMode = PredictionMode.SLL

            ParserATNSimulator.__init__ = quick
            ParserATNSimulator.imdswatch_sll = True
        self._esql = esql
        self._schema = esql.Schema({"properties": _nested(types)})

    def check(self, query: str) -> list[Tree]:
        """Return the conditions of a query as `esql_syntax` writes them; raises ElasticRefuses."""
        # Values in the tree do not tell a long quoted text from a short one, whose escapes are still in: write one kind.
        plain = re.sub(r'"""(.*?)"""', lambda one: _quoted(one[1]), query, flags=re.DOTALL)
        try:
            tree = self._esql.parse_query(plain)
            self._esql.analyze(tree, self._schema)
            self._esql.check_catalog_names(tree)
            for version in VERSIONS:
                self._esql.verify_features(tree, version)
        except self._esql.EsqlError as error:
            raise ElasticRefuses(f"{type(error).__name__}: {error}"[:500]) from error
        where = [one for one in tree.commands if type(one).__name__ == "WhereCommand"]
        return [_tree(next(iter(one.iter_children()))) for one in where]


def _tree(node: Any) -> Tree:
    match type(node).__name__:
        case "ColumnRef":
            return ("column", node.name)
        case "Literal":
            return ("value", unescaped(node.value) if node.kind == "string" else node.value)
        case "BinaryExpr":
            return (node.op, _tree(node.left), _tree(node.right))
        case "FunctionCall":
            return ("call", node.name, *map(_tree, node.args))
    raise ElasticRefuses(f"{type(node).__name__} is not known here")


def _nested(types: Mapping[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, kind in types.items():
        *path, last = name.split(".")
        inner = out
        for step in path:
            inner = inner.setdefault(step, {}).setdefault("properties", {})
        inner.setdefault(last, {})["type"] = kind
    return out


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
