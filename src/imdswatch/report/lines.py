"""Findings for a person who looks on: some lines each, as they come, for a watch that has no end.

The first line says how grave, how far, who and whom; then where it stands, and what to do. A finding that is told again
has the same fingerprint, which is shown short. Texts are made visible (`escape`); nothing is kept.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TextIO

from imdswatch.finding import Finding, Skipped, Summary
from imdswatch.report import clock
from imdswatch.report.escape import visible

_COLORS: Mapping[str, str] = {"critical": "1;31", "high": "31", "medium": "33", "low": "36"}
_SHORT = 8


class Sink:
    """Writes each result as it comes."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing yet."""
        self._handle, self._color, self._show_suppressed = handle, color, show_suppressed

    def finding(self, finding: Finding) -> None:
        """Write a finding; a suppressed one only if suppressed findings are shown."""
        if finding.suppressed_by is not None and not self._show_suppressed:
            return
        grave = finding.severity
        if self._color and grave in _COLORS:
            grave = f"\x1b[{_COLORS[grave]}m{grave}\x1b[0m"
        first, *rest = _told(finding)
        self._handle.write("\n".join([f"{_at(finding.last_seen)} {grave} {first}", *rest]) + "\n")

    def skipped(self, skipped: Skipped) -> None:
        """Write what could not be looked at."""
        place = " ".join(filter(None, (skipped.source, skipped.position)))
        self._handle.write(f"{_at(time.time())} not looked at: {visible(f'{place}: {skipped.reason}')}\n")

    def close(self, summary: Summary) -> None:
        """Write what was looked at."""
        self._handle.write(
            f"{_at(time.time())} ended: {summary.records} records of {summary.sources} feeds, "
            f"{summary.findings} findings held, {summary.skipped} places not looked at\n"
        )


def _at(seconds: float | None) -> str:
    moment = clock.moment(seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment is not None else "(no time)"


def _told(finding: Finding) -> list[str]:
    victim, responder = finding.victim, finding.responder
    who = str(victim.get("ip") or victim.get("mac") or victim.get("host") or "an unknown host")
    asked = str(finding.request.get("host") or responder.get("ip") or "the endpoint")
    times = "once" if finding.count == 1 else f"{finding.count} times"
    parts = [f"{finding.stage}: {who} and {asked}, {times}"]
    if responder:
        named = [str(responder[name]) for name in ("mac", "nat_ip", "gateway") if name in responder]
        parts.append(f"answered by {' '.join(named) or responder.get('ip', 'somebody')}")
    if finding.account:
        shown = [f"{name} {finding.account[name]}" for name in ("id", "role") if name in finding.account]
        parts.append("account " + ", ".join(shown) if shown else "an account")
    if finding.suppressed_by is not None:
        parts.append(f"suppressed by {finding.suppressed_by}")
    parts.append(f"{finding.rule} [{finding.fingerprint[:_SHORT]}]")
    lines = [visible("; ".join(parts))]
    for one in finding.evidence[:1]:
        lines.append(visible(f"    {one.source} {one.position}: {one.excerpt}"))
    lines.append(visible(f"    {finding.remedy}"))
    return lines
