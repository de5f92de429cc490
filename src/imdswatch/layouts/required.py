"""What a regular expression needs of a text, found in its parse tree: a literal, its start at the start, an example.

Both spare time before or in the search itself: `literal in text` takes 50 ns where a failing search takes a
microsecond, and `search` of an expression with `^` tries every position in vain where `match` tries one.
The literal may be shorter than possible, even empty, but never wrong.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_LIKELY = "x0A/" + "".join(map(chr, range(32, 127)))


def required_literal(pattern: str) -> str:
    """Return a literal that occurs in every text the pattern matches; empty if none is certain."""
    tree = parser.parse(pattern)
    if tree.state.flags & re.IGNORECASE:
        return ""
    return max(_runs(tree), key=len, default="")


@lru_cache(maxsize=1 << 10)
def required_literals(pattern: str) -> tuple[str, ...]:
    """Return the literals that occur in every text the pattern matches; some may be empty."""
    tree = parser.parse(pattern)
    return () if tree.state.flags & re.IGNORECASE else tuple(_runs(tree))


def anchored(pattern: re.Pattern[str]) -> Callable[[str], re.Match[str] | None]:
    """Return the quickest function that finds what `pattern.search` finds."""
    if not pattern.flags & re.MULTILINE:
        tree = parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)
        if len(tree) and tree[0] == (constants.AT, constants.AT_BEGINNING):
            return pattern.match
    return pattern.search


def _runs(tree: Any) -> list[str]:
    runs = [""]
    for kind, value in tree:
        if kind is constants.LITERAL:
            runs[-1] += chr(value)
            continue
        if kind is constants.SUBPATTERN:
            _, add_flags, _, inner = value
            if not add_flags & re.IGNORECASE:
                runs += [*_runs(inner), ""]
                continue
        elif (
            kind in (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT) and value[0] > 0
        ):
            runs += [*_runs(value[2]), ""]
            continue
        if kind is not constants.AT:
            runs.append("")
    return runs


@lru_cache(maxsize=256)
def examples(pattern: str) -> dict[str, str]:
    """Return, for each named group, a short text it matches; a guess that the caller has to try."""
    tree = parser.parse(pattern)
    names = {number: name for name, number in tree.state.groupdict.items()}
    found: dict[str, str] = {}

    def walk(items: Any) -> str:
        out = ""
        for kind, value in items:
            if kind is constants.LITERAL:
                out += chr(value)
            elif kind is constants.ANY:
                out += "x"
            elif kind is constants.NOT_LITERAL:
                out += "x" if value != ord("x") else "y"
            elif kind is constants.IN:
                out += _member(value)
            elif kind is constants.BRANCH:
                out += next(walk(branch) for branch in value[1])
            elif kind in (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT):
                text = walk(value[2])
                out += text * value[0]
            elif kind is constants.SUBPATTERN:
                text = walk(value[3])
                if value[0] in names:
                    found.setdefault(names[value[0]], text)
                out += text
            elif kind is constants.ATOMIC_GROUP:
                out += walk(value)
        return out

    walk(tree)
    return found


def _member(items: Any) -> str:
    text = "[" + "".join(_set_item(item) for item in items) + "]"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # `[[` might mean something else one day
        pattern = re.compile(text)
    return next((char for char in _LIKELY if pattern.match(char)), "")


def _set_item(item: Any) -> str:
    kind, value = item
    if kind is constants.NEGATE:
        return "^"
    if kind is constants.RANGE:
        return f"\\x{value[0]:02x}-\\x{min(value[1], 255):02x}" if value[0] < 256 else ""
    if kind is constants.CATEGORY:
        name = str(value).rpartition("CATEGORY_")[2]
        letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}.get(name.removeprefix("NOT_"), "d")
        return "\\" + (letter.upper() if name.startswith("NOT_") else letter)
    return f"\\u{value:04x}" if value < 0x10000 else ""
