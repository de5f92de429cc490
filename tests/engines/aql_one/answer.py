"""The one entry: a statement over events and flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from engines.readings_one import Readings, settle

from .evaluate import Evaluator
from .functions import Context
from .select import Select
from .syntax import statement
from .values import columns_of

NOTHING: Mapping[str, Any] = MappingProxyType({})


def run(
    query: str,
    events: list[dict[str, Any]],
    *,
    flows: Sequence[dict[str, Any]] = (),
    columns: Mapping[str, Any] | list[str] = NOTHING,
    sets: Mapping[str, Any] = NOTHING,
    maps: Mapping[str, Any] = NOTHING,
    now: float | None = None,
    strict: bool = False,
) -> list[dict[str, Any]]:
    """Answer a statement over events and flows; rows come in order and keep the `id` of the row they are.

    `now` is a second since 1970; without it a relative time window lets every row through. Raises `AqlError`.
    """
    parsed = statement(query)
    known = columns_of(parsed.table, columns)
    aliases = {item.name: item.expr for item in parsed.items if item.aliased}

    def answer(readings: Readings) -> list[dict[str, Any]]:
        of = Evaluator(known, aliases, Context(readings, sets, maps, now))
        return Select(parsed, of).rows(list(events if parsed.table == "events" else flows))

    rows: list[dict[str, Any]] = settle(answer, strict=strict)
    return rows
