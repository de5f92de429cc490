"""Lookup tables: `lookup`, and the rows of `inputlookup`.

Knowledge Manager Manual, "Add field matching rules to your lookup configuration"; transforms.conf.spec;
Search Reference, "lookup" and "inputlookup". A table is CSV text, a list of rows, or a mapping with `csv` or `rows`
and the settings of its transforms.conf stanza: match_type ("CIDR(net), WILDCARD(path)"), max_matches, min_matches,
default_match, case_sensitive_match.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .context import Context
from .errors import SplError, Undocumented
from .source import Tokens
from .values import Event, field_of, in_network, network_of, text_of, values_of, wildcard


@dataclass(frozen=True, slots=True)
class Table:
    """A lookup table with the rules of its definition."""

    rows: list[Event]
    columns: list[str]
    kinds: Mapping[str, str]
    most: int
    least: int
    default: str
    caseless: bool


def table(context: Context, name: str, at: int) -> Table:
    """Return the lookup table of that name, with or without `.csv`."""
    held = context.lookups.get(name, context.lookups.get(name.removesuffix(".csv")))
    if held is None:
        raise SplError(f"unknown lookup {name!r}", at)
    settings = held if isinstance(held, Mapping) else {}
    content = settings.get("csv", settings.get("rows", "")) if settings else held
    if isinstance(content, str):
        reader = csv.DictReader(io.StringIO(content))
        columns = list(reader.fieldnames or [])
        rows = [{key: value for key, value in row.items() if value not in (None, "")} for row in reader]
    else:
        rows = [dict(row) for row in content]
        columns = list(dict.fromkeys(key for row in rows for key in row))
    kinds = {
        field.strip(): kind.upper()
        for kind, fields in re.findall(r"(\w+)\s*\(([^)]*)\)", str(settings.get("match_type", "")))
        for field in fields.split(",")
    }
    return Table(
        rows,
        columns,
        kinds,
        int(settings.get("max_matches", 100)),
        int(settings.get("min_matches", 0)),
        str(settings.get("default_match", "")),
        str(settings.get("case_sensitive_match", "true")).lower() in ("false", "0", "f"),
    )


def fits(kind: str, held: Any, value: Any, caseless: bool, at: int) -> bool:
    """Say whether a value of an event matches a cell of the table."""
    cell, text = text_of(held), text_of(value)
    if kind == "CIDR":
        network = network_of(cell if "/" in cell else f"{cell}/{128 if ':' in cell else 32}")
        return network is not None and in_network(network, value)
    if kind == "WILDCARD":
        return bool(wildcard(cell, caseless).fullmatch(text))
    if kind != "EXACT":
        raise SplError(f"unknown match_type {kind!r}", at)
    return cell.lower() == text.lower() if caseless else cell == text


def _pairs(tokens: Tokens, *stop: str) -> list[tuple[str, str]]:
    """Read `field [AS other]`, up to the end or a stop word."""
    found = []
    while tokens.here.kind != "end" and tokens.here.value.lower() not in stop:
        if tokens.accept(","):
            continue
        name = tokens.name().value
        found.append((name, tokens.name().value if tokens.keyword("as") else name))
    return found


def lookup(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Add the fields of the matching rows of a table.

    All matching rows up to max_matches, in file order, make a multivalue field. OUTPUT writes over fields,
    OUTPUTNEW leaves events alone that have one of them; without either, all other columns are written.
    """
    tokens = Tokens(context.text, start, end)
    while tokens.option("local", "update", "event_time_field"):
        pass
    at = tokens.here.start
    found = table(context, tokens.name("the name of a lookup").value, at)
    keys = _pairs(tokens, "output", "outputnew")
    if not keys:
        raise SplError("lookup needs a field to look up", at)
    mode = tokens.keyword("output", "outputnew") or "output"
    outputs = _pairs(tokens) or [(name, name) for name in found.columns if name not in dict(keys)]
    for name, _ in [*keys, *outputs]:
        if name not in found.columns:
            raise SplError(f"the lookup has no field {name!r}", at)
    return [_looked_up(found, keys, outputs, mode, row, at) for row in rows]


def _looked_up(
    found: Table, keys: list[tuple[str, str]], outputs: list[tuple[str, str]], mode: str, row: Event, at: int
) -> Event:
    present = [name for _, name in outputs if values_of(row.get(name))]
    if mode == "outputnew" and present:
        return row

    def matching(line: Event) -> bool:
        return all(
            column in line
            and any(
                fits(found.kinds.get(column, "EXACT"), line[column], value, found.caseless, at)
                for value in values_of(row.get(field))
            )
            for column, field in keys
        )

    lines = [line for line in found.rows if matching(line)][: found.most]
    if not lines and not found.least:
        if present:
            raise Undocumented(
                f"what OUTPUT does with {present} of an event that matches no row of the lookup", at
            )
        return row
    filled = [found.default] * max(found.least - len(lines), 0)
    return {
        **row,
        **{
            name: field_of([line[column] for line in lines if column in line] + filled)
            for column, name in outputs
        },
    }


def inputlookup(context: Context, rows: list[Event], start: int, end: int) -> list[Event]:
    """Return the rows of a table, with `where` only those that a search expression selects."""
    from .terms import compiled

    tokens = Tokens(context.text, start, end)
    while tokens.option("append", "start", "max", "strict"):
        raise SplError("the options of inputlookup are not in this evaluator", start)
    token = tokens.name("the name of a lookup")
    found = table(context, token.value, token.start)
    keep: Callable[[Event], bool] = (
        compiled(context, tokens) if tokens.keyword("where") else (lambda row: True)
    )
    tokens.done()
    return [dict(row) for row in found.rows if keep(row)]
