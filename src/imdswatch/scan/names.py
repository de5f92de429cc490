"""Names in DNS compared: a final dot says nothing, in a record or in a rule (RFC 1034 3.1).

Resolvers log `sts.amazonaws.com.` or without the dot as they please, and a client may send either as server name
though RFC 6066 3 wants none. Both spellings are tried, so a rule that was written for one of them keeps its meaning.
Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from imdswatch.rule import Text


def with_and_without_dot(tests: Iterable[Text]) -> list[Text]:
    """Return the tests, and those that end in a dot without it."""
    return [spelling for test in tests for spelling in dict.fromkeys((test, _bare(test)))]


def _bare(test: Text) -> Text:
    *before, last = test.parts or ("",)
    return replace(test, parts=(*before, last.rstrip("."))) if isinstance(last, str) and last else test


def dotted_or_not(check: Callable[[str], bool]) -> Callable[[Any], bool]:
    """Return a check that holds for a name if it holds for it as it is or without its final dot."""

    def holds(name: Any) -> bool:
        text = str(name)
        return check(text) or (text[-1:] == "." and check(text.rstrip(".")))

    return holds
