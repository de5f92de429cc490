"""The `search` command: terms, comparisons and their Boolean structure, compiled to one predicate.

A Pratt parser: each operator has a binding power, and the order of the search command (NOT, OR, AND) is data.
Rules from the Search Reference ("search") and the Search Manual ("Boolean expressions with logical operators",
"Difference between != and NOT", "Use CASE() and TERM() to match phrases", "Change the format of subsearch
results", "Specify time modifiers in your search"). The longest module of the package: it is one grammar.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from .context import Context
from .errors import SplError
from .source import Token, Tokens
from .times import moment_of
from .values import Event, compare, in_network, network_of, number_of, text_of, values_of, wildcard

Predicate = Callable[[Event], bool]

# "Order of evaluation": 1 parentheses, 2 NOT, 3 OR, 4 AND in the search command; the where command has AND before OR.
POWERS = {"search": {"OR": 20, "AND": 10}, "where": {"AND": 20, "OR": 10}}
NOT_POWER = 30
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", "==")
TIMES = ("earliest", "latest", "_index_earliest", "_index_latest")
# segmenters.conf.spec, the default major and minor breakers.
MAJOR = set("[]<>(){}|!;,'\"*\n\r\t &?+")
MINOR = set("/:=@.-$#%\\_")
SUBSEARCH_ROWS = 10_000  # limits.conf, [subsearch] maxout


def search(context: Context, rows: Iterable[Event], start: int, end: int) -> list[Event]:
    """Keep the rows that the search expression between two offsets selects."""
    keep = compiled(context, Tokens(context.text, start, end))
    return [row for row in rows if keep(row)]


def compiled(
    context: Context, tokens: Tokens, stop: tuple[str, ...] = (), order: str = "search"
) -> Predicate:
    """Compile a search expression up to the end or a stop word; an empty one selects everything."""
    parser = Expression(context, tokens, stop, POWERS[order])
    keep = (lambda row: True) if parser.at_end() else parser.parse(0)
    if not parser.at_end():
        raise SplError("this search does not go on like that", tokens.here.start)
    if parser.earliest and not parser.latest:
        # "Time modifiers": a search that specifies earliest but not latest has the default `now` for latest.
        return lambda row: keep(row) and time_of(row, "_time", tokens.end) < context.now
    return keep


def time_of(row: Event, field: str, at: int) -> float:
    seconds = number_of(row.get(field))
    if seconds is None:
        raise SplError(f"a time modifier meets an event without {field} in epoch seconds", at)
    return float(seconds)


class Expression:
    """Parses one search expression into a predicate; private to this module, used once."""

    def __init__(
        self, context: Context, tokens: Tokens, stop: tuple[str, ...], powers: dict[str, int]
    ) -> None:
        self.context, self.tokens, self.stop, self.powers = context, tokens, stop, powers
        self.earliest = self.latest = False

    def at_end(self) -> bool:
        here = self.tokens.here
        return here.kind == "end" or (here.kind == "word" and here.value.lower() in self.stop)

    def operator(self) -> str | None:
        """Return the operator that comes next; AND is implied between terms."""
        here = self.tokens.here
        if self.at_end() or (here.kind == "punct" and here.value == ")"):
            return None
        if here.kind == "word" and here.value in ("AND", "OR"):
            return here.value
        return "AND"

    def parse(self, power: int) -> Predicate:
        left = self.prefix()
        while (name := self.operator()) and self.powers[name] > power:
            # A chain of one operator is one level, so that a list of a thousand addresses does not nest.
            parts = [left]
            while self.operator() == name:
                self.tokens.accept(name, "word")
                parts.append(self.parse(self.powers[name]))
            left = self.joined(name, parts)
        return left

    @staticmethod
    def joined(name: str, parts: list[Predicate]) -> Predicate:
        quantifier = all if name == "AND" else any
        return lambda row: quantifier(part(row) for part in parts)

    def prefix(self) -> Predicate:
        token = self.tokens.here
        if token.kind == "word" and token.value == "NOT":
            self.tokens.take()
            # "NOT only applies to the term immediately following NOT"; a term without the field is kept.
            inner = self.parse(NOT_POWER)
            return lambda row: not inner(row)
        if token.kind == "punct" and token.value == "(":
            self.tokens.take()
            if self.tokens.accept(")"):
                everything = self.context.readings.empty_subsearch == "no restriction"
                return lambda row: everything
            inner = self.parse(0)
            self.tokens.expect(")")
            return inner
        if token.kind == "subsearch":
            self.tokens.take()
            return self.subsearch(token)
        if token.kind in ("word", "string"):
            return self.term()
        raise SplError("expected a term, a comparison or a parenthesis", token.start)

    def subsearch(self, token: Token) -> Predicate:
        rows = self.context.run(self.context, token.start, token.end)
        if len(rows) > SUBSEARCH_ROWS:
            raise SplError(
                f"a subsearch returned {len(rows)} rows and would be cut at {SUBSEARCH_ROWS}", token.start
            )
        text = formatted(rows)
        inner = Tokens(text, 0, len(text))
        try:
            return compiled(self.context, inner)
        except SplError as error:
            raise SplError(
                f"{error.message} (in what the subsearch returned: {text[:200]})", token.start
            ) from None

    def term(self) -> Predicate:
        token = self.tokens.take()
        following = self.tokens.here
        if token.kind == "word" and token.value in ("TERM", "CASE") and following.value == "(":
            return self.directive(token)
        if following.kind == "op":
            return self.comparison(token)
        if following.kind == "word" and following.value.upper() == "IN" and self.tokens.after.value == "(":
            if following.value != "IN":
                # Splunk blog, "Smooth operator": the IN operator must be in uppercase.
                raise SplError("the IN operator must be in uppercase", following.start)
            return self.membership(token)
        if token.kind == "word" and token.value in ("AND", "OR"):
            raise SplError(f"{token.value} without a term before it", token.start)
        return raw_term(token.value)

    def directive(self, token: Token) -> Predicate:
        """CASE(term) is case-sensitive, TERM(term) ends at major breakers only; both look at _raw."""
        inside = self.bracketed()
        return raw_term(
            inside, caseless=token.value == "TERM", breakers=MAJOR if token.value == "TERM" else MAJOR | MINOR
        )

    def bracketed(self) -> str:
        """Return the text between parentheses, which TERM() takes as it stands."""
        start = self.tokens.expect("(").end
        while self.tokens.here.value != ")":
            if self.tokens.take().kind == "end":
                raise SplError("a parenthesis that nothing closes", start - 1)
        return self.tokens.text[start : self.tokens.take().start].strip().strip('"')

    def membership(self, field: Token) -> Predicate:
        """`field IN (a, b)` is field=a OR field=b; wildcards may stand in the list."""
        self.tokens.take()
        self.tokens.expect("(")
        tests = [self.equal(field.value, self.value())]
        while not self.tokens.accept(")"):
            self.tokens.accept(",")
            tests.append(self.equal(field.value, self.value()))
        return lambda row: any(test(row) for test in tests)

    def value(self) -> Token:
        token = self.tokens.take()
        if token.kind not in ("word", "string"):
            raise SplError("expected a value", token.start)
        if token.kind == "word" and token.value in ("TERM", "CASE") and self.tokens.here.value == "(":
            raise SplError(f"{token.value}() as the value of a field is not in this evaluator", token.start)
        return token

    def comparison(self, field: Token) -> Predicate:
        operator = self.tokens.take()
        if operator.value not in COMPARISONS:
            raise SplError(f"no comparison operator of a search: {operator.value!r}", operator.start)
        value = self.value()
        name = field.value
        if field.kind == "word" and "*" in name:
            raise SplError("a wildcard in the name of a field is not in this evaluator", field.start)
        if name in TIMES:
            return self.time_range(name, operator, value)
        if operator.value in ("=", "=="):
            return self.equal(name, value)
        if operator.value == "!=":
            return self.unequal(name, value)
        sign = operator.value

        def ordered(row: Event) -> bool:
            return any(holds(sign, compare(item, value.value)) for item in values_of(row.get(name)))

        return ordered

    def equal(self, field: str, value: Token) -> Predicate:
        test = value_test(value.value)
        return lambda row: any(test(item) for item in values_of(row.get(field)))

    def unequal(self, field: str, value: Token) -> Predicate:
        """`field!=value`: the event has a value in the field, and that value does not match."""
        test = value_test(value.value)
        quantifier = all if self.context.readings.unequal == "no value" else any

        def differs(row: Event) -> bool:
            values = values_of(row.get(field))
            return bool(values) and quantifier(not test(item) for item in values)

        return differs

    def time_range(self, name: str, operator: Token, value: Token) -> Predicate:
        """ "Time modifiers": not before earliest, and before latest."""
        if operator.value not in ("=", "=="):
            raise SplError("a time modifier takes =", operator.start)
        moment = moment_of(value.value, self.context.now, value.start)
        field = "_indextime" if name.startswith("_index") else "_time"
        if name.endswith("earliest"):
            self.earliest = self.earliest or field == "_time"
            return lambda row: time_of(row, field, value.start) >= moment
        self.latest = self.latest or field == "_time"
        return lambda row: time_of(row, field, value.start) < moment


def holds(sign: str, order: int) -> bool:
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[sign]


def value_test(value: str) -> Callable[[object], bool]:
    """Compile what stands right of `=`: caseless, `*` for any characters, net/len for addresses in it.

    Search Reference, search: = and != compare string values ("1" does not match "1.0"); a CIDR value matches
    IPv4 and IPv6 addresses of that subnet.
    """
    pattern, network = wildcard(value), network_of(value)
    if network:
        return lambda item: in_network(network, item) or bool(pattern.fullmatch(text_of(item)))
    return lambda item: bool(pattern.fullmatch(text_of(item)))


def raw_term(term: str, caseless: bool = True, breakers: set[str] = MAJOR | MINOR) -> Predicate:
    """Compile a bare term or phrase: it stands in _raw, caseless, between breakers.

    "Event segmentation": terms are cut at major and minor breakers, so that `fail` does not find `failed`,
    and `254` finds 169.254.1.1. A `*` at an edge lifts the border there; elsewhere it stands for any characters.
    """
    edge = "".join(re.escape(char) for char in sorted(breakers))
    body = ".*".join(re.escape(part) for part in term.strip("*").split("*"))
    if not body:
        return lambda row: True
    before = "" if term.startswith("*") or term[0] in breakers else f"(?<![^{edge}])"
    behind = "" if term.endswith("*") or term[-1] in breakers else f"(?![^{edge}])"
    pattern = re.compile(before + body + behind, re.DOTALL | (re.IGNORECASE if caseless else 0))
    return lambda row: any(pattern.search(text_of(raw)) for raw in values_of(row.get("_raw")))


def formatted(rows: list[Event]) -> str:
    """Write rows as the `format` command does implicitly at the end of a subsearch.

    "Change the format of subsearch results": rows are joined by OR, fields by AND; fields that begin with _ are
    ignored; a field named search or query stands as it is. `format`: no result gives NOT ( ).
    """
    found = []
    for row in rows:
        parts = []
        for name, held in row.items():
            values = values_of(held)
            if name.startswith("_") or name == "id" or not values:
                continue
            if name in ("search", "query"):
                parts.append(" OR ".join(text_of(item) for item in values))
                continue
            quoted = [text_of(item).replace("\\", "\\\\").replace('"', '\\"') for item in values]
            alternatives = " OR ".join(f'"{name}"="{item}"' for item in quoted)
            parts.append(f"( {alternatives} )" if len(quoted) > 1 else alternatives)
        if parts:
            found.append(f"( {' AND '.join(parts)} )")
    return f"( {' OR '.join(found)} )" if found else "NOT ( )"
