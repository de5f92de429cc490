"""Runs an AQL query: `run` is the one verb of this package.

Pure: the events are not changed. Raises `AqlError` with line and column for what it does not know, and, when strict,
`Undocumented` when the answer depends on a place that the guide leaves open.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import yaml
from sqlglot import exp

from .compiler import ADDRESSES, CLAUSES, Compiler, Value, place, sql_name
from .dialect import Window, parsed
from .errors import AqlError, Undocumented
from .functions import Call, address, in_cidr, java_regex, retrieval
from .readings import OPEN, Readings

Event = dict[str, Any]
NOW = 1_700_000_000_000
SQL_TYPES = {"number": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN"}


@functools.cache
def shipped() -> dict[str, dict[str, str]]:
    """Return the kinds of the documented columns, table by table."""
    tables = yaml.safe_load((Path(__file__).parent / "columns.yml").read_text(encoding="utf-8"))
    return {
        table: {name: kind for kind, names in kinds.items() for name in names.split()}
        for table, kinds in tables.items()
    }


def run(
    query: str,
    events: Sequence[Event],
    *,
    flows: Sequence[Event] = (),
    columns: Mapping[str, Any] | Iterable[str] = (),
    sets: Mapping[str, Any] | None = None,
    maps: Mapping[str, Any] | None = None,
    now: float = NOW,
    strict: bool = False,
) -> list[Event]:
    """Evaluate a query and return the rows in order; a row of an event or flow keeps its `id`.

    `columns` declares custom properties: names, or name -> kind (text, number, double, bool, ip, ip4, ip6).
    `maps` has the reference maps, and the names of ids, as {"LOGSOURCETYPENAME": {"23": "Squid"}}.
    """
    milliseconds = int(now if now > 1e11 else now * 1000)
    try:
        tree, window = parsed(query, milliseconds)
        table = _table(tree)
        kinds = {
            **shipped()[table],
            **{name.casefold(): kind for name, kind in _declared(columns, table).items()},
        }
        source = _within(events if table == "events" else flows, window)
        calls = retrieval(sets or {}, maps or {})

        def answer(readings: Readings, watch: bool) -> list[Event]:
            return _answered(tree, source, Compiler(kinds, calls, readings, milliseconds, watch))

        rows = answer(Readings(), strict)
        if strict:
            for name, (choice, why) in OPEN.items():
                if answer(Readings(**{name: choice}), False) != rows:
                    raise Undocumented(f"the guide does not say {why}")
        return rows
    except AqlError as error:
        raise error.located(query) from None
    except RecursionError:
        raise AqlError("parentheses or functions that are nested too deeply", 0).located(query) from None


def _declared(columns: Mapping[str, Any] | Iterable[str], table: str) -> dict[str, str]:
    if isinstance(columns, Mapping):
        if set(columns) <= {"events", "flows"} and columns:
            return _declared(columns.get(table, ()), table)
        return {
            name: str(kind) if kind in (*SQL_TYPES, *ADDRESSES, "bytes") else "text"
            for name, kind in columns.items()
        }
    return dict.fromkeys(columns, "text")


def _table(tree: exp.Select) -> str:
    for name, part in tree.args.items():
        if part and name not in CLAUSES:
            node = part[0] if isinstance(part, list) else part
            raise AqlError(
                f"{name} is not AQL that this evaluator knows",
                place(node) if isinstance(node, exp.Expression) else 0,
            )
    source = tree.args.get("from_")
    if source is None or not isinstance(source.this, exp.Table):
        raise AqlError("a query selects FROM events or flows", 0)
    name = source.this.name.lower()
    if name not in shipped() or source.this.args.get("alias") or source.this.args.get("db"):
        raise AqlError(f"unknown table {source.this.sql()!r}; events or flows", place(source))
    return name


def _within(rows: Sequence[Event], window: Window) -> list[Event]:
    """Keep what started in the window; an event of a test that has no starttime counts as new."""
    kept = []
    for row in rows:
        time = next((value for name, value in row.items() if name.casefold() == "starttime"), None)
        if time is None or window.start <= int(time) < window.before:
            kept.append(row)
    return kept


def _answered(tree: exp.Select, source: list[Event], compiler: Compiler) -> list[Event]:
    star = [node for node in tree.expressions if isinstance(node, exp.Star)]
    outputs: list[tuple[str, Value]] = []
    for node in tree.expressions:
        if isinstance(node, exp.Star):
            continue
        inner = node.this if isinstance(node, exp.Alias) else node
        value = compiler.value(inner)
        # "Quotation marks": single or double quotes around an alias.
        name = (
            node.alias
            if isinstance(node, exp.Alias)
            else node.name
            if isinstance(node, exp.Column)
            else inner.sql()
        )
        outputs.append((name, value))
    compiler.aliases = {name.casefold(): value for name, value in outputs}
    # "LIKE clause": WHERE may use an alias of the SELECT list.
    condition = compiler.condition(tree.args["where"].this) if tree.args.get("where") else None
    if condition and condition.aggregate:
        raise AqlError("an aggregate in WHERE; it belongs into HAVING", place(tree.args["where"]))
    groups = [
        compiler.value(_named(node))
        for node in (tree.args["group"].expressions if tree.args.get("group") else [])
    ]
    having = compiler.condition(tree.args["having"].this) if tree.args.get("having") else None
    order = [
        f"{compiler.value(_named(node.this)).sql} {'DESC' if node.args.get('desc') else 'ASC'} NULLS LAST"
        for node in (tree.args["order"].expressions if tree.args.get("order") else [])
    ]
    grouping = bool(groups) or having is not None or any(value.aggregate for _, value in outputs)
    if star and (grouping or outputs):
        raise AqlError("SELECT * beside other columns is not in this evaluator", 0)
    keys = {value.sql for value in groups}
    selected = []
    for number, (_, value) in enumerate(outputs):
        sql = value.sql
        if grouping and not value.aggregate and value.sql not in keys and value.literal is None:
            sql = f"{compiler.readings.ungrouped.upper()}({sql} ORDER BY aql_row)"
        selected.append(f"{sql} AS aql_{number}")
    row = "MIN(aql_row)" if grouping else "aql_row"
    statement = f"SELECT {', '.join([f'{row} AS aql_order', *selected])} FROM aql_source"
    if condition:
        statement += f" WHERE {condition.sql}"
    if keys:
        statement += f" GROUP BY {', '.join(value.sql for value in groups)}"
    if having:
        statement += f" HAVING {having.sql}"
    statement += f" ORDER BY {', '.join([*order, 'aql_order'])}"
    found = _executed(statement, source, compiler)
    if tree.args.get("limit"):
        most = compiler.value(tree.args["limit"].expression)
        if not most.literal or not most.literal.isdecimal():
            raise AqlError("LIMIT takes a number", place(tree.args["limit"]))
        if len(found) > int(most.literal) and not order:
            compiler.undocumented("which rows LIMIT keeps without ORDER BY", tree.args["limit"])
        found = found[: int(most.literal)]
    if star:
        return [dict(source[int(line[0])]) for line in found]
    rows = []
    for line in found:
        shown = {name: held for (name, _), held in zip(outputs, line[1:], strict=True)}
        if not grouping and "id" in source[int(line[0])]:
            shown = {"id": source[int(line[0])]["id"], **shown}
        rows.append(shown)
    return rows


def _named(node: exp.Expression) -> exp.Expression:
    """Take a text in single quotes in GROUP BY or ORDER BY as the alias it spells, as the guide's examples do."""
    if isinstance(node, exp.Literal) and node.is_string:
        return exp.column(exp.to_identifier(str(node.this), quoted=True))
    return node


def _executed(statement: str, source: list[Event], compiler: Compiler) -> list[tuple[Any, ...]]:
    """Let DuckDB answer; an error that a function of ours raises comes back as it was."""
    connection = duckdb.connect(config={"threads": 1})
    raised: list[AqlError] = []
    try:
        _registered(connection, compiler, raised)
        names = list(compiler.used)
        kinds = [compiler.used[name] for name in names]
        spec = [
            f"{sql_name(name)} {SQL_TYPES.get(kind, 'VARCHAR')}"
            for name, kind in zip(names, kinds, strict=True)
        ]
        connection.execute(f"CREATE TABLE aql_source ({', '.join(['aql_row BIGINT', *spec])})")
        marks = ", ".join("?" * (len(names) + 1))
        for number, event in enumerate(source):
            held = {name.casefold(): value for name, value in event.items()}
            cells = [_cell(held.get(name), kind) for name, kind in zip(names, kinds, strict=True)]
            connection.execute(f"INSERT INTO aql_source VALUES ({marks})", [number, *cells])
        return connection.execute(statement).fetchall()
    except duckdb.Error as error:
        raise (raised[0] if raised else AqlError(f"DuckDB refused {statement!r}: {error}")) from None
    finally:
        connection.close()


def _cell(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind in ADDRESSES:
        return address(value) or str(value)
    return value if kind in SQL_TYPES else str(value)


def _registered(connection: duckdb.DuckDBPyConnection, compiler: Compiler, raised: list[AqlError]) -> None:
    full = compiler.readings.matches == "full"

    def matches(text: str, pattern: str, caseless: bool) -> bool:
        regex = java_regex(pattern, caseless)
        return bool(regex.fullmatch(text) if full else regex.search(text))

    own: dict[str, Call] = {
        "aql_matches": (("text", "text", "bool"), "bool", matches),
        "aql_incidr": (("text", "text"), "bool", in_cidr),
    }
    for name, (kinds, result, function) in {**own, **compiler.functions}.items():
        types = [SQL_TYPES.get(kind, "VARCHAR") for kind in kinds]
        guarded = _guarded(function, len(types), raised)
        connection.create_function(
            name, guarded, types, SQL_TYPES.get(result, "VARCHAR"), null_handling="special"
        )


def _guarded(function: Callable[..., Any], count: int, raised: list[AqlError]) -> Callable[..., Any]:
    """Give null for null, remember our own errors, which DuckDB would wrap into text, and have a fixed arity."""

    def call(*values: Any) -> Any:
        if any(value is None for value in values):
            return None
        try:
            return function(*values)
        except AqlError as error:
            raised.append(error)
            raise

    # DuckDB counts the parameters of what it is given.
    fixed: dict[int, Callable[..., Any]] = {
        1: lambda a: call(a),
        2: lambda a, b: call(a, b),
        3: lambda a, b, c: call(a, b, c),
    }
    return fixed[count]
