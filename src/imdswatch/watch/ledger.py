"""The ledger adds what feeds found to what the state holds, and tells a finding when it is new or has become graver.

A finding is told before it is kept: whoever is killed in between tells it once more, under the same fingerprint and
with the same count. Counts are totals since a finding was first seen, so the last that was told of it is right. Where
the state cannot be written, findings are told all the same, and kept as soon as it can.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from imdswatch.finding import STAGE_RANK, Finding, Skipped, fingerprint
from imdswatch.scan.aggregate import Incident, Incidents, Key
from imdswatch.scan.findings import FindingMaker
from imdswatch.watch.judgement import Judgement
from imdswatch.watch.state import Row, State, StateTrouble
from imdswatch.watch.stored import freeze, freeze_key, thaw, thaw_key

_SERVED = STAGE_RANK["credentials-served"]
_MOST_UNKEPT = 20_000
_MOST_SERVED = 10_000
_MOST_UNSAID = 1000
_BATCH = 256


class Unwritten(Exception):
    """What was told could not be written, and may be told again later; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Teller(Protocol):
    """Where findings are told: a sink. Raises `Unwritten` where that may work later."""

    def finding(self, finding: Finding) -> None: ...  # noqa: D102
    def skipped(self, skipped: Skipped) -> None: ...  # noqa: D102


class Ledger:
    """Findings of one watch. `trouble` says why the state cannot be written, if so."""

    def __init__(self, state: State, judgement: Judgement, teller: Teller) -> None:
        self._state, self._judgement, self._teller = state, judgement, teller
        self._unkept = Incidents()
        self._told: dict[str, tuple[int, int]] = {}  # stage and count, of what was told and not kept
        self.trouble = self.mute = ""
        """Why the state cannot be written, and why findings cannot be told; empty where they can."""
        self._unsaid: deque[Skipped] = deque()
        self._more_unsaid = 0
        self.renew()

    def renew(self) -> None:
        """Take over the rules and the site that are in force now; incidents that wait are renumbered."""
        options = self._judgement.options
        self._maker = FindingMaker(options.rules, options.site)
        try:
            rows = self._state.at_least(_SERVED, _MOST_SERVED)
        except StateTrouble as trouble:
            self.trouble, rows = trouble.reason, []
        self._judgement.serve(found for row in rows if (found := self._thawed(row)) is not None)

    def _thawed(self, row: Row) -> tuple[Key, Incident] | None:
        try:
            incident = thaw(row.incident, self._judgement.options.rules)
            return None if incident is None else (thaw_key(row.key), incident)
        except ValueError:
            return None  # written by nobody: the file was changed by other hands

    def renumber(self, before: tuple[Any, ...]) -> None:
        """Carry incidents that could not be kept over from other rules."""
        moved = Incidents()
        for key, incident in self._unkept.items():
            found = thaw(freeze(incident, before), self._judgement.options.rules)
            if found is not None:
                moved.open[key] = found
        self._unkept.close()
        self._unkept = moved

    def take(
        self,
        fresh: Incidents,
        logs: Mapping[int, Mapping[str, Any] | None],
        meta: Mapping[str, str],
        *,
        again: bool = True,
    ) -> bool:
        """Tell what is new in some incidents, and keep all; return whether it was kept.

        `again` says whether a state that could not be written is to be tried once more.
        """
        rows = [self._row(key, incident) for key, incident in fresh.items()]
        if self._unkept.open or self.trouble:
            self._unkept.merge(fresh)
            if not again:
                return self._bounded()
            self.trouble = ""
            rows = [self._row(key, incident, waiting=False) for key, incident in self._unkept.items()]
            if self.trouble:
                return self._bounded()  # without what was known before, less would take the place of more
        if not (rows or logs or meta):
            return True
        try:
            self._state.commit(rows, logs, meta)
        except StateTrouble as trouble:
            self.trouble = trouble.reason
            if not self._unkept.open:
                self._unkept.merge(fresh)
            return self._bounded()
        self.trouble = ""
        self._unkept.close()
        self._unkept = Incidents()
        self._told.clear()
        return True

    def _bounded(self) -> bool:
        """Let go of what waits where it is too much: it was told; return False."""
        if len(self._unkept.open) > _MOST_UNKEPT:
            self._unkept = Incidents()
            reason = f"cannot be written: {self.trouble}; {_MOST_UNKEPT} findings were told, but not kept"
            self.skipped([Skipped("state", "", reason)])
        return False

    def _row(self, key: Key, incident: Incident, *, waiting: bool = True) -> Row:
        """Return the finding with what was known of it before; told if it is new or graver than when it was told."""
        rules, name = self._judgement.options.rules, freeze_key(key)
        held: Row | None = None
        try:
            held = self._state.row(name)
        except StateTrouble as trouble:
            self.trouble = trouble.reason
        whole = Incident()
        before = self._thawed(held) if held is not None else None
        for part in (
            before[1] if before else None,
            self._unkept.open.get(key) if waiting else None,
            incident,
        ):
            if part is not None:
                whole.merge(part)
        told_stage, told_count = self._told.get(name) or (
            (held.told_stage, held.told_count) if held is not None else (-1, 0)
        )
        stage = max(sighting.verdict.stage for sighting in whole.sightings)
        if stage > told_stage and self._tell(self._maker.make(key, whole)):
            told_stage, told_count = stage, whole.count
            self._told[name] = told_stage, told_count
        if stage >= _SERVED:
            self._judgement.serve([(key, whole)])
        return Row(
            name,
            fingerprint(key[0] or None, key[1] or None),
            stage,
            whole.count,
            whole.first if math.isfinite(whole.first) else None,
            whole.last if math.isfinite(whole.last) else None,
            freeze(whole, rules),
            told_stage,
            told_count,
        )

    def _tell(self, finding: Finding) -> bool:
        try:
            self._teller.finding(finding)
        except Unwritten as error:
            self.mute = error.reason
            return False
        self.mute = ""
        return True

    def summarise(self) -> None:
        """Tell every finding that has changed since it was told last, and what could not be told before."""
        self.skipped(())
        done: list[Row] = []
        try:
            for row in self._state.untold():
                found = self._thawed(row)
                if found is not None and not self._tell(self._maker.make(*found)):
                    break
                done.append(replace(row, told_stage=row.stage, told_count=row.count))
                if len(done) == _BATCH:
                    self._state.told(done)
                    done = []
            self._state.told(done)
        except StateTrouble as trouble:
            self.trouble = trouble.reason

    def skipped(self, places: Iterable[Skipped]) -> None:
        """Tell what could not be looked at; of very many that nobody could be told, the first, and how many more."""
        for place in places:
            if len(self._unsaid) < _MOST_UNSAID:
                self._unsaid.append(place)
            else:
                self._more_unsaid += 1
        try:
            while self._unsaid:
                self._teller.skipped(self._unsaid[0])
                self._unsaid.popleft()
                self.mute = ""
            if self._more_unsaid:
                reason = f"{self._more_unsaid} more places could not be looked at while nobody could be told"
                self._teller.skipped(Skipped("", "", reason))
                self._more_unsaid = 0
        except Unwritten as error:
            self.mute = error.reason
