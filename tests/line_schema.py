"""Judges a line of ndjson by docs/imdswatch-1.schema.json, made strict: a member that it does not name is a fault."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[1]
FORMAT = "imdswatch/1"


@cache
def module() -> ModuleType:
    """Return docs/json_schema.py, which is no package's."""
    spec = importlib.util.spec_from_file_location("json_schema", ROOT / "docs" / "json_schema.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@cache
def _validators() -> dict[str, Draft202012Validator]:
    """Return one for each type of line: the whole schema tries each, which takes ten times as long."""
    lines = module().schema()["$defs"]
    return {kind: Draft202012Validator(module().strict(lines[kind])) for kind in lines}


def faults(document: dict[str, Any]) -> list[str]:
    """Return all faults of a line, each as one sentence; a valid one has none."""
    if document.get("format") != FORMAT:
        return [f"is of format {document.get('format')!r}"]
    validator = _validators().get(document.get("type", ""))
    if validator is None:
        return [f"is of type {document.get('type')!r}"]
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)]
