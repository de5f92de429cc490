"""Elastic content: Kibana KQL, EQL and ES|QL over ECS, rules for import, exception lists, the golden trees."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID

import pytest

import formula_judge
from export_cases import content, query, same_as_golden, site
from imdswatch.schema import load_schemas
from imdswatch.siem import formula as f
from imdswatch.siem import tree
from imdswatch.siem.exceptions import alternatives
from test_export_core import records

LANGUAGES = ("kuery", "eql", "esql")
REQUIRED = {"author", "description", "name", "risk_score", "rule_id", "severity", "type"}
"""elastic/detection-rules, detection_rules/rule.py: fields without which a rule is refused."""


def lines(language: str, where: bool = True) -> list[dict[str, Any]]:
    files = tree(content("elastic", site() if where else None, language))
    return [json.loads(line) for line in files[f"ecs/{language}/rules.ndjson"].splitlines()]


def rules(language: str, where: bool = True) -> list[dict[str, Any]]:
    return [line for line in lines(language, where) if "rule_id" in line]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_golden_tree(language: str) -> None:
    found = content("elastic", site(), language, "imds-contact", "imds-answered")
    same_as_golden(f"elastic-{language}", found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_rule_has_what_kibana_asks_for(language: str) -> None:
    known = {c.name for cs in load_schemas()["ecs"].siem[0].columns.values() for c in cs} | {"event.dataset"}
    found = rules(language)
    assert len({rule["rule_id"] for rule in found}) == len(found) >= 9
    for rule in found:
        assert set(rule) >= REQUIRED
        assert UUID(rule["rule_id"]).version == 5
        assert rule["type"] == {"kuery": "query"}.get(language, language)
        assert rule["language"] == language
        assert ("index" in rule) == (language != "esql")  # the validator refuses it there
        assert rule["severity"] in ("low", "medium", "high", "critical")
        assert 0 <= rule["risk_score"] <= 100
        look_back = int(re.fullmatch(r"now-(\d+)m", rule["from"])[1])  # type: ignore[index]
        assert look_back > int(rule["interval"].removesuffix("m"))
        assert rule["timestamp_override"] == "event.ingested"
        assert {one["name"] for one in rule["required_fields"]} <= known
        assert set(rule["investigation_fields"]["field_names"]) <= known
        assert rule["false_positives"]
        for said in ("### Next steps", "### Look first at", "### False positives", "### Blind spots"):
            assert said in rule["note"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_threats_are_nested_as_attack_has_them(language: str) -> None:
    for rule in rules(language):
        assert rule["threat"]
        for threat in rule["threat"]:
            assert threat["framework"] == "MITRE ATT&CK"
            assert re.fullmatch(r"TA\d{4}", threat["tactic"]["id"])
            assert threat["technique"]
            for technique in threat["technique"]:
                assert re.fullmatch(r"T\d{4}", technique["id"])
                for sub in technique.get("subtechnique", ()):
                    assert sub["id"].startswith(technique["id"] + ".")
                    assert sub["reference"].endswith(sub["id"].replace(".", "/") + "/")


def test_only_eql_relates_events() -> None:
    by_language = {language: {rule["name"] for rule in rules(language)} for language in LANGUAGES}
    used = "IMDS impersonation: AWS used after an impostor served credentials"
    assert used in by_language["eql"]
    assert used not in by_language["kuery"] | by_language["esql"]
    [rule] = [rule for rule in rules("eql") if rule["name"] == used]
    assert rule["query"].startswith("sequence by source.ip with maxspan=6h")
    assert rule["from"] == "now-390m"
    assert "alert_suppression" not in rule


# The site as exception lists.


@pytest.mark.parametrize("language", LANGUAGES)
def test_exception_lists_hold_together(language: str) -> None:
    found = lines(language)
    lists = {
        line["list_id"]: line
        for line in found
        if "type" in line and "item_id" not in line and "list_id" in line
    }
    items = [line for line in found if "item_id" in line]
    assert len({item["item_id"] for item in items}) == len(items)
    assert {item["list_id"] for item in items} == set(lists)
    for rule in rules(language):
        for reference in rule["exceptions_list"]:
            assert reference["id"] == lists[reference["list_id"]]["id"]
            assert reference["namespace_type"] == lists[reference["list_id"]]["namespace_type"]
        if rule["exceptions_list"]:
            assert "10.0.0.0/8" not in rule["query"], "the site lies in the list only"
    for item in items:
        assert item["entries"]
        for entry in item["entries"]:
            assert entry["operator"] in ("included", "excluded")
            assert (entry["type"], "value" in entry) in (("exists", False), ("match_any", True))
    assert {item.get("expire_time") for item in items} == {None, "2027-04-01T00:00:00.000Z"}


def test_without_a_site_there_is_no_list() -> None:
    assert all("rule_id" in line for line in lines("kuery", where=False))
    assert all(rule["exceptions_list"] == [] for rule in rules("kuery", where=False))


def test_exception_items_mean_what_the_site_means() -> None:
    for one in content("elastic", site(), "kuery").queries:
        items = alternatives(one.plan.mute)
        assert items
        for record, _ in records("ecs"):
            muted = any(
                all(formula_judge.holds(atom, record) == holds for atom, holds in item) for item in items
            )
            assert muted == formula_judge.holds(one.plan.mute, record)


def test_an_item_that_can_never_hold_is_left_out() -> None:
    one, two = (f.Atom(c, f.Present()) for c in load_schemas()["ecs"].siem[0].columns["host"])
    assert alternatives(f.All((one, f.AnyOf((f.No(one), two))))) == [((one, True), (two, True))]


# The languages.


def texts(language: str) -> list[str]:
    return [one.query for where in (None, site()) for one in content("elastic", where, language).queries]


def test_kuery_uses_what_its_grammar_has() -> None:
    for text in texts("kuery"):
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
        assert "\\/" not in bare, "a syntax error in Kibana's grammar"
        assert "?" not in bare
        assert not re.search(r"(?<![\\ ]):|:(?! )", bare.replace("\\:", "")), (
            "a colon in a value is quoted or escaped"
        )
        assert bare.count("(") == bare.count(")")


def test_kuery_tells_what_case_costs() -> None:
    one = query(content("elastic"), "imds-request", "ecs")
    assert "/LATEST/META-DATA/*" in one.query
    assert "/Latest/Meta-Data/*" in one.query
    assert any("compares case" in loss.why for loss in one.lost)
    assert not any(
        "compares case" in loss.why
        for loss in query(content("elastic", None, "eql"), "imds-request", "ecs").lost
    )


def test_kuery_spells_versions_of_hosts_in_words() -> None:
    text = query(content("elastic"), "imds-contact", "ecs").query
    for host in (
        '"2852039166"',
        '"0XA9FEA9FE"',
        '"[FD00:EC2::254]"',
        '"Instance-Data"',
        "169.254.169.254\\:*",
    ):
        assert host in text


def test_octets_are_compared_in_steps_where_columns_do_not_multiply() -> None:
    for language in ("kuery", "eql"):
        one = query(content("elastic", None, language), "imds-answered", "ecs")
        assert re.search(r"destination\.packets <= 4 and \??destination\.bytes > 240", one.query)
        assert any("in steps" in loss.why for loss in one.lost)
    text = query(content("elastic", None, "esql"), "imds-answered", "ecs").query
    assert "destination.bytes > destination.packets * CASE(" in text


def test_a_source_that_counts_frames_is_not_judged_by_octets() -> None:
    for language in LANGUAGES:
        text = query(content("elastic", None, language), "imds-answered", "ecs").query
        assert "suricata.eve" in text


def test_eql_columns_are_optional_and_guarded_under_not() -> None:
    for text in texts("eql"):
        code = re.sub(r'"""(?:.|\n)*?"""|"(?:[^"\\]|\\.)*"', "''", text)
        assert not re.search(
            r"(?<![?.\w`])(?:destination|url|http|network)\.[a-z]", code.partition(" with ")[2] or code
        )
        assert not re.search(r"not \??[a-z.]+ (?:==|in|like)", code), "null under not"
        assert not re.search(r"[<>=] \?[a-z]", code), "a column compared with a column"


def test_esql_nulls_and_several_values() -> None:
    for text in texts("esql"):
        code = re.sub(r'"""(?:.|\n)*?"""|"(?:[^"\\]|\\.)*"', "''", text)
        assert text.startswith('SET unmapped_fields="nullify";\nFROM ')
        assert "METADATA _id, _index, _version" in text
        for name in re.findall(
            r"(?<!MV_CONCAT\()(?<!TO_LOWER\()(?<!TO_STRING\()\b(network\.vlan\.id|event\.type)\b", code
        ):
            pytest.fail(f"{name} may have several values")
        for negated in re.findall(r"NOT \((\w+)", code):
            assert negated in ("COALESCE", "http", "destination", "source", "TO_LOWER"), negated
