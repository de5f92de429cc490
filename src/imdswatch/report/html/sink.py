"""Collects results and writes the page at `close`: what is known at once at the top, all findings for the script below.

Memory is bounded: `shelf.LISTED` findings, `PLACES` skipped places and `beside.VERDICTS` verdicts are kept, the rest is
counted; the rows of many findings wait in a temporary file. Suppressed findings are always in the page, which hides
them until asked; `show_suppressed` is how it begins. The file is the same for the same results: no clock, no random
number. Nothing flushes or closes the handle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import TextIO

from imdswatch.finding import STAGE_RANK, Finding, Skipped, Summary
from imdswatch.report.beside import Beside, with_beside
from imdswatch.report.digest import Digest
from imdswatch.report.headline import headline
from imdswatch.report.html import hardening, hero, listing, matrix, overview, rehearsal, template
from imdswatch.report.html.columns import Columns, chunks
from imdswatch.report.html.marks import period
from imdswatch.report.html.markup import Html, tag
from imdswatch.report.html.parties import Parties
from imdswatch.report.html.row import Row
from imdswatch.report.html.shelf import LISTED, SUPPRESSED, Shelf
from imdswatch.report.statement import Statement
from imdswatch.verdict import Verdict


class Sink:
    """Takes results one by one, in any order, then one summary."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing before `close`."""
        self._handle, self._show_suppressed = handle, show_suppressed
        self._digest = Digest()
        self._stages: Counter[int] = Counter()
        self._shelf, self._hidden = Shelf(LISTED), Shelf(SUPPRESSED)
        self._places: list[Skipped] = []
        self._beside = Beside()

    def finding(self, finding: Finding) -> None:
        """Take a finding; the mildest are let go where there are too many, and counted."""
        self._digest.finding(finding, keep_suppressed=False)
        if finding.suppressed_by is None:
            self._stages[STAGE_RANK.get(finding.stage, 0)] += 1
            self._shelf.add(finding)
        else:
            self._hidden.add(finding)

    def skipped(self, skipped: Skipped) -> None:
        """Take what could not be looked at."""
        self._digest.skip(skipped)
        if len(self._places) < overview.PLACES:
            self._places.append(skipped)

    def verdict(self, verdict: Verdict) -> None:
        """Take what stands at one endpoint."""
        self._beside.verdict(verdict)

    def statement(self, statement: Statement) -> None:
        """Take what audit, harden or lab say; the caller bounds how much that is."""
        self._beside.statement(statement)

    def close(self, summary: Summary) -> None:
        """Write the page."""
        beside = self._beside
        said = with_beside(headline(self._digest, summary), beside, summary)
        missed = max(self._digest.skipped, summary.skipped)
        more = self._shelf.more + self._hidden.more
        parties, columns = Parties(), Columns()
        listed: list[Html] = []
        for row in self._rows():
            parties.add(row)
            columns.add(row)
            if len(listed) < listing.LISTED:
                listed.append(listing.finding(row))
        write = self._handle.write
        for part in template.page(
            {
                "title": f"{said.word}: {said.sentence}",
                "period": period(parties.first, parties.last) if parties.first is not None else "",
                "hero": hero.hero(said, self._digest, self._stages),
                "missed_line": overview.warning(missed),
                "responders": overview.responders(parties),
                "accounts": overview.accounts(parties),
                "order": overview.order(parties),
                "suppressed": overview.suppressed(self._digest, summary),
                "listed": tag("div", listed or tag("p", "No findings.", class_="nothing"), id="listed"),
                "more": _let_go(more),
                "audits": matrix.audits(beside.audits),
                "hardened": hardening.hardened(beside.hardened),
                "rehearsed": rehearsal.rehearsed(beside.performances),
                "verdicts": listing.verdicts(beside.verdicts, beside.unlisted),
                "missed": overview.missed(self._places, missed),
                "footer": overview.footer(summary),
                "holds": "findings" if listed else "others" if beside.any else "nothing",
                "show_suppressed": "yes" if self._show_suppressed else "no",
            },
            columns.index(),
            chunks(self._rows()),
        ):
            write(part)
        self._shelf.close()
        self._hidden.close()

    def _rows(self) -> Iterator[Row]:
        """Yield what the page lists: the worst first, what is suppressed last."""
        return chain(self._shelf.rows(), self._hidden.rows())


def _let_go(more: int) -> Html:
    if not more:
        return Html("")
    text = f"{more:,} more findings, milder than these, are counted above and not listed here; --format ndjson has all."
    return tag("p", text, class_="more")
