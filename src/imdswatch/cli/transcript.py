"""What a rehearsal says: a transcript for people, the same as NDJSON (`"format": "imdswatch-lab/1"`), or statements.

`teller` chooses by format; each writes a performance as soon as it ends. Texts of clients, requests and findings come
from other programs: the transcript escapes them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from imdswatch.finding import Skipped, Summary
from imdswatch.report.escape import visible
from imdswatch.report.statement import Statement

if TYPE_CHECKING:
    from imdswatch.lab.clients import Client
    from imdswatch.lab.judge import Alarm
    from imdswatch.lab.rehearse import Performance
    from imdswatch.lab.scenario import Scenario

_FORMAT = "imdswatch-lab/1"


class Teller(Protocol):
    """Takes what happens, as it happens."""

    def performed(self, performance: Performance, version: str) -> None: ...  # noqa: D102
    def missing(self, client: Client, why: str) -> None: ...  # noqa: D102
    def silent(self, scenario: Scenario, client: Client, why: str, *, alone: bool) -> None: ...  # noqa: D102
    def close(self, results: Counter[str], seconds: float) -> None: ...  # noqa: D102


def teller(form: str, out: TextIO) -> Teller:
    """Return what writes a rehearsal in a format."""
    if form == "text":
        return _ForPeople(out)
    return _AsLines(out) if form == "ndjson" else _AsStatements(form, out)


class _ForPeople:
    def __init__(self, out: TextIO) -> None:
        self._out = out

    def performed(self, performance: Performance, version: str) -> None:
        self._out.write("\n".join(shown(performance)) + "\n\n")

    def missing(self, client: Client, why: str) -> None:
        self._out.write(visible(f"SKIPPED  {client.name} is not here: {why}") + "\n")

    def silent(self, scenario: Scenario, client: Client, why: str, *, alone: bool) -> None:
        if alone:  # of many clients, the long list of what is not rehearsed would bury what is
            self._out.write(visible(f"{scenario.id} says nothing about {client.name}: {why}") + "\n\n")

    def close(self, results: Counter[str], seconds: float) -> None:
        self._out.write(total(results, seconds) + "\n")


class _AsLines:
    def __init__(self, out: TextIO) -> None:
        self._out = out

    def performed(self, performance: Performance, version: str) -> None:
        self._write(as_object(performance, version))

    def missing(self, client: Client, why: str) -> None:
        self._write({"format": _FORMAT, "type": "skipped", "client": client.id, "reason": why})

    def silent(self, scenario: Scenario, client: Client, why: str, *, alone: bool) -> None:
        place = {"scenario": scenario.id, "client": client.id}
        self._write({"format": _FORMAT, "type": "not_applicable", **place, "not_applicable": why})

    def close(self, results: Counter[str], seconds: float) -> None:
        numbers = {name: results[name] for name in ("passed", "failed", "skipped")}
        self._write({"format": _FORMAT, "type": "summary", **numbers, "seconds": round(seconds, 3)})

    def _write(self, values: Mapping[str, Any]) -> None:
        self._out.write(json.dumps(values) + "\n")


class _AsStatements:
    """Hands on to a sink of `report`, which shows a rehearsal as it shows one that it read."""

    def __init__(self, form: str, out: TextIO) -> None:
        from imdswatch.report import open_sink

        self._sink: Any = open_sink(form, out, color=False, show_suppressed=False, width=None)

    def performed(self, performance: Performance, version: str) -> None:
        self._sink.statement(Statement("performance", "", as_object(performance, version)))

    def missing(self, client: Client, why: str) -> None:
        self._sink.skipped(Skipped(client.id, "", why))

    def silent(self, scenario: Scenario, client: Client, why: str, *, alone: bool) -> None:
        pass

    def close(self, results: Counter[str], seconds: float) -> None:
        played = results["passed"] + results["failed"]
        self._sink.close(Summary(sources=played, records=played, skipped=results["skipped"], seconds=seconds))


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


def as_object(performance: Performance, version: str) -> dict[str, Any]:
    """Return a performance as a JSON object."""
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
        return {**entry, "reason": performance.skipped}
    return {
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


def catalogue(
    scenarios: Mapping[str, Scenario], clients: Mapping[str, Client], form: str = "text"
) -> Iterator[str]:
    """Yield the list of what can be rehearsed, and with whom, line by line."""
    if form == "ndjson":
        for scenario in scenarios.values():
            entry = {"format": _FORMAT, "type": "scenario", "scenario": scenario.id, "text": scenario.text}
            yield json.dumps(entry)
        for client in clients.values():
            yield json.dumps({"format": _FORMAT, "type": "client", "client": client.id, "name": client.name})
        return
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
