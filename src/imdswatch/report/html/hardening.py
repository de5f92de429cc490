"""What harden would change on each host, or did, as HTML that needs no script: file, remedy, state, and what differs.

Pure. A host on which changes are needed stands first, and is open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from imdswatch.report.headline import plural
from imdswatch.report.html.markup import Child, Html, prose, tag
from imdswatch.report.statement import Statement, said

HOSTS = 100
EDITS = 60
_SHORT = 12
"""Lines of a difference that is shown at once."""
_MARKS = {
    "needed": "asks",
    "asks": "asks",
    "left-alone": "unknown",
    "reverted": "asks-only-when",
    "applied": "protected",
}
"""State of a change and the colours that it shares with a state of an audit."""


def hardened(found: Mapping[str, Sequence[Statement]]) -> Html:
    """Return all hosts, those first that need changes."""
    if not found:
        return Html("")
    hosts = sorted(found.items(), key=lambda one: (not _needs(one[1]), one[0]))
    needing = sum(map(_needs, found.values()))
    told = f"{plural(len(found), 'host')}; changes are needed on {needing:,}." if needing else ""
    return tag(
        "section",
        tag("h2", "What keeps AWS tools from asking", id="hardening-title"),
        tag("p", told or f"{plural(len(found), 'host')}; no change is needed.", class_="quiet"),
        [_host(name, lines) for name, lines in hosts[:HOSTS]],
        tag("p", f"and {plural(len(hosts) - HOSTS, 'more host')}", class_="more")
        if len(hosts) > HOSTS
        else None,
        id="hardening",
        class_="beside",
        aria_labelledby="hardening-title",
    )


def _host(name: str, lines: Sequence[Statement]) -> Html:
    changes = [one for one in lines if one.kind != "note"]
    notes = [said(one) for one in lines if one.kind == "note"]
    counts = Counter(said(one).state for one in changes)
    parts: list[Child] = [_change(one) for one in changes[:EDITS]]
    if len(changes) > EDITS:
        parts.append(tag("p", f"and {plural(len(changes) - EDITS, 'more change')}", class_="more"))
    if not changes:
        parts.append(tag("p", "Nothing is to be changed.", class_="nothing"))
    if notes:
        items = [
            tag("li", tag("span", one.about, class_="quiet"), " ", prose(one.why)) for one in notes[:EDITS]
        ]
        parts += [tag("h3", "Besides", class_="sub-title"), tag("ul", items, class_="notes")]
    heading = tag(
        "summary",
        tag("span", name or "unnamed host", class_="id"),
        " ",
        [[_mark(state, f"{count:,} {_word(state)}"), " "] for state, count in counts.items()],
    )
    return tag("details", heading, tag("div", parts, class_="inside"), class_="audited", open=_needs(lines))


def _change(one: Statement) -> Html:
    told, diff = said(one), str(one.values.get("diff", ""))
    what = "run " if one.kind == "command" else ""
    short = diff.count("\n") <= _SHORT
    return tag(
        "article",
        tag("h3", _mark(told.state, _word(told.state)), " ", what, tag("span", told.about, class_="id")),
        tag("p", prose(told.change)) if one.kind == "left" else None,
        tag("p", prose(told.why), class_="quiet") if told.why else None,
        tag("details", tag("summary", "What differs"), tag("pre", _lines(diff), class_="diff"), open=short)
        if diff
        else None,
        class_="cell-group",
    )


def _lines(diff: str) -> list[Child]:
    """Return a diff line by line, what comes and what goes marked; pre-formatted, so each ends its own line."""
    lines: list[Child] = []
    for line in diff.rstrip("\n").split("\n"):
        kind = {"+": "ins", "-": "del"}.get(line[:1]) if line[:3] not in ("+++", "---") else None
        lines += [tag(kind, line) if kind else line, Html("\n")]
    return lines


def _mark(state: str, text: str) -> Html:
    return tag("span", text, class_=f"badge state-{_MARKS.get(state, 'unknown')}")


def _word(state: str) -> str:
    return state.replace("-", " ") or "unknown"


def _needs(lines: Sequence[Statement]) -> bool:
    return any(one.kind != "note" and said(one).result == "fail" for one in lines)
