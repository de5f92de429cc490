"""The log of a Delta table says which files are the table: those that it dropped, or never took up, are not read.

`manifest_of(folder)` replays the log (Delta transaction log protocol, versions up to 3): the newest whole checkpoint,
then every commit after it. Guarantees: nothing is raised for what stands in a log. Where it cannot be followed to its
newest version, all files of the folder are read, and a `Skipped` says so: a log must not hide events. The same is done
of what a reader would have to know besides: rows deleted inside a file, columns under other names. Opens the log only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson

from imdswatch.finding import Skipped
from imdswatch.read.sources import LOG_OF_DELTA, Manifest, display, why
from imdswatch.read.streams import Table
from imdswatch.scan.duck import Engine, Unreadable
from imdswatch.scan.tablerows import TableRows

_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10}))?\.parquet")
_NEWEST_READER = 3
_UNDERSTOOD = frozenset(
    {"timestampNtz", "typeWidening", "typeWidening-preview", "vacuumProtocolCheck", "deletionVectors"}
)
"""Features of tables (protocol, Table features) that change nothing about which files there are."""
_LONGEST = 64 << 20  # octets of one commit


class _Unfollowed(Exception):
    """The log cannot be followed; the message says why."""


def manifest_of(folder: str) -> Manifest:
    """Return the files of the table in a folder."""
    log = os.path.join(folder, LOG_OF_DELTA)
    table = _Replay()
    try:
        for actions in _versions(log):
            for action in actions:
                table.take(action)
        table.check()
    except _Unfollowed as problem:
        return _all_of(log, str(problem))
    except OSError as error:
        return _all_of(log, why(error))
    told = []
    if table.cut:
        reason = f"drops single rows of {len(table.cut)} files: they are read with them"
        told.append(Skipped(display(log), "", reason))
    for path in sorted(table.live):
        if not os.path.isfile(os.path.join(folder, path)):
            told.append(
                Skipped(display(os.path.join(folder, path)), "", "is a file of a Delta table, and not there")
            )
    return Manifest(frozenset(table.live), tuple(told))


def _all_of(log: str, problem: str) -> Manifest:
    return Manifest(
        None, (Skipped(display(log), "", f"{problem}: all files beside it are read, dropped ones too"),)
    )


class _Replay:
    """The state of a table after the actions taken so far."""

    def __init__(self) -> None:
        self.live: set[str] = set()
        self.cut: set[str] = set()
        self._protocol: dict[str, Any] | None = None
        self._configuration: dict[str, Any] = {}

    def take(self, action: dict[str, Any]) -> None:
        """Take one action of a commit or a checkpoint; what is none of ours changes nothing."""
        if isinstance(removed := action.get("remove"), dict):
            path = _path(removed)
            self.live.discard(path)
            self.cut.discard(path)
        if isinstance(added := action.get("add"), dict):
            path = _path(added)
            self.live.add(path)
            (self.cut.add if added.get("deletionVector") else self.cut.discard)(path)
        if isinstance(protocol := action.get("protocol"), dict):
            self._protocol = protocol
        if isinstance(meta := action.get("metaData"), dict):
            self._configuration = _pairs(meta.get("configuration"))

    def check(self) -> None:
        """Raise _Unfollowed where more has to be known than which files there are."""
        protocol = self._protocol
        if protocol is None:
            raise _Unfollowed("names no protocol")
        version = protocol.get("minReaderVersion")
        if not isinstance(version, int) or version > _NEWEST_READER:
            raise _Unfollowed("is of a later protocol")
        if self._configuration.get("delta.columnMapping.mode") in ("name", "id"):
            raise _Unfollowed("gives the columns other names than their files do")
        unknown = sorted(
            {str(one) for one in protocol.get("readerFeatures") or ()} - _UNDERSTOOD - {"columnMapping"}
        )
        if unknown:
            raise _Unfollowed(f"needs a reader that knows {', '.join(unknown)[:100]!r}")


def _pairs(configuration: Any) -> dict[str, Any]:
    """Return the settings of a table: an object in a commit, a list of pairs in some checkpoints."""
    if isinstance(configuration, dict):
        return configuration
    pairs = configuration if isinstance(configuration, list) else ()
    return {str(one.get("key")): one.get("value") for one in pairs if isinstance(one, dict)}


def _path(action: dict[str, Any]) -> str:
    path = action.get("path")
    if not isinstance(path, str):
        raise _Unfollowed("names a file without a path")
    if re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:|/", path):
        raise _Unfollowed("names files outside of its folder")
    return os.path.normpath(unquote(path))


def _versions(log: str) -> Iterator[Iterable[dict[str, Any]]]:
    """Yield the actions of the newest whole checkpoint, then of each commit after it; raises _Unfollowed, OSError."""
    names = os.listdir(log)
    commits = {int(found[1]): name for name in names if (found := _COMMIT.fullmatch(name))}
    begun = _newest_checkpoint(names)
    done = -1
    if begun is not None:
        done, parts = begun
        for part in parts:
            yield _rows(os.path.join(log, part))
    last = max(commits, default=-1)
    if last < 0 and done < 0:
        raise _Unfollowed("holds no version")
    for version in range(done + 1, last + 1):
        if version not in commits:
            raise _Unfollowed(f"lacks version {version}")
        yield _lines(os.path.join(log, commits[version]), version)


def _newest_checkpoint(names: Iterable[str]) -> tuple[int, list[str]] | None:
    """Return the version of the newest checkpoint of which all parts are there, and its files."""
    parts: dict[tuple[int, int], list[str]] = {}
    for name in names:
        if found := _CHECKPOINT.fullmatch(name):
            parts.setdefault((int(found[1]), int(found[3] or 1)), []).append(name)
    whole = [(version, sorted(files)) for (version, count), files in parts.items() if len(files) == count]
    return max(whole, default=None)


def _lines(path: str, version: int) -> Iterator[dict[str, Any]]:
    with Path(path).open("rb") as handle:
        text = handle.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise _Unfollowed(f"has a version of more than {_LONGEST >> 20} MiB, {version}")
    for line in text.splitlines():
        if line.strip():
            try:
                action = orjson.loads(line)
            except ValueError:
                raise _Unfollowed(f"is damaged in version {version}") from None
            if isinstance(action, dict):
                yield action


def _rows(path: str) -> Iterator[dict[str, Any]]:
    with Path(path).open("rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        engine = Engine()
        with closing(engine):
            try:
                opened = engine.open(Table(display(path), "parquet", handle.fileno(), size, None), {})
                for _, text in TableRows().read(opened, ("add", "protocol", "metaData", "sidecar")):
                    action = orjson.loads(text)
                    if action.get("sidecar") is not None:
                        raise _Unfollowed("has a checkpoint with files beside it")
                    yield action
            except Unreadable as error:
                raise _Unfollowed(f"has a checkpoint that {error.reason}") from None
