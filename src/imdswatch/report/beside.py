"""What stands in a report beside findings: verdicts of probe, audits, changes of harden, rehearsals of the lab.

Collected by the sinks for people. Bounded: `VERDICTS` verdicts are kept, the rest is counted; how many statements there
are, the caller bounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from imdswatch.finding import Summary
from imdswatch.report.headline import Headline, plural
from imdswatch.report.statement import Statement, said, states_of
from imdswatch.verdict import Verdict

VERDICTS = 500
_CHANGES = ("edit", "command", "left")


@dataclass(slots=True)
class Beside:
    """All of it, as it came."""

    verdicts: list[Verdict] = field(default_factory=list)
    judged: Counter[str] = field(default_factory=Counter)
    """How many endpoints came to each verdict, those included that were not kept."""
    audits: dict[str, list[Statement]] = field(default_factory=dict)
    hardened: dict[str, list[Statement]] = field(default_factory=dict)
    """By host, like audits."""
    performances: list[Statement] = field(default_factory=list)

    def verdict(self, verdict: Verdict) -> None:
        """Take what stands at one endpoint."""
        self.judged[verdict.verdict] += 1
        if len(self.verdicts) < VERDICTS:
            self.verdicts.append(verdict)

    def statement(self, statement: Statement) -> None:
        """Take what audit, harden or lab say."""
        if statement.kind == "performance":
            self.performances.append(statement)
        elif statement.kind in (*_CHANGES, "note"):
            self.hardened.setdefault(statement.host, []).append(statement)
        else:
            self.audits.setdefault(statement.host, []).append(statement)

    @property
    def any(self) -> bool:
        """Whether there is anything beside findings."""
        return bool(self.verdicts or self.audits or self.hardened or self.performances)

    @property
    def unlisted(self) -> int:
        """How many verdicts were not kept."""
        return self.judged.total() - len(self.verdicts)

    def needing(self) -> list[str]:
        """Return the hosts on which changes are needed."""
        return [host for host, lines in self.hardened.items() if any(map(_is_needed, lines))]

    def results(self) -> Counter[str]:
        """Return how many rehearsals passed, failed and were skipped."""
        return Counter(str(one.values.get("result")) for one in self.performances)


def with_beside(first: Headline, beside: Beside, summary: Summary) -> Headline:
    """Return the headline where something stands beside the findings; where there are some, they stay the headline."""
    told, bad = list(_looked(beside)), list(_bad(beside, summary))
    if first.mood not in ("clean", "incomplete", "nothing"):
        rest = [text for _, word, text in bad if word != "IMPOSTOR"]  # that one has a finding
        return first._replace(more=(*first.more, *rest))
    if not told:
        return first
    missed = first.mood == "incomplete" or summary.skipped > 0
    hole = (
        f"But {plural(summary.skipped, 'place')} could not be looked at (listed below): this is no all-clear."
    )
    more = (" ".join(told), *((hole,) if missed else ()))
    if bad:
        mood, word, sentence = bad[0]
        return Headline(mood, word, sentence, (*(text for _, _, text in bad[1:]), *more))
    unsure = list(_unsure(beside))
    if missed or unsure:
        return Headline("incomplete", "INCOMPLETE", _nothing(beside, summary), (*more, *unsure))
    return Headline("clean", "CLEAN", _nothing(beside, summary), more)


def _bad(beside: Beside, summary: Summary) -> Iterator[tuple[str, str, str]]:
    """Yield mood, word and sentence of each bad news, the worst first."""
    impostors = beside.judged["impostor"]
    if impostors > summary.suppressed:
        yield "credentials-served", "IMPOSTOR", f"{plural(impostors, 'endpoint')} answered by an impostor."
    if asking := sum(states_of(lines)["asks"] > 0 for lines in beside.audits.values()):
        yield "answered", "AT RISK", f"AWS tools on {plural(asking, 'host')} would ask an impostor."
    if failed := beside.results()["failed"]:
        yield (
            "credentials-served",
            "FAILED",
            f"{plural(failed, 'rehearsal')} failed: an alarm is missing, or false.",
        )
    if needing := len(beside.needing()):
        yield "answered", "NOT HARDENED", f"Changes are needed on {plural(needing, 'host')}."


def _looked(beside: Beside) -> list[str]:
    counts = (
        (len(beside.audits), "host", "audited"),
        (beside.judged.total(), "endpoint", "probed"),
        (len(beside.hardened), "host", "checked by harden"),
        (len(beside.performances), "rehearsal", "played"),
    )
    return [f"{plural(count, noun)} {done}." for count, noun, done in counts if count]


def _nothing(beside: Beside, summary: Summary) -> str:
    """Return which bad news there is none of, of what was looked for."""
    parts = ["no finding to act on" if summary.suppressed else "no findings"]
    parts += ["no impostor"] if beside.verdicts and not beside.judged["impostor"] else []
    parts += ["no tool that asks"] if beside.audits else []
    parts += ["no change needed"] if beside.hardened else []
    parts += ["every alarm rang"] if beside.performances else []
    text = (
        ", ".join(parts[:-1]) + (", and " if len(parts) > 2 else " and ") + parts[-1]
        if parts[1:]
        else parts[0]
    )
    return f"{text[0].upper()}{text[1:]}."


def _unsure(beside: Beside) -> list[str]:
    cells = sum(states_of(lines)["unknown"] for lines in beside.audits.values())
    rest = (
        (beside.judged["undecided"], "endpoint", "could not be judged"),
        (cells, "tool", "may ask or may not"),
        (beside.results()["skipped"], "rehearsal", "could not be played"),
        (sum(_is_left(one) for lines in beside.hardened.values() for one in lines), "file", "left alone"),
    )
    return [f"{plural(count, noun)} {what}." for count, noun, what in rest if count]


def _is_needed(one: Statement) -> bool:
    return one.kind in _CHANGES and said(one).result == "fail"


def _is_left(one: Statement) -> bool:
    return one.values.get("state") == "left-alone"
