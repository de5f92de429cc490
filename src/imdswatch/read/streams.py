"""`open_streams` unpacks a source, by content, into what it holds: streams of text, captures, and tables.

Guarantees: lazy, constant memory (a few 64 kB chunks per layer, and what zstd or xz need for their window, at
most 128 MiB); members come in the order they are stored; a stream is valid until the next one is asked for.
Bytes are UTF-8 where the input was UTF-16 or UTF-32 or began with a byte order mark (which is dropped), else
as they are. Nothing raises for bad input: what was readable before the damage is delivered, then a `Skipped`
follows. `byte N` in it is the offset in the unpacked, transcoded data of the stream it names: so far was it
searched.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imdswatch.finding import Skipped
from imdswatch.read.content import COMPRESSED, HEAD, Content, recognise
from imdswatch.read.interrupt import Interrupt
from imdswatch.read.reader import CHUNK, Budget, Damage, File, Peeked, Reader
from imdswatch.read.sources import Ignored, Source, why

if TYPE_CHECKING:
    from imdswatch.read.archives import Member

DEPTH = 4
"""How many archives may lie in one another, and how many compressions around one another in each."""

_MAGIC = 24
"""Bytes by which a capture is known: the header of the shorter format."""


class Stream:
    """One text, or one packet capture (`capture`), whatever it was packed in.

    `seekable_path` is the file's path where it is a plain file that may be read in parts, of `size` bytes
    when it was opened; `origin` is the offset of the first byte delivered (3 after a UTF-8 byte order mark,
    else 0); `mtime` is epoch seconds, None where unknown. `skipped` holds what went wrong, complete once
    `readinto` has returned 0.
    """

    def __init__(
        self,
        name: str,
        reader: Reader,
        mtime: float | None,
        budget: Budget,
        *,
        seekable_path: str | None = None,
        size: int | None = None,
        origin: int = 0,
        capture: bool = False,
        interrupt: Interrupt | None = None,
    ) -> None:
        self.name, self.mtime, self.seekable_path, self.size, self.origin = (
            name,
            mtime,
            seekable_path,
            size,
            origin,
        )
        self.capture = capture
        self.skipped: list[Skipped] = []
        self._reader, self._budget = reader, budget
        self._offset, self._over = origin, False
        self._interrupt = interrupt

    @property
    def interrupted(self) -> bool:
        """Whether the user ended the input: what came so far is all there is, and no damage."""
        return self._interrupt is not None and self._interrupt.came

    @property
    def raw_bytes(self) -> int:
        """How many bytes of the source were read so far, packed as they are: what a progress bar counts."""
        return self._budget.read

    @property
    def bytes(self) -> int:
        """How many bytes were delivered so far, unpacked."""
        return self._offset - self.origin

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill `buffer` as far as the data goes; return the number of bytes, 0 at the end or at damage."""
        view, filled = memoryview(buffer), 0
        try:
            while filled < len(view) and not self._over:
                count = self._reader.readinto(view[filled:])
                filled += count
                self._over = not count
        except Damage as damage:
            self._over = damage.reported = True
            if not self.interrupted:
                self.skipped.append(Skipped(self.name, f"byte {self._offset + filled}", damage.reason))
        finally:
            view.release()
        self._offset += filled
        return filled


@dataclass(frozen=True, slots=True)
class Table:
    """One table in columns, which is read by its index at the end: it lies in a file, open as `fd`, of `size` bytes.

    `form` is what `content.recognise` called it. Valid until the next one is asked for.
    """

    name: str
    form: str
    fd: int
    size: int
    mtime: float | None

    @property
    def path(self) -> str:
        """A path of the open file, free of letters that mean something in a pattern of file names."""
        return f"/proc/self/fd/{self.fd}"


def open_streams(
    source: Source, *, until_interrupt: bool = False
) -> Generator[Stream | Table | Skipped | Ignored, None, None]:
    """Yield the streams and tables a source holds; each stream is followed by the `Skipped` of its damage.

    A table that lies in an archive, is compressed or comes through a pipe is written to a temporary file. With
    `until_interrupt` SIGINT is the end of standard input.
    """
    interrupt = Interrupt() if until_interrupt and source.path is None else None
    try:
        yield from _streams(source, interrupt)
    finally:
        if interrupt is not None:
            interrupt.close()


def _streams(source: Source, interrupt: Interrupt | None) -> Iterator[Stream | Table | Skipped | Ignored]:
    try:
        fd, owned = _open(source)
    except OSError as error:
        yield Skipped(source.name, "", why(error))
        return
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode) or (stat.S_ISFIFO(status.st_mode) and not source.named):
            yield Skipped(source.name, "", "is no file any more")
            return
        yield from _Unpacking(source, fd, status, interrupt).streams()
    except OSError as error:
        yield Skipped(source.name, "", why(error))
    finally:
        if owned:
            os.close(fd)


def _open(source: Source) -> tuple[int, bool]:
    if source.path is None:
        os.fstat(0)
        return 0, False
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY
    if not (source.named and source.mtime is None):
        # Between walk and here a file may have become a pipe: opening that must not wait for a writer. On a
        # regular file the flag means nothing (open(2)). A pipe that was named may wait.
        flags |= os.O_NONBLOCK
    return os.open(source.path, flags), True


class _Unpacking:
    """One source being unpacked: what all its layers share."""

    def __init__(self, source: Source, fd: int, status: os.stat_result, interrupt: Interrupt | None) -> None:
        self._source, self._fd, self._interrupt = source, fd, interrupt
        self._budget = Budget()
        self._size: int | None = None
        # The kernel says 0 of what it makes as it is read (proc(5)). Met on a walk that may have no end, so only named.
        if stat.S_ISREG(status.st_mode) and (status.st_size or not source.named):
            self._size = status.st_size
            # A file redirected to standard input may already have been read in part.
            start = os.lseek(fd, 0, os.SEEK_CUR)
            self._whole = start == 0
            self._reader = File(fd, max(0, status.st_size - start), self._budget, interrupt)
        else:
            self._whole = False
            self._reader = File(fd, None, self._budget, interrupt)

    def streams(self) -> Iterator[Stream | Table | Skipped | Ignored]:
        """Yield what the source holds."""
        source = self._source
        yield from self._layer(source.name, self._reader, source.mtime, archives=0, packings=0, plain=True)

    def _layer(
        self,
        name: str,
        below: Reader,
        mtime: float | None,
        *,
        archives: int,
        packings: int,
        plain: bool,
    ) -> Iterator[Stream | Table | Skipped | Ignored]:
        peeked = Peeked(below)
        content = recognise(peeked.peek(_MAGIC))
        if content.kind != "capture":  # else do not wait for more: a pipe may bring a packet an hour
            content = recognise(peeked.peek(HEAD))
        if content.kind in COMPRESSED:
            if packings >= DEPTH:
                yield Skipped(name, "", f"is compressed more than {DEPTH} times over; deeper is not read")
                return
            from imdswatch.read.unpack import UNPACKERS  # its libraries take 3 ms to load

            inner = UNPACKERS[content.kind](peeked, self._budget)
            yield from self._layer(name, inner, mtime, archives=archives, packings=packings + 1, plain=False)
        elif content.kind in ("tar", "zip"):
            if archives >= DEPTH:
                yield Skipped(name, "", f"lies in {DEPTH} archives already; deeper is not read")
                return
            yield from self._archive(name, content, peeked, archives, plain=plain)
        elif content.kind == "table":
            yield from self._table(name, peeked, mtime, content, plain=plain)
        elif content.kind == "unread":
            yield Skipped(name, "", f"is {content.what}")
        elif content.kind == "binary":
            named = self._source.named and archives == 0
            yield Skipped(name, "", f"is {content.what}") if named else Ignored(name, content.what)
        else:
            stream = self._stream(name, peeked, mtime, content, plain=plain)
            yield stream
            yield from stream.skipped

    def _stream(
        self, name: str, reader: Peeked, mtime: float | None, content: Content, *, plain: bool
    ) -> Stream:
        ended = self._interrupt
        if content.kind == "encoded":
            from imdswatch.read.unpack import Transcoded

            text = Transcoded(reader, content.encoding, content.bom)
            return Stream(name, text, mtime, self._budget, interrupt=ended)
        if content.kind == "capture":
            return Stream(name, reader, mtime, self._budget, capture=True, interrupt=ended)
        if content.bom:
            reader.exactly(content.bom)
        path = self._source.path if plain and self._whole else None
        return Stream(
            name,
            reader,
            mtime,
            self._budget,
            seekable_path=path,
            size=self._size if path else None,
            origin=content.bom if path else 0,
            interrupt=ended,
        )

    def _table(
        self, name: str, reader: Peeked, mtime: float | None, content: Content, *, plain: bool
    ) -> Iterator[Table | Skipped]:
        if plain and self._whole:
            yield Table(name, content.what, self._fd, self._size or 0, mtime)
            return
        import tempfile

        with tempfile.NamedTemporaryFile(prefix="imdswatch-") as copy:  # a name, for the engine looks it up
            try:
                while data := reader.read(CHUNK):
                    copy.write(data)
            except Damage as damage:
                damage.reported = True
                yield Skipped(name, f"byte {reader.offset}", damage.reason)
            copy.flush()
            yield Table(name, content.what, copy.fileno(), copy.tell(), mtime)

    def _archive(
        self, name: str, content: Content, below: Peeked, archives: int, *, plain: bool
    ) -> Iterator[Stream | Table | Skipped | Ignored]:
        from imdswatch.read.archives import tar_members, zip_members

        if content.kind == "tar":
            members = tar_members(below)
        else:
            seekable = self._fd if plain and self._whole else None
            members = zip_members(below, seekable, self._size or 0, self._budget)
        try:
            for member in members:
                yield from self._member(f"{name}!{member.name}", member, archives)
        except Damage as damage:
            if not damage.reported:
                damage.reported = True
                yield Skipped(name, f"byte {below.offset}", damage.reason)

    def _member(
        self, name: str, member: Member, archives: int
    ) -> Iterator[Stream | Table | Skipped | Ignored]:
        if member.trouble:
            yield Skipped(name, "", member.trouble)
            return
        yield from self._layer(
            name, member.reader, member.mtime, archives=archives + 1, packings=0, plain=False
        )
