"""The prefilter: one multi-pattern search over raw bytes, which says which records are worth parsing.

The patterns come from the rules (`imdswatch.scan.patterns`), from the schemas (header lines, and markers of layouts
whose text is encoded) and from nowhere else. A rule for which no pattern exists turns the search off: then every
record is parsed, and `notes` says which rule it was.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import hyperscan

from imdswatch.event import FIELDS, Kind
from imdswatch.rule import Match, Node, Text, matches
from imdswatch.scan.hints import Hints
from imdswatch.scan.patterns import hatches, minimal, needed


class Prefilter:
    """A compiled search. `everything` means that every record must be parsed; then there is nothing to search.

    `blind` names the schemas whose records the patterns may not touch. `watched` becomes true when one of the patterns
    to watch for is found: they touch nothing, they only tell that a second look at the source is worth it.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        everything: bool,
        notes: tuple[str, ...] = (),
        blind: frozenset[str] = frozenset(),
        headers: Sequence[str] = (),
        watch: Sequence[str] = (),
    ) -> None:
        self.patterns, self.everything = tuple(dict.fromkeys(patterns)), everything
        self.notes, self.blind = notes, blind
        self._headers, self._watch = tuple(headers), tuple(watch)
        self.watched = False
        self._ends: list[int] = []
        self._note = self._noting()
        self._database = None if everything or not self.patterns else _compile(self.patterns, self._watch)

    @cached_property
    def with_headers(self) -> Prefilter:
        """The same search for files that begin with a header line: it sees their later header lines, too."""
        if self.everything or not self._headers:
            return self
        return Prefilter([*self._headers, *self.patterns], False, self.notes, self.blind, watch=self._watch)

    def ends(self, data: Any) -> list[int]:
        """Return the end offsets of all matches in the data (any buffer), ascending; reused by the next call."""
        ends = self._ends
        ends.clear()
        if self._database is not None:
            # Unpackers leave the upper halves of the vector registers in use, which slows an engine built for SSE to
            # half its speed (measured on gzip); hashing nothing is the cheapest call at hand that clears them.
            hashlib.sha512(b"").digest()
            self._database.scan(data, match_event_handler=self._note)
        return ends

    def touches(self, data: Any) -> bool:
        """Say whether the data must be parsed."""
        return self.everything or bool(self.ends(data))

    def _noting(self) -> Callable[[int, int, int, int, object], None]:
        """Return what notes one match: where every line hits, the engine calls it four times a line."""
        append, watched_from = self._ends.append, len(self.patterns)

        def note(number: int, start: int, end: int, flags: int, context: object) -> None:
            if number < watched_from:
                append(end)
            else:
                self.watched = True

        return note


def _compile(patterns: Sequence[str], watch: Sequence[str] = ()) -> hyperscan.Database:
    """Return the search database; raises hyperscan.error if the engine cannot take the patterns."""
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    both = [*patterns, *watch]
    once = hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH
    database.compile(
        expressions=[pattern.encode("ascii") for pattern in both],
        ids=list(range(len(both))),
        elements=len(both),
        flags=[hyperscan.HS_FLAG_CASELESS] * len(patterns) + [once] * len(watch),
    )
    return database


def build(conditions: Sequence[tuple[str, Node]], hints: Hints, watch: Sequence[str] = ()) -> Prefilter:
    """Return the prefilter for named conditions over the records of these schemas, which also watches for patterns."""
    found = {slug: needed(condition, hints.presence) for slug, condition in conditions}
    kinds = {_spelled_as(match) for _, node in conditions for match in matches(node)} - {None}
    unbound = [slug for slug, patterns in found.items() if patterns is None]
    if not unbound:
        patterns = [pattern for some in found.values() for pattern in some or ()]
        texts = [*hints.headers(first_line=False), *(pattern.text for pattern in patterns)]
        try:
            return Prefilter(
                [*minimal(texts), *hatches(kind for kind in kinds if kind is not None)],
                False,
                blind=hints.blind(patterns),
                headers=hints.headers(first_line=True),
                watch=watch,
            )
        except hyperscan.error:
            # A rule's own expression can be more than the engine takes; find out whose.
            unbound = [slug for slug, some in found.items() if not _compiles([p.text for p in some or ()])]
    note = f"no fixed text to search for in {', '.join(unbound)}: every record is parsed, which is slower"
    return Prefilter((), True, (note,))


def _spelled_as(match: Match) -> Kind | None:
    """Return the kind of field whose rare spellings a test must see; a host name is compared as it is logged."""
    kind = FIELDS[match.field].kind if match.field is not None else None
    if kind is Kind.HOST and isinstance(match.test, Text):
        literals = [part for part in match.test.parts if isinstance(part, str)]
        if all(re.search(r"[g-zG-Z]", text) for text in literals):
            return Kind.TEXT
    return kind


def _compiles(patterns: Sequence[str]) -> bool:
    try:
        return not patterns or _compile(patterns) is not None
    except hyperscan.error:
        return False
