"""Audits of hosts as HTML that needs no script: which tool would ask for whom, why, and what closes it.

Pure. A host whose tools ask stands first, and is open; of what rests on the same reason there is one entry.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from imdswatch.report.headline import plural
from imdswatch.report.html.markup import Child, Html, join, prose, tag
from imdswatch.report.statement import Statement, states_of

HOSTS = 100
GROUPS = 40
_COLUMNS = 8
_ROWS = 60
_NAMES = 12
_STATES = {"asks": "asks", "unknown": "unknown", "asks-only-when": "asks only when", "protected": "protected"}
"""What a cell can say, the worst first."""
_RANK = {state: rank for rank, state in enumerate(_STATES)}
_MACHINES = {"ec2": "an EC2 instance", "not-ec2": "no EC2 instance"}
_LEVELS = {"error": "bad", "warning": "warn", "note": "unknown"}

Values = Mapping[str, Any]


def audits(found: Mapping[str, Sequence[Statement]]) -> Html:
    """Return all audited hosts, the worst first."""
    if not found:
        return Html("")
    hosts = sorted(found.items(), key=lambda one: (_worst(one[1]), one[0]))
    counts = sum((states_of(said) for said in found.values()), Counter[str]())
    asking = sum(1 for said in found.values() if _worst(said) == 0)
    told = f"{plural(len(found), 'host')} audited; {plural(asking, 'host')} with tools that ask."
    return tag(
        "section",
        tag("h2", "Would AWS tools ask an impostor", id="audit-title"),
        tag("p", told, " ", _counts(counts), class_="quiet"),
        [_host(name, said) for name, said in hosts[:HOSTS]],
        tag("p", f"and {plural(len(hosts) - HOSTS, 'more host')}", class_="more")
        if len(hosts) > HOSTS
        else None,
        id="audit",
        aria_labelledby="audit-title",
    )


def _worst(said: Sequence[Statement]) -> int:
    return min((_RANK.get(state, 1) for state in states_of(said)), default=len(_RANK))


def _host(name: str, said: Sequence[Statement]) -> Html:
    cells = [one.values for one in said if one.kind == "cell"]
    checks = [one.values for one in said if one.kind == "check"]
    summaries = [one.values for one in said if one.kind == "summary"]
    machines = dict.fromkeys(
        _MACHINES.get(str(one.get("machine")), "a machine of unknown make") for one in summaries
    )
    groups = _groups(cells)
    parts: list[Child] = [_grid(cells), [_group(*group) for group in groups[:GROUPS]]]
    if len(groups) > GROUPS:
        parts.append(tag("p", f"and {plural(len(groups) - GROUPS, 'more reason')}", class_="more"))
    parts += [_check(check) for check in checks[:GROUPS]]
    if len(checks) > GROUPS:
        parts.append(tag("p", f"and {plural(len(checks) - GROUPS, 'more check')}", class_="more"))
    if not summaries:
        parts.insert(0, tag("p", "This audit was cut short: it has no summary.", class_="missed-line"))
    if not cells and not states_of(said):
        parts.append(tag("p", "No AWS tool was found here.", class_="nothing"))
    heading = tag(
        "summary",
        tag("span", name or "unnamed host", class_="id"),
        " ",
        tag("span", ", ".join(machines), class_="quiet") if machines else None,
        " ",
        _counts(states_of(said)),
    )
    return tag(
        "details", heading, tag("div", parts, class_="inside"), class_="audited", open=_worst(said) == 0
    )


def _counts(states: Mapping[str, int]) -> Child:
    return [
        [tag("span", f"{states[state]:,} {words}", class_=f"badge state-{state}"), " "]
        for state, words in _STATES.items()
        if states.get(state)
    ]


def _mark(state: object) -> Html:
    known = str(state) if str(state) in _STATES else "unknown"
    return tag("span", _STATES[known], class_=f"badge state-{known}")


def _grid(cells: Sequence[Values]) -> Html:
    """Return tool × who runs it, where that fits on a page; the worst where one tool runs twice for one."""
    tools = dict.fromkeys(_tool(cell) for cell in cells)
    places = dict.fromkeys(_place(cell) for cell in cells)
    if not 1 < len(tools) <= _ROWS or not 1 < len(places) <= _COLUMNS:
        return Html("")
    worst: dict[tuple[str, str], str] = {}
    for cell in cells:
        key, state = (_tool(cell), _place(cell)), str(cell.get("state"))
        if key not in worst or _RANK.get(state, 1) < _RANK.get(worst[key], 1):
            worst[key] = state
    heads = tag("tr", tag("th", "tool", scope="col"), [tag("th", place, scope="col") for place in places])
    rows = [
        tag("tr", tag("th", tool, scope="row"), [tag("td", _mark(worst[at]) if (at := (tool, place)) in worst else "–")
                                                 for place in places])
        for tool in tools
    ]  # fmt: skip
    table = tag("table", tag("thead", heads), tag("tbody", rows), class_="plain grid-of-states")
    return tag(
        "div", table, class_="scroll", role="region", tabindex="0", aria_label="Tools and who runs them"
    )


def _groups(cells: Sequence[Values]) -> list[tuple[Values, list[Values]]]:
    """Return the cells that rest on the same and are closed by the same, together, the worst first."""
    found: dict[str, list[Values]] = {}
    for cell in cells:
        key = json.dumps([cell.get(name) for name in ("state", "why", "when", "evidence", "change", "notes")])
        found.setdefault(key, []).append(cell)
    groups = [(group[0], group) for group in found.values()]
    return sorted(groups, key=lambda group: _RANK.get(str(group[0].get("state")), 1))


def _group(one: Values, cells: Sequence[Values]) -> Html:
    tools = _some(dict.fromkeys(map(_tool, cells)))
    places = _some(dict.fromkeys(map(_place, cells)))
    when = f" {one['when']}" if one.get("when") else None
    return tag(
        "article",
        tag("h3", _mark(one.get("state")), when),
        tag("p", tag("b", tools), f", in {places}"),
        tag("p", _said(one, "why")),
        _evidence(one),
        [tag("p", str(note), class_="quiet") for note in _list(one.get("notes"))],
        _change(one),
        class_="cell-group",
    )


def _check(check: Values) -> Html:
    level = str(check.get("level", ""))
    return tag(
        "article",
        tag(
            "h3",
            tag("span", level, class_=f"badge {_LEVELS.get(level, 'unknown')}"),
            " ",
            str(check.get("title", "")),
        ),
        tag("p", _said(check, "why")),
        _evidence(check),
        _change(check),
        class_="cell-group",
    )


def _evidence(one: Values) -> Html:
    return join(
        [
            tag("p", " ".join(str(place[name]) for name in ("source", "position") if name in place),
                tag("code", str(place["excerpt"])) if "excerpt" in place else None, class_="evidence")
            for place in _list(one.get("evidence"))[:_NAMES]
            if isinstance(place, Mapping)
        ]
    )  # fmt: skip


def _change(one: Values) -> Html:
    change = one.get("change")
    text = change.get("text") if isinstance(change, Mapping) else None
    return tag("p", tag("b", "Change: "), prose(str(text)), class_="next") if text else Html("")


def _tool(cell: Values) -> str:
    return " ".join(str(cell[name]) for name in ("tool", "version") if name in cell)


def _place(cell: Values) -> str:
    user = cell.get("user")
    return f"{cell.get('context', 'unknown')}{f' of {user}' if user else ''}"


def _some(names: Mapping[str, None]) -> str:
    known = list(names)
    more = f" and {len(known) - _NAMES} more" if len(known) > _NAMES else ""
    return ", ".join(known[:_NAMES]) + more


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _said(one: Values, name: str) -> str:
    return str(one.get(name, ""))
