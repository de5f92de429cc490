"""Files that are read as a whole, once they have come to rest: compressed logs, captures, archives.

A compressed log often holds what was read before it was compressed (`x.log.1` becomes `x.log.2.gz`), so it is unpacked
up to the place its content was read to, compared there, and read on from there. What has no place to go on from
(captures, tables, archives, UTF-16, JSON over several lines) is scanned as `scan` would. Nothing here raises for what a
file holds.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Generator
from contextlib import closing

from imdswatch.finding import Skipped
from imdswatch.read.blocks import blocks
from imdswatch.read.records import looks_multiline_json
from imdswatch.read.sources import Ignored, Source, display
from imdswatch.read.streams import Stream, Table, open_streams
from imdswatch.scan.text import Outcome
from imdswatch.scan.work import Task, Wanted, Worker
from imdswatch.watch.judgement import Judgement
from imdswatch.watch.library import TAIL, Content, Identity, Library
from imdswatch.watch.pieces import BEGINNING, Counted, Pieces, Tally
from imdswatch.watch.tails import ROOM

_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"


class Held(enum.Enum):
    """What a file holds of a content that begins alike."""

    NOTHING = enum.auto()
    """It is another content."""
    LESS = enum.auto()
    """Less than was read: it is an older copy, or cut short."""
    ALL = enum.auto()
    """All that was read, and perhaps more."""


class Packed:
    """One file that is read as a whole; `seen` is its size and modification time (ns). It owns the descriptor.

    With `known_only` it is read only if its content was read before, elsewhere.
    """

    def __init__(
        self,
        fd: int,
        path: str,
        identity: Identity,
        seen: tuple[int, int],
        library: Library,
        judgement: Judgement,
        tally: Tally,
        *,
        named: bool,
        known_only: bool = False,
        finished: bool = True,
    ) -> None:
        self.path, self.identity, self.seen = path, identity, seen
        self._library, self._judgement, self._tally = library, judgement, tally
        self._known_only, self._finished = known_only, finished
        self._fd = fd
        self.again = False
        """Whether the file is to be met once more: another copy of its content was read further meanwhile, or it is"""
        self.cut = False
        """cut short, and whoever writes it may go on."""
        # Rotation may put another file under the path at any time: the file is opened anew by what is open already.
        self._source = Source(display(path), f"/proc/self/fd/{fd}", named, seen[1] / 1e9)
        self._outcome = Outcome()
        self._work = self._run()

    def read(self, outcome: Outcome) -> bool:
        """Do some of the work; return whether there is more."""
        self._outcome = outcome
        return next(self._work, False)

    def close(self) -> None:
        """Leave the rest unread."""
        self._work.close()
        os.close(self._fd)

    def _run(self) -> Generator[bool, None, None]:
        """Do the work, and yield True between its parts."""
        head = self._beginning()
        if head is None:
            if not self._known_only:
                self._whole()
            return
        if self.cut:
            return  # too short to be known by how it begins
        candidates = [(0, one) for one in self._library.beginning_with(head, self.path)]
        # A byte order mark is dropped on the way; the plain file had it.
        candidates += [(3, one) for one in self._library.beginning_with(_BOM + head, self.path)]
        older: Content | None = None
        for shift, known in candidates:
            held = yield from self._from(known, head, shift)
            if held is Held.ALL:
                return
            if held is Held.LESS:
                older = older or known
        if older is not None:
            self._library.packed_in(older, self.identity, *self.seen)
        elif not self._known_only:
            yield from self._from(None, head, 0)

    def _beginning(self) -> bytes | None:
        """Return how the one text in the file begins; None if it is to be read in another way."""
        head = None
        with closing(self._streams()) as streams:
            for found in streams:
                if isinstance(found, Table):
                    return None
                if isinstance(found, Skipped) and head is not None and not self._finished:
                    self.again = self.cut = True
                if isinstance(found, Stream):
                    if found.capture or found.name != self._source.name or found.seekable_path is not None:
                        return None
                    head = _filled(found, BEGINNING)
                    if looks_multiline_json(head):
                        return None
                    if len(head) == BEGINNING:
                        break
        return head

    def _streams(self) -> Generator[Stream | Table | Skipped | Ignored, None, None]:
        return open_streams(self._source)

    def _from(self, known: Content | None, head: bytes, shift: int) -> Generator[bool, None, Held]:
        """Read on from where a known content was read to, or from the start; return what the file holds of it."""
        with closing(self._streams()) as streams:
            for found in streams:
                if isinstance(found, Stream):
                    tail = b""
                    if known is None:
                        known = self._library.new(self.path, self.identity)
                    else:
                        held, tail = yield from self._reached(found, known, shift)
                        if held is not Held.ALL:
                            return held
                    if not shift:
                        self._library.begins(known, head)
                    yield from self._judge(found, known, head, tail)
                elif isinstance(found, Skipped):
                    self._damaged(found)
                if self.again:
                    return Held.ALL
        if known is not None:
            self._library.packed_in(known, self.identity, *self.seen)
            self._library.ended(known)
        return Held.ALL

    def _damaged(self, found: Skipped) -> None:
        """Tell what could not be unpacked, once nobody will add to it."""
        if self._finished:
            self._outcome.skip(found)
        else:
            self.again = self.cut = True

    def _reached(
        self, stream: Stream, known: Content, shift: int
    ) -> Generator[bool, None, tuple[Held, bytes]]:
        """Unpack up to where the content was read to; return what the file holds of it, and what stands before."""
        tail, left, since, buffer = b"", known.offset - shift, 0, bytearray(_BLOCK)
        while left:
            with memoryview(buffer) as view:
                count = stream.readinto(view[: min(left, _BLOCK)])
            if not count:
                return Held.LESS, b""
            left -= count
            since += count
            tail = (tail + buffer[:count])[-TAIL:]
            if since >= ROOM:
                since = 0
                yield True
        fits = known.tail.fits(tail[max(0, len(tail) - known.tail.size) :])
        return (Held.ALL, tail) if fits else (Held.NOTHING, b"")

    def _judge(
        self, stream: Stream, content: Content, head: bytes, tail: bytes
    ) -> Generator[bool, None, None]:
        mtime = self.seen[1] / 1e9
        pieces = Pieces(content.name, self._judgement, self._tally, content.header, content.lines)
        since, at = 0, content.offset
        with closing(blocks(stream, _BLOCK)) as cut:
            for block in cut:
                if content.offset != at:
                    self.again = True
                    return
                if not block.length:
                    continue
                if pieces.wants_beginning(mtime):
                    pieces.begin(head, mtime)
                pieces.judge(block, self._outcome, first=content.lines == 0)
                content.header, content.lines = pieces.header, pieces.lines
                at += block.length - block.repeated
                tail = (tail + bytes(block.buffer[max(0, block.length - TAIL) : block.length]))[-TAIL:]
                self._library.read_to(content, offset=at, tail=tail, mtime=mtime)
                since += block.length
                if since >= ROOM:
                    since = 0
                    yield True

    def _whole(self) -> None:
        """Scan it as `scan` would, once for the first look and, if somebody was served, once for the second."""
        judgement, outcome = self._judgement, self._outcome
        first, again, twice = judgement.searches
        task, seen = Task((self._source,)), Outcome(outcome.incidents)
        looked = Wanted(judgement.conditions, judgement.later, lambda: (first, twice))
        Worker(judgement.options, looked, Counted(judgement.once, self._tally)).do(task, seen)
        if seen.second and judgement.victims:
            wanted = Wanted(
                judgement.conditions, judgement.later, lambda: (again, False), tuple(judgement.victims)
            )
            Worker(judgement.options, wanted, Counted(judgement.again, Tally())).do(
                task, Outcome(outcome.incidents)
            )
        for skipped in seen.skipped:
            outcome.skip(skipped)
        outcome.more_skipped += seen.more_skipped
        outcome.lines += seen.lines
        outcome.bytes += seen.bytes
        outcome.ignored += seen.ignored
        content = self._library.new(self.path, self.identity)
        self._library.packed_in(content, self.identity, *self.seen)
        self._library.ended(content)


def _filled(stream: Stream, size: int) -> bytes:
    """Return the next `size` octets of a stream; fewer where it ends."""
    buffer, filled = bytearray(size), 0
    with memoryview(buffer) as view:
        while filled < size and (count := stream.readinto(view[filled:])):
            filled += count
    return bytes(buffer[:filled])
