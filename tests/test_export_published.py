"""Exported artefacts against what the vendors publish of their formats (tests/data/published names the sources)."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from export_cases import content, site
from imdswatch.siem import tree

PUBLISHED = Path(__file__).parent / "data" / "published"


def validator(name: str) -> Draft202012Validator:
    schema = yaml.safe_load((PUBLISHED / f"{name}.yml").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


ARM, RULE = validator("sentinel-arm"), validator("elastic-rule")


def templates() -> dict[str, Any]:
    """Every template of the tree; the languages agree in what a site adds."""
    files = {**tree(content("sentinel")), **tree(content("sentinel", site()))}
    return {path: json.loads(text) for path, text in files.items() if path.endswith(".json")}


def rules(language: str) -> Iterator[dict[str, Any]]:
    for where in (None, site()):
        text = tree(content("elastic", where, language))[f"ecs/{language}/rules.ndjson"]
        yield from (one for one in map(json.loads, text.splitlines()) if "rule_id" in one)


def faults(found: Draft202012Validator, document: Any) -> list[str]:
    return [f"{one.json_path}: {one.message[:200]}" for one in found.iter_errors(document)]


@pytest.mark.parametrize("path", templates())
def test_azure_accepts_the_template(path: str) -> None:
    assert faults(ARM, templates()[path]) == []


@pytest.mark.parametrize("language", ["kuery", "eql", "esql"])
def test_kibana_accepts_the_rules(language: str) -> None:
    found = list(rules(language))
    assert len(found) >= 18
    assert [fault for rule in found for fault in faults(RULE, rule)] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("severity", "Critical"), ("queryPeriod", "75m"), ("relevantTechniques", []), ("triggerThreshold", "0")],
)
def test_a_wrong_template_is_refused(key: str, value: Any) -> None:
    document = copy.deepcopy(templates()["arm/asim.json"])
    [rule] = [one for one in document["resources"] if one.get("kind")][:1]
    rule["properties"][key] = value
    assert faults(ARM, document)


@pytest.mark.parametrize(
    ("key", "value"),
    [("risk_score", 101), ("severity", "High"), ("querry", ""), ("interval", "1 hour"), ("language", "eql")],
)
def test_a_wrong_rule_is_refused(key: str, value: Any) -> None:
    rule = {**next(rules("kuery")), key: value}
    assert faults(RULE, rule)
