"""The corpus: events in canonical fields, sites, and what must match, which only the predicate of `scan` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from imdswatch.event import complete
from imdswatch.finding import STAGE_RANK
from imdswatch.rule import Rule, load_rules
from imdswatch.scan.predicate import compile_conditions
from imdswatch.site import Site, parse_site

HERE = Path(__file__).parent
TODAY = date(2026, 11, 22)
NOW = datetime(2026, 11, 22, 1, 12, 3, tzinfo=UTC).timestamp()
"""The clock of every engine: ten minutes after the events."""
RULES = load_rules()
SIMPLE = tuple(rule for rule in RULES if rule.correlation is None)
RANK = {rule.slug: STAGE_RANK[rule.stage] for rule in RULES}


@dataclass(frozen=True, slots=True)
class Case:
    """One event: its name, its fields before completion, how the record spells them and which columns are blank."""

    name: str
    given: Mapping[str, Any]
    spelled: Mapping[str, Any] = field(default_factory=dict)
    blank: tuple[str, ...] = ()

    @property
    def fields(self) -> dict[str, Any]:
        """The canonical fields, completed as reading completes them."""
        return complete(dict(self.given))


@cache
def _file() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / "corpus.yml").read_text(encoding="utf-8"))
    return found


@cache
def cases() -> tuple[Case, ...]:
    """Return all events, in the order of the file."""
    out = []
    for group, events in _file()["events"].items():
        for name, row in events.items():
            given = {**_file()["defaults"], **{k: v for k, v in row.items() if k not in ("as", "blank")}}
            given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
            out.append(Case(f"{group}: {name}", given, row.get("as", {}), tuple(row.get("blank", ()))))
    return tuple(out)


@cache
def sites() -> Mapping[str, Site]:
    """Return the sites by name."""
    slugs = [rule.slug for rule in RULES]
    return {name: parse_site(text, name, slugs, TODAY) for name, text in _file()["sites"].items()}


def wanted(rule: Rule, site: Site, fields: Mapping[str, Any]) -> bool:
    """Say what `scan` says: the rule matches these completed fields, and the site does not suppress it."""
    if not rule.placeholders <= set(site.values) or not _judge(rule.slug, site.expected_accounts)(fields):
        return False
    return site.suppressed_by(rule.slug, RANK[rule.slug], fields) is None


@cache
def _judge(slug: str, accounts: tuple[str, ...]) -> Any:
    [rule] = [one for one in RULES if one.slug == slug]
    return compile_conditions([rule.condition], {"imds_expected_accounts": accounts} if accounts else {})
