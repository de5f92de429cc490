"""What stands at each endpoint, for a person: the verdict, who, whose, every reason, what to do.

Written as it comes, since a canary runs for days. Texts of the other side are made visible (`escape`); lines are cut
at the terminal's width between words. Findings are part of their verdict here, and not written a second time.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TextIO

from imdswatch.finding import Finding, Skipped, Summary
from imdswatch.report.escape import visible
from imdswatch.verdict import VERDICTS, Verdict

_COLORS: Mapping[str, str] = {"impostor": "1;31", "undecided": "1;33", "genuine": "32", "absent": "32"}
_WIDTH = 100
_LABEL = 10
_NAMES = (("mac", "MAC"), ("vendor", "made by"), ("gateway", "next hop"), ("ttl", "TTL"))


class Sink:
    """Writes a block for each verdict, and a line of counts at the end."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing yet."""
        self._handle, self._color, self._width = handle, color, max(40, width or _WIDTH)
        self._counts: Counter[str] = Counter()
        self._suppressed = 0

    def verdict(self, verdict: Verdict) -> None:
        """Write one verdict; an absent endpoint is one line."""
        self._counts[verdict.verdict] += 1
        name = f"other-cloud {verdict.cloud}" if verdict.cloud else verdict.verdict
        if self._color and verdict.verdict in _COLORS:
            name = f"\x1b[{_COLORS[verdict.verdict]}m{visible(name)}\x1b[0m"
        else:
            name = visible(name)
        way = f" over {verdict.interface}" if verdict.interface else ""
        self._handle.write(visible(f"{verdict.endpoint}{way}: ") + name + "\n")
        for label, text in _parts(verdict):
            self._line(label, text)
        if verdict.verdict != "absent":
            self._handle.write("\n")

    def finding(self, finding: Finding) -> None:
        """Count a finding that the site mutes; the rest stood in its verdict."""
        if finding.suppressed_by is not None:
            self._suppressed += 1
            self._line("muted", f"by the site: {finding.suppressed_by}")

    def skipped(self, skipped: Skipped) -> None:
        """Write nothing: its verdict said so."""

    def close(self, summary: Summary) -> None:
        """Write the counts."""
        counts = ", ".join(f"{self._counts[name]} {name}" for name in VERDICTS if self._counts[name])
        muted = f"; {self._suppressed} muted by the site" if self._suppressed else ""
        self._handle.write(f"{counts or 'nothing asked'}{muted}. {summary.seconds:.1f} s\n")

    def _line(self, label: str, text: str) -> None:
        lead = f"  {label:<{_LABEL}}"
        lines = textwrap.wrap(
            visible(text),
            self._width,
            initial_indent=lead,
            subsequent_indent=" " * len(lead),
            break_on_hyphens=False,
        )
        self._handle.write("".join(f"{line}\n" for line in lines))


def _parts(verdict: Verdict) -> Iterator[tuple[str, str]]:
    responder, account = verdict.responder, verdict.account
    who = [str(responder["ip"])] if "ip" in responder else []
    who += [f"{word} {responder[name]}" for name, word in _NAMES if name in responder]
    if who:
        yield "answered", ", ".join(who)
    if account:
        yield "account", ", ".join(_whose(account))
    for label, reasons in (("for", verdict.pro), ("against", verdict.contra), ("seen", verdict.facts)):
        for reason in reasons:
            yield label, reason.text
            label = ""
    for note in verdict.notes:
        yield "note", note
    if verdict.advice:
        yield "do", verdict.advice


def _whose(account: Mapping[str, object]) -> Iterator[str]:
    expected = {True: " (one of the site's)", False: " (none of the site's)"}.get(
        bool(account.get("expected")), ""
    )
    yield str(account.get("id", "unknown")) + (expected if "expected" in account else "")
    if "role" in account:
        yield f"role {account['role']}"
    if "access_key_id" in account:
        yield f"key {account['access_key_id']}"
