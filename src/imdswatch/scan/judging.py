"""Rules, site and time window together: what becomes of one event. Compiled once, used for every record of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imdswatch.event import victim_ip, victim_mac
from imdswatch.finding import STAGE_RANK
from imdswatch.rule import Rule
from imdswatch.scan.aggregate import KEY_ID, Incidents, key_of
from imdswatch.scan.incident import Verdicts
from imdswatch.scan.predicate import Judge, compile_conditions, compile_rules
from imdswatch.site import Site

Taker = Callable[[Incidents, Mapping[str, Any], str, str, int], int]
"""Incidents, completed fields, source, unit (line, row …) and position in; the number of rules that matched out."""


@dataclass(frozen=True, slots=True)
class Window:
    """Only events within [since, until] count, epoch seconds; those without a time always do."""

    since: float | None = None
    until: float | None = None

    def __contains__(self, when: float | None) -> bool:
        if when is None:
            return True
        return (self.since is None or when >= self.since) and (self.until is None or when <= self.until)

    def meets(self, begin: float, end: float) -> bool:
        """Say whether any time from `begin` to before `end` lies in the window."""
        return (self.since is None or end > self.since) and (self.until is None or begin <= self.until)


class FirstLook:
    """Judges events by every rule that needs one event only."""

    def __init__(self, rules: Sequence[Rule], site: Site, window: Window) -> None:
        self.rules, self._site, self._mutes_nothing = tuple(rules), site, site.mutes_nothing
        self._verdicts = Verdicts(rules)
        self._window = None if window.since is None and window.until is None else window
        used = [index for index, rule in enumerate(self.rules) if self._usable(rule)]
        self._indices = used
        self._judge: Judge = compile_rules([self.rules[index] for index in used], site.values)
        self._all = used == list(range(len(self.rules)))
        self._ranks = [STAGE_RANK[rule.stage] for rule in self.rules]
        self._combos: dict[tuple[int, ...], tuple[int, ...]] = {}

    def _usable(self, rule: Rule) -> bool:
        return rule.correlation is None and rule.placeholders <= set(self._site.values)

    @property
    def used(self) -> list[Rule]:
        """The rules that this look judges by."""
        return [self.rules[index] for index in self._indices]

    def take(
        self, incidents: Incidents, fields: Mapping[str, Any], source: str, unit: str, position: int
    ) -> int:
        """Judge one completed event and count it in the incidents; return how many rules matched."""
        matched = self._judge(fields)
        if not matched:
            return 0
        if self._window is not None and fields.get("timestamp") not in self._window:
            return 0
        combo = tuple(matched) if self._all else tuple([self._indices[i] for i in matched])
        combo = self._combos.setdefault(combo, combo)
        if self._mutes_nothing:
            verdict = self._verdicts.of(combo, fields)
            incidents.add(key_of(fields, None), combo, verdict, fields, source, unit, position)
            return len(combo)
        by_mute: dict[str | None, list[int]] = {}
        for index in combo:
            muted = self._site.suppressed_by(self.rules[index].slug, self._ranks[index], fields)
            by_mute.setdefault(muted, []).append(index)
        for muted, indices in by_mute.items():
            part = tuple(indices)
            part = self._combos.setdefault(part, part)
            verdict = self._verdicts.of(part, fields)
            incidents.add(key_of(fields, muted), part, verdict, fields, source, unit, position)
        return len(combo)


@dataclass(frozen=True, slots=True)
class Served:
    """Since when, and until when, a victim had credentials that an impostor served; None where times are unknown.

    `keys` are the ids of those credentials, as far as they were seen.
    """

    endpoint: str
    since: float | None
    until: float | None
    fields: Mapping[str, Any]
    keys: frozenset[str] = frozenset()

    def covers(self, when: float | None) -> bool:
        """Say whether an event of this time comes after the credentials, while they were good."""
        if when is None:
            return self.since is None
        return when in Window(self.since, self.until)


class SecondLook:
    """Judges events by the correlation rules: what victims of served credentials did afterwards.

    A signature says more than a name: a key id that was served counts, on whichever host, and any other is a host's own
    and does not. Only where nobody saw which key ids a host was served, its contacts with AWS count signed or not.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        index: int,
        site: Site,
        window: Window,
        served: Mapping[str, Sequence[Served]],
    ) -> None:
        rule = rules[index]
        assert rule.correlation is not None
        self.rules, self._index, self._site, self._window, self._served = (
            tuple(rules),
            index,
            site,
            window,
            served,
        )
        self._judge = compile_conditions([rule.correlation.base], site.values)
        self._by_key: dict[str, dict[str, Sequence[Served]]] = {}
        for victim, spans in served.items():
            for key in frozenset[str]().union(*(span.keys for span in spans)):
                with_it = [span for span in spans if key in span.keys]
                self._by_key.setdefault(key, {})[victim] = with_it
        self._verdicts = Verdicts(rules)

    def take(
        self, incidents: Incidents, fields: Mapping[str, Any], source: str, unit: str, position: int
    ) -> int:
        """Count one completed event if its victim was served credentials before; return 1 if so."""
        victim = victim_ip(fields) or victim_mac(fields) or fields.get("src_host")
        spans, shown = self._served.get(victim or ""), fields
        if "signing_key_id" in fields:
            spans, shown = self._signed(fields, victim or "", spans)
        if not spans or _turned_away(shown) or not self._judge(shown):
            return 0
        when = fields.get("timestamp")
        served = next((span for span in spans if span.covers(when)), None)
        if served is None or when not in self._window:
            return 0
        rule = self.rules[self._index]
        muted = self._site.suppressed_by(
            rule.slug, STAGE_RANK[rule.stage], {**served.fields, "src_ip": victim}
        )
        combo = (self._index,)
        verdict = self._verdicts.of(combo, fields)
        incidents.add(
            (victim or "", served.endpoint, muted or ""), combo, verdict, fields, source, unit, position
        )
        return 1

    def _signed(
        self, fields: Mapping[str, Any], victim: str, own: Sequence[Served] | None
    ) -> tuple[Sequence[Served] | None, Mapping[str, Any]]:
        """Return when the key that signed was served, to this host or else to any, and what to judge."""
        hosts = self._by_key.get(fields["signing_key_id"])
        if hosts is not None:
            return hosts.get(victim) or [span for _, spans in sorted(hosts.items()) for span in spans], fields
        if own is None or any(span.keys for span in own):
            return None, fields
        return own, {name: value for name, value in fields.items() if name != "signing_key_id"}


def _turned_away(fields: Mapping[str, Any]) -> bool:
    """Say whether a proxy or firewall let nothing through to AWS, so that the host did not talk to it.

    A signature still tells whose credentials the host has in use, wherever it got to. The reply to CONNECT is always
    the proxy's own; a success says that the tunnel stands (RFC 9110 9.3.6).
    """
    if "signing_key_id" in fields:
        return False
    if fields.get("action") in ("deny", "reset"):
        return True
    tunnel = fields.get("method") == "CONNECT" and 200 <= (fields.get("status") or 0) < 300
    return fields.get("reply_by") == "proxy" and not tunnel


def served_victims(
    incidents: Incidents, rules: Sequence[Rule], timespan: int
) -> dict[str, tuple[Served, ...]]:
    """Return the victims that were served credentials, by which endpoints, and how long those were good for.

    Suppression marks, it hides nothing: what a victim did with credentials whose finding is suppressed is looked for
    too, and judged by the site again. Where it was served others as well, those come first; then what came last, since
    a tool that asks again uses what it got.
    """
    out: dict[str, dict[tuple[bool, str], Served]] = {}
    rank = STAGE_RANK["credentials-served"]
    for (victim, endpoint, muted, *_), incident in incidents.items():
        if not victim:
            continue
        sightings = [s for s in incident.sightings if s.verdict.stage == rank]
        if not sightings:
            continue
        first = min(sightings, key=lambda s: s.when)
        since = first.when if first.when != float("inf") else None
        ends = [s.fields["expiration"] for s in sightings if s.fields.get("expiration") is not None]
        last = max((s.when for s in sightings if s.when != float("inf")), default=None)
        until = max(ends) if ends else None if last is None else max(last, incident.last) + timespan
        keys = frozenset(text for word, text in incident.told or () if word == KEY_ID)
        spans = out.setdefault(victim, {})
        which = bool(muted), endpoint
        spans[which] = _joined(spans.get(which), Served(endpoint, since, until, first.fields, keys))
    return {
        victim: tuple(
            span
            for _, span in sorted(spans.items(), key=lambda one: (one[0][0], -(one[1].since or 0.0), one[0]))
        )
        for victim, spans in out.items()
    }


def _joined(held: Served | None, other: Served) -> Served:
    """Return one span over both: served twice by one endpoint, a victim may use either."""
    if held is None:
        return other
    first = min(held, other, key=lambda one: one.since or 0.0)
    ends = [one.until for one in (held, other)]
    until = None if None in ends else max(end for end in ends if end is not None)
    return replace(first, until=until, keys=held.keys | other.keys)
