"""One text stream in, judged events out: prefilter → parse → predicate, in constant memory.

Guarantees: every record that the prefilter touches is read by a schema, or as `unknown`, or reported as skipped with
its line; line numbers are those of `sed -n Np`; the result does not depend on how blocks or parts were cut. Nothing
here raises for what stands in a log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

from imdswatch.event import complete
from imdswatch.finding import Skipped
from imdswatch.layouts.result import Header, Malformed, Record
from imdswatch.read import unknown
from imdswatch.read.blocks import MAX_RECORD, Block, count_newlines
from imdswatch.read.lines import LineReader
from imdswatch.read.records import json_objects, looks_multiline_json
from imdswatch.read.rows import named_columns
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.hints import Sniffed, sniff
from imdswatch.scan.prefilter import Prefilter
from imdswatch.schema import Schemas

_HEAD = 1 << 16
_PIECE = 2048  # bytes on either side of a hit that are read of a record too long to be parsed
_TRIES = 16  # hits in a piece of such a record that are looked at
_WORD = bytes(range(0x30, 0x3A)) + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B)) + b"+/%=_-.\\"
_MAX_SKIPPED = 1000  # of one stream; what is beyond is counted in one line


class Look(Protocol):
    """What judges an event: `imdswatch.scan.judging`."""

    def take(
        self, incidents: Incidents, fields: dict[str, Any], source: str, unit: str, position: int
    ) -> int:
        """Judge one completed event and count it."""


@dataclass(slots=True)
class Outcome:
    """What one stream, or a part of it, gave. Picklable. `second` names the sources worth a second look.

    `lines` counts packets where the stream is a capture; `notes` says what slowed the search down.
    """

    incidents: Incidents = field(default_factory=Incidents)
    skipped: list[Skipped] = field(default_factory=list)
    lines: int = 0
    bytes: int = 0
    packed: int = 0
    ignored: int = 0
    more_skipped: int = 0
    second: set[str] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)

    def skip(self, skipped: Skipped) -> None:
        """Keep what could not be looked at; of very many the first, and how many more."""
        if len(self.skipped) < _MAX_SKIPPED:
            self.skipped.append(skipped)
        else:
            self.more_skipped += 1


class TextScan:
    """Scans one stream; `reader` must be fresh for each file.

    `run` does it in one go. A log that grows is scanned piece by piece: `know` what its beginning shows, then
    `block` for each piece; `outcome` and `lines`, those before the next block, may be set in between.
    """

    def __init__(
        self, name: str, prefilter: Prefilter, reader: LineReader, look: Look, outcome: Outcome
    ) -> None:
        self._name, self._prefilter, self._reader, self._look = name, prefilter, reader, look
        self.outcome = outcome
        self.lines = 0
        self._everything = prefilter.everything
        self._long_line = self._told = 0

    def run(
        self,
        blocks: Iterable[Block | Skipped],
        schemas: Schemas,
        only: str | None,
        *,
        first_part: bool = True,
    ) -> None:
        """Scan all blocks. `first_part` says that they begin at the start of the file."""
        stream = self._blocks_only(blocks)
        first = next(stream, None)
        if first is None:
            return
        head = bytes(first.buffer[: min(first.length, _HEAD)])
        if not self._everything:
            self.know(sniff(head, schemas, only))
        stream = chain([first], stream)
        if first_part and not first.overlong:
            if looks_multiline_json(head):
                self._objects(stream)
                return
            if self._rows(head, stream, schemas, only):
                return
        for number, block in enumerate(stream):
            self.block(block, first=number == 0 and first_part)
        self.outcome.lines += self.lines

    def know(self, seen: Sniffed) -> None:
        """Learn from how the stream begins whether its layout can be searched, and whether it has header lines."""
        if not self._everything:
            self._everything = not seen.schemas.isdisjoint(self._prefilter.blind)
            if seen.header:
                self._prefilter = self._prefilter.with_headers

    @property
    def watched(self) -> bool:
        """Whether something to watch for stood in the stream; where every record is parsed nobody searched."""
        found, self._prefilter.watched = self._prefilter.watched or self._everything, False
        return found

    def _blocks_only(self, blocks: Iterable[Block | Skipped]) -> Iterator[Block]:
        for block in blocks:
            if isinstance(block, Skipped):
                self.outcome.skip(block)
            else:
                self.outcome.bytes += block.length - block.repeated
                yield block

    def _rows(self, head: bytes, blocks: Iterator[Block], schemas: Schemas, only: str | None) -> bool:
        """Scan a text whose first line names the columns of a schema of objects; say whether it does."""
        if named_columns(head) is None:
            return False
        from imdswatch.scan.rowscan import RowScan, RowTable  # what plans tables is not needed for most logs

        table = RowTable.of(head, schemas, only)
        if table is None:
            return False
        scan = RowScan(self._name, table, self._prefilter, self._reader, self._look, self)
        self._everything = scan.everything
        scan.run(blocks)
        self.outcome.lines += self.lines
        return True

    def _objects(self, blocks: Iterator[Block]) -> None:
        outcome = self.outcome
        for found in json_objects(blocks, self._name):
            if isinstance(found, Skipped):
                outcome.skip(found)
                continue
            text, line = found
            outcome.lines += 1
            if self._everything or self._prefilter.touches(text):
                self._record(text, line)

    def block(self, block: Block, *, first: bool) -> None:
        """Scan one block; `first` says that the stream begins with it."""
        buffer, length = block.buffer, block.length
        if block.overlong:
            self._overlong(block)
            return
        self._long_line = self._told = 0
        if self._everything:
            self._every_line(buffer, length)
            return
        with memoryview(buffer) as view:
            ends = self._prefilter.ends(view[:length])
        line, counted, done = self.lines, 0, 0
        if first and length:
            done = self._line_end(buffer, 0, length)
            # Untouched, it is read only because it may be a header, or of a layout that hides.
            untouched = not ends or ends[0] > done
            self._record(bytes(buffer[: min(done, _HEAD) if untouched else done]), 1, untouched=untouched)
        for end in ends:
            if self._everything:
                break
            if end <= done:
                continue
            start = buffer.rfind(b"\n", done, end - 1) + 1 or done
            # Right after the line before: where every line hits, there is nothing to count.
            line += 1 if counted < start == done else count_newlines(buffer, counted, start)
            done = self._line_end(buffer, end - 1, length)
            counted = start
            self._record(bytes(buffer[start:done]), line + 1)
        if self._everything:  # the last record showed that the search does not see what follows
            self.lines = line + count_newlines(buffer, counted, done)
            self._every_line(buffer, length, done)
            return
        self.lines = line + count_newlines(buffer, counted, length)
        if block.last and length and buffer[length - 1] != 0x0A:
            self.lines += 1

    @staticmethod
    def _line_end(buffer: bytearray, at: int, length: int) -> int:
        """Return the offset after the line that holds offset `at`."""
        return buffer.find(b"\n", at, length) + 1 or length

    def _every_line(self, buffer: bytearray, length: int, start: int = 0) -> None:
        while start < length:
            end = self._line_end(buffer, start, length)
            self.lines += 1
            self._record(bytes(buffer[start:end]), self.lines)
            start = end

    def _overlong(self, block: Block) -> None:
        """Search a piece of a record that is too long to parse: what stands in it is still told."""
        outcome, line = self.outcome, self.lines + 1
        with memoryview(block.buffer) as view:
            ends = [block.length] if self._everything else self._prefilter.ends(view[: block.length])
        if ends and self._long_line != line:
            self._long_line = line
            reason = f"record is longer than {MAX_RECORD >> 20} MiB; searched, but not parsed"
            outcome.skip(Skipped(self._name, f"line {line}", reason))
        for end in list(ends)[:_TRIES] if self._told != line else ():
            start = max(0, end - _PIECE)
            around = bytes(block.buffer[start : min(block.length, end + _PIECE)])
            if start or block.repeated:  # it may begin within a token, which would have no mark to know it by
                around = around.lstrip(_WORD)
            if self._unknown(around, line):
                self._told = line
                break
        self.lines += count_newlines(block.buffer, 0, block.length)
        if block.last and block.length and block.buffer[block.length - 1] != 0x0A:
            self.lines += 1

    def _record(self, text: bytes, line: int, *, untouched: bool = False) -> None:
        result = self._reader.read(text)
        if isinstance(result, Record) and result.schema != unknown.NAME:
            if result.schema in self._prefilter.blind:
                self._everything = True
            if not untouched or self._everything:
                self._look.take(self.outcome.incidents, complete(result.fields), self._name, "line", line)
            return
        if isinstance(result, Header) and result.schema in self._prefilter.blind:
            self._everything = True
        if isinstance(result, Header) or untouched:
            return
        if isinstance(result, Malformed):
            self.outcome.skip(Skipped(self._name, f"line {line}", result.reason))
        self._unknown(text, line)

    def _unknown(self, text: bytes, line: int) -> bool:
        fields = unknown.read(text.decode("utf-8", "backslashreplace"))
        if fields is None:
            return False
        self._look.take(self.outcome.incidents, complete(fields), self._name, "line", line)
        return True
