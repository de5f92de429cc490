"""Layout `pattern`: messages in words, one regular expression each, with a template to write them.

Guarantees: pure; a pattern matches the whole message; the first that matches wins; a message that none matches is
not this layout (None): products write hundreds of other messages. A group that took no part is absent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from imdswatch.layouts.fieldmap import UNSET
from imdswatch.layouts.plain import to_plain
from imdswatch.layouts.required import examples, required_literal
from imdswatch.layouts.result import Malformed, Sources

if TYPE_CHECKING:
    from imdswatch.yamlfile import Table

_HOLE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Pattern:
    """Regular expressions with named groups, and templates that write what they read."""

    patterns: tuple[str, ...]
    templates: tuple[str, ...] = ()
    unset: frozenset[str] = UNSET
    defaults: dict[str, str] = field(default_factory=dict)
    nested = False
    header = None

    @classmethod
    def load(cls, table: Table, unset: frozenset[str]) -> Pattern:
        """Read the layout keys patterns, write, defaults."""
        patterns, templates = table.texts("patterns"), table.texts("write")
        if not patterns:
            raise table.error("patterns", "`patterns` is missing or empty")
        for number, text in enumerate(patterns, 1):
            try:
                re.compile(text)
            except re.error as error:
                raise table.error("patterns", f"pattern {number} is no regular expression: {error}") from None
        layout = cls(patterns, templates, unset, table.mapping("defaults"))
        for template in templates:
            for hole in _HOLE.findall(template):
                if hole not in layout.names():
                    raise table.error("write", f"`write` has {{{hole}}}, which no pattern reads")
        return layout

    def names(self) -> frozenset[str]:
        """Return the names of all groups."""
        return frozenset(name for text in self.patterns for name in re.compile(text).groupindex)

    @cached_property
    def _compiled(self) -> list[tuple[str, re.Pattern[str]]]:
        # Most messages fail most patterns; a literal that a match must contain tells that in 50 ns.
        return [(required_literal(text), re.compile(text, re.DOTALL)) for text in self.patterns]

    def parse(self, text: str) -> Sources | Malformed | None:
        """Return the groups of the first pattern that matches the whole text."""
        for literal, pattern in self._compiled:
            if literal in text:
                found = pattern.fullmatch(text)
                if found is not None:
                    return found.groupdict()
        return None

    def candidates(self, sources: Sources) -> list[str]:
        """Write the sources by every template, the ones with most of them known first."""

        def unknown(number: int) -> tuple[int, int]:
            holes = set(_HOLE.findall(self.templates[number]))
            return len(holes - set(sources)), -len(holes)

        return [self._fill(number, sources) for number in sorted(range(len(self.templates)), key=unknown)]

    def _fill(self, number: int, sources: Sources) -> str:
        # What the event does not say is something its pattern accepts: "-" is no port.
        fillers = examples(self.patterns[min(number, len(self.patterns) - 1)])
        return _HOLE.sub(
            lambda hole: to_plain(sources[hole[1]]) if hole[1] in sources else fillers.get(hole[1], "-"),
            self.templates[number],
        )

    def write(self, sources: Sources) -> str:
        """Write the sources by the template that knows most of them; empty without templates."""
        return next(iter(self.candidates(sources)), "")
