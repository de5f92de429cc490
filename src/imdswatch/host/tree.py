"""A tree of files below a root, read without ever leaving it: a live host, a mounted disk, a container image.

Paths are absolute below the root (`/etc/environment`). Symbolic links are resolved inside of the root as `chroot`
would: an absolute target starts at the root again and `..` stops there (openat2(2), RESOLVE_IN_ROOT). Only regular
files are ever opened. What is absent is None or empty; what is there but cannot be read is also kept in `skipped`,
once. Never raises for what stands in the tree. What the files hold comes from a `Store`: `folder` or `image`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, Protocol

from imdswatch.errors import UsageError
from imdswatch.finding import Skipped

LIMIT = 1 << 20
"""Bytes of a file that are read where nobody asks for more; no configuration is longer."""
_HOPS = 40
"""Symbolic links that one path may go through, as in Linux (path_resolution(7))."""
_DEPTH = 128
"""Folders in folders that a walk goes into."""
_ENTRIES = 3_000_000
"""Entries that a walk looks at before it gives up and says so."""


class Kind(Enum):
    """What a path is; OTHER are devices, FIFOs and sockets, which are never opened."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Meta:
    """One entry of the tree; `target` is where a link leads."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    target: str = ""


class Store(Protocol):
    """Where a tree lies. Paths have no links in them, but for the last name; raises OSError."""

    def look(self, path: str) -> Meta | None:
        """Return what stands at a path without following it, None where nothing does."""

    def names(self, path: str) -> list[tuple[str, Kind]]:
        """Return the entries of a folder, in any order."""

    def open(self, path: str) -> BinaryIO:
        """Return a regular file to read and to seek in."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of a walk: its path and the names in it."""

    path: str
    folders: tuple[str, ...]
    files: tuple[str, ...]
    """Everything that is no folder: what it is shows when it is read."""


class Tree:
    """The one way to read what stands below a root."""

    def __init__(
        self, store: Store, *, name: str, live: bool = False, image: Mapping[str, object] | None = None
    ) -> None:
        """Look at nothing yet; `live`: this is the running system itself; `image`: how an image is run."""
        self.store = store
        self.name, self.live, self.image = name, live, image
        self.skipped: list[Skipped] = []
        self._told: set[tuple[str, str]] = set()
        self._look: Callable[[str], Meta | None] = lru_cache(maxsize=1 << 14)(self._looked)

    def skip(self, path: str, reason: str, position: str = "") -> None:
        """Keep that a place could not be looked at; the same is kept once."""
        if (path, reason) not in self._told:
            self._told.add((path, reason))
            self.skipped.append(Skipped(path, position, reason))

    def resolve(self, path: str) -> str | None:
        """Return the path without links that a path leads to, None where nothing stands there."""
        ahead, done, hops = _parts(path), [""], 0
        while ahead:
            part = ahead.pop()
            if part == "..":
                del done[max(1, len(done) - 1) :]
                continue
            meta = self._look("/".join([*done, part]))
            if meta is None:
                return None
            if meta.kind is Kind.LINK:
                hops += 1
                if hops > _HOPS:
                    self.skip(path, "symbolic links lead in a circle")
                    return None
                if meta.target.startswith("/"):
                    done = [""]
                ahead += _parts(meta.target)
                continue
            if ahead and meta.kind is not Kind.FOLDER:
                return None
            done.append(part)
        return "/".join(done) or "/"

    def meta(self, path: str) -> Meta | None:
        """Return what a path leads to."""
        found = self.resolve(path)
        if found is None:
            return None
        return self._look(found) if found != "/" else Meta(Kind.FOLDER, 0o755, 0, 0, 0)

    def link(self, path: str) -> str:
        """Return where a symbolic link leads, as it says itself; "" for what is none."""
        parent, _, name = path.rpartition("/")
        found = self.resolve(parent)
        meta = self._look(f"{found.rstrip('/')}/{name}") if found is not None else None
        return meta.target if meta is not None else ""

    def is_file(self, path: str) -> bool:
        """Say whether a path leads to a regular file."""
        meta = self.meta(path)
        return meta is not None and meta.kind is Kind.FILE

    def is_folder(self, path: str) -> bool:
        """Say whether a path leads to a folder."""
        meta = self.meta(path)
        return meta is not None and meta.kind is Kind.FOLDER

    def open(self, path: str) -> BinaryIO | None:
        """Return a regular file to read and to seek in; the caller closes it."""
        found = self.resolve(path)
        meta = self.meta(found) if found is not None else None
        if found is None or meta is None or meta.kind is Kind.FOLDER:
            return None
        if meta.kind is not Kind.FILE:
            self.skip(path, "is no regular file")
            return None
        try:
            return self.store.open(found)
        except OSError as error:
            self.skip(path, _reason(error))
            return None

    def read_bytes(self, path: str, limit: int = LIMIT) -> bytes | None:
        """Return the content of a file; of a longer one the whole lines within `limit` bytes, and that is kept."""
        file = self.open(path)
        if file is None:
            return None
        chunks, left = [], limit + 1
        try:
            with file:
                while left > 0 and (chunk := file.read(min(left, 1 << 20))):  # files of /proc come in pieces
                    chunks.append(chunk)
                    left -= len(chunk)
        except OSError as error:
            self.skip(path, _reason(error))
        data = b"".join(chunks)
        if len(data) > limit:
            self.skip(path, f"is longer than {limit} bytes; the rest is not judged", f"byte {limit}")
            data = data[: data.rfind(b"\n", 0, limit) + 1]
        return data

    def read_text(self, path: str, limit: int = LIMIT) -> str | None:
        """Return the content of a text file: UTF-8, or UTF-16, marked or not; other bytes become U+FFFD."""
        data = self.read_bytes(path, limit)
        if data is None:
            return None
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return data.decode("utf-16", "replace")
        if len(data) > 3 and data[1] == data[3] == 0 and data[0] and data[2]:  # no text in UTF-8 has a NUL
            return data.decode("utf-16-le", "replace")
        if len(data) > 3 and data[0] == data[2] == 0 and data[1] and data[3]:
            return data.decode("utf-16-be", "replace")
        return data.decode("utf-8-sig", "replace")

    def listdir(self, path: str) -> tuple[str, ...]:
        """Return the names in a folder, sorted; none where there is no folder."""
        return tuple(name for name, _ in self._entries(path))

    def spelled(self, path: str) -> str | None:
        """Return a path as the tree spells it, upper and lower case being the same (Windows); None if absent."""
        here = ""
        for part in reversed(_parts(path)):
            folded = part.casefold()
            names = [name for name in self.listdir(here or "/") if name.casefold() == folded]
            if not names:
                return None
            here = f"{here}/{part if part in names else names[0]}"
        return here or "/"

    def walk(self, top: str, prune: Collection[str] = (), names: Collection[str] = ()) -> Iterator[Folder]:
        """Yield a folder and what is below it, links not followed; not below paths in `prune` or names in `names`."""
        found = self.resolve(top)
        pending, seen = [found] if found is not None and self.is_folder(found) else [], 0
        while pending:
            here = pending.pop()
            entries = self._listed(here, here)
            seen += len(entries)
            if seen > _ENTRIES:
                self.skip(top, f"has more than {_ENTRIES} entries; the rest is not looked at")
                return
            folders = tuple(name for name, kind in entries if kind is Kind.FOLDER)
            yield Folder(here, folders, tuple(name for name, kind in entries if kind is not Kind.FOLDER))
            stem = here.rstrip("/")
            if stem.count("/") >= _DEPTH:
                self.skip(here, f"is more than {_DEPTH} folders deep; what is below is not looked at")
                continue
            below = [f"{stem}/{name}" for name in reversed(folders) if name not in names]
            pending += [path for path in below if path not in prune] if prune else below

    def _entries(self, path: str) -> list[tuple[str, Kind]]:
        found = self.resolve(path)
        return [] if found is None or not self.is_folder(found) else self._listed(found, path)

    def _listed(self, resolved: str, path: str) -> list[tuple[str, Kind]]:
        try:
            return sorted(self.store.names(resolved), key=_name)
        except FileNotFoundError:  # taken away while we look, as on a running host
            return []
        except OSError as error:
            self.skip(path, _reason(error))
            return []

    def _looked(self, path: str) -> Meta | None:
        try:
            return self.store.look(path)
        except OSError as error:
            self.skip(path, _reason(error))
            return None


def open_tree(root: Path) -> Tree:
    """Return the tree at a path: a folder, or an image that `docker save` or an OCI tool wrote. Raises UsageError."""
    from imdswatch.host.folder import FolderStore

    try:
        if root.is_dir():
            return Tree(FolderStore(root), name=str(root), live=os.path.samefile(root, "/"))
        if root.is_file():
            return _image(root)
    except OSError as error:
        raise UsageError(f"cannot open the root: {_reason(error)}", file=str(root)) from error
    if not root.exists():
        raise UsageError("there is no such root", file=str(root))
    raise UsageError("this root is neither a folder nor a tar file", file=str(root))


def _image(root: Path) -> Tree:
    import tarfile

    from imdswatch.host.image import ImageStore

    try:
        store = ImageStore(root)
    except tarfile.TarError:
        raise UsageError("this root is neither a folder nor a tar file", file=str(root)) from None
    tree = Tree(store, name=str(root), image=store.config)
    for skipped in store.skipped:
        tree.skip(skipped.source, skipped.reason)
    return tree


_name = itemgetter(0)


def _parts(path: str) -> list[str]:
    """Return the names of a path, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
