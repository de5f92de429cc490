"""Microsoft Sentinel content: Kusto with one reading, analytics rules as YAML and ARM, watchlist, golden tree."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any
from uuid import UUID

import pytest
import yaml

from export_cases import content, query, same_as_golden, site
from imdswatch.schema import load_schemas
from imdswatch.siem import tree
from imdswatch.siem.kusto import RUNS
from imdswatch.siem.watchlist import COLUMNS

LONGEST_QUERY, LONGEST_DESCRIPTION = 10_000, 5_000  # Microsoft, limits of scheduled analytics rules
STRINGS = re.compile(r'@"(?:[^"]|"")*"|"(?:[^"\\]|\\.)*"')
KEYS = {
    "id", "name", "description", "severity", "status", "requiredDataConnectors", "queryFrequency", "queryPeriod",
    "triggerOperator", "triggerThreshold", "tactics", "relevantTechniques", "query", "entityMappings", "customDetails",
    "alertDetailsOverride", "eventGroupingSettings", "incidentConfiguration", "version", "kind",
}  # fmt: skip
FILES = tree(content("sentinel", site()))
RULES: dict[str, Any] = {path: yaml.safe_load(text) for path, text in FILES.items() if path.endswith(".yaml")}


def columns_of(schema: str, part: str) -> set[str]:
    found = load_schemas()
    return {
        column.name
        for name in found.names
        for naming in found[name].siem
        if (naming.target, naming.schema, naming.part) == ("sentinel", schema, part)
        for several in naming.columns.values()
        for column in several
    }


def test_the_golden_tree() -> None:
    same_as_golden("sentinel", content("sentinel", site(), None, "imds-contact", "imds-answered"))


def test_without_a_site_there_is_no_watchlist() -> None:
    files = tree(content("sentinel"))
    assert not any("watchlist" in path for path in files)
    assert not any("_GetWatchlist" in text for text in files.values())
    assert "watchlist" not in files["README.md"]


@pytest.mark.parametrize("path", RULES)
def test_an_analytics_rule_is_complete(path: str) -> None:
    rule = RULES[path]
    assert set(rule) - {"tags"} == KEYS
    assert UUID(rule["id"]).version == 5
    assert rule["kind"] == "Scheduled"
    assert rule["severity"] in ("Informational", "Low", "Medium", "High")
    assert rule["triggerOperator"] == "gt"
    assert all(re.fullmatch(r"T\d{4}", technique) for technique in rule["relevantTechniques"])
    assert set(rule["tactics"]) <= {"CredentialAccess", "Collection", "InitialAccess"}
    assert rule["tactics"]
    assert len(rule["query"]) <= LONGEST_QUERY
    assert len(rule["description"]) <= LONGEST_DESCRIPTION
    assert len(rule["alertDetailsOverride"]["alertDescriptionFormat"]) <= LONGEST_DESCRIPTION
    assert len(rule["alertDetailsOverride"]["alertDisplayNameFormat"]) <= 256
    for said in ("### Next steps", "### Look first at", "### False positives", "### Blind spots", "ATT&CK"):
        assert said in rule["description"]
    assert minutes(rule["queryPeriod"]) > minutes(rule["queryFrequency"])  # the look-back overlaps


def minutes(span: str) -> int:
    number, unit = int(span[:-1]), span[-1]
    return number * {"m": 1, "h": 60, "d": 1440}[unit]


@pytest.mark.parametrize("path", RULES)
def test_entities_and_details_are_columns_of_the_table(path: str) -> None:
    rule = RULES[path]
    part = "network" if path.endswith("-network.yaml") else "web" if path.endswith("-web.yaml") else ""
    known = columns_of(path.split("/")[1], part)
    assert known
    asked = [one["columnName"] for entity in rule["entityMappings"] for one in entity["fieldMappings"]]
    assert set(asked) <= known
    assert len(rule["entityMappings"]) <= 10
    assert set(rule["customDetails"].values()) <= known
    assert len(rule["customDetails"]) <= 20
    shown = re.findall(r"\{\{(.*?)\}\}", str(rule["alertDetailsOverride"]))
    assert set(shown) <= known


@pytest.mark.parametrize("path", RULES)
def test_a_query_looks_back_as_far_as_its_rule(path: str) -> None:
    rule = RULES[path]
    found = re.search(r"let imds_lookback = (\d+)m;", rule["query"])
    assert found
    assert int(found[1]) == minutes(rule["queryPeriod"])


def test_arm_says_the_same_as_yaml() -> None:
    by_id = {rule["id"]: rule for rule in RULES.values()}
    seen = 0
    for path, text in FILES.items():
        if not path.startswith("arm/"):
            continue
        template = json.loads(text)
        assert template["$schema"].endswith("deploymentTemplate.json#")
        assert set(template["parameters"]) == {"workspace", "location"}
        for resource in template["resources"]:
            found = re.search(r"/([0-9a-f-]{36})'\)\]", resource["name"])
            assert found
            rule, said = by_id.pop(found[1]), resource["properties"]
            assert resource["kind"] == "Scheduled"
            assert said["displayName"] == rule["name"]
            for key in ("query", "severity", "description", "tactics", "entityMappings", "customDetails"):
                assert said[key] == rule[key]
            assert said["techniques"] == rule["relevantTechniques"]
            assert said["triggerOperator"] == "GreaterThan"
            assert said["queryFrequency"] == f"PT{rule['queryFrequency'].upper()}"
            assert said["queryPeriod"] == f"PT{rule['queryPeriod'].upper()}"
            assert re.fullmatch(
                r"P(T\d+[MH]|\d+D)",
                said["incidentConfiguration"]["groupingConfiguration"]["lookbackDuration"],
            )
            seen += 1
    assert not by_id
    assert seen == len(RULES)


def test_the_watchlist_holds_every_value_and_every_list_that_is_asked() -> None:
    rows = list(csv.DictReader(io.StringIO(FILES["watchlist/imdswatch_site.csv"])))
    assert set(rows[0]) == set(COLUMNS)
    found = {(row["List"], row["Family"], row["Value"], row["Expires"]) for row in rows}
    assert {
        ("on_premises", "ipv4", "10.0.0.0/8", ""),
        ("on_premises", "ipv6", "fd12:3456::/32", ""),
        ("on_premises_vlans", "vlan", "99", ""),
        ("openstack-lab/vlans", "vlan", "210", ""),
        ("openstack-lab/responders", "mac", "fa:16:3e:00:00:01", ""),
        ("v6 lab/sources", "ipv6", "2001:db8:ec2::/48", "2027-03-31"),
    } <= found
    lists = {(row["List"], row["Family"]) for row in rows}
    asked: set[tuple[str, str]] = set()
    for rule in RULES.values():
        asked |= set(re.findall(r"List == '([^']*)' and Family == '([^']*)'", rule["query"]))
        declared = re.findall(r"^let (imds_\w+) =", rule["query"], re.M)
        assert len(declared) == len(set(declared))
        assert "10.0.0.0/8" not in rule["query"]  # what the watchlist holds stands nowhere else
        assert "2027" not in rule["query"]
    # a family that a list does not have is asked, too, and is empty
    assert {name for name, _ in asked} <= {name for name, _ in lists}
    resource = json.loads(FILES["watchlist/imdswatch_site.json"])["resources"][0]["properties"]
    assert resource["rawContent"] == FILES["watchlist/imdswatch_site.csv"]
    assert resource["itemsSearchKey"] in COLUMNS


def test_an_empty_watchlist_mutes_nothing() -> None:
    text = RULES["analytics-rules/asim/imds-contact-network.yaml"]["query"]
    assert re.search(
        r"array_length\(imds_on_premises_\d+_ipv4\) == 0 and array_length\(imds_on_premises_\d+_ipv6\) == 0",
        text,
    )
    assert re.search(r"array_length\(imds_on_premises_vlans_\d+_vlan\) == 0", text)


ALL = [(one.rule.slug, one) for where in (None, site()) for one in content("sentinel", where).queries]


@pytest.mark.parametrize("one", [one for _, one in ALL], ids=[name for name, _ in ALL])
def test_only_constructs_with_one_reading(one: Any) -> None:
    code = STRINGS.sub("''", one.query)
    assert not re.search(r"\bhas(_any|_all|_cs)?\b", code), "`has` cuts words at punctuation"
    for call in re.finditer(r"ipv[46]_\w+\(", code):
        before = code[: call.start()]
        assert before.endswith("coalesce("), "null where the text is no address"
    for ranges in re.findall(r"ipv4_is_in_any_range\(\w+, dynamic\(\[([^\]]*)\]", one.query):
        assert ":" not in ranges, "the function of the other family"
    assert "isnull(" not in code
    assert "ipv4_is_match" not in code
    assert code.count("(") == code.count(")")
    for number in re.findall(r"not \((toint\([^)]*\) (?:in|[<>]).*)", code):
        pytest.fail(f"null under not: {number}")


def test_the_parsers_are_asked_with_their_time_parameters() -> None:
    for part, name in (("network", "_Im_NetworkSession"), ("web", "_Im_WebSession")):
        text = query(content("sentinel"), "imds-contact", "asim", part).query
        assert f"{name}(starttime=ago(imds_lookback), endtime=now())" in text
    # they compare IPv4 text and words: both would lose what the rule asks for
    assert not any("_has_any" in one.query for _, one in ALL)


def test_stages_run_and_weigh_differently() -> None:
    found = {path: rule for path, rule in RULES.items() if "commonsecuritylog" in path}
    by_slug = {path.split("/")[-1].removesuffix(".yaml"): rule for path, rule in found.items()}
    assert by_slug["imds-contact"]["severity"] == "Low"
    assert by_slug["imds-answered"]["severity"] == "High"
    assert by_slug["imds-credentials-served"]["severity"] == "High"
    assert len({rule["id"] for rule in RULES.values()}) == len(RULES)
    assert set(RUNS) == {"attempted", "requested", "answered", "credentials-served", "credentials-used"}


def test_the_end_date_stands_in_a_query_that_is_by_itself() -> None:
    text = query(content("sentinel", site()), "imds-contact", "commonsecuritylog").query
    assert "now() < datetime(2027-04-01)" in text
    assert "_GetWatchlist" not in text


def test_use_of_credentials_is_joined_with_their_serving() -> None:
    text = query(content("sentinel"), "imds-credentials-used", "asim", "web").query
    assert "join kind=inner imds_served on $left.SrcIpAddr == $right.imds_victim" in text
    assert "TimeGenerated <= imds_served_at + 6h" in text
