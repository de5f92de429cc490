"""The prefilter: one multi-pattern search over raw bytes, which says which records are worth parsing.

The patterns come from the rules (`imdswatch.scan.patterns`), from the schemas (header lines, and markers of layouts
whose text is encoded) and from nowhere else. A rule for which no pattern exists turns the search off: then every
record is parsed, and `notes` says which rule it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import hyperscan

from imdswatch.errors import RuleError
from imdswatch.event import FIELDS, Kind
from imdswatch.rule import Node, matches
from imdswatch.scan.hints import Hints
from imdswatch.scan.patterns import Pattern, hatches, minimal, needed


class Prefilter:
    """A compiled search. `everything` means that every record must be parsed; then there is nothing to search.

    `blind` names the schemas whose records the patterns may not touch.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        everything: bool,
        notes: tuple[str, ...] = (),
        blind: frozenset[str] = frozenset(),
    ) -> None:
        self.patterns, self.everything = tuple(dict.fromkeys(patterns)), everything
        self.notes, self.blind = notes, blind
        self._ends: list[int] = []
        self._database = None if everything or not self.patterns else _compile(self.patterns)

    def ends(self, data: Any) -> list[int]:
        """Return the end offsets of all matches in the data (any buffer), ascending; reused by the next call."""
        ends = self._ends
        ends.clear()
        if self._database is not None:
            self._database.scan(data, match_event_handler=self._note)
        return ends

    def touches(self, data: Any) -> bool:
        """Say whether the data must be parsed."""
        return self.everything or bool(self.ends(data))

    def _note(self, number: int, start: int, end: int, flags: int, context: object) -> None:
        self._ends.append(end)


def _compile(patterns: Sequence[str]) -> hyperscan.Database:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(
            expressions=[pattern.encode("ascii") for pattern in patterns],
            ids=list(range(len(patterns))),
            elements=len(patterns),
            flags=[hyperscan.HS_FLAG_CASELESS] * len(patterns),
        )
    except hyperscan.error as error:
        # Each pattern was tried alone when it was derived; together they can still be too large.
        raise RuleError(f"the rules' search patterns are too large together: {error}") from error
    return database


def _compiles(pattern: str) -> bool:
    try:
        hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK).compile(
            expressions=[pattern.encode("ascii")], ids=[0], elements=1, flags=[hyperscan.HS_FLAG_CASELESS]
        )
    except hyperscan.error:
        return False
    return True


def build(conditions: Iterable[tuple[str, Node]], hints: Hints) -> Prefilter:
    """Return the prefilter for named conditions over the records of these schemas."""
    patterns: list[Pattern] = []
    kinds: set[Kind] = set()
    unbound: list[str] = []
    for slug, condition in conditions:
        found = needed(condition, hints.presence)
        if found is None or not all(_compiles(p.text) for p in found if "{" in p.text or len(p.text) > 4000):
            unbound.append(slug)
            continue
        patterns += found
        kinds |= {FIELDS[match.field].kind for match in matches(condition) if match.field is not None}
    if unbound:
        note = f"no fixed text to search for in {', '.join(unbound)}: every record is parsed, which is slower"
        return Prefilter((), True, (note,))
    texts = [*hints.headers, *(pattern.text for pattern in patterns)]
    return Prefilter([*minimal(texts), *hatches(kinds)], False, blind=hints.blind(patterns))
