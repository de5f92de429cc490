"""The columns of a table, and where in them stands what a schema asks for.

A table keeps the names that a tool gave its fields (`id.orig_h`), nests them (`id` holding `orig_h`), or flattens them
as warehouses do that allow no dots and no capitals (`id_orig_h`). `Columns.find` answers for all three what
`imdswatch.layouts.fieldmap.lookup` would answer for a record of the table; for the third the record gets the name that
the schema knows (`renamed`). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Kind = Literal[
    "text", "integer", "number", "time", "local time", "bool", "texts", "many", "json", "other"
]  # fmt: skip
"""What a column holds; `time` knows its zone, `local time` does not, `texts` is a list of texts, `many` any other list
or a map, `json` is unpacked.
"""
MANY = frozenset({"texts", "many"})


@dataclass(frozen=True, slots=True)
class Shape:
    """The type of a column; `inner` are the fields of a struct."""

    kind: Kind = "other"
    inner: Mapping[str, Shape] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Column:
    """A value of a row: a column, or a field inside a column of structs, by its path."""

    path: tuple[str, ...]
    kind: Kind


@dataclass(frozen=True)
class Columns:
    """All columns of a table by name; `partitions` are those whose value stands in the name of its folder."""

    shapes: Mapping[str, Shape]
    partitions: Mapping[str, str] = field(default_factory=dict)

    def find(self, path: str) -> tuple[Column, ...]:
        """Return the columns that may hold what a source path asks for; where there is none, its flattened name."""
        found = self._direct(path)
        if not found and (other := self._flat.get(_flattened(path))) is not None:
            return (other,)
        return found

    def renamed(self, paths: Iterable[str]) -> dict[str, Column]:
        """Return the source paths that stand under another name in the table."""
        return {path: column for path in paths if not self._direct(path) for column in self.find(path)}

    def _direct(self, path: str) -> tuple[Column, ...]:
        found = []
        if path in self.shapes:
            found.append(Column((path,), self.shapes[path].kind))
        if "." in path and (nested := self._nested(path.split("."))) is not None:
            found.append(nested)
        return tuple(found)

    def _nested(self, keys: list[str]) -> Column | None:
        shape = self.shapes.get(keys[0])
        for depth, key in enumerate(keys[1:], 1):
            if shape is not None and (shape.kind in MANY or shape.kind == "json"):
                # Of each element, of a map, or whatever is there.
                return Column(tuple(keys[:depth]), shape.kind)
            shape = shape.inner.get(key) if shape is not None else None
        return Column(tuple(keys), shape.kind) if shape is not None else None

    @cached_property
    def _flat(self) -> dict[str, Column]:
        found: dict[str, Column] = {}
        for name, shape in self.shapes.items():
            _leaves((name,), shape, found)
        return found


def _leaves(path: tuple[str, ...], shape: Shape, found: dict[str, Column]) -> None:
    if len(path) > 8:
        return  # deeper than any schema asks
    found.setdefault(_flattened(".".join(path)), Column(path, shape.kind))
    for name, inner in shape.inner.items():
        _leaves((*path, name), inner, found)


def _flattened(path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", path.lower())
