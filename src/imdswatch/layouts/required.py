"""What a regular expression needs of a text, found in its parse tree: a literal it contains, its start at the start.

Both spare time before or in the search itself: `literal in text` takes 50 ns where a failing search takes a
microsecond, and `search` of an expression with `^` tries every position in vain where `match` tries one.
The literal may be shorter than possible, even empty, but never wrong.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    # The parser of `re` has no public name; its old module name still works on every Python we support.
    try:
        from re import _constants as constants  # type: ignore[attr-defined]
        from re import _parser as parser  # type: ignore[attr-defined]
    except ImportError:  # pragma: no cover - an interpreter that moved it: the test is merely skipped
        constants = parser = None


def required_literal(pattern: str) -> str:
    """Return a literal that occurs in every text the pattern matches; empty if none is certain."""
    if parser is None:
        return ""
    tree = parser.parse(pattern)
    if tree.state.flags & re.IGNORECASE:
        return ""
    return max(_runs(tree), key=len, default="")


def anchored(pattern: re.Pattern[str]) -> Callable[[str], re.Match[str] | None]:
    """Return the quickest function that finds what `pattern.search` finds."""
    if parser is not None and not pattern.flags & re.MULTILINE:
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
        elif kind in (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT) and value[0] > 0:
            runs += [*_runs(value[2]), ""]
            continue
        if kind is not constants.AT:
            runs.append("")
    return runs
