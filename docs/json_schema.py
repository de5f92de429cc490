"""Makes docs/imdswatch-1.schema.json: what each line of `--format ndjson` looks like, as JSON Schema 2020-12.

`schema` is pure; `docs/generate.py` writes it. Names and orders come from the code that writes the lines, their kinds
stand here. The published schema allows fields that it does not know, since a later version may add some; `strict` makes
of it the one that tests hold every output to, which allows none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from imdswatch.edit import STATES as EDITED
from imdswatch.finding import CONFIDENCES, SEVERITIES, STAGES
from imdswatch.matrix import STATES as CELLS
from imdswatch.outlook import Can
from imdswatch.report.ndjson import _ORDER, FORMAT
from imdswatch.verdict import FACT, VERDICTS

Schema = dict[str, Any]
NAME = "imdswatch-1.schema.json"

TEXT: Schema = {"type": "string"}
FILLED: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
SECONDS: Schema = {"type": "number", "minimum": 0}
TRUTH: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}
TEXTS: Schema = {"type": "array", "items": TEXT, "minItems": 1}
_KINDS: Mapping[str, Schema] = {
    "port": {"type": "integer", "minimum": 0, "maximum": 65535},
    "vlan": {"type": "array", "items": {"type": ["integer", "string"]}, "minItems": 1},
    "ttl": {"type": "integer", "minimum": 0, "maximum": 255},
    "status": {"type": "integer"},
    "expected": TRUTH,
    "claims": {"type": "object", "additionalProperties": TEXT},
    "forged": {"const": True},
}
"""Members of victim, responder, request and account that are no plain text."""


def one_of(*values: str) -> Schema:
    """Return what is one of some texts."""
    return {"enum": list(values)}


def listed(items: Schema) -> Schema:
    """Return a list, which is left out where it is empty."""
    return {"type": "array", "items": items, "minItems": 1}


def thing(required: tuple[str, ...] = (), **members: Schema) -> Schema:
    """Return an object with these members; a name that ends in `_` stands for the one without."""
    named = {name.rstrip("_"): kind for name, kind in members.items()}
    return {"type": "object", "properties": named, **({"required": list(required)} if required else {})}


def part(name: str) -> Schema:
    """Return victim, responder, request or account."""
    return thing(**{member: _KINDS.get(member, FILLED) for member in _ORDER[name]})


def line(kind: str, required: tuple[str, ...], **members: Schema) -> Schema:
    """Return a line of a type."""
    head = {"format": {"const": FORMAT}, "type": {"const": kind}}
    return thing(("format", "type", *required), **head, **members)


PARTS = {name: part(name) for name in _ORDER}
EVIDENCE = listed(thing(source=TEXT, position=TEXT, excerpt=TEXT))
CHANGE = thing(("slug",), slug=FILLED, path=TEXT, text=FILLED)
REASONS = listed(
    thing(("slug", "speaks_for", "text"), slug=FILLED, speaks_for=one_of(*VERDICTS, FACT), text=FILLED)
)
ANSWER = {
    "can": one_of(*(can.name.lower() for can in Can)),
    "why": listed(thing(("text",), field=TEXT, text=FILLED)),
}


def text() -> str:
    """Return the file."""
    return json.dumps(schema(), indent=1) + "\n"


def schema() -> Schema:
    """Return the whole schema."""
    lines = _lines()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "imdswatch/1",
        "description": "One line of what imdswatch writes with --format ndjson. Fields are absent when unknown.",
        "type": "object",
        "required": ["format", "type"],
        "properties": {"format": {"const": FORMAT}, "type": {"enum": list(lines)}},
        "allOf": [
            {"if": {"properties": {"type": {"const": kind}}}, "then": {"$ref": f"#/$defs/{kind}"}}
            for kind in lines
        ],
        "$defs": lines,
    }


_OF_RULE = ("rule", "title", "id", "level", "description", "needs", "remedy", "file", "sigma")


def _lines() -> dict[str, Schema]:
    return {
        "finding": line(
            "finding",
            (
                "rule",
                "rules",
                "stage",
                "severity",
                "confidence",
                "count",
                "evidence",
                "suppressed_by",
                "fingerprint",
            ),
            rule=FILLED,
            rules={"type": "object", "additionalProperties": COUNT},
            title=FILLED,
            stage=one_of(*STAGES),
            severity=one_of(*SEVERITIES),
            confidence=one_of(*CONFIDENCES),
            first_seen=TIME,
            last_seen=TIME,
            count=COUNT,
            **PARTS,
            responders=listed(PARTS["responder"]),
            evidence=EVIDENCE,
            cause=one_of("misconfiguration", "cloud-application", "impersonation", "unknown"),
            attack=TEXTS,
            suppressed_by={"type": ["string", "null"]},
            remedy=FILLED,
            fingerprint=FILLED,
            verdict=one_of(*VERDICTS),
            reasons=REASONS,
        ),
        "skipped": line("skipped", ("reason",), host=FILLED, source=TEXT, position=TEXT, reason=FILLED),
        "verdict": line(
            "verdict",
            ("endpoint", "verdict"),
            endpoint=FILLED,
            interface=FILLED,
            verdict=one_of(*VERDICTS),
            cloud=FILLED,
            responder=PARTS["responder"],
            account=PARTS["account"],
            reasons=REASONS,
            advice=FILLED,
            notes=TEXTS,
        ),
        "cell": line(
            "cell",
            ("host", "tool", "context", "state", "why"),
            host=TEXT,
            **dict.fromkeys(("tool", "version", "family", "context", "user", "why", "when"), FILLED),
            state=one_of(*CELLS),
            evidence=EVIDENCE,
            change=CHANGE,
            notes=TEXTS,
        ),
        "check": line(
            "check",
            ("host", "slug", "title", "level", "why"),
            host=TEXT,
            **dict.fromkeys(("slug", "title", "why"), FILLED),
            level=one_of("error", "warning", "note"),
            evidence=EVIDENCE,
            change=CHANGE,
        ),
        "edit": line(
            "edit",
            ("path", "state"),
            host=FILLED,
            slugs=TEXTS,
            path=FILLED,
            action=one_of("create", "change", "link"),
            state=one_of(*EDITED),
            reason=FILLED,
            diff=FILLED,
        ),
        "command": line(
            "command", ("words", "state"), host=FILLED, slug=FILLED, words=TEXTS, state=one_of(*EDITED)
        ),
        "note": line("note", ("text",), host=FILLED, slug=FILLED, text=FILLED),
        "left": line(
            "left",
            ("text", "reason", "cells"),
            host=FILLED,
            slug=FILLED,
            path=FILLED,
            text=FILLED,
            reason=FILLED,
            cells=TEXTS,
        ),
        "status": line(
            "status", ("running", "findings"), running=TRUTH, findings=thing(**dict.fromkeys(STAGES, COUNT))
        ),
        "rule": line(
            "rule",
            ("rule", "title", "stage", "level", "fields"),
            **dict.fromkeys(_OF_RULE, FILLED),
            stage=one_of(*STAGES),
            **dict.fromkeys(("fields", "attack", "false_positives", "blind_spots", "references"), TEXTS),
        ),
        "schema": line(
            "schema",
            ("schema", "title", "layouts"),
            **dict.fromkeys(("schema", "title", "version", "layer", "vantage", "samples"), FILLED),
            layouts=TEXTS,
            references=TEXTS,
            **{name: {"type": "object"} for name in ("needs", "cannot", "fields", "constants")},
        ),
        "detected": line(
            "detected",
            ("source", "records", "complete"),
            source=FILLED,
            schemas=listed(thing(("schema", "records"), schema=FILLED, records=COUNT)),
            records=COUNT,
            unread=COUNT,
            complete=TRUTH,
            rules=listed(thing(("rule", "can"), rule=FILLED, stage=one_of(*STAGES), schema=FILLED, **ANSWER)),
            site=listed(thing(("keys", "can"), keys=TEXTS, schema=FILLED, **ANSWER)),
        ),
        "summary": line(
            "summary",
            ("skipped", "seconds"),
            **dict.fromkeys(
                ("sources", "bytes", "records", "findings", "suppressed", "skipped", "ignored"), COUNT
            ),
            notes=TEXTS,
            seconds=SECONDS,
            command={"const": "audit"},
            **dict.fromkeys(("host", "root", "system", "machine_says"), TEXT),
            machine=one_of("ec2", "not-ec2", "unknown"),
            states=thing(**dict.fromkeys(CELLS, COUNT)),
            tools=COUNT,
            checks=COUNT,
        ),
    }


def strict(given: Any) -> Any:
    """Return a schema whose objects allow no member that it does not name; a status says what it likes."""
    if isinstance(given, list):
        return [strict(one) for one in given]
    if not isinstance(given, dict):
        return given
    made = {name: strict(one) for name, one in given.items()}
    if made.get("type") == "object" and "properties" in made and "$defs" not in made:
        is_status = made["properties"].get("type") == {"const": "status"}
        made |= {} if is_status else {"additionalProperties": False}
    return made
