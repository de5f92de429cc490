"""What judges the events of all feeds: rules, site and schemas, and who was served credentials before.

One `Judgement` lives as long as the watch; a reload replaces what it holds, so feeds keep a reference to it and see the
new rules with their next record. What a feed has compiled from it (a search, a kernel filter) is made anew when
`generation` has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imdswatch.finding import STAGE_RANK
from imdswatch.rule import Node
from imdswatch.scan.aggregate import Incident, Incidents, Key, key_of
from imdswatch.scan.judging import FirstLook, SecondLook, Served, served_victims
from imdswatch.scan.work import Options
from imdswatch.site import ON_PREMISES

_SERVED = STAGE_RANK["credentials-served"]


class Judgement:
    """Rules, site and schemas in force; `take` judges one event by all of them, as `scan.text.Look` asks."""

    def __init__(self, options: Options) -> None:
        self.generation = 0
        self._served: dict[int, dict[str, tuple[Served, ...]]] = {}
        self._put(options)

    def _put(self, options: Options) -> None:
        self.options = options
        self.first = FirstLook(options.rules, options.site, options.window)
        self.conditions: list[tuple[str, Node]] = [(rule.slug, rule.condition) for rule in self.first.used]
        """What to search for in every input, by the name of the rule."""
        self.later: list[tuple[str, Node]] = [
            (rule.slug, rule.correlation.base) for rule in options.rules if rule.correlation
        ]
        """What to search for besides, once somebody was served credentials."""
        self._correlations = [index for index, rule in enumerate(options.rules) if rule.correlation]
        self._second: dict[int, SecondLook] = {}
        self._mutes = (None, ON_PREMISES, *(entry.name for entry in options.site.suppressions))

    def replace(self, options: Options) -> None:
        """Put new rules, site and schemas in force; who was served is to be said again by `serve`."""
        self._put(options)
        self._served = {}
        self.generation += 1

    @property
    def victims(self) -> frozenset[str]:
        """Those who were served credentials: `later` counts for them only, and for whoever signs with their keys."""
        return frozenset(victim for spans in self._served.values() for victim in spans)

    def serve(self, items: Sequence[tuple[Key, Incident]]) -> None:
        """Remember from incidents who was served credentials, and until when those are good."""
        served = [item for item in items if _is_served(item[1])]
        if not served:
            return
        found = _Listed(served)
        for index in self._correlations:
            correlation = self.options.rules[index].correlation
            assert correlation is not None
            news = served_victims(found, self.options.rules, correlation.timespan)
            if news:
                self._served.setdefault(index, {}).update(news)
                self._second.pop(index, None)

    def again(
        self, incidents: Incidents, fields: Mapping[str, Any], source: str, unit: str, position: int
    ) -> int:
        """Judge one event by what it means after served credentials only; return how many rules matched."""
        return sum(
            self._look(index).take(incidents, fields, source, unit, position) for index in list(self._served)
        )

    def _look(self, index: int) -> SecondLook:
        look = self._second.get(index)
        if look is None:
            options = self.options
            look = SecondLook(options.rules, index, options.site, options.window, self._served[index])
            self._second[index] = look
        return look

    def take(
        self, incidents: Incidents, fields: dict[str, Any], source: str, unit: str, position: int
    ) -> int:
        """Judge one completed event by every rule, count it in the incidents; return how many rules matched."""
        matched = self.first.take(incidents, fields, source, unit, position)
        if matched:
            keys = [key_of(fields, muted) for muted in self._mutes]
            self.serve([(key, incidents.open[key]) for key in keys if key in incidents.open])
        return matched + (self.again(incidents, fields, source, unit, position) if self._served else 0)


class _Listed(Incidents):
    """Incidents that are only looked through."""

    def __init__(self, items: Sequence[tuple[Key, Incident]]) -> None:
        super().__init__()
        self.open = dict(items)


def _is_served(incident: Incident) -> bool:
    return any(sighting.verdict.stage == _SERVED for _, sighting in incident.combos.values())
