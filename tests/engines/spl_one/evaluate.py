"""Eval expressions answered over one event, with null as a third truth value.

Search Reference, "eval", "where", "Comparison and Conditional functions". The manuals do not say what NOT makes of
a comparison with a missing field. Taken first: the comparison is null, and where keeps only what is true, which
fits the search page's remark that `where fieldA!=fieldB` and `where NOT fieldA=fieldB` do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engines.readings_one import Readings

from .errors import SplError
from .expression import Call, Expr, Field, Literal
from .functions import FUNCTIONS
from .values import Event, Value, listed, number, ordered, packed, text

NULL_COMPARISON = "eval: a comparison with NULL (three-valued, or false)"
MANY = "eval: a comparison with a multivalue field (any value, all values, the first)"
MIXED = "eval: a number compared with a text that is none"
SPELLING = "eval: two texts compared that are spellings of one number"
SIGNS = {"<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (0, 1)}


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Answers expressions; `searchmatch` is the search command's way to test an event."""

    readings: Readings
    now: float | None = None
    searchmatch: Callable[[str, Event], bool] | None = None

    def value(self, node: Expr, event: Event) -> Value:
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Field):
            return event.get(node.name)
        if node.name in ("AND", "OR", "XOR", "NOT"):
            return self.logic(node, event)
        if node.name in ("=", "!=", *SIGNS):
            return self.comparison(node, event)
        if node.name in ("+", "-", "*", "/", "%", "."):
            return self.arithmetic(node, event)
        if node.name in LAZY:
            return LAZY[node.name](self, node, event)
        if node.name not in FUNCTIONS:
            raise SplError(f"unknown function {node.name}()", "", node.position)
        function = FUNCTIONS[node.name]
        check(node, function.least, function.most)
        return function.answer(self, [self.value(arg, event) for arg in node.args])

    def truth(self, node: Expr, event: Event) -> bool | None:
        """Evaluate what must be Boolean ("eval-expressions must be Boolean expressions", where)."""
        value = self.value(node, event)
        if value is None or isinstance(value, bool):
            return value
        raise SplError(f"a Boolean value is expected, not {value!r}")

    def logic(self, node: Call, event: Event) -> bool | None:
        values = [self.truth(arg, event) for arg in node.args]
        if node.name == "NOT":
            return None if values[0] is None else not values[0]
        if node.name == "XOR":
            return None if None in values else values[0] is not values[1]
        decisive = node.name == "OR"
        if decisive in values:
            return decisive
        return None if None in values else not decisive

    def comparison(self, node: Call, event: Event) -> bool | None:
        left, right = (self.value(arg, event) for arg in node.args)
        if isinstance(left, list) or isinstance(right, list):
            pairs = [(one, two) for one in listed(left) for two in listed(right)]
            answers = [self.compared(node.name, one, two) is True for one, two in pairs]
            if answers:
                return self.readings.take(MANY, any(answers), all(answers), answers[0])
        return self.compared(node.name, left, right)

    def compared(self, operator: str, left: Value, right: Value) -> bool | None:
        if left is None or right is None:
            return self.readings.take(NULL_COMPARISON, None, False)
        if isinstance(left, bool) or isinstance(right, bool):
            raise SplError("a Boolean value is compared; eval compares two numbers or two strings")
        one, two = number(left), number(right)
        if operator in ("=", "!="):
            answer = self.equal(left, right)
            return None if answer is None else answer == (operator == "=")
        answer = ordered(left, right, self.readings) in SIGNS[operator]
        if (one is None) != (two is None):
            return self.readings.take(MIXED, answer, None)
        return answer

    def equal(self, left: Value, right: Value) -> bool | None:
        """Compare two numbers as numbers and two texts as texts, minding the case ("case-sensitive", where)."""
        one, two = number(left), number(right)
        if one is not None and two is not None:
            if isinstance(left, str) and isinstance(right, str):
                return self.readings.take(SPELLING, one == two, left == right)
            return one == two
        if isinstance(left, str) and isinstance(right, str):
            return left == right
        return self.readings.take(MIXED, False, None)

    def arithmetic(self, node: Call, event: Event) -> Value:
        left, right = (self.value(arg, event) for arg in node.args)
        if left is None or right is None:
            return None
        if isinstance(left, list) or isinstance(right, list):
            place = f"eval: {node.name} on a multivalue field"
            answer = self.computed(node.name, listed(left)[0], listed(right)[0])
            return self.readings.take(place, None, answer)
        return self.computed(node.name, left, right)

    def computed(self, operator: str, left: Value, right: Value) -> Value:
        if operator == ".":  # "concatenates both strings and number"
            return text(left) + text(right)
        one, two = number(left), number(right)
        if (
            operator == "+"
            and isinstance(left, str)
            and isinstance(right, str)
            and (one is None or two is None)
        ):
            return left + right
        if one is None or two is None:
            return self.readings.take("eval: arithmetic with a text", None, text(left) + text(right))
        if operator == "+":
            return one + two
        if operator == "-":
            return one - two
        if operator == "*":
            return one * two
        if two == 0:  # "Division by zero results in a null field"
            return None
        quotient = one / two if operator == "/" else one % two
        return int(quotient) if isinstance(quotient, float) and quotient.is_integer() else quotient


def check(node: Call, least: int, most: int | None) -> None:
    if len(node.args) < least or (most is not None and len(node.args) > most):
        raise SplError(f"{node.name}() does not take {len(node.args)} arguments", "", node.position)


def case(of: Evaluator, node: Call, event: Event) -> Value:
    """Return the value beside the first true condition; null if none is ("case")."""
    if not node.args or len(node.args) % 2:
        raise SplError("case() takes pairs of condition and value", "", node.position)
    for condition, value in zip(node.args[::2], node.args[1::2], strict=True):
        if of.truth(condition, event) is True:
            return of.value(value, event)
    return None


def validate(of: Evaluator, node: Call, event: Event) -> Value:
    """Return the value beside the first condition that is false ("validate")."""
    if not node.args or len(node.args) % 2:
        raise SplError("validate() takes pairs of condition and value", "", node.position)
    for condition, value in zip(node.args[::2], node.args[1::2], strict=True):
        if of.truth(condition, event) is False:
            return of.value(value, event)
    return None


def choose(of: Evaluator, node: Call, event: Event) -> Value:
    """`if`: the second argument if the first is true, otherwise the third."""
    check(node, 3, 3)
    return of.value(node.args[1 if of.truth(node.args[0], event) is True else 2], event)


def member(of: Evaluator, node: Call, event: Event) -> bool | None:
    """`in`: equal to one of the values, without wildcards ("in")."""
    check(node, 2, None)
    parts = [of.comparison(Call("=", (node.args[0], arg), node.position), event) for arg in node.args[1:]]
    return True if True in parts else None if None in parts else False


def the_field(node: Call, source: Expr) -> str:
    """Find the one field an mvfilter or mvmap expression goes through."""
    names: set[str] = set()

    def visit(expr: Expr) -> None:
        if isinstance(expr, Field):
            names.add(expr.name)
        elif isinstance(expr, Call):
            for arg in expr.args:
                visit(arg)

    visit(source)
    if len(names) != 1:
        raise SplError(f"{node.name}() goes through one field, here {sorted(names)}", "", node.position)
    return names.pop()


def mvfilter(of: Evaluator, node: Call, event: Event) -> Value:
    """Keep the values for which the expression, over one field only, is true ("mvfilter")."""
    check(node, 1, 1)
    name = the_field(node, node.args[0])
    values = listed(event.get(name))
    return packed([value for value in values if of.truth(node.args[0], {**event, name: value}) is True])


def mvmap(of: Evaluator, node: Call, event: Event) -> Value:
    """Answer the expression once for each value of the field ("mvmap")."""
    check(node, 2, 2)
    name = the_field(node, node.args[0])
    values = listed(of.value(node.args[0], event))
    return packed([of.value(node.args[1], {**event, name: value}) for value in values])


def searchmatch(of: Evaluator, node: Call, event: Event) -> bool:
    """Tell whether the event fits a search string ("searchmatch")."""
    check(node, 1, 1)
    if not isinstance(node.args[0], Literal) or of.searchmatch is None:
        raise SplError("searchmatch() takes a literal search string", "", node.position)
    return of.searchmatch(str(node.args[0].value), event)


LAZY: dict[str, Callable[[Evaluator, Call, Event], Value]] = {
    "case": case,
    "validate": validate,
    "if": choose,
    "in": member,
    "mvfilter": mvfilter,
    "mvmap": mvmap,
    "searchmatch": searchmatch,
}
