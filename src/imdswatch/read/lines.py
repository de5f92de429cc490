"""Reads the lines of one file into Records: finds the schema of each line, unwraps envelopes, keeps the header.

Guarantees: `read` never raises, whatever the line is. The answer for a line depends on the line and on the last
header line only: the schemas are asked in the order priority, then name, and the first that recognises and can read
the record gives the answer. The one exception is a header: rows that fit the columns it declares are read by it
first, since a stranger's text inside a row may look like any other layout. What is remembered between lines is a
table from sets of JSON keys to the schemas that such an object can belong to, which is a function of the keys alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from imdswatch.layouts.delimited import Delimited
from imdswatch.layouts.json import Json
from imdswatch.layouts.json import parse as parse_json
from imdswatch.layouts.logformat import LogFormat
from imdswatch.layouts.recognise import Test
from imdswatch.layouts.result import Header, Malformed, Record, Result
from imdswatch.layouts.times import Clock, to_time
from imdswatch.layouts.unknown import Unknown
from imdswatch.read.unwrap import Outer, envelope, syslog
from imdswatch.schema import Base, Schema

State = tuple[str, int, tuple[str, ...]] | None
"""Schema name, number of its layout, and column names of the header in force."""

_LONGEST_TEXT = 1 << 16  # a line of text layouts: what a datagram can hold
# Format strings with blanks and quotes between free texts take time with the square of the length, a second at this
# one; web servers and proxies cut URL and headers below it.
_LONGEST_FORMAT = 1 << 14
_MOST_KEY_SETS = 4096
_OFTEN = 500
"""Objects of one set of keys, after which a function of their own pays for the time it takes to make."""
_DEEPEST_ENVELOPE = 4
_DIRECTIVE = re.compile(r"#[A-Za-z_]+(?:[\t :]|\Z)")


class LineReader:
    """The reader of one file's records; make one for each file, or `restore` the state of another."""

    def __init__(self, schemas: list[Schema], clock: Clock) -> None:
        self._clock = clock
        self._objects: list[tuple[Schema, Base]] = []
        self._texts: list[tuple[Schema, Base]] = []
        self._headers: list[tuple[Schema, int, Base, Delimited]] = []
        self._unknown: Schema | None = None
        for schema in schemas:
            for number, base in enumerate(schema.bases):
                layout = base.form.layout
                if isinstance(layout, Json):
                    self._objects.append((schema, base))
                elif isinstance(layout, Unknown):
                    self._unknown = schema if len(schemas) == 1 else None
                elif isinstance(layout, Delimited) and layout.header:
                    self._headers.append((schema, number, base, layout))
                else:
                    self._texts.append((schema, base))
        self._first_columns = {
            s.recognise.columns[0] for s, _, _, lay in self._headers if lay.header == "first-line"
        }
        self._by_keys: dict[tuple[str, ...], list[_Candidate]] = {}
        self._header: tuple[Schema, int, Base, Delimited, tuple[str, ...]] | None = None

    @property
    def state(self) -> State:
        """What a reader of the lines after this one must know: the header in force, as plain values."""
        if self._header is None:
            return None
        schema, number, _, _, columns = self._header
        return schema.name, number, columns

    def restore(self, state: State) -> None:
        """Take over the state of a reader of the lines before; a state of an unknown schema is no header."""
        self._header = None
        if state is not None:
            for schema, number, base, layout in self._headers:
                if (schema.name, number) == state[:2]:
                    self._header = schema, number, base, layout, tuple(state[2])

    def read(self, line: bytes) -> Result:
        """Read one line (or one framed JSON object), with or without its line end."""
        if self._unknown is not None:
            return Record({"payload": _decoded(line).rstrip("\r\n")}, self._unknown.name)
        first = line[:1]
        if first == b"{" or (first in b" \t[" and line.lstrip()[:2] in (b'{"', b"[{", b"{ ", b"{\n", b"{\r")):
            value = parse_json(line)
            if value.__class__ is list and len(value) == 1:
                value = value[0]
            if value.__class__ is dict:
                return self._object(value, None, 0)
            if value.__class__ is list:
                return Malformed("several records in a JSON array on one line")
            if self._objects and line.lstrip()[1:].lstrip()[:1] == b'"':
                return value if isinstance(value, Malformed) else None
        return self._line(_decoded(line))

    def read_object(self, record: dict[str, Any]) -> Result:
        """Read one JSON object that was parsed already."""
        return self._object(record, None, 0)

    def _object(self, record: dict[str, Any], outer: Outer | None, depth: int) -> Result:
        keys = tuple(record)
        candidates = self._by_keys.get(keys)
        if candidates is None:
            candidates = self._candidates(keys)
        for candidate in candidates:
            for test in candidate.tests:
                if not test(record):
                    break
            else:
                if outer:
                    fields = candidate.base.read({**record, **outer}, None, self._clock)
                else:
                    fields = candidate.read(record, self._clock)
                if isinstance(fields, dict):
                    return self._record(fields, candidate.schema, outer)
        if depth >= _DEEPEST_ENVELOPE:
            return None
        inner = envelope(record)
        if inner is None:
            return None
        value, said = inner
        said = {**outer, **said} if outer else said
        if value.__class__ is dict:
            return self._object(value, said, depth + 1)
        return self._wrapped(value.rstrip("\r\n"), said, depth + 1)

    def _candidates(self, keys: tuple[str, ...]) -> list[_Candidate]:
        present = frozenset(keys)
        found: list[_Candidate] = []
        for schema, base in self._objects:
            tests = schema.recognise.object_tests(present)
            if tests is not None:
                found.append(_Candidate(tests, schema, base, present))
        if len(self._by_keys) >= _MOST_KEY_SETS:
            self._by_keys.clear()
        if sum(map(len, keys)) < 1 << 14:
            self._by_keys[keys] = found
        return found

    def _line(self, text: str) -> Result:
        text = text.strip("\ufeff\r\n")
        if not text:
            return None
        if len(text) > _LONGEST_TEXT:
            return Malformed(f"a line of {len(text)} characters, longer than any text layout")
        bad: Malformed | None = None
        header = self._read_header(text)
        if header is not None:
            return header
        if self._header is not None:
            schema, _, base, layout, columns = self._header
            row = layout.row(text, columns)
            if isinstance(row, dict):
                fields = base.read(row, None, self._clock)
                if isinstance(fields, dict):
                    return Record(fields, schema.name)
            bad = row if isinstance(row, Malformed) else None
        found = self._wrapped(text, None, 0)
        if found is None or isinstance(found, Malformed):
            return bad or found
        return found

    def _read_header(self, text: str) -> Header | None:
        """Take over a header line; None if the text is none."""
        declared = False
        if text[0] != "#" and not any(column in text for column in self._first_columns):
            return None
        for schema, number, base, layout in self._headers:
            if layout.header == "first-line" and schema.recognise.columns[0] not in text:
                continue
            columns = layout.header_columns(text)
            if columns is None:
                continue
            declared = declared or layout.header != "first-line"
            if schema.recognise.header(columns):
                self._header = schema, number, base, layout, columns
                return Header(schema.name)
        if declared:
            self._header = (
                None  # columns of a log that no schema knows: the old names must not be used for them
            )
            return Header(None)
        if text[0] == "#" and _DIRECTIVE.match(text):
            return Header(self._header[0].name if self._header else None)
        return None

    def _wrapped(self, text: str, outer: Outer | None, depth: int) -> Result:
        """Read a text that may have a syslog header; where the message says nothing, the whole text is tried."""
        message, said = syslog(text)
        if said is None:
            return self._message(text, outer, depth)
        found = self._message(message, {**outer, **said} if outer else said, depth)
        if isinstance(found, Record):
            return found
        return self._message(text, outer or said, depth) or found

    def _message(self, message: str, outer: Outer | None, depth: int) -> Result:
        if message[:1] == "{" and depth < _DEEPEST_ENVELOPE:
            value = parse_json(message.encode("utf-8", "replace"))
            if value.__class__ is dict:
                return self._object(value, outer, depth + 1)
            if isinstance(value, Malformed) and message[1:].lstrip()[:1] == '"':
                return value
        program = None
        if outer:
            program = outer.get("syslog.program")
            program = program.rpartition("/")[2].lower() if isinstance(program, str) else None
        bad: Malformed | None = None
        for schema, base in self._texts:
            if len(message) > _LONGEST_FORMAT and isinstance(base.form.layout, LogFormat):
                continue
            if schema.recognise.text(message, program):
                fields = schema.read_text(base, message, outer, self._clock)
                if isinstance(fields, dict):
                    return self._record(fields, schema, outer)
                bad = bad or fields
        if bad is None and len(message) > _LONGEST_FORMAT:
            return Malformed(f"a line of {len(message)} characters, longer than any log format")
        return bad

    def _record(self, fields: dict[str, Any], schema: Schema, outer: Outer | None) -> Record:
        if outer and "timestamp" not in fields:
            moment = to_time(outer.get("syslog.time"), self._clock)
            if moment is not None:
                fields["timestamp"] = moment
        return Record(fields, schema.name)


class _Candidate:
    """A schema that objects with one set of keys may belong to, and the function that reads them.

    Where such objects come often, they get a function of their own, which gives the same in less time.
    """

    __slots__ = ("_keys", "_left", "base", "read", "schema", "tests")

    def __init__(self, tests: tuple[Test, ...], schema: Schema, base: Base, keys: frozenset[str]) -> None:
        self.tests, self.schema, self.base, self._keys = tests, schema, base, keys
        self._left = _OFTEN
        self.read: Callable[[dict[str, Any], Clock], Any] = self._counted

    def _counted(self, record: dict[str, Any], clock: Clock) -> Any:
        self._left -= 1
        if not self._left and not self.base.variants:
            self.read = self.base.form.fields.convert_for(self._keys)
        return self.base.read(record, None, clock)


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")
