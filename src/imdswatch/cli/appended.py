"""A file that an endless command appends to: log rotation may rename it, copy and truncate it, or remove it.

Before each write it is looked whether the path still leads to the open file; if not, a new one is begun there. What a
full disk cuts off is taken back, so no line is ever torn, and `Unwritten` says that the result is to be told again.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from imdswatch.cli.output import unwritable
from imdswatch.watch.ledger import Unwritten

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY


class Appended:
    """A text handle on such a file, UTF-8; each write goes out at once."""

    encoding = "utf-8"

    def __init__(self, path: Path) -> None:
        """Open or begin it; raises UsageError."""
        self._path = path
        try:
            self._fd = os.open(path, _FLAGS, 0o640)
        except OSError as error:
            raise unwritable(error, str(path)) from error

    def isatty(self) -> bool:
        """Say no: a terminal is not rotated."""
        return False

    def fileno(self) -> int:
        """Return the descriptor that is open now."""
        return self._fd

    def write(self, text: str) -> int:
        """Append a text; raises Unwritten, and then nothing of it stands in the file."""
        data = text.encode("utf-8", "backslashreplace")
        try:
            self._reopen_if_moved()
            status = os.fstat(self._fd)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
            except OSError:
                if stat.S_ISREG(status.st_mode):
                    os.ftruncate(self._fd, status.st_size)
                raise
        except OSError as error:
            raise Unwritten((error.strerror or str(error)).lower()) from error
        return len(text)

    def _reopen_if_moved(self) -> None:
        here = os.fstat(self._fd)
        try:
            there = os.stat(self._path)
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return
        except FileNotFoundError:
            pass
        fresh = os.open(self._path, _FLAGS, 0o640)
        os.close(self._fd)
        self._fd = fresh

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
