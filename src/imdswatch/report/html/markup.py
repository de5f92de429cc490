"""HTML is built from elements, so that text can never become markup; pure.

`tag` escapes every child and attribute that is not itself an element made here: forgetting to escape is not possible,
only wrapping a text in `Html` by hand would be, and only `document` does that, with files of this package. Hidden
characters are spelled out as in every other report (`escape.visible`), and a text of more than `LONGEST` characters
ends in the number of those left out.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping

from imdswatch.report.escape import visible
from imdswatch.report.headline import plural

LONGEST = 2000
_LARGEST = 1 << 53
"""Integers from here on are no longer exact in JavaScript."""
_VOID = frozenset({"br", "hr", "wbr"})


class Html(str):
    """Markup that is finished: it is not escaped again."""

    __slots__ = ()


Child = str | Html | Iterable["Child"] | None


def tag(name: str, *children: Child, **attributes: str | int | bool | None) -> Html:
    """Return an element; `_` in names is `-`, a trailing one is dropped (`class_`); None and False are left out."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        parts.append(f" {key.rstrip('_').replace('_', '-')}")
        if value is not True:
            parts.append(f'="{html.escape(shown(str(value)))}"')
    parts.append(">")
    if name not in _VOID:
        parts += (join(*children), f"</{name}>")
    return Html("".join(parts))


def join(*children: Child) -> Html:
    """Return children one after the other, texts escaped."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(html.escape(shown(child)))
        elif child is not None:
            parts.append(join(*child))
    return Html("".join(parts))


def prose(text: str) -> Html:
    """Return a sentence in which what stands between backticks is code; where they do not pair, all is text."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return join(text)
    return join([tag("code", part) if at % 2 else part for at, part in enumerate(parts)])


def shown(text: str) -> str:
    """Return a text as people see it: hidden characters spelled out, the end of a very long one counted."""
    if len(text) <= LONGEST:
        return visible(text)
    return f"{visible(text[:LONGEST])} … ({plural(len(text) - LONGEST, 'more character')})"


def plain(value: object) -> object:
    """Return any value of a finding as JSON that a script may show as it is: all texts are `shown`, keys too."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_LARGEST < value < _LARGEST else str(value)
    if isinstance(value, Mapping):
        known = {shown(str(key)): plain(one) for key, one in value.items()}
        return {key: one for key, one in known.items() if one is not None and one not in ("", [], {})}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    return shown(str(value))
