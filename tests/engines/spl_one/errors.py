"""Errors of the SPL evaluator: what is wrong, and where in the query."""

from __future__ import annotations


class SplError(Exception):
    """A query this evaluator refuses; `position` counts characters of the text after macros were expanded."""

    def __init__(self, message: str, text: str = "", position: int | None = None) -> None:
        self.position = position
        where = ""
        if position is not None:
            near = text[max(0, position - 30) : position + 30]
            where = f" at {position}: …{near}…" if near else f" at {position}"
        super().__init__(message + where)
