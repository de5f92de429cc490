"""What reading one record gives: a Record, a Header, Malformed, or None where no schema recognises it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Record(NamedTuple):
    """Canonical fields that a schema read out of one record, and the name of that schema."""

    fields: dict[str, Any]
    schema: str


class Header(NamedTuple):
    """A line that only describes the lines after it; the reader keeps what it says."""

    schema: str | None


class Malformed(NamedTuple):
    """The layout is clear but the record is broken; `reason` never quotes log content."""

    reason: str


Result = Record | Header | Malformed | None
Sources = dict[str, Any]
"""Source fields by name, as a layout cuts them out of a record."""
