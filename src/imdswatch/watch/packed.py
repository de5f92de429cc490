"""Files that are read as a whole, once they have come to rest: compressed logs, captures, archives.

A compressed log often holds what was read before it was compressed (`x.log.1` becomes `x.log.2.gz`), so it is unpacked
up to the place its content was read to, compared there, and read on from there. What has no place to go on from
(captures, tables, archives, UTF-16, JSON over several lines) is scanned as `scan` would. Nothing here raises for what a
file holds.
"""

from __future__ import annotations

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
from imdswatch.watch.library import HEAD, TAIL, Content, Identity, Library
from imdswatch.watch.pieces import BEGINNING, Counted, Pieces, Tally
from imdswatch.watch.tails import ROOM

_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"


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
    ) -> None:
        self.path, self.identity, self.seen = path, identity, seen
        self._library, self._judgement, self._tally = library, judgement, tally
        self._known_only = known_only
        self._fd = fd
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
        candidates = [(0, one) for one in self._library.beginning_with(head, self.path)]
        # A byte order mark is dropped on the way; the plain file had it.
        candidates += [(3, one) for one in self._library.beginning_with(_BOM + head, self.path)]
        for shift, known in candidates:
            done = yield from self._from(known, head, shift)
            if done:
                return
        if not self._known_only:
            yield from self._from(None, head, 0)

    def _beginning(self) -> bytes | None:
        """Return how the one text in the file begins; None if it is to be read in another way."""
        with closing(self._streams()) as streams:
            for found in streams:
                if isinstance(found, Table):
                    return None
                if isinstance(found, Stream):
                    if found.capture or found.name != self._source.name or found.seekable_path is not None:
                        return None
                    buffer = bytearray(BEGINNING)
                    head = bytes(buffer[: found.readinto(buffer)])
                    return None if looks_multiline_json(head) else head
        return None

    def _streams(self) -> Generator[Stream | Table | Skipped | Ignored, None, None]:
        return open_streams(self._source)

    def _from(self, known: Content | None, head: bytes, shift: int) -> Generator[bool, None, bool]:
        """Read on from where a known content was read to, or from the start; return whether this was its file."""
        with closing(self._streams()) as streams:
            for found in streams:
                if isinstance(found, Stream):
                    tail = b""
                    if known is None:
                        known = self._library.new(self.path, self.identity)
                    else:
                        before = yield from self._reached(found, known, shift)
                        if before is None:
                            return False
                        tail = before
                    yield from self._judge(found, known, head, tail)
                elif isinstance(found, Skipped):
                    self._outcome.skip(found)
        if known is not None:
            self._library.packed_in(known, self.identity, *self.seen)
            self._library.ended(known)
        return True

    def _reached(self, stream: Stream, known: Content, shift: int) -> Generator[bool, None, bytes | None]:
        """Unpack up to where the content was read to; return what stands before, None if it is something else."""
        tail, left, since, buffer = b"", known.offset - shift, 0, bytearray(_BLOCK)
        while left:
            with memoryview(buffer) as view:
                count = stream.readinto(view[: min(left, _BLOCK)])
            if not count:
                return b""  # an older copy, or one cut short: what it holds was read
            left -= count
            since += count
            tail = (tail + buffer[:count])[-TAIL:]
            if since >= ROOM:
                since = 0
                yield True
        return tail if known.tail.fits(tail[max(0, len(tail) - known.tail.size) :]) else None

    def _judge(
        self, stream: Stream, content: Content, head: bytes, tail: bytes
    ) -> Generator[bool, None, None]:
        mtime = self.seen[1] / 1e9
        pieces = Pieces(content.name, self._judgement, self._tally, content.header, content.lines)
        since, at = 0, content.offset
        with closing(blocks(stream, _BLOCK)) as cut:
            for block in cut:
                if content.offset != at:
                    return  # another copy was read further meanwhile
                if not block.length:
                    continue
                if pieces.wants_beginning(mtime):
                    pieces.begin(head, mtime)
                pieces.judge(block, self._outcome, first=content.lines == 0)
                content.header, content.lines = pieces.header, pieces.lines
                content.offset = at = at + block.length - block.repeated
                tail = (tail + bytes(block.buffer[max(0, block.length - TAIL) : block.length]))[-TAIL:]
                self._library.read_to(content, offset=at, head=head[: min(HEAD, at)], tail=tail, mtime=mtime)
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
