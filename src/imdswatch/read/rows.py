"""Rows of a table that is text: columns that the first line names, and which rows span several lines.

`named_columns` says of the beginning of a text whether it is such a table (CSV, RFC 4180, separated by commas,
semicolons, tabs or bars); `frames` cuts its blocks where rows end. Guarantees: pure but for the blocks drawn; every
octet is in one frame; memory is bounded by a block and `LONGEST`; time is linear. A quoted field that does not end
within `LONGEST` makes its line a row as it stands, and those after it are rows again.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from imdswatch.layouts.delimited import Delimited
from imdswatch.layouts.result import Malformed
from imdswatch.read.blocks import Block

LONGEST = 1 << 20
"""Octets that a row with line feeds in it may have."""
_LONGEST_HEADER = 1 << 14
_NAME = re.compile(r"[A-Za-z_@#][\w@#.:/ ()\[\]{}\-]{0,199}")
_LEAST = 3  # columns; two words with a comma between them begin many a text


@dataclass(frozen=True)
class Named:
    """The columns of a table, in order, and what separates them."""

    separator: str
    names: tuple[str, ...]

    @cached_property
    def _layout(self) -> Delimited:
        return Delimited(self.separator, '"', self.names)

    def record(self, row: bytes) -> dict[str, Any] | Malformed:
        """Return the values of a row by the names of their columns, without those that are empty."""
        try:
            text = row.decode()
        except UnicodeDecodeError:
            text = row.decode("latin-1")
        cells = self._layout.split(text.rstrip("\r\n"))
        if isinstance(cells, Malformed):
            return cells
        if len(cells) != len(self.names):
            return Malformed(f"{len(cells)} columns where the header names {len(self.names)}")
        return {name: cell for name, cell in zip(self.names, cells, strict=True) if cell}

    @cached_property
    def alone(self) -> re.Pattern[bytes]:
        """Fields that end on the line on which they begin, as many as there are."""
        mark = re.escape(self.separator.encode())
        return re.compile(
            rb'(?:(?:"(?:[^"\n]++|"")*+"[^' + mark + rb'\n]*+|[^"' + mark + rb"\n][^" + mark + rb"\n]*+|)"
            rb"(?:" + mark + rb"|\n))*+"
        )

    @cached_property
    def row(self) -> re.Pattern[bytes]:
        """One row, whose quoted fields may hold line feeds; it ends with one, or with the data."""
        mark = re.escape(self.separator.encode())
        field = rb'(?:"(?:[^"]++|"")*+"[^' + mark + rb'\n]*+|[^"' + mark + rb"\n][^" + mark + rb"\n]*+|)"
        return re.compile(rb"(?:" + field + mark + rb")*+" + field + rb"(?:\n|\Z)")


def named_columns(head: bytes) -> Named | None:
    """Return the columns that the first line of a text names; None if it names none."""
    line, found, _ = head.partition(b"\n")
    if not found or len(line) > _LONGEST_HEADER:
        return None
    try:
        text = line.decode().strip("\ufeff\r")
    except UnicodeDecodeError:
        return None
    best: tuple[str, ...] = ()
    by = ""
    for separator in ",;\t|":
        cells = Delimited(separator, '"').split(text)
        if not isinstance(cells, Malformed) and len(cells) > max(len(best), _LEAST - 1):
            best, by = tuple(cell.strip() for cell in cells), separator
    if not best or len(set(best)) != len(best) or not all(map(_NAME.fullmatch, best)):
        return None
    return Named(by, best)


@dataclass(frozen=True, slots=True)
class Frame:
    """Some whole rows; `long` are the places (start, end) of those that span several lines, in order."""

    data: bytes
    long: tuple[tuple[int, int], ...] = ()

    def rows(self, touched: Iterable[int] | None = None) -> Iterator[tuple[int, int]]:
        """Yield where the rows begin and end: all, or those that hold the octets before these offsets, ascending."""
        data, long = self.data, self.long
        begins = [begin for begin, _ in long]
        done = 0
        for end in self._ends() if touched is None else touched:
            if end <= done:
                continue
            near = bisect_right(begins, end - 1) - 1
            if near >= 0 and end <= long[near][1]:
                begin, done = long[near]
            else:
                begin = data.rfind(b"\n", done, end - 1) + 1 or done
                done = data.find(b"\n", end - 1) + 1 or len(data)
            yield begin, done

    def _ends(self) -> Iterator[int]:
        at = 0
        while at < len(self.data):
            at = self.data.find(b"\n", at) + 1 or len(self.data)
            yield at


def frames(blocks: Iterable[Block], named: Named) -> Iterator[Frame | Block]:
    """Yield the rows of all blocks; a block that is a piece of a line too long to be a row comes as it is."""
    held = b""
    for block in blocks:
        if block.overlong:
            if held:
                yield Frame(held)
                held = b""
            yield block
            continue
        with memoryview(block.buffer) as view:
            data = held + view[block.repeated : block.length]
        end, long = _rows(data, named, whole=block.last or len(held) > LONGEST)
        if end:
            yield Frame(data[:end], tuple(long))
        held = data[end:]
    if held:
        yield Frame(held)


def _rows(data: bytes, named: Named, *, whole: bool) -> tuple[int, list[tuple[int, int]]]:
    """Return where the last whole row ends, and the rows that span lines; with `whole`, nothing is left over.

    A quote that opens a field and is closed nowhere after it leaves only pairs of quotes behind it, which open none: so
    the data is searched to its end for one of them only.
    """
    long: list[tuple[int, int]] = []
    at, size = 0, len(data)
    while data.find(b'"', at) >= 0:
        stop = named.alone.match(data, at).end()  # type: ignore[union-attr]  # matches the empty text too
        if stop == size:
            break
        begin = data.rfind(b"\n", at, stop) + 1 or at
        row = named.row.match(data, begin)
        if row is None:
            if not whole:
                return begin, long
            at = data.find(b"\n", begin) + 1 or size
            continue
        if data.find(b"\n", begin, row.end() - 1) >= 0:
            long.append((begin, row.end()))
        at = row.end()
    return size, long
