"""Lucene's regular expressions (`org.apache.lucene.util.automaton.RegExp`, all optional operators on, as Elasticsearch
uses them in RLIKE, `regex~` and `regexp`), as far as our queries need them.

They mean the whole value and know no `^`, `$`, `\\d`, `(?…)` or lazy quantifiers; `~ & @ # < > "` are operators outside
of classes. `python_regex` takes what both languages read alike, and refuses the rest, so that an expression written
with another engine in mind is an error and no guess. `make conformance` asks real Lucene about every one. Pure.
"""

from __future__ import annotations

import re
from functools import lru_cache

OPERATORS = frozenset('~&@#<>"')
_META = frozenset("()[]{}|.*+?")


class LuceneRegexError(Exception):
    """An expression that Lucene reads otherwise than Python, or not at all."""


@lru_cache(maxsize=4096)
def python_regex(pattern: str) -> re.Pattern[str]:
    """Return the Python expression (to be used with `fullmatch`) of a Lucene one; raises LuceneRegexError."""
    out, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            if at + 1 == len(pattern):
                raise LuceneRegexError("ends in a backslash")
            escaped = pattern[at + 1]
            if escaped.isalnum():
                raise LuceneRegexError(f"\\{escaped} has no meaning in Lucene")
            out.append(re.escape(escaped))
            at += 2
        elif char == "[":
            end = _class_end(pattern, at)
            out.append(pattern[at:end])
            at = end
        elif char in OPERATORS:
            raise LuceneRegexError(
                f"{char!r} is an operator of Lucene: {pattern[max(0, at - 20) : at + 20]!r}"
            )
        elif char in "^$":
            raise LuceneRegexError(f"{char!r} is a character to Lucene, and no anchor")
        elif char == "?" and at and pattern[at - 1] in "*+?(":
            raise LuceneRegexError("neither groups with flags nor lazy repetition")
        elif char in _META:
            out.append(char)
            at += 1
        else:
            out.append(re.escape(char))
            at += 1
    return re.compile("".join(out), re.DOTALL)


def _class_end(pattern: str, at: int) -> int:
    end = at + 1
    if pattern[end : end + 1] == "^":
        end += 1
    if pattern[end : end + 1] == "]":
        raise LuceneRegexError("an empty class")
    while end < len(pattern) and pattern[end] != "]":
        if pattern[end] == "[":
            raise LuceneRegexError("a bracket in a class")
        if pattern[end : end + 2] == "-]":
            raise LuceneRegexError(
                "a hyphen at the end of a class: Lucene takes it for a range up to the bracket"
            )
        end += 2 if pattern[end] == "\\" else 1
    if end >= len(pattern):
        raise LuceneRegexError("a class without an end")
    return end + 1
