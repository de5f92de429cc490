"""The Sigma target: the pack parses again, every block of the portable rule counts, filters do what the site does."""

from __future__ import annotations

import json
import sqlite3
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection
from sigma.filters import SigmaFilter

from imdswatch.cli import main
from imdswatch.event import complete
from imdswatch.rule import built_in_slugs, load_rules, parse_rule
from imdswatch.scan.predicate import compile_rules
from imdswatch.schema import load_schemas
from imdswatch.siem import content_of, tree
from imdswatch.siem.content import Request, stable_id
from imdswatch.siem.export import ALL_MUTED
from imdswatch.siem.sigma import PORTABLE, filters, portable_rule
from imdswatch.site import Site, parse_site
from test_suppression_properties import EVENTS, SITES, muted, site_of

RULES = load_rules()
SCHEMAS = load_schemas()
BULLETIN = next(rule for rule in RULES if rule.slug == "aws-2025-021")
SITE = """
[site]
on_premises = ["10.0.0.0/8", "fd12:3456::/32"]
[accounts]
expected = ["123456789012"]
[[suppress]]
name = "lab"
reason = "OpenStack"
vlans = [210]
sources = ["10.20.0.0/16"]
responders = ["10.20.0.1", "fa:16:3e:00:00:01"]
"""


def request(site: Site | None = None, schema: str | None = None) -> Request:
    return Request(RULES, site or Site(), SCHEMAS, date(2026, 11, 22), schema)


def site() -> Site:
    return parse_site(SITE, "site.toml", [rule.slug for rule in RULES], date(2026, 11, 22))


def test_the_pack_is_whole_and_parses_to_the_same_rules() -> None:
    files = tree(content_of("sigma", request()))
    for rule in RULES:
        again = parse_rule(rule.slug, files[f"rules/{rule.slug}.yml"], "x.yml")
        assert again is not None
        assert (again.condition, again.stage, again.id) == (rule.condition, rule.stage, rule.id)
    assert not any(path.startswith("filters/") for path in files)


def test_expected_accounts_stand_in_the_rule() -> None:
    text = tree(content_of("sigma", request(site())))["rules/imds-unexpected-account.yml"]
    rule = parse_rule("imds-unexpected-account", text, "x.yml")
    assert rule is not None
    assert not rule.placeholders
    judge = compile_rules([rule], {})
    assert judge({"account_id": "999999999999"}) == [0]
    assert judge({"account_id": "123456789012"}) == []


def _rows(rule: dict[str, Any], events: list[dict[str, str]]) -> set[int]:
    """Say which events (raw vendor fields) pySigma's SQLite backend finds with a rule."""
    (query,) = sqliteBackend().convert(SigmaCollection.from_dicts([rule]))
    names = sorted({name for event in events for name in event})
    database = sqlite3.connect(":memory:")
    quoted = [f'"{name}"' for name in names]
    database.execute(f"CREATE TABLE logs (id, {', '.join(quoted)})")
    for number, event in enumerate(events):
        database.execute(
            f"INSERT INTO logs VALUES ({', '.join('?' * (len(names) + 1))})",
            [number, *(event.get(name) for name in names)],
        )
    where = str(query).partition(" WHERE ")[2].replace("<TABLE_NAME>", "logs")
    return {row[0] for row in database.execute(f"SELECT id FROM logs WHERE {where}")}


def test_every_block_of_the_portable_rule_counts() -> None:
    """Delete each block in turn, and the event that only this vendor's field shows must no longer be found."""
    rule = yaml.safe_load(portable_rule(BULLETIN))
    rule = {key: rule[key] for key in ("title", "id", "logsource", "detection", "level")}
    blocks = {name: block for name, block in rule["detection"].items() if name != "condition"}
    assert all(name.startswith(("ip_", "http_")) for name in blocks)
    assert {"ip_dst_ip", "ip_c_ip", "http_request_url", "http_request_headers"} <= set(blocks)
    events = []
    for number, (label, block) in enumerate(blocks.items()):
        ((key, values),) = block.items()
        modifier = key.partition("|")[2]
        name = f"f{number}"  # SQLite would take DestinationIp and DestinationIP for one column
        rule["detection"][label] = {f"{name}|{modifier}" if modifier else name: values}
        events.append({name: f"x{values[0]}y" if modifier else values[0]})
    assert len({key.partition("|")[0] for block in blocks.values() for key in block}) == len(blocks)
    assert _rows(rule, events) == set(range(len(events)))
    for number, name in enumerate(blocks):
        less = {key: value for key, value in rule["detection"].items() if key != name}
        assert _rows({**rule, "detection": less}, events) == set(range(len(events))) - {number}, name


def test_scan_finds_with_the_portable_rule_what_the_bulletins_finds(tmp_path: Path) -> None:
    """Over all samples of all schemas, and captures: the same events, no more and no fewer, at the same stage."""
    tests = Path(__file__).parent
    looked = [
        *sorted((tests / "schemas").glob("*/*.log")),
        tests / "captures" / "recorded",
        tests.parent / "examples",
    ]
    off = "status: unsupported\nlogsource: {category: network}\ndetection: {s: {dst_ip: 10.9.9.9}, condition: s}\n"
    told = {}
    for name, text in (("aws-2025-021", BULLETIN.text), (PORTABLE, portable_rule(BULLETIN))):
        folder = tmp_path / name
        folder.mkdir()
        for slug in built_in_slugs():  # alone: a finding is told at the stage of its highest rule
            head = f"title: off\nid: {stable_id('test', slug)}\n"
            (folder / f"{slug}.yml").write_text(head + off, encoding="utf-8")
        (folder / f"{name}.yml").write_text(text, encoding="utf-8")
        words = [
            "scan",
            *map(str, looked),
            "--rules",
            str(folder),
            "--format",
            "ndjson",
            "--each",
            "-j1",
            "-q",
        ]
        lines = [json.loads(line) for line in CliRunner().invoke(main, words).stdout.splitlines()]
        found = [one for one in lines if one["type"] == "finding"]
        assert {name} == {rule for one in found for rule in one["rules"]}
        told[name] = sorted(
            json.dumps([one["stage"], one["severity"], one["evidence"], one["fingerprint"]]) for one in found
        )
    assert len(told[PORTABLE]) > 1000
    assert told[PORTABLE] == told["aws-2025-021"]


@pytest.mark.parametrize("slug", ["imds-contact", "imds-answered"])
def test_filters_are_sigma_filters_that_apply(slug: str) -> None:
    files = tree(content_of("sigma", request(site())))
    found = [yaml.safe_load(text) for path, text in files.items() if path.startswith("filters/")]
    rule = SigmaCollection.from_yaml(files[f"rules/{slug}.yml"]).rules[0]
    before = dict(rule.detection.detections)
    applied = [SigmaFilter.from_dict(one).apply_on_rule(rule) for one in found]
    assert applied
    assert len(rule.detection.detections) > len(before)


def test_what_mutes_the_bulletins_rule_mutes_the_portable_one() -> None:
    files = tree(content_of("sigma", request(site())))
    ids = [
        yaml.safe_load(files[f"{path}.yml"])["id"] for path in ("rules/aws-2025-021", f"portable/{PORTABLE}")
    ]
    muted_ids = [
        set(yaml.safe_load(text)["filter"]["rules"]) & set(ids)
        for path, text in files.items()
        if path.startswith("filters/")
    ]
    assert [one for one in muted_ids if one] == [set(ids)]


def test_a_claim_to_everybody_names_no_victim() -> None:
    """Broadcast, multicast and the claimant itself are no victim: who asked is unknown, and an alert stays."""
    text = yaml.safe_load(next(iter(filters(request(site())).values()))[1])
    detection = {key: value for key, value in text["filter"].items() if key != "rules"}
    rule = parse_rule(
        "filter",
        yaml.safe_dump({"title": "x", "logsource": text["logsource"], "detection": detection}),
        "x.yml",
    )
    assert rule is not None
    judge = compile_rules([rule], {})
    for event in (
        {"src_ip": "169.254.169.254", "dst_ip": "255.255.255.255"},
        {"src_ip": "fd00:ec2::254", "dst_ip": "ff02::1", "nd_target": "fd00:ec2::254"},
        {"src_ip": "fd00:ec2::254", "dst_ip": "fd00:ec2::254"},
    ):
        assert site().suppressed_by("imds-l2-claim", 2, event) is None
        assert judge(event) == [0], event
    for dst in ("203.0.113.5", "2001:db8::5"):
        event = {"src_ip": "169.254.169.254" if "." in dst else "fd00:ec2::254", "dst_ip": dst}
        assert site().suppressed_by("imds-l2-claim", 2, event) == "on_premises"
        assert judge(event) == []


@settings(max_examples=50, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(SITES, EVENTS, st.sampled_from(["imds-contact", "imds-request", "imds-answered", "imds-l2-claim"]))
def test_filters_leave_out_what_the_site_does(
    table: dict[str, Any], event: dict[str, Any], slug: str
) -> None:
    """A filter's condition, read as a rule, holds exactly for the events that the site does not suppress."""
    some, fields = site_of(table), complete(dict(event))
    wanted = muted(some, fields)
    nothing = content_of("sigma", request(some, "filter")).not_applicable
    muted_whole = {one.rule.slug for one in nothing if one.why == ALL_MUTED}
    by_slug = {slug: text for slugs, text, _ in filters(request(some)).values() for slug in slugs}
    if slug not in by_slug:
        assert wanted[slug] is None or slug in muted_whole
        return
    document = yaml.safe_load(by_slug[slug])
    detection = {key: value for key, value in document["filter"].items() if key != "rules"}
    text = yaml.safe_dump(
        {"title": "filter", "logsource": document["logsource"], "detection": detection}, sort_keys=False
    )
    rule = parse_rule("filter", text, "filter.yml")
    assert rule is not None
    assert bool(compile_rules([rule], {})(fields)) == (wanted[slug] is None), text
