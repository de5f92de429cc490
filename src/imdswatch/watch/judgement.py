"""What judges the events of all feeds: rules, site and schemas, and who was served credentials before.

One `Judgement` lives as long as the watch; a reload replaces what it holds, so feeds keep a reference to it and see the
new rules with their next record. What a feed has compiled from it (a search, a kernel filter) is made anew when
`generation` has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from imdswatch.finding import STAGE_RANK
from imdswatch.rule import Node
from imdswatch.scan.aggregate import Incident, Incidents, Key, key_of
from imdswatch.scan.hints import Hints
from imdswatch.scan.judging import FirstLook, SecondLook, served_victims
from imdswatch.scan.prefilter import Prefilter, build
from imdswatch.scan.work import Options
from imdswatch.site import ON_PREMISES

Take = Callable[[Incidents, Mapping[str, Any], str, str, int], int]
"""One of the ways in which a judgement takes an event."""

_MOST = 10_000  # victims of served credentials that are remembered, the newest
_NOW = "now"  # ends the key of an incident of which more is known than what was seen just now
_SERVED = STAGE_RANK["credentials-served"]


class Judgement:
    """Rules, site and schemas in force; `take` judges one event by all of them, as `scan.text.Look` asks."""

    def __init__(self, options: Options) -> None:
        self.generation = 0
        self._served: dict[str, dict[Key, Incident]] = {}  # by victim
        self._fresh: set[str] = set()
        self.watchers: list[Callable[[Take, Incidents], None]] = []
        """Who looks back when somebody was served: `look_back` gives them a way to judge what they read before."""
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
        self._searches: tuple[Prefilter, Prefilter, bool] | None = None
        self._mutes = (None, ON_PREMISES, *(entry.name for entry in options.site.suppressions))

    @property
    def idle(self) -> tuple[str, ...]:
        """The rules that need what the site does not say."""
        return tuple(r.slug for r in self.options.rules if r.placeholders - set(self.options.site.values))

    @property
    def searches(self) -> tuple[Prefilter, Prefilter, bool]:
        """The searches of text for `conditions` and for `later`, and whether the first misses what the second finds.

        The first watches for what the second searches, so that it is asked only where there is something.
        """
        if self._searches is None:
            hints = Hints(self.options.schemas)
            again = build(self.later, hints)
            headers = set(hints.headers(first_line=False))
            first = build(self.conditions, hints, [text for text in again.patterns if text not in headers])
            self._searches = first, again, again.everything or not again.blind <= first.blind
        return self._searches

    def replace(self, options: Options) -> None:
        """Put new rules, site and schemas in force; who was served is to be said again by `serve`."""
        self._put(options)
        self._served = {}
        self._fresh.clear()
        self.generation += 1

    @property
    def victims(self) -> frozenset[str]:
        """Those who were served credentials: `later` counts for them only, and for whoever signs with their keys."""
        return frozenset(self._served)

    def serve(self, items: Iterable[tuple[Key, Incident]]) -> None:
        """Take from whole incidents who was served credentials; they take the place of what was known of them."""
        for key, incident in items:
            if key[0] and self._correlations and _is_served(incident):
                self._remember(key, incident).pop((*key, _NOW), None)
        self._fresh.clear()

    def _remember(self, key: Key, incident: Incident) -> dict[Key, Incident]:
        known = self._served.get(key[0])
        if known is None:
            if len(self._served) >= _MOST:
                oldest = next(iter(self._served))
                del self._served[oldest]
                self._fresh.discard(oldest)
            known = self._served[key[0]] = {}
            self._fresh.add(key[0])
        known[key] = incident
        self._second.clear()
        return known

    def again(
        self, incidents: Incidents, fields: Mapping[str, Any], source: str, unit: str, position: int
    ) -> int:
        """Judge one event by what it means after served credentials only; return how many rules matched."""
        return sum(
            self._look(index).take(incidents, fields, source, unit, position) for index in self._correlations
        )

    def _look(self, index: int) -> SecondLook:
        look = self._second.get(index)
        if look is None:
            look = self._second[index] = self._look_at(index, self._served)
        return look

    def _look_at(self, index: int, victims: Iterable[str]) -> SecondLook:
        options = self.options
        correlation = options.rules[index].correlation
        assert correlation is not None
        listed = Incidents()
        listed.open = {key: one for victim in victims for key, one in self._served[victim].items()}
        served = served_victims(listed, options.rules, correlation.timespan)
        return SecondLook(options.rules, index, options.site, options.window, served)

    def look_back(self, incidents: Incidents) -> None:
        """Have those who were served just now looked for in what was read before, before anything else is read.

        One log is written later than another: what a victim did may stand in lines that came before the answer.
        """
        if not self._fresh:
            return
        looks = [self._look_at(index, sorted(self._fresh)) for index in self._correlations]
        self._fresh.clear()

        def take(into: Incidents, fields: Mapping[str, Any], source: str, unit: str, position: int) -> int:
            return sum(look.take(into, fields, source, unit, position) for look in looks)

        for watcher in self.watchers:
            watcher(take, incidents)

    def take(
        self, incidents: Incidents, fields: dict[str, Any], source: str, unit: str, position: int
    ) -> int:
        """Judge one completed event by every rule, count it in the incidents; return how many rules matched."""
        matched = self.once(incidents, fields, source, unit, position)
        return matched + (self.again(incidents, fields, source, unit, position) if self._served else 0)

    def once(
        self, incidents: Incidents, fields: Mapping[str, Any], source: str, unit: str, position: int
    ) -> int:
        """Judge one event by every rule that needs one event only, and remember who was served credentials."""
        matched = self.first.take(incidents, fields, source, unit, position)
        if matched and self._correlations:
            for muted in self._mutes:
                key = key_of(fields, muted)
                incident = incidents.open.get(key)
                if incident is not None and key[0] and _is_served(incident):
                    self._remember((*key, _NOW), incident)
        return matched


def _is_served(incident: Incident) -> bool:
    return any(sighting.verdict.stage == _SERVED for sighting in incident.sightings)
