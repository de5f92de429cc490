"""Incidents: what is kept of events, in whatever order they come, and however many combinations of rules match."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from imdswatch.scan.aggregate import Incident, Incidents, Key, packed
from imdswatch.scan.incident import Verdict

KEY: Key = ("10.0.0.1", "169.254.169.254", "")


def events(count: int) -> list[tuple[tuple[int, ...], Verdict, dict[str, Any], int]]:
    """Make events of many combinations of rules; stage, time and place decide which of each is shown."""
    chance = Random(7)
    out = []
    for position in range(count):
        combo = tuple(index for index in range(5) if position >> index & 1) or (0,)
        verdict = Verdict(chance.randrange(4), 1, 1, combo[0], "unknown")
        fields = {"src_ip": "10.0.0.1", "src_port": position}
        if position % 3:
            fields["timestamp"] = float(chance.randrange(5))
        out.append((combo, verdict, fields, position))
    return out


def shown(incidents: Incidents) -> dict[tuple[int, ...], tuple[int, int]]:
    ((key, incident),) = incidents.items()
    assert key == KEY
    return {seen.combo: (seen.count, seen.fields["src_port"]) for seen in incident.sightings}


def expected(of: list[tuple[tuple[int, ...], Verdict, dict[str, Any], int]]) -> dict[Any, Any]:
    """Say the same with nothing but a sort of all events: the gravest, then the earliest, then the first."""
    out: dict[Any, Any] = {}
    for combo in {combo for combo, *_ in of}:
        mine = [event for event in of if event[0] == combo]
        first = min(mine, key=lambda one: (-one[1].stage, one[2].get("timestamp", float("inf")), one[3]))
        out[combo] = len(mine), first[3]
    return out


@pytest.mark.parametrize("limit", [1, 3, 50, 1000])
def test_the_most_telling_event_of_each_combination_is_kept(limit: int) -> None:
    made, mixed = events(400), events(400)
    Random(1).shuffle(mixed)
    for order in (made, mixed):
        whole, half = Incidents(limit), Incidents(limit)
        for number, (combo, verdict, fields, position) in enumerate(order):
            into = half if number % 2 else whole
            into.add(KEY, combo, verdict, fields, "x.log", "line", position)
        whole.merge(half)
        assert shown(whole) == expected(made)
        whole.close()


def test_an_incident_that_was_merged_into_another_stays_as_it_is() -> None:
    incidents = Incidents()
    for combo, verdict, fields, position in events(60):
        incidents.add(KEY, combo, verdict, fields, "x.log", "line", position)
    ((_, incident),) = incidents.items()
    before = shown(incidents)
    whole = Incident()
    whole.merge(incident)
    whole.merge(incident)
    assert {seen.combo: seen.count for seen in whole.sightings} == {
        combo: 2 * count for combo, (count, _) in before.items()
    }
    assert shown(incidents) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"src_ip": "10.0.0.1"},
        {"uri_path": "/latest/x", "url": "h/latest/x?q", "host": "h", "uri_query": "q", "src_ip": "::1"},
        {"url": "http://u@h/latest/x", "uri_path": "/latest/x", "host": "h"},
        {"vlan": (7, 8), "proto": "tcp", "ttl": 64, "answered": False},
    ],
)
def test_what_a_finding_shows_of_an_event_comes_back(fields: dict[str, Any]) -> None:
    incidents = Incidents()
    incidents.add(KEY, (0,), Verdict(0, 1, 1, 0, "unknown"), fields, "x.log", "line", 1)
    ((_, incident),) = incidents.items()
    (seen,) = incident.sightings
    assert seen.fields == {name: value for name, value in fields.items() if name != "proto"}
    assert packed(seen.fields) == packed(fields)
