"""Text from logs is made harmless for the medium it is written to: terminal, JSON line or CSV cell.

Whatever a terminal or an editor acts on without showing it counts as hidden: control characters,
bidirectional controls, zero-width and other ignorable characters, line separators, lone surrogates. The
list is fixed here, so output does not change with the Unicode version of the interpreter. Everything is
pure and accepts any `str`.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1 (ECMA-48): escape sequences, new lines
    "\u2028\u2029"  # line and paragraph separator: a new line to str.splitlines and JavaScript
    # Unicode DerivedCoreProperties, Default_Ignorable_Code_Point (holds every Bidi_Control)
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\ufff9-\ufffb\ufffe\uffff"  # interlinear annotation, noncharacters
    "\ud800-\udfff"  # surrogates: not encodable; os.fsdecode makes them of bytes that are no UTF-8
    "]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# OWASP "CSV Injection": what a spreadsheet takes for the start of a formula, full-width forms included.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def visible(text: str) -> str:
    r"""Return the text for a person's screen: one line, hidden characters spelled as in Python (`\x1b`).

    A backslash stays as it is, so the result reads well but cannot be turned back; ndjson is the exact form.
    """
    return _HIDDEN.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cell(text: str) -> str:
    """Return the text for a CSV cell: visible, with a leading apostrophe if a spreadsheet would compute.

    Spaces before the sign do not hide it. Quoting is the csv module's work.
    """
    risky = text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA)
    return ("'" if risky else "") + visible(text)


def encodable(text: str) -> str:
    """Return the text as UTF-8 can carry it: surrogate pairs joined, lone surrogates replaced by U+FFFD."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def json_line(document: str) -> str:
    r"""Return a JSON document on one line, hidden characters as `\u` escapes: the same values to a parser.

    Sound because outside of its strings a compact JSON document has none of these characters.
    """
    return _HIDDEN.sub(_json_escape, document)


def _json_escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
