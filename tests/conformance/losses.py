"""What a schema and a language cannot see, and so may lose: `allowed.yml`, applied to an event.

`visible` leaves out of an event's fields what the schema has no column for, and what the functions here take away;
the predicate of `scan` on the rest says what a query can be expected to answer at best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import yaml

from conformance.corpus import HERE, Case
from imdswatch.event import complete

Blind = Callable[[dict[str, Any]], dict[str, Any]]


@cache
def _file() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / "allowed.yml").read_text(encoding="utf-8"))
    return found


def entries(target: str, label: str, language: str) -> list[tuple[str, str]]:
    """Return what is allowed to be lost: (field or name of a blind spot, reason)."""
    found = []
    for block in (_file().get(target, {}).get(label, {}), _file().get("languages", {}).get(language, {})):
        for names, why in block.get("lacks", {}).items():
            found += [(name, f"{why} ({block['source']})") for name in names.split()]
        found += [(name, f"{why} ({block['source']})") for name, why in block.get("blind", {}).items()]
    return found


def visible(case: Case, losses: tuple[str, ...]) -> dict[str, Any]:
    """Return the completed fields that are left of an event."""
    left = dict(case.fields)
    if "answered" not in case.given:
        left.pop("answered", None)  # derived again of what is left
    for name in losses:
        if name in BLIND:
            left = BLIND[name](left)
        else:
            left.pop(name, None)
    return complete(left)


def _url_without_host(fields: dict[str, Any]) -> dict[str, Any]:
    return _without(fields, "url", "uri_path", "uri_query") if "host" not in fields else fields


def _reset(fields: dict[str, Any]) -> dict[str, Any]:
    return _without(fields, "action") if fields.get("action") == "reset" else fields


def _without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


BLIND: Mapping[str, Blind] = {
    "url without host": _url_without_host,
    "reset": _reset,
}
