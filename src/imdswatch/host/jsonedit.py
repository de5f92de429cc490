"""One key of a JSON file is set, and every other byte stays as it is: order, indents, line ends, what we do not know.

Pure. Names are compared without case, and the last of several counts, as in Go's encoding/json, whose programs read
these files. Raises ValueError for what is no JSON object, or is nested too deep.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def value_of(text: str, path: Sequence[str]) -> object:
    """Return the value at a path of names, None where it is absent."""
    here: object = _loaded(text)
    for name in path:
        if not isinstance(here, dict):
            return None
        found = [value for key, value in here.items() if key.casefold() == name.casefold()]
        here = found[-1] if found else None
    return here


def with_value(text: str, path: Sequence[str], value: object) -> str:
    """Return the text with this value at a path of names; objects on the way are made where they are missing."""
    _loaded(text)
    start = 1 if text.startswith("\ufeff") else 0
    return _set(text, _skip(text, start), list(path), value)


def _loaded(text: str) -> dict[str, object]:
    try:
        found = json.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def _set(text: str, at: int, path: list[str], value: object) -> str:
    """Set a value in the object that begins at a place."""
    first = _skip(text, at + 1)
    here, members = first, []
    while text[here] != "}":
        name, end = _DECODER.raw_decode(text, here)
        start = _skip(text, _skip(text, end) + 1)  # over the colon
        end = _DECODER.raw_decode(text, start)[1]
        members.append((name, start, end))
        here = _skip(text, end)
        if text[here] == ",":
            here = _skip(text, here + 1)
    known = [one for one in members if one[0].casefold() == path[0].casefold()]
    if known:
        _, start, end = known[-1]
        if len(path) > 1 and text[start] == "{":
            return _set(text, start, path[1:], value)
        return text[:start] + _dumped(path[1:], value) + text[end:]
    new = f"{json.dumps(path[0])}: {_dumped(path[1:], value)}"
    if members:
        return f"{text[: at + 1]}{text[at + 1 : first]}{new},{text[at + 1 :]}"
    line = text[text.rfind("\n", 0, at) + 1 : at]
    indent = line[: len(line) - len(line.lstrip())]
    return f"{text[: at + 1]}\n{indent}    {new}\n{indent}{text[here:]}"


def _dumped(path: list[str], value: object) -> str:
    for name in reversed(path):
        value = {name: value}
    return json.dumps(value)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # it matches the empty text
    return found.end()
