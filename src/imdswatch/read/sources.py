"""`walk` turns the paths a user typed into the sources to read, lazily and in a fixed order.

Guarantees: folders are read in byte order of the names, recursively, symbolic links followed; only a
directory that is its own ancestor is cut; a path given twice is delivered twice. Nothing is opened here, so
nothing blocks; whatever cannot be looked at is a `Skipped`, and no exception escapes for what lies in the
file system. Memory grows with the size of one folder listing per level, never with the size of the tree.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from imdswatch.finding import Skipped

STDIN = "-"
_NULL_DEVICE = os.makedev(
    1, 3
)  # Linux, Documentation/admin-guide/devices.txt: 1:3 is /dev/null; it reads as empty

LOG_OF_DELTA = "_delta_log"
"""A folder of this name makes the one around it a Delta table; what it repeats of columns are no events."""

_LISTS_OF_ICEBERG = "metadata"
_VERSION_OF_ICEBERG = re.compile(r"(?:v\d+|\d+-.+?)(?:\.gz)?\.metadata\.json(?:\.gz)?")
"""Iceberg table spec, File System Tables and Metastore Tables: how the metadata of a version is named."""


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


@dataclass(frozen=True, slots=True)
class Dropped(Ignored):
    """A file that was not read, because the table around it says that it is none of it."""


_NONE_OF_IT = "the log of the table around it does not list it"


GONE = "does not exist (any more)"
"""Why a file cannot be read that is not there."""

Outside = Callable[[str], bool]
"""Says of a folder met on the way that nothing in it is asked for."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Which files below a folder are its table, by their paths in it; `files` is None where all are to be read.

    `skipped` tells what of the table cannot be read as it should be.
    """

    files: frozenset[str] | None
    skipped: tuple[Skipped, ...] = ()

    def dropped(self, path: str) -> bool:
        """Say whether a file is none of the table any more, or not yet; what is no Parquet never was."""
        return (
            self.files is not None and path.endswith(".parquet") and os.path.normpath(path) not in self.files
        )


Manifests = Callable[[str], Manifest]
"""Says of a folder with a log which of its files are the table."""


def display(path: str | bytes) -> str:
    """Return a path as valid UTF-8; other bytes are shown as `\\xNN` (file names are bytes on Linux)."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def why(error: OSError) -> str:
    """Return the reason an `OSError` gives, in our words and without a path."""
    if isinstance(error, FileNotFoundError):
        return GONE
    return (error.strerror or type(error).__name__).lower()


def walk(
    paths: Sequence[str], outside: Outside | None = None, manifests: Manifests | None = None
) -> Iterator[Source | Skipped | Ignored]:
    """Yield what the given paths hold, in the order given; of folders below them only those not `outside`.

    Of a folder with the log of a table only the files that are the table, if there are `manifests`.
    """
    for path in paths:
        if path == STDIN:
            yield Source(STDIN, None, True, None)
        else:
            yield from _entry(path, outside, manifests)


def _entry(
    path: str, outside: Outside | None, manifests: Manifests | None
) -> Iterator[Source | Skipped | Ignored]:
    try:
        status = os.stat(path)
    except OSError as error:
        yield Skipped(display(path), "", why(error))
        return
    except ValueError:  # a NUL byte in the name
        yield Skipped(display(path), "", "is no possible file name")
        return
    if stat.S_ISDIR(status.st_mode):
        yield from _folder(path, (status.st_dev, status.st_ino), outside, manifests)
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
    top: str, identity: tuple[int, int], outside: Outside | None, manifests: Manifests | None
) -> Iterator[Source | Skipped | Ignored]:
    """Walk one folder with a stack of our own: a tree may be deeper than Python's recursion limit."""
    ancestors = {identity}
    tables = _Tables(manifests)
    yield from tables.entered(top)
    stack = [(identity, _listing(top))]
    while stack:
        identity, entries = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
            tables.left()
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
            dropped = tables.dropped(entry)
            yield Dropped(display(entry), _NONE_OF_IT) if dropped else _leaf(entry, status, named=False)
            continue
        if os.path.basename(entry) == LOG_OF_DELTA:
            if manifests is None:
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
        if os.path.basename(entry) == _LISTS_OF_ICEBERG:
            yield from _iceberg(entry)
        yield from tables.entered(entry)
        stack.append((identity, _listing(entry)))


class _Tables:
    """The tables around the folder that is being walked, one for each folder on the way; None for those of none."""

    def __init__(self, manifests: Manifests | None) -> None:
        self._manifests = manifests
        self._around: list[tuple[str, Manifest] | None] = []

    def entered(self, folder: str) -> tuple[Skipped, ...]:
        """Note that a folder is being walked; return what of its table cannot be read."""
        if self._manifests is not None and os.path.isdir(os.path.join(folder, LOG_OF_DELTA)):
            manifest = self._manifests(folder)
            self._around.append((folder, manifest))
            return manifest.skipped
        self._around.append(self._around[-1] if self._around else None)
        return ()

    def left(self) -> None:
        """Note that the folder has been walked."""
        self._around.pop()

    def dropped(self, path: str) -> bool:
        """Say whether a file of the folder is none of the table around it."""
        around = self._around[-1]
        return around is not None and around[1].dropped(os.path.relpath(path, around[0]))


def _iceberg(lists: str) -> Iterator[Skipped]:
    """Tell of an Iceberg table: which files are its newest snapshot stands in Avro, which is not read."""
    try:
        with os.scandir(lists) as found:
            named = any(_VERSION_OF_ICEBERG.fullmatch(entry.name) for entry in found)
    except OSError:
        return  # the walk tells why it cannot be listed
    if named:
        reason = "is of an Iceberg table, whose lists are not followed: all its data files are read, deleted rows too"
        yield Skipped(display(lists), "", reason)


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
