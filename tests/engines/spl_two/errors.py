"""What can go wrong in a query: `SplError` with its place, and `Undocumented` where the manuals are silent."""

from __future__ import annotations


class SplError(Exception):
    """A query that this evaluator refuses; `at` is the offset in the query after macros were expanded."""

    def __init__(self, message: str, at: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.at = at

    def located(self, text: str) -> SplError:
        """Return the same error with line, column and the text from there on."""
        if self.at is None:
            return self
        at = min(self.at, len(text))
        line = text.count("\n", 0, at) + 1
        column = at - (text.rfind("\n", 0, at) + 1) + 1
        rest = text[at : at + 40].split("\n")[0]
        error = type(self)(f"{self.message}\n  --> line {line}, column {column}: {rest!r}")
        error.at = self.at
        return error


class Undocumented(SplError):
    """The answer depends on something that the manuals do not say."""
