"""An incident as a line of JSON, and back: what the state keeps of it.

Pure. Secrets are left out, as in a report. Rules stand by their names, since a reload may number them anew; what a
rule showed that is no more is left out. JSON and not `marshal`, which `scan` uses between its own processes: a state
file may be damaged, or come from another version of Python. `thaw` raises `ValueError` for what this program never
wrote.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from imdswatch.redact import redact
from imdswatch.rule import Rule
from imdswatch.scan.aggregate import Incident, Key, Sighting, packed
from imdswatch.scan.incident import Verdict


def freeze_key(key: Key) -> str:
    """Return a key as ASCII: a name in a log may hold what no database takes for text."""
    return json.dumps(key)


def thaw_key(text: str) -> Key:
    """Return the key that `freeze_key` wrote."""
    return tuple(json.loads(text))


def freeze(incident: Incident, rules: Sequence[Rule]) -> str:
    """Return the incident as JSON in ASCII."""
    combos = [
        [
            [rules[index].slug for index in sighting.combo],
            sighting.count,
            [*sighting.order[:3], _time(sighting.when), *sighting.order[4:]],
            [*sighting.verdict[:3], rules[sighting.verdict.rule].slug, sighting.verdict.cause],
            _safe(sighting.fields),
            sighting.unit,
        ]
        for sighting in incident.sightings
    ]
    first, last = _time(incident.first), _time(incident.last)
    told, responders = sorted(incident.told or ()), sorted(incident.responders or ())
    return json.dumps([incident.count, first, last, combos, responders, told], separators=(",", ":"))


def _safe(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields without secrets: a state file is copied and backed up like any other."""
    return {name: _without_secrets(value) for name, value in fields.items()}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_without_secrets(one) for one in value]
    return redact(value) if isinstance(value, str) else value


def thaw(text: str, rules: Sequence[Rule]) -> Incident | None:
    """Return the incident that `freeze` wrote, or None if none of its rules exists any more."""
    index_of = {rule.slug: index for index, rule in enumerate(rules)}
    incident = Incident()
    try:
        count, first, last, combos, responders, told = json.loads(text)
        incident.count = int(count)
        incident.first = math.inf if first is None else first
        incident.last = -math.inf if last is None else last
        incident.responders = frozenset(map(tuple, responders)) or None
        incident.told = frozenset(map(tuple, told)) or None
        for slugs, number, order, verdict, fields, unit in combos:
            combo = tuple(sorted(index_of[slug] for slug in slugs if slug in index_of))
            if combo:  # two combinations are one after a rule that told them apart is gone
                incident.unite(_sighting(combo, number, order, verdict, fields, unit, index_of))
    except (ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise ValueError(f"no incident: {error}") from error
    return incident if incident.sightings else None


def _sighting(
    combo: tuple[int, ...],
    count: int,
    order: list[Any],
    verdict: list[Any],
    fields: Mapping[str, Any],
    unit: str,
    index_of: dict[str, int],
) -> Sighting:
    _, _, _, when, source, position = order
    stage, severity, confidence, slug, cause = verdict
    seen = Verdict(stage, severity, confidence, index_of.get(slug, combo[0]), cause)
    return Sighting(
        combo, count, seen, math.inf if when is None else when, source, position, unit, packed(fields)
    )


def _time(value: float) -> float | None:
    return value if math.isfinite(value) else None
