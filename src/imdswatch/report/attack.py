"""The ATT&CK names of technique ids, for formats that want them beside the ids; `data/attack.yml` holds them.

Pure after the file was read once. An id that the file does not know gets no name: a user's own rule may name any
technique.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Tactic(NamedTuple):
    """A tactic: what an attacker is after."""

    id: str
    name: str


class Technique(NamedTuple):
    """A technique; `parent` and `parent_name` are those of a sub-technique, else empty, as is an unknown name."""

    id: str
    name: str
    parent: str
    parent_name: str
    tactics: tuple[Tactic, ...]


def version() -> str:
    """Return the version of ATT&CK that the names come from."""
    return str(_table()["version"])


def techniques(ids: Iterable[str]) -> list[Technique]:
    """Return the techniques of a finding in its order, each once."""
    return [_technique(id) for id in dict.fromkeys(ids) if id]


def tactics(ids: Iterable[str]) -> list[Tactic]:
    """Return the tactics of all techniques, each once, in the order of their ids."""
    return sorted({tactic for technique in techniques(ids) for tactic in technique.tactics})


def _technique(id: str) -> Technique:
    table = _table()
    entry: dict[str, Any] = table["techniques"].get(id, {})
    parent = id.partition(".")[0] if "." in id else ""
    above: dict[str, Any] = table["techniques"].get(parent, {})
    named = tuple(Tactic(tactic, table["tactics"][tactic]) for tactic in entry.get("tactics", ()))
    return Technique(id, entry.get("name", ""), parent, above.get("name", ""), named)


@cache
def _table() -> dict[str, Any]:
    text = files("imdswatch").joinpath("data/attack.yml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.load(text, Loader=_LOADER)
    return table
