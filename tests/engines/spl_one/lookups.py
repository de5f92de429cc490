"""Lookup tables: reading them, and the lookup and inputlookup commands.

Search Reference, "lookup", "inputlookup"; Admin Manual, transforms.conf: `match_type` (EXACT, WILDCARD, CIDR),
`case_sensitive_match` (default true), `max_matches` (default 1000 for file-based lookups), `min_matches`,
`default_match`. A table comes as CSV text, a list of rows, or a mapping with `rows` or `csv` and those settings.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.readings_one import Readings

from .errors import SplError
from .text import bare, options, words
from .values import Event, Value, listed, packed, text, wildcard, within


@dataclass(frozen=True, slots=True)
class Table:
    """A lookup as transforms.conf defines it."""

    rows: list[dict[str, str]]
    kinds: dict[str, str]
    caseless: bool
    most: int
    least: int
    default: str
    columns: list[str]


def table(name: str, lookups: Mapping[str, Any]) -> Table:
    """Find a lookup by its name, with or without `.csv`; raises `SplError` for an unknown one."""
    entry = lookups.get(name)
    if entry is None:
        raise SplError(f"unknown lookup {name}")
    if not isinstance(entry, Mapping):
        entry = {"csv": entry} if isinstance(entry, str) else {"rows": entry}
    if "rows" in entry:
        rows = entry["rows"]
        columns = list(entry.get("columns") or dict.fromkeys(key for row in rows for key in row))
    else:
        reader = csv.DictReader(io.StringIO(entry["csv"].strip()))
        rows, columns = list(reader), list(reader.fieldnames or [])
    kinds = {}
    declared = entry.get("match_type", "")
    for kind, column in re.findall(r"(\w+)\(([^)]+)\)", declared):
        if kind not in ("EXACT", "WILDCARD", "CIDR"):
            raise SplError(f"lookup {name}: match_type {kind} is none of EXACT, WILDCARD, CIDR")
        kinds[column.strip()] = kind
    if re.sub(r"\w+\([^)]+\)", "", declared).strip(" ,"):
        raise SplError(f"lookup {name}: match_type {declared!r} is not <type>(<field>)")
    least = int(entry.get("min_matches", 0))
    sensitive = str(entry.get("case_sensitive_match", True)).lower() in ("true", "1")
    whole = [{key: text(value) for key, value in row.items() if value not in (None, "")} for row in rows]
    most = int(entry.get("max_matches", 1000))
    return Table(whole, kinds, not sensitive, most, least, entry.get("default_match", ""), columns)


def fits(source: Table, column: str, cell: str, value: str, readings: Readings) -> bool:
    kind = source.kinds.get(column, "EXACT")
    if kind == "CIDR":
        return within(cell, value, readings)
    if kind == "WILDCARD":
        return bool(wildcard(cell, caseless=source.caseless).fullmatch(value))
    return cell.casefold() == value.casefold() if source.caseless else cell == value


def lookup(body: str, events: list[Event], lookups: Mapping[str, Any], readings: Readings) -> list[Event]:
    """Add the columns of matching rows to events.

    Without OUTPUT all columns that are not matched on are given; OUTPUT overwrites, OUTPUTNEW leaves out events
    that have the fields already. Several matching rows give several values.
    """
    opts, args = options(words(body), {"local", "update", "event_time_field"})
    if "event_time_field" in opts or not args:
        raise SplError("lookup needs a table and a field; event_time_field is not known to this evaluator")
    source = table(bare(args[0]), lookups)
    inputs, outputs, mode = clauses(args[1:], source)
    for column in (*inputs, *outputs):
        if column not in source.columns:
            raise SplError(f"lookup {args[0]} has no column {column}")
    return [enriched(event, source, inputs, outputs, mode, readings) for event in events]


def clauses(args: list[str], source: Table) -> tuple[dict[str, str], dict[str, str], str]:
    """Read `field [AS field]… [OUTPUT|OUTPUTNEW field [AS field]…]` as column → event field."""
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    mode, here = "", 0
    while here < len(args):
        word = args[here]
        if word.upper() in ("OUTPUT", "OUTPUTNEW"):
            if mode:
                raise SplError("lookup: a second OUTPUT")
            mode, here = word.upper(), here + 1
            continue
        renamed = here + 2 < len(args) and args[here + 1].upper() == "AS"
        target = bare(args[here + 2]) if renamed else bare(word)
        (outputs if mode else inputs)[bare(word)] = target
        here += 3 if renamed else 1
    if not inputs or (mode and not outputs):
        raise SplError("lookup: fields are missing")
    if not mode:
        outputs = {column: column for column in source.columns if column not in inputs}
    return inputs, outputs, mode or "OUTPUT"


def enriched(
    event: Event,
    source: Table,
    inputs: dict[str, str],
    outputs: dict[str, str],
    mode: str,
    readings: Readings,
) -> Event:
    if mode == "OUTPUTNEW":
        present = [name in event for name in outputs.values()]
        # "the lookup is not performed for events in which the output fields already exist"
        if readings.take(
            "lookup: OUTPUTNEW where some output fields exist and some do not", all(present), any(present)
        ):
            return event
    found = [
        row
        for row in source.rows
        if all(row_fits(row, source, inputs, event, name, readings) for name in inputs)
    ]
    out = dict(event)
    if not found and source.least == 0:
        stale = [name for name in outputs.values() if name in event]
        if (
            stale
            and mode == "OUTPUT"
            and readings.take("lookup: OUTPUT over a field when no row matches", "keep", "clear") == "clear"
        ):
            for name in stale:
                out.pop(name)
        return out
    for column, name in outputs.items():
        values = [row[column] for row in found[: source.most] if column in row]
        values += [source.default] * (source.least - len(found))
        if mode == "OUTPUTNEW" and name in event:
            continue
        value = packed(values)
        if value is None:
            out.pop(name, None)
        else:
            out[name] = value
    return out


def row_fits(
    row: dict[str, str], source: Table, inputs: dict[str, str], event: Event, column: str, readings: Readings
) -> bool:
    values: list[Value] = listed(event.get(inputs[column]))
    return column in row and any(fits(source, column, row[column], text(value), readings) for value in values)


def inputlookup(name: str, lookups: Mapping[str, Any]) -> list[Event]:
    """Return the rows of a lookup as events; an empty cell is no value."""
    return [dict(row) for row in table(name, lookups).rows]
