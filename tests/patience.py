"""Waiting in tests: for what must come, with ends that only what never comes will reach.

A build machine may be ten times slower than the one a test was written on, and busy besides. So no test tells a slow
program from a broken one by the clock: it waits for what it wants to see, and `LONG` is an end for what never comes.
"""

from __future__ import annotations

import fcntl
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

LONG = 180.0
"""Seconds: longer than anything takes here on the slowest machine, short enough to be told before CI gives up."""


def until(holds: Callable[[], object], what: Callable[[], object] | str = "it never came") -> None:
    """Wait until something holds; `what` is said if it never does."""
    end = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < end, what if isinstance(what, str) else what()
        time.sleep(0.02)


def until_waiting_for(pid: int, pipe: int) -> None:
    """Wait until a program has read all that a pipe holds and sleeps, which it does only to wait for more."""
    until(lambda: unread(pipe) == 0 and _state(pid) == "S" and unread(pipe) == 0, "it never read its input")


def unread(pipe: int) -> int:
    """Return how many octets wait in a pipe."""
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return int(count)


def asleep(pid: int) -> bool:
    """Say whether a program waits for something: what it has just shown is behind it."""
    return _state(pid) != "R"


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
