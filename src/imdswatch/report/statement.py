"""What audit, harden and lab say, one line each: the noun between those who say it, files of it, and what shows it.

`values` are those of the line, as JSON has them. `said` puts any of them into the same few words, for formats that
have a row or an object for each; values may come from anybody's file, so nothing is taken for granted about them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imdswatch.finding import STAGE_RANK

ASKED = STAGE_RANK["requested"]
"""The stage that `--fail-on` compares for a host: what would ask is as far as a request, and no further."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One line; `kind` is cell, check, summary of an audit; edit, command, note, left of harden; performance of lab."""

    kind: str
    host: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """A statement in a few words; empty means unknown, or that there is nothing to say.

    about    what it is about: a tool and who runs it, a check, a file, a scenario and a client
    state    in the words of its command: asks, needed, passed, …
    result   pass, warning, fail or unknown; "" where nothing is judged
    why      the reason
    change   what closes it
    """

    about: str
    state: str
    result: str
    why: str = ""
    change: str = ""
    source: str = ""
    position: str = ""
    excerpt: str = ""


_RESULTS = {
    "asks": "fail", "unknown": "unknown", "asks-only-when": "warning", "protected": "pass",
    "error": "fail", "warning": "warning", "note": "warning",
    "needed": "fail", "applied": "pass", "reverted": "warning", "left-alone": "unknown",
    "failed": "fail", "skipped": "unknown", "passed": "pass",
}  # fmt: skip


def said(one: Statement) -> Said:
    """Return what a statement says."""
    values = one.values
    match one.kind:
        case "cell":
            tool = _words(values, "tool", "version")
            user = f" of {values['user']}" if values.get("user") else ""
            when = f" ({values['when']})" if values.get("when") else ""
            about, state = f"{tool} in {values.get('context', 'unknown')}{user}", _text(values, "state")
            why, change = f"{_text(values, 'why')}{when}", _change(values)
        case "check":
            about, state = _words(values, "title") or _text(values, "slug"), _text(values, "level")
            why, change = _text(values, "why"), _change(values)
        case "edit":
            slugs = ", ".join(str(slug) for slug in _listed(values.get("slugs")))
            about, state = _words(values, "action", "path"), _text(values, "state")
            return Said(
                about,
                state,
                _RESULTS.get(state, ""),
                _text(values, "reason") or slugs,
                slugs,
                _text(values, "path"),
            )
        case "command":
            about, state = (
                " ".join(str(word) for word in _listed(values.get("words"))),
                _text(values, "state"),
            )
            why = change = _text(values, "slug")
        case "left":
            about, state = ", ".join(str(cell) for cell in _listed(values.get("cells"))), "asks"
            why, change = _text(values, "reason"), _text(values, "text")
        case "performance":
            about, state = (
                f"{_text(values, 'scenario')} with {_words(values, 'client', 'version')}",
                _text(values, "result"),
            )
            why, change = "; ".join(faults(one)) or _text(values, "reason"), ""
        case "summary":
            counts = values.get("states")
            told = counts.items() if isinstance(counts, Mapping) else ()
            about, state = f"audit of {one.host or values.get('root', 'a host')}", ""
            why, change = ", ".join(f"{count} {name}" for name, count in told) or "no AWS tool", ""
        case _:
            about, state, why, change = _text(values, "slug") or one.kind, "", _text(values, "text"), ""
    seen = [one for one in _listed(values.get("evidence")) if isinstance(one, Mapping)]
    place: Mapping[str, Any] = seen[0] if seen else {}
    where = (_text(place, name) for name in ("source", "position", "excerpt"))
    return Said(about, state, _RESULTS.get(state, ""), why, change, *where)


def alarms(one: Statement) -> Iterator[Mapping[str, Any]]:
    """Yield the alarms of a performance: expected, seen, or both."""
    yield from (alarm for alarm in _listed(one.values.get("alarms")) if isinstance(alarm, Mapping))


def faults(one: Statement) -> list[str]:
    """Return what was wrong with a performance."""
    found = []
    for alarm in alarms(one):
        wrong = "; ".join(str(text) for text in _listed(alarm.get("wrong")))
        if wrong:
            found.append(
                f"{alarm.get('expected') or alarm.get('seen')} at {alarm.get('endpoint', 'unknown')}: {wrong}"
            )
    return [*found, *(str(text) for text in _listed(one.values.get("wrong")))]


def counts_from(one: Statement) -> int | None:
    """Return the rank of the stage by which a statement counts as found; None where it does not count."""
    result = said(one).result
    if one.kind == "performance" and result == "fail":
        named = [
            str(alarm.get(name))
            for alarm in alarms(one)
            if alarm.get("wrong")
            for name in ("expected", "seen")
        ]
        ranks = [STAGE_RANK[stage] for stage in named if stage in STAGE_RANK]
        return max(ranks) if ranks and not _listed(one.values.get("wrong")) else max(STAGE_RANK.values())
    return ASKED if one.kind in ("edit", "command", "left") and result == "fail" else None


def states_of(said: Sequence[Statement]) -> Counter[str]:
    """Return how many cells of one audit are in each state: those that are there, or as its summary counts them.

    A report keeps a bounded number of cells, and always the summary: the larger number counts.
    """
    cells = Counter(str(one.values.get("state")) for one in said if one.kind == "cell")
    for one in said:
        told = one.values.get("states") if one.kind == "summary" else None
        if isinstance(told, Mapping):
            cells |= Counter(
                {str(state): count for state, count in told.items() if type(count) is int and count > 0}
            )
    return cells


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else "" if value is None else str(value)


def _words(values: Mapping[str, Any], *names: str) -> str:
    return " ".join(filter(None, (_text(values, name) for name in names)))


def _change(values: Mapping[str, Any]) -> str:
    change = values.get("change")
    return _text(change, "text") if isinstance(change, Mapping) else ""


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
