"""A file that is appended to, one result a line, and rotated by size: `name`, `name.1` (newer) to `name.10` (oldest).

A batch is written at once and is on the disk (fsync) before it counts as delivered. After a crash the last line may be
torn: it is cut off before the next is written, as its result still waits in the spool. One process writes at a time: a
second one waits, its results in its spool. Only a plain file is written; it is made readable for its owner alone.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from imdswatch.delivery.message import Channel, Message, Undelivered
from imdswatch.delivery.target import Target
from imdswatch.errors import UsageError

_TAIL = 1 << 20
"""How far back the end of the last whole line is looked for; a result is far shorter."""


def open_channel(target: Target) -> Channel:
    """Return the channel to a file; it is opened with the first batch."""
    return _File(Path(target.path), target.size("rotate", 100_000_000), target.number("keep", 10, 1, 1000))


class _File:
    most = 500

    def __init__(self, path: Path, rotate: int, keep: int) -> None:
        if path.exists() and not path.is_file():
            raise UsageError("only a plain file can be delivered to", file=str(path))
        self._path, self._rotate, self._keep = path, rotate, keep
        self._handle: int | None = None

    def send(self, batch: Sequence[Message]) -> int:
        data = b"".join(one.body.encode("utf-8") + b"\n" for one in batch)
        try:
            handle = self._opened()
            before = os.fstat(handle).st_size
            if before and before + len(data) > self._rotate:
                self._turn()
                handle, before = self._opened(), 0
            self._append(handle, data, before)
        except OSError as error:
            self.close()
            raise Undelivered((error.strerror or str(error)).lower()) from None
        return len(batch)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _append(self, handle: int, data: bytes, before: int) -> None:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, before)  # a full disk: no torn line stays behind
            raise

    def _opened(self) -> int:
        """Return the open file at the path: log rotation by others may have moved ours away."""
        if self._handle is not None:
            here = os.fstat(self._handle)
            try:
                there = os.stat(self._path, follow_symlinks=False)
            except FileNotFoundError:
                there = None
            if there is not None and (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return self._handle
            self.close()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = self._handle = os.open(self._path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, "it is no plain file")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(0, "another process writes to it") from None
        _cut_torn_line(handle)
        return handle

    def _turn(self) -> None:
        """Rotate: the oldest is dropped, each other moves up by one; a crash in between loses none of the rest."""
        for number in range(self._keep - 1, 0, -1):
            source = self._numbered(number)
            if source.exists():
                os.replace(source, self._numbered(number + 1))
        os.replace(self._path, self._numbered(1))
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self.close()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _cut_torn_line(handle: int) -> None:
    size = os.fstat(handle).st_size
    start = max(0, size - _TAIL)
    tail = os.pread(handle, size - start, start)
    if tail and not tail.endswith(b"\n"):
        end = tail.rfind(b"\n")
        if end < 0 and start:
            raise OSError(0, "its last line is longer than any result: it is not ours")
        os.ftruncate(handle, start + end + 1)
