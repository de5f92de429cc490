"""AQL as a dialect of sqlglot, and the time clause, which is cut off before.

Pure. "AQL query structure" and "Sample AQL queries": SELECT, FROM, WHERE, GROUP BY, HAVING, ORDER BY, LIMIT, then the
time frame. "Time criteria in AQL queries": LAST n MINUTES|HOURS|DAYS, or START time [STOP time].
All functions stay calls by name; what a name means is the business of `compiler`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from sqlglot import errors, exp, parser, tokens
from sqlglot.dialects.dialect import Dialect

from .errors import AqlError

UNITS = {"MINUTES": 60_000, "HOURS": 3_600_000, "DAYS": 86_400_000}
DEFAULT = (
    5 * UNITS["MINUTES"]
)  # "By default, if the TIMEFRAME value is not specified ... the last five minutes"
FORMATS = (
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d-%H:%M:%S",
    "%Y:%m:%d-%H:%M:%S",
)
AGO = re.compile(r"(\d+)\s+(minute|hour|day|week)s?\s+ago", re.IGNORECASE)
AGO_UNITS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}


class AQL(Dialect):
    """Single quotes are text, double quotes are names ("Quotation marks"); a backslash is only a backslash."""

    class Tokenizer(tokens.Tokenizer):
        QUOTES: ClassVar = ["'"]
        IDENTIFIERS: ClassVar = ['"']
        KEYWORDS: ClassVar = {
            **tokens.Tokenizer.KEYWORDS,
            "MATCHES": tokens.TokenType.RLIKE,
            "IMATCHES": tokens.TokenType.IRLIKE,
        }

    class Parser(parser.Parser):
        FUNCTIONS: ClassVar = {}
        FUNCTION_PARSERS: ClassVar = {}
        NO_PAREN_FUNCTIONS: ClassVar = {}


@dataclass(frozen=True, slots=True)
class Window:
    """Which events a query looks at: from <= starttime < before, in milliseconds."""

    start: int
    before: int


def parsed(query: str, now: int) -> tuple[exp.Select, Window]:
    """Return the tree of the SELECT and its time window."""
    try:
        found = AQL().tokenize(query)
    except errors.TokenError as error:
        raise AqlError(f"no AQL: {error}", 0) from None
    cut = next((index for index in range(len(found)) if _opens_time(found, index)), len(found))
    window = _window(found[cut:], now) if cut < len(found) else Window(now - DEFAULT, now + 1)
    text = query[: found[cut].start] if cut < len(found) else query
    try:
        trees = AQL().parse(text)
    except errors.ParseError as error:
        place = error.errors[0] if error.errors else {}
        raise AqlError(f"no AQL: {place.get('description', error)}", _offset(text, place)) from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Select):
        raise AqlError("a query is one SELECT", 0)
    return trees[0], window


def _offset(text: str, place: dict[str, object]) -> int:
    line, column = int(str(place.get("line", 1))), int(str(place.get("col", 1)))
    lines = text.split("\n")
    return sum(len(part) + 1 for part in lines[: line - 1]) + max(column - 1, 0)


def _opens_time(found: list[tokens.Token], index: int) -> bool:
    token = found[index]
    if token.token_type in (tokens.TokenType.STRING, tokens.TokenType.IDENTIFIER) or index + 1 >= len(found):
        return False
    word, following = token.text.upper(), found[index + 1]
    if word == "LAST":
        return following.token_type == tokens.TokenType.NUMBER
    return word == "START" and (
        following.token_type in (tokens.TokenType.STRING, tokens.TokenType.NUMBER)
        or following.text.upper() == "PARSEDATETIME"
    )


def _window(found: list[tokens.Token], now: int) -> Window:
    if found[0].text.upper() == "LAST":
        unit = found[2].text.upper() if len(found) > 2 else ""
        if unit not in UNITS:
            raise AqlError("LAST takes a number and MINUTES, HOURS or DAYS", found[0].start)
        _nothing_behind(found[3:])
        return Window(now - _whole(found[1]) * UNITS[unit], now + 1)
    start, rest = _time(found[1:], now)
    # "START '... 15:51:20'" gives results from 15:51:00, "STOP '... 17:00:20'" up to 17:00:59, "STOP '... 17:00'" up to
    # 16:59:59: whole minutes.
    begin = start - start % 60_000
    if rest and rest[0].text.upper() == "STOP":
        stop, rest = _time(rest[1:], now)
        _nothing_behind(rest)
        return Window(begin, stop + -stop % 60_000)
    _nothing_behind(rest)
    return Window(
        begin, now + 1
    )  # "STOP is optional. If you don't include it in the query, the STOP time is = now"


def _whole(token: tokens.Token) -> int:
    if not token.text.isdecimal():
        raise AqlError("expected a whole number", token.start)
    return int(token.text)


def _nothing_behind(rest: list[tokens.Token]) -> None:
    if rest and rest[0].token_type != tokens.TokenType.SEMICOLON:
        raise AqlError("the time frame is the last clause of a query here", rest[0].start)


def _time(found: list[tokens.Token], now: int) -> tuple[int, list[tokens.Token]]:
    if not found:
        raise AqlError("START and STOP take a time")
    token = found[0]
    if token.token_type == tokens.TokenType.NUMBER:
        return _whole(token), found[1:]
    if token.text.upper() == "PARSEDATETIME" and len(found) > 3:
        text = found[2].text.strip()
        ago = AGO.fullmatch(text)
        if text.lower() != "now" and not ago:
            raise AqlError(f"PARSEDATETIME({text!r}) is not in this evaluator", token.start)
        return now - (int(ago[1]) * AGO_UNITS[ago[2].lower()] if ago else 0), found[4:]
    text = re.sub(r"\s*[zZ]$", "", token.text)
    for form in FORMATS:
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp() * 1000), found[1:]
        except ValueError:
            continue
    raise AqlError(f"no time in a documented format: {token.text!r}", token.start)
