"""The progress bar of a scan: bytes, rate and time left on one line of stderr, which disappears at the end.

`progress_bar` returns what the scan calls with the bytes it has done. Nothing is drawn and no thread runs
before the first call, so that worker processes are forked from a process with one thread. The total is added
up in a thread: a folder on a network share takes its time. The bar goes when the total is reached, at
`close`, and at exit. Whatever else writes to the terminal meanwhile finds an empty line (its `write` is
wrapped while the bar is up), and the bar comes back below. Safe to call from any thread. Never raises: a
terminal that goes away ends it.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_EVERY = 0.2  # seconds between two drawings
_LEAST, _WIDEST = 20, 100
_ERASE = "\r\x1b[2K"  # ECMA-48: carriage return, erase in line


def progress_bar(paths: Sequence[str], handle: TextIO, beside: Sequence[TextIO] = ()) -> Bar:
    """Return a callback that takes the source bytes done since its last call; `handle` is a terminal.

    `beside` are the other streams that may write to the same terminal.
    """
    return Bar(paths, handle, beside)


class Bar:
    """One progress bar; see the module for what it guarantees."""

    def __init__(self, paths: Sequence[str], handle: TextIO, beside: Sequence[TextIO] = ()) -> None:
        """Draw nothing yet."""
        self._paths, self._handle, self._beside = tuple(paths), handle, tuple(beside)
        self._write = handle.write
        self._lock = threading.RLock()
        self._total: int | None = None
        self._done = 0
        self._drawing: _Drawing | None = None
        self._over = os.environ.get("TERM") == "dumb"  # it cannot go back to the start of a line
        self._wrapped: list[TextIO] = []
        self._shown = False  # the bar stands on the screen
        self._within = False  # somebody's line has begun and not ended

    def __call__(self, count: int) -> None:
        """Count bytes; the first call puts the bar up, the one that reaches the total takes it down."""
        with self._lock:
            self._done += count
            if self._over:
                return
            if self._total is not None and self._done >= self._total:
                self._down()
            elif self._drawing is None:
                self._up()

    def close(self) -> None:
        """Take the bar down for good."""
        with self._lock:
            self._down()
            self._over = True

    def _up(self) -> None:
        self._drawing = _Drawing(self._handle)
        atexit.register(self.close)
        for stream in {id(one): one for one in (self._handle, *self._beside)}.values():
            with contextlib.suppress(AttributeError, ValueError):  # no attributes to set; closed
                if stream.isatty():
                    stream.write = self._make_way(stream.write)  # type: ignore[method-assign]
                    self._wrapped.append(stream)
        threading.Thread(target=self._run, args=(self._drawing,), name="progress", daemon=True).start()
        if self._total is None:
            threading.Thread(target=self._add_up, name="progress total", daemon=True).start()

    def _down(self) -> None:
        if self._drawing is None:
            return
        self._drawing.over.set()
        self._drawing = None
        self._done = 0  # a second pass over the same sources begins anew
        for stream in self._wrapped:
            with contextlib.suppress(AttributeError):
                del stream.write
        self._wrapped.clear()
        atexit.unregister(self.close)
        self._erase()

    def _make_way(self, write: Callable[[str], int]) -> Callable[[str], int]:
        def wrapped(text: str) -> int:
            with self._lock:
                self._erase()
                self._within = not text.endswith("\n") if text else self._within
                return write(text)

        return wrapped

    def _run(self, drawing: _Drawing) -> None:
        while not drawing.over.wait(_EVERY):
            with self._lock:
                if self._drawing is drawing and not self._within:
                    self._put(_ERASE + drawing.line(self._done, self._total) + "\r")
                    self._shown = True

    def _add_up(self) -> None:
        total = sum(_sizes(self._paths))
        with self._lock:
            self._total = total
            if self._done >= total:
                self._down()

    def _erase(self) -> None:
        if self._shown:
            self._put(_ERASE)
            self._shown = False

    def _put(self, text: str) -> None:
        try:
            self._write(text)
            self._handle.flush()
        except (OSError, ValueError):  # the terminal went away, or the handle was closed
            self._over = True


class _Drawing:
    """Makes the text of a bar with rich, without letting rich near the terminal."""

    def __init__(self, handle: TextIO) -> None:
        """Begin at nothing, with no total; `handle` is asked for its width only."""
        self.over = threading.Event()
        self._out = io.StringIO()
        self._console = Console(
            file=self._out, width=_columns(handle), force_terminal=True, legacy_windows=False
        )
        self._bar = Progress(
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            auto_refresh=False,
            expand=True,
        )
        self._task: TaskID = self._bar.add_task("", total=None)

    def line(self, done: int, total: int | None) -> str:
        """Return the bar as one line."""
        self._bar.update(self._task, completed=done, total=None if total is None else max(total, done))
        self._out.seek(0)
        self._out.truncate()
        self._console.print(self._bar.get_renderable())
        return self._out.getvalue().splitlines()[0]


def _columns(handle: TextIO) -> int:
    try:
        columns = os.get_terminal_size(handle.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    if columns < _LEAST:
        columns = 80  # unknown: serial consoles say 0
    return min(_WIDEST, columns - 1)  # a full line would wrap, and the wrapped part would stay


def _sizes(paths: Sequence[str]) -> Iterator[int]:
    """Yield the sizes of the plain files in and under paths; links are followed, no folder into itself."""
    stack: list[tuple[str, frozenset[tuple[int, int]]]] = [
        (path, frozenset()) for path in paths if path != "-"
    ]
    while stack:
        path, above = stack.pop()
        with contextlib.suppress(OSError, ValueError):  # gone, not to be read, or no possible name
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode):
                yield status.st_size
            elif stat.S_ISDIR(status.st_mode) and (identity := (status.st_dev, status.st_ino)) not in above:
                stack += [(os.path.join(path, name), above | {identity}) for name in os.listdir(path)]
