"""The correlation `imds-credentials-used`: series of events, one at a time, and whether its query gives an alert."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

import splunk_events
from conformance.cells import exported
from conformance.corpus import HERE, NOW, sites
from conformance.records import flat
from engines import spl_one, spl_two
from engines.elastic import sequences
from engines.kusto import Kusto
from engines.kusto.tables import columns
from imdswatch.event import complete
from imdswatch.siem.content import Query, Source

RULE = "imds-credentials-used"
LANGUAGES = {"kusto": "sentinel", "eql": "elastic", "spl": "splunk"}
"""The languages that relate events to earlier ones."""


@dataclass(frozen=True, slots=True)
class Series:
    """Events in order, and whether the last ones are an alert."""

    note: str
    events: tuple[Mapping[str, Any], ...]
    alert: bool


def series() -> list[Series]:
    """Return the series of the corpus."""
    found = yaml.safe_load((HERE / "corpus.yml").read_text(encoding="utf-8"))["series"]
    return [Series(one["note"], tuple(one["events"]), one["alert"]) for one in found]


def queries(language: str) -> list[Query]:
    """Return the queries of the correlation in a language."""
    return [
        one
        for one in exported(LANGUAGES[language], language, sites()["none"]).queries
        if one.rule.slug == RULE
    ]


def alerts(query: Query, events: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether a query gives an alert on the events."""
    records = [_record(query.source, one) for one in events]
    match query.language:
        case "kusto":
            table = query.source.naming.table
            rows = [{k: v for k, v in flat(one) if k in columns(table)} for one in records]
            return bool(Kusto({table: rows}, NOW).run(query.query))
        case "eql":
            return bool(sequences.run(query.query, [dict(flat(one)) for one in records]))
    held = [
        {"index": "main", **splunk_events.event(one, query.source), "id": n} for n, one in enumerate(records)
    ]
    found = [bool(engine.run(query.query, held, now=NOW, strict=True)) for engine in (spl_one, spl_two)]
    assert found[0] == found[1], "the evaluators disagree"
    return found[0]


def _record(source: Source, event: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(source.schema.write(complete(dict(event)))[-1])
    return found
