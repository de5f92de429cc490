"""Statistics: `stats`, `eventstats` and `tstats`.

Search Reference, "stats", "eventstats", "tstats" and "Statistical and charting functions". Rows that lack a field of
the BY clause are not counted; a BY field with several values counts under each of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .context import Context
from .errors import SplError
from .expressions import Compiled, expression
from .models import dataset
from .source import Tokens
from .terms import compiled
from .times import span_of
from .values import Event, compare, field_of, number_of, text_of, values_of

ALIASES = {"c": "count", "dc": "dc", "distinct_count": "dc", "mean": "avg"}
FUNCTIONS = {
    "count",
    "dc",
    "min",
    "max",
    "values",
    "list",
    "first",
    "last",
    "earliest",
    "latest",
    "sum",
    "avg",
}


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One column of statistics: function(field) or function(eval(condition)), and its name."""

    function: str
    field: str | None
    name: str
    condition: Compiled | None = None


def aggregates(context: Context, tokens: Tokens, stop: Sequence[str]) -> list[Aggregate]:
    """Read `count min(x) AS y values(z)` up to a stop word or the end."""
    found: list[Aggregate] = []
    while tokens.here.kind != "end" and tokens.here.value.lower() not in stop:
        if tokens.accept(","):
            continue
        token = tokens.name("a statistical function")
        function = ALIASES.get(token.value.lower(), token.value.lower())
        if function not in FUNCTIONS:
            raise SplError(f"unknown statistical function {token.value!r}", token.start)
        field, condition, name = None, None, token.value
        if tokens.accept("(", "punct"):
            if tokens.here.value == "eval" and tokens.after.value == "(":
                tokens.take()
                begin = tokens.take().end
                depth = 1
                while depth and tokens.here.kind != "end":
                    depth += {"(": 1, ")": -1}.get(tokens.here.value, 0) if tokens.here.kind == "punct" else 0
                    finish = tokens.take().start
                condition = expression(context, begin, finish)
            elif tokens.here.value != ")":
                field = tokens.name().value
            tokens.expect(")")
            name = tokens.text[token.start : tokens.items[tokens.index - 1].end]
        elif function != "count":
            raise SplError(f"{function} needs a field", token.start)
        if tokens.keyword("as"):
            name = tokens.name().value
        found.append(Aggregate(function, field, name, condition))
    if not found:
        raise SplError("expected a statistical function", tokens.here.start)
    return found


def column(aggregate: Aggregate, rows: list[Event]) -> Any:
    """Calculate one aggregate over the rows of a group."""
    if aggregate.condition:
        chosen = [row for row in rows if aggregate.condition.of(row) is True]
        if aggregate.function != "count":
            raise SplError(f"{aggregate.function}(eval(...)) is not in this evaluator")
        return len(chosen)
    if aggregate.field is None:
        return len(rows)
    name = aggregate.field
    values = [item for row in rows for item in values_of(row.get(name))]
    function = aggregate.function
    if function == "count":
        return len(values)
    if function == "dc":
        return len({text_of(item) for item in values})
    if function == "list":
        return field_of(values[:100])
    if function == "values":
        # values(): distinct values in lexicographical order.
        return field_of(sorted({text_of(item) for item in values}))
    if not values:
        return None
    if function in ("min", "max"):
        # Numbers if all values are, else lexicographical order.
        ordered = sorted(values, key=_order(values))
        return ordered[0] if function == "min" else ordered[-1]
    if function in ("sum", "avg"):
        numbers = [number for item in values if (number := number_of(item)) is not None]
        return None if not numbers else sum(numbers) / (len(numbers) if function == "avg" else 1)
    if function in ("first", "last"):
        # The first and the last in the order of the rows, not of time.
        return values[0] if function == "first" else values[-1]
    dated = [row for row in rows if values_of(row.get(name))]
    if any(number_of(row.get("_time")) is None for row in dated):
        raise SplError(f"{function}({name}) meets a row without _time")
    edge = min if function == "earliest" else max
    return values_of(edge(dated, key=lambda row: float(number_of(row["_time"]) or 0))[name])[0]


def _order(values: list[Any]) -> Callable[[Any], Any]:
    return number_of if all(number_of(item) is not None for item in values) else text_of


def grouped(rows: list[Event], by: list[str]) -> list[tuple[tuple[Any, ...], list[Event]]]:
    """Group rows by fields; ascending by the values of the group."""
    groups: dict[tuple[str, ...], tuple[tuple[Any, ...], list[Event]]] = {}
    for row in rows:
        for values in itertools.product(*(values_of(row.get(name)) for name in by)):
            key = tuple(text_of(value) for value in values)
            groups.setdefault(key, (values, []))[1].append(row)
    found = list(groups.values())
    for index in reversed(range(len(by))):
        found.sort(key=lambda group, index=index: _Ordered(group[0][index]))
    return found


class _Ordered:
    """A sort key that orders as the language does: numbers as numbers, else text."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Ordered) -> bool:
        return compare(self.value, other.value) < 0


def counted(rows: list[Event], columns: list[Aggregate], by: list[str]) -> list[Event]:
    """Build the rows of statistics; without BY it is one row, even over nothing."""
    groups = grouped(rows, by) if by else [((), rows)]
    return [
        {
            **dict(zip(by, values, strict=True)),
            **{item.name: held for item in columns if (held := column(item, members)) is not None},
        }
        for values, members in groups
    ]


def stats(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    tokens = Tokens(context.text, start, end)
    columns = aggregates(context, tokens, ("by",))
    by = tokens.names() if tokens.keyword("by") else []
    tokens.done()
    return counted(rows, columns, by)


def eventstats(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Add the statistics of its group to each row; rows outside all groups stay as they are."""
    tokens = Tokens(context.text, start, end)
    columns = aggregates(context, tokens, ("by",))
    by = tokens.names() if tokens.keyword("by") else []
    tokens.done()
    added: dict[int, Event] = {}
    for _, members in grouped(rows, by) if by else [((), rows)]:
        held = {item.name: column(item, members) for item in columns}
        for row in members:
            added.setdefault(id(row), held)
    return [{**row, **added.get(id(row), {})} for row in rows]


def tstats(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Statistics over a data model or over indexed fields.

    "tstats": WHERE takes a search expression, BY a list of fields with an optional span for _time;
    summariesonly=true looks at accelerated data alone (events may say `_summarised: false`), default false.
    """
    tokens = Tokens(context.text, start, end)
    only = False
    while option := tokens.option(
        "summariesonly", "allow_old_summaries", "local", "prestats", "append", "chunk_size", "fillnull_value"
    ):
        name, value = option
        yes = value.value.lower() in ("t", "true", "1")
        if name in ("prestats", "append", "fillnull_value") and yes | (name == "fillnull_value"):
            raise SplError(f"tstats {name}= is not in this evaluator", value.start)
        only = yes if name == "summariesonly" else only
    columns = aggregates(context, tokens, ("from", "where", "by", "groupby"))
    fields: list[str] | None = None
    source = [dict(event) for event in context.events]
    if tokens.keyword("from"):
        option = tokens.option("datamodel", "sid")
        if not option or option[0] != "datamodel":
            raise SplError("tstats reads FROM datamodel= only", tokens.here.start)
        _, fields, source = dataset(context, option[1].value, option[1].start)
        fields += ["_time", "host", "source", "sourcetype", "index"]
    if only:
        source = [row for row in source if row.get("_summarised", True)]
    if tokens.keyword("where"):
        _known(tokens, fields, "where")
        keep = compiled(context, tokens, ("by", "groupby"), context.readings.tstats_where)
        source = [row for row in source if keep(row)]
    by: list[str] = []
    if tokens.keyword("by", "groupby"):
        while tokens.here.kind != "end":
            at = tokens.here.start
            if option := tokens.option("span"):
                width = span_of(option[1].value, option[1].start)
                source = [
                    {**row, "_time": float(number_of(row["_time"]) or 0) // width * width}
                    for row in source
                    if "_time" in row
                ]
            elif not tokens.accept(","):
                by.append(tokens.name().value)
                _field(by[-1], fields, at)
    tokens.done()
    for item in columns:
        if item.field:
            _field(item.field, fields, start)
    return counted(source, columns, by)


def _known(tokens: Tokens, fields: list[str] | None, clause: str) -> None:
    """Check the fields of a WHERE clause against the data model before it is compiled."""
    for number in range(tokens.index, len(tokens.items) - 1):
        token, after = tokens.items[number], tokens.items[number + 1]
        if token.kind == "word" and token.value.lower() in ("by", "groupby"):
            return
        compared = after.kind == "op" or (after.kind == "word" and after.value == "IN")
        if token.kind in ("word", "string") and compared and token.value not in ("earliest", "latest"):
            _field(token.value, fields, token.start)


def _field(name: str, fields: list[str] | None, at: int) -> None:
    if fields is not None and name not in fields:
        raise SplError(f"the data model has no field {name!r}", at)
