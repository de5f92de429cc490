"""What many files said becomes one report: findings merged, verdicts told once, of each host what was said last.

The sink is given everything in the end, in an order that depends on the files alone. Memory is bounded: findings by
`merge`, verdicts and statements by what a page can show; what is beyond is counted in a note.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from imdswatch.finding import STAGE_RANK, Finding, Skipped, Summary
from imdswatch.read.sources import Ignored
from imdswatch.report.gather import End
from imdswatch.report.merge import Merging
from imdswatch.report.ndjson import verdict_document
from imdswatch.report.readback import Result
from imdswatch.report.statement import ASKED, Statement, counts_from, said, states_of
from imdswatch.verdict import Verdict

VERDICTS = 1000
STATEMENTS = 40_000
_NOTES = 20
_WORST = ("impostor", "undecided", "other-cloud", "local-helper", "genuine", "absent")
_HOSTS = 1 << 16
_OF_AUDIT = ("cell", "check", "summary")
_TELLING = {
    "edit": ("path",),
    "command": ("words",),
    "note": ("slug", "text"),
    "left": ("slug", "path"),
    "performance": ("scenario", "client", "version"),
}
"""Of each kind that no audit says, what tells one from another of the same host."""


class Sink(Protocol):
    """Takes what the files said."""

    def finding(self, finding: Finding) -> None: ...  # noqa: D102
    def skipped(self, skipped: Skipped) -> None: ...  # noqa: D102
    def verdict(self, verdict: Verdict) -> None: ...  # noqa: D102
    def statement(self, statement: Statement) -> None: ...  # noqa: D102
    def close(self, summary: Summary) -> None: ...  # noqa: D102


@dataclass(slots=True)
class _Joined:
    """All that was said so far."""

    merging: Merging = field(default_factory=Merging)
    verdicts: dict[bytes, Verdict] = field(default_factory=dict)
    more_verdicts: int = 0
    audits: dict[tuple[str, str], list[Statement]] = field(default_factory=dict)
    """By host and root; the last audit of each counts."""
    open: dict[str, list[Statement]] = field(default_factory=dict)
    """Of audits whose summary has not come yet, by host."""
    others: dict[str, Statement] = field(default_factory=dict)
    """What harden and lab said: of each file, command, note, scenario and client the last."""
    kept: int = 0
    more_statements: int = 0
    sources: int = 0
    bytes: int = 0
    records: int = 0
    seconds: float = 0.0
    ignored: int = 0
    unlisted: int = 0
    """Suppressed findings that files count and do not list."""
    counted: int = 0
    muted: int = 0
    """Suppressed findings of the file that is being read: by its summary, and listed in it."""
    notes: dict[str, None] = field(default_factory=dict)

    def verdict(self, verdict: Verdict) -> None:
        key = orjson.dumps(verdict_document(verdict))
        if key in self.verdicts or len(self.verdicts) < VERDICTS:
            self.verdicts[key] = verdict
        else:
            self.more_verdicts += 1

    def statement(self, one: Statement) -> None:
        if one.kind not in _OF_AUDIT:
            self._other(one)
        elif one.kind == "summary" and (len(self.audits) < _HOSTS or one.host in self.open):
            key = one.host, str(one.values.get("root", ""))
            self.kept -= len(self.audits.get(key, ()))
            self.audits[key] = [*self.open.pop(one.host, []), one]  # always kept: it has the counts
            self.kept += 1
            self.seconds += _number(one.values.get("seconds"))
        elif self.kept < STATEMENTS and (one.host in self.open or len(self.open) < _HOSTS):
            self.open.setdefault(one.host, []).append(one)
            self.kept += 1
        else:
            self.more_statements += 1

    def _other(self, one: Statement) -> None:
        name = repr((one.kind, one.host, *(one.values.get(key) for key in _TELLING[one.kind])))
        if name in self.others:
            del self.others[name]  # what is said last stands last
            self.others[name] = one
        elif self.kept < STATEMENTS:
            self.others[name] = one
            self.kept += 1
        else:
            self.more_statements += 1

    def end_of_file(self, end: End) -> None:
        for host, lines in self.open.items():  # cut short: what there is counts, under no root
            self.kept -= len(self.audits.get((host, ""), ()))
            self.audits[host, ""] = lines
        self.open = {}
        self.unlisted += max(0, self.counted - self.muted)
        self.counted = self.muted = 0
        self.sources += 1
        self.bytes += end.bytes
        self.records += end.results

    def summary(self, one: Summary) -> None:
        self.seconds += one.seconds
        self.ignored += one.ignored
        self.counted += one.suppressed
        for note in one.notes:
            if len(self.notes) < _NOTES:
                self.notes[note] = None


def deliver(results: Iterable[Result | Ignored | End], sink: Sink, threshold: int) -> tuple[int, int]:
    """Give a sink all that files say; return how much of it counts as found, and how much was skipped.

    Findings below the rank of stage `threshold` and suppressed ones do not count. Beside findings count what makes the
    commands themselves end with 1: cells that ask, changes that are needed, rehearsals that failed; and an impostor of
    whom no finding tells, unless suppression explains that.
    """
    joined = _Joined()
    skipped = 0
    for one in results:
        match one:
            case Finding():
                joined.merging.add(one)
                joined.muted += one.suppressed_by is not None
            case Skipped():
                sink.skipped(one)
                skipped += 1
            case Verdict():
                joined.verdict(one)
            case Statement():
                joined.statement(one)
            case Summary():
                joined.summary(one)
            case End():
                joined.end_of_file(one)
            case Ignored():
                joined.ignored += 1
    counted = findings = suppressed = 0
    for finding in joined.merging.findings():
        sink.finding(finding)
        if finding.suppressed_by is None:
            findings += 1
            counted += STAGE_RANK[finding.stage] >= threshold
        else:
            suppressed += 1
    notes = [*joined.notes, *_beside(joined, sink)]
    sink.close(
        Summary(
            sources=joined.sources,
            bytes=joined.bytes,
            records=joined.records,
            findings=findings,
            suppressed=suppressed + joined.unlisted,
            skipped=skipped,
            ignored=joined.ignored,
            seconds=joined.seconds,
            notes=tuple(notes),
        )
    )
    states = [states_of(lines) for lines in joined.audits.values()]
    ranks = (counts_from(one) for one in joined.others.values())
    others = [said(one).result for one in joined.others.values()]
    if threshold <= ASKED:
        counted += sum(one["asks"] for one in states)
    counted += sum(rank is not None and rank >= threshold for rank in ranks)
    impostors = sum(one.verdict == "impostor" for one in joined.verdicts.values())
    if not findings and impostors > suppressed + joined.unlisted and threshold <= STAGE_RANK["answered"]:
        counted += impostors
    return counted, skipped + sum(one["unknown"] for one in states) + others.count("unknown")


def _beside(joined: _Joined, sink: Sink) -> list[str]:
    """Give the sink what is no finding; return notes of what a report does not hold."""
    verdicts = sorted(joined.verdicts.values(), key=lambda one: _WORST.index(one.verdict))
    for verdict in verdicts:
        sink.verdict(verdict)
    for audited in joined.audits.values():
        for statement in audited:
            sink.statement(statement)
    for statement in joined.others.values():
        sink.statement(statement)
    notes = []
    if joined.more_verdicts:
        notes.append(f"{joined.more_verdicts:,} more probe verdicts than a report holds")
    if joined.more_statements:
        notes.append(f"{joined.more_statements:,} more lines of audit, harden and lab than a report holds")
    return notes


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
