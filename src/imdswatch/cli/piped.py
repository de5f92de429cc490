"""Standard output of an endless command, where a program reads it: one that stops to read must not stop the watch.

What the reader does not take within `PATIENCE` is `Unwritten`, to be told again when it reads; a line that it took half
of is completed first. Nothing else is held back: what was written is in the hands of the system. Other programs share
the pipe, so it is not made non-blocking: it is asked before each piece (pipe(7): PIPE_BUF octets fit where it says so).
"""

from __future__ import annotations

import os
import select
import socket
import stat
import time
from collections.abc import Callable

from imdswatch.watch.ledger import Unwritten

PATIENCE = 0.5
"""Seconds for which a reader may be busy; once it was longer, it is not waited for until it reads again."""


def is_read_by_a_program(fd: int) -> bool:
    """Say whether a descriptor is a pipe or a socket, whose reader may stop to read."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class Piped:
    """A text handle on such a descriptor, UTF-8; each write goes out at once, or not."""

    encoding = "utf-8"

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._send: Callable[[memoryview], int] = self._to_pipe
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            self._socket = socket.socket(fileno=os.dup(fd))
            self._send = self._to_socket
        self._rest = memoryview(b"")
        self._stuck = False

    def isatty(self) -> bool:
        """Say no."""
        return False

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def write(self, text: str) -> int:
        """Write a text; raises Unwritten where it is to be told again."""
        end = time.monotonic() + (0.0 if self._stuck else PATIENCE)
        self._rest = self._push(self._rest, end)
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        left = data if self._rest else self._push(data, end)
        self._stuck = bool(left)
        if left:
            self._rest = self._rest or (left if len(left) < len(data) else self._rest)
            raise Unwritten("nobody reads standard output")
        return len(text)

    def _push(self, data: memoryview, end: float) -> memoryview:
        """Write as much as is taken until then; return the rest."""
        while data:
            if not self._poll.poll(max(0.0, end - time.monotonic()) * 1000):
                break
            try:
                data = data[self._send(data) :]
            except BlockingIOError:
                time.sleep(0.01)  # a socket that has room, but not enough
                if time.monotonic() >= end:
                    break
        return data

    def _to_pipe(self, data: memoryview) -> int:
        return os.write(self._fd, data[: select.PIPE_BUF])

    def _to_socket(self, data: memoryview) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def flush(self) -> None:
        """Do nothing: nothing is held back that could go."""
