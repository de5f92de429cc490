"""Messages that wait on disk until their receiver has confirmed them; one SQLite file for each target.

Guarantees: what `put` has taken survives the death of this process at once (write-ahead log), and a power failure
after the next `sync` (the courier calls it every second). Order is kept. The size is bounded: when it is full, the
oldest stay and `put` says no. An id waits once. Two processes may share a spool: then a message may be sent twice,
never lost.

Used by two threads, guarded by a lock. Bodies are counted, not the pages of the file.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from imdswatch.delivery.message import Message
from imdswatch.errors import UsageError

_LAYOUT = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, at REAL NOT NULL,
    body TEXT NOT NULL, labels TEXT NOT NULL, refused TEXT)
"""
_BUSY = 30.0
"""Seconds to wait for another process that writes."""


class Closed(Exception):
    """The spool was closed while its courier was still at work."""


class Spool:
    """The waiting messages of one target, oldest first; without a file they wait in memory."""

    def __init__(self, file: Path | None, limit: int) -> None:
        """Open or make the file; raises UsageError where that cannot be. `damaged` tells of one that was set aside."""
        self._file, self._limit, self._lock = file, limit, threading.Lock()
        self.damaged = ""
        self._open: sqlite3.Connection | None = _opened(file)
        if self._open is None:
            assert file is not None
            self.damaged = _set_aside(file)
            self._open = _opened(file)
        if self._open is None:
            raise UsageError("cannot use the spool: it is no database", file=str(file))
        [(self._bytes,)] = self._open.execute("SELECT coalesce(sum(length(body)), 0) FROM message")

    def put(self, message: Message, *, force: bool = False) -> bool:
        """Take a message and return whether there was room for it; one that waits already needs none."""
        with self._lock:
            size = len(message.body)
            if self._bytes + size > self._limit and not force:
                return self._waits(message.id)
            row = (message.id, message.kind, message.at, message.body, json.dumps(message.labels))
            try:
                taken = self._db.execute(
                    "INSERT OR IGNORE INTO message (id, kind, at, body, labels) VALUES (?, ?, ?, ?, ?)", row
                )
            except sqlite3.OperationalError:  # the disk is full, or another process holds the spool for long
                return False
            if taken.rowcount:
                self._bytes += size
            return True

    def head(self, most: int) -> list[tuple[int, Message]]:
        """Return the oldest messages with their numbers; not those that were refused."""
        with self._lock:
            rows = self._db.execute(
                "SELECT seq, id, kind, at, body, labels FROM message WHERE refused IS NULL ORDER BY seq LIMIT ?",
                (most,),
            ).fetchall()
        return [
            (seq, Message(id, kind, at, body, tuple((name, value) for name, value in json.loads(labels))))
            for seq, id, kind, at, body, labels in rows
        ]

    def confirmed(self, numbers: Sequence[int]) -> None:
        """Forget messages that their receiver has."""
        with self._lock:
            db, freed = self._db, 0
            db.execute("BEGIN IMMEDIATE")
            try:
                for (
                    number
                ) in numbers:  # not by RETURNING: the SQLite of long-lived systems is older than that
                    [(size,)] = db.execute(
                        "SELECT coalesce(sum(length(body)), 0) FROM message WHERE seq = ?", (number,)
                    )
                    db.execute("DELETE FROM message WHERE seq = ?", (number,))
                    freed += size
                db.execute("COMMIT")
            except sqlite3.OperationalError:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            self._bytes -= freed

    def refused(self, number: int, why: str) -> None:
        """Keep a message that its receiver refuses out of the way of others; the next run tries it once more."""
        with self._lock:
            self._db.execute("UPDATE message SET refused = ? WHERE seq = ?", (why, number))

    def waiting(self) -> int:
        """Return how many messages wait, refused ones too."""
        with self._lock:
            [(number,)] = self._db.execute("SELECT count(*) FROM message")
            return int(number)

    def sync(self) -> None:
        """Make what was taken survive a power failure; another process at work may delay that."""
        with self._lock, suppress(sqlite3.OperationalError):  # the next time, then
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Let go of the file; whoever uses the spool from now on gets `Closed`."""
        with self._lock:
            if self._open is not None:
                self._open.execute("PRAGMA incremental_vacuum").fetchall()
                self._open.close()
                self._open = None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._open is None:
            raise Closed
        return self._open

    def _waits(self, id: str) -> bool:
        return self._db.execute("SELECT 1 FROM message WHERE id = ?", (id,)).fetchone() is not None


def folder_of_spools(folder: Path) -> Path:
    """Return the folder, made if it is missing; raises UsageError where others could write into it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.stat()
    except OSError as error:
        why = (
            "it is no folder"
            if isinstance(error, FileExistsError)
            else (error.strerror or str(error)).lower()
        )
        raise UsageError(f"cannot use the spool: {why}", file=str(folder)) from None
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            "others may write into the spool, and so deliver what they like",
            file=str(folder),
            help="chmod go-w it",
        )
    return folder


def left_over(folder: Path, keys: Sequence[str]) -> list[tuple[str, int]]:
    """Return the spools in a folder that belong to no target of this run, and how many messages wait in each."""
    found = []
    for file in sorted(folder.glob("*.spool")):
        if file.stem not in keys and (waiting := _count(file)):
            found.append((file.stem, waiting))
    return found


def _count(file: Path) -> int:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as db:
            [(number,)] = db.execute("SELECT count(*) FROM message")
            return int(number)
    except sqlite3.Error:
        return 0  # no spool of ours


def _opened(file: Path | None) -> sqlite3.Connection | None:
    """Return a connection, or None where the file is no database, or one of another layout."""
    where = ":memory:" if file is None else str(file)
    try:
        if file is not None:
            # Made by us, so that SQLite does not make it readable for others.
            os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            if not file.is_file():
                raise UsageError("cannot use the spool: it is no plain file", file=str(file))
        db = sqlite3.connect(where, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    except OSError as error:
        raise UsageError(
            f"cannot use the spool: {(error.strerror or str(error)).lower()}", file=str(file)
        ) from None
    try:
        [(layout,)] = db.execute("PRAGMA user_version")
        if layout not in (0, _LAYOUT):
            db.close()
            return None
        if layout == 0:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(_TABLE)
        db.execute(f"PRAGMA user_version = {_LAYOUT}")
        db.execute("UPDATE message SET refused = NULL")
    except sqlite3.OperationalError as error:
        db.close()
        raise UsageError(f"cannot use the spool: {error}", file=str(file)) from None
    except sqlite3.DatabaseError:
        db.close()
        return None
    return db


def _set_aside(file: Path) -> str:
    """Move a file that cannot be read out of the way, and return its new name."""
    number = 1
    while (aside := file.with_suffix(f".damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    file.rename(aside)
    return str(aside)
