"""The work of one process: a task in, an outcome out. Also how a list of sources is cut into tasks.

A task is some whole sources, one part of a plain file, or all sources whose captures are to be read as one; its
outcome is associative, so it does not matter which process did it. Nothing here raises for what stands in a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imdswatch.finding import Skipped
from imdswatch.read.blocks import Block, blocks, part_blocks
from imdswatch.read.lines import LineReader
from imdswatch.read.records import looks_multiline_json
from imdswatch.read.sources import Ignored, Source
from imdswatch.read.streams import Stream, Table, open_streams
from imdswatch.rule import Node, Rule
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.hints import sniff
from imdswatch.scan.judging import Window
from imdswatch.scan.prefilter import Prefilter
from imdswatch.scan.text import Look, Outcome, TextScan
from imdswatch.schema import Schemas
from imdswatch.site import Site

if TYPE_CHECKING:
    from imdswatch.scan.captures import CaptureSearch
    from imdswatch.scan.tables import TableSearch

PART = 64 << 20
"""Bytes of a plain file that one task takes."""
SMALL = 1 << 20
"""Files up to this size share a task."""
BATCH = 64
_REPORT = 8 << 20  # bytes between two calls of the progress callback

Progress = Callable[[int], None]
"""Called with the number of source bytes that were looked at since the last call."""


_ALWAYS = Window()


@dataclass(frozen=True, slots=True)
class Options:
    """What a scan is asked to do."""

    rules: tuple[Rule, ...]
    site: Site
    schemas: Schemas
    schema: str | None = None
    window: Window = _ALWAYS
    timezone: tzinfo = UTC
    jobs: int = 1
    each: bool = False
    merge: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """Some work for one process: whole sources, or one part of a plain file of `size` bytes.

    `merged` says that the captures among the sources are one, in the order of time.
    """

    sources: tuple[Source, ...]
    start: int = 0
    end: int | None = None
    size: int = 0
    merged: bool = False

    @property
    def here(self) -> bool:
        """Whether only this process can do it: standard input and pipes cannot be opened twice."""
        return any(source.mtime is None for source in self.sources)


Conditions = Sequence[tuple[str, Node]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a look searches for: conditions by name, those that are only watched for, and how both are found in text.

    In a second look `hosts` says whom those that were watched for are about, and they count. `text` returns the
    prefilter, and whether what is watched for may stand where it cannot see it.
    """

    conditions: Conditions
    watched: Conditions
    text: Callable[[], tuple[Prefilter, bool]]
    hosts: tuple[str, ...] | None = None


class Worker:
    """Does tasks, one after the other, with the rules of one look at the sources.

    The searches of text and of captures are compiled when the first of each is met.
    """

    def __init__(self, options: Options, wanted: Wanted, look: Look) -> None:
        self.options, self.look, self._wanted = options, look, wanted

    @cached_property
    def text(self) -> tuple[Prefilter, bool]:
        """The search of text, and whether every text is worth a second look."""
        return self._wanted.text()

    @cached_property
    def captures(self) -> CaptureSearch:
        """The search of captures."""
        from imdswatch.scan.captures import CaptureSearch

        return CaptureSearch(self._wanted.conditions, self._wanted.watched, self._wanted.hosts)

    @cached_property
    def tables(self) -> TableSearch:
        """The search of tables."""
        from imdswatch.scan.tables import TableSearch

        wanted = self._wanted
        first = wanted.hosts is None
        conditions, watched = (wanted.conditions, wanted.watched) if first else (wanted.watched, ())
        return TableSearch(self.options, conditions, watched, lambda: self.text[0])

    def outcome(self) -> Outcome:
        """Return an empty outcome."""
        return Outcome(Incidents(each=self.options.each))

    def do(self, task: Task, outcome: Outcome, progress: Progress | None = None) -> Outcome:
        """Scan what the task says, into the outcome."""
        if task.end is not None:
            source = task.sources[0]
            assert source.path is not None
            parts = part_blocks(source.path, task.start, task.end, limit=task.size, name=source.name)
            self._text(source.name, source.name, source.mtime, parts, outcome, first=task.start == 0)
            outcome.packed += task.end - task.start
            return outcome
        if task.merged:
            self._merged(task.sources, outcome)
            return outcome
        for source in task.sources:
            told = 0
            for found in open_streams(source, until_interrupt=True):
                if isinstance(found, Skipped):
                    outcome.skip(found)
                elif isinstance(found, Ignored):
                    outcome.ignored += 1
                elif isinstance(found, Table):
                    self._table(source.name, found, outcome)
                elif found.capture:
                    self._capture(source.name, found, outcome)
                else:
                    data = blocks(found) if progress is None else _told(found, told, progress)
                    self._text(source.name, found.name, found.mtime, data, outcome)
                    told = found.raw_bytes
            outcome.packed += size_of(source) if progress is None else max(0, size_of(source) - told)
        return outcome

    def _reader(self, mtime: float | None) -> LineReader:
        options = self.options
        return options.schemas.reader(
            default_timezone=options.timezone, year_not_after=mtime or time.time(), only=options.schema
        )

    def _table(self, source: str, table: Table, outcome: Outcome) -> None:
        from imdswatch.scan.tables import TableScan

        if TableScan(self.tables, self.look, self._reader(table.mtime), outcome).run(table):
            outcome.second.add(source)

    def _capture(self, source: str, stream: Stream, outcome: Outcome) -> None:
        from imdswatch.scan.captures import CaptureScan

        CaptureScan(self.captures, self.look, outcome).one(stream)
        if self.captures.watched:
            outcome.second.add(source)

    def _merged(self, sources: Sequence[Source], outcome: Outcome) -> None:
        """Scan the captures of all sources as one, and what text there is beside them."""
        from imdswatch.scan.captures import CaptureScan

        def text(stream: Stream | Table) -> None:
            if isinstance(stream, Table):
                self._table(stream.name, stream, outcome)
                return
            self._text(stream.name, stream.name, stream.mtime, blocks(stream), outcome)

        CaptureScan(self.captures, self.look, outcome).all(sources, text)
        if self.captures.watched:
            outcome.second.update(source.name for source in sources)
        outcome.packed += sum(map(size_of, sources))

    def _text(
        self,
        source: str,
        name: str,
        mtime: float | None,
        data: Iterator[Block | Skipped] | Iterator[Block],
        outcome: Outcome,
        first: bool = True,
    ) -> None:
        options = self.options
        prefilter, twice = self.text
        outcome.notes.update(prefilter.notes)
        scan = TextScan(name, prefilter, self._reader(mtime), self.look, outcome)
        scan.run(data, options.schemas, options.schema, first_part=first)
        if scan.watched or twice:
            outcome.second.add(source)

    def cut(self, source: Source, size: int) -> Iterator[Task]:
        """Yield the tasks of one large source: its parts if they can be read alone, else the whole."""
        if self.options.jobs > 1 and size > 2 * PART and self._cuttable(source):
            for start in range(0, size, PART):
                yield Task((source,), start, min(start + PART, size), size)
        else:
            yield Task((source,))

    def _cuttable(self, source: Source) -> bool:
        """Say whether parts of the file can be read alone: plain text, a record a line, no header lines."""
        for stream in open_streams(source):
            if not isinstance(stream, Stream) or stream.capture or stream.seekable_path is None:
                return False
            head = bytearray(1 << 16)
            count = stream.readinto(head)
            text = bytes(head[:count])
            from imdswatch.scan.rowscan import RowTable

            return (
                not looks_multiline_json(text)
                and RowTable.of(text, self.options.schemas, self.options.schema) is None
                and not sniff(text, self.options.schemas, self.options.schema).header
            )
        return False


def _told(stream: Stream, told: int, progress: Progress) -> Iterator[Block]:
    """Yield a stream's blocks and tell the progress now and then."""
    for block in blocks(stream):
        if stream.raw_bytes - told >= _REPORT:
            progress(stream.raw_bytes - told)
            told = stream.raw_bytes
        yield block
    progress(stream.raw_bytes - told)


def size_of(source: Source) -> int:
    """Return the size of a source in bytes, packed as it is; 0 where it has none."""
    if source.path is None:
        return 0
    try:
        return Path(source.path).stat().st_size
    except OSError:
        return 0
