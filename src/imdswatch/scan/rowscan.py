"""Rows under named columns in, judged events out: prefilter → row → Schema of objects → predicate.

A table that was exported as text (CSV) keeps the names that a schema knows, dotted or flattened, as one of Parquet does
(`imdswatch.scan.columns`), and its rows are read as the objects that they were. Guarantees: as those of
`imdswatch.scan.text`; the position of a row is the line on which it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from imdswatch.event import complete
from imdswatch.finding import Skipped
from imdswatch.layouts.result import Malformed, Record
from imdswatch.read import unknown
from imdswatch.read.blocks import Block, count_newlines
from imdswatch.read.lines import LineReader
from imdswatch.read.rows import Frame, Named, frames, named_columns
from imdswatch.scan.asks import NEVER
from imdswatch.scan.columns import Columns, Shape
from imdswatch.scan.hints import sniff
from imdswatch.scan.judging import Window
from imdswatch.scan.prefilter import Prefilter
from imdswatch.scan.tableplan import plan
from imdswatch.scan.tables import judge_record, named_for_schemas
from imdswatch.scan.text import Look, TextScan
from imdswatch.schema import Schema, Schemas


class RowTable:
    """The columns that the head of a text names, and the schemas that its rows may be of."""

    def __init__(self, named: Named, schemas: Iterable[Schema]) -> None:
        columns = Columns({name: Shape("text") for name in named.names})
        every = Window()
        self.named = named
        self.schemas = [one for one in schemas if plan((), [one], columns, every, True).known != NEVER]
        self.renamed = plan((), self.schemas, columns, every, True).renamed

    @classmethod
    def of(cls, head: bytes, schemas: Schemas, only: str | None) -> RowTable | None:
        """Return what a text is whose rows may be of a schema of objects; None if it is no such table.

        A text whose lines a schema knows as they are is none, whatever its first line says.
        """
        named = named_columns(head)
        if named is None or (seen := sniff(head, schemas, only)).schemas or seen.header:
            return None
        found = cls(named, [schemas[only]] if only else schemas.values())
        return found if found.schemas else None

    def records(self, text: bytes) -> Iterator[dict[str, Any]]:
        """Yield the records of all whole rows but the header, for a look at what they are."""
        block = Block(bytearray(text), len(text), 0, False, True)
        for frame in frames([block], self.named):
            if isinstance(frame, Frame):
                for begin, end in frame.rows():
                    record = self.named.record(frame.data[begin:end])
                    if begin and not isinstance(record, Malformed):
                        yield named_for_schemas(record, self.renamed)

    def all_matter(self, prefilter: Prefilter) -> bool:
        """Say whether every row must be judged: what the header says, every row would say as an object."""
        return (
            prefilter.everything
            or not prefilter.blind.isdisjoint(schema.name for schema in self.schemas)
            or prefilter.touches("\n".join(self.named.names).encode())
        )


class RowScan:
    """Scans the rows of one text; `rest` scans what is too long to be a row, and is told the lines before it."""

    def __init__(
        self, name: str, table: RowTable, prefilter: Prefilter, reader: LineReader, look: Look, rest: TextScan
    ) -> None:
        self._name, self._table, self._prefilter = name, table, prefilter
        self._reader, self._look, self._rest = reader, look, rest
        self.everything = table.all_matter(prefilter)

    def run(self, blocks: Iterable[Block]) -> None:
        """Scan all blocks, the header among them."""
        rest, header = self._rest, True
        for found in frames(blocks, self._table.named):
            if isinstance(found, Block):
                rest.block(found, first=False)
                continue
            self._frame(found, header)
            header = False

    def _frame(self, frame: Frame, header: bool) -> None:
        data = frame.data
        counted, past = 0, data.find(b"\n") + 1 if header else 0
        line = self._rest.lines
        for begin, end in frame.rows(None if self.everything else self._prefilter.ends(data)):
            if begin < past:
                continue
            line += count_newlines(data, counted, begin)
            counted = begin
            self._row(data[begin:end], line + 1)
        self._rest.lines = line + count_newlines(data, counted, len(data)) + (data[-1:] != b"\n")

    def _row(self, row: bytes, line: int) -> None:
        if not row.strip():
            return
        outcome = self._rest.outcome
        record = self._table.named.record(row)
        if not isinstance(record, Malformed):
            named = named_for_schemas(record, self._table.renamed)
            if judge_record(named, self._reader, self._look, self._name, ("line", line), outcome):
                return
        alone = self._reader.read(row)  # a line of another layout, where a file mixes them
        if isinstance(alone, Record) and alone.schema != unknown.NAME:
            self._look.take(outcome.incidents, complete(alone.fields), self._name, "line", line)
            return
        if isinstance(record, Malformed):
            outcome.skip(Skipped(self._name, f"line {line}", record.reason))
        fields = unknown.read(row.decode("utf-8", "backslashreplace"))
        if fields is not None:
            self._look.take(outcome.incidents, complete(fields), self._name, "line", line)
