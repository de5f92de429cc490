"""OCSF and ECS: valid by the published schemas, whatever stands in a finding, and nothing of it is lost on the way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import ecs_fields
import ocsf_classes
from imdswatch.finding import Finding, Skipped, Summary
from imdswatch.report import attack, clock, ecs, ndjson, ocsf
from imdswatch.report.csv import COLUMNS
from imdswatch.verdict import Reason, Verdict
from report_cases import SKIPPED, findings, make, written
from test_report import check
from test_report_hostile import HIDDEN, RUN

WRITTEN_AT = 1795350000.0
JUDGES = {"ocsf": ocsf_classes.faults, "ecs": ecs_fields.faults}
VERDICT = Verdict(
    "http://10.0.0.5:1338",
    "eth0",
    "impostor",
    (Reason("no-signature", "impostor", "the document has no signature"),),
    responder={"ip": "10.0.0.5", "mac": "02:00:00:00:00:05"},
    account={"id": "029608264753", "expected": False},
    advice="cut it off",
)


@pytest.fixture(autouse=True)
def _fixed_clock_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: WRITTEN_AT)
    monkeypatch.setattr(ocsf, "__version__", "0.0")
    monkeypatch.setattr(ecs, "__version__", "0.0")


def documents(format: str, found: list[Finding], *, shown: bool = True) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(format, found, SKIPPED, show_suppressed=shown).splitlines()]


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for one in value.values():
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    else:
        yield value


@pytest.mark.parametrize("format", JUDGES)
@pytest.mark.parametrize("shown", [True, False])
def test_results_are_written_as_in_the_golden_file(format: str, shown: bool) -> None:
    name = "findings" if shown else "unsuppressed"
    check(f"{name}.{format}.ndjson", written(format, findings(), SKIPPED, show_suppressed=shown))


@pytest.mark.parametrize("format", JUDGES)
def test_every_line_is_valid_by_the_published_schema(format: str) -> None:
    for document in documents(format, findings()):
        assert JUDGES[format](document) == [], document


@pytest.mark.parametrize("version", ["1.7.0", "1.8.0"])
def test_an_event_stays_valid_in_later_versions_of_ocsf(version: str) -> None:
    for document in documents("ocsf", findings()):
        document["metadata"]["version"] = version
        assert ocsf_classes.faults(document, version) == []


def _wrong_ocsf(good: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield good | {"severity_id": 9}
    yield good | {"severity": "High"}
    yield good | {"type_uid": 200402}
    yield good | {"made_up": 1}
    yield {key: value for key, value in good.items() if key != "finding_info"}
    yield good | {"evidences": [{"src_endpoint": {"ip": "nowhere"}}]}
    yield good | {"evidences": [{"src_endpoint": {}}]}


def _wrong_ecs(good: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield good | {"event": good["event"] | {"kind": "alarm"}}
    yield good | {"event": good["event"] | {"type": ["indicator"]}}
    yield good | {"source": {"ip": "nowhere"}}
    yield good | {"source": {"mac": "02:00:00:00:01:05"}}
    yield good | {"source": {"port": "80"}}
    yield good | {"victim": "10.0.0.1"}
    yield good | {"related": {"ip": "10.0.0.1"}}
    yield good | {"rule": {"id": ["imds-contact"]}}
    yield {key: value for key, value in good.items() if key != "ecs"}


WRONG = {"ocsf": _wrong_ocsf, "ecs": _wrong_ecs}


@pytest.mark.parametrize("format", JUDGES)
def test_the_judges_see_what_is_wrong(format: str) -> None:
    good = documents(format, findings()[-1:])[0]
    for document in WRONG[format](good):
        assert JUDGES[format](document), document


@settings(deadline=None, max_examples=60)
@given(*RUN)
def test_whatever_stands_in_a_finding_the_events_are_valid_and_harmless(
    found: list[Finding], skipped: list[Skipped], summary: Summary, shown: bool
) -> None:
    for format, faults in JUDGES.items():
        text = written(format, found, skipped, summary, show_suppressed=shown)
        text.encode()
        lines = text.split("\n")
        assert lines.pop() == ""
        assert not any(HIDDEN.search(line) for line in lines)
        listed = [one for one in found if shown or one.suppressed_by is None]
        assert len(lines) == len(listed) + len(skipped) + 1
        for line in lines:
            assert faults(json.loads(line, parse_constant=pytest.fail)) == [], line


@pytest.mark.parametrize("format", JUDGES)
def test_every_value_of_a_finding_is_carried(format: str) -> None:
    mapped = {
        "format",
        "type",
        "severity",
        "confidence",
        "first_seen",
        "last_seen",
        "count",
        "attack",
        "suppressed_by",
    }
    for one in [*findings(), make(verdict="impostor", reasons=VERDICT.reasons)]:
        exact = ndjson.finding_document(one)
        carried = set(map(str, leaves(documents(format, [one])[0])))
        for member, value in exact.items():
            if member not in mapped:
                missing = {str(leaf) for leaf in leaves(value)} - carried
                assert not missing, f"{member}: {missing}"
        if one.suppressed_by:
            assert any(one.suppressed_by in text for text in carried)
        if format == "ocsf":
            assert one.last_seen is None or str(round(one.last_seen * 1000)) in carried
            assert str(min(one.count, (1 << 31) - 1)) in carried or one.count >= 1 << 31
        else:
            assert {exact.get("last_seen"), exact.get("first_seen"), None} <= carried | {None}
            assert str(one.count) in carried
        assert set(one.attack) <= carried


def test_ocsf_says_what_an_analyst_looks_for() -> None:
    event = documents("ocsf", findings()[-1:])[0]
    assert (event["class_uid"], event["metadata"]["version"], event["is_alert"]) == (2004, "1.6.0", True)
    assert (event["severity"], event["confidence"], event["status"]) == ("Critical", "High", "New")
    assert event["time"] == 1795309204250
    info = event["finding_info"]
    assert (info["first_seen_time"], info["last_seen_time"]) == (1795309200000, 1795309204250)
    assert info["analytic"] == {
        "uid": "imds-unexpected-account",
        "name": "imds-unexpected-account",
        "type_id": 1,
        "type": "Rule",
    }
    assert [one["uid"] for one in info["related_analytics"]] == ["imds-contact", "imds-credentials-served"]
    assert [
        (one["technique"]["uid"], one.get("sub_technique", {}).get("uid"), one["tactic"]["name"])
        for one in info["attacks"]
    ] == [
        ("T1552", "T1552.005", "Credential Access"),
        ("T1557", None, "Credential Access"),
        ("T1557", None, "Collection"),
    ]
    exchange = event["evidences"][0]
    assert exchange["src_endpoint"] == {
        "ip": "10.0.1.5",
        "hostname": "build-7.corp.example",
        "mac": "02:00:00:00:01:05",
        "port": 40112,
        "vlan_uid": "210",
    }
    assert exchange["dst_endpoint"]["proxy_endpoint"] == {"ip": "10.9.9.9"}
    assert exchange["http_response"] == {"code": 200}
    assert event["cloud"]["account"]["uid"] == "029608264753"
    assert {"name": "cloud.account.uid", "type_id": 35, "value": "029608264753"} in event["observables"]


def test_ecs_says_what_an_analyst_looks_for() -> None:
    document = documents("ecs", findings()[-1:])[0]
    assert document["event"]["kind"] == "alert"
    assert document["event"]["category"] == ["intrusion_detection", "network", "web"]
    assert document["event"]["severity"] == 99
    assert document["@timestamp"] == document["event"]["end"] == "2026-11-22T01:00:04.250000Z"
    assert document["source"]["mac"] == "02-00-00-00-01-05"
    assert document["destination"]["nat"] == {"ip": "10.9.9.9"}
    assert document["threat"]["technique"]["id"] == ["T1552", "T1557"]
    assert document["threat"]["technique"]["subtechnique"]["id"] == ["T1552.005"]
    assert document["threat"]["tactic"]["id"] == ["TA0006", "TA0009"]
    assert document["related"]["ip"] == ["10.0.1.5", "169.254.169.254", "10.9.9.9", "10.0.1.66"]
    assert document["network"] == {"vlan": {"id": "210"}, "type": "ipv4", "protocol": "http"}
    assert document["imdswatch"]["stage"] == "credentials-served"


def test_a_suppressed_finding_alerts_nobody() -> None:
    suppressed = [one for one in findings() if one.suppressed_by]
    for event in documents("ocsf", suppressed)[: len(suppressed)]:
        assert (event["status"], event["is_alert"]) == ("Suppressed", False)
    for document in documents("ecs", suppressed)[: len(suppressed)]:
        assert (document["event"]["kind"], document["tags"]) == ("event", ["suppressed"])
    assert len(documents("ocsf", suppressed, shown=False)) == len(SKIPPED) + 1


def test_a_finding_without_times_has_the_time_of_writing_and_says_no_other() -> None:
    nameless = make(first_seen=None, last_seen=None)
    event, document = (documents(format, [nameless])[0] for format in ("ocsf", "ecs"))
    assert event["time"] == WRITTEN_AT * 1000
    assert not {"start_time", "end_time"} & event.keys()
    assert not {"first_seen_time", "last_seen_time"} & event["finding_info"].keys()
    assert document["@timestamp"] == document["event"]["created"]
    assert not {"start", "end"} & document["event"].keys()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("169.254.169.254", {"ip": "169.254.169.254"}),
        ("10.9.8.7:1338", {"ip": "10.9.8.7", "port": 1338}),
        ("[fd00:ec2::254]:80", {"ip": "fd00:ec2::254", "port": 80}),
        ("2852039166", {"ip": "169.254.169.254"}),
        ("instance-data:80", {"hostname": "instance-data", "port": 80}),
    ],
)
def test_where_nobody_answered_the_destination_is_who_was_asked(
    host: str, expected: dict[str, object]
) -> None:
    one = make(responder={}, request={"method": "GET", "host": host, "path": "/latest/meta-data/"})
    event, document = (documents(format, [one])[0] for format in ("ocsf", "ecs"))
    assert event["evidences"][0]["dst_endpoint"] == expected
    destination = document["destination"]
    assert {key: destination.get({"hostname": "domain"}.get(key, key)) for key in expected} == expected
    assert ocsf_classes.faults(event) == ecs_fields.faults(document) == []
    known = one.responder | {"ip": "10.0.0.9"}
    [event] = documents("ocsf", [make(responder=known, request={"host": host})])[:1]
    assert event["evidences"][0]["dst_endpoint"] == {"ip": "10.0.0.9"}, "who answered goes first"


def test_a_technique_that_we_cannot_name_keeps_its_id() -> None:
    odd = make(attack=("T9999.001", "T1078.004"))
    event, document = (documents(format, [odd])[0] for format in ("ocsf", "ecs"))
    assert ocsf_classes.faults(event) == ecs_fields.faults(document) == []
    assert event["finding_info"]["attacks"][0]["sub_technique"] == {"uid": "T9999.001"}
    assert document["threat"]["technique"]["subtechnique"]["id"] == ["T9999.001", "T1078.004"]


def test_the_techniques_of_all_rules_have_names_and_tactics() -> None:
    from imdswatch.rule import load_rules

    for rule in load_rules():
        for technique in attack.techniques(rule.attack):
            assert technique.name
            assert technique.tactics
            assert bool(technique.parent) == bool(technique.parent_name) == ("." in technique.id)


@pytest.mark.parametrize("format", JUDGES)
def test_a_verdict_of_the_probe_is_carried(format: str) -> None:
    import io

    from imdswatch.report import open_sink

    handle = io.StringIO()
    sink: Any = open_sink(format, handle, color=False, show_suppressed=False, width=None)
    sink.verdict(VERDICT)
    document = json.loads(handle.getvalue())
    assert JUDGES[format](document) == []
    carried = set(map(str, leaves(document)))
    exact = {
        name: value
        for name, value in ndjson.verdict_document(VERDICT).items()
        if name not in ("format", "type")
    }
    assert set(map(str, leaves(exact))) <= carried


@pytest.mark.parametrize("format", JUDGES)
def test_a_file_that_was_cut_short_is_known_by_its_missing_end(format: str) -> None:
    last = documents(format, findings())[-1]
    summary = last["unmapped"] if format == "ocsf" else last["imdswatch"]
    assert summary["records"] == 48_211
    assert ecs_fields.ECS["version"] == ecs.VERSION
    assert ocsf_classes.VERSION == ocsf.VERSION


def test_the_page_of_formats_has_the_columns_of_csv_in_their_order() -> None:
    page = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    section = page.split("## Columns of CSV")[1].split("\n## ")[0]
    cells = re.findall(r"(?m)^\| (`[^|]*) \|", section)
    assert tuple(re.findall(r"`([a-z_]+)`", " ".join(cells))) == COLUMNS


def test_the_page_of_formats_says_where_each_member_goes() -> None:
    page = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    section = page.split("## Where each member goes")[1].split("\n## ")[0]
    told = set(re.findall(r"(?m)^\| `([a-z_.]+)` \|", section))
    members: set[str] = set()
    for one in [*findings(), make(verdict="impostor", reasons=VERDICT.reasons)]:
        exact = ndjson.finding_document(one)
        members |= exact.keys() - {"format", "type", *ndjson._MAPPINGS}
        members |= {f"{part}.{key}" for part in ndjson._MAPPINGS for key in ndjson._ORDER[part]}
    assert told == members
