"""Rules and schemas become what is asked of the columns of one table: which rows could matter.

The same principle as the search in text (`imdswatch.scan.patterns`): what is asked may only be too generous. A row that
it lets through is read by its schema and judged by the predicate like a line of a log, so what a rule means stands in
one place; a row that it keeps back is one that no rule can match. tests/test_tables.py holds that against the plain
predicate. Site and suppression have no part in it: what they mute is counted, never dropped.

- ADDRESS: an address as text contains its own spelling, or that of the IPv6 forms that mean the same.
- HOST: those, and the decimal, hex and octal forms, as patterns.
- URL, PATH: every segment of the rule's text, without case, each character as it is or percent-encoded.
- TEXT, NAME: every run of ASCII characters of the rule's text; of a name without its final dot.
- what a schema computes (a map, base64, a difference of two numbers): the column has a value.

Pure. Longer than most: every kind of test on every kind of field has its question here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from itertools import chain

from imdswatch import address
from imdswatch.event import FIELDS, Kind
from imdswatch.layouts.fieldmap import Field
from imdswatch.layouts.json import Json
from imdswatch.layouts.required import required_literals
from imdswatch.rule import And, Cidr, Exists, Match, Node, Not, Null, Number, Or, Regex, Test, Text
from imdswatch.scan.asks import (
    ALWAYS,
    NEVER,
    Among,
    Ask,
    Between,
    Found,
    Has,
    Holds,
    Lacks,
    Odd,
    Relative,
    all_of,
    any_of,
    guard,
)  # fmt: skip
from imdswatch.scan.columns import MANY, Column, Columns
from imdswatch.scan.judging import Window
from imdswatch.scan.patterns import address_in_url
from imdswatch.scan.predicate import value_check
from imdswatch.schema import Schema

_COPYING = frozenset(
    {
        "text", "lower", "upper", "address", "names", "list",
        "request_method", "request_uri", "host_port_host", "percent_cr",
    }
)  # fmt: skip
"""Conversions whose result, but for its case, stands in the source text."""
_URLS = ("url", "uri_path", "uri_query", "host")
_DERIVED_FROM = {
    "url": _URLS,
    "host": ("host", "url", "uri_path"),  # a proxy logs an absolute URL where others have a path
    "uri_path": ("uri_path", "url"),
    "uri_query": ("uri_query", "url", "uri_path"),
}
"""Which fields `event.complete` makes a field of; each is asked for in the columns of all of them."""
_RUN = re.compile(r"[ -~]+")
_RUN_IN_MANY = re.compile(r"[A-Za-z0-9_.:\-]+")  # what no way of printing a list or a map as text escapes
_SEGMENT = re.compile(r"[A-Za-z0-9_.\-]+")
_ENCODED_HOST = r"^(?:[a-z][a-z0-9+.\-]*://)?[^/]*%"
_WIDE = r"[\x{FF10}-\x{FF19}]|[0-9a-f][\x{FF0E}\x{3002}\x{FF61}][0-9]"
"""Digits and dots that URL libraries map to those of ASCII in a host (UTS 46)."""
_ENDPOINT_HEX = "a9fe:a9fe"
_EPOCHS = {"epoch": 1.0, "epoch_ms": 1e3, "epoch_us": 1e6, "epoch_ns": 1e9}
_TOO_LATE = 253402300800.0  # 1 January 10000: what is later is no time, see layouts.conversions


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask of one table.

    `known` holds for rows whose schema is certain; only of those is more asked, every other row is searched as text.
    `timely` holds for rows of the time that is asked for. `likely` is quick to ask and holds wherever `wanted` holds.
    `names` are the columns that the schemas look into, `renamed` the names that the schemas know them by. `unasked`
    names the rules for which no question exists: every row is read.
    """

    known: Ask = NEVER
    timely: Ask = ALWAYS
    likely: Ask = NEVER
    wanted: Ask = NEVER
    names: tuple[str, ...] = ()
    renamed: dict[str, Column] = field(default_factory=dict)
    unasked: tuple[str, ...] = ()


def plan(
    conditions: Sequence[tuple[str, Node]],
    schemas: Iterable[Schema],
    columns: Columns,
    window: Window,
    utc: bool,
) -> Plan:
    """Return the plan for named conditions over the rows of a table; `utc` says that times without zone are UTC."""
    fitting = [s for s in schemas if any(isinstance(base.form.layout, Json) for base in s.bases)]
    known = {schema.name: _known(schema, columns) for schema in fitting}
    fitting = [schema for schema in fitting if known[schema.name] != NEVER]
    paths = list(dict.fromkeys(chain.from_iterable(map(_paths, fitting))))
    wanted = {
        slug: any_of(_Asker(schema, columns).ask(node) for schema in fitting) for slug, node in conditions
    }
    asked = any_of(wanted.values())
    timely = any_of(_timely(schema, columns, window, utc) for schema in fitting)
    return Plan(
        known=any_of(known[schema.name] for schema in fitting),
        timely=timely,
        likely=guard(asked),
        wanted=asked,
        names=tuple(dict.fromkeys(column.path[0] for path in paths for column in columns.find(path))),
        renamed=columns.renamed(paths),
        unasked=tuple(slug for slug, ask in wanted.items() if ask == ALWAYS),
    )


def _paths(schema: Schema) -> Iterator[str]:
    """Yield the source paths that reading a record by this schema looks at."""
    recognise = schema.recognise
    for keys in recognise.keys:
        yield from keys.split("|")
    yield from (*recognise.any, *recognise.absent, *recognise.equals)
    for base in schema.bases:
        for form in base.forms:
            yield from (path for path, _ in form.when)
    for spec in schema.all_fields():
        yield from spec.all_sources()


def _known(schema: Schema, columns: Columns) -> Ask:
    """Return what holds only for rows that the schema recognises."""
    recognise = schema.recognise
    nodes = [any_of(_present(path, schema, columns) for path in keys.split("|")) for keys in recognise.keys]
    if recognise.any:
        nodes.append(any_of(_present(path, schema, columns) for path in recognise.any))
    for path, values in recognise.equals.items():
        found = columns.find(path)
        plain = len(found) == 1 and found[0].kind in ("text", "integer")
        nodes.append(Among(found[0], tuple(map(str, values))) if plain else NEVER)
    for path in recognise.absent:
        nodes += [Lacks(column) if _whole(column, path) else NEVER for column in columns.find(path)]
    return all_of(nodes)


def _present(path: str, schema: Schema, columns: Columns) -> Ask:
    found = columns.find(path)
    if not found:  # an object that is flattened is there where anything is that the schema looks for in it
        inside = [one for one in _paths(schema) if one.startswith(path + ".")]
        return any_of(Has(column) for one in inside for column in columns.find(one))
    return any_of(Has(column) for column in found if _whole(column, path))


def _whole(column: Column, path: str) -> bool:
    """Say whether a column is all that a path asks for, rather than a list or an object to look for it in."""
    return not (column.kind in MANY or column.kind == "json") or column.path in (
        (path,),
        tuple(path.split(".")),
    )


def _timely(schema: Schema, columns: Columns, window: Window, utc: bool) -> Ask:
    """Return what holds for every row that may lie in the window, or has no time."""
    specs = [spec for spec in schema.all_fields() if spec.name == "timestamp"]
    if window == Window() or not specs or any(spec != specs[0] for spec in specs):
        return ALWAYS
    found = [column for source in specs[0].all_sources() for column in columns.find(source)]
    if len(found) != 1 or specs[0].map or specs[0].match or specs[0].glue is not None:
        return ALWAYS
    (column,) = found
    if column.kind == "time" or (column.kind == "local time" and utc):
        return any_of((Lacks(column), Between(column, window.since, window.until)))
    if column.kind not in ("integer", "number"):
        return ALWAYS
    convert = specs[0].convert
    units = (
        [_EPOCHS[convert]]
        if convert in _EPOCHS
        else list(_EPOCHS.values())
        if convert in ("time", "when")
        else []
    )
    if not units:
        return ALWAYS
    ranges = [Between(column, _scaled(window.since, unit), _scaled(window.until, unit)) for unit in units]
    # What is no time (negative, or beyond every calendar) counts as none, and such a row is kept.
    return any_of(
        (Lacks(column), *ranges, Between(column, None, 0.0), Between(column, _TOO_LATE * max(units), None))
    )


def _scaled(bound: float | None, unit: float) -> float | None:
    return None if bound is None else bound * unit


class _Asker:
    """Asks the columns of one schema."""

    def __init__(self, schema: Schema, columns: Columns) -> None:
        self._columns = columns
        self._specs: dict[str, list[Field]] = {}
        for spec in schema.all_fields():
            self._specs.setdefault(spec.name, []).append(spec)
        self._constants = {
            name: value
            for base in schema.bases
            for form in base.forms
            for name, value in form.fields.constants
        }

    def ask(self, node: Node) -> Ask:
        """Return what holds for every row of the schema that the condition accepts."""
        match node:
            case And(nodes):
                return all_of(map(self.ask, nodes))
            case Or(nodes):
                return any_of(map(self.ask, nodes))
            case Match(str(name), test):
                return self._match(name, test)
            case Not() | Match():
                return (
                    ALWAYS  # what is generous inside would be mean when negated; a keyword may stand anywhere
                )
        raise AssertionError(node)

    def _match(self, name: str, test: Test) -> Ask:
        if name == "answered" or isinstance(test, Null) or test == Exists(False):
            return ALWAYS
        if name in self._constants and (test == Exists(True) or _holds(name, test, self._constants[name])):
            return ALWAYS
        if name in _DERIVED_FROM and isinstance(test, Text) and (pieces := _pieces(FIELDS[name].kind, test)):
            sources = {one: self._specs.get(one, []) for one in _DERIVED_FROM[name]}
            if name == "url":  # host, path and query may stand in columns of their own
                return all_of(
                    any_of(
                        self._spec(spec, _in_path([piece]))
                        for one, specs in sources.items()
                        for spec in specs
                        if one != "host" or not below  # what comes after a slash is no host
                    )
                    for piece, below in pieces
                )
            if name != "host":
                in_path = _in_path([piece for piece, _ in pieces])
                return any_of(self._spec(spec, in_path) for specs in sources.values() for spec in specs)
        asked = _asked_of(name, test)
        in_url = _in_host_of_url(_asked_of(name, test, url=True)) if name == "host" else asked
        return any_of(
            self._spec(spec, asked if one == name else in_url, test)
            for one in _DERIVED_FROM.get(name, (name,))
            for spec in self._specs.get(one, ())
        )

    def _spec(self, spec: Field, asked: Callable[[Column], Ask], test: Test | None = None) -> Ask:
        """Return what is asked of the columns of one field specification, its alternative included."""
        columns = [column for source in spec.sources for column in self._columns.find(source)]
        if spec.otherwise is not None:
            more = self._spec(spec.otherwise, asked, test)
        else:
            more = NEVER
        if spec.map:
            holds = test is None or any(_holds(spec.name, test, value) for _, value in spec.map)
            return any_of((*map(Has, columns), more)) if holds else more
        if spec.convert not in _COPYING or spec.glue is not None:
            if spec.plain and spec.convert == "int" and isinstance(test, Text | Number):
                return any_of((*(_number(column, test) for column in columns), more))
            return any_of((*map(Has, columns), more))
        return any_of(
            (*(Has(column) if column.kind == "json" else asked(column) for column in columns), more)
        )


def _holds(name: str, test: Test, value: object) -> bool:
    """Say whether a value of a schema's own making may pass the test."""
    if not isinstance(test, Text | Number | Regex) or FIELDS[name].kind is not Kind.TEXT:
        return True
    check = value_check(Kind.TEXT, test)
    return any(map(check, value)) if isinstance(value, tuple) else check(value)


def _number(column: Column, test: Test) -> Ask:
    wanted = test.value if isinstance(test, Number) else None
    if isinstance(test, Text) and len(test.parts) == 1 and isinstance(text := test.parts[0], str):
        wanted = float(text) if re.fullmatch(r"[0-9]{1,15}", text) else None
    return Between(column, wanted, wanted) if wanted is not None and column.kind == "integer" else Has(column)


def _asked_of(name: str, test: Test, url: bool = False) -> Callable[[Column], Ask]:
    """Return what to ask of a column whose text holds the field's value, or a URL whose host is the value."""
    kind = FIELDS[name].kind
    match test:
        case Text(parts) if (
            kind in (Kind.ADDRESS, Kind.HOST) and len(parts) == 1 and isinstance(parts[0], str)
        ):
            found = address.parse_host(parts[0]) if kind is Kind.HOST else address.parse(parts[0])
            if found is not None:
                return _host(found, url) if kind is Kind.HOST else _address(found)
            return _texts(parts) if kind is Kind.HOST else Has
        case Text(parts) if kind is Kind.NAME:
            return _texts([part.rstrip(".") if isinstance(part, str) else part for part in parts])
        case Text(parts) if kind is Kind.TEXT or (kind is Kind.HOST and not _may_be_address(parts)):
            return _texts(parts)
        case Cidr(network) if kind is Kind.ADDRESS:
            return _network(network)
        case Regex(pattern) if kind in (Kind.TEXT, Kind.NAME, Kind.PATH, Kind.URL):
            text = kind in (Kind.TEXT, Kind.NAME)
            literal = max(required_literals(pattern), key=len, default="") if text else ""
            return _texts((literal,)) if len(literal) > 2 else Has
    return Has


def _texts(parts: Iterable[object]) -> Callable[[Column], Ask]:
    texts = [part for part in parts if isinstance(part, str)]

    def asked(column: Column) -> Ask:
        run = _RUN_IN_MANY if column.kind in MANY else _RUN
        found = [piece.lower() for text in texts for piece in run.findall(text)]
        return (
            all_of((Has(column), *(Holds(column, piece) for piece in found)))
            if not found
            else all_of(Holds(column, piece) for piece in found)
        )

    return asked


def _may_be_address(parts: Iterable[object]) -> bool:
    return all(re.fullmatch(r"[0-9a-fA-F.:]*", part) for part in parts if isinstance(part, str))


def _address(found: str) -> Callable[[Column], Ask]:
    def asked(column: Column) -> Ask:
        if ":" not in found:
            other = _ENDPOINT_HEX if found == address.ENDPOINT_V4 else "ffff:"
            return any_of((Holds(column, found), Found(column, other, ":")))
        groups = IPv6Address(found).exploded.split(":")[:6]  # the last two may be written as dotted decimal
        return Found(column, ".*".join(group.lstrip("0") for group in groups if group.strip("0")) or ":", ":")

    return asked


def _network(text: str) -> Callable[[Column], Ask]:
    network = address.network(text)

    def asked(column: Column) -> Ask:
        if not isinstance(network, IPv4Network):
            return Holds(column, ":")
        octets = network.network_address.packed[: network.prefixlen // 8]
        dotted = ".".join(map(str, octets)) + ("." if len(octets) < 4 else "")
        hexes = ["ffff:"] + [_ENDPOINT_HEX] * (IPv4Address(address.ENDPOINT_V4) in network)
        return any_of(Holds(column, piece) for piece in (dotted if octets else ".", *hexes))

    return asked


def _host(found: str, url: bool) -> Callable[[Column], Ask]:
    # One search for both endpoints: rules ask for them together.
    named = sorted(address.ENDPOINTS) if found in address.ENDPOINTS else [found]
    patterns: list[str] = []
    for one in named:
        spellings = address_in_url(one)
        if spellings is None:
            return Has
        patterns += spellings
    pattern = "|".join([*patterns, _ENCODED_HOST, _WIDE])
    if url:
        return lambda column: Found(column, pattern)
    # A host that is an address begins with no letter, but for IPv6, which has a colon somewhere, perhaps encoded.
    six = [Found(Column((), "text"), pattern, mark) for mark in ":%"] if ":" in found else []

    def asked(column: Column) -> Ask:
        if column.kind != "text":
            return Found(column, pattern)
        numbers = all_of((Odd(column), Found(column, pattern)))
        return any_of((Holds(column, found), numbers, *(replace(one, column=column) for one in six)))

    return asked


def _pieces(kind: Kind, test: Text) -> list[tuple[str, bool]]:
    """Return the pieces of a rule's text that stand in every spelling of a URL or path that it matches.

    With each goes whether a slash comes before it, which begins the path.
    """
    out: dict[tuple[str, bool], None] = {}
    below = False
    for text in (part for part in test.parts if isinstance(part, str)):
        for place, segment in enumerate(re.split(r"[/?#]|://", text)):
            below = below or place > 0
            pieces = [piece.lower() for piece in _SEGMENT.findall(segment) if piece.strip(".")]
            if kind is Kind.URL:  # could be part of a host that the log spells as a number
                pieces = [piece for piece in pieces if not _may_be_address([piece])]
            out.update(dict.fromkeys((piece, below and "://" not in text) for piece in pieces))
    return list(out)


def _in_host_of_url(asked: Callable[[Column], Ask]) -> Callable[[Column], Ask]:
    """Ask a URL for its host: one that begins with a slash has none."""
    return lambda column: (
        all_of((Relative(column), asked(column))) if column.kind == "text" else asked(column)
    )


def _in_path(pieces: Sequence[str]) -> Callable[[Column], Ask]:
    def asked(column: Column) -> Ask:
        if column.kind in MANY:
            return Has(column)
        return all_of(Found(column, _spelled(piece), weight=len(piece), plain=piece) for piece in pieces)

    return asked


def _spelled(piece: str) -> str:
    """Return a pattern for a piece of a path, each character as it is or percent-encoded, once or twice.

    One search for all spellings costs what the search for the plain one costs.
    """
    return "".join(map(_character, piece))


@cache
def _character(char: str) -> str:
    codes = {f"{ord(case):02x}" for case in (char.lower(), char.upper())}
    high, low = ("".join(sorted({code[place] for code in codes})) for place in (0, 1))
    return f"(?:{re.escape(char)}|%(?:25)?{_digit(high)}{_digit(low)})"


def _digit(some: str) -> str:
    """Return a pattern for a digit of percent-encoding, one of some, which may be encoded itself: `%6%64` is an m."""
    letters = "".join(f"{ord(digit) - ord('a') + 1:x}" for digit in some if digit.isalpha())
    numbers = "".join(digit for digit in some if digit.isdigit())
    again = [f"3[{numbers}]"] * bool(numbers) + [f"[46][{letters}]"] * bool(letters)
    return f"(?:[{some}]|%(?:{'|'.join(again)}))"
