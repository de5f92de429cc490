"""Versions of packages in RPM's SQLite database, as Fedora, RHEL 9, openSUSE and Amazon Linux 2023 have it.

Read by SQLite from a descriptor that `Tree` opened, so nothing leads out of the root; the older Berkeley and ndb
databases are told as skipped. Source: rpm lib/backend/sqlite.c and lib/header.c: a header is an index of tags and a
store of their values.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator, Sequence

from imdswatch.host.tree import Tree

_PATHS = ("/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite")
_OLD = ("/var/lib/rpm/Packages", "/var/lib/rpm/Packages.db", "/usr/lib/sysimage/rpm/Packages.db")
_VERSION = 1001
_LARGEST = 1 << 30


def rpm_versions(tree: Tree, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the database's path, name and version of each of the named packages that is installed."""
    for path in _PATHS:
        if tree.is_file(path):
            yield from _versions(tree, path, names)
            return
    for path in _OLD:
        if tree.is_file(path):
            tree.skip(path, "is a package database of an older RPM, which is not read")


def _versions(tree: Tree, path: str, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    file = tree.open(path)
    if file is None:
        return
    try:
        with file, tempfile.NamedTemporaryFile() as copy:
            try:
                place = f"/proc/self/fd/{file.fileno()}"
            except OSError:  # it lies in an image, which has no descriptor of its own
                shutil.copyfileobj(file, copy, 1 << 20)
                copy.flush()
                place = copy.name
            connection = sqlite3.connect(f"file:{place}?mode=ro&immutable=1", uri=True)
            try:
                rows = connection.execute(
                    "SELECT Name.key, Packages.blob FROM Name JOIN Packages ON Packages.hnum = Name.hnum"
                    f" WHERE Name.key IN ({', '.join('?' * len(names))})",
                    tuple(names),
                )
                found = [(str(name), _version(bytes(blob))) for name, blob in rows]
            finally:
                connection.close()
    except (sqlite3.Error, OSError, TypeError, ValueError) as error:
        tree.skip(path, f"is no readable package database: {type(error).__name__}")
        return
    yield from ((path, name, version) for name, version in found)


def _version(header: bytes) -> str:
    """Return the version in a header: two counts, then 16 bytes a tag, then the store."""
    if len(header) < 8:
        return ""
    tags, size = struct.unpack_from(">II", header)
    store = 8 + 16 * tags
    if store + size > len(header):
        return ""
    for at in range(8, store, 16):
        tag, _, offset, _ = struct.unpack_from(">IIiI", header, at)
        if tag == _VERSION and 0 <= offset < size:
            return header[store + offset : store + offset + 60].split(b"\0", 1)[0].decode("utf-8", "replace")
    return ""
