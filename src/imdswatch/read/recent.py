"""A dictionary that remembers only so much: what was touched longest ago is forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """At most `limit` entries; `get` and `put` make an entry the youngest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> V | None:
        """Remember a value; return the one that had to go for it, if any."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            return self._entries.popitem(last=False)[1]
        return None

    def pop(self, key: K) -> V | None:
        """Return the value of a key and forget it; None if it is not known."""
        return self._entries.pop(key, None)

    def oldest(self) -> tuple[K, V] | None:
        """Return the entry that would be forgotten first, without touching it."""
        for key, value in self._entries.items():
            return key, value
        return None

    def keys(self) -> list[K]:
        """Return all keys, the oldest first."""
        return list(self._entries)

    def drain(self) -> list[V]:
        """Return all values, the oldest first, and forget them."""
        values = list(self._entries.values())
        self._entries.clear()
        return values
