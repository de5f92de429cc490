"""A tree that lies in a folder of this machine; a rename in the middle of reading cannot lead out of it.

Every name is opened relative to the folder before it and without following links (openat(2), O_NOFOLLOW): a name that
became a link after `Tree` resolved it is an error, never another file. Folders are opened with O_PATH, so one that may
be entered but not listed works, and a FIFO or device is never opened for reading. Needs Linux.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

from imdswatch.host.tree import Kind, Meta

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_OPEN = 64
"""Folders that stay open, so that a walk does not open every path from the root."""
_GONE = (errno.ENOENT, errno.ENOTDIR)
_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.LINK}


class FolderStore:
    """Reads below one folder; the descriptors it holds close with it."""

    def __init__(self, root: Path) -> None:
        """Open the root; raises OSError."""
        self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folders: OrderedDict[str, int] = OrderedDict()

    def __del__(self) -> None:
        for descriptor in (*getattr(self, "_folders", {}).values(), getattr(self, "_root", -1)):
            if descriptor >= 0:
                os.close(descriptor)

    def look(self, path: str) -> Meta | None:
        """Return what stands at a path without following it, None where nothing does."""
        parent, _, name = path.rpartition("/")
        try:
            folder = self._folder(parent)
            found = os.stat(name or ".", dir_fd=folder, follow_symlinks=False)
            kind = _KINDS.get(stat.S_IFMT(found.st_mode), Kind.OTHER)
            target = os.readlink(name, dir_fd=folder) if kind is Kind.LINK else ""
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        return Meta(kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_size, target)

    def names(self, path: str) -> list[tuple[str, Kind]]:
        """Return the entries of a folder, in any order."""
        descriptor = os.open(
            ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder(path.rstrip("/"))
        )
        try:
            with os.scandir(descriptor) as entries:
                return [(entry.name, _kind(entry)) for entry in entries]
        finally:
            os.close(descriptor)

    def open(self, path: str) -> BinaryIO:
        """Return a regular file to read and to seek in."""
        parent, _, name = path.rpartition("/")
        descriptor = os.open(name, _FILE, dir_fd=self._folder(parent))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "changed while it was read")
        return os.fdopen(descriptor, "rb")

    def _folder(self, path: str) -> int:
        """Return a descriptor of a folder, opened name by name from the nearest folder that is still open."""
        here, ahead = path, []
        while here and here not in self._folders:
            here, _, name = here.rpartition("/")
            ahead.append(name)
        descriptor = self._folders[here] if here else self._root
        if here:
            self._folders.move_to_end(here)
        for name in reversed(ahead):
            descriptor = os.open(name, _FOLDER, dir_fd=descriptor)
            here = f"{here}/{name}"
            self._folders[here] = descriptor
            if len(self._folders) > _OPEN:
                os.close(self._folders.popitem(last=False)[1])
        return descriptor


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return Kind.LINK
    if entry.is_dir(follow_symlinks=False):
        return Kind.FOLDER
    return Kind.FILE if entry.is_file(follow_symlinks=False) else Kind.OTHER
