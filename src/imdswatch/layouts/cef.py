r"""Layout `cef`: ArcSight Common Event Format, `CEF:0|Vendor|Product|Version|Id|Name|Severity|key=value …`.

Guarantees: pure; anything before `CEF:` is ignored; header escapes `\|` `\\` and extension escapes `\=` `\\` `\n`
are undone; an extension value runs up to the next ` key=`; a custom field is readable by its label too (cs1Label).
Fewer than seven header fields is Malformed. (OpenText, Implementing ArcSight CEF.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imdswatch.layouts.fieldmap import UNSET
from imdswatch.layouts.plain import to_plain
from imdswatch.layouts.result import Malformed, Sources

if TYPE_CHECKING:
    from imdswatch.yamlfile import Table

_START = re.compile(r"CEF: ?\d+(?:\.\d+)?\|")
_HEADER = re.compile(r"((?:[^|\\]++|\\.)*+)\|")
_PAIR = re.compile(r"[ \t]([A-Za-z0-9_.\-\[\]]+)=")
_NAMES = (
    "cefDeviceVendor",
    "cefDeviceProduct",
    "cefDeviceVersion",
    "cefSignatureId",
    "cefName",
    "cefSeverity",
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_LETTERS = {"n": "\n", "r": "\r"}


def _plain(value: str) -> str:
    return _ESCAPE.sub(lambda found: _LETTERS.get(found[1], found[1]), value) if "\\" in value else value


@dataclass(frozen=True)
class Cef:
    """CEF header and extension."""

    unset: frozenset[str] = UNSET
    defaults: dict[str, str] = field(default_factory=dict)
    nested = False
    header = None

    @classmethod
    def load(cls, table: Table, unset: frozenset[str]) -> Cef:
        """Read the layout key `defaults`."""
        return cls(unset, table.mapping("defaults"))

    def names(self) -> frozenset[str] | None:
        """Return the source fields it can give: any."""
        return None

    def parse(self, text: str) -> Sources | Malformed | None:
        """Return header fields and extension keys by name; None if there is no CEF in the text."""
        start = _START.search(text)
        if start is None:
            return None
        sources: Sources = {}
        at = start.end()
        for name in _NAMES:
            found = _HEADER.match(text, at)
            if found is None:
                if name == "cefSeverity":  # some products end a record without extension without the last bar
                    sources[name] = _plain(text[at:])
                    return sources
                return Malformed("CEF header is cut short")
            sources[name] = _plain(found[1])
            at = found.end()
        parts = _PAIR.split(" " + text[at:])
        values = map(str.strip, parts[2::2])
        sources.update(zip(parts[1::2], map(_plain, values) if "\\" in text else values, strict=True))
        if "Label=" in text:
            for key in parts[1::2]:
                if key.endswith("Label") and key[:-5] in sources:
                    sources.setdefault(sources[key], sources[key[:-5]])
        return sources

    def write(self, sources: Sources) -> str:
        """Write header and extension; names that cannot be keys become custom strings with a label."""
        head = [re.sub(r"([|\\])", r"\\\1", to_plain(sources.get(name, name[3:]))) for name in _NAMES]
        pairs: list[str] = []
        for key, value in sources.items():
            if key in _NAMES:
                continue
            text = re.sub(r"([=\\])", r"\\\1", to_plain(value)).replace("\n", "\\n").replace("\r", "\\r")
            if re.fullmatch(r"[A-Za-z0-9_.\-]+", key):
                pairs.append(f"{key}={text}")
            else:
                number = len(pairs)
                pairs.append(f"cs{number}={text} cs{number}Label={key}")
        return "CEF:0|" + "|".join(head) + "|" + " ".join(pairs)
