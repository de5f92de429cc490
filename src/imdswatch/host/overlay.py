"""A tree as it would be: the files that stand below a root, with edits laid over them that nobody has made yet.

So the audit can be asked about a plan before anything is done. Paths of edits have no links in them. Lazy, and as safe
as the tree below it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import BinaryIO

from imdswatch.edit import Edit
from imdswatch.host.tree import Kind, Meta, Store, Tree


def over(tree: Tree, edits: Iterable[Edit]) -> Tree:
    """Return a tree with these edits made; it keeps what it could not read for itself."""
    return Tree(_Overlay(tree.store, {edit.path: edit for edit in edits}), name=tree.name, live=tree.live)


class _Overlay:
    """Looks into the edits first."""

    def __init__(self, below: Store, edits: Mapping[str, Edit]) -> None:
        self._below, self._edits = below, edits
        self._inside: dict[str, dict[str, Kind]] = {}
        """Names that edits add to folders, some of which are not there yet."""
        for path, edit in edits.items():
            kind = Kind.LINK if edit.link else Kind.FILE
            while path:
                path, _, name = path.rpartition("/")
                self._inside.setdefault(path, {}).setdefault(name, kind)
                kind = Kind.FOLDER

    def look(self, path: str) -> Meta | None:
        """Return what would stand at a path."""
        edit = self._edits.get(path)
        below = self._below.look(path)
        if edit is not None and edit.link:
            return Meta(Kind.LINK, 0o777, 0, 0, len(edit.after), os.fsdecode(edit.after))
        if edit is not None:
            mode, uid, gid = (below.mode, below.uid, below.gid) if below else (edit.mode, 0, 0)
            return Meta(Kind.FILE, mode, uid, gid, len(edit.after))
        if below is None and path in self._inside:
            return Meta(Kind.FOLDER, 0o755, 0, 0, 0)
        return below

    def names(self, path: str) -> list[tuple[str, Kind]]:
        """Return the entries that a folder would have."""
        added = dict(self._inside.get("" if path == "/" else path, {}))
        there: list[tuple[str, Kind]] = []
        if not added or self._below.look(path or "/") is not None:
            there = self._below.names(path)
        return [*there, *(pair for pair in added.items() if pair[0] not in {name for name, _ in there})]

    def open(self, path: str) -> BinaryIO:
        """Return a file as it would be."""
        edit = self._edits.get(path)
        return BytesIO(edit.after) if edit is not None else self._below.open(path)
