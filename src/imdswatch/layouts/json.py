"""Layout `json`: one object a record; source fields are paths, the literal dotted key first, then nested.

Pure. Reading the object itself is done once for all schemas (`parse`), which never raises: what cannot be JSON, is
cut short or nests deeper than any log does is Malformed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from imdswatch.layouts.fieldmap import UNSET
from imdswatch.layouts.result import Malformed, Sources

if TYPE_CHECKING:
    from imdswatch.yamlfile import Table

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def parse(line: bytes) -> Any:
    """Return the value of a JSON text, or Malformed.

    What orjson refuses for its strictness is tried once more: bytes that are not UTF-8 (as Latin-1), raw control
    characters, lone surrogates (become U+FFFD), NaN. Sensors write such lines when a stranger sends such requests.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if "ecursion" in str(error):
            return Malformed("JSON nests too deeply")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    try:
        value = json.loads(text, strict=False)
    except RecursionError:
        return Malformed("JSON nests too deeply")
    except ValueError:  # JSONDecodeError; also a number of more than 4300 digits
        return Malformed("JSON is broken or cut short")
    return _mended(value, 0)


def _mended(value: Any, depth: int) -> Any:
    if depth > 200:
        return None
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_mended(key, depth + 1): _mended(item, depth + 1) for key, item in value.items()}
    return value


@dataclass(frozen=True)
class Json:
    """One JSON object a record; `literal` says that the tool writes dotted names as they are (Zeek), not nested."""

    unset: frozenset[str] = UNSET
    literal: bool = False
    defaults: dict[str, str] = field(default_factory=dict)
    nested = True
    header = None

    @classmethod
    def load(cls, table: Table, unset: frozenset[str]) -> Json:
        """Read the layout keys `literal` and `defaults`."""
        return cls(unset, table.flag("literal"), table.mapping("defaults"))

    def names(self) -> frozenset[str] | None:
        """Return the source fields it can give: any."""
        return None

    def parse(self, text: str) -> Sources | Malformed | None:
        """Return the object that a text holds; None if it is something else."""
        value = parse(text.encode("utf-8", "replace"))
        return value if isinstance(value, (dict, Malformed)) else None

    def write(self, sources: Sources) -> str:
        """Write source values as one line of JSON."""
        out: dict[str, Any] = {}
        for name, value in sources.items():
            inner, parts = out, [name] if self.literal else name.split(".")
            for part in parts[:-1]:
                below = inner.setdefault(part, {})
                if not isinstance(below, dict):
                    below = inner[part] = {}
                inner = below
            inner.setdefault(parts[-1], value)
        return orjson.dumps(out).decode()
