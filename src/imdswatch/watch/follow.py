"""`Follow`: the logs under one path, as they grow, rotate and come and go.

A path is a file, with what rotation makes of it beside it, or a folder with all that lies in it, however deep. Every
second (less often where looking takes long) it is looked at anew. What a file holds decides how it is read: plain text
line by line as it grows, everything else once it has come to rest. What was there before a path was followed
for the first time is not judged, unless `from_start`: `scan` is for the past.

Rotation loses nothing and repeats nothing: a renamed file is read to its end under the name it had; a copy, compressed
or not, is read from where its original was read to (`library`). Only what no copy holds is lost, and that is a
`Skipped`. What cannot be read is one `Skipped` for each reason, not one for each look.

Longer than most: what a file may turn out to be is decided here, in one place.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from imdswatch.finding import Skipped
from imdswatch.read.content import HEAD as ENOUGH
from imdswatch.read.content import recognise
from imdswatch.read.records import looks_multiline_json
from imdswatch.read.sources import GONE, Source, display, walk, why
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.text import Outcome
from imdswatch.watch.feed import Counts
from imdswatch.watch.judgement import Judgement, Take
from imdswatch.watch.library import HEAD, Identity, Library, related, stem
from imdswatch.watch.packed import Packed
from imdswatch.watch.pieces import Tally
from imdswatch.watch.tails import ROOM, Came, Tail, edges_of, last_line_end

EVERY = 1.0
"""Seconds between two looks for new files."""
GRACE = 5.0
"""Seconds after which a rotated file that no longer grows has ended: its last line counts without a line feed."""
PATIENCE = 600.0
"""Seconds after which the last line of any file that no longer grows counts without a line feed."""
SETTLED = 2.0
"""Seconds for which a compressed file must not change before it is read; one that is cut short waits for the next."""
FINISHED = 60.0
"""The same for captures and archives: who writes one may be silent for long."""
MISSING = 30.0
"""Seconds in which the copy of a log that is gone may turn up."""
_ROUND = 32 << 20  # octets that are judged before other feeds have their turn
_TURN = 0.25  # seconds after which they have it in any case
_DEAREST = 10  # of the time that listing all files takes, so much passes until the next look
_OPEN = 256  # files that are held open; one that is closed is opened again when it has changed
_TOLD = 10_000
_LATER = ("gzip", "zstd", "bzip2", "xz")
_OPENING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was met: `beside` a followed one, or followed itself."""

    path: str
    identity: Identity
    size: int
    mtime_ns: int
    beside: bool

    @property
    def seen(self) -> tuple[int, int]:
        """What changes when it is written to."""
        return self.size, self.mtime_ns

    @property
    def mtime(self) -> float:
        """When it was last written to, epoch seconds."""
        return self.mtime_ns / 1e9


class Follow:
    """One path that is followed; see the module and `feed.Feed` for what it guarantees."""

    def __init__(
        self,
        path: str,
        library: Library,
        judgement: Judgement,
        *,
        from_start: bool = False,
        ours: Callable[[str], bool] = lambda path: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open nothing yet. `ours` names files that we write ourselves; `clock` gives monotonic seconds."""
        self.name = display(path)
        self._path, self._library, self._judgement, self._ours, self._clock = (
            path,
            library,
            judgement,
            ours,
            clock,
        )
        since = library.followed_since(path)
        self._past = since is None and not from_start
        self._since = time.time() if since is None else since
        library.follow(path, self._since)
        self._tails: dict[Identity, Tail] = {}
        self._queue: deque[Identity] = deque()
        self._packed: dict[Identity, Packed] = {}
        self._resting: dict[Identity, tuple[int, int]] = {}  # nothing to do until they change
        self._settling: dict[
            Identity, tuple[tuple[int, int], float, float]
        ] = {}  # seen, since, how long to wait
        self._missing: dict[int, float] = {}
        self._told: set[tuple[str, str]] = set()
        self._away = float("-inf") if since is None else clock()  # since when there is nothing at the path
        self._next = float("-inf")
        self._tally = Tally()
        judgement.watchers.append(self._look_back)
        self._records = self._bytes = 0

    def fileno(self) -> int | None:
        """Return None: files are asked at every tick."""
        return None

    def tick(self, now: float) -> None:
        """Do nothing: time passes when it is read."""

    def due(self) -> float | None:
        """Return None: a log says when it has grown, or is asked some time."""
        return None

    def finish(self, outcome: Outcome) -> None:
        """Leave what is there to the next start, which goes on where this one ended."""

    def counts(self) -> Counts:
        """Return what was read, and how much is there unread, partial lines included."""
        lag = sum(max(0, tail.size - tail.content.offset) for tail in self._tails.values())
        lag += sum(packed.seen[0] for packed in self._packed.values())
        lag += sum(seen[0] for seen, _, _ in self._settling.values())
        return Counts(
            records=self._records,
            bytes=self._bytes,
            events=self._tally.events,
            last_time=self._tally.last_time,
            lag=lag,
        )

    def close(self) -> None:
        """Close all files."""
        if self._look_back in self._judgement.watchers:
            self._judgement.watchers.remove(self._look_back)
        for tail in self._tails.values():
            tail.close()
        for packed in self._packed.values():
            packed.close()
        self._tails, self._packed = {}, {}

    def read(self, outcome: Outcome) -> None:
        """Judge what has come, about `_ROUND` octets at most."""
        lines, octets, now = outcome.lines, outcome.bytes, self._clock()
        for _ in range(len(self._queue)):
            identity = self._queue[0]
            self._queue.rotate(-1)
            self._read(self._tails[identity], outcome, now)
            if outcome.bytes - octets >= _ROUND or self._clock() - now >= _TURN:
                break
        for identity, packed in list(self._packed.items())[:1]:
            if not packed.read(outcome):
                packed.close()
                del self._packed[identity]
                if packed.again:
                    self._settling[identity] = packed.seen, now, FINISHED if packed.cut else SETTLED
                else:
                    self._resting[identity] = packed.seen
        # A copy can be known only by what was read of its original: so what is there is read first.
        if now >= self._next:
            self._look(outcome, now)
        self._records += outcome.lines - lines
        self._bytes += outcome.bytes - octets

    def _look_back(self, take: Take, incidents: Incidents) -> None:
        """Judge what was read lately by something new; a file that cannot be read now is told when it is read."""
        for tail in self._tails.values():
            with suppress(OSError):
                tail.look_back(take, incidents)

    def _read(self, tail: Tail, outcome: Outcome, now: float, room: int = ROOM) -> None:
        content = tail.content
        try:
            rotated = tail.rotated is not None
            quiet = now - max(tail.grown, tail.rotated or 0.0)
            final = quiet >= (GRACE if rotated else PATIENCE) and tail.grown >= 0
            came = tail.read(outcome, now, final=final, room=room)
            if came is Came.NOTHING and final and rotated:
                self._library.ended(content)
                self._drop(tail)
                self._resting[tail.identity] = tail.seen
        except OSError as error:
            self._tell(outcome, content.name, f"cannot be read: {why(error)}")
            self._drop(tail)
            self._resting[tail.identity] = tail.seen
            return
        if came is Came.OTHER:
            if tail.met or content.offset:
                self._library.orphaned(content)
            else:
                self._library.discard(content)  # truncated between its discovery and the first reading
            if tail.lost:
                self._missing[content.number] = now
            self._drop(tail)
            self._next = now  # `_meet` says what it is now

    def _drop(self, tail: Tail) -> None:
        tail.close()
        del self._tails[tail.identity]
        self._queue.remove(tail.identity)

    def _look(self, outcome: Outcome, now: float) -> None:
        """Look for files that are new, or other than they were."""
        began = self._clock()
        files = list(self._files(outcome, now))
        self._next = now + max(EVERY, _DEAREST * (self._clock() - began))
        places = {found.path: found.identity for found in files}
        met = set(places.values())
        done: set[Identity] = set()
        whole = True
        for found in files:
            if found.identity in done:
                continue  # another name of the same file
            done.add(found.identity)
            if len(self._tails) >= _OPEN and not self._shed():
                whole, self._next = False, now  # the next look goes on
                break
            try:
                self._meet(found, outcome, now)
            except FileNotFoundError:
                pass  # renamed or removed since it was listed: `_miss` knows what was in it
            except OSError as error:
                self._tell(outcome, display(found.path), why(error))
        for held in (self._resting, self._settling):
            for identity in held.keys() - met:
                del held[identity]
        growing: set[int] = set()
        for tail in self._tails.values():
            path = tail.content.path
            moved = places.get(path) != tail.identity or _origin(path) in places.keys() - {path}
            tail.rotated = None if not moved else now if tail.rotated is None else tail.rotated
            if not moved:
                growing.add(tail.content.number)
        for tail in self._tails.values():
            if tail.content.number in growing:
                tail.rotated = None  # a copy of what still grows ends anywhere
        self._miss(outcome, now, met)
        self._past = self._past and not whole

    def _shed(self) -> bool:
        """Close files that were read to their end, those that grew longest ago first; return whether there were any."""
        read = [tail for tail in self._tails.values() if tail.size == tail.content.offset]
        read.sort(key=lambda tail: tail.grown)
        for tail in read[: _OPEN // 2]:
            self._drop(tail)
            self._resting[tail.identity] = tail.seen
        return bool(read)

    def _files(self, outcome: Outcome, now: float) -> Iterator[Found]:
        """Yield the files under the path, or the file and what rotation may have made of it."""
        folder = os.path.isdir(self._path)
        there = True
        for one in walk([self._path]):
            if isinstance(one, Skipped) and one.reason == GONE:
                there = there and one.source != self.name
            elif isinstance(one, Skipped):
                self._tell(outcome, one.source, one.reason)
            elif isinstance(one, Source) and one.mtime is None:
                self._tell(outcome, one.name, "is a pipe, which cannot be followed; `scan -` reads it")
            elif isinstance(one, Source) and one.path is not None:
                yield from self._found(one.path, beside=False)
        if there:
            self._away = now
        elif now - self._away >= MISSING:
            self._tell(outcome, self.name, GONE)
        if folder:
            return
        where, base = os.path.split(self._path)
        with suppress(OSError), os.scandir(where or ".") as entries:
            names = sorted(
                entry.name for entry in entries if entry.name != base and related(entry.name, base)
            )
            for name in names:
                yield from self._found(os.path.join(where, name), beside=True)

    def _found(self, path: str, *, beside: bool) -> Iterator[Found]:
        with suppress(OSError):
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode) and not self._ours(path):
                yield Found(path, (status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns, beside)

    def _meet(self, found: Found, outcome: Outcome, now: float) -> None:
        """Decide what a file is, and whether there is something to read in it."""
        identity = found.identity
        if identity in self._tails or identity in self._packed or self._resting.get(identity) == found.seen:
            return
        if not found.size:
            held = self._library.in_file(identity)
            if held is not None:
                self._library.orphaned(held)
            return
        before = self._library.was_read(identity)
        if before is not None and before[1] == found.seen:
            self._resting[identity] = found.seen
            return
        fd = os.open(found.path, _OPENING)
        try:
            status, head = os.fstat(fd), os.pread(fd, ENOUGH, 0)
            if (status.st_dev, status.st_ino) != identity or not head:
                return  # rotated since it was listed
            content = recognise(head)
            if content.kind == "text" and not looks_multiline_json(head):
                fd = self._plain(fd, head, found)
                if fd < 0:
                    self._read(self._tails[identity], outcome, now, HEAD)  # so that a copy of it is known
            elif content.kind in ("unread", "binary"):
                self._resting[identity] = found.seen
                if content.kind == "unread" or found.path == self._path:
                    self._tell(outcome, display(found.path), f"is {content.what}")
            else:
                fd = self._later(fd, found, outcome, now, unpacked=content.kind in _LATER)
        finally:
            if fd >= 0:
                os.close(fd)

    def _plain(self, fd: int, head: bytes, found: Found) -> int:
        """Follow a text file if there is something to read in it; return the descriptor if it is not needed."""
        library = self._library
        content = library.in_file(found.identity)
        if content is not None and edges_of(fd, content) is None:
            library.orphaned(content)
            content = None
        if content is None:
            known = library.beginning_with(head[:HEAD], found.path)
            size = os.fstat(
                fd
            ).st_size  # of a copy that is still being made this is less than was read of its original
            content = next((one for one in known if edges_of(fd, one) is not None), None)
            if content is not None:
                library.carried_by(content, found.identity)
            elif any(size < one.offset for one in known) or self._is_being_copied(head, found.path):
                self._resting[found.identity] = found.seen  # an older copy, or one that is still being made
                return fd
            elif os.fstat(fd).st_size != len(head) < HEAD:
                self._next = float("-inf")  # it grew meanwhile, and may be known by more of it
                return fd
        if content is None:
            if found.beside and (self._past or found.mtime < self._since):
                self._resting[found.identity] = found.seen
                return fd
            content = library.new(found.path, found.identity)
            library.begins(content, head)
            if self._past:
                content.muted = last_line_end(fd, found.size)
        if content.ended and found.size == content.offset:
            self._resting[found.identity] = found.seen
            return fd
        self._tails[found.identity] = Tail(fd, found.identity, content, library, self._judgement, self._tally)
        self._queue.append(found.identity)
        self._missing.pop(content.number, None)
        return -1

    def _is_being_copied(self, head: bytes, path: str) -> bool:
        """Say whether all that a file holds is the beginning of a log that is read, and too short to be known by it."""
        return len(head) < HEAD and any(
            related(tail.content.path, path) and os.pread(tail.fd, len(head), 0) == head
            for tail in self._tails.values()
        )

    def _later(self, fd: int, found: Found, outcome: Outcome, now: float, *, unpacked: bool) -> int:
        """Read a file as a whole, once it has come to rest; return the descriptor if it is not needed."""
        library, identity = self._library, found.identity
        if self._past:
            content = library.new(found.path, identity)
            library.packed_in(content, identity, *found.seen)
            library.ended(content)
            self._resting[identity] = found.seen
            return fd
        fresh = found.seen, now, SETTLED if unpacked else FINISHED
        seen, since, wait = self._settling.setdefault(identity, fresh)
        if seen != found.seen:
            self._settling[identity] = fresh
        if seen != found.seen or now - since < wait:
            return fd
        del self._settling[identity]
        before = library.was_read(identity)
        if before is not None and not unpacked:
            reason = "was written to after it had been read; what was added was not looked at"
            self._tell(outcome, display(found.path), reason)
            library.packed_in(before[0], identity, *found.seen)
            self._resting[identity] = found.seen
            return fd
        self._packed[identity] = Packed(
            fd,
            found.path,
            identity,
            found.seen,
            library,
            self._judgement,
            self._tally,
            named=found.path == self._path,
            known_only=found.beside and found.mtime < self._since,
            finished=wait == FINISHED,
        )
        return -1

    def _miss(self, outcome: Outcome, now: float, met: set[Identity]) -> None:
        """Tell which logs are gone with an end that nobody read."""
        # One that is packed, or is being packed, may be what is missed; one that never comes to rest is not waited for.
        coming = self._packed or any(wait == SETTLED for _, _, wait in self._settling.values())
        patience = PATIENCE if coming else MISSING
        carried = {tail.content.number for tail in self._tails.values()}
        for content in self._library.contents():
            number = content.number
            here = number in carried or (content.identity in met and not content.orphan)
            if content.ended or here or not self._is_under(content.path):
                self._missing.pop(number, None)
                continue
            if content.orphan and number not in self._missing:
                continue  # read to its end before it was truncated
            if now - self._missing.setdefault(number, now) >= patience:
                del self._missing[number]
                self._library.ended(content)
                reason = "was rotated away or removed before its end was read, and no copy of it turned up"
                outcome.skip(Skipped(content.name, f"line {content.lines}", reason))

    def _is_under(self, path: str) -> bool:
        return path == self._path or path.startswith(self._path.rstrip("/") + "/")

    def _tell(self, outcome: Outcome, source: str, reason: str) -> None:
        """Say once that something could not be looked at."""
        if (source, reason) not in self._told:
            if len(self._told) >= _TOLD:
                self._told.clear()
            self._told.add((source, reason))
            outcome.skip(Skipped(source, "", reason))


def _origin(path: str) -> str:
    """Return the path of the log that rotation made this file of; the path itself if its name says nothing."""
    where, name = os.path.split(path)
    return os.path.join(where, stem(name))
