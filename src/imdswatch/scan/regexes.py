"""A rule's regular expression, widened so that it can be searched in raw log bytes.

The translation over-approximates: anchors and look-around are dropped, a character that a log format may escape
becomes any few bytes, `/` in a path becomes every spelling of a slash. Pure; the input is Python's own parse of the
expression.
"""

from __future__ import annotations

import re
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-")
_WIDE = "[^\\n]{1,12}"  # the longest escape of one character elsewhere: a surrogate pair \ud83d\ude00
_WIDE_IN_PATH = "[^\\n]+"  # may stand for a slash, of which there may be many
COLON = "(?::|%(?:25)?3a)"
"""A colon where percent-encoding is undone: common there, and unlike letters nothing odd."""
_MAX_REPEAT = 8
_MAX_PATTERNS = 24


def translate(pattern: str, flags: int, slash: str | None) -> list[tuple[str, int]] | None:
    """Return search patterns with their weights, one of which stands wherever the expression matches, or None.

    None means that the expression has nothing fixed to search for. `slash` is the pattern for `/` in a path; None
    where a slash is a character like others. Weight is the least number of fixed characters that a match has.
    Alternatives become patterns of their own while they are few: the search engine is fastest on plain literals.
    """
    try:
        tree = parser.parse(pattern, flags | re.ASCII)
    except re.error:
        return None
    found = _sequence(list(tree), slash)
    return found if all(weight for _, weight in found) else None


def _sequence(items: list[Any], slash: str | None) -> list[tuple[str, int]]:
    out = [("", 0)]
    for op, value in items:
        pieces = _item(op, value, slash)
        if len(out) * len(pieces) > _MAX_PATTERNS:
            pieces = [(f"(?:{'|'.join(text for text, _ in pieces)})", min(weight for _, weight in pieces))]
        out = [(text + piece, weight + fixed) for text, weight in out for piece, fixed in pieces]
    return out


def _item(op: Any, value: Any, slash: str | None) -> list[tuple[str, int]]:
    if op is c.LITERAL:
        char = chr(value)
        if char in _PLAIN:
            return [(COLON if char == ":" and slash is not None else re.escape(char), 1)]
        return [(slash if char == "/" and slash is not None else _wide(slash), 0)]
    if op is c.SUBPATTERN or op is c.ATOMIC_GROUP:
        return _sequence(list(value[3] if op is c.SUBPATTERN else value), slash)
    if op is c.BRANCH:
        found = [one for branch in value[1] for one in _sequence(list(branch), slash)]
        return [("", 0)] if ("", 0) in found else found  # an empty alternative asks for nothing
    if op in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
        low, high, inner = value
        return [_repeat(low, high, inner, slash)]
    if op is c.IN:
        return [(_char_class(value, slash), 0)]
    if op is c.AT or op is c.ASSERT or op is c.ASSERT_NOT:
        return [("", 0)]
    if op is c.ANY or op is c.NOT_LITERAL:
        return [(_wide(slash), 0)]
    return [("[^\\n]*", 0)]  # back-references, conditionals: anything


def _wide(slash: str | None) -> str:
    return _WIDE if slash is None else _WIDE_IN_PATH


def _repeat(low: int, high: int, items: Any, slash: str | None) -> tuple[str, int]:
    found = _sequence(list(items), slash)
    inner, weight = "|".join(text for text, _ in found), min(fixed for _, fixed in found)
    if not inner.strip("|"):
        return "", 0
    if high == c.MAXREPEAT or high > _MAX_REPEAT:
        low = min(low, _MAX_REPEAT)
        bounds = f"{{{low},}}" if low else "*"
    else:
        bounds = f"{{{low},{high}}}"
    return f"(?:{inner}){bounds}", weight * low


def _char_class(members: list[Any], slash: str | None) -> str:
    out = ""
    for op, value in members:
        if op is c.LITERAL and chr(value) in _PLAIN:
            out += re.escape(chr(value))
        elif op is c.RANGE and all(chr(n) in _PLAIN for n in range(value[0], min(value[1], 0x7F) + 1)):
            out += f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
        elif op is c.CATEGORY and value is c.CATEGORY_DIGIT:
            out += "0-9"
        elif op is c.CATEGORY and value is c.CATEGORY_WORD:
            out += "A-Za-z0-9_"
        else:
            return _wide(slash)
    return f"[{out}]" if slash is None or ":" not in out else _WIDE_IN_PATH
