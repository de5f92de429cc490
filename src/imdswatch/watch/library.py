"""What the followed logs hold, and how far each was read, whatever file it lies in now.

A log is renamed, copied and truncated, compressed; its lines stay the same. So what is remembered is the *content*: a
digest of how it begins and of what was read last, and how far that was. A file that begins alike and holds the same
bytes before that place carries the same content, and is read from there on: nothing is lost and nothing is read twice.
Two live logs that happen to begin alike are told apart by name: only a file that is named after the other, or comes
after one that is gone, can carry its content.

Pure bookkeeping, no input or output. Longer lists than `_MOST` lose the logs that ended first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NamedTuple

from imdswatch.read.lines import State
from imdswatch.read.sources import display

HEAD = 4096
"""Octets of the beginning that tell a log; fewer where it is shorter."""
TAIL = 256
"""Octets before the place up to which it was read."""
_PATHS = 0  # the checkpoint that is none of a content, but of the paths that are followed
_MOST = 10_000  # logs that have ended and are remembered, so that their compressed copies are known

Identity = tuple[int, int]
"""Device and inode of a file."""


class Mark(NamedTuple):
    """Some octets, by number and digest."""

    size: int = 0
    digest: str = ""

    def fits(self, data: bytes) -> bool:
        """Say whether the data is what was marked."""
        return len(data) == self.size and mark(data) == self


def mark(data: bytes) -> Mark:
    """Return the mark of some octets."""
    return Mark(len(data), hashlib.blake2b(data, digest_size=12).hexdigest()) if data else Mark()


_NOTHING = Mark()


@dataclass(slots=True, eq=False)
class Content:
    """One log: what it is known by, and how far it was read. Working state of the library, kept as a checkpoint."""

    number: int
    path: str
    """The path under which it was found first, as the operating system knows it."""
    identity: Identity = (0, 0)
    """The plain file that carries it, or did last."""
    offset: int = 0
    lines: int = 0
    header: State = None
    head: Mark = _NOTHING
    tail: Mark = _NOTHING
    muted: int = 0
    """Up to here it was there before anybody watched, and is not judged."""
    mtime: float = 0.0
    """When that file was last written to, as far as it was read."""
    orphan: bool = False
    """Its file is gone, or holds something else now: a copy may come."""
    ended: bool = False
    """It was read to its end, and its file rotated away: nobody misses it."""
    packed: dict[Identity, tuple[int, int]] = field(default_factory=dict)
    """Compressed files, and others read only as a whole, that were read: size and modification time (ns)."""

    @property
    def name(self) -> str:
        """What findings call it."""
        return display(self.path)

    def checkpoint(self) -> dict[str, Any]:
        """Return it as values for JSON."""
        return {
            "path": self.path, "identity": self.identity, "offset": self.offset, "lines": self.lines,
            "header": self.header, "head": self.head, "tail": self.tail, "mtime": self.mtime, "muted": self.muted,
            "orphan": self.orphan, "ended": self.ended,
            "packed": [[*identity, *seen] for identity, seen in self.packed.items()],
        }  # fmt: skip

    @classmethod
    def of(cls, number: int, kept: Mapping[str, Any]) -> Content:
        """Return the content of a checkpoint; raises ValueError for what is none."""
        try:
            header = kept["header"]
            return cls(
                number=number,
                path=str(kept["path"]),
                identity=(int(kept["identity"][0]), int(kept["identity"][1])),
                offset=int(kept["offset"]),
                lines=int(kept["lines"]),
                header=None if header is None else (header[0], header[1], tuple(header[2])),
                head=Mark(*kept["head"]),
                tail=Mark(*kept["tail"]),
                mtime=float(kept["mtime"]),
                muted=int(kept["muted"]),
                orphan=bool(kept["orphan"]),
                ended=bool(kept["ended"]),
                packed={(one[0], one[1]): (one[2], one[3]) for one in kept["packed"]},
            )
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"no checkpoint: {error}") from error


class Library:
    """All contents, found by the file that carries them or by how they begin."""

    def __init__(self, kept: Mapping[int, Mapping[str, Any]], *, forgotten: bool = False) -> None:
        """Take over the checkpoints of a state; `forgotten` says that there were others, and they are lost."""
        self._forgotten = forgotten
        self._paths: dict[str, float] = dict(kept.get(_PATHS, {}))
        self._all = {number: Content.of(number, one) for number, one in kept.items() if number != _PATHS}
        self._next = max(self._all, default=0) + 1
        self._by_identity = {one.identity: one for one in self._all.values() if not one.orphan}
        self._packed = {identity: one for one in self._all.values() for identity in one.packed}
        self._by_head: dict[Mark, list[Content]] = {}
        for one in self._all.values():
            self._index(one, _NOTHING)
        self._dirty: dict[int, Content | None] = {}
        self._paths_changed = False

    def followed_since(self, path: str) -> float | None:
        """Return when a path was followed first, epoch seconds; None if only now. 0 if that is forgotten."""
        return self._paths.get(path, 0.0 if self._forgotten else None)

    def follow(self, path: str, since: float) -> None:
        """Note when a path was followed first."""
        if path not in self._paths:
            self._paths[path] = since
            self._paths_changed = True

    def contents(self) -> list[Content]:
        """Return all of them, the oldest first."""
        return list(self._all.values())

    def new(self, path: str, identity: Identity) -> Content:
        """Return a content of which nothing was read; the file it lies in carried another one before, if any."""
        held = self._by_identity.get(identity)
        if held is not None:
            self.orphaned(held)
        content = Content(self._next, path, identity)
        self._next += 1
        self._all[content.number] = content
        self._by_identity[identity] = content
        self._dirty[content.number] = content
        self._trim()
        return content

    def in_file(self, identity: Identity) -> Content | None:
        """Return what a plain file carried when it was last seen."""
        return self._by_identity.get(identity)

    def was_read(self, identity: Identity) -> tuple[Content, tuple[int, int]] | None:
        """Return what was read from a packed file, with its size and modification time then."""
        content = self._packed.get(identity)
        return None if content is None else (content, content.packed[identity])

    def beginning_with(self, head: bytes, path: str) -> list[Content]:
        """Return the contents that begin as this file does and that it may carry; the furthest read first."""
        sizes = sorted({one.size for one in self._by_head if one.size <= len(head)}, reverse=True)
        found = [one for size in sizes for one in self._by_head.get(mark(head[:size]), ())]
        return sorted(
            (one for one in found if one.orphan or related(one.path, path)), key=lambda one: -one.offset
        )

    def begins(self, content: Content, head: bytes) -> None:
        """Note how a content begins, as far as it is there; it may not have been read yet."""
        head = head[:HEAD]
        if len(head) > content.head.size:
            before, content.head = content.head, mark(head)
            self._index(content, before)
            self._dirty[content.number] = content

    def read_to(self, content: Content, *, offset: int, tail: bytes, mtime: float) -> None:
        """Note how far a content was read; `tail` is what stands before the offset."""
        content.offset, content.tail = offset, mark(tail)
        content.mtime, content.ended = max(content.mtime, mtime), False
        self._dirty[content.number] = content

    def _index(self, content: Content, before: Mark) -> None:
        if before.size:
            self._by_head[before].remove(content)
            if not self._by_head[before]:
                del self._by_head[before]
        if content.head.size:
            self._by_head.setdefault(content.head, []).append(content)

    def carried_by(self, content: Content, identity: Identity) -> None:
        """Note that another plain file carries the content now."""
        if self._by_identity.get(content.identity) is content:
            del self._by_identity[content.identity]
        held = self._by_identity.get(identity)
        if held is not None and held is not content:
            self.orphaned(held)
        content.identity, content.orphan, content.ended = identity, False, False
        self._by_identity[identity] = content
        self._dirty[content.number] = content

    def packed_in(self, content: Content, identity: Identity, size: int, mtime_ns: int) -> None:
        """Note that a packed file, as it is now, was read to its end."""
        held = self._packed.get(identity)
        if held is not None and held is not content:
            held.packed.pop(identity, None)
            self._dirty[held.number] = held
        content.packed[identity] = size, mtime_ns
        self._packed[identity] = content
        self._dirty[content.number] = content

    def orphaned(self, content: Content) -> None:
        """Note that the file of a content is gone, or holds something else now."""
        if self._by_identity.get(content.identity) is content:
            del self._by_identity[content.identity]
        content.orphan = True
        self._dirty[content.number] = content

    def discard(self, content: Content) -> None:
        """Forget a content of which nothing was read."""
        self._forget(content)

    def ended(self, content: Content) -> None:
        """Note that a content was read to its end, and nothing will be added."""
        content.ended = True
        self._dirty[content.number] = content

    def _trim(self) -> None:
        if len(self._all) > _MOST + 1000:
            over = [one for one in self._all.values() if one.ended or one.orphan][: len(self._all) - _MOST]
            for content in over:
                self._forget(content)

    def _forget(self, content: Content) -> None:
        del self._all[content.number]
        if self._by_identity.get(content.identity) is content:
            del self._by_identity[content.identity]
        for identity in content.packed:
            self._packed.pop(identity, None)
        if content.head.size:
            self._by_head[content.head].remove(content)
        self._dirty[content.number] = None

    def changes(self) -> dict[int, dict[str, Any] | None]:
        """Return the checkpoints that have changed since `kept`; None for those to be forgotten."""
        out = {number: None if one is None else one.checkpoint() for number, one in self._dirty.items()}
        return {_PATHS: dict(self._paths), **out} if self._paths_changed else out

    def kept(self) -> None:
        """Say that the last `changes` are safe."""
        self._dirty.clear()
        self._paths_changed = False


_DATED = re.compile(r"[-_.]?[0-9][0-9T:_.\-]*\Z")
_PACKING = re.compile(r"\.(?:gz|bz2|xz|zst|lz4|Z)\Z")


def related(one: str, other: str) -> bool:
    """Say whether one path is named after the other as rotation does: a number, a date, `.old`, `.gz` added.

    Folders do not count: archives lie in folders of their own.
    """
    first, second = stem(PurePath(one).name), stem(PurePath(other).name)
    return first == second or first.startswith(f"{second}.") or second.startswith(f"{first}.")


def stem(name: str) -> str:
    """Return a file name without what rotation adds: `x.log`, `x.log.1`, `x-20261122.log.gz` are all `x.log`."""
    name = _PACKING.sub("", name)
    rest, dot, suffix = name.rpartition(".")
    if not dot or not rest:
        return _DATED.sub("", name) or name
    if _DATED.fullmatch(f".{suffix}"):
        return stem(rest)
    plain = _DATED.sub("", rest) or rest
    if suffix[:1].isalpha() and _DATED.search(suffix):  # x.log-20261122
        suffix = _DATED.sub("", suffix)
    return f"{plain}.{suffix}"
