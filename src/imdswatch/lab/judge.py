"""Expected against seen: which alarms rang, which are missing, which are false. Pure.

Findings are compared as they stand in `imdswatch scan --format ndjson`, the public format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imdswatch.lab.scenario import Expected

Finding = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm: expected, seen, or both; `wrong` says what is wrong with it, empty if nothing."""

    victim: str | None
    endpoint: str
    expected: str
    seen: str
    wrong: tuple[str, ...] = ()


def judge(expected: Sequence[Expected], findings: Iterable[Finding]) -> tuple[Alarm, ...]:
    """Return all alarms: those expected in their order, then the false ones."""
    left = list(findings)
    alarms = []
    for one in expected:
        there = next((finding for finding in left if _place(finding) == (one.victim, one.endpoint)), None)
        if there is None:
            alarms.append(Alarm(one.victim, one.endpoint, one.stage, "", ("the alarm is missing",)))
        else:
            left.remove(there)
            wrong = tuple(_differences(one, there))
            alarms.append(Alarm(one.victim, one.endpoint, one.stage, there["stage"], wrong))
    for finding in left:
        why = f"a false alarm: {finding['rule']}"
        alarms.append(Alarm(*_place(finding), "", finding["stage"], (why,)))
    return tuple(alarms)


def _place(finding: Finding) -> tuple[str | None, str]:
    host = str(finding.get("request", {}).get("host", ""))
    return finding.get("victim", {}).get("ip"), host.strip("[]")


def _differences(expected: Expected, finding: Finding) -> Iterable[str]:
    if finding["stage"] != expected.stage:
        yield f"stage {finding['stage']}, not {expected.stage}"
    for rule in expected.rules:
        if rule not in finding["rules"]:
            yield f"without {rule}"
    seen = {
        **{f"responder {name}": value for name, value in finding.get("responder", {}).items()},
        "responder": finding.get("responder") or None,
        "account": finding.get("account", {}).get("id"),
        "forged": finding.get("account", {}).get("forged"),
        "vlan": finding.get("victim", {}).get("vlan"),
        "cause": finding.get("cause"),
    }
    for name, wanted in _flat(expected.values):
        if seen.get(name) != wanted:
            yield f"{name} {seen.get(name)}, not {wanted}"


def _flat(values: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, wanted in values.items():
        if isinstance(wanted, Mapping):
            yield from ((f"{name} {key}", value) for key, value in wanted.items())
        else:
            yield name, wanted
