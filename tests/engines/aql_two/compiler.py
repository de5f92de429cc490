"""Writes the tree of an AQL query as DuckDB SQL, column by column and with the kind of each value.

Every node that AQL has is named here; any other is an error with its place, whatever SQL sqlglot understands.
"AQL logical and comparison operators", "WHERE clause", "GROUP BY clause", "LIKE clause", "Quotation marks".
The longest module of the package: it is the whole language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from .errors import AqlError, Undocumented
from .functions import AGGREGATES, CALLS, Call, address, java_regex, network
from .readings import Readings

ADDRESSES = {"ip4", "ip6", "ip"}
NUMBERS = {"number", "double"}
COMPARISONS = {exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
ARITHMETIC = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.BitwiseXor: "**"}
CLAUSES = {"kind", "expressions", "from_", "where", "group", "having", "order", "limit"}


@dataclass(frozen=True, slots=True)
class Value:
    """A piece of SQL and the kind of what it gives; `literal` is set for a constant, `grouped` under an aggregate."""

    sql: str
    kind: str
    literal: str | None = None
    aggregate: bool = False


@dataclass(slots=True)
class Compiler:
    """Compiles one query against the columns of one table; private working state, used once."""

    columns: Mapping[str, str]
    calls: Mapping[str, Call]
    readings: Readings
    now: int
    strict: bool = False
    used: dict[str, str] = field(default_factory=dict)
    functions: dict[str, Call] = field(default_factory=dict)
    aliases: dict[str, Value] = field(default_factory=dict)

    def undocumented(self, what: str, node: exp.Expression) -> None:
        """Raise in a strict run; else the first reading holds."""
        if self.strict:
            raise Undocumented(f"the guide does not say {what}", place(node))

    # --- values -----------------------------------------------------------------------------------------------------

    def value(self, node: exp.Expression) -> Value:
        """Compile any expression."""
        kind = type(node)
        if kind is exp.Paren:
            inner = self.value(node.this)
            return Value(f"({inner.sql})", inner.kind, inner.literal, inner.aggregate)
        if kind is exp.Literal:
            return self.literal(node)
        if kind is exp.Boolean:
            return Value("TRUE" if node.this else "FALSE", "bool")
        if kind is exp.Null:
            return Value("NULL", "any")
        if kind is exp.Neg:
            inner = self.value(node.this)
            return Value(
                f"-{self.number(inner, node)}",
                inner.kind,
                inner.literal and f"-{inner.literal}",
                inner.aggregate,
            )
        if kind is exp.Column:
            return self.column(node)
        if kind in (exp.And, exp.Or):
            # flatten() gives all operands of a chain, so that a list of a thousand ranges does not nest.
            parts = [self.condition(part) for part in node.flatten(unnest=False)]
            word = " AND " if kind is exp.And else " OR "
            return Value(
                f"({word.join(part.sql for part in parts)})",
                "bool",
                None,
                any(part.aggregate for part in parts),
            )
        if kind is exp.Not:
            return self.negated(node)
        if kind in COMPARISONS:
            return self.comparison(node)
        if kind in ARITHMETIC:
            return self.arithmetic(node)
        if kind in (exp.Like, exp.ILike, exp.RegexpLike, exp.RegexpILike):
            return self.pattern(node)
        if kind is exp.In:
            return self.member(node)
        if kind is exp.Between:
            low = exp.GTE(this=node.this.copy(), expression=node.args["low"])
            high = exp.LTE(this=node.this.copy(), expression=node.args["high"])
            return self.value(exp.And(this=low, expression=high))
        if kind is exp.Is:
            return self.is_null(node)
        if kind in (exp.Case, exp.If):
            return self.choice(node)
        if kind is exp.Anonymous:
            return self.call(node)
        raise AqlError(f"{node.sql()!r} ({kind.__name__}) is not AQL that this evaluator knows", place(node))

    def condition(self, node: exp.Expression) -> Value:
        """Compile an expression that must be a condition."""
        found = self.value(node)
        if found.kind != "bool":
            raise AqlError(f"{node.sql()!r} is no condition", place(node))
        return found

    @staticmethod
    def literal(node: exp.Literal) -> Value:
        text = str(node.this)
        if node.is_string:
            return Value(quoted(text), "text", text)
        return Value(text, "number" if text.isdecimal() else "double", text)

    def column(self, node: exp.Column) -> Value:
        """A name is a column of the table, a declared custom property, or an alias of the SELECT list."""
        if node.args.get("table"):
            raise AqlError(
                f"{node.sql()!r}: a name with a dot is a custom property and needs double quotes", place(node)
            )
        name = node.name
        key = name.casefold()
        alias = self.aliases.get(key)
        if alias and (self.readings.names == "alias" or key not in self.columns):
            return alias
        if key not in self.columns:
            raise AqlError(f"unknown column {name!r}", place(node))
        self.used[key] = self.columns[key]
        return Value(sql_name(key), self.columns[key])

    def text(self, value: Value, node: exp.Expression) -> str:
        """Take a value as text where text is wanted."""
        if value.kind in ("text", "any"):
            return value.sql
        if value.kind == "bytes":
            self.undocumented("how payload compares with text unless through UTF8()", node)
        return f"CAST({value.sql} AS VARCHAR)"

    def number(self, value: Value, node: exp.Expression) -> str:
        """Take a value as a number; a text that spells one will do (the guide writes logsourceid='65')."""
        if value.kind in (*NUMBERS, "any"):
            return value.sql
        if value.literal is not None and value.literal.lstrip("-").replace(".", "", 1).isdecimal():
            return value.literal
        raise AqlError(f"{node.sql()!r} is no number", place(node))

    # --- conditions -------------------------------------------------------------------------------------------------

    def negated(self, node: exp.Not) -> Value:
        inner = self.condition(node.this)
        if self.readings.not_null == "true":
            return Value(f"(NOT COALESCE({inner.sql}, FALSE))", "bool", None, inner.aggregate)
        return Value(f"(NOT {inner.sql})", "bool", None, inner.aggregate)

    def comparison(self, node: exp.Expression) -> Value:
        sign = COMPARISONS[type(node)]
        left, right = self.value(node.this), self.value(node.expression)
        if left.literal is not None and right.literal is not None:
            raise AqlError(
                "a comparison of two constants; names of columns stand in double quotes", place(node)
            )
        one, two = self.comparable(left, right, node)
        sql = f"({one} {sign} {two})"
        if sign == "<>" and self.readings.unequal_null == "true":
            sql = f"COALESCE({sql}, TRUE)"
        return Value(sql, "bool", None, left.aggregate or right.aggregate)

    def comparable(self, left: Value, right: Value, node: exp.Expression) -> tuple[str, str]:
        """Bring two values to one kind."""
        kinds = {left.kind, right.kind}
        if kinds & ADDRESSES:
            return self.as_address(left, right, node), self.as_address(right, left, node)
        if kinds & NUMBERS and kinds <= {*NUMBERS, "any"}:
            return left.sql, right.sql
        if kinds & NUMBERS:
            strange = left if left.kind not in NUMBERS else right
            if strange.literal is not None:
                return self.number(left, node), self.number(right, node)
            self.undocumented("how a text compares with a number", node)
            return self.text(left, node), self.text(right, node)
        if kinds == {"bool"} or kinds == {"bool", "any"}:
            return left.sql, right.sql
        if "bool" in kinds:
            raise AqlError(f"{node.sql()!r} compares a condition with something else", place(node))
        return self.text(left, node), self.text(right, node)

    def as_address(self, value: Value, other: Value, node: exp.Expression) -> str:
        """Addresses compare by what they are, not by how they are written."""
        if value.kind in ADDRESSES or value.kind == "any":
            return value.sql
        if value.literal is None:
            self.undocumented("how an address compares with a calculated text", node)
            return self.text(value, node)
        held = address(value.literal)
        if held is None:
            raise AqlError(f"{value.literal!r} is no IP address", place(node))
        self.fitting(other, ":" in held, node)
        return quoted(held if self.readings.addresses == "value" else value.literal)

    def fitting(self, column: Value, six: bool, node: exp.Expression) -> None:
        """sourceip and destinationip hold IPv4, sourcev6 and destinationv6 hold IPv6 (event and flow fields)."""
        if column.kind == ("ip4" if six else "ip6"):
            family = "IPv6" if six else "IPv4"
            self.undocumented(f"what an {family} address or range does on the column {column.sql}", node)

    def member(self, node: exp.In) -> Value:
        """IN: a shorthand for multiple OR conditions."""
        items = node.args.get("expressions") or []
        if not items:
            raise AqlError("IN takes a list of values here", place(node))
        tests = [self.value(exp.EQ(this=node.this.copy(), expression=item.copy())).sql for item in items]
        return Value(f"({' OR '.join(tests)})", "bool")

    def is_null(self, node: exp.Is) -> Value:
        if not isinstance(node.expression, exp.Null):
            raise AqlError("IS takes NULL or NOT NULL", place(node))
        inner = self.value(node.this)
        return Value(f"({inner.sql} IS NULL)", "bool", None, inner.aggregate)

    def pattern(self, node: exp.Expression) -> Value:
        """LIKE and MATCHES are case-sensitive, ILIKE and IMATCHES are not; % any characters, _ one."""
        left, right = self.value(node.this), self.value(node.expression)
        if right.literal is None or right.kind != "text":
            raise AqlError("the pattern must be a text in single quotes", place(node))
        if left.kind in ADDRESSES:
            self.undocumented("what LIKE and MATCHES see of an address column; use INCIDR or STR()", node)
        elif left.kind != "text":
            self.undocumented("what LIKE and MATCHES see of a column that is no text", node)
        subject = self.text(left, node)
        if isinstance(node, exp.Like | exp.ILike):
            if "\\" in right.literal:
                self.undocumented("whether a backslash escapes in LIKE", node)
            word = "LIKE" if isinstance(node, exp.Like) else "ILIKE"
            return Value(f"({subject} {word} {right.sql})", "bool", None, left.aggregate)
        caseless = isinstance(node, exp.RegexpILike)
        try:
            java_regex(right.literal, caseless)
        except AqlError as error:
            raise AqlError(error.message, place(node)) from None
        return Value(f"aql_matches({subject}, {right.sql}, {caseless})", "bool", None, left.aggregate)

    # --- calculations and functions ---------------------------------------------------------------------------------

    def arithmetic(self, node: exp.Expression) -> Value:
        left, right = self.value(node.this), self.value(node.expression)
        sql = (
            f"({self.number(left, node.this)} {ARITHMETIC[type(node)]} {self.number(right, node.expression)})"
        )
        kind = (
            "number" if {left.kind, right.kind} == {"number"} and not isinstance(node, exp.Div) else "double"
        )
        return Value(sql, kind, None, left.aggregate or right.aggregate)

    def choice(self, node: exp.Expression) -> Value:
        """CASE WHEN ... THEN ... ELSE ... END and IF ... THEN ... ELSE ..."""
        branches = node.args["ifs"] if isinstance(node, exp.Case) else [node]
        if isinstance(node, exp.Case) and node.this is not None:
            raise AqlError("CASE with a value to compare is not in this evaluator", place(node))
        last = node.args.get("default") if isinstance(node, exp.Case) else node.args.get("false")
        parts, kinds, aggregate = [], [], False
        for branch in branches:
            test, then = self.condition(branch.this), self.value(branch.args["true"])
            parts.append(f"WHEN {test.sql} THEN {then.sql}")
            kinds.append(then.kind)
            aggregate = aggregate or test.aggregate or then.aggregate
        if last is not None:
            other = self.value(last)
            parts.append(f"ELSE {other.sql}")
            kinds.append(other.kind)
        return Value(f"(CASE {' '.join(parts)} END)", kinds[0], None, aggregate)

    def call(self, node: exp.Anonymous) -> Value:
        name = str(node.this).upper()
        arguments = list(node.expressions)
        if name in AGGREGATES:
            return self.aggregate(name, arguments, node)
        if name == "NOW":
            # "NOW: Returns the current time that is expressed as milliseconds since ... January 1, 1970"
            return Value(str(self.now), "number")
        values = [self.value(argument) for argument in arguments]
        aggregate = any(value.aggregate for value in values)
        if name in ("CONCAT", "COALESCE") and not values:
            raise AqlError(f"{name} takes at least one argument", place(node))
        if name == "CONCAT":
            # The guide does not say what CONCAT makes of NULL; here it is NULL, as with || in SQL.
            texts = [self.text(value, part) for value, part in zip(values, arguments, strict=True)]
            return Value(f"({' || '.join(texts)})", "text", None, aggregate)
        if name == "COALESCE":
            return Value(
                f"COALESCE({', '.join(value.sql for value in values)})", values[0].kind, None, aggregate
            )
        if name == "INCIDR":
            return self.in_cidr(values, node)
        known = {**CALLS, **self.calls}
        if name not in known:
            raise AqlError(f"unknown function {name!r}", place(node))
        kinds, result, _ = known[name]
        if name == "STRPOS" and len(values) == 3:
            kinds = (*kinds, "number")
        if len(values) != len(kinds):
            raise AqlError(f"{name} takes {len(kinds)} arguments, not {len(values)}", place(node))
        given = [
            self.given(kind, value, part) for kind, value, part in zip(kinds, values, arguments, strict=True)
        ]
        self.functions[f"aql_{name.lower()}_{len(kinds)}"] = (kinds, result, known[name][2])
        return Value(f"aql_{name.lower()}_{len(kinds)}({', '.join(given)})", result, None, aggregate)

    def given(self, kind: str, value: Value, node: exp.Expression) -> str:
        if kind == "number":
            return f"CAST({self.number(value, node)} AS BIGINT)"
        if kind in ("any", "bytes"):
            if kind == "bytes" and value.kind not in ("bytes", "text"):
                raise AqlError(f"{node.sql()!r} is no payload", place(node))
            return f"CAST({value.sql} AS VARCHAR)"
        if value.kind in ADDRESSES:
            self.undocumented("what a text function makes of an address column; use STR()", node)
        return self.text(value, node)

    def in_cidr(self, values: list[Value], node: exp.Anonymous) -> Value:
        """INCIDR('range', column)."""
        if len(values) != 2 or values[0].literal is None:
            raise AqlError("INCIDR takes a range in single quotes and a column", place(node))
        try:
            six = network(values[0].literal).version == 6
        except AqlError as error:
            raise AqlError(error.message, place(node)) from None
        if values[1].kind not in ADDRESSES:
            self.undocumented("what INCIDR does on a column that holds no addresses", node)
        self.fitting(values[1], six, node)
        return Value(f"aql_incidr({values[0].sql}, CAST({values[1].sql} AS VARCHAR))", "bool")

    def aggregate(self, name: str, arguments: list[exp.Expression], node: exp.Anonymous) -> Value:
        """ "AQL data aggregation functions"; FIRST and LAST are the first and the last row of the group."""
        if name == "COUNT" and (not arguments or isinstance(arguments[0], exp.Star)):
            return Value("COUNT(*)", "number", None, True)
        if len(arguments) != 1:
            raise AqlError(f"{name} takes one argument", place(node))
        inner = arguments[0]
        if name == "COUNT" and isinstance(inner, exp.Distinct) and inner.expressions:
            name, inner = "UNIQUECOUNT", inner.expressions[0]
        value = self.value(inner)
        if value.aggregate:
            raise AqlError("an aggregate of an aggregate", place(node))
        if name in ("UNIQUECOUNT", "DISTINCTCOUNT"):
            return Value(f"COUNT(DISTINCT {value.sql})", "number", None, True)
        if name in ("FIRST", "LAST"):
            return Value(f"{name}({value.sql} ORDER BY aql_row)", value.kind, None, True)
        if name in ("MIN", "MAX") and value.kind in ADDRESSES:
            self.undocumented(f"the order of addresses in {name}", node)
        kind = "number" if name == "COUNT" else "double" if name in ("AVG",) else value.kind
        inner_sql = self.number(value, inner) if name in ("SUM", "AVG") else value.sql
        return Value(f"{name}({inner_sql})", kind, None, True)


def place(node: exp.Expression) -> int | None:
    """Return the offset of the first piece of a node that has one."""
    starts = [part.meta["start"] for part in node.walk() if "start" in part.meta]
    return min(starts) if starts else None


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def sql_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
