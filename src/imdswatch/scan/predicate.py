"""The predicate: what the Sigma rules mean, compiled to one Python function over canonical fields.

`compile_rules` turns the condition trees of a rule pack into one function that says which rules an event matches.
Tests that several rules share are made once an event and only when asked (generated source; it holds nothing but
indices, operators and names of `FIELDS`, values are bound as objects). A missing field makes a test false and its
negation true, so nothing is ever lost to a null.

Comparison by kind of field:

- ADDRESS: as addresses; a text that is no address compares as text; `cidr` by range.
- HOST: as addresses where both are (decimal, hex, octal … spellings included), else as names without port and case.
- URL, PATH: decoded, slashes collapsed, dot segments resolved, without case (`imdswatch.urlpath`); a rule value that
  itself contains `%`, `//` or `/.`, and any `cased` value, compares to the text as logged.
- TEXT: without case unless `cased`; `re` as written.
- NAME: likewise, and a final dot says nothing (`imdswatch.scan.names`).
- fields with several values: any of them.

Longer than most: every kind of test on every kind of field is compiled here and nowhere else.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from imdswatch import address, urlpath
from imdswatch.event import FIELDS, Kind
from imdswatch.rule import (
    And,
    Bool,
    Cidr,
    Compare,
    Exists,
    FieldRef,
    Match,
    Node,
    Not,
    Null,
    Number,
    Or,
    Placeholder,
    Regex,
    Rule,
    Test,
    Text,
    TimePart,
    Wild,
)
from imdswatch.scan.dateparts import time_part
from imdswatch.scan.names import dotted_or_not, with_and_without_dot

Judge = Callable[[Mapping[str, Any]], list[int]]
"""Completed canonical fields in; indices of the matching rules out, ascending."""
Check = Callable[[Any], bool]

_NUMERIC = (Kind.INT, Kind.FLOAT)
_DECIMAL = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
)  # float() reads `1_0` and `inf`
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@lru_cache(maxsize=1 << 13)
def fold(text: str) -> str:
    """Return the text without case.

    The two characters outside ASCII whose lower case lies inside it (Kelvin sign, I with dot) stay different from
    the ASCII letters: no log writes them for those, and the byte search could not see them.
    """
    if text.isascii():
        return text.lower()
    return text.replace("\u212a", "\ufffd").replace("\u0130", "\ufffd").lower()


def compile_rules(rules: Sequence[Rule], site_values: Mapping[str, Sequence[str]]) -> Judge:
    """Return the function that judges one event by all rules at once."""
    return compile_conditions([rule.condition for rule in rules], site_values)


def compile_conditions(conditions: Sequence[Node], site_values: Mapping[str, Sequence[str]]) -> Judge:
    """Return the function that judges one event by all conditions at once; pure, no I/O, never raises on an event."""
    program = _Program(site_values)
    rows = "\n".join(
        f"    if {program.expression(node)}: out.append({index})" for index, node in enumerate(conditions)
    )
    shared = [name for name, (remembered, _) in program.calls.items() if rows.count(remembered) > 1]
    for name, (remembered, plain) in program.calls.items():
        if name not in shared:  # nobody asks twice
            rows = rows.replace(remembered, f"({plain})")
    source = "\n".join(
        [
            "def judge(fields):",
            "    get = fields.get",
            *(f"    f_{name} = get({name!r})" for name in sorted(program.used)),
            *(
                f"    n_{name} = None if f_{name} is None else normal_path(f_{name})"
                for name in sorted(program.paths)
            ),
            *([f"    {' = '.join(shared)} = None"] if shared else []),
            "    out = []",
            rows,
            "    return out",
        ]
    )
    scope: dict[str, Any] = {**program.bound, "normal_path": urlpath.normal_path}
    exec(compile(source, "<rules>", "exec"), scope)
    judge: Judge = scope["judge"]
    return judge


class _Program:
    def __init__(self, site_values: Mapping[str, Sequence[str]]) -> None:
        self.site_values = site_values
        self.used: set[str] = set()
        self.paths: set[str] = set()  # of those, the ones of which the normal form is asked for
        self.bound: dict[str, Any] = {}
        self.memo: dict[Match | tuple[Match, ...], int] = {}
        # Of a test: its source where it is remembered, and where not.
        self.calls: dict[str, tuple[str, str]] = {}

    def expression(self, node: Node) -> str:
        match node:
            case And(nodes):
                return "(" + " and ".join([self.expression(child) for child in nodes] or ["True"]) + ")"
            case Or(nodes):
                return (
                    "("
                    + " or ".join([self._alternative(child) for child in _joined(nodes)] or ["False"])
                    + ")"
                )
            case Not(inner):
                return f"(not {self.expression(inner)})"
            case Match():
                return self._memoised(node)
        raise AssertionError(node)

    def _alternative(self, child: Node | tuple[Match, ...]) -> str:
        if not isinstance(child, tuple):
            return self.expression(child)
        name = child[0].field
        assert name is not None
        self.used.add(name)
        slot = self.memo.setdefault(child, len(self.memo))
        kind, tests = FIELDS[name].kind, [m.test for m in child if isinstance(m.test, Text)]
        local = f"f_{name}"
        if kind is Kind.PATH and not FIELDS[name].many:
            local = f"n_{name}"
            self.paths.add(name)
            check = folded_check(tests)
        else:
            check = any_text_check(kind, tests)
        self.bound[f"c{slot}"] = any_check(check) if FIELDS[name].many else check
        return self._remembered(slot, f"{local} is not None and c{slot}({local})")

    def _memoised(self, match: Match) -> str:
        plain = self._plain(match)
        if plain is not None:
            return plain
        slot = self.memo.setdefault(match, len(self.memo))
        return self._remembered(slot, self._call(match, slot))

    def _remembered(self, slot: int, call: str) -> str:
        source = f"(m{slot} if m{slot} is not None else (m{slot} := {call}))"
        self.calls[f"m{slot}"] = source, call
        return source

    def _plain(self, match: Match) -> str | None:
        """Return source for tests so cheap that remembering them would cost more."""
        name, test = match.field, match.test
        if name is None:
            return None
        many = FIELDS[name].many
        local = f"f_{name}"
        if isinstance(test, Exists):
            self.used.add(name)
            return f"({local} is {'not ' if test.value else ''}None)"
        if isinstance(test, Null):
            self.used.add(name)
            return (
                f"(not {local} and {local} is not False and {local} != 0)" if not many else f"(not {local})"
            )
        if isinstance(test, Bool) and FIELDS[name].kind is Kind.BOOL:
            self.used.add(name)
            return f"({local} is {test.value})"
        if isinstance(test, Text) and not many and FIELDS[name].kind is Kind.ADDRESS and len(test.parts) == 1:
            self.used.add(name)
            literal = test.parts[0]
            if isinstance(literal, str):
                key = f"v{len(self.bound)}"
                self.bound[key] = address.parse(literal) or fold(literal)
                return f"({local} == {key})"
        if isinstance(test, Compare) and not many and FIELDS[name].kind is Kind.INT:
            self.used.add(name)
            key, check = f"v{len(self.bound)}", f"v{len(self.bound) + 1}"
            self.bound[key], self.bound[check] = test.value, value_check(Kind.INT, test)
            other = f"{local} is not None and {check}({local})"
            return f"({local} {test.op} {key} if {local}.__class__ is int else {other})"
        return None

    def _call(self, match: Match, slot: int) -> str:
        name, test = match.field, match.test
        key = f"c{slot}"
        if name is None:
            self.bound[key] = keyword_check(test)
            return f"{key}(fields)"
        self.used.add(name)
        if isinstance(test, FieldRef):
            self.used.add(test.other)
            self.bound[key] = reference_check(test)
            return (
                f"(f_{name} is not None and f_{test.other} is not None and {key}(f_{name}, f_{test.other}))"
            )
        if isinstance(test, Placeholder):
            values = {fold(str(value)) for value in self.site_values.get(test.name, ())}
            self.bound[key] = values_check(values, FIELDS[name].many)
        else:
            check = value_check(FIELDS[name].kind, test)
            self.bound[key] = any_check(check) if FIELDS[name].many else check
        return f"(f_{name} is not None and {key}(f_{name}))"


def _joined(nodes: tuple[Node, ...]) -> list[Node | tuple[Match, ...]]:
    """Join alternatives on the same text field into one test: a rule lists dozens of paths."""
    out: list[Node | tuple[Match, ...]] = []
    groups: dict[str, list[Match]] = {}
    for node in nodes:
        if isinstance(node, Match) and node.field is not None and _joinable(node):
            groups.setdefault(node.field, []).append(node)
        else:
            out.append(node)
    return out + [group[0] if len(group) == 1 else tuple(group) for group in groups.values()]


def _joinable(match: Match) -> bool:
    kind = FIELDS[match.field].kind if match.field else None
    if not isinstance(match.test, Text) or match.test.cased or _is_spelled(match.test.parts):
        return False
    return kind in (Kind.URL, Kind.PATH, Kind.TEXT, Kind.NAME)


def any_text_check(kind: Kind, tests: Sequence[Text]) -> Check:
    """Return one check that holds where any of these caseless texts matches the value of a field."""
    subject, check = _subject(kind, cased=False, spelled=False), folded_check(tests)
    if kind is Kind.NAME:
        check = dotted_or_not(folded_check(with_and_without_dot(tests)))

    def holds(value: Any) -> bool:
        return check(subject(value))

    # URLs differ from record to record, other texts (user agents) come again and again.
    return holds if kind in (Kind.URL, Kind.PATH) else lru_cache(maxsize=1 << 12)(holds)


def folded_check(tests: Sequence[Text]) -> Callable[[str], bool]:
    """Return one check that holds where any of these texts matches a text that is folded; quick for long lists."""
    exact: set[str] = set()
    starts: list[str] = []
    ends: list[str] = []
    inside: list[str] = []
    rest: list[str] = []
    leads: list[str] = []  # what the texts of `rest` begin with: one look that spares most of the searches
    for test in tests:
        match tuple(fold(part) if isinstance(part, str) else part for part in test.parts):
            case (str(text),):
                exact.add(text)
            case (str(text), Wild.ANY):
                starts.append(text)
            case (Wild.ANY, str(text)):
                ends.append(text)
            case (Wild.ANY, str(text), Wild.ANY):
                inside.append(text)
            case parts:
                rest.append(_as_regex(parts))
                leads.append(parts[0] if parts and isinstance(parts[0], str) else "")
    lead = tuple(dict.fromkeys(leads))
    head, tail, pieces = tuple(starts), tuple(ends), tuple(inside)
    if not (ends or inside or rest):
        return lambda text: text in exact or text.startswith(head)
    others = re.compile("|".join(rest), re.DOTALL).fullmatch
    if not (ends or inside):  # the paths of the service, below trees that a date names
        return lambda text: (
            text in exact or text.startswith(head) or (text.startswith(lead) and others(text) is not None)
        )

    def holds(text: str) -> bool:
        if text in exact or text.startswith(head) or text.endswith(tail):
            return True
        for piece in pieces:
            if piece in text:
                return True
        return text.startswith(lead) and others(text) is not None

    return holds


def _as_regex(parts: Sequence[str | Wild]) -> str:
    return "".join(re.escape(p) if isinstance(p, str) else ".*" if p is Wild.ANY else "." for p in parts)


def any_check(check: Check) -> Check:
    """Return a check that holds if it holds for any of several values."""

    @lru_cache(maxsize=1 << 12)
    def known(values: tuple[Any, ...]) -> bool:  # the same header names come again and again
        return any(map(check, values))

    return known


def values_check(values: set[str], many: bool) -> Check:
    """Return a check for membership in the site's values."""
    if many:
        return lambda found: any(fold(str(one)) in values for one in found)
    return lambda found: fold(str(found)) in values


def keyword_check(test: Test) -> Callable[[Mapping[str, Any]], bool]:
    """Return a check on all texts of an event: a Sigma keyword stands anywhere in one of them."""
    if isinstance(test, Text):
        test = Text((Wild.ANY, *test.parts, Wild.ANY), test.cased)
    elif isinstance(test, Number):
        test = Text((Wild.ANY, str(test.value), Wild.ANY))
    check = value_check(Kind.TEXT, test)

    def holds(fields: Mapping[str, Any]) -> bool:
        for value in fields.values():
            if isinstance(value, tuple):
                if any(check(one) for one in value):
                    return True
            elif check(value):
                return True
        return False

    return holds


def reference_check(test: FieldRef) -> Callable[[Any, Any], bool]:
    """Return a check of one field's value against another's."""

    related: Callable[[str, str], bool]
    if test.starts and test.ends:  # how pySigma says `contains`
        related = str.__contains__
    elif test.starts:
        related = str.startswith
    elif test.ends:
        related = str.endswith
    else:
        related = str.__eq__

    def texts(value: Any) -> list[str]:
        return [fold(str(one)) for one in (value if isinstance(value, tuple) else (value,))]

    def holds(mine: Any, other: Any) -> bool:
        for a in texts(mine):
            for b in texts(other):
                if related(a, b):
                    return True
        return False

    return holds


def value_check(kind: Kind, test: Test) -> Check:
    """Return the check of one present value of a field of this kind."""
    match test:
        case Text() | Regex() if kind is Kind.NAME:
            tests = with_and_without_dot([test]) if isinstance(test, Text) else [test]
            checks = [value_check(Kind.TEXT, one) for one in tests]
            return dotted_or_not(lambda name: any(check(name) for check in checks))
        case Text():
            return _text_check(kind, test)
        case Regex(pattern, flags):
            return _regex_check(kind, pattern, flags)
        case Cidr(network):
            networks = address.Networks([address.network(network)])
            if kind is Kind.HOST:
                return lambda value: (address.parse_host(value) or "") in networks
            return lambda value: str(value) in networks
        case Number(wanted):
            if kind not in _NUMERIC:  # "All values are treated as case-insensitive strings": 80 is not 080
                return _text_check(kind, Text((str(wanted),)))
            return lambda value: _as_number(value) == wanted
        case Compare(op, bound):
            compare = _COMPARE[op]

            def holds(value: Any) -> bool:
                found = _as_number(value)
                return found is not None and bool(compare(found, bound))

            return holds
        case Bool(flag):
            return lambda value: value is flag or fold(str(value)) == str(flag).lower()
        case Null():
            return lambda value: value in ("", ())
        case Exists(flag):
            return lambda value: flag
        case TimePart(part, wanted):
            return lambda value: time_part(value, part) == wanted
        case FieldRef() | Placeholder():
            raise AssertionError("these need more than one value")
    raise AssertionError(test)


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    return float(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


def _subject(kind: Kind, cased: bool, spelled: bool) -> Callable[[Any], str]:
    """Return what the text of a value is for comparison; `spelled` asks for it as logged."""
    if kind in (Kind.URL, Kind.PATH) and not (cased or spelled):
        return urlpath.normal_url if kind is Kind.URL else urlpath.normal_path
    if kind is Kind.HOST and not cased:
        return _host_text
    if kind is Kind.BOOL or kind in _NUMERIC:
        return lambda value: fold(str(value))
    return str if cased else lambda value: fold(str(value))


@lru_cache(maxsize=1 << 14)
def _host_text(host: str) -> str:
    return address.parse_host(host) or fold(address.split_port(host)[0]).rstrip(".")


def _is_spelled(parts: Sequence[str | Wild]) -> bool:
    whole = "".join(part for part in parts if isinstance(part, str))
    return any(mark in whole for mark in ("%", "//", "/."))


def _text_check(kind: Kind, test: Text) -> Check:
    literals = [part for part in test.parts if isinstance(part, str)]
    whole = "".join(literals)
    spelled = _is_spelled(test.parts)
    if len(test.parts) == 1 and literals:
        exact = _exact_check(kind, whole, test.cased)
        if exact is not None:
            return exact
    subject = _subject(kind, test.cased, spelled)
    parts = test.parts if test.cased else tuple(fold(p) if isinstance(p, str) else p for p in test.parts)
    match parts:
        case ():
            return lambda value: subject(value) == ""
        case (str(text),):
            return lambda value: subject(value) == text
        case (Wild.ANY,):
            return lambda value: True
        case (Wild.ANY, str(text), Wild.ANY):
            return lambda value: text in subject(value)
        case (str(text), Wild.ANY):
            return lambda value: subject(value).startswith(text)
        case (Wild.ANY, str(text)):
            return lambda value: subject(value).endswith(text)
    pattern = re.compile(_as_regex(parts), re.DOTALL)
    return lambda value: pattern.fullmatch(subject(value)) is not None


def _exact_check(kind: Kind, text: str, cased: bool) -> Check | None:
    if kind is Kind.ADDRESS:
        wanted = address.parse(text) or fold(text)
        return lambda value: value == wanted
    if kind is Kind.HOST:
        named = address.parse_host(text)
        if named is not None:
            return lambda value: address.parse_host(value) == named
    if kind is Kind.MAC and not cased:
        mac = text.lower().replace("-", ":")
        return lambda value: fold(str(value)) == mac
    if kind in _NUMERIC:
        number = _as_number(text)
        if number is not None:
            return lambda value: _as_number(value) == number
    return None


def _regex_check(kind: Kind, pattern: str, flags: int) -> Check:
    spelled = "%" in pattern
    if kind in (Kind.URL, Kind.PATH):
        flags |= re.IGNORECASE
    if flags & re.IGNORECASE:
        pattern = _fold_beyond_ascii(pattern)
    found = re.compile(pattern, flags | re.ASCII).search
    subject = _subject(kind, cased=kind not in (Kind.URL, Kind.PATH), spelled=spelled)
    if flags & re.IGNORECASE and not pattern.isascii():
        return lambda value: found(_fold_beyond_ascii(subject(value))) is not None
    return lambda value: found(subject(value)) is not None


def _fold_beyond_ascii(text: str) -> str:
    """Return the text with everything outside ASCII without case: `re.ASCII` leaves those letters alone."""
    return text if text.isascii() else "".join(c if c.isascii() else fold(c) for c in text)
