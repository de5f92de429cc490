"""Judges a document by the published field definitions of the Elastic Common Schema (`data/ecs`), as an index would.

Knows nothing of how our documents are made. `faults` gives what Elasticsearch or Kibana would stumble over: a field
that ECS does not have, a value of another type, an array where none belongs or none where one does, a value that
is not allowed.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

ECS = json.loads((Path(__file__).parent / "data" / "ecs" / "fields-9.4.0.json").read_text(encoding="utf-8"))
FIELDS: dict[str, dict[str, Any]] = ECS["fields"]
OWN = "imdswatch"
_LONG = 1 << 63


def faults(document: dict[str, Any]) -> list[str]:
    """Return all faults of a document, each as one sentence; a document of ECS has none."""
    flat = dict(_flat(document))
    found = [fault for name, value in flat.items() for fault in _field(name, value)]
    found += [
        f"{name} is missing" for name, field in FIELDS.items() if field.get("required") and name not in flat
    ]
    expected = FIELDS["event.category"]["allowed"]
    for category in flat.get("event.category", []):
        for kind in flat.get("event.type", []):
            if kind not in expected.get(category, []):
                found.append(f"event.type {kind} is not expected in event.category {category}")
    return found


def _flat(document: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        name = f"{above}{key}"
        if not above and key == OWN:
            continue
        if isinstance(value, dict) and FIELDS.get(name, {}).get("type") not in (
            "object",
            "flattened",
            "nested",
        ):
            if not value:
                yield name, value
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _field(name: str, value: Any) -> Iterator[str]:
    field = FIELDS.get(name)
    if field is None:
        yield f"ECS {ECS['version']} has no field {name}"
        return
    if isinstance(value, list) != bool(field.get("array")):
        yield f"{name} is an array where it must not be, or is none: {value!r}"
    for one in value if isinstance(value, list) else [value]:
        if not _fits(field["type"], one):
            yield f"{name} is no {field['type']}: {one!r}"
        elif isinstance(one, str):
            if len(one) > field.get("ignore_above", len(one)):
                yield f"{name} is longer than what is indexed"
            if "pattern" in field and not re.search(field["pattern"], one):
                yield f"{name} is not spelled as ECS wants it: {one!r}"
            if "allowed" in field and one not in field["allowed"]:
                yield f"{name} may not be {one!r}"
            if not one:
                yield f"{name} is empty"


def _fits(kind: str, value: Any) -> bool:
    if kind in ("keyword", "match_only_text", "wildcard", "constant_keyword"):
        return isinstance(value, str)
    if kind == "long":
        return isinstance(value, int) and not isinstance(value, bool) and -_LONG <= value < _LONG
    if kind == "ip":
        try:
            return isinstance(value, str) and bool(ipaddress.ip_address(value))
        except ValueError:
            return False
    if kind == "date":
        try:
            return isinstance(value, str) and value.endswith("Z") and bool(datetime.fromisoformat(value))
        except ValueError:
            return False
    raise AssertionError(f"no test is written for type {kind}")
