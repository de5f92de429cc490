"""The one entry: a search over events."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from engines.readings_one import Readings, settle

from .commands import Run
from .text import prepare
from .values import event_of

NOTHING: Mapping[str, Any] = MappingProxyType({})


def run(
    query: str,
    events: list[dict[str, Any]],
    *,
    macros: Mapping[str, Any] = NOTHING,
    lookups: Mapping[str, Any] = NOTHING,
    now: float | None = None,
    strict: bool = False,
) -> list[dict[str, Any]]:
    """Answer a search over events; rows come in order and keep the `id` of the event they are.

    `now` is a second since 1970. Raises `SplError` for what the manuals do not allow or this evaluator does not know.
    """
    source, known = prepare(query, macros), [event_of(event) for event in events]

    def answer(readings: Readings) -> list[dict[str, Any]]:
        return Run(known, lookups, readings, now).search(source)

    rows: list[dict[str, Any]] = settle(answer, strict=strict)
    return rows
