"""A plain text file that is followed: read as it grows, line by line, wherever its beginning was read before.

A `Tail` shares its content with every other file that carries it, and looks before and after each reading whether the
file still holds what was read: what is judged, and what it is known by, are the same octets, though a file may be
truncated, and filled again, at any moment. Nothing is held but the descriptor and the place. Only whole lines are
judged; a last line without a line feed waits until `final`. Whatever the operating system refuses is an `OSError` for
the caller.
"""

from __future__ import annotations

import enum
import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import NamedTuple

from imdswatch.read.blocks import Block, blocks
from imdswatch.read.lines import State
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.text import Outcome
from imdswatch.watch.judgement import Judgement, Take
from imdswatch.watch.library import HEAD, TAIL, Content, Identity, Library
from imdswatch.watch.pieces import BEGINNING, Pieces, Tally

ROOM = 4 << 20
"""Octets that are read of one file before the others have their turn."""
LATE = 60.0
"""Seconds by which one log may be written later than another."""
_BACK = 64 << 20  # octets that are looked back at most
_LONGEST = 64 << 20  # a line that does not end: beyond this it is judged as it is
_STEP = 256 << 10
_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"


class Came(enum.Enum):
    """What came of reading."""

    NOTHING = enum.auto()
    """There was nothing to judge."""
    SOME = enum.auto()
    """Something was judged; there may be more."""
    OTHER = enum.auto()
    """The file holds something else now: it was truncated."""


class Tail:
    """A plain text file."""

    def __init__(
        self,
        fd: int,
        identity: Identity,
        content: Content,
        library: Library,
        judgement: Judgement,
        tally: Tally,
    ) -> None:
        self.fd, self.identity, self.content = fd, identity, content
        self._library, self._judgement, self._tally = library, judgement, tally
        self.grown = -1.0
        """When it was last seen to grow, monotonic."""
        self.rotated: float | None = None
        """Since when its path leads to another file, or to none, monotonic."""
        self.met = False
        """Whether the file was seen to hold the content."""
        self.lost = False
        """It held more than was read when it was last looked at, and holds something else now."""
        self._pieces = Pieces(content.name, self._judgement, self._tally, content.header, content.lines)
        self.seen = (-1, -1)
        self._places: deque[tuple[float, int, int, State]] = deque()  # when, offset, lines, header
        self._barren = 0  # before this there is no line feed after the offset
        self.size = 0

    def read(self, outcome: Outcome, now: float, *, final: bool = False, room: int = ROOM) -> Came:
        """Judge what whole lines there are, up to `room`; with `final` the rest of a line, too."""
        status, content = os.fstat(self.fd), self.content
        seen = status.st_size, status.st_mtime_ns
        self.lost = self.size > content.offset
        if seen != self.seen:
            self.seen, self.size, self.grown = seen, status.st_size, now
        elif content.offset >= self._barren == status.st_size and not final:
            return Came.NOTHING
        edges = edges_of(self.fd, content) if status.st_size >= content.offset else None
        if edges is None or len(edges.head) < min(HEAD, status.st_size):
            return Came.OTHER
        self.met = True
        self._library.begins(content, edges.head)
        if status.st_size == content.offset:
            self._barren = content.offset
            return Came.NOTHING
        self._skip_padding(status.st_size)
        end = self._end(status.st_size, final, room)
        if content.offset < content.muted:
            end = min(end, content.muted)
        if end <= content.offset:
            return Came.NOTHING
        if self._pieces.wants_beginning(status.st_mtime):
            self._pieces.begin(os.pread(self.fd, min(BEGINNING, end), 0).removeprefix(_BOM), status.st_mtime)
        self._places.append((now, content.offset, content.lines, content.header))
        while self._places[0][0] < now - LATE or self._places[0][1] < content.offset - _BACK:
            self._places.popleft()
        self._judge(end, edges, status.st_mtime, outcome)
        return Came.SOME

    def _skip_padding(self, size: int) -> None:
        """Pass over a byte order mark, and over the zeros that a writer leaves who does not know of the truncation."""
        content = self.content
        if content.offset:
            return
        with suppress(OSError):  # no holes on this file system, or nothing but a hole
            content.offset = os.lseek(self.fd, 0, os.SEEK_DATA)
        while data := os.pread(self.fd, min(_STEP, size - content.offset), content.offset):
            zeros = len(data) - len(data.lstrip(b"\x00"))
            content.offset += zeros
            if zeros < len(data):
                break
        if not content.offset and data.startswith(_BOM):
            content.offset = len(_BOM)

    def _end(self, size: int, final: bool, room: int) -> int:
        """Return up to where there are whole lines, at most `room` octets or one line further."""
        start = self.content.offset
        limit = min(size, start + room)
        at = limit
        self._barren = max(self._barren, start)
        while at > self._barren:
            begin = max(self._barren, at - _STEP)
            found = os.pread(self.fd, at - begin, begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            at = begin
        self._barren = max(self._barren, limit)
        while self._barren < size:
            data = os.pread(self.fd, min(_STEP, size - self._barren), self._barren)
            found = data.find(b"\n")
            if found >= 0:
                return self._barren + found + 1
            if not data:
                break
            self._barren += len(data)
        return size if final or size - start > _LONGEST else start

    def _judge(self, end: int, edges: Edges, mtime: float, outcome: Outcome) -> None:
        content, pieces = self.content, self._pieces
        lines = content.lines
        if content.offset and os.pread(self.fd, 1, content.offset - 1) not in (b"\n", b"\x00", _BOM[-1:]):
            lines -= 1  # the rest of a line that was judged before it had ended
        pieces.resume(content.header, lines)
        for block in self._blocks(content.offset, end):
            offset = content.offset + block.length - block.repeated
            edges = edges.grown(bytes(block.buffer[max(block.repeated, block.length - TAIL) : block.length]))
            if not edges.stand_in(self.fd, offset):
                return  # truncated under our hands: nobody knows whose octets these are
            pieces.judge(block, outcome, first=content.lines == 0, muted=content.offset < content.muted)
            content.header, content.lines = pieces.header, pieces.lines
            self._library.read_to(content, offset=offset, tail=edges.tail, mtime=mtime)

    def _blocks(self, start: int, end: int) -> Iterator[Block]:
        """Yield the octets [start, end) of the file, as far as they are there."""
        part = _Part(self.fd, start, end)
        with closing(blocks(part, _BLOCK)) as cut:
            for block in cut:
                if block.last and part.position < end:
                    return  # truncated under our hands: the rest is no whole line
                if block.length:
                    yield block

    def look_back(self, take: Take, incidents: Incidents) -> None:
        """Judge what was read in the last `LATE` seconds by something new, up to what is being judged just now."""
        if not self._places:
            return
        _, start, lines, header = self._places[0]
        content = self.content
        if content.muted <= start < content.offset:
            carried = (block for block in self._blocks(start, content.offset) if edges_of(self.fd, content))
            self._pieces.judge_again(carried, header, lines, take, incidents)

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


def last_line_end(fd: int, size: int) -> int:
    """Return the offset after the last line feed of a file."""
    at = size
    while at:
        begin = max(0, at - _STEP)
        found = os.pread(fd, at - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        at = begin
    return 0


class _Part:
    """The octets [origin, end) of a file, for `blocks`."""

    def __init__(self, fd: int, origin: int, end: int) -> None:
        self._fd, self.origin, self.position, self._end = fd, origin, origin, end

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill `buffer` from its start; return how many bytes, 0 at the end or where the file has become shorter."""
        count = os.preadv(self._fd, [buffer[: self._end - self.position]], self.position)
        self.position += count
        return count


class Edges(NamedTuple):
    """The octets that a content is known by: how it begins, and what stands before the place it was read to."""

    head: bytes
    tail: bytes

    def grown(self, data: bytes) -> Edges:
        """Return the edges after some more octets were read, of which these are the last."""
        return Edges(self.head, (self.tail + data)[-TAIL:])

    def stand_in(self, fd: int, offset: int) -> bool:
        """Say whether a file that was read up to this offset still holds them."""
        return (
            os.pread(fd, len(self.head), 0) == self.head
            and os.pread(fd, len(self.tail), offset - len(self.tail)) == self.tail
        )


def edges_of(fd: int, content: Content) -> Edges | None:
    """Return the edges of a content in a plain file that carries it; None if the file holds something else.

    The head is what the file has of it now, which may be more than was known.
    """
    head = os.pread(fd, HEAD, 0)
    tail = os.pread(fd, content.tail.size, content.offset - content.tail.size)
    known = content.head.fits(head[: content.head.size]) and content.tail.fits(tail)
    return Edges(head, tail) if known else None
