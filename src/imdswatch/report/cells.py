"""Values from logs become lines of a terminal cell, hidden characters spelled out, long ones folded; pure.

Nothing is cut without saying so: a value of more than `LONGEST` characters ends in the number of those left
out.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from imdswatch.finding import Evidence
from imdswatch.report.escape import visible
from imdswatch.report.headline import plural

LONGEST = 300
_BREAK_AFTER = frozenset(" /:.,;-_?&=|@")


def say(value: object, longest: int = LONGEST) -> str:
    """Return any value of a finding as one visible line, empty where it is unknown."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(say(item) for item in value)
    text = str(value)
    if len(text) <= longest:
        return visible(text)
    return f"{visible(text[:longest])} … ({plural(len(text) - longest, 'more character')})"


def labelled(label: str, value: object, style: str = "") -> Text:
    """Return a dim label and the value, or an empty text where the value is unknown."""
    said = say(value)
    return Text.assemble((label, "dim"), (said, style)) if said else Text()


def lines(*parts: Text) -> Text:
    """Return the parts that are not empty, one below the other."""
    return Text("\n").join(part for part in parts if part.plain)


def place(evidence: Evidence) -> tuple[Text, Text]:
    """Return where it can be seen: source and position."""
    return Text(say(evidence.source)), Text(say(evidence.position), style="dim")


def fold(text: Text, width: int) -> Text:
    """Return the text in lines of at most `width` columns, broken after a space or separator if it can."""
    pieces: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        pieces += line.divide(_breaks(line.plain, width))
    return Text("\n").join(pieces)


def _breaks(line: str, width: int) -> list[int]:
    offsets, start = [], 0
    while cell_len(line[start:]) > width:
        end = start + 1
        while cell_len(line[start : end + 1]) <= width:
            end += 1
        candidates = range(end, start + (end - start) // 2, -1)
        start = next((at for at in candidates if line[at - 1] in _BREAK_AFTER), end)
        offsets.append(start)
    return offsets
