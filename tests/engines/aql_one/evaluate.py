"""AQL expressions answered over one row, with NULL as a third truth value.

Ariel Query Language Guide, "AQL logical and comparison operators", "LIKE clause", "Conditional logic in AQL
queries", "Quotation marks". What the guide does not say is put to `Readings`, one constant for each such place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import AqlError
from .functions import FUNCTIONS, NULL_TEST, Context
from .tree import Call, Column, Expr, Literal, Star
from .values import Address, Value, address, held, like, number, pattern, text

NULL = "NULL in a comparison (NULL as in SQL; false; a value unequal to any other)"
MATCHES = "MATCHES: part of the value, or all of it"
SPELLING = "an IP column beside another spelling of the same address"
CASE = "= between texts that differ in case only"
NAME_CASE = "a custom property named in another case than it is declared in"
TYPED_LIKE = "LIKE or MATCHES on an IP or number column"
AMBIGUOUS = "a name that is a column and an alias of something else"
FAMILY = "an IPv6 address in a column for IPv4 (sourceip, destinationip)"
NUMBERS = "a text property beside a number"
BOUND = "BETWEEN: a value that is one of the bounds"
ORDER = "< and > between texts"
EQUAL = {"=": True, "!=": False}


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Answers expressions over the rows of one table; `aliases` are the selected columns by name."""

    columns: Mapping[str, tuple[str, str]]
    aliases: Mapping[str, Expr]
    context: Context

    def value(self, node: Expr, row: Mapping[str, Value]) -> Value:
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Column):
            return self.column(node, row)
        if isinstance(node, Star):
            raise AqlError("* stands for all columns, it has no value")
        if node.name in ("AND", "OR", "NOT"):
            return self.logic(node, row)
        if node.name == "CASE":
            return self.case(node, row)
        args = [self.value(arg, row) for arg in node.args]
        if node.name in ("+", "-", "*", "/", "%", "^"):
            return arithmetic(node, args)
        if node.name in COMPARISONS:
            return COMPARISONS[node.name](self, *args)
        if node.name == "IN":  # "a shorthand for multiple OR conditions"
            return kleene_any([self.compared("=", args[0], arg) for arg in args[1:]])
        if node.name not in FUNCTIONS:
            raise AqlError(f"unknown function {node.name}", "", node.position)
        if node.name == "INCIDR" and not isinstance(node.args[0] if node.args else None, Literal):
            raise AqlError("INCIDR takes the subnet first, as a quoted text", "", node.position)
        answer, least, most = FUNCTIONS[node.name]
        if len(args) < least or (most is not None and len(args) > most):
            raise AqlError(f"{node.name} does not take {len(args)} arguments", "", node.position)
        return answer(self.context, args)

    def column(self, node: Column, row: Mapping[str, Value]) -> Value:
        """Find a column, a custom property or an alias; names are caseless (the guide writes sourceIP and sourceip)."""
        take, name = self.context.readings.take, node.name.lower()
        alias = next((expr for key, expr in self.aliases.items() if key.lower() == name), None)
        itself = isinstance(alias, Column) and alias.name.lower() == name
        if name not in self.columns:
            if alias is None:
                hint = (
                    ""
                    if node.quoted
                    else " (a custom property has to be declared; a name with signs needs quotes)"
                )
                raise AqlError(f"unknown column {node.name!r}{hint}", "", node.position)
            return self.without_alias(name).value(alias, row)
        declared, kind = self.columns[name]
        value = held(row.get(name), kind)
        if declared != node.name and kind_is_custom(declared):
            value = take(NAME_CASE, value, None)
        if kind == "ipv4" and value is not None and ":" in value:
            value = take(FAMILY, value, None)
        if alias is not None and not itself:
            return take(AMBIGUOUS, value, self.without_alias(name).value(alias, row))
        return value

    def without_alias(self, name: str) -> Evaluator:
        rest = {key: expr for key, expr in self.aliases.items() if key.lower() != name}
        return Evaluator(self.columns, rest, self.context)

    def truth(self, node: Expr, row: Mapping[str, Value]) -> bool | None:
        value = self.value(node, row)
        if value is None or isinstance(value, bool):
            return value
        raise AqlError(f"a condition is expected, not {value!r}")

    def logic(self, node: Call, row: Mapping[str, Value]) -> bool | None:
        values = [self.truth(arg, row) for arg in node.args]
        if node.name == "NOT":
            return None if values[0] is None else not values[0]
        if node.name == "OR":
            return kleene_any(values)
        return False if False in values else None if None in values else True

    def case(self, node: Call, row: Mapping[str, Value]) -> Value:
        for test, value in zip(node.args[:-1:2], node.args[1::2], strict=False):
            if self.truth(test, row) is True:
                return self.value(value, row)
        return self.value(node.args[-1], row)

    def compared(self, operator: str, left: Value, right: Value) -> bool | None:
        take = self.context.readings.take
        if left is None or right is None:
            unequal = (left is None) != (right is None)
            return take(NULL, None, False, {"=": not unequal, "!=": unequal}.get(operator, False))
        if operator in EQUAL:
            return self.equal(left, right) == EQUAL[operator]
        one, two = number(left), number(right)
        if one is not None and two is not None:
            return {"<": one < two, "<=": one <= two, ">": one > two, ">=": one >= two}[operator]
        first, second = text(left), text(right)
        answer = {"<": first < second, "<=": first <= second, ">": first > second, ">=": first >= second}[
            operator
        ]
        return take(ORDER, answer, None)

    def equal(self, left: Value, right: Value) -> bool:
        """Compare two values; a number column takes a quoted number (`logsourceid='65'`, "AQL query structure")."""
        take = self.context.readings.take
        if isinstance(left, bool) or isinstance(right, bool):
            return text(left) == text(right).lower()
        if isinstance(left, Address) or isinstance(right, Address):
            one, two = address(left), address(text(right))
            if str(left) == text(right):
                return True
            return take(SPELLING, True, False) if one is not None and one == two else False
        first, second = number(left), number(right)
        if first is not None and second is not None:
            if isinstance(left, str) and isinstance(right, str):
                return left == right
            if isinstance(left, str):
                return take(NUMBERS, first == second, False)
            return first == second
        if text(left) == text(right):
            return True
        return take(CASE, False, True) if text(left).lower() == text(right).lower() else False

    def tested(self, hit: bool | None, left: Value, right: Value) -> bool | None:
        take = self.context.readings.take
        if left is None or right is None:
            return take(NULL_TEST, None, False)
        if isinstance(left, (Address, int, float)) and not isinstance(left, bool):
            return take(TYPED_LIKE, hit, None)
        return hit

    def like(self, left: Value, right: Value, *, caseless: bool = False) -> bool | None:
        hit = (
            None
            if None in (left, right)
            else bool(like(text(right), caseless=caseless).fullmatch(text(left)))
        )
        return self.tested(hit, left, right)

    def matches(self, left: Value, right: Value, *, caseless: bool = False) -> bool | None:
        """Test a regular expression; the guide's examples fit both readings ('^.bob.$', '.*Information.*')."""
        if left is None or right is None:
            return self.tested(None, left, right)
        matcher, value = pattern(text(right), caseless=caseless), text(left)
        hit = self.context.readings.take(MATCHES, bool(matcher.search(value)), bool(matcher.fullmatch(value)))
        return self.tested(hit, left, right)

    def between(self, left: Value, low: Value, high: Value) -> bool | None:
        """ "returns true if the left side is between the two values"."""
        parts = (self.compared(">=", left, low), self.compared("<=", left, high))
        if False in parts or None in parts:
            return False if False in parts else None
        at_bound = self.equal(left, low) or self.equal(left, high)
        return self.context.readings.take(BOUND, True, False) if at_bound else True


COMPARISONS = {
    "=": lambda of, left, right: of.compared("=", left, right),
    "!=": lambda of, left, right: of.compared("!=", left, right),
    "<": lambda of, left, right: of.compared("<", left, right),
    "<=": lambda of, left, right: of.compared("<=", left, right),
    ">": lambda of, left, right: of.compared(">", left, right),
    ">=": lambda of, left, right: of.compared(">=", left, right),
    "IS NULL": lambda of, left: left is None,
    "LIKE": Evaluator.like,
    "ILIKE": lambda of, left, right: of.like(left, right, caseless=True),
    "MATCHES": Evaluator.matches,
    "IMATCHES": lambda of, left, right: of.matches(left, right, caseless=True),
    "BETWEEN": Evaluator.between,
}


def kind_is_custom(declared: str) -> bool:
    """Built-in columns are listed in lower case; what is declared otherwise is a custom property."""
    return declared != declared.lower()


def kleene_any(values: list[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def arithmetic(node: Call, args: list[Value]) -> Value:
    """`+ - * / % ^` over numbers ("AQL logical and comparison operators")."""
    if any(arg is None for arg in args):
        return None
    one, two = (number(arg) for arg in args)
    if one is None or two is None:
        raise AqlError(f"{node.name} needs numbers, not {args!r}", "", node.position)
    if node.name in ("/", "%") and two == 0:
        raise AqlError("division by zero, of which the guide says nothing", "", node.position)
    return {
        "+": lambda: one + two,
        "-": lambda: one - two,
        "*": lambda: one * two,
        "/": lambda: one / two,
        "%": lambda: one % two,
        "^": lambda: one**two,
    }[node.name]()
