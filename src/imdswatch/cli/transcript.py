"""What a rehearsal says: a transcript for people, and the same as NDJSON (`"format": "imdswatch-lab/1"`).

Texts of clients, requests and findings come from other programs: the transcript escapes them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from imdswatch.report.escape import visible

if TYPE_CHECKING:
    from imdswatch.lab.clients import Client
    from imdswatch.lab.judge import Alarm
    from imdswatch.lab.rehearse import Performance
    from imdswatch.lab.scenario import Scenario

_FORMAT = "imdswatch-lab/1"


def shown(performance: Performance) -> Iterator[str]:
    """Yield the transcript of one performance: who asked what, what was answered, what the sensor said."""
    yield f"{performance.scenario.id} · {performance.client.name}"
    yield f"  {performance.scenario.text}"
    if performance.skipped:
        yield f"  SKIPPED  {visible(performance.skipped)}"
        return
    for heard in performance.asked:
        agent = heard.user_agent or "no User-Agent"
        yield visible(f"  asked    {heard.method} {heard.target} ({agent})")
        yield f"  answered {heard.status}, as {heard.server[0]} port {heard.server[1]}"
    if performance.said:
        yield visible(f"  victim   {performance.said}")
    for finding in performance.findings:
        yield visible(f"  sensor   {_words(finding)}")
    if not performance.findings:
        yield f"  sensor   nothing, in {performance.packets} packets"
    for alarm in performance.alarms:
        yield visible(f"  {_alarm(alarm)}")
    for wrong in performance.wrong:
        yield visible(f"  WRONG    {wrong}")
    if performance.passed and not performance.alarms:
        yield "  OK       nothing rang, as expected"


def total(results: Counter[str], seconds: float) -> str:
    """Return the last line of a rehearsal."""
    parts = [
        f"{results[name]} {name}"
        for name in ("passed", "failed", "skipped")
        if results[name] or name == "passed"
    ]
    return f"{', '.join(parts)} in {seconds:.1f} s"


def as_object(performance: Performance, version: str) -> str:
    """Return a performance as one line of JSON."""
    result = "skipped" if performance.skipped else "passed" if performance.passed else "failed"
    entry: dict[str, Any] = {
        "format": _FORMAT,
        "type": "performance",
        "scenario": performance.scenario.id,
        "client": performance.client.id,
        "version": version,
        "result": result,
    }
    if performance.skipped:
        return json.dumps({**entry, "reason": performance.skipped})
    return json.dumps(
        {
            **entry,
            "operation": performance.operation,
            "asked": [asdict(heard) for heard in performance.asked],
            "said": performance.said,
            "packets": performance.packets,
            "alarms": [asdict(alarm) for alarm in performance.alarms],
            "wrong": list(performance.wrong),
            "findings": [dict(finding) for finding in performance.findings],
            "setup_seconds": round(performance.setup, 3),
            "seconds": round(performance.seconds, 3),
        }
    )


def missing(client: Client, why: str) -> dict[str, str]:
    """Return the object that says that a client is not here."""
    return {"format": _FORMAT, "type": "skipped", "client": client.id, "reason": why}


def silent(scenario: Scenario, client: Client, why: str) -> dict[str, str]:
    """Return the object that says that a scenario says nothing about a client."""
    place = {"scenario": scenario.id, "client": client.id}
    return {"format": _FORMAT, "type": "not_applicable", **place, "not_applicable": why}


def summary(results: Counter[str], seconds: float) -> dict[str, Any]:
    """Return the last object of a rehearsal."""
    numbers = {name: results[name] for name in ("passed", "failed", "skipped")}
    return {"format": _FORMAT, "type": "summary", **numbers, "seconds": round(seconds, 3)}


def catalogue(scenarios: Mapping[str, Scenario], clients: Mapping[str, Client]) -> Iterator[str]:
    """Yield the list of what can be rehearsed, and with whom."""
    yield "Scenarios:"
    for scenario in scenarios.values():
        yield f"  {scenario.id:19} {scenario.text}"
    yield ""
    yield "Clients (probe is built in; the others are used where they are installed):"
    for client in clients.values():
        yield f"  {client.id:19} {client.name}"


def _words(finding: Mapping[str, Any]) -> str:
    victim, responder = finding.get("victim", {}), finding.get("responder", {})
    parts = [f"{finding['stage']} ({finding['rule']}, {finding['severity']})"]
    if victim.get("ip"):
        parts.append(
            f"victim {victim['ip']}" + (f" in VLAN {victim['vlan'][0]}" if victim.get("vlan") else "")
        )
    if responder:
        parts.append(f"responder {responder.get('mac') or responder.get('ip')}")
    if finding.get("account", {}).get("id"):
        parts.append(f"account {finding['account']['id']}")
    return ", ".join(parts)


def _alarm(alarm: Alarm) -> str:
    what = f"{alarm.expected or alarm.seen} for {alarm.victim or 'whoever asks'} at {alarm.endpoint}"
    return f"WRONG    {what}: {'; '.join(alarm.wrong)}" if alarm.wrong else f"RANG     {what}"
