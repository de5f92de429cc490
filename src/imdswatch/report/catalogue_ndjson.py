"""Rules, schemas and what a file turned out to be as objects of `imdswatch/1`, one a line; pure.

The order is that of the lists for people (`catalogue`). Fields are absent when unknown. A rule that is asked for by
its name has its Sigma text, a schema its fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from imdswatch.finding import STAGE_RANK
from imdswatch.outlook import Answer, Detected
from imdswatch.report import escape
from imdswatch.report.catalogue import definition
from imdswatch.report.ndjson import FORMAT, known, skipped_document
from imdswatch.rule import Rule
from imdswatch.schema import Schema, Schemas


def rules(found: Sequence[Rule]) -> str:
    """Return the list of rules, by stage."""
    return _lines(_rule(rule) for rule in sorted(found, key=lambda rule: (STAGE_RANK[rule.stage], rule.slug)))


def rule(found: Rule) -> str:
    """Return one rule with its Sigma text."""
    return _lines([_rule(found) | {"sigma": found.text}])


def schemas(loaded: Schemas) -> str:
    """Return the list of schemas."""
    return _lines(_schema(loaded[name]) for name in loaded.names)


def schema(found: Schema) -> str:
    """Return one schema with its fields."""
    said: Mapping[str, Any] = found.explain()
    return _lines([_schema(found) | {"fields": said["fields"], "constants": said["constants"]}])


def detected(found: Detected) -> str:
    """Return what a file is, what each rule can do with it, and each key of a site; then what was not looked at."""
    return _lines(_detected(found))


def _rule(rule: Rule) -> dict[str, object]:
    return {
        "format": FORMAT,
        "type": "rule",
        "rule": rule.slug,
        "title": rule.title,
        "id": rule.id,
        "stage": rule.stage,
        "level": rule.level,
        "description": rule.description,
        "needs": definition(rule),
        "fields": sorted(rule.fields),
        "attack": rule.attack,
        "false_positives": rule.falsepositives,
        "blind_spots": rule.blind_spots,
        "references": rule.references,
        "remedy": rule.remedy,
        "file": rule.file,
    }


def _schema(schema: Schema) -> dict[str, object]:
    return {
        "format": FORMAT,
        "type": "schema",
        "schema": schema.name,
        "title": schema.title,
        "version": schema.version,
        "layer": schema.layer,
        "vantage": schema.vantage,
        "samples": schema.origin,
        "layouts": list(dict.fromkeys(schema.kinds)),
        "references": schema.references,
        "needs": schema.needs,
        "cannot": schema.cannot,
    }


def _detected(found: Detected) -> Iterator[dict[str, object]]:
    yield {
        "format": FORMAT,
        "type": "detected",
        "source": found.source,
        "schemas": [{"schema": one.schema.name, "records": one.records} for one in found.schemas],
        "records": found.records,
        "unread": found.unread,
        "complete": found.complete,
        "rules": [
            {"rule": one.rule, "stage": one.stage, "schema": one.schema, **_answer(one.answer)}
            for one in found.outlooks
        ],
        "site": [
            {"keys": key.split(", "), "schema": schema, **_answer(answer)}
            for key, schema, answer in found.site
        ],
    }
    for one in found.skipped:
        yield skipped_document(one)


def _answer(answer: Answer) -> dict[str, object]:
    why = [{"field": field, "text": text} for field, text in answer.why]
    return {"can": answer.can.name.lower(), "why": why}


def _lines(documents: Iterable[Mapping[str, object]]) -> str:
    return "".join(f"{escape.json_line(orjson.dumps(known(one)).decode())}\n" for one in documents)
