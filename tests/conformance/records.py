"""Events as the records of a schema, as the SIEM's engine wants them: columns, spelled as the corpus asks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from conformance.corpus import Case, cases
from imdswatch.event import FIELDS, complete
from imdswatch.layouts.result import Record
from imdswatch.schema import Column, Schemas, load_schemas
from imdswatch.siem.content import Source
from imdswatch.siem.export import sources_of

TEXTS = ("string", "keyword", "wildcard", "text", "keyword[]")
"""Types of columns that may stand empty; an address or a number cannot."""


@cache
def schemas() -> Schemas:
    """Return the built-in schemas."""
    return load_schemas()


def sources(target: str) -> Iterator[Source]:
    """Yield every part of every schema of a target."""
    for parts in sources_of(target, schemas()).values():
        yield from parts


@cache
def records(source_name: str, target: str) -> tuple[Mapping[str, Any] | None, ...]:
    """Return the record of every event of the corpus; None where the schema has no record for it."""
    [source] = [one for one in sources(target) if label(one) == source_name]
    return tuple(_record(source, case) for case in cases())


def label(source: Source) -> str:
    """Return the name of a schema and its part."""
    return " ".join(filter(None, (source.naming.schema, source.naming.part)))


def _record(source: Source, case: Case) -> Mapping[str, Any] | None:
    schema, columns = source.schema, source.naming.columns
    lines = schema.write(case.fields)
    if not lines:
        return None
    found = json.loads(lines[-1])
    if "uri_query" in case.fields and "uri_query" not in read_back(source, found):
        # One column holds path and query, and `write` gave it the path alone: the tools write both.
        path = f"{case.fields.get('uri_path', '')}?{case.fields['uri_query']}"
        found = json.loads(schema.write({**case.fields, "uri_path": path})[-1])
    for name, text in case.spelled.items():
        if isinstance(text, list):
            _in_one_column(found, columns.get(name, ()), text)
            continue
        for column in columns.get(name, ())[: None if name in case.given else 1]:
            path = _path(found, column.name)
            if path is not None and _same(path[0][path[1]], case.fields.get(name)):
                path[0][path[1]] = text
            elif path is None and name not in case.given:
                found[column.name] = text
    _check(source, found, case)
    for name in case.blank:
        for column in columns.get(name, ()):
            if column.type in TEXTS and _path(found, column.name) is None:
                found[column.name] = ""
    return found


def _in_one_column(record: dict[str, Any], columns: Sequence[Column], values: list[Any]) -> None:
    """Put several values into the column that may hold them, and take them out of the others."""
    several = [column for column in columns if column.type.endswith("[]")]
    places = [place for column in columns if (place := _path(record, column.name)) is not None]
    if several and places:
        for inner, key in places:
            del inner[key]
        places[0][0][places[0][1]] = values


def _same(value: Any, canonical: Any) -> bool:
    return isinstance(value, str) and value.lower().replace("-", ":") == str(canonical).lower()


def _path(record: dict[str, Any], name: str) -> tuple[dict[str, Any], str] | None:
    """Return where a column stands: dotted names may be nested objects."""
    if name in record:
        return record, name
    head, _, rest = name.partition(".")
    inner = record.get(head)
    return _path(inner, rest) if rest and isinstance(inner, dict) else None


def flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a record by their dotted names."""
    for key, one in value.items():
        if isinstance(one, dict):
            yield from flat(one, f"{before}{key}.")
        else:
            yield f"{before}{key}", one


def _check(source: Source, record: Mapping[str, Any], case: Case) -> None:
    """Assert that a spelling is one: `scan` reads the same value in the record."""
    if not case.spelled:
        return
    got = read_back(source, record)
    for name in case.spelled:
        assert name not in got or got[name] == case.fields.get(name), (
            label(source),
            case.name,
            got.get(name),
        )


def read_back(source: Source, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `scan` reads in a record."""
    result = schemas().reader(only=source.schema.name).read(json.dumps(record).encode())
    return complete(dict(result.fields)) if isinstance(result, Record) else {}


def fields_of(case: Case) -> Iterator[str]:
    """Yield the canonical fields that an event was given."""
    yield from (name for name in case.given if name in FIELDS)
