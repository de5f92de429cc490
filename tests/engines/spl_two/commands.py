"""The commands behind the pipes, by name; each takes the rows and the span of its arguments.

Search Reference, one page per command. `COMMANDS` take rows, `GENERATING` make them. Rows that are events keep their
`id` through `fields` and `table`, so that a test can tell which events a query found.
Longer than most modules: it is a list of twenty small commands.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from .context import Context
from .errors import SplError, Undocumented
from .expressions import Compiled, expression, truth
from .lookups import inputlookup, lookup
from .source import Tokens, whole
from .stats import eventstats, stats, tstats
from .terms import search
from .times import span_of
from .values import Event, compare, field_of, number_of, pcre, text_of, values_of, wildcard

Command = Callable[[Context, list[Event], int, int], list[Event]]
HIDDEN = ("id",)


def where(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Keep the rows for which the expression is true; null is not true."""
    condition = expression(context, start, end)
    return [row for row in rows if truth(condition.of(row), start) is True]


def evaluated(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """eval: fields left to right, later ones see earlier ones; null erases; a Boolean result is an error."""
    for name, compiled, at in _assignments(context, start, end):
        rows = [_assigned(row, name, compiled.of(row), at) for row in rows]
    return rows


def _assigned(row: Event, name: str, value: Any, at: int) -> Event:
    if isinstance(value, bool):
        raise SplError("the result of an eval expression cannot be a Boolean", at)
    changed = {**row, name: value}
    if value is None:
        del changed[name]
    return changed


def _assignments(context: Context, start: int, end: int) -> list[tuple[str, Compiled, int]]:
    from .expressions import Expression

    parser = Expression(context, start, end)
    found = []
    while True:
        kind, text, at = parser.lexer.take()
        if kind not in ("name", "field", "string"):
            raise SplError("expected the field to assign", at)
        parser.lexer.expect("=")
        found.append((text if kind == "name" else text[1:-1], parser.parse(0), at))
        if parser.lexer.here[0] == "end":
            return found
        parser.lexer.expect(",")


def rex(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Extract named groups from a field (default _raw); max_match=0 takes all matches."""
    tokens = Tokens(context.text, start, end)
    field, most = "_raw", 1
    while option := tokens.option("field", "max_match", "mode", "offset_field"):
        if option[0] in ("mode", "offset_field"):
            raise SplError(f"rex {option[0]}= is not in this evaluator", option[1].start)
        if option[0] == "field":
            field = option[1].value
        else:
            most = whole(option[1])
    token = tokens.here
    pattern = _pattern(context, tokens)
    if not pattern.groupindex:
        raise SplError("rex needs a named group", token.start)
    out = []
    for row in rows:
        found = [match for held in values_of(row.get(field)) for match in pattern.finditer(text_of(held))]
        found = found if most == 0 else found[:most]
        groups = {
            name: field_of([match[name] for match in found if match[name] is not None])
            for name in pattern.groupindex
        }
        out.append({**row, **{name: value for name, value in groups.items() if value is not None}})
    return out


def regex(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Keep the rows in which the field (default _raw) matches anywhere, or with != does not."""
    tokens = Tokens(context.text, start, end)
    field, wanted = "_raw", True
    if tokens.here.kind == "word":
        field = tokens.take().value
        wanted = not tokens.accept("!=")
        if wanted:
            tokens.expect("=")
    pattern = _pattern(context, tokens)

    def keep(row: Event) -> bool:
        values = values_of(row.get(field))
        if not values and not wanted:
            raise Undocumented(f"whether regex {field}!= keeps an event without {field}", start)
        return bool(values) and any(pattern.search(text_of(item)) for item in values) is wanted

    return [row for row in rows if keep(row)]


def _pattern(context: Context, tokens: Tokens) -> re.Pattern[str]:
    token = tokens.take()
    if token.kind != "string":
        raise SplError("expected a regular expression in quotes", token.start)
    tokens.done()
    raw = context.text[token.start + 1 : token.end - 1].replace('\\"', '"')
    try:
        return pcre(raw)
    except re.error as error:
        raise SplError(f"no regular expression: {error}", token.start) from None


def fields(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Keep (+, default) or remove (-) fields; internal fields stay unless removed by name."""
    tokens = Tokens(context.text, start, end)
    remove = tokens.accept("-", "word")
    tokens.accept("+", "word")
    patterns = [wildcard(name, caseless=False) for name in tokens.some_names()]

    def named(name: str) -> bool:
        return any(pattern.fullmatch(name) for pattern in patterns)

    if remove:
        return [
            {name: value for name, value in row.items() if name in HIDDEN or not named(name)} for row in rows
        ]
    return [
        {
            name: value
            for name, value in row.items()
            if name in HIDDEN or name in ("_raw", "_time") or named(name)
        }
        for row in rows
    ]


def table(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Keep only the named fields, in that order."""
    names = Tokens(context.text, start, end).some_names()
    out = []
    for row in rows:
        kept = {name: row[name] for name in HIDDEN if name in row}
        for name in names:
            pattern = wildcard(name, caseless=False)
            kept |= {key: value for key, value in row.items() if pattern.fullmatch(key)}
        out.append(kept)
    return out


def rename(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Rename fields; both names have the same number of wildcards."""
    tokens = Tokens(context.text, start, end)
    while tokens.here.kind != "end":
        old = tokens.name()
        if not tokens.keyword("as"):
            raise SplError("expected AS", tokens.here.start)
        new = tokens.name()
        tokens.accept(",")
        if old.value.count("*") != new.value.count("*"):
            raise SplError("both names of rename must have the same wildcards", old.start)
        pattern = re.compile("(.*)".join(re.escape(part) for part in old.value.split("*")))
        rows = [_renamed(row, pattern, new.value) for row in rows]
    return rows


def _renamed(row: Event, pattern: re.Pattern[str], new: str) -> Event:
    out: Event = {}
    changed: Event = {}
    for name, value in row.items():
        found = pattern.fullmatch(name) if name not in HIDDEN else None
        if not found:
            out[name] = value
            continue
        parts = iter(found.groups())
        changed[re.sub(r"\*", lambda _, parts=parts: next(parts), new)] = value
    return {**out, **changed}


def binned(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """bin: put _time (or epoch seconds in another field) into spans."""
    tokens = Tokens(context.text, start, end)
    field, span, target = None, None, None
    while tokens.here.kind != "end":
        if option := tokens.option("span", "bins", "minspan", "start", "end", "aligntime"):
            if option[0] != "span":
                raise SplError(f"bin {option[0]}= is not in this evaluator", option[1].start)
            span = span_of(option[1].value, option[1].start)
        elif tokens.keyword("as"):
            target = tokens.name().value
        else:
            field = tokens.name().value
    if field is None or span is None:
        raise SplError("bin needs a field and a span here", start)
    if field != "_time":
        raise SplError("bin of another field than _time is not in this evaluator", start)
    out = []
    for row in rows:
        number = number_of(row.get(field))
        out.append(
            row if number is None else {**row, target or field: field_of([int(number // span * span)])}
        )
    return out


def dedup(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Keep the first row (or first N) of each combination; rows that lack one of the fields are removed."""
    tokens = Tokens(context.text, start, end)
    most = whole(tokens.take()) if tokens.here.value.isdecimal() else 1
    names: list[str] = []
    while tokens.here.kind != "end":
        if option := tokens.option("keepevents", "keepempty", "consecutive"):
            if option[1].value.lower() not in ("f", "false", "0"):
                raise SplError(f"dedup {option[0]}= is not in this evaluator", option[1].start)
        elif tokens.here.value.lower() == "sortby":
            raise SplError("dedup sortby is not in this evaluator", tokens.here.start)
        elif not tokens.accept(","):
            names.append(tokens.name().value)
    if not names:
        raise SplError("dedup needs a field", start)
    seen: dict[tuple[Any, ...], int] = {}
    out = []
    for row in rows:
        values = tuple(tuple(text_of(item) for item in values_of(row.get(name))) for name in names)
        if all(values):
            seen[values] = seen.get(values, 0) + 1
            if seen[values] <= most:
                out.append(row)
    return out


def sort(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Sort by fields, - for descending; at most 10000 rows unless a count is given, 0 for all."""
    tokens = Tokens(context.text, start, end)
    most = 10_000
    if option := tokens.option("limit"):
        most = whole(option[1])
    elif tokens.here.value.isdecimal():
        most = whole(tokens.take())
    keys: list[tuple[str, bool, str]] = []
    sign = ""
    while tokens.here.kind != "end":
        if tokens.accept(","):
            continue
        word = tokens.name().value
        if word in ("+", "-"):
            sign = word
            continue
        down = (word[:1] if word[:1] in ("+", "-") else sign) == "-"
        name, kind = word.lstrip("+-"), "auto"
        if tokens.here.value == "(" and name in ("num", "str", "auto", "ip"):
            tokens.take()
            kind, name = name, tokens.name().value
            tokens.expect(")")
        if kind == "ip":
            raise SplError("sort by ip() is not in this evaluator", start)
        keys.append((name, down, kind))
        sign = ""
    if not keys:
        raise SplError("sort needs a field", start)

    def order(one: Event, two: Event) -> int:
        for name, down, kind in keys:
            a, b = (next(iter(values_of(row.get(name))), None) for row in (one, two))
            if a is None or b is None:
                result = (a is None) - (b is None)
            else:
                result = compare(str(a) + "\0", str(b) + "\0") if kind == "str" else compare(a, b)
                result = -result if down else result
            if result:
                return result
        return 0

    ordered = sorted(rows, key=functools.cmp_to_key(order))
    return ordered[:most] if most else ordered


def head(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Return the first N rows, 10 without a number."""
    return rows[: _count(context, start, end)]


def tail(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Return the last N rows, in reverse order."""
    count = _count(context, start, end)
    return rows[::-1][:count]


def _count(context: Context, start: int, end: int) -> int:
    tokens = Tokens(context.text, start, end)
    option = tokens.option("limit")
    token = option[1] if option else tokens.take()
    if token.kind == "end":
        return 10
    tokens.done()
    return whole(token)


def reverse(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    return rows[::-1]


def mvexpand(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Make one row for each value of a multivalue field."""
    name = Tokens(context.text, start, end).only_name()
    return [{**row, name: item} for row in rows for item in values_of(row.get(name))]


def makemv(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Cut a field into values at a delimiter, one space by default."""
    tokens = Tokens(context.text, start, end)
    option = tokens.option("delim")
    delimiter = option[1].value if option else " "
    name = tokens.only_name()
    return [
        {**row, name: field_of([part for part in text_of(row[name]).split(delimiter) if part])}
        if row.get(name)
        else row
        for row in rows
    ]


def fillnull(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Fill the named fields, or all fields that any row has, with a value, 0 by default."""
    tokens = Tokens(context.text, start, end)
    option = tokens.option("value")
    filler = option[1].value if option else "0"
    names = tokens.names() or list(dict.fromkeys(name for row in rows for name in row if name not in HIDDEN))
    return [{**row, **{name: filler for name in names if not values_of(row.get(name))}} for row in rows]


def makeresults(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Make rows that have nothing but the time of the search."""
    tokens = Tokens(context.text, start, end)
    option = tokens.option("count")
    tokens.done()
    return [{"_time": context.now} for _ in range(whole(option[1]) if option else 1)]


COMMANDS: dict[str, Command] = {
    "search": search,
    "where": where,
    "eval": evaluated,
    "rex": rex,
    "regex": regex,
    "fields": fields,
    "table": table,
    "rename": rename,
    "stats": stats,
    "eventstats": eventstats,
    "bin": binned,
    "bucket": binned,
    "lookup": lookup,
    "dedup": dedup,
    "sort": sort,
    "head": head,
    "tail": tail,
    "reverse": reverse,
    "mvexpand": mvexpand,
    "makemv": makemv,
    "fillnull": fillnull,
}
GENERATING: dict[str, Command] = {"inputlookup": inputlookup, "tstats": tstats, "makeresults": makeresults}
