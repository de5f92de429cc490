"""An audit for a person: cells that ask first, those that rest on the same together, then what is wrong with the host.

Held back until the end, since the worst comes first. Texts come from the host's files and are made visible (`escape`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TextIO

from imdswatch.finding import Evidence, Skipped
from imdswatch.matrix import ASKS, ASKS_ONLY_WHEN, PROTECTED, STATES, UNKNOWN, Audited, Cell, Check, Subject
from imdswatch.report.escape import visible

_SAID = {ASKS: "asks", UNKNOWN: "unknown", ASKS_ONLY_WHEN: "asks only when", PROTECTED: "protected"}
_COLORS = {ASKS: "1;31", UNKNOWN: "1;33", ASKS_ONLY_WHEN: "36", PROTECTED: "32"}
_LEVELS = {"error": "1;31", "warning": "1;33", "note": "36"}
_WIDTH = 100
_MANY = 8
_MACHINES = {"ec2": "an EC2 instance", "not-ec2": "no EC2 instance", "unknown": "a machine of unknown make"}


class Sink:
    """Collects an audit and writes it when it is closed."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing yet."""
        self._handle, self._color, self._width = handle, color, max(40, width or _WIDTH)
        self._subject = Subject("", "", "", "")
        self._cells: list[Cell] = []
        self._checks: list[Check] = []
        self._skipped: list[Skipped] = []

    def subject(self, subject: Subject) -> None:
        """Keep which host the rest is about."""
        self._subject = subject

    def cell(self, cell: Cell) -> None:
        """Keep a cell."""
        self._cells.append(cell)

    def check(self, check: Check) -> None:
        """Keep a check."""
        self._checks.append(check)

    def skipped(self, skipped: Skipped) -> None:
        """Keep what could not be looked at."""
        self._skipped.append(skipped)

    def close(self, audited: Audited) -> None:
        """Write everything."""
        subject = self._subject
        says = f" ({subject.machine_says})" if subject.machine_says not in ("", "unknown") else ""
        self._line("", f"{subject.host or subject.root}: {_MACHINES[subject.machine]}{says}")
        for state in STATES:
            for group in _groups([cell for cell in self._cells if cell.state == state]):
                self._group(state, group)
        for check in self._checks:
            self._check(check)
        for skipped in self._skipped[:_MANY]:
            self._line("skipped", f"{skipped.source} {skipped.position}".rstrip() + f": {skipped.reason}")
        if len(self._skipped) > _MANY:
            self._line("skipped", f"and {len(self._skipped) - _MANY} more; --format ndjson lists them all")
        if not audited.tools:
            self._line("", "No AWS tool was found here.")
        counts = ", ".join(f"{audited.states[s]} {_SAID[s]}" for s in STATES if audited.states.get(s))
        many = "check" if audited.checks == 1 else "checks"
        checks = f"; {audited.checks} {many} not met" if audited.checks else ""
        gaps = f"; {audited.skipped} skipped" if audited.skipped else ""
        self._handle.write(f"{counts or 'nothing to judge'}{checks}{gaps}. {audited.seconds:.1f} s\n")

    def _group(self, state: str, cells: Sequence[Cell]) -> None:
        one = cells[0]
        said = _SAID[state]
        self._handle.write("\n" + self._styled(said, _COLORS[state]))
        if one.when:
            self._handle.write(visible(f" {one.when}"))
        self._handle.write("\n")
        tools = dict.fromkeys(f"{cell.tool} {cell.version}".strip() for cell in cells)
        places = dict.fromkeys(f"{cell.context} of {cell.user}" for cell in cells)
        self._line("tools", _some(list(tools), "; "))
        self._line("in", _some(list(places)))
        self._line("because", one.why)
        self._evidence(one.evidence)
        if one.change is not None:
            self._line("change", one.change.text)
        for note in one.notes:
            self._line("note", note)

    def _check(self, check: Check) -> None:
        head = self._styled(check.slug, _LEVELS[check.level])
        self._handle.write(f"\n{head} {visible(check.title)}\n")
        self._line("because", check.why)
        self._evidence(check.evidence)
        if check.change is not None:
            self._line("change", check.change.text)

    def _evidence(self, evidence: Sequence[Evidence]) -> None:
        for one in evidence:
            place = f"{one.source}:{one.position.removeprefix('line ')}" if one.position else one.source
            self._line("see", f"{place}  {one.excerpt}")

    def _styled(self, text: str, color: str) -> str:
        return f"\x1b[{color}m{visible(text)}\x1b[0m" if self._color else visible(text)

    def _line(self, label: str, text: str) -> None:
        lead = f"  {label:<9}" if label else ""
        lines = textwrap.wrap(
            visible(text),
            self._width,
            initial_indent=lead,
            subsequent_indent=" " * len(lead),
            break_on_hyphens=False,
        )
        self._handle.write("".join(f"{line}\n" for line in lines))


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells that rest on the same and are closed by the same, together, in the order of the first."""
    found: dict[object, list[Cell]] = {}
    for cell in cells:
        key = (cell.why, cell.when, cell.evidence, cell.change, cell.notes)
        found.setdefault(key, []).append(cell)
    return list(found.values())


def _some(names: Sequence[str], between: str = ", ") -> str:
    shown = between.join(names[:_MANY])
    return f"{shown} and {len(names) - _MANY} more" if len(names) > _MANY else shown
