"""Files of findings are read line by line: what they say, and what of them could not be read.

Lazy and in the order given; memory does not grow with the input. Files may be compressed or lie in archives and
folders, as everywhere (`read`). A file that does not end in a summary was cut short, or is still being written: what is
missing there nobody knows, so that is a `Skipped`. Of broken lines the first `BROKEN` of a file are told, the rest
counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imdswatch.finding import Skipped, Summary
from imdswatch.read.blocks import MAX_RECORD, blocks
from imdswatch.read.sources import Ignored, Source, walk
from imdswatch.read.streams import Stream, open_streams
from imdswatch.report.readback import Result, Unreadable, result
from imdswatch.report.statement import Statement

BROKEN = 20
_OURS = b'"format"'


@dataclass(frozen=True, slots=True)
class End:
    """The end of one file: `bytes` that were read of it, `results` that it held."""

    bytes: int
    results: int


def gather(paths: Sequence[str], output: Path | None = None) -> Iterator[Result | Ignored | End]:
    """Yield what the files say; `output`, where the report is written, is no input even if it lies in a folder."""
    for found in walk(paths):
        if isinstance(found, Source):
            if not (output is not None and found.path and not found.named and _is_same(found.path, output)):
                yield from _source(found)
        else:
            yield found


def _is_same(path: str, other: Path) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def _source(source: Source) -> Iterator[Result | Ignored | End]:
    for stream in open_streams(source):
        if isinstance(stream, Skipped | Ignored):
            yield stream
        elif not isinstance(stream, Stream) or stream.capture:
            what = "capture" if isinstance(stream, Stream) else "table"
            yield Skipped(stream.name, "", f"is a {what}; `imdswatch scan` makes findings of it")
        else:
            yield from _stream(stream, named=source.named)


def _stream(stream: Stream, *, named: bool) -> Iterator[Result | Ignored | End]:
    broken = results = 0
    complete = False
    last = 0
    for last, line in _lines(stream):
        if not results and not broken and not named and line is not None and _OURS not in line:
            yield Ignored(stream.name, "no file of findings")
            return
        try:
            if line is None:
                raise Unreadable(f"is longer than {MAX_RECORD >> 20} MiB")
            found = result(line)
        except Unreadable as error:
            broken += 1
            if broken <= BROKEN:
                yield Skipped(stream.name, f"line {last}", str(error))
            continue
        results += 1
        complete = isinstance(found, Summary) or (isinstance(found, Statement) and found.kind == "summary")
        if found is not None:
            yield found
    if broken > BROKEN:
        yield Skipped(stream.name, "", f"{broken - BROKEN:,} more lines are no findings")
    if not results and not broken:
        yield Skipped(stream.name, "", "is empty")
    elif results and not complete:
        place = f"line {last}"
        yield Skipped(stream.name, place, "has no summary at its end: cut short, or still being written")
    yield End(stream.bytes, results)


def _lines(stream: Stream) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines that are not blank, with their numbers; None for one that is too long to be read."""
    number = 0
    for block in blocks(stream):
        data = bytes(memoryview(block.buffer)[: block.length])
        if block.overlong:
            if not block.repeated:
                yield number + 1, None
            number += data.endswith(b"\n")
            continue
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        for line in lines:
            number += 1
            if line.strip():
                yield number, line
