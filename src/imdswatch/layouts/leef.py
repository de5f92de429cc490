"""Layout `leef`: IBM Log Event Extended Format 1.0 and 2.0, `LEEF:1.0|Vendor|Product|Version|EventId|key=value<TAB>…`.

Guarantees: pure; anything before `LEEF:` is ignored; version 2.0 names its delimiter as a character or as x09 / 0x09;
where the declared tab does not occur, `|` and `^` are tried, which products use in spite of the format.
Fewer than five header fields is Malformed. (IBM, QRadar LEEF guide.)
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

_START = re.compile(r"LEEF: ?([12])(?:\.0)?\|")
_DELIMITER = re.compile(r"(?:0?x([0-9A-Fa-f]{1,4})|([^|A-Za-z0-9=]))?\|")
_NAMES = ("leefVendor", "leefProduct", "leefVersion", "leefEventId")


@dataclass(frozen=True)
class Leef:
    """LEEF header and attributes."""

    unset: frozenset[str] = UNSET
    defaults: dict[str, str] = field(default_factory=dict)
    nested = False
    header = None

    @classmethod
    def load(cls, table: Table, unset: frozenset[str]) -> Leef:
        """Read the layout key `defaults`."""
        return cls(unset, table.mapping("defaults"))

    def names(self) -> frozenset[str] | None:
        """Return the source fields it can give: any."""
        return None

    def parse(self, text: str) -> Sources | Malformed | None:
        """Return header fields and attributes by name; None if there is no LEEF in the text."""
        start = _START.search(text)
        if start is None:
            return None
        parts = text[start.end() :].split("|", 4)
        if len(parts) < 5:
            return Malformed("LEEF header is cut short")
        sources: Sources = dict(zip(_NAMES, parts, strict=False))
        rest, delimiter = parts[4], "\t"
        if start[1] == "2":
            found = _DELIMITER.match(rest)
            if found:
                delimiter = chr(int(found[1], 16)) if found[1] else found[2] or "\t"
                rest = rest[found.end() :]
        if delimiter == "\t" and "\t" not in rest:
            delimiter = next((other for other in "|^" if re.search(rf"[{re.escape(other)}]\w+=", rest)), "\t")
        for pair in rest.split(delimiter):
            key, assign, value = pair.partition("=")
            if assign:
                sources.setdefault(key.strip(), value.strip())
        return sources

    def write(self, sources: Sources) -> str:
        """Write LEEF 1.0; a tab inside a value becomes a blank, since the format has no escape."""
        head = "|".join(to_plain(sources.get(name, name[4:])).replace("|", " ") for name in _NAMES)
        pairs = [f"{key}={_line(to_plain(value))}" for key, value in sources.items() if key not in _NAMES]
        return f"LEEF:1.0|{head}|" + "\t".join(pairs)


def _line(text: str) -> str:
    return re.sub(r"[\t\r\n]", " ", text)
