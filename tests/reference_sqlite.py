"""Reference: pySigma-backend-sqlite 2.0.0 (LGPL-3.0-only, test only) with Python's sqlite3.

It shares pySigma's parser with imdswatch; everything after the parse is its own. Columns have the affinity of their
kind and no case (`COLLATE NOCASE`), as Zircolite builds its tables. `timestamp` is ISO text, which the backend's
strftime needs. A value of a rule that the backend refuses gives None instead of a set of rows.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError

from reference_rules import KINDS, Event

NAME = "pysigma-backend-sqlite 2.0.0"
_TYPES = {"int": "INTEGER", "float": "REAL"}


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _regexp(pattern: str, value: Any) -> bool:
    return value is not None and _compiled(pattern).search(str(value)) is not None


class SqliteReference:
    """Events in a table in memory; asked about rules one by one."""

    name = NAME

    def __init__(self, events: Iterable[Event]) -> None:
        self._database = sqlite3.connect(":memory:")
        self._database.create_function("regexp", 2, _regexp, deterministic=True)
        columns = ", ".join(f"{n} {_TYPES.get(k, 'TEXT')} COLLATE NOCASE" for n, k in KINDS.items())
        self._database.execute(f"CREATE TABLE logs (row INTEGER PRIMARY KEY, {columns})")
        marks = ", ".join("?" for _ in range(len(KINDS) + 1))
        self._database.executemany(
            f"INSERT INTO logs VALUES ({marks})",
            ([row, *(_stored(name, event.get(name)) for name in KINDS)] for row, event in enumerate(events)),
        )
        self._backend = sqliteBackend()

    def ask(self, documents: Sequence[str]) -> list[set[int] | None]:
        """Return the rows that each rule matches, or None where the reference refuses the rule."""
        return [self._one(text) for text in documents]

    def _one(self, text: str) -> set[int] | None:
        try:
            queries = self._backend.convert(SigmaCollection.from_yaml(text))
        except (SigmaError, NotImplementedError):
            return None
        found: set[int] = set()
        for query in queries:
            try:
                found |= {
                    row for (row,) in self._database.execute(query.replace("SELECT *", "SELECT row", 1))
                }
            except (sqlite3.Error, ValueError):
                return None
        return found

    def close(self) -> None:
        """Drop the table."""
        self._database.close()


def _stored(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if name == "timestamp" and value is not None:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return value
