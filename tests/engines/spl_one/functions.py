"""Eval functions whose arguments are plain values; each is named after its heading in the Search Reference.

Pages: "Comparison and Conditional functions", "Conversion functions", "Date and Time functions", "Informational
functions", "Mathematical functions", "Multivalue eval functions", "Text functions". A null argument gives null
unless the page says otherwise. Longer than most because it is a table with one small function a line of it.
"""

from __future__ import annotations

import math
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import times
from .errors import SplError
from .values import Value, like, listed, number, packed, pattern, text, within

if TYPE_CHECKING:
    from .evaluate import Evaluator

Answer = Callable[["Evaluator", list[Value]], Value]


@dataclass(frozen=True, slots=True)
class Function:
    """How many arguments a function takes (`most` None: any number), and what it answers."""

    answer: Answer
    least: int
    most: int | None


def scalar(name: str, answer: Callable[..., Value], least: int, most: int, *, many: bool = False) -> Function:
    """A function of single values; `many` where the page says it takes multivalue fields, each value for itself."""

    def run(of: Evaluator, args: list[Value]) -> Value:
        if any(arg is None for arg in args):
            return None
        if isinstance(args[0], list):
            each = packed([answer(value, *args[1:]) for value in args[0]])
            if many:
                return each
            place = f"eval: {name}() on a multivalue field, which the manual calls not supported"
            return of.readings.take(place, None, answer(args[0][0], *args[1:]))
        return answer(*args)

    return Function(run, least, most)


def tester(name: str, test: Callable[..., bool], subject: int) -> Function:
    """A test of one value: null gives null, many values are an open question."""

    def run(of: Evaluator, args: list[Value]) -> Value:
        if any(arg is None for arg in args):
            return of.readings.take("eval: a comparison with NULL (three-valued, or false)", None, False)
        values = listed(args[subject])
        answers = []
        for value in values:
            each = list(args)
            each[subject] = value
            answers.append(test(of, *each))
        place = f"eval: {name}() on a multivalue field (any value, all values, the first)"
        return of.readings.take(place, any(answers), all(answers), answers[0])

    return Function(run, 2, 2)


def plain(answer: Callable[..., Value], least: int, most: int | None) -> Function:
    """A function that sees nulls and multivalue fields as they are."""
    return Function(lambda of, args: answer(*args), least, most)


def strict_number(value: Value) -> int | float | None:
    return number(value)


def rounded(value: Value, digits: Value = 0) -> Value:
    amount = number(value)
    if amount is None:
        return None
    scale = 10 ** int(digits)
    result = math.floor(abs(amount) * scale + 0.5) / scale * (1 if amount >= 0 else -1)
    return int(result) if not digits else result


def of_number(operation: Callable[[int | float], Value]) -> Callable[[Value], Value]:
    return lambda value: None if number(value) is None else operation(number(value) or 0)


def substr(value: Value, start: Value, length: Value = None) -> Value:
    """Indexes follow SQLite: the first character is 1, negative ones count from the end ("substr")."""
    word, first = text(value), int(number(start) or 0)
    begin = first - 1 if first > 0 else len(word) + first if first < 0 else 0
    end = len(word) if length is None else begin + int(number(length) or 0)
    return word[max(begin, 0) : max(end, 0)]


def trimmed(side: str) -> Callable[..., str]:
    def run(value: Value, signs: Value = " \t") -> str:
        word, drop = text(value), text(signs)
        return (
            word.strip(drop) if side == "both" else word.lstrip(drop) if side == "left" else word.rstrip(drop)
        )

    return run


def replaced(value: Value, regex: Value, new: Value) -> Value:
    """Every match is replaced; `\\1` stands for a group ("replace")."""
    return pattern(text(regex)).sub(lambda found: grouped(text(new), found), text(value))


def grouped(template: str, found: re.Match[str]) -> str:
    return re.sub(r"\\(\d)", lambda sign: found[int(sign[1])] or "", template)


def tonumber(value: Value, base: Value = 10) -> Value:
    """Return the number a text spells, null if it does not ("tonumber")."""
    if int(base) == 10:
        return number(value)
    try:
        return int(text(value), int(base))
    except ValueError:
        return None


def tostring(value: Value, layout: Value = None) -> Value:
    """Spell a number or a Boolean ("tostring"); a null is open between null and "Null", so null."""
    if value is None or layout is None:
        return None if value is None else text(value)
    amount = number(value)
    if amount is None:
        return text(value)
    if layout == "hex":
        return f"0x{int(amount):X}"
    if layout == "binary":
        return f"{int(amount):b}"
    if layout == "commas":
        return f"{amount:,.2f}" if isinstance(amount, float) else f"{amount:,}"
    if layout == "duration":
        whole = int(amount)
        days, rest = divmod(whole, 86400)
        return (f"{days}+" if days else "") + f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    raise SplError(f"tostring() knows no format {layout!r}")


def mvindex(value: Value, start: Value, end: Value = None) -> Value:
    """Indexes begin at zero, negative ones at the end; out of range gives null ("mvindex")."""
    values, first = listed(value), int(number(start) or 0)
    last = first if end is None else int(number(end) or 0)
    first, last = (index + len(values) if index < 0 else index for index in (first, last))
    if first < 0 or last < 0 or first >= len(values) or last >= len(values) or first > last:
        return None
    return packed(values[first : last + 1])


def mvfind(value: Value, regex: Value) -> Value:
    """Return the index of the first value the regular expression matches, null if none ("mvfind")."""
    found = (at for at, item in enumerate(listed(value)) if pattern(text(regex)).search(text(item)))
    return None if regex is None else next(found, None)


def mvrange(start: Value, end: Value, step: Value = 1) -> Value:
    width = number(step)
    width = times.span(text(step)) if width is None else width
    if not width:
        return None
    out: list[Value] = []
    here = number(start) or 0
    while here < (number(end) or 0) and len(out) < 100_000:
        out.append(here)
        here += width
    return packed(out)


def mvzip(left: Value, right: Value, mark: Value = ",") -> Value:
    pairs = zip(listed(left), listed(right), strict=False)
    return packed([f"{text(one)}{mark}{text(two)}" for one, two in pairs])


def split(value: Value, mark: Value) -> Value:
    word = text(value)
    return packed(list(word) if mark == "" else word.split(text(mark)))


def clock(of: Evaluator, args: list[Value]) -> Value:
    if of.now is None:
        raise SplError("now() needs now=")
    return int(of.now)


def isint(value: Value) -> bool:
    amount = number(value)
    return amount is not None and float(amount).is_integer() and "." not in text(value)


def coalesced(*values: Value) -> Value:
    return next((value for value in values if value is not None), None)


def nullif(left: Value, right: Value) -> Value:
    return None if left is not None and right is not None and text(left) == text(right) else left


def extreme(sign: int) -> Callable[..., Value]:
    """Statistical eval functions: texts are greater than numbers; multivalue fields count value by value."""

    def run(*args: Value) -> Value:
        values = [item for arg in args for item in listed(arg)]
        if not values:
            return None
        ranked = sorted(values, key=lambda item: (number(item) is None, number(item) or 0, text(item)))
        return ranked[0 if sign < 0 else -1]

    return run


FUNCTIONS: dict[str, Function] = {
    # Comparison and Conditional functions
    "cidrmatch": tester("cidrmatch", lambda of, net, ip: within(text(net), ip, of.readings), 1),
    "coalesce": plain(coalesced, 1, None),
    "false": plain(lambda: False, 0, 0),
    "true": plain(lambda: True, 0, 0),
    "null": plain(lambda: None, 0, 0),
    "like": tester("like", lambda of, value, form: bool(like(text(form)).fullmatch(text(value))), 0),
    # match: "finds a match against any substring"
    "match": tester("match", lambda of, value, regex: bool(pattern(text(regex)).search(text(value))), 0),
    "nullif": plain(nullif, 2, 2),
    # Informational functions
    "isnull": plain(lambda value: value is None, 1, 1),
    "isnotnull": plain(lambda value: value is not None, 1, 1),
    "isnum": plain(lambda value: number(value) is not None, 1, 1),
    "isstr": plain(lambda value: isinstance(value, (str, list)) and number(value) is None, 1, 1),
    "isint": plain(isint, 1, 1),
    "isbool": plain(lambda value: isinstance(value, bool), 1, 1),
    # Conversion functions
    "tonumber": scalar("tonumber", tonumber, 1, 2),
    "tostring": plain(tostring, 1, 2),
    # Date and Time functions
    "now": Function(clock, 0, 0),
    "time": Function(clock, 0, 0),
    "relative_time": scalar("relative_time", lambda at, by: times.relative(float(at), text(by)), 2, 2),
    "strptime": scalar("strptime", lambda value, form: times.parsed(text(value), text(form)), 2, 2),
    "strftime": scalar("strftime", lambda at, form: times.formatted(float(at), text(form)), 2, 2),
    # Mathematical functions
    "abs": scalar("abs", of_number(abs), 1, 1),
    "ceiling": scalar("ceiling", of_number(math.ceil), 1, 1),
    "ceil": scalar("ceil", of_number(math.ceil), 1, 1),
    "floor": scalar("floor", of_number(math.floor), 1, 1),
    "round": scalar("round", rounded, 1, 2),
    # Statistical eval functions
    "max": plain(extreme(1), 1, None),
    "min": plain(extreme(-1), 1, None),
    # Text functions
    "len": scalar("len", lambda value: len(text(value)), 1, 1),
    "lower": scalar("lower", lambda value: text(value).lower(), 1, 1, many=True),
    "upper": scalar("upper", lambda value: text(value).upper(), 1, 1, many=True),
    "ltrim": scalar("ltrim", trimmed("left"), 1, 2),
    "rtrim": scalar("rtrim", trimmed("right"), 1, 2),
    "trim": scalar("trim", trimmed("both"), 1, 2),
    "replace": scalar("replace", replaced, 3, 3),
    "substr": scalar("substr", substr, 2, 3),
    "urldecode": scalar("urldecode", lambda value: urllib.parse.unquote(text(value)), 1, 1),
    # Multivalue eval functions
    "mvappend": plain(lambda *args: packed([item for arg in args for item in listed(arg)]), 1, None),
    "mvcount": plain(lambda value: len(listed(value)) or None, 1, 1),
    "mvdedup": plain(lambda value: packed(list(dict.fromkeys(listed(value)))), 1, 1),
    "mvfind": plain(mvfind, 2, 2),
    "mvindex": plain(mvindex, 2, 3),
    "mvjoin": plain(
        lambda value, mark: None if value is None else text(mark).join(map(text, listed(value))), 2, 2
    ),
    "mvrange": plain(mvrange, 2, 3),
    "mvreverse": plain(lambda value: packed(listed(value)[::-1]), 1, 1),
    "mvsort": plain(lambda value: packed(sorted(map(text, listed(value)))), 1, 1),
    "mvzip": plain(mvzip, 2, 3),
    "split": scalar("split", split, 2, 2),
}
