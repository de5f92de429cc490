"""A SELECT statement answered: time window, WHERE, grouping, HAVING, ORDER BY, LIMIT.

Ariel Query Language Guide, "AQL data aggregation functions", "GROUP BY clause", "HAVING clause", "Time criteria in
AQL queries".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .errors import AqlError
from .evaluate import Evaluator
from .functions import FUNCTIONS
from .tree import Call, Column, Expr, Item, Literal, Star, Statement
from .values import Value, moment, number, text

Row = Mapping[str, Value]
AGGREGATES = {"COUNT", "UNIQUECOUNT", "SUM", "AVG", "MIN", "MAX", "FIRST", "LAST"}
GROUPED = "a selected column that is neither grouped by nor aggregated"
TIMES = ("starttime", "endtime", "firstpackettime", "lastpackettime")
LAYOUT = re.compile(r"(\d{4})[-/: ](\d\d)[-/: ](\d\d)[- ](\d{1,2}):(\d\d)(?::(\d\d))?(?:'?[zZ]'?)?")


@dataclass(frozen=True, slots=True)
class Select:
    """One statement with what answers its expressions."""

    statement: Statement
    of: Evaluator

    def rows(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.check()
        chosen = [(event, {key.lower(): value for key, value in event.items()}) for event in events]
        chosen = [(event, row) for event, row in chosen if self.in_window(row)]
        if self.statement.where is not None:
            where = self.statement.where
            if any(aggregated(node) for node in (where,)):
                raise AqlError("an aggregate function cannot stand in WHERE")
            chosen = [(event, row) for event, row in chosen if self.of.truth(where, row) is True]
        if self.statement.group or any(aggregated(item.expr) for item in self.statement.items):
            return self.grouped([row for _, row in chosen])
        if self.statement.having is not None:
            raise AqlError("HAVING stands after GROUP BY")
        for expr, descending in reversed(self.statement.order):
            chosen.sort(key=lambda pair, expr=expr: ranked(self.of.value(expr, pair[1])), reverse=descending)
        limited = chosen if self.statement.limit is None else chosen[: self.statement.limit]
        return [self.shown(event, row) for event, row in limited]

    def check(self) -> None:
        """Refuse unknown columns and functions also where there is no row to meet them."""
        parts = [item.expr for item in self.statement.items] + list(self.statement.group)
        parts += [expr for expr, _ in self.statement.order]
        parts += [expr for expr in (self.statement.where, self.statement.having) if expr is not None]
        for part in parts:
            self.check_names(part)

    def check_names(self, node: Expr) -> None:
        if isinstance(node, Column):
            name = node.name.lower()
            if name not in self.of.columns and name not in (key.lower() for key in self.of.aliases):
                hint = (
                    ""
                    if node.quoted
                    else " (a custom property has to be declared; a name with signs needs quotes)"
                )
                raise AqlError(f"unknown column {node.name!r}{hint}", "", node.position)
        elif isinstance(node, Call):
            operator = node.name in OPERATORS or not node.name[0].isalpha()
            if not operator and node.name not in FUNCTIONS and node.name not in AGGREGATES:
                raise AqlError(f"unknown function {node.name}", "", node.position)
            for arg in node.args:
                self.check_names(arg)

    def shown(self, event: dict[str, Any], row: Row) -> dict[str, Any]:
        out: dict[str, Any] = {"id": event["id"]} if "id" in event else {}
        for item in self.statement.items:
            if isinstance(item.expr, Star):
                out.update(event)
            else:
                out[item.name] = plain(self.of.without_alias(item.name.lower()).value(item.expr, row))
        return out

    def grouped(self, rows: list[Row]) -> list[dict[str, Any]]:
        groups: dict[tuple[Value, ...], list[Row]] = {}
        for row in rows:
            key = tuple(self.of.value(expr, row) for expr in self.statement.group)
            groups.setdefault(key, []).append(row)
        if not self.statement.group:
            groups = {(): rows}
        out = []
        for members in groups.values():
            if (
                self.statement.having is not None
                and self.aggregate(self.statement.having, members) is not True
            ):
                continue
            order = [ranked(self.aggregate(expr, members)) for expr, _ in self.statement.order]
            out.append(
                (order, {item.name: plain(self.selected(item, members)) for item in self.statement.items})
            )
        for at in reversed(range(len(self.statement.order))):
            out.sort(key=lambda pair, at=at: pair[0][at], reverse=self.statement.order[at][1])
        shown = [row for _, row in out]
        return shown if self.statement.limit is None else shown[: self.statement.limit]

    def selected(self, item: Item, members: list[Row]) -> Value:
        if isinstance(item.expr, Star):
            raise AqlError("* cannot be selected beside GROUP BY or an aggregate function")
        return self.aggregate(item.expr, members)

    def aggregate(self, node: Expr, members: list[Row]) -> Value:
        """Answer an expression over a group; what is not aggregated has the value of one of its rows."""
        if isinstance(node, Column):
            alias = next((e for key, e in self.of.aliases.items() if key.lower() == node.name.lower()), None)
            if alias is not None and aggregated(alias):
                return self.aggregate(alias, members)
        if isinstance(node, Call) and node.name in AGGREGATES:
            return self.folded(node, members)
        if isinstance(node, Call) and aggregated(self.resolved(node)):
            args = tuple(Literal(self.aggregate(arg, members)) for arg in node.args)
            return self.of.value(Call(node.name, args, node.position), {})
        if not members:
            return None
        values = [self.of.value(node, row) for row in members]
        return self.of.context.readings.take(GROUPED, values[0], values[-1])

    def resolved(self, node: Expr) -> Expr:
        """Put aliases of aggregates in their place, so that HAVING may use them."""
        if isinstance(node, Column):
            alias = next((e for key, e in self.of.aliases.items() if key.lower() == node.name.lower()), None)
            return alias if alias is not None and aggregated(alias) else node
        if isinstance(node, Call):
            return Call(node.name, tuple(self.resolved(arg) for arg in node.args), node.position)
        return node

    def folded(self, node: Call, members: list[Row]) -> Value:
        if len(node.args) > 1 or (not node.args and node.name != "COUNT"):
            raise AqlError(f"{node.name} takes one column", "", node.position)
        if not node.args or isinstance(node.args[0], Star):
            return len(members)
        values = [self.of.value(node.args[0], row) for row in members]
        present = [value for value in values if value is not None]
        if node.name == "COUNT":
            # "COUNT: Returns the count of the rows in the aggregate"; SQL leaves NULL out
            return self.of.context.readings.take("COUNT(column) and NULL", len(values), len(present))
        if node.name == "UNIQUECOUNT":
            return len({plain(value) for value in present})
        if node.name in ("FIRST", "LAST"):
            return (values or [None])[0 if node.name == "FIRST" else -1]
        if not present:
            return None
        if node.name in ("MIN", "MAX"):
            return (min if node.name == "MIN" else max)(present, key=ranked)
        amounts = [number(value) for value in present]
        if None in amounts:
            raise AqlError(f"{node.name} needs numbers", "", node.position)
        total = sum(amount for amount in amounts if amount is not None)
        return total if node.name == "SUM" else total / len(present)

    def in_window(self, row: Row) -> bool:
        """Tell whether a row lies in the time window; without `now` a relative window lets everything through.

        "By default, if the TIMEFRAME value is not specified, the query runs against the last five minutes." START and
        STOP count in minutes: 15:51 to 17:00 is 15:51:00 to 16:59:59, 15:51:20 to 17:00:20 is 15:51:00 to 17:00:59.
        Which time column that is, the page does not say.
        """
        window, now = self.statement.window, self.of.context.now
        if window.start is None and now is None:
            return True
        if window.start is not None:
            low = self.boundary(window.start, stop=False)
            high = self.boundary(window.stop, stop=True) if window.stop is not None else (now or 0) * 1000 + 1
        else:
            high = (now or 0) * 1000 + 1
            low = (now or 0) * 1000 - (window.last if window.last is not None else 300) * 1000
        moments = [moment(row[name]) for name in TIMES if row.get(name) is not None]
        if not moments:
            raise AqlError("a row without starttime or endtime meets a time window")
        inside = [low <= (at or 0) < high for at in moments]
        place = "the time column a window looks at (starttime, endtime)"
        return self.of.context.readings.take(place, inside[0], *inside[1:])

    def boundary(self, node: Expr, *, stop: bool) -> float:
        if isinstance(node, Call):
            return float(self.of.value(node, {}))
        found = LAYOUT.fullmatch(str(node.value)) if isinstance(node, Literal) else None
        if not found:
            raise AqlError("START and STOP take 'yyyy-MM-dd HH:mm[:ss]' or PARSEDATETIME(…)")
        year, month, day, hour, minute = (int(part) for part in found.groups()[:5])
        start = datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp() * 1000
        return start + 60_000 if stop and int(found[6] or 0) else start


OPERATORS = {"AND", "OR", "NOT", "CASE", "IN", "IS NULL", "LIKE", "ILIKE", "MATCHES", "IMATCHES", "BETWEEN"}


def aggregated(node: Expr) -> bool:
    return isinstance(node, Call) and (node.name in AGGREGATES or any(aggregated(arg) for arg in node.args))


def ranked(value: Value) -> tuple[bool, bool, float, str]:
    """Order numbers before texts and NULL last."""
    amount = number(value)
    return value is None, amount is None, float(amount or 0), "" if value is None else text(value)


def plain(value: Value) -> Value:
    """Give out an address as a text."""
    return str(value) if isinstance(value, str) else value
