"""Data models for tstats: which events belong to a dataset, and its fields under their prefix.

Knowledge Manager Manual, "About data models"; Search Reference, "tstats"; fields in models.yml.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .context import Context
from .errors import SplError
from .source import Tokens
from .terms import compiled
from .values import Event, number_of, values_of

# A data model search also has the event's own time and origin, without a prefix.
ORIGIN = ("_time", "host", "source", "sourcetype", "index")


@functools.cache
def shipped() -> Mapping[str, Any]:
    """Return the data models of models.yml."""
    return yaml.safe_load((Path(__file__).parent / "models.yml").read_text(encoding="utf-8"))


def dataset(context: Context, name: str, at: int) -> tuple[str, list[str], list[Event]]:
    """Return prefix, prefixed field names and rows of `Model`, `Model.Root` or `Model.Root.Child`."""
    model, _, rest = name.partition(".")
    if model not in context.models:
        raise SplError(f"unknown data model {model!r}", at)
    roots = context.models[model]
    root, _, child = rest.partition(".")
    if not root:
        root = next(iter(roots))
    entry = roots.get(root)
    if entry is None:  # Model.Child, as many searches write it
        root, child = next(iter(roots)), root
        entry = roots[root]
    constraints = [entry["constraint"]]
    if child:
        children = entry.get("children", {})
        last = child.rpartition(".")[2]
        if last not in children:
            raise SplError(f"the data model {model!r} has no dataset {child!r}", at)
        constraints.append(children[last])
    fields = entry["fields"].split()
    rows = [
        row for event in context.events if (row := _row(context, entry, fields, constraints, root, event))
    ]
    return root, [f"{root}.{field}" for field in fields], rows


def _row(
    context: Context,
    entry: Mapping[str, Any],
    fields: list[str],
    constraints: list[str],
    root: str,
    event: Event,
) -> Event | None:
    for constraint in constraints:
        if not compiled(context, Tokens(constraint, 0, len(constraint)))(event):
            return None
    row = {name: event[name] for name in ORIGIN if name in event}
    for field in fields:
        held = event.get(f"{root}.{field}", event.get(field))
        if field in entry.get("unknown", "").split():
            empty = ["", "-"] if field in entry.get("dash", "").split() else [""]
            held = "unknown" if not values_of(held) or held in empty else held
        if field in entry.get("zero", "").split():
            held = 0 if number_of(held) is None else held
        if values_of(held):
            row[f"{root}.{field}"] = held
    row["_summarised"] = event.get("_summarised", True)
    return row
