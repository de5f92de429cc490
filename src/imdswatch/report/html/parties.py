"""Who took part in the findings that a page lists: responders, accounts, victims, suppressing entries.

Fed row by row, worst first; bounded by the rows that a page holds. Texts are visible already (`row`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imdswatch.report import names
from imdswatch.report.html.row import NUMBERS, TEXTS, Row

_AT = {name: at for at, name in enumerate(TEXTS)}
_STAGE, _FIRST, _LAST, _EXPECTED = (NUMBERS.index(name) for name in ("stage", "first", "last", "expected"))
_ANSWERED = 2  # rank of the stage
_FACTS = ("ip", "mac", "vendor", "nat_ip", "gateway", "ttl")


@dataclass(slots=True)
class Party:
    """One responder, account or victim: how far it got, when, and with whom."""

    stage: int = -1
    first: int | None = None
    last: int | None = None
    victims: set[str] = field(default_factory=set)
    facts: dict[str, dict[str, None]] = field(default_factory=dict)
    """What was said of it: values in the order in which they came."""
    expected: int = 0
    claims: Mapping[str, Any] | None = None
    """Where the answers disagree about the account: who says what."""

    def see(self, row: Row, victim: str) -> None:
        """Take a finding that it is part of."""
        stage, first, last = (row.numbers[at] for at in (_STAGE, _FIRST, _LAST))
        self.stage = max(self.stage, stage or 0)
        if first is not None and (self.first is None or first < self.first):
            self.first = first
        if last is not None and (self.last is None or last > self.last):
            self.last = last
        self.victims.add(victim)

    def say(self, name: str, value: object) -> None:
        """Remember a fact once, a dozen of a kind at most."""
        told = self.facts.setdefault(name, {})
        if value not in (None, "", []) and len(told) < 12:
            told[str(value)] = None


@dataclass(slots=True)
class Parties:
    """All who took part, by name; an empty name is one that nobody knows."""

    responders: dict[str, Party] = field(default_factory=dict)
    accounts: dict[str, Party] = field(default_factory=dict)
    victims: dict[str, Party] = field(default_factory=dict)
    first: int | None = None
    last: int | None = None

    def add(self, row: Row) -> None:
        """Take one row; a suppressed one is no party's."""
        if row.texts[_AT["suppressed"]]:
            return
        name = row.texts[_AT["victim"]]
        victim = self.victims.setdefault(name, Party())
        victim.see(row, name)
        victim.say("host", row.texts[_AT["host"]])
        details = row.details
        if (row.numbers[_STAGE] or 0) >= _ANSWERED:
            self._responder(row.texts[_AT["answerer"]], details.get("responder", {}), row, name)
            for other in details.get("responders", ()):
                if (known := names.responder(other)) and known != row.texts[_AT["answerer"]]:
                    self._responder(known, other, row, name)
        if account := row.texts[_AT["account"]]:
            self._account(account, details["account"], row, name)
        for time in (row.numbers[_FIRST], row.numbers[_LAST]):
            if time is not None:
                self.first = time if self.first is None else min(self.first, time)
                self.last = time if self.last is None else max(self.last, time)

    def _responder(self, name: str, facts: Mapping[str, Any], row: Row, victim: str) -> None:
        party = self.responders.setdefault(name, Party())
        party.see(row, victim)
        for key in _FACTS:
            party.say(key, facts.get(key))
        party.say("account", row.texts[_AT["account"]])

    def _account(self, number: str, facts: Mapping[str, Any], row: Row, victim: str) -> None:
        party = self.accounts.setdefault(number, Party())
        party.see(row, victim)
        party.expected = max(party.expected, row.numbers[_EXPECTED] or 0)
        for key in ("access_key_id", "role", "from"):
            party.say(key, facts.get(key))
        if facts.get("forged") and isinstance(claims := facts.get("claims"), Mapping):
            party.claims = claims
