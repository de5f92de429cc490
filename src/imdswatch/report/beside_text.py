"""What stands beside findings, for a terminal: endpoints probed, hosts audited and hardened, rehearsals; pure.

What is wrong is listed, the first `_MOST` of each section; what is well is counted.
"""

from __future__ import annotations

import io
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from imdswatch.report import verdicts
from imdswatch.report.beside import Beside
from imdswatch.report.escape import visible
from imdswatch.report.headline import plural
from imdswatch.report.statement import Statement, said, states_of

_MOST = 20
_STATES = {"asks": "asks", "unknown": "unknown", "asks-only-when": "asks only when", "protected": "protected"}
_WORST = ("fail", "unknown", "warning", "pass", "")


Hosts = Mapping[str, Sequence[Statement]]


def sections(beside: Beside, width: int) -> Iterator[tuple[str, list[str]]]:
    """Yield title and lines of each section that has something to say."""
    if beside.verdicts:
        yield "Endpoints probed", _endpoints(beside, width)
    if beside.audits:
        yield "Hosts audited", list(_hosts(beside.audits, width, _audited))
    if beside.hardened:
        yield "Hosts hardened", list(_hosts(beside.hardened, width, _hardened))
    if beside.performances:
        results = beside.results()
        counts = ", ".join(
            f"{results[name]} {name}" for name in ("passed", "failed", "skipped") if results[name]
        )
        yield "Rehearsals", [counts, *_listed(beside.performances, width)]


def _endpoints(beside: Beside, width: int) -> list[str]:
    out = io.StringIO()
    sink = verdicts.Sink(out, color=False, show_suppressed=False, width=width)
    for verdict in beside.verdicts[:_MOST]:
        sink.verdict(verdict)
    lines = out.getvalue().rstrip("\n").split("\n")
    more = len(beside.verdicts) - _MOST + beside.unlisted
    return [*lines, *([f"… and {plural(more, 'more endpoint')}"] if more > 0 else [])]


def _hosts(hosts: Hosts, width: int, count: Callable[[Sequence[Statement]], str]) -> Iterator[str]:
    for at, (host, lines) in enumerate(hosts.items()):
        if at == _MOST:
            yield f"… and {plural(len(hosts) - _MOST, 'more host')}"
            return
        yield visible(f"{host or 'unnamed host'}: {count(lines)}")
        yield from _listed(lines, width)


def _audited(lines: Sequence[Statement]) -> str:
    states, checks = states_of(lines), sum(one.kind == "check" for one in lines)
    counts = [f"{states[state]:,} {words}" for state, words in _STATES.items() if states[state]]
    counts += [f"{plural(checks, 'check')} not met"] if checks else []
    return ", ".join(counts) or "no AWS tool"


def _hardened(lines: Sequence[Statement]) -> str:
    states = Counter(said(one).state for one in lines if one.kind != "note")
    return ", ".join(f"{count:,} {state}" for state, count in states.items()) or "nothing to change"


def _listed(lines: Sequence[Statement], width: int) -> Iterator[str]:
    """Yield what is not well, the worst first; what rests on the same reason stands together."""
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for one in lines:
        told = said(one)
        if told.result not in ("pass", "") or one.kind == "note":
            groups.setdefault((told.result, told.state or one.kind, told.why, told.change), []).append(
                told.about
            )
    ordered = sorted(groups.items(), key=lambda group: _WORST.index(group[0][0]))
    for (_, state, why, change), about in ordered[:_MOST]:
        shown = ", ".join(dict.fromkeys(about[:8])) + (
            f" and {len(about) - 8} more" if len(about) > 8 else ""
        )
        yield from _wrapped(f"  {state:<15} ", f"{shown}: {why}" if why else shown, width)
        if change and change != why:
            yield from _wrapped(" " * 18, f"change: {change}", width)
    if len(ordered) > _MOST:
        yield f"  … and {plural(len(ordered) - _MOST, 'more reason')}"


def _wrapped(lead: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        visible(text),
        max(width, 40),
        initial_indent=visible(lead),
        subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
    )
