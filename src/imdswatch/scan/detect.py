"""`detect` looks at the beginning of a file: which schemas read it, which rules it can and cannot ever fire.

Reads at most 64 kB or 200 records of each text stream, 200 rows of each table, and of an archive or folder no more
than 100 of them.
Nothing is raised for what stands in the file; what could not be looked at is in `skipped`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import orjson

from imdswatch.finding import Skipped
from imdswatch.layouts.result import Header, Record
from imdswatch.outlook import Detected, Seen, best_of, outlook, site_keys
from imdswatch.read.blocks import Block
from imdswatch.read.records import json_objects, looks_multiline_json
from imdswatch.read.sources import Ignored, display, walk
from imdswatch.read.streams import Stream, Table, open_streams
from imdswatch.rule import Rule
from imdswatch.scan.rowscan import RowTable
from imdswatch.schema import Schemas

HEAD = 64 << 10
RECORDS = 200
STREAMS = 100


class _Look:
    """What was met so far."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self.counts: Counter[str] = Counter()
        self.fields: dict[str, set[str]] = {}
        self.streams = self.records = self.unread = 0
        self.complete = True
        self.skipped: list[Skipped] = []

    def file(self, path: str) -> None:
        """Look at the streams of a file, or of the files in a folder."""
        for stream in _streams(path, self.skipped):
            if self.streams == STREAMS:
                self.complete = False
                return
            self.streams += 1
            self._stream(stream)

    def _stream(self, stream: Stream | Table) -> None:
        reader = self._schemas.reader(year_not_after=stream.mtime)
        taken = 0
        for text in self._rows(stream) if isinstance(stream, Table) else self._lines(stream):
            if taken == RECORDS:
                self.complete = False
                return
            result = reader.read(text)
            if isinstance(result, Header):
                if result.schema is not None:
                    self.counts[result.schema] += 0
                continue
            taken += 1
            self.records += 1
            if isinstance(result, Record):
                self.counts[result.schema] += 1
                self.fields.setdefault(result.schema, set()).update(result.fields)
            else:
                self.unread += 1

    def _lines(self, stream: Stream) -> Iterator[bytes]:
        buffer = bytearray(HEAD + 1)
        count = stream.readinto(buffer)
        self.complete = self.complete and count <= HEAD
        head = bytes(buffer[:count])
        table = RowTable.of(head, self._schemas, None)
        if table is not None:
            whole = head if count <= HEAD else head[: head.rfind(b"\n") + 1]
            return map(orjson.dumps, table.records(whole))
        return _records(buffer, count)

    def _rows(self, table: Table) -> Iterator[bytes]:
        from imdswatch.scan.duck import Unreadable
        from imdswatch.scan.tables import first_records

        try:
            yield from first_records(table, self._schemas, RECORDS + 1)
        except Unreadable as error:
            self.skipped.append(Skipped(table.name, "", error.reason))

    @property
    def seen(self) -> tuple[Seen, ...]:
        """The schemas met, the most frequent first."""
        return tuple(
            Seen(self._schemas[name], count, frozenset(self.fields.get(name, ())))
            for name, count in sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        )


def detect(file: str, schemas: Schemas, rules: Sequence[Rule]) -> Detected:
    """Say what a file is and what can come of it."""
    look = _Look(schemas)
    look.file(file)
    seen = look.seen
    outlooks = [
        best_of([outlook(rule, one.schema, rules, one.fields) for one in seen])
        for rule in (rules if seen else ())
    ]
    return Detected(
        source=display(file),
        streams=look.streams,
        records=look.records,
        unread=look.unread,
        complete=look.complete,
        schemas=seen,
        outlooks=tuple(outlooks),
        site=tuple(
            (key, one.schema.name, answer)
            for one in seen
            for key, answer in site_keys(one.schema, one.fields)
        ),
        skipped=tuple(look.skipped),
    )


def _streams(path: str, skipped: list[Skipped]) -> Iterator[Stream | Table]:
    for source in walk([path]):
        for found in (source,) if isinstance(source, Skipped | Ignored) else open_streams(source):
            if isinstance(found, Stream) and found.capture:
                reason = "is a packet capture, which needs no schema: `imdswatch scan` reads it"
                skipped.append(Skipped(found.name, "", reason))
            elif isinstance(found, Stream | Table):
                yield found
            elif isinstance(found, Skipped):
                skipped.append(found)
            else:
                skipped.append(Skipped(found.source, "", f"is {found.reason}"))


def _records(buffer: bytearray, count: int) -> Iterator[bytes]:
    """Yield the records of the beginning of a stream; what was cut off at the end is left out."""
    cut = count > HEAD
    if looks_multiline_json(bytes(buffer[:count])):
        block = Block(buffer, count, 0, False, True)
        found = [one[0] for one in json_objects([block]) if not isinstance(one, Skipped)]
        yield from islice(found, len(found) - cut)
        return
    lines = bytes(buffer[:count]).split(b"\n")
    for line in lines[:-1] if cut else lines:
        if line.strip():
            yield line
