"""The compiled predicate says what the plain interpreter says.

`plain_sigma` walks pySigma's own tree one event at a time; the predicate is one generated function for all rules. They
are compared on every event beside the rules and on random events; the cases of the pack also go through `Site` and
`FirstLook`, and correlation cases through whole scans.
"""

from __future__ import annotations

import json
import os
import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from imdswatch.errors import SiteError
from imdswatch.event import FIELDS, complete
from imdswatch.finding import STAGE_RANK, Finding
from imdswatch.rule import load_rules, parse_rule
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.hints import Hints
from imdswatch.scan.judging import FirstLook, Window
from imdswatch.scan.predicate import compile_rules
from imdswatch.scan.prefilter import build
from imdswatch.scan.run import Options, Scan
from imdswatch.schema import Schemas, load_schemas
from imdswatch.site import Site, parse_site
from plain_sigma import PACK, SLUGS, TODAY, completed, fires, holds, left_out_by, plain_rule
from spellings import AGENTS, HEADERS, NAMES, ROUTES, Speller, path

CASES = int(os.environ.get("IMDSWATCH_CASES", "120000")) // 12
SEED = int(os.environ.get("IMDSWATCH_SEED", "20261122"))
ALL = load_rules()
RULES = tuple(rule for rule in ALL if rule.correlation is None)
ACCOUNTS = {"imds_expected_accounts": ("123456789012",)}
PLAIN_SITE = {"accounts": {"expected": list(ACCOUNTS["imds_expected_accounts"])}}
V4, V6 = "169.254.169.254", "fd00:ec2::254"


def cases() -> list[Any]:
    found = []
    for slug in SLUGS:
        table = yaml.safe_load((PACK / f"{slug}.events.yml").read_text(encoding="utf-8"))
        for part, rows in table.items():
            found += [pytest.param(slug, part, row, id=f"{slug}: {part}: {row['note']}") for row in rows]
    return found


def site_of(case: dict[str, Any]) -> Site:
    text = case.get("site", "")
    if tomllib.loads(text).get("accounts", {}).get("expected") == []:
        with pytest.raises(SiteError):  # an empty list is refused, so no event is ever judged by one
            parse_site(text, "site.toml", SLUGS, TODAY)
        return Site()
    return parse_site(text, "site.toml", SLUGS, TODAY)


def matched(fields: dict[str, Any], site: Site) -> set[str]:
    rules = [rule for rule in RULES if rule.placeholders <= set(site.values)]
    return {rules[index].slug for index in compile_rules(rules, site.values)(fields)}


@pytest.mark.parametrize(("slug", "part", "case"), cases())
def test_the_events_of_the_pack(slug: str, part: str, case: dict[str, Any], tmp_path: Path) -> None:
    site = site_of(case)
    if "events" in case:
        found = scanned(case["events"], site, tmp_path)
        assert (slug in found) == (part != "misses")
        if slug in found:
            assert found[slug] == case.get("suppressed_by")
        return
    fields = completed(case["event"])
    assert (slug in matched(fields, site)) == (part != "misses")
    if part == "misses":
        return
    rule = next(rule for rule in RULES if rule.slug == slug)
    assert site.suppressed_by(slug, STAGE_RANK[rule.stage], fields) == case.get("suppressed_by")
    incidents = Incidents()
    FirstLook(ALL, site, Window()).take(incidents, fields, "x", "line", 1)
    muted = {
        ALL[index].slug: key[2] or None
        for key, one in incidents.items()
        for seen in one.sightings
        for index in seen.combo
    }
    assert muted[slug] == case.get("suppressed_by")
    assert set(muted) == matched(fields, site)
    assert scanned([case["event"]], site, tmp_path) == muted


@cache
def canonical_schemas(folder: Path) -> Schemas:
    """Return a schema of our own that carries every canonical field under its own name: no source is as rich."""
    fields = "\n".join(f"  {name}: {name}" for name in FIELDS if name != "payload")
    (folder / "canonical.yml").write_text(
        "name: canonical\ntitle: every canonical field\norigin: documentation\nversion: '1'\n"
        "references: [these tests]\nlayer: host\nvantage: siem\npriority: 100\nlayout: {kind: json}\n"
        "recognise: {keys: [canonical]}\n"
        f"fields:\n{fields}\n"
    )
    return load_schemas(folder)


def scanned(events: list[dict[str, Any]], site: Site, folder: Path) -> dict[str, str | None]:
    """Scan events as a log; return the rules that fired and who suppressed them."""
    (folder / "schemas").mkdir()
    schemas = canonical_schemas(folder / "schemas")
    lines = [json.dumps({"canonical": 1, **event}) for event in events]
    (folder / "events.json").write_text("".join(line + "\n" for line in lines))
    found: dict[str, str | None] = {}
    for one in Scan([str(folder / "events.json")], Options(ALL, site, schemas)).results():
        assert isinstance(one, Finding), one
        found |= dict.fromkeys(one.rules, one.suppressed_by)
    return found


def random_event(rng: Random, speller: Speller) -> dict[str, Any]:
    """Return canonical fields, all independent of each other: stranger than any log, and every block is met."""
    host = rng.choice(
        (V4, speller.host(), f"[{V6}]", *NAMES, "shop.example", "instance-data.x.compute.internal")
    )
    spelled = speller._path(path(rng))
    if rng.random() < 0.2:
        spelled += rng.choice(("?a=1", "?x=/latest/meta-data", "#f", "/../..", "//x"))
    choices: dict[str, list[Any]] = {
        "src_ip": [V4, V6, "10.20.1.5", "fd12:3456::5", "0.0.0.0"],
        "dst_ip": [V4, V6, "10.20.2.66", "169.254.170.2"],
        "nat_dst": [V4, "10.20.2.66"],
        "nd_target": [V6, "fe80::1"],
        "arp_opcode": ["request", "reply", "REPLY"],
        "offered_route": [(rng.choice(ROUTES),), (rng.choice(ROUTES), "0.0.0.0/0")],
        "host": [host],
        "url": [f"http://{host}{spelled}", spelled, f"{host}{spelled}", f"{host}:443"],
        "uri_path": [spelled],
        "method": ["GET", "PUT", "HEAD", "OPTIONS", "CONNECT", "put"],
        "user_agent": [rng.choice(AGENTS), rng.choice(AGENTS).upper()],
        "req_header": [rng.choice(HEADERS)],
        "status": [200, 201, 204, 299, 300, 401, 404, 407, 503],
        "resp_mime": ["text/html", "application/json", "text/HTML; charset=x"],
        "resp_bytes": [0, 1, 900],
        "resp_ip_bytes": [52, 1200],
        "resp_packets": [1, 2],
        "resp_flags": ["SA", "SAP", "R"],
        "reply_by": ["proxy"],
        "action": ["allow", "deny", "reset"],
        "answered": [True, False],
        "dns_query": [rng.choice(NAMES) + rng.choice(("", ".")), "example.com", "instance-data.", "."],
        "dns_answer": [(V4,), ("10.9.9.9", V6), ("10.9.9.9",), ("2852039166",)],
        "access_key_id": ["ASIAIOSFODNN7EXAMPLE"],
        "account_id": ["123456789012", "210987654321"],
        "response_code": ["Success", "success", "AssumeRoleUnauthorizedAccess"],
        "tls_sni": [
            "sts.amazonaws.com",
            "STS.amazonaws.com.",
            "amazonaws.com.",
            "sts.eu-west-1.amazonaws.com",
            "amazonaws.com.evil.example",
        ],
        "vlan": [(210,)],
    }
    rate = rng.choice((0.15, 0.3, 0.6))
    return {name: rng.choice(values) for name, values in choices.items() if rng.random() < rate}


@pytest.mark.parametrize("known", [True, False], ids=["accounts", "no accounts"])
def test_random_events(known: bool) -> None:
    rng = Random(SEED)
    speller = Speller(rng)
    site = Site(expected_accounts=ACCOUNTS["imds_expected_accounts"]) if known else Site()
    usable = [rule for rule in RULES if rule.placeholders <= set(site.values)]
    judge = compile_rules(usable, site.values)
    plain = {rule.slug: plain_rule(rule.slug) for rule in RULES}
    hits: dict[str, int] = dict.fromkeys(plain, 0)
    for number in range(CASES if known else CASES // 5):
        fields = complete(random_event(rng, speller))
        found = {usable[index].slug for index in judge(fields)}
        wanted = {slug for slug, rule in plain.items() if holds(rule, fields, PLAIN_SITE if known else {})}
        assert found == wanted, f"seed {SEED}, event {number}: {fields}"
        for slug in found:
            hits[slug] += 1
    # Each rule is met often enough, and missed often enough, that agreement says something.
    for rule in usable:
        assert 20 < hits[rule.slug] < CASES, rule.slug


def test_random_events_one_rule_at_a_time() -> None:
    """The function for all rules together is the functions for each: nothing leaks through what is remembered."""
    rng = Random(SEED + 1)
    speller = Speller(rng)
    together = compile_rules(RULES, ACCOUNTS)
    alone = [compile_rules([rule], ACCOUNTS) for rule in RULES]
    for _ in range(CASES // 5):
        fields = complete(random_event(rng, speller))
        before = json.dumps(fields, default=str, sort_keys=True)
        assert together(fields) == [index for index, judge in enumerate(alone) if judge(fields)]
        assert json.dumps(fields, default=str, sort_keys=True) == before


def test_a_missing_field_loses_no_negation() -> None:
    """`not` over a field that is absent holds: what a log does not say never hides a hit."""
    fields = complete({
        "src_ip": "10.20.1.5", "dst_ip": V4, "uri_path": "/latest/meta-data/iam/security-credentials/r", "status": 200,
    })  # fmt: skip
    assert "imds-credentials-served" in matched(fields, Site())


def test_the_site_agrees_on_every_event_of_the_pack() -> None:
    """Every event of the pack under every site of the pack, not only its own."""
    rows = [param.values for param in cases()]
    sites = sorted({case["site"] for _, part, case in rows if part in ("suppressed", "not_suppressed")})
    events = [completed(case["event"]) for _, _, case in rows if "event" in case]
    for text in sites:
        site, plain = parse_site(text, "site.toml", SLUGS, TODAY), tomllib.loads(text)
        judge = compile_rules(RULES, ACCOUNTS)
        for fields in events:
            for rule in (RULES[index] for index in judge(fields)):
                slug, rank = rule.slug, STAGE_RANK[rule.stage]
                assert site.suppressed_by(slug, rank, fields) == left_out_by(slug, fields, plain), (
                    slug,
                    fields,
                    text,
                )


@pytest.mark.parametrize(
    ("field", "test", "value"),
    [
        ("tls_sni", "sts.amazonaws.com", "sts.amazonaws.com."),
        ("tls_sni", "sts.amazonaws.com.", "sts.amazonaws.com"),
        ("dns_query", "sts.amazonaws.com.", "STS.Amazonaws.com."),
        ("tls_sni", "'*.amazonaws.com'", "sts.amazonaws.com."),
        ("dns_query", "'*.amazonaws.com.'", "sts.amazonaws.com"),
        ("dns_query", "'sts.*.com'", "sts.amazonaws.com."),
        ("host", "sts.amazonaws.com", "sts.amazonaws.com."),
        ("host", "'*.amazonaws.com'", "sts.amazonaws.com.:443"),
    ],
)
def test_a_final_dot_of_a_name_says_nothing(field: str, test: str, value: str) -> None:
    text = f"title: x\nlogsource: {{category: dns}}\ndetection: {{s: {{{field}: {test}}}, condition: s}}\n"
    rule = parse_rule("x", text, "x.yml")
    assert rule is not None
    assert compile_rules([rule], {})({field: value}) == [0]
    assert compile_rules([rule], {})({field: value.replace(".com", ".com.evil")}) == []
    prefilter = build([("x", rule.condition)], Hints(load_schemas()))
    assert prefilter.touches(json.dumps({"x": value}).encode())


def test_the_plain_interpreter_knows_the_cases() -> None:
    for slug, part, case in (param.values for param in cases()):
        assert (fires(slug, case, tomllib.loads(case.get("site", ""))) is not None) == (part != "misses")
