"""What the schemas tell the prefilter: fields nobody fills, header lines, and layouts that hide what rules look for.

A pattern is searched in raw bytes, so it can only be trusted where a schema copies the field's value out of the
record. A schema is *blind* to a pattern if it makes the value itself (a map, a constant, the name of a captured
header) or decodes it (base64): files of such a layout are parsed whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from imdswatch.layouts.cef import Cef
from imdswatch.layouts.delimited import Delimited
from imdswatch.layouts.fieldmap import Field
from imdswatch.layouts.json import Json
from imdswatch.layouts.keyvalue import KeyValue
from imdswatch.layouts.leef import Leef
from imdswatch.layouts.required import required_literal
from imdswatch.layouts.result import Header, Record
from imdswatch.layouts.times import Clock
from imdswatch.scan.patterns import Needed, Pattern
from imdswatch.schema import Schema, Schemas

_DERIVED = frozenset({"url", "host", "uri_path", "uri_query", "answered", "payload", "dst_ip"})
"""Fields that `event.complete` or the reading of unknown records can fill without any schema's doing."""
_DECODING = frozenset({"header_name", "base64", "when", "flags", "dhcp_routes"})
"""Conversions whose result need not stand in the record."""
_REQUEST = frozenset({"url", "host", "uri_path", "uri_query"})
_LEAST = 4
_SNIFF_LINES = 64
_SNIFF_BYTES = 1 << 16


class Hints:
    """What one set of schemas means for searching."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = tuple(schemas.values())
        self._filled = _DERIVED | {spec.name for schema in self._schemas for spec in schema.all_fields()}
        self._filled |= {name for schema in self._schemas for name in _constants(schema)}
        copied = {name for schema in self._schemas for name in _filled(schema) - _made(schema)}
        self._hidden = (
            self._filled - _DERIVED - copied
        )  # no search can see these: their schemas are parsed whole
        self._asked: set[str] = set()

    def presence(self, field: str) -> Needed:
        """Return patterns of which one stands in every record that has the field; () if no schema fills it."""
        if field not in self._filled:
            return ()
        if field in _DERIVED:
            return None
        if field in self._hidden:
            self._asked.add(field)
            return ()
        out: list[Pattern] = []
        for schema in self._schemas:
            if field in _constants(schema):
                return None
            for base in schema.bases:
                for form in base.forms:
                    for spec in form.fields.fields:
                        if spec.name == field:
                            text = _mark(spec, form.layout)
                            if text is None:
                                return None
                            out.append(Pattern(re.escape(text), len(text), field))
        return tuple(out)

    def headers(self, *, first_line: bool) -> list[str]:
        """Return patterns that touch every header line, so that the reader sees each.

        Those of layouts whose header looks like a row (`first_line`) are needed only in files that begin with one.
        """
        out: list[str] = []
        for schema in self._schemas:
            for base in schema.bases:
                layout = base.form.layout
                if not isinstance(layout, Delimited) or layout.header is None:
                    continue
                if layout.header == "first-line" and not first_line:
                    continue
                if layout.header == "first-line":
                    longest = max(schema.recognise.columns, key=len, default="")
                    out += [re.escape(longest)] if len(longest) >= _LEAST else []
                else:
                    out.append(re.escape(layout.header))
        return list(dict.fromkeys(out))

    def blind(self, patterns: Iterable[Pattern]) -> frozenset[str]:
        """Return the names of the schemas whose records these patterns may not touch though a rule would match."""
        patterns = tuple(patterns)
        fields = {pattern.field for pattern in patterns} | self._asked
        keywords = [re.compile(p.text, re.IGNORECASE) for p in patterns if not p.field]
        return frozenset(
            schema.name
            for schema in self._schemas
            if fields & _made(schema) or any(_makes(schema, keyword) for keyword in keywords)
        )


def _filled(schema: Schema) -> set[str]:
    return {spec.name for spec in schema.all_fields()}


def _constants(schema: Schema) -> set[str]:
    return {name for base in schema.bases for form in base.forms for name, _ in form.fields.constants}


def _made(schema: Schema) -> set[str]:
    """Return the fields whose values a schema makes or decodes rather than copies."""
    out = _constants(schema)
    for spec in schema.all_fields():
        one: Field | None = spec
        while one is not None:
            if one.map or one.convert in _DECODING or set(one.sources) & set(schema.opaque):
                out.add(one.name)
            one = one.otherwise
    return out | _REQUEST if out & _REQUEST else out  # `event.complete` makes each of them of the others


def _makes(schema: Schema, keyword: re.Pattern[str]) -> bool:
    """Say whether a schema can put a text with this keyword into an event that does not stand in the record."""
    if schema.opaque:
        return True
    texts = [str(value) for base in schema.bases for form in base.forms for _, value in form.fields.constants]
    for spec in schema.all_fields():
        one: Field | None = spec
        while one is not None:
            if one.convert in _DECODING and one.convert not in ("header_name", "when"):
                return True
            if one.convert == "header_name":
                texts += [str(one.read(source)("1", Clock())) for source in one.sources]
            texts += [value for _, value in one.map]
            one = one.otherwise
    return any(keyword.search(text) for text in texts)


def _mark(spec: Field, layout: object) -> str | None:
    """Return a text that stands in every record in which the field has a value, or None if none is certain."""
    if spec.otherwise is not None or len(spec.sources) != 1:
        return None
    found = required_literal(spec.match) if spec.match else ""
    if len(found) < _LEAST and isinstance(layout, Json | KeyValue | Cef | Leef):
        found = spec.sources[0].rpartition(".")[2]
    return found if len(found) >= _LEAST and re.fullmatch(r"[\w.\-]+", found) else None


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the beginning of a stream shows: the schemas of its records, and whether it has header lines."""

    schemas: frozenset[str]
    header: bool


def sniff(head: bytes, schemas: Schemas, only: str | None) -> Sniffed:
    """Read the first records of a stream; pure, bounded."""
    reader = schemas.reader(only=only)
    seen: set[str] = set()
    header = False
    for line in head[:_SNIFF_BYTES].split(b"\n", _SNIFF_LINES)[:_SNIFF_LINES]:
        result = reader.read(line) if line else None
        if isinstance(result, Record):
            seen.add(result.schema)
        elif isinstance(result, Header):
            header = True
    return Sniffed(frozenset(seen), header)
