"""The report for a person as one text: headline, table, what to do next, what was left out; pure.

With `table` and `cells` the only module that imports rich. Text from logs enters as `Text` with hidden
characters spelled out, so neither markup nor a terminal command in it has any effect; cells fold, and what
is cut says so. Without color there is no escape sequence at all. Colors are the sixteen of the terminal, so
they follow its theme.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from imdswatch.finding import STAGE_RANK, Finding, Summary
from imdswatch.report import beside_text
from imdswatch.report.beside import Beside, with_beside
from imdswatch.report.cells import fold, place, say
from imdswatch.report.digest import Digest
from imdswatch.report.escape import visible
from imdswatch.report.headline import Headline, headline, looked, plural
from imdswatch.report.table import LEAST, STAGE_STYLES, table

Section = list[RenderableType]
"""Parts one below the other; sections are set apart by an empty line."""

_MOODS = STAGE_STYLES | {"clean": "bold green", "incomplete": "bold yellow", "nothing": "bold yellow"}
_ACT_FROM = STAGE_RANK["answered"]
_PLACES = 3
_EXCERPT = 400
_CLIENT = 60
_LABEL = 6  # columns, at most: `12-999`


def render(digest: Digest, beside: Beside, summary: Summary, *, color: bool, width: int) -> str:
    """Return the whole report, ending in a new line; `width` in terminal columns."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=max(width, LEAST),
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        _environ={},  # the caller decided; NO_COLOR, COLUMNS and FORCE_COLOR are read in cli
    )
    for number, section in enumerate(_sections(digest, beside, summary, console.width)):
        console.print(*([Text()] if number else []), *section, sep="\n")
    text = out.getvalue()
    return text if color else "".join(line.rstrip() + "\n" for line in text.splitlines())


def _sections(digest: Digest, beside: Beside, summary: Summary, width: int) -> Iterable[Section]:
    said = with_beside(headline(digest, summary), beside, summary)
    yield [_headline(said)]
    findings, hidden = digest.worst.listed(), digest.hidden.listed()
    if findings:
        yield [table(findings, width, 1), *_more(digest.worst.more, "finding")]
        yield from _what_to_do(findings, width)
    if hidden:
        rows = table(hidden, width, len(findings) + 1)
        yield [_title("Suppressed findings"), Text(), rows, *_more(digest.hidden.more, "suppressed finding")]
    for title, lines in beside_text.sections(beside, width):
        yield [_title(title), Text(), *(Text(line) for line in lines)]
    closing = list(_left_out(digest, summary))
    if (went_through := looked(summary)) not in said.sentence:  # with no finding it is the headline itself
        closing.append(Text(f"{went_through[0].upper()}{went_through[1:]}.", style="dim"))
    if closing:
        yield closing


def _headline(said: Headline) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(said.word, style=_MOODS[said.mood]), Text(said.sentence, style="bold"))
    for sentence in said.more:
        grid.add_row(Text(), Text(sentence))
    return grid


def _title(text: str) -> RenderableType:
    return Rule(Text(text, style="bold"), align="left", style="dim", characters="─")


def _more(number: int, noun: str) -> list[RenderableType]:
    if not number:
        return []
    said = f"… and {plural(number, f'more {noun}')} that this page does not list; --format ndjson has all."
    return [Text(f"\n{said}")]


# What to do


def _what_to_do(findings: list[Finding], width: int) -> Iterable[Section]:
    """One block a finding that was answered, then one a remedy for all others; a remedy is printed once."""
    blocks: list[tuple[str, list[Text]]] = []
    told: dict[str, int] = {}
    rest: dict[str, list[int]] = {}
    label_width = min(_LABEL, 2 * len(str(len(findings))) + 1)
    for number, finding in enumerate(findings, 1):
        if STAGE_RANK.get(finding.stage, 0) < _ACT_FROM:
            if finding.remedy:
                rest.setdefault(finding.remedy, []).append(number)
            continue
        seen_at = told.setdefault(finding.remedy, number)
        remedy = _paragraph(finding.remedy) if seen_at == number else Text(f"As for {seen_at}.")
        blocks.append((str(number), [*_about(finding), remedy, *_excerpts(finding, width - label_width - 2)]))
    for text, numbers in rest.items():
        rules = sorted({findings[number - 1].rule for number in numbers})
        about = Text(", ".join(map(visible, rules)), style="dim")
        blocks.append((_ranges(numbers), [about, _paragraph(text)]))
    title = [_title("What to do next"), Text()]
    for label, parts in blocks:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True, style="bold")
        grid.add_column(overflow="fold")
        grid.add_row(_label(label, label_width), Group(*(part for part in parts if part.plain)))
        yield [*title, grid]
        title = []


def _label(label: str, width: int) -> Text:
    """Return the label flush right; padded here, as a column width means more in some releases of rich."""
    return Text("\n".join(line.strip().rjust(width) for line in fold(Text(label), width).plain.split("\n")))


def _about(finding: Finding) -> Iterable[Text]:
    get = finding.victim.get
    who = say(get("ip") or get("host") or get("mac")) or "unknown victim"
    yield Text.assemble((who, "bold"), ": ", (say(finding.title), STAGE_STYLES.get(finding.stage, "bold")))
    client = say(get("user_agent"), _CLIENT)
    cause = f"cause: {say(finding.cause)}" if finding.cause else ""
    details = [say(finding.rule), cause, f"client: {client}" if client else ""]
    yield Text(" · ".join(detail for detail in details if detail), style="dim")


def _paragraph(text: str) -> Text:
    return Text("\n".join(visible(line) for line in text.splitlines()))


def _excerpts(finding: Finding, width: int) -> Iterable[Text]:
    for evidence in finding.evidence[:_PLACES]:
        where = Text(", ").join(part for part in place(evidence) if part.plain)
        excerpt = Text(say(evidence.excerpt, _EXCERPT), style="cyan")
        yield _quoted(where, width)
        if excerpt.plain:
            yield _quoted(excerpt, width)
    if (more := len(finding.evidence) - _PLACES) > 0:
        yield _quoted(Text(f"and {plural(more, 'more place')}", style="dim"), width)


def _quoted(text: Text, width: int) -> Text:
    bar = Text("│ ", style="dim")
    return Text("\n").join(bar + line for line in fold(text, width - len(bar)).split("\n", allow_blank=True))


def _ranges(numbers: list[int]) -> str:
    """Return ascending numbers briefly: `4, 6-9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


# What was left out


def _left_out(digest: Digest, summary: Summary) -> Iterable[RenderableType]:
    known = sum(digest.suppressed.values())
    total = max(known, summary.suppressed)
    if total:
        parts = [f"{count:,} by {visible(entry)}" for entry, count in digest.suppressed.most_common()]
        how = f" ({', '.join(parts)})" if parts else ""
        hint = "" if digest.hidden.total else " --show-suppressed lists them."
        yield Text(f"Suppressed: {plural(total, 'finding')}{how}.{hint}")
    missed = max(digest.skipped, summary.skipped)
    if missed:
        yield Text(f"Could not be looked at: {plural(missed, 'place')}.", style="bold yellow")
        for place in digest.places:
            where = ", ".join(visible(part) for part in (place.source, place.position) if part)
            yield Padding(Text(f"{where}: {visible(place.reason)}"), (0, 0, 0, 2))
        if missed > len(digest.places):
            rest = plural(missed - len(digest.places), "more place")
            yield Padding(Text(f"… and {rest}; --format ndjson has all."), (0, 0, 0, 2))
    if summary.ignored:
        kind = "neither a log nor a capture" if summary.ignored == 1 else "neither logs nor captures"
        yield Text(f"Ignored: {plural(summary.ignored, 'file')}, {kind}.")
    for note in summary.notes:
        yield Text(f"Note: {visible(note)}")
