"""`walk` turns the paths a user typed into the sources to read, lazily and in a fixed order.

Guarantees: folders are read in byte order of the names, recursively, symbolic links followed; only a
directory that is its own ancestor is cut; a path given twice is delivered twice. Nothing is opened here, so
nothing blocks; whatever cannot be looked at is a `Skipped`, and no exception escapes for what lies in the
file system. Memory grows with the size of one folder listing per level, never with the size of the tree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from imdswatch.finding import Skipped

STDIN = "-"
_NULL_DEVICE = os.makedev(
    1, 3
)  # Linux, Documentation/admin-guide/devices.txt: 1:3 is /dev/null; it reads as empty

_DELTA = (
    "_delta_log"  # it repeats the least and greatest values of columns, which are no events (Delta protocol)
)


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to read: a file, a named pipe or standard input (`path` is None).

    `name` is safe UTF-8 for reports, `path` is what the operating system knows; `named` says that the user
    typed it rather than that it was met in a folder; `mtime` is epoch seconds, None where it means nothing.
    """

    name: str
    path: str | None
    named: bool
    mtime: float | None


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something met on the way that holds no logs as far as we know; counted, never a failure."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class PassedOver(Ignored):
    """A folder that was not looked into, because its name says that nothing in it is asked for."""


GONE = "does not exist (any more)"
"""Why a file cannot be read that is not there."""

Outside = Callable[[str], bool]
"""Says of a folder met on the way that nothing in it is asked for."""


def display(path: str | bytes) -> str:
    """Return a path as valid UTF-8; other bytes are shown as `\\xNN` (file names are bytes on Linux)."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def why(error: OSError) -> str:
    """Return the reason an `OSError` gives, in our words and without a path."""
    if isinstance(error, FileNotFoundError):
        return GONE
    return (error.strerror or type(error).__name__).lower()


def walk(paths: Sequence[str], outside: Outside | None = None) -> Iterator[Source | Skipped | Ignored]:
    """Yield what the given paths hold, in the order given; of folders below them only those not `outside`."""
    for path in paths:
        if path == STDIN:
            yield Source(STDIN, None, True, None)
        else:
            yield from _entry(path, outside)


def _entry(path: str, outside: Outside | None) -> Iterator[Source | Skipped | Ignored]:
    try:
        status = os.stat(path)
    except OSError as error:
        yield Skipped(display(path), "", why(error))
        return
    except ValueError:  # a NUL byte in the name
        yield Skipped(display(path), "", "is no possible file name")
        return
    if stat.S_ISDIR(status.st_mode):
        yield from _folder(path, (status.st_dev, status.st_ino), outside)
    else:
        yield _leaf(path, status, named=True)


def _leaf(path: str, status: os.stat_result, *, named: bool) -> Source | Skipped:
    mode = status.st_mode
    if stat.S_ISREG(mode) or (named and stat.S_ISCHR(mode) and status.st_rdev == _NULL_DEVICE):
        return Source(display(path), path, named, status.st_mtime)
    if stat.S_ISFIFO(mode):
        if named:
            return Source(display(path), path, True, None)
        return Skipped(display(path), "", "is a named pipe; name it on the command line to read it")
    kind = "socket" if stat.S_ISSOCK(mode) else "device"
    return Skipped(display(path), "", f"is a {kind}, not a file")


def _folder(
    top: str, identity: tuple[int, int], outside: Outside | None
) -> Iterator[Source | Skipped | Ignored]:
    """Walk one folder with a stack of our own: a tree may be deeper than Python's recursion limit."""
    ancestors = {identity}
    stack = [(identity, _listing(top))]
    while stack:
        identity, entries = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
            ancestors.discard(identity)
            continue
        if isinstance(entry, Skipped):
            yield entry
            continue
        try:
            status = os.stat(entry)
        except OSError as error:
            yield Skipped(display(entry), "", _why_entry(entry, error))
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield _leaf(entry, status, named=False)
            continue
        if os.path.basename(entry) == _DELTA:
            yield Skipped(
                display(entry), "", "is the log of a Delta table: files that it dropped are read, too"
            )
            continue
        if outside is not None and outside(entry):
            yield PassedOver(display(entry), "its name is of another time")
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in ancestors:
            yield Skipped(display(entry), "", "is a directory loop: it leads back to a folder it lies in")
            continue
        ancestors.add(identity)
        stack.append((identity, _listing(entry)))


def _why_entry(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and os.path.islink(path):
        return "is a symbolic link to nothing"
    return why(error)


def _listing(folder: str) -> Iterator[str | Skipped]:
    try:
        with os.scandir(folder) as found:
            names = sorted((entry.name for entry in found), key=os.fsencode)
    except OSError as error:
        yield Skipped(display(folder), "", why(error))
        return
    for name in names:
        yield os.path.join(folder, name)
