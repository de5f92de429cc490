"""What the lab rehearsed as HTML that needs no script: scenario × client, and what was expected and seen; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from imdswatch.report.headline import plural
from imdswatch.report.html.markup import Child, Html, tag
from imdswatch.report.statement import Statement, alarms, faults

_MOST = 400
_MARKS = {"passed": "protected", "failed": "asks", "skipped": "unknown"}
"""Result and the colours that it shares with a state of an audit."""


def rehearsed(found: Sequence[Statement]) -> Html:
    """Return the table of results, then each rehearsal, those first that failed."""
    if not found:
        return Html("")
    counts = Counter(_result(one) for one in found)
    told = ", ".join(f"{counts[result]:,} {result}" for result in _MARKS if counts[result])
    ordered = sorted(found, key=lambda one: ("failed", "skipped", "passed").index(_result(one)))
    rows = [_row(one) for one in ordered[:_MOST]]
    names = ("result", "scenario", "client", "expected", "seen", "what is wrong")
    heads = tag("tr", [tag("th", name, scope="col") for name in names])
    return tag(
        "section",
        tag("h2", "Did every alarm ring", id="rehearsal-title"),
        tag("p", f"{plural(len(found), 'rehearsal')} of the lab: {told}.", class_="quiet"),
        _matrix(found),
        tag(
            "div",
            tag("table", tag("thead", heads), tag("tbody", rows), class_="plain wide"),
            class_="scroll",
            role="region",
            tabindex="0",
            aria_label="Rehearsals, expected and seen",
        ),
        tag("p", f"and {plural(len(found) - _MOST, 'more rehearsal')}", class_="more")
        if len(found) > _MOST
        else None,
        id="rehearsal",
        class_="beside card",
        aria_labelledby="rehearsal-title",
    )


def _matrix(found: Sequence[Statement]) -> Html:
    """Return scenario × client, where there are several clients; where one was played twice, the last."""
    clients = dict.fromkeys(_named(one, "client") for one in found)
    scenarios = dict.fromkeys(_named(one, "scenario") for one in found)
    if len(clients) < 2:
        return Html("")
    results = {(_named(one, "scenario"), _named(one, "client")): _result(one) for one in found}
    heads = tag(
        "tr", tag("th", "scenario", scope="col"), [tag("th", client, scope="col") for client in clients]
    )
    rows = [
        tag(
            "tr",
            tag("th", scenario, scope="row"),
            [
                tag("td", _mark(results[at]) if (at := (scenario, client)) in results else "–")
                for client in clients
            ],
        )
        for scenario in scenarios
    ]
    table = tag("table", tag("thead", heads), tag("tbody", rows), class_="plain grid-of-states")
    return tag("div", table, class_="scroll", role="region", tabindex="0", aria_label="Scenarios and clients")


def _row(one: Statement) -> Html:
    rung = list(alarms(one))
    cells: list[Child] = [
        _mark(_result(one)),
        tag("span", _named(one, "scenario"), class_="id"),
        " ".join(filter(None, (_named(one, "client"), str(one.values.get("version", ""))))),
        _stages(str(alarm.get("expected") or "") for alarm in rung) or "no alarm",
        _stages(str(alarm.get("seen") or "") for alarm in rung) or "nothing",
        "; ".join(faults(one)) or str(one.values.get("reason", "")),
    ]
    return tag("tr", [tag("td", cell) for cell in cells])


def _stages(stages: Iterable[str]) -> str:
    return ", ".join(
        f"{count} × {stage}" if count > 1 else stage for stage, count in Counter(filter(None, stages)).items()
    )


def _named(one: Statement, name: str) -> str:
    return str(one.values.get(name, "unknown"))


def _result(one: Statement) -> str:
    result = str(one.values.get("result"))
    return result if result in _MARKS else "skipped"


def _mark(result: str) -> Html:
    return tag("span", result, class_=f"badge state-{_MARKS[result]}")
