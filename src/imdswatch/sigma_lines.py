"""On which line of a rule file an error stands: the same words may stand in comments, descriptions and other documents.

`Marked` is one document with its place. Texts that are searched are of the whole file's lines, but all that does not
belong to the document, or to its detection, is blank there: what is found has its right number. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

_KEYS = (
    "condition", "logsource", "detection", "detections", "modifier", "title",
    "blind_spots", "falsepositives", "references", "tags",
    "id", "name", "stage", "remedy", "description", "level", "status",
)  # fmt: skip
"""What a message of pySigma may be about, without quoting it."""


@dataclass(frozen=True, slots=True)
class Marked:
    """One YAML document; `text` is what belongs to it, `detection` what belongs to its detection."""

    document: Any
    text: str
    detection: str


def marked(document: Any, root: yaml.Node, text: str) -> Marked:
    """Return a document with its place, which its root node tells."""
    whole = _only(text, root, root)
    parts = root.value if getattr(root, "id", "") == "mapping" else ()
    spans = [(key, value) for key, value in parts if key.value == "detection"]
    return Marked(document, whole, _only(text, *spans[0]) if spans else whole)


def line_of(text: str, key: str) -> int:
    """Return the 1-based line on which a YAML key stands, one of the document itself before all others, or 0."""
    name = rf"['\"]?{re.escape(key)}(?:\|[\w|]+)?['\"]?\s*:"
    found = re.search(rf"(?m)^({name})", text) or re.search(rf"(?m)(?:^\s*-?\s*|[{{,]\s*)({name})", text)
    return text.count("\n", 0, found.start(1)) + 1 if found else 0


def line_with(text: str, piece: str) -> int:
    """Return the line on which a piece first stands, or 0."""
    at = text.find(piece)
    return text.count("\n", 0, at) + 1 if at >= 0 else 0


def guess_line(where: Marked, message: str) -> int:
    """Return the line that a message of pySigma is about, from the names in it; that of the document if it has none."""
    if "syntax" in message or "not defined in detections" in message:
        return line_of(where.detection, "condition") or _first(where)
    quoted: list[str] = re.findall(r"['\"]([^'\"]+)['\"]", message)
    if "egular expression" in message:
        regexes = "\n".join(line if "|re" in line else "" for line in where.detection.split("\n"))
        return next(filter(None, (line_with(regexes, piece) for piece in quoted)), 0) or line_with(
            regexes, "|re"
        )
    for piece in quoted:
        for text in (where.detection, where.text):
            if line := line_with(text, f"|{piece}") or line_of(text, piece) or line_with(text, piece):
                return line
    words = re.findall(r"\w+", message.lower())
    for key in _KEYS:
        if key in words and (
            line := line_of(where.text, key.removesuffix("s") if key == "detections" else key)
        ):
            return line
    return line_of(where.text, "detection") or _first(where)


def _first(where: Marked) -> int:
    return next(number for number, line in enumerate([*where.text.split("\n"), "end"], 1) if line.strip())


def _only(text: str, begin: yaml.Node, end: yaml.Node) -> str:
    """Return the lines from the start of one node to the end of another; the others, and comments, are blank."""
    first, last = begin.start_mark.line, end.end_mark.line - (end.end_mark.column == 0)
    return "\n".join(
        line if first <= number <= last and not line.lstrip().startswith("#") else ""
        for number, line in enumerate(text.split("\n"))
    )
