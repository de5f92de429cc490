"""Judges an event by the published schema of OCSF 1.6.0, as the package `ocsf-json-schema` carries it.

The package turns the schema into JSON Schema (required attributes, types, patterns, enums, `at_least_one`), where no
attribute is allowed that the schema does not have. What JSON Schema cannot say is checked here: that the caption beside
an id is the caption of that id, and that `type_uid` follows from class and activity.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded

VERSION = "1.6.0"


@cache
def schema(version: str) -> dict[str, Any]:
    text = files("ocsf_json_schema").joinpath(f"ocsf/{version}.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def _validator(class_uid: int, profiles: tuple[str, ...], version: str) -> Draft202012Validator:
    embedded = OcsfJsonSchemaEmbedded(schema(version))
    name = embedded.lookup_class_name_from_uid(class_uid)
    return Draft202012Validator(embedded.get_class_schema(name, list(profiles)))


def faults(event: dict[str, Any], version: str = VERSION) -> list[str]:
    """Return all faults of an event, each as one sentence; a valid one has none."""
    validator = _validator(event["class_uid"], tuple(event["metadata"].get("profiles", ())), version)
    found = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(event)]
    name = next(name for name, one in schema(version)["classes"].items() if one["uid"] == event["class_uid"])
    found += _captions(event, schema(version)["classes"][name]["attributes"], version)
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        found.append(f"type_uid {event['type_uid']} does not follow from class and activity")
    return found


def _captions(values: dict[str, Any], attributes: dict[str, Any], version: str) -> Iterator[str]:
    for key, value in values.items():
        attribute = attributes.get(key)
        if attribute is None:
            continue
        sibling = attribute.get("sibling")
        captions = {
            int(id): one["caption"] for id, one in (attribute.get("enum") or {}).items() if id.isdigit()
        }
        if sibling in values and isinstance(value, int) and values[sibling] != captions.get(value):
            yield f"{sibling} is {values[sibling]!r} where {key} {value} is {captions.get(value)!r}"
        if attribute["type"] == "object_t" and attribute["object_type"] != "object":
            below = schema(version)["objects"][attribute["object_type"]]["attributes"]
            for one in value if isinstance(value, list) else [value]:
                yield from _captions(one, below, version)
