"""Microsoft's Kusto parser and binder (npm `@kusto/language-service-next`), in process through V8.

It is what the Azure portal's editor runs: syntax, names, types, arguments. It runs no query. One thing it accepts that
the service refuses is a comparison of a number with a text, so `Binder` looks for that by itself.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.kusto.tables import PARSERS, PLAIN, WATCHLIST, columns

PACKAGE = Path("node_modules", "@kusto", "language-service-next")
_ROOT = Path(__file__).parents[3]
_NUMBERS = ("int", "long", "real")


def _home() -> Path:
    return Path(os.environ.get("IMDSWATCH_KUSTO", _ROOT / ".cache" / "kusto")) / PACKAGE


def binder_missing() -> str:
    """Return why the binder cannot run here; empty if it can."""
    if not (_home() / "bridge.min.js").is_file():
        return "Microsoft's Kusto binder is not installed: `make .cache/kusto/stamp` does it"
    return ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that the binder says of a query."""

    severity: str
    code: str
    message: str


class Binder:
    """Microsoft's binder over the tables of `tables.py`; takes a second to start.

    A context manager: V8 has threads, and a process that ends without closing it may hang.
    """

    def __init__(self) -> None:
        from py_mini_racer import MiniRacer

        self._v8 = MiniRacer()
        for name in ("bridge.min.js", "Kusto.Language.Bridge.min.js"):  # in this order
            self._v8.eval((_home() / name).read_text(encoding="utf-8"))
        self._v8.eval(
            "var S = Kusto.Language.Symbols;"
            "function table(n, c) { return new S.TableSymbol.$ctor7(n, c, null); }"
            "function stored(n, p, c) { return new S.FunctionSymbol.$ctor16(n, p, '{ datatable' + c + '[] }', null); }"
        )
        symbols = [f"table({json.dumps(name)}, {json.dumps(_declared(columns(name)))})" for name in PLAIN]
        symbols += [
            f"stored({json.dumps(name)}, {json.dumps(f'({parameters})')}, {json.dumps(_declared(columns(name)))})"
            for name, (_, _, parameters) in PARSERS.items()
        ]
        symbols.append(
            f"stored('_GetWatchlist', '(watchlistAlias:string)', {json.dumps(_declared(WATCHLIST))})"
        )
        self._v8.eval(
            f"var G = Kusto.Language.GlobalState.Default.WithDatabase(new S.DatabaseSymbol.ctor('ws', [{', '.join(symbols)}]));"
        )

    def __enter__(self) -> Binder:
        return self

    def __exit__(self, *found: object) -> None:
        self._v8.close()

    def check(self, query: str) -> list[Diagnostic]:
        """Return what is wrong with a query: errors and warnings of the binder, and numbers compared with texts."""
        found = json.loads(
            self._v8.eval(
                f"(function() {{ var d = Kusto.Language.KustoCode.ParseAndAnalyze({json.dumps(query)}, G).GetDiagnostics(),"
                " out = []; for (var i = 0; i < d.Count; i++) { var one = d.getItem(i);"
                " out.push([one.Severity, one.Code, one.Message]); } return JSON.stringify(out); })()"
            )
        )
        return [Diagnostic(*map(str, one)) for one in found] + list(_mixed(query))


def _declared(named: dict[str, str] | object) -> str:
    return "(" + ", ".join(f"{name}:{kind}" for name, kind in dict(named).items()) + ")"  # type: ignore[call-overload]


def _mixed(query: str) -> Sequence[Diagnostic]:
    numbers = {
        name for table in (*PLAIN, *PARSERS) for name, kind in columns(table).items() if kind in _NUMBERS
    }
    texts = {
        name for table in (*PLAIN, *PARSERS) for name, kind in columns(table).items() if kind == "string"
    }
    out = []
    for name, operator, value in re.findall(r"\b([A-Z]\w+) (==|=~|!=|<|>|in~? \()\s*([\"'\d])", query):
        if (name in numbers - texts and value in "\"'") or (name in texts - numbers and value.isdigit()):
            out.append(
                Diagnostic(
                    "Error",
                    "own",
                    f"{name} {operator.strip(' (')} {value}…: a number is compared with a text",
                )
            )
    return out
