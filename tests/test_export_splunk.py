"""Splunk content: SPL read alike by two evaluators and `scan`; the app's conf files, the lookup, the golden tree.

Longer than most: searches, the files around them, and the site in its own place are judged on the same records.
"""

from __future__ import annotations

import csv
import io
import json
import re
import time
from functools import cache
from typing import Any

import pytest
from addonfactory_splunk_conf_parser_lib import TABConfigParser

from conformance.corpus import NOW, cases, sites, wanted
from engines.spl_one import run as first
from engines.spl_two import run as second
from export_cases import SLUGS, content, query, same_as_golden, site
from imdswatch.event import complete
from imdswatch.layouts.result import Record
from imdswatch.schema import load_schemas
from imdswatch.siem import tree
from imdswatch.siem.content import Query, Source
from imdswatch.siem.kusto import RUNS
from imdswatch.siem.splunk_site import COLUMNS, NOTHING, key_of, reading_lookup
from imdswatch.site import Site
from splunk_events import event

FILES = tree(content("splunk", site()))
ALL = content("splunk", sites()["all of it"]).queries
SCHEMAS = ("cim", "cim-tstats", "suricata", "zeek")
ES = {
    "action.correlationsearch.enabled", "action.correlationsearch.label", "action.correlationsearch.annotations",
    "action.notable", "action.notable.param.rule_title", "action.notable.param.rule_description",
    "action.notable.param.security_domain", "action.notable.param.severity", "action.notable.param.nes_fields",
    "action.notable.param.drilldown_searches", "action.risk", "action.risk.param._risk",
    "action.risk.param._risk_message", "action.risk.param._risk_score", "action.risk.param.verbose",
}  # fmt: skip
"""Keys that splunk/contentctl writes for Enterprise Security; without the first two a search is a plain alert."""


def conf(text: str) -> dict[str, dict[str, str]]:
    """Read a conf file as Splunk's Admin Manual tells: a line that ends with a backslash goes on with the next one."""
    out: dict[str, dict[str, str]] = {}
    stanza, lines = "", iter(text.split("\n"))
    for line in lines:
        if line.startswith("[") and line.endswith("]"):
            stanza = line[1:-1]
            assert stanza not in out, stanza
            out[stanza] = {}
            continue
        if not line:
            continue
        key, separator, value = line.partition(" = ")
        assert separator, line
        assert key not in out[stanza]
        while value.endswith("\\"):
            value = value[:-1] + "\n" + next(lines)
        out[stanza][key] = value
    return out


SEARCHES = conf(FILES["default/savedsearches.conf"])


def test_the_golden_tree() -> None:
    same_as_golden("splunk", content("splunk", site(), None, "imds-contact", "imds-answered"))


@pytest.mark.parametrize("path", [path for path in FILES if path.endswith((".conf", ".meta"))])
def test_conf_files_read_as_splunk_reads_them(path: str) -> None:
    ours = conf(FILES[path])
    parser = TABConfigParser()
    parser.read_file(io.StringIO(FILES[path]))
    theirs = {name: {k: v for k, v in parser.items(name) if k != "__name__"} for name in parser.sections()}
    assert set(theirs) == set(ours) - {""}
    for name, keys in theirs.items():
        assert set(keys) == set(ours[name])
        for key, value in keys.items():
            assert value.replace("\\\n", "\n").split() == ours[name][key].split(), (name, key)


def test_a_search_in_the_app_is_the_search_that_reads_the_lookup() -> None:
    for one in content("splunk", site()).queries:
        part = f" {one.part}" if one.part else ""
        said = SEARCHES[f"IMDS - {one.rule.slug} - {one.schema}{part} - Rule"]
        assert said["search"] == reading_lookup(one)
        assert "10.0.0.0/8" not in said["search"]  # what the lookup holds stands nowhere else
        assert "2027" not in said["search"]
        assert "\n\n" not in said["search"]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_correlation_search_is_complete(name: str) -> None:
    said = SEARCHES[name]
    slug = name.split(" - ")[1]
    assert set(said) >= ES | {
        "search",
        "description",
        "cron_schedule",
        "alert.suppress",
        "alert.suppress.fields",
    }
    assert len(name) <= 100
    assert said["enableSched"] == "1"
    every, back = next(run for stage, run in RUNS.items() if f'imds_stage="{stage}"' in said["search"])
    minute, *rest = said["cron_schedule"].split()
    assert rest == ["*"] * 4
    assert re.fullmatch(r"\d+" if every == 60 else rf"\d+-59/{every}", minute)
    look = re.fullmatch(r"-(\d+)m@m", said["dispatch.earliest_time"])
    assert look
    assert int(look[1]) >= back > every  # the look-back overlaps the interval
    assert said["action.notable.param.severity"] in ("informational", "low", "medium", "high", "critical")
    techniques = json.loads(said["action.correlationsearch.annotations"])["mitre_attack"]
    assert techniques
    assert all(re.fullmatch(r"T\d{4}(\.\d{3})?", one) for one in techniques)
    fields = set(said["alert.suppress.fields"].split(","))
    assert {one["risk_object_field"] for one in json.loads(said["action.risk.param._risk"])} == fields
    assert json.loads(said["action.notable.param.drilldown_searches"])[0]["search"]
    for heading in (
        "Next steps:",
        "Look first at:",
        "False positives:",
        "Blind spots:",
        "ATT&CK",
    ):
        assert heading in said["description"]
    assert slug in SLUGS
    for macro in re.findall(r"`(\w+)(?:\(|`)", said["search"]):
        assert any(stanza.partition("(")[0] == macro for stanza in conf(FILES["default/macros.conf"]))


def test_one_schema_is_switched_on_where_several_are_exported() -> None:
    on = {name.split(" - ")[2].split()[0] for name, said in SEARCHES.items() if said["disabled"] == "0"}
    assert on == {"cim"}
    assert "Switched on are the searches of `cim`" in FILES["README.md"]


def test_every_rule_is_there_or_told_as_not_applicable() -> None:
    found = content("splunk")
    asked = {(one.rule.slug, one.schema) for one in found.queries}
    refused = {(one.rule.slug, one.schema) for one in found.not_applicable}
    assert not asked & refused
    assert asked | refused == {(slug, schema) for slug in SLUGS for schema in SCHEMAS}
    assert ("imds-name-lookup", "zeek") in asked
    assert ("imds-l2-claim", "suricata") in asked
    assert ("imds-l2-claim", "cim") in refused
    header = query(found, "imds-request", "cim", "web").lost
    assert [loss.clause for loss in header] == ["req_header: *x-aws-ec2-metadata-token*"]
    assert not query(found, "imds-request", "zeek", "web").lost


# Constructs.


@pytest.mark.parametrize("one", ALL, ids=[f"{one.rule.slug}-{one.schema}-{one.part}" for one in ALL])
def test_only_constructs_with_one_reading(one: Query) -> None:
    text = one.query
    assert text.count("(") == text.count(")")
    assert "!=" not in text
    assert "Web.dest_ip" not in text  # older models have none
    assert "Web.src_ip" not in text
    for condition in re.findall(r"^(?:\| search |    where\n)(.*?)(?=^\||^    by )", text, re.M | re.S):
        for line in condition.splitlines():
            assert not ("AND" in line.split() and "OR" in line.split()) or "(" in line, "parentheses always"
    for regex in re.findall(r'\b(?:match|mvfind|replace)\([^"]*"((?:[^"\\]|\\.)*)"', text):
        assert "\\" not in regex, "a backslash in a string has more than one reading"
        assert "[[" not in regex
    for values in re.findall(r"IN \(([^)]*)\)", text):
        for value in re.findall(r'"([^"]*)"', values):
            assert "/0" not in re.findall(r"/\d+$", value)
    for several in re.findall(r"= *\w*\('?([\w.]+\{\}[\w.]*)'?", text):
        pytest.fail(f"a field of several values in eval: {several}")


# Two evaluators, and the reader of `scan`.


@cache
def events(name: str, part: str) -> tuple[tuple[dict[str, Any], dict[str, Any]], ...]:
    """Return a part of the corpus as Splunk would hold it, and what `scan` reads in it (conformance asks all)."""
    found = load_schemas()
    [source] = [
        Source(found[schema], naming)
        for schema in found.names
        for naming in found[schema].siem
        if (naming.target, naming.schema, naming.part) == ("splunk", name, part)
    ]
    reader = found.reader(only=source.schema.name)
    out = []
    for case in cases()[:: 12 if name == "cim-tstats" else 3]:
        lines = source.schema.write(case.fields)
        if not lines:
            continue
        result = reader.read(lines[-1])
        assert isinstance(result, Record)
        one = {**event(json.loads(lines[-1]), source), "id": len(out), "index": "main"}
        out.append((one, complete(dict(result.fields))))
    assert len(out) > 15
    return tuple(out)


def answers(run: Any, text: str, rows: list[dict[str, Any]], **told: Any) -> set[int]:
    if "| tstats" in text:  # its rows are groups: ask each record by itself
        return {row["id"] for row in rows if run(text, [row], now=NOW, **told)}
    return {row["id"] for row in run(text, rows, now=NOW, **told)}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_both_evaluators_find_what_scan_finds_in_the_same_record(schema: str) -> None:
    where = sites()["all of it"]
    for one in ALL:
        if one.schema != schema or one.rule.correlation is not None:
            continue
        rows = [row for row, _ in events(one.schema, one.part)]
        told = events(one.schema, one.part)
        expected = {row["id"] for row, fields in told if wanted(one.rule, where, fields)}
        assert answers(first, one.query, rows) == expected, one.rule.slug
        assert answers(second, one.query, rows) == expected, one.rule.slug


@pytest.mark.parametrize("schema", ["cim", "zeek"])
def test_lookup_and_macros_give_the_same_answers_as_the_search_by_itself(schema: str) -> None:
    where = sites()["all of it"]
    files = tree(content("splunk", where))
    macros = {
        name: {"args": keys["args"], "definition": keys["definition"]}
        if "args" in keys
        else keys["definition"]
        for name, keys in conf(files["default/macros.conf"]).items()
    }
    kept = {"macros": macros, "lookups": {"imdswatch_site": {"csv": files["lookups/imdswatch_site.csv"]}}}
    for one in ALL:
        if one.schema == schema and one.rule.slug in ("imds-contact", "imds-answered"):
            rows = [row for row, _ in events(one.schema, one.part)]
            text = reading_lookup(one)
            assert "`imdswatch_site(" in text
            for run in (first, second):
                assert answers(run, text, rows, **kept) == answers(run, one.query, rows)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_no_answer_hangs_on_a_place_that_the_manuals_leave_open(schema: str) -> None:
    for one in ALL:
        if one.schema == schema and one.rule.slug in (
            "imds-contact",
            "imds-answered",
            "imds-credentials-served",
        ):
            rows = [row for row, _ in events(one.schema, one.part)][::4]
            for run in (first, second):
                answers(run, one.query, rows, strict=True)


def test_use_of_credentials_is_related_to_their_serving_by_time() -> None:
    text = query(content("splunk"), "imds-credentials-used", "cim", "web").query
    served = {"tag": "web", "src": "10.0.0.5", "dest": "169.254.169.254", "status": "200", "http_method": "GET",
              "url": "http://169.254.169.254/latest/meta-data/iam/security-credentials/app"}  # fmt: skip
    used = {"tag": "web", "src": "10.0.0.5", "url": "sts.amazonaws.com:443", "http_method": "CONNECT"}
    moments = {"before": -60, "soon": 60, "just": 21_600, "late": 21_601}
    for run in (first, second):
        found = {
            name: bool(run(text, [{**served, "_time": NOW}, {**used, "_time": NOW + later}], now=NOW))
            for name, later in moments.items()
        }
        assert found == {"before": False, "soon": True, "just": True, "late": False}
        other = [{**served, "_time": NOW}, {**used, "src": "10.0.0.6", "_time": NOW + 60}]
        assert not run(text, other, now=NOW)


def test_steps_back_in_a_path_are_resolved() -> None:
    text = query(content("splunk"), "imds-request", "cim", "web").query
    paths = {
        "/x/../y/../latest/meta-data/": True,
        "/a/b/../../latest/meta-data": True,
        "/latest//meta-data/./iam": True,
        "/latest/meta-data/../news": False,
        "/latest/meta-data/..": False,
        "/../latest/meta-data": True,
        "http://h/%2e%2e/latest%2Fmeta-data?x=/../..": True,
        "/latest/meta-database": False,
    }
    rows = [{"tag": "web", "url": path, "id": path} for path in paths]
    for run in (first, second):
        assert {row["id"] for row in run(text, rows, now=NOW)} == {path for path, hit in paths.items() if hit}


# The site.


def test_the_lookup_holds_every_list_that_is_asked_and_no_list_is_empty() -> None:
    rows = list(csv.DictReader(io.StringIO(FILES["lookups/imdswatch_site.csv"])))
    assert tuple(rows[0]) == COLUMNS
    lists = {row["list"] for row in rows}
    asked = {
        key for said in SEARCHES.values() for key in re.findall(r'imdswatch_site\("([^"]*)"', said["search"])
    }
    assert asked == lists - {"whoever/responders"}
    assert {row["list"] for row in rows if row["value"] == NOTHING} == lists
    assert {row["expires"] for row in rows if row["list"] == "v6 lab/sources"} == {"", "2027-03-31"}
    assert ("openstack-lab/responders", "fa16.3e00.0001") in {(row["list"], row["value"]) for row in rows}


def test_an_expired_or_empty_list_mutes_nothing_and_an_empty_premises_list_means_everywhere() -> None:
    one = query(content("splunk", site()), "imds-contact", "cim", "network")
    macros = {
        name: {"args": keys["args"], "definition": keys["definition"]}
        if "args" in keys
        else keys["definition"]
        for name, keys in conf(FILES["default/macros.conf"]).items()
    }
    text = reading_lookup(one)
    there = {"tag": ["network", "communicate"], "index": "x", "dest_ip": "169.254.169.254"}
    rows = [
        {**there, "id": "v6 lab", "src_ip": "2001:db8:ec2::7"},
        {**there, "id": "elsewhere", "src_ip": "172.16.0.1"},
    ]
    whole = FILES["lookups/imdswatch_site.csv"]
    bare = "".join(line for line in whole.splitlines(True) if not re.match(r"on_premises\w*,(?!none)", line))
    for run in (first, second):

        def left(csv_text: str, now: float, run: Any = run) -> set[str]:
            lookups = {"imdswatch_site": {"csv": csv_text}}
            return {row["id"] for row in run(text, rows, macros=macros, lookups=lookups, now=now)}

        assert left(whole, NOW) == set()
        assert left(whole, 1_806_537_599) == set()  # the last second of 2027-03-31, UTC
        assert left(whole, 1_806_537_600) == {"v6 lab"}
        assert left(bare, NOW) == {"elsewhere"}


def test_without_a_site_there_is_no_lookup() -> None:
    files = tree(content("splunk"))
    assert not any(path.startswith("lookups/") for path in files)
    assert "imdswatch_site" not in files["default/savedsearches.conf"]
    assert "imdswatch_site" not in files["default/macros.conf"]
    assert Site().mutes_nothing


def test_a_name_in_the_site_file_cannot_leave_its_place() -> None:
    label = 'x")` | delete [a]\n=b/vlans'
    assert re.fullmatch(r"[\w ./-]+", key_of(label))
    assert key_of("plain name/vlans") == "plain name/vlans"
    assert key_of("a/vlans") != key_of("a?/vlans") != key_of("a!/vlans")
    where = site('[[suppress]]\nname = "=cmd|x"\nreason = "=1+1"\nvlans = [7]\n')
    text = tree(content("splunk", where))["lookups/imdswatch_site.csv"]
    assert ",'=1+1," in text
    assert "\n=" not in text


def test_export_is_quick_and_the_same_again() -> None:
    begun = time.process_time()
    again = tree(content("splunk", site()))
    assert time.process_time() - begun < 10
    assert again == FILES
