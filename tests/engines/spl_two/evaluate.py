"""Runs a query: `run` is the one verb of this package.

Pure: the events are not changed. Raises `SplError` with line and column for what it does not know,
and, when strict, `Undocumented` when the answer depends on a place that the manuals leave open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import models as data_models
from .commands import COMMANDS, GENERATING
from .context import OPEN, Context, Readings
from .errors import SplError, Undocumented
from .source import commands, expanded, without_comments
from .terms import search
from .values import Event, number_of

NOW = 1_700_000_000.0


def run(
    query: str,
    events: Sequence[Event],
    *,
    macros: Mapping[str, Any] | None = None,
    lookups: Mapping[str, Any] | None = None,
    models: Mapping[str, Any] | None = None,
    now: float = NOW,
    strict: bool = False,
) -> list[Event]:
    """Evaluate a query over events and return the rows in order; a row of an original event keeps its `id`."""
    text = query
    try:
        text = without_comments(query)
        text = without_comments(expanded(text, macros or {}))
        context = Context(
            text,
            events,
            lookups or {},
            {**data_models.shipped(), **(models or {})},
            now,
            Readings(),
            pipeline,
        )
        rows = pipeline(context, 0, len(text))
        if strict:
            for name, (choices, why) in OPEN.items():
                other = replace(context, readings=Readings(**{name: choices[1]}))
                if pipeline(other, 0, len(text)) != rows:
                    raise Undocumented(f"the manuals do not say {why}")
        return rows
    except SplError as error:
        raise error.located(text) from None
    except RecursionError:
        raise SplError("parentheses or functions that are nested too deeply", 0).located(text) from None


def newest_first(events: Sequence[Event]) -> list[Event]:
    """Order events as a search returns them.

    Search Reference, `head` and `dedup`: events come in reverse time order. Without times they stay as given.
    """
    rows = [dict(event) for event in events]
    if all(number_of(row.get("_time")) is not None for row in rows):
        rows.sort(key=lambda row: -float(number_of(row["_time"]) or 0))
    return rows


def pipeline(context: Context, start: int, end: int) -> list[Event]:
    """Run the commands between two offsets; the first one generates the rows."""
    rows: list[Event] | None = None
    for number, (begin, stop) in enumerate(commands(context.text, start, end)):
        body = context.text[begin:stop]
        at = begin + len(body) - len(body.lstrip())
        if not body.strip():
            if number:
                raise SplError("a pipe without a command", begin)
            continue  # the query begins with a pipe: a generating command comes
        if number == 0:
            # Search Reference, search: the command is implied at the beginning of a search.
            rest = at + 6 if body.split(None, 1)[0].lower() == "search" else at
            rows = search(context, newest_first(context.events), rest, stop)
            continue
        word = body.split(None, 1)[0].split("[")[0].split("(")[0]
        name, after = word.lower(), at + len(word)
        if rows is None:
            if name == "search":
                rows = search(context, newest_first(context.events), after, stop)
            elif name in GENERATING:
                rows = GENERATING[name](context, [], after, stop)
            elif name in COMMANDS:
                raise SplError(f"the command {word!r} cannot come first", at)
            else:
                raise SplError(f"unknown command {word!r}", at)
        elif name in COMMANDS:
            rows = COMMANDS[name](context, rows, after, stop)
        elif name in GENERATING:
            raise SplError(f"the command {word!r} must come first", at)
        else:
            raise SplError(f"unknown command {word!r}", at)
    if rows is None:
        raise SplError("an empty query", start)
    return rows
