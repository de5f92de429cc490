"""The evaluation functions, by name: Search Reference, "Evaluation functions" and its pages by category.

Each entry has the least and the most arguments (None: any number) and what it does with their values.
Functions that must see an expression and not its value (if, case, mvmap ...) stand in `LAZY`.
A null argument gives null unless the entry says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from .context import Context
from .errors import SplError, Undocumented
from .expressions import Compiled, truth
from .source import Tokens
from .times import relative_time, strftime, strptime
from .values import Event, compare, field_of, in_network, network_of, number_of, pcre, text_of, values_of

PREDICATES = {"like", "match", "cidrmatch", "in"}


def _regex(pattern: Any, at: int) -> re.Pattern[str]:
    try:
        return pcre(text_of(pattern))
    except re.error as error:
        raise SplError(f"no regular expression: {error}", at) from None


def _like(text: Any, pattern: Any, at: int) -> bool:
    """like(str, pattern): % is any characters, _ is one; the whole value, case-sensitive."""
    parts = {"%": ".*", "_": "."}
    return bool(
        re.fullmatch(
            "".join(parts.get(char) or re.escape(char) for char in text_of(pattern)), text_of(text), re.DOTALL
        )
    )


def _match(text: Any, pattern: Any, at: int) -> bool:
    """match(str, regex): true if the regular expression finds a match against any substring."""
    return bool(_regex(pattern, at).search(text_of(text)))


def _cidrmatch(cidr: Any, address: Any, at: int) -> bool:
    """cidrmatch(cidr, ip): IPv4 and IPv6; what is no address belongs to no subnet."""
    network = network_of(text_of(cidr))
    if network is None:
        raise SplError(f"no CIDR notation: {text_of(cidr)!r}", at)
    return in_network(network, address)


def _in(value: Any, *items: Any) -> bool:
    """in(value, list): equality with one of them, case-sensitive, without wildcards."""
    *choices, _at = items
    return any(compare(value, item) == 0 for item in choices if item is not None)


def _substr(text: Any, start: Any, length: Any = None, *, at: int = 0) -> str:
    """substr(str, start, length): 1-based; a negative start counts from the end."""
    whole, first = text_of(text), int(number_of(start) or 0)
    begin = max(len(whole) + first, 0) if first < 0 else max(first - 1, 0)
    return whole[begin:] if length is None else whole[begin : begin + int(number_of(length) or 0)]


def _replace(text: Any, pattern: Any, by: Any, at: int) -> str:
    r"""replace(str, regex, replacement): \1 in the replacement is the first group."""
    return _regex(pattern, at).sub(re.sub(r"\\(\d)", r"\\g<\1>", text_of(by)), text_of(text))


def _tonumber(text: Any, base: Any, at: int) -> Any:
    """tonumber(str, base): null if it is no number in that base."""
    if number_of(base) == 10:
        return number_of(text.strip() if isinstance(text, str) else text)
    try:
        return int(text_of(text), int(number_of(base) or 10))
    except ValueError:
        return None


def _tostring(value: Any, form: Any, at: int) -> str:
    """tostring(value, format): hex, commas (two decimals at most), duration; Booleans are True and False."""
    number = number_of(value)
    if form is None or number is None:
        return text_of(value)
    if form == "hex":
        return f"0x{int(number):x}" if number < 0 else f"0x{int(number):X}"
    if form == "commas":
        return f"{round(number, 2):,}"
    if form == "duration":
        days, rest = divmod(int(number), 86400)
        return (f"{days}+" if days else "") + f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    raise SplError(f"no format of tostring: {form!r}", at)


def _mvindex(values: Any, start: Any, end: Any, at: int) -> Any:
    """mvindex(mv, start, end): from 0, negative from the end, the end included; out of range is null."""
    items, first = values_of(values), int(number_of(start) or 0)
    last = first if end is None else int(number_of(end) or 0)
    first, last = (index + len(items) if index < 0 else index for index in (first, last))
    if first < 0 or first >= len(items) or last < first:
        return None
    return field_of(items[first : last + 1])


def _mvfind(values: Any, pattern: Any, at: int) -> Any:
    """mvfind(mv, regex): the index of the first value that matches, else null."""
    regex = _regex(pattern, at)
    return next((index for index, item in enumerate(values_of(values)) if regex.search(text_of(item))), None)


def _number(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def calculated(value: Any, *rest: Any) -> Any:
        number = number_of(value)
        return None if number is None else function(number, *rest[:-1])

    return calculated


def _round(value: Any, digits: Any = None) -> Any:
    scale = 10 ** int(number_of(digits) or 0)
    return int(value * scale + (0.5 if value >= 0 else -0.5)) / scale


# name: least arguments, most arguments, function(values..., at)
PLAIN: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "like": (2, 2, _like),
    "match": (2, 2, _match),
    "cidrmatch": (2, 2, _cidrmatch),
    "in": (2, 1000, _in),
    "lower": (1, 1, lambda text, at: text_of(text).lower()),
    "upper": (1, 1, lambda text, at: text_of(text).upper()),
    "len": (1, 1, lambda text, at: len(text_of(text))),
    "trim": (1, 2, lambda text, chars, at: text_of(text).strip(chars)),
    "ltrim": (1, 2, lambda text, chars, at: text_of(text).lstrip(chars)),
    "rtrim": (1, 2, lambda text, chars, at: text_of(text).rstrip(chars)),
    "substr": (2, 3, lambda text, start, length, at: _substr(text, start, length, at=at)),
    "replace": (3, 3, _replace),
    "urldecode": (1, 1, lambda text, at: unquote(text_of(text))),
    "tonumber": (1, 2, lambda text, base, at: _tonumber(text, 10 if base is None else base, at)),
    "tostring": (1, 2, _tostring),
    "abs": (1, 1, _number("abs", abs)),
    "floor": (1, 1, _number("floor", lambda value: int(value // 1))),
    "ceiling": (1, 1, _number("ceiling", lambda value: -int(-value // 1))),
    "round": (1, 2, _number("round", _round)),
    "strptime": (2, 2, lambda text, form, at: strptime(text_of(text), text_of(form))),
    "strftime": (2, 2, lambda time, form, at: strftime(float(number_of(time) or 0), text_of(form))),
    "relative_time": (
        2,
        2,
        lambda time, step, at: relative_time(float(number_of(time) or 0), text_of(step), at),
    ),
}
# Functions that take fields with several values as they are.
MULTI: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "split": (
        2,
        2,
        lambda text, by, at: field_of(text_of(text).split(text_of(by)) if by else list(text_of(text))),
    ),
    "mvjoin": (2, 2, lambda values, by, at: text_of(by).join(text_of(item) for item in values_of(values))),
    "mvindex": (2, 3, _mvindex),
    "mvfind": (2, 2, _mvfind),
    "mvdedup": (1, 1, lambda values, at: field_of(list(dict.fromkeys(values_of(values))))),
    "mvsort": (1, 1, lambda values, at: field_of(sorted(values_of(values), key=text_of))),
}
# Functions for which null is an argument like any other.
NULLABLE: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "isnull": (1, 1, lambda value, at: value is None),
    "isnotnull": (1, 1, lambda value, at: value is not None),
    "isnum": (1, 1, lambda value, at: number_of(value) is not None),
    "isint": (1, 1, lambda value, at: isinstance(number_of(value), int)),
    "isstr": (1, 1, lambda value, at: isinstance(value, str) and number_of(value) is None),
    "mvcount": (1, 1, lambda values, at: len(values_of(values)) or None),
    "mvappend": (
        1,
        1000,
        lambda *values: field_of([item for held in values[:-1] for item in values_of(held)]),
    ),
    "nullif": (
        2,
        2,
        lambda one, two, at: None if one is not None and two is not None and compare(one, two) == 0 else one,
    ),
}
LAZY = {
    "if",
    "case",
    "coalesce",
    "validate",
    "mvmap",
    "mvfilter",
    "searchmatch",
    "null",
    "true",
    "false",
    "now",
    "time",
}
VARIADIC = {"in", "mvappend"}


def called(context: Context, name: str, arguments: list[Compiled], at: int) -> Compiled:
    """Compile a call; an unknown function or a wrong number of arguments is an error."""
    fields = frozenset().union(*(argument.fields for argument in arguments))
    if name in LAZY:
        return Compiled(_lazy(context, name, arguments, at), fields)
    table = next((table for table in (PLAIN, MULTI, NULLABLE) if name in table), None)
    if table is None:
        raise SplError(f"unknown function {name!r}", at)
    least, most, function = table[name]
    if not least <= len(arguments) <= most:
        raise SplError(f"{name} takes {least} to {most} arguments, not {len(arguments)}", at)
    missing = [None] * (0 if name in VARIADIC else most - len(arguments))

    def value(row: Event) -> Any:
        given = [argument.of(row) for argument in arguments]
        if table is not NULLABLE and (given[0] is None or (name != "in" and None in given)):
            return None
        if table is PLAIN and any(isinstance(item, list) for item in given):
            return _by_value(context, name, function, [*given, *missing], at)
        return function(*given, *missing, at)

    return Compiled(value, fields)


def _by_value(context: Context, name: str, function: Callable[..., Any], given: list[Any], at: int) -> Any:
    """Apply a function to a field with several values, which the manual tells for none of these."""
    if name not in PREDICATES:
        raise Undocumented(f"what {name} does with a field of several values; use mvmap", at)
    if context.readings.several_values == "null":
        return None
    index = next(number for number, item in enumerate(given) if isinstance(item, list))
    return any(function(*given[:index], item, *given[index + 1 :], at) for item in given[index])


def _lazy(context: Context, name: str, arguments: list[Compiled], at: int) -> Callable[[Event], Any]:
    counts = {"if": (3,), "mvmap": (2, 3), "mvfilter": (1,), "searchmatch": (1,)}
    fixed = {"null": None, "true": True, "false": False, "now": context.now, "time": context.now}
    if name in fixed:
        if arguments:
            raise SplError(f"{name}() takes no arguments", at)
        return lambda row: fixed[name]
    if len(arguments) not in counts.get(name, range(1, 1000)):
        raise SplError(f"{name} does not take {len(arguments)} arguments", at)
    if name == "if":
        condition, then, otherwise = arguments
        # if(): the third argument where the condition is not true, null included.
        return lambda row: then.of(row) if truth(condition.of(row), at) else otherwise.of(row)
    if name == "coalesce":
        return lambda row: next((value for part in arguments if (value := part.of(row)) is not None), None)
    if name in ("case", "validate"):
        if len(arguments) % 2:
            raise SplError(f"{name} takes pairs of conditions and values", at)
        # case(): the value behind the first true condition; validate(): behind the first false one; else null.
        wanted = name == "case"
        pairs = list(zip(arguments[::2], arguments[1::2], strict=True))
        return lambda row: next((v.of(row) for c, v in pairs if truth(c.of(row), at) is wanted), None)
    if name == "searchmatch":
        return _searchmatch(context, arguments[0], at)
    if name == "mvfilter":
        names = arguments[0].fields
        if len(names) != 1:
            # mvfilter(): the expression may reference only one field at a time.
            raise SplError(f"mvfilter reads one field, not {sorted(names)}", at)
        (field,) = names
        return lambda row: field_of(
            [item for item in values_of(row.get(field)) if truth(arguments[0].of({**row, field: item}), at)]
        )
    if arguments[0].field is None or len(arguments) == 3:
        raise SplError("mvmap of something else than a field is not in this evaluator", at)
    over, each = arguments[0].field, arguments[1]
    return lambda row: field_of(
        [result for item in values_of(row.get(over)) for result in values_of(each.of({**row, over: item}))]
    )


def _searchmatch(context: Context, argument: Compiled, at: int) -> Callable[[Event], Any]:
    from dataclasses import replace

    from .terms import compiled

    def matched(row: Event) -> bool:
        text = text_of(argument.of(row))
        try:
            return compiled(replace(context, text=text), Tokens(text, 0, len(text)))(row)
        except SplError as error:
            raise SplError(error.message, at) from None

    return matched
