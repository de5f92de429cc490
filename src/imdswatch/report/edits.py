"""What is done to a host, for a person: one block for each remedy, with the lines that change, and what to do besides.

Only lines that differ and two around them are shown, with secrets cut: a configuration file may hold a password of
somebody else. Everything is made visible (`escape`), so a file cannot write to the terminal.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from typing import TextIO

from imdswatch.edit import Command, Edit, Left, Note
from imdswatch.finding import Finding, Skipped, Summary
from imdswatch.redact import MARK, redact
from imdswatch.report.escape import visible

_AROUND = 2
_CELLS = 6
"""Tools that a line names; ndjson has them all."""
_UNENDED = "\n"
"""Marks a last line without its end; no other line has one in it."""
_COLORS = {"+": "32", "-": "31", "@": "36"}
_NAME = r"[\w.-]*(?:pass|key|auth|cred|secret|token)[\w.-]*"
_SECRET = re.compile(  # NAME=all of the line, or "name": one JSON value
    rf"(?i)((?<![\w.-]){_NAME}\s*=\s*)\S.*|(\"{_NAME}\"\s*:\s*)(?:\"(?:[^\"\\]|\\.)*\"|[^\s,}}\]]+)"
)
_DONE = {"applied": "made", "reverted": "as it was", "left-alone": "LEFT ALONE"}


class Sink:
    """Writes as results come; the counts at the end."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing yet."""
        self._handle, self._color = handle, color
        self._states: Counter[str] = Counter()

    def edit(self, edit: Edit, state: str) -> None:
        """Write one edit with what differs."""
        self._states[state] += 1
        done = f" ({_DONE[state]})" if state in _DONE else ""
        self._line(f"{edit.action} {edit.path}: {', '.join(edit.slugs)}{done}", "1")
        for line in diff(edit):
            self._line(line, _COLORS.get(line[:1], ""))
        self._handle.write("\n")

    def reverted(self, path: str, state: str, reason: str) -> None:
        """Write what became of one path in a revert."""
        self._states[state] += 1
        color = "1;31" if state == "left-alone" else ""
        self._line(f"{_DONE[state]}: {path}{f': it {reason}' if reason else ''}", color)

    def command(self, command: Command, state: str) -> None:
        """Write one command."""
        self._line(f"{'ran' if state == 'applied' else 'run'}: {' '.join(command.words)}", "1")

    def note(self, note: Note) -> None:
        """Write what a person should know."""
        self._line(f"note: {note.slug}: {note.text}" if note.slug else f"note: {note.text}")

    def left(self, left: Left) -> None:
        """Write what is for a person's hands, and which tools wait for it."""
        self._states["left"] += 1
        self._line(f"STILL ASKS  {left.text}", "1;31")
        self._line(f"  by hand, because {left.reason}")
        more = f"; and {len(left.cells) - _CELLS} more" if len(left.cells) > _CELLS else ""
        self._line(f"  {'; '.join(left.cells[:_CELLS])}{more}")

    def finding(self, finding: Finding) -> None:
        """Write nothing: here are none."""

    def skipped(self, skipped: Skipped) -> None:
        """Write what could not be looked at."""
        self._line(f"NOT CHECKED  {skipped.source}: {skipped.reason}", "1;33")

    def close(self, summary: Summary) -> None:
        """Write the counts."""
        words = {
            "needed": "to change",
            "applied": "changed",
            "reverted": "as before",
            "left-alone": "left alone",
            "left": "by hand",
        }
        counts = [f"{self._states[state]} {word}" for state, word in words.items() if self._states[state]]
        counts += [f"{summary.skipped} not checked"] if summary.skipped else []
        self._line(f"{', '.join(counts) or 'nothing to change'}; looked at {summary.sources} files")
        for note in summary.notes:
            self._line(note)

    def _line(self, text: str, color: str = "") -> None:
        shown = visible(text)
        self._handle.write((f"\x1b[{color}m{shown}\x1b[0m" if self._color and color else shown) + "\n")


def diff(edit: Edit) -> Iterator[str]:
    """Yield the unified diff of an edit, without line ends; a value that may be a secret is cut."""
    if edit.link:
        yield f"+ → {edit.after.decode('utf-8', 'replace')}"
        return
    before, after = (_lines(data) for data in (edit.before or b"", edit.after))
    path = visible(edit.path)
    old = "/dev/null" if edit.before is None else f"a{path}"
    for line in difflib.unified_diff(before, after, old, f"b{path}", n=_AROUND, lineterm=""):
        text, unended, _ = line.partition(_UNENDED)
        yield text[:1] + _shown(text[1:])  # only now: what is cut may be all that differs
        if unended:
            yield "\\ No newline at end of file"


def _lines(data: bytes) -> list[str]:
    lines = data.decode("utf-8", "replace").split("\n")
    if not lines[-1]:
        return lines[:-1]
    lines[-1] += _UNENDED
    return lines


def _shown(line: str) -> str:
    return _SECRET.sub(lambda found: f"{found[1] or found[2]}{MARK}", redact(line))
