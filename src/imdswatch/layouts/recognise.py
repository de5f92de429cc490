"""How a schema is told from others: by keys of an object, words of a text, columns of a header.

Pure. `object_tests` splits the conditions on an object into what the set of its top-level keys decides, and what has
to look at values: readers decide the first part once for each set of keys they meet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from imdswatch.layouts.conversions import to_text
from imdswatch.layouts.fieldmap import lookup
from imdswatch.layouts.required import anchored, required_literal
from imdswatch.layouts.times import Clock

Test = Callable[[Mapping[str, Any]], bool]
_CLOCK = Clock()


@dataclass(frozen=True)
class Recognise:
    """The conditions of one schema; each layout kind asks those that apply to it.

    All of `keys` and `columns` must be there; one that is spelled in several ways lists them: `id.orig_h|id_orig_h`.
    """

    keys: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    equals: dict[str, tuple[str, ...]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    regex: str | None = None
    columns: tuple[str, ...] = ()
    program: tuple[str, ...] = ()

    def object_tests(self, keys: frozenset[str]) -> tuple[Test, ...] | None:
        """Return the tests left for an object with these top-level keys; None if it cannot be recognised."""
        tests: list[Test] = []
        for paths in (*(path.split("|") for path in self.keys), self.any):
            if not paths or any(path in keys for path in paths):
                continue
            nested = tuple(path for path in paths if _may_hold(path, keys))
            if not nested:
                return None
            tests.append(_has_any(nested))
        for path in self.absent:
            if path in keys:
                return None
            if _may_hold(path, keys):
                tests.append(_lacks(path))
        for path, values in self.equals.items():
            if path not in keys and not _may_hold(path, keys):
                return None
            tests.append(_equals(path, frozenset(values)))
        return tuple(tests)

    @cached_property
    def literal(self) -> str:
        """A text that every message recognised by `regex` contains."""
        return required_literal(self.regex) if self.regex else ""

    @cached_property
    def search(self) -> Callable[[str], object] | None:
        """The search for `regex`, or None without one."""
        return anchored(re.compile(self.regex)) if self.regex else None

    @cached_property
    def programs(self) -> frozenset[str]:
        """The syslog programs whose messages are this schema's, lower case."""
        return frozenset(name.lower() for name in self.program)

    def text(self, message: str, program: str | None) -> bool:
        """Say whether a message is recognised: by its program or by `regex`; without either the layout decides."""
        if program is not None and program in self.programs:
            return True
        if self.search is None:
            return not self.programs
        return self.literal in message and self.search(message) is not None

    def header(self, columns: tuple[str, ...]) -> bool:
        """Say whether a header with these columns is this schema's."""
        return bool(self.columns) and all(not set(one.split("|")).isdisjoint(columns) for one in self.columns)


def _may_hold(path: str, keys: frozenset[str]) -> bool:
    head, dot, _ = path.partition(".")
    return bool(dot) and head in keys


def _has_any(paths: tuple[str, ...]) -> Test:
    return lambda record: any(lookup(record, path) is not None for path in paths)


def _lacks(path: str) -> Test:
    return lambda record: lookup(record, path) is None


def _equals(path: str, wanted: frozenset[str]) -> Test:
    return lambda record: _is_one_of(lookup(record, path), wanted)


def _is_one_of(value: Any, wanted: frozenset[str]) -> bool:
    if value.__class__ is list:
        return any(_is_one_of(item, wanted) for item in value if item.__class__ is not list)
    return to_text(value, _CLOCK) in wanted


def fits(record: Mapping[str, Any], when: tuple[tuple[str, frozenset[str]], ...], nested: bool) -> bool:
    """Say whether all source fields of a variant's `when` have one of their values."""
    for source, wanted in when:  # a loop: `all` with a generator costs a microsecond a record
        if not _is_one_of(lookup(record, source) if nested else record.get(source), wanted):
            return False
    return bool(when)
