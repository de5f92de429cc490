"""`Reader`, the one shape of everything that bytes are read from, and the plain ones: file, slice, limit,
look-ahead.

Guarantees for every `Reader`, packed ones included: constant memory; `read(n)` returns 1 to n bytes, or b""
at the clean end; where data is damaged it first delivers what can be had before and then raises `Damage`,
again and again. No other exception leaves for bad data.
"""

from __future__ import annotations

import os
import select
from abc import ABC, abstractmethod
from dataclasses import dataclass

from imdswatch.read.interrupt import Interrupt
from imdswatch.read.sources import why

CHUNK = 64 << 10
"""How many packed bytes are read at a time: small beside the level 2 cache, large beside a call's cost."""

_BOMB_SIZE = 1 << 30
_BOMB_RATIO = 1000
_BOMBS = 4


class Damage(Exception):
    """The data ends or breaks here; `reason` says how, `reported` that a `Skipped` tells it already."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reported = False


@dataclass(slots=True)
class Budget:
    """How much one source was read and unpacked to, over all its layers: what catches a decompression bomb.

    A gibibyte unpacked from less than a thousandth of that is a bomb. After a few of them in one archive the
    whole source is given up, or a 10 MB archive of 65 000 overlapping members would keep us for hours.
    """

    read: int = 0
    unpacked: int = 0
    _read_mark: int = 0
    _unpacked_mark: int = 0
    _bombs: int = 0

    def charge(self, count: int) -> None:
        """Count unpacked bytes; raise `Damage` when the last gibibyte came out of next to nothing."""
        self.unpacked += count
        if self._bombs >= _BOMBS:
            raise Damage("not read: the archive has shown itself to be a decompression bomb")
        if self.unpacked - self._unpacked_mark > _BOMB_SIZE:
            bomb = self.unpacked - self._unpacked_mark > _BOMB_RATIO * max(1, self.read - self._read_mark)
            self._unpacked_mark, self._read_mark = self.unpacked, self.read
            if bomb:
                self._bombs += 1
                raise Damage(
                    "decompression bomb: 1 GiB out of less than a thousandth of that; the rest is not read"
                )


class Reader(ABC):
    """A source of bytes that remembers its damage and counts what it delivered (`offset`)."""

    def __init__(self) -> None:
        self.offset = 0
        self._damage: Damage | None = None

    @abstractmethod
    def _more(self, n: int) -> bytes:
        """Return 1 to n more bytes, b"" at the clean end, or raise `Damage`."""

    def read(self, n: int) -> bytes:
        """Return 1 to n bytes, or b"" at the clean end; raise `Damage` once all before it was returned."""
        if self._damage is not None:
            raise self._damage
        try:
            data = self._more(n)
        except Damage as damage:
            self._damage = damage
            raise
        self.offset += len(data)
        return data

    def readinto(self, view: memoryview) -> int:
        """Fill the start of `view` as `read` would; return how many bytes."""
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def exactly(self, n: int) -> bytes:
        """Return n bytes, fewer only at the clean end; only for small n."""
        data = self.read(n) if n else b""
        while data and len(data) < n:
            more = self.read(n - len(data))
            if not more:
                break
            data += more
        return data

    def drain(self) -> None:
        """Read to the end and forget."""
        while self.read(CHUNK):
            pass


class File(Reader):
    """A descriptor, up to `limit` bytes (the size it had when opened) or, where that is None, to its end.

    With an `interrupt`, that is its end, too.
    """

    def __init__(
        self, fd: int, limit: int | None, budget: Budget, interrupt: Interrupt | None = None
    ) -> None:
        super().__init__()
        self.fd, self._limit, self._budget, self._interrupt = fd, limit, budget, interrupt

    def _left(self, n: int) -> int:
        return n if self._limit is None else min(n, self._limit - self.offset)

    def _ended(self) -> bool:
        return self._interrupt is not None and not self._interrupt.wait(self.fd)

    def _wait(self) -> None:
        select.select(
            [self.fd], [], []
        )  # someone made our standard input non-blocking: wait as if it were not

    def _check(self, count: int, wanted: int) -> None:
        self._budget.read += count
        if not count and wanted and self._limit is not None:
            raise Damage(f"became shorter while it was read: {self._limit - self.offset} bytes are missing")

    def _more(self, n: int) -> bytes:
        wanted = self._left(n)
        while not self._ended():
            try:
                data = os.read(self.fd, wanted)
            except BlockingIOError:
                self._wait()
                continue
            except OSError as error:
                raise Damage(f"cannot be read: {why(error)}") from error
            self._check(len(data), wanted)
            return data
        return b""

    def readinto(self, view: memoryview) -> int:
        """Fill the start of `view` straight from the operating system: the one copy a plain file costs."""
        if self._damage is not None:
            raise self._damage
        wanted = self._left(len(view))
        while not self._ended():
            try:
                count = os.readv(self.fd, [view[:wanted]]) if wanted else 0
                self._check(count, wanted)
            except BlockingIOError:
                self._wait()
                continue
            except OSError as error:
                self._damage = Damage(f"cannot be read: {why(error)}")
                raise self._damage from error
            except Damage as damage:
                self._damage = damage
                raise
            self.offset += count
            return count
        return 0


class Slice(Reader):
    """The bytes [start, start + length) of a seekable descriptor; leaves its file position alone."""

    def __init__(self, fd: int, start: int, length: int, budget: Budget) -> None:
        super().__init__()
        self._fd, self._start, self._length, self._budget = fd, start, length, budget

    def _more(self, n: int) -> bytes:
        wanted = min(n, self._length - self.offset)
        if wanted <= 0:
            return b""
        try:
            data = os.pread(self._fd, wanted, self._start + self.offset)
        except OSError as error:
            raise Damage(f"cannot be read: {why(error)}") from error
        if not data:
            raise Damage(f"is cut short: {self._length - self.offset} packed bytes are missing")
        self._budget.read += len(data)
        return data


class Limited(Reader):
    """The next `length` bytes of another reader; an earlier end is damage."""

    def __init__(self, below: Reader, length: int, what: str) -> None:
        super().__init__()
        self._below, self._length, self._what = below, length, what

    def _more(self, n: int) -> bytes:
        wanted = min(n, self._length - self.offset)
        if wanted <= 0:
            return b""
        data = self._below.read(wanted)
        if not data:
            raise Damage(f"{self._what} is cut short: {self._length - self.offset} bytes are missing")
        return data


class Peeked(Reader):
    """Another reader whose first bytes can be looked at, and given back."""

    def __init__(self, below: Reader) -> None:
        super().__init__()
        self._below = below
        self._held, self._at = b"", 0  # held[at:] comes before what is below; cutting would copy

    def peek(self, n: int) -> bytes:
        """Return the next n bytes without taking them; fewer only before the end or before damage."""
        if len(self._held) - self._at < n:
            parts, size = [self._held[self._at :]], len(self._held) - self._at
            try:
                while size < n and (data := self._below.read(n - size)):
                    parts.append(data)
                    size += len(data)
            except Damage:
                pass  # the reader below remembers it and says so again when we come there
            self._held, self._at = b"".join(parts), 0
        return self._held[self._at : self._at + n]

    def back(self, data: bytes) -> None:
        """Give bytes back, to be read again first."""
        self._held, self._at = data + self._held[self._at :], 0
        self.offset -= len(data)

    def _more(self, n: int) -> bytes:
        if self._at < len(self._held):
            data = self._held[self._at : self._at + n]
            self._at += len(data)
            return data
        self._held, self._at = b"", 0
        return self._below.read(n)

    def readinto(self, view: memoryview) -> int:
        """Fill the start of `view`; once what was held is gone, without a copy of our own."""
        if self._at < len(self._held):
            return super().readinto(view)
        self._held, self._at = b"", 0
        count = self._below.readinto(view)
        self.offset += count
        return count
