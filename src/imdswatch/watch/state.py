"""What a watch remembers over restarts, in one SQLite file: findings, how far each log was read, its last status.

Guarantees: `commit` is one transaction, so findings and checkpoints are always of the same moment, whenever the process
is killed (WAL; a power cut may lose the last transactions, never half of one). One process at a time writes, which a
lock says; anybody may read meanwhile. What cannot be written is a `StateTrouble` with the reason. A damaged file is set
aside under another name when it is opened, and a new one begun.

Longer than most: the tables, and everything that reads or writes them, stand in one place.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imdswatch.errors import UsageError

NAME = "state.sqlite"
VERSION = 1
_LOCK = "lock"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS findings(
    key TEXT PRIMARY KEY,        -- victim, endpoint and suppression, as JSON
    fingerprint TEXT NOT NULL,
    stage INTEGER NOT NULL,      -- rank in finding.STAGES
    count INTEGER NOT NULL,
    first REAL, last REAL,       -- of events, epoch seconds
    incident TEXT NOT NULL,      -- watch/stored.py
    told_stage INTEGER NOT NULL, -- what was told last; -1: nothing yet
    told_count INTEGER NOT NULL,
    updated REAL NOT NULL        -- when the last event was counted, by the clock of this host
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS untold ON findings(key) WHERE count <> told_count;
CREATE INDEX IF NOT EXISTS oldest ON findings(stage, updated);
CREATE TABLE IF NOT EXISTS logs(id INTEGER PRIMARY KEY, checkpoint TEXT NOT NULL, updated REAL NOT NULL);
"""


class StateTrouble(Exception):
    """The state cannot be read or written now; `reason` says why, in our words. The watch goes on without it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Row:
    """One finding as it is kept."""

    key: str
    fingerprint: str
    stage: int
    count: int
    first: float | None
    last: float | None
    incident: str
    told_stage: int = -1
    told_count: int = 0


_COLUMNS = "key, fingerprint, stage, count, first, last, incident, told_stage, told_count"


class State:
    """The state in one folder, open for writing."""

    def __init__(self, folder: Path) -> None:
        """Open or begin it; raises UsageError if that cannot be, or if another process has it."""
        self._folder, self.path = folder, folder / NAME
        self.set_aside = ""
        """Where a damaged state was put when this one was begun in its place."""
        self.damaged = False
        """Whether it has shown itself to be damaged while it was in use."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            help = "give this one a folder of its own with --state, or stop the other"
            raise UsageError("another watch uses this state", file=str(folder), help=help) from None
        except OSError as error:
            raise _unusable(folder, (error.strerror or str(error)).lower()) from error
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise _unusable(folder, str(error)) from error
            self._begin_anew()

    def _open(self) -> None:
        self._database = sqlite3.connect(self.path, isolation_level=None, timeout=5)
        run = self._database.execute
        if run("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError(_MALFORMED)
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=NORMAL")
        run("PRAGMA journal_size_limit=67108864")
        version = run("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise UsageError(
                "the state was written by a newer version",
                file=str(self.path),
                help="use that version, or another --state",
            )
        run("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";\n"):
            run(statement)
        run(f"PRAGMA user_version={VERSION}")
        run("INSERT OR IGNORE INTO meta VALUES('begun', ?)", (repr(time.time()),))
        run("COMMIT")
        os.chmod(self.path, 0o600)

    def _begin_anew(self) -> None:
        """Set a damaged state aside: what it knew may still be of use to somebody, and it must not stop the watch."""
        with suppress(AttributeError, sqlite3.Error):
            self._database.close()
        self.set_aside = f"{self.path}.damaged-{int(time.time())}"
        try:
            os.replace(self.path, self.set_aside)
            for suffix in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.replace(f"{self.path}{suffix}", f"{self.set_aside}{suffix}")
            self._open()
        except (OSError, sqlite3.Error) as error:
            raise _unusable(self._folder, str(error)) from error

    def row(self, key: str) -> Row | None:
        """Return one finding, or None."""
        found = self._read(f"SELECT {_COLUMNS} FROM findings WHERE key = ?", (key,))
        return Row(*found[0]) if found else None

    def untold(self) -> Iterator[Row]:
        """Yield the findings that have changed since they were told, in order of key; other calls may come between."""
        last = ""
        while rows := self._read(
            f"SELECT {_COLUMNS} FROM findings WHERE count <> told_count AND key > ? ORDER BY key LIMIT 256",
            (last,),
        ):
            yield from (Row(*row) for row in rows)
            last = rows[-1][0]

    def owes(self) -> bool:
        """Say whether a finding is new or has become graver, and was not told."""
        return bool(self._read("SELECT 1 FROM findings WHERE stage > told_stage LIMIT 1"))

    def at_least(self, stage: int, most: int) -> list[Row]:
        """Return the findings of this stage or higher, the newest of them if they are very many."""
        return [
            Row(*row)
            for row in self._read(
                f"SELECT {_COLUMNS} FROM findings WHERE stage >= ? ORDER BY updated DESC LIMIT ?",
                (stage, most),
            )
        ]

    def logs(self) -> list[tuple[int, dict[str, Any]]]:
        """Return the checkpoints of all logs, with their numbers."""
        return [
            (number, json.loads(text))
            for number, text in self._read("SELECT id, checkpoint FROM logs ORDER BY id")
        ]

    def meta(self, name: str) -> str | None:
        """Return what `commit` kept under a name."""
        found = self._read("SELECT value FROM meta WHERE name = ?", (name,))
        return str(found[0][0]) if found else None

    def _read(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _trouble(self, error: sqlite3.Error) -> StateTrouble:
        self.damaged = self.damaged or (isinstance(error, sqlite3.DatabaseError) and _is_damage(error))
        return StateTrouble(_why(error))

    def commit(
        self,
        rows: Iterable[Row] = (),
        logs: Mapping[int, Mapping[str, Any] | None] | None = None,
        meta: Mapping[str, str] | None = None,
    ) -> None:
        """Keep all of it in one transaction, or nothing; a checkpoint that is None is forgotten."""
        run, now = self._database.execute, time.time()
        try:
            run("BEGIN IMMEDIATE")
            try:
                self._database.executemany(
                    "INSERT OR REPLACE INTO findings VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        (
                            row.key, row.fingerprint, row.stage, row.count, row.first, row.last, row.incident,
                            row.told_stage, row.told_count, now,
                        )
                        for row in rows
                    ),
                )  # fmt: skip
                for number, checkpoint in (logs or {}).items():
                    if checkpoint is None:
                        run("DELETE FROM logs WHERE id = ?", (number,))
                    else:
                        run(
                            "INSERT OR REPLACE INTO logs VALUES(?, ?, ?)",
                            (number, json.dumps(checkpoint), now),
                        )
                for name, value in (meta or {}).items():
                    run("INSERT OR REPLACE INTO meta VALUES(?, ?)", (name, value))
                run("COMMIT")
            except sqlite3.Error:
                with suppress(sqlite3.Error):
                    run("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def told(self, rows: Iterable[Row]) -> None:
        """Note that findings were told as they are; when they were last seen stays."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "UPDATE findings SET told_stage = ?, told_count = ? WHERE key = ?",
                ((row.told_stage, row.told_count, row.key) for row in rows),
            )
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise self._trouble(error) from error

    def forget(self, before: float, most: int) -> int:
        """Forget findings not seen since `before`, and the mildest oldest beyond `most`; return how many of these."""
        try:
            run = self._database.execute
            run("DELETE FROM findings WHERE updated < ?", (before,))
            held = run("SELECT count(*) FROM findings").fetchone()[0]
            if held > most:
                run(
                    "DELETE FROM findings WHERE key IN (SELECT key FROM findings ORDER BY stage, updated LIMIT ?)",
                    (held - most,),
                )
            return max(0, int(held) - most)
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def stages(self) -> dict[int, int]:
        """Return how many findings are held of each stage."""
        return dict(self._read("SELECT stage, count(*) FROM findings GROUP BY stage"))

    def close(self) -> None:
        """Close the file and give the lock back."""
        with suppress(sqlite3.Error):
            self._database.close()
        os.close(self._lock)


def is_ours(folder: Path) -> bool:
    """Say whether a folder holds nothing but a state that no watch uses, and nobody but its owner may look into it."""
    try:
        mode, names = folder.stat().st_mode, os.listdir(folder)
    except OSError:
        return False
    known = all(name == _LOCK or name.startswith(NAME) for name in names)
    return stat.S_ISDIR(mode) and not mode & 0o077 and known and not _is_locked(folder)


def read_status(folder: Path) -> tuple[dict[str, Any], dict[int, int], bool]:
    """Return the last status, the findings of each stage, and whether a watch runs; raises UsageError."""
    path = folder / NAME
    if not path.is_file():
        raise UsageError(
            "no watch has kept a state here", file=str(folder), help="name its folder with --state"
        )
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            found = database.execute("SELECT value FROM meta WHERE name = 'status'").fetchone()
            stages = dict(database.execute("SELECT stage, count(*) FROM findings GROUP BY stage"))
        finally:
            database.close()
    except sqlite3.Error as error:
        raise UsageError(f"the state cannot be read: {_why(error)}", file=str(path)) from error
    return json.loads(found[0]) if found else {}, stages, _is_locked(folder)


def _is_locked(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


_MALFORMED = "database disk image is malformed"


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", None) in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    ) or _MALFORMED in str(error)


def _why(error: sqlite3.Error) -> str:
    return str(error)


def _unusable(folder: Path, why: str) -> UsageError:
    return UsageError(
        f"the state cannot be kept: {why}",
        file=str(folder),
        help="--state names a folder that this user may write to",
    )
