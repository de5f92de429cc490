"""The rule pack says what it means: pySigma accepts every rule, and its own events bear every rule out."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from sigma.correlations import SigmaCorrelationRule, SigmaCorrelationType
from sigma.rule import SigmaRule
from sigma.validation import SigmaValidator
from sigma.validators.core import validators

from imdswatch import address, urlpath
from imdswatch.event import FIELDS
from plain_sigma import (
    ALIASES,
    COLLECTION,
    PACK,
    SLUGS,
    STAGE_OF,
    Site,
    fires,
    items,
    left_out_by,
    of_file,
    plain_rule,
)

IMDS = PACK.parent / "imds"
LEVELS = {  # DESIGN 3
    "attempted": {"low"},
    "requested": {"low", "medium"},
    "answered": {"high"},
    "credentials-served": {"critical"},
    "credentials-used": {"critical"},
}
TAGS = {  # the ATT&CK validator would fetch its list from the network
    *("attack." + tactic for tactic in ("credential-access", "collection", "initial-access")),
    *("attack." + technique for technique in ("t1557", "t1552.005", "t1078.004")),
}
REQUIRED = [
    "title",
    "id",
    "description",
    "references",
    "date",
    "falsepositives",
    "tags",
    "blind_spots",
    "remedy",
]
TREES = ("/latest/", "/1.0/", "/20??-??-??/")


def documents(slug: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((PACK / f"{slug}.yml").read_text(encoding="utf-8")))


def cases(part: str) -> list[Any]:
    found = []
    for slug in SLUGS:
        table = yaml.safe_load((PACK / f"{slug}.events.yml").read_text(encoding="utf-8"))
        for case in table.get(part, ()):
            found.append(pytest.param(slug, case, id=f"{slug}: {case['note']}"))
    return found


def site_of(case: Mapping[str, Any]) -> Site:
    return tomllib.loads(case.get("site", ""))


def test_the_pack_holds_exactly_the_rules_of_the_design() -> None:
    assert sorted(p.stem for p in PACK.glob("*.yml") if not p.name.endswith(".events.yml")) == SLUGS
    assert sorted(p.name.removesuffix(".events.yml") for p in PACK.glob("*.events.yml")) == SLUGS


def test_pysigma_accepts_every_rule() -> None:
    assert not COLLECTION.errors
    offline = {name: cls for name, cls in validators.items() if name not in ("attacktag", "d3_fendtag")}
    assert len(offline) == len(validators) - 2
    checker = SigmaValidator(set(offline.values()))
    rules: list[Any] = COLLECTION.rules  # the annotation of validate_rule leaves correlations out
    issues = [issue for rule in rules for issue in checker.validate_rule(rule)]
    assert [str(issue) for issue in issues + checker.finalize()] == []


@pytest.mark.parametrize("slug", SLUGS)
def test_every_rule_says_what_people_need(slug: str) -> None:
    main = documents(slug)[-1]
    assert main["remedy"]
    for key in REQUIRED:
        assert main[key], key
    assert main["author"] == "imdswatch"
    assert main["status"] == "test"
    assert main["stage"] == STAGE_OF[slug]
    assert main["level"] in LEVELS[main["stage"]]
    assert set(main["tags"]) <= TAGS
    assert any(re.search(r"\.t\d", tag) for tag in main["tags"])
    assert all(spot.startswith("cannot see ") for spot in main["blind_spots"])
    assert ("detection" in main) != ("correlation" in main)


def test_every_field_is_canonical_or_an_alias() -> None:
    for rule in COLLECTION.rules:
        if isinstance(rule, SigmaRule):
            for item in items(rule):
                assert ALIASES.get(str(item.field), item.field) in FIELDS


def test_the_bulletin_rule_keeps_the_outline() -> None:
    (document,) = documents("aws-2025-021")
    assert document["logsource"]["category"] == "network"
    detection = document["detection"]
    assert detection.pop("condition") == "1 of ip_* or 1 of http_*"
    assert detection == {
        "ip_aws_dst": {"dst_ip": "169.254.169.254"},
        "ip_aws_dst_v6": {"dst_ip": "fd00:ec2::254"},
        "http_url_paths": {"url|contains": ["/latest/meta-data", "/latest/api/token"]},
        "http_request_headers": {"request_headers|contains": "X-aws-ec2-metadata-token"},
    }


@pytest.mark.parametrize("slug", SLUGS)
def test_every_path_stands_in_every_tree(slug: str) -> None:
    for document in documents(slug):
        for name, block in document.get("detection", {}).items():
            for key, values in block.items() if isinstance(block, dict) else ():
                if key in ("uri_path", "uri_path|startswith"):
                    below = [{v.removeprefix(tree) for v in values if v.startswith(tree)} for tree in TREES]
                    assert below[0] == below[1] == below[2], name
                    assert sum(map(len, below)) == len(values), name


def test_the_offered_routes_are_those_that_hold_the_endpoint() -> None:
    detection = documents("imds-route-offered")[0]["detection"]
    for block, endpoint, lengths in (
        ("route_v4", address.ENDPOINT_V4, range(32, 7, -1)),
        ("route_v6", address.ENDPOINT_V6, range(31, 15, -1)),
    ):
        networks = [str(ipaddress.ip_network((endpoint, length), strict=False)) for length in lengths]
        assert detection[block]["offered_route"] == networks


def test_the_second_look_is_at_victims_of_served_credentials() -> None:
    base, correlation = of_file("imds-credentials-used")
    assert isinstance(correlation, SigmaCorrelationRule)
    assert correlation.type is SigmaCorrelationType.TEMPORAL_ORDERED
    assert [one.rule for one in correlation.rules or ()] == [plain_rule("imds-credentials-served"), base]
    assert correlation.group_by == ["src_ip"]
    assert correlation.timespan.seconds == 6 * 3600


@pytest.mark.parametrize(("slug", "case"), cases("hits"))
def test_hits(slug: str, case: Mapping[str, Any]) -> None:
    assert fires(slug, case, site_of(case))


@pytest.mark.parametrize(("slug", "case"), cases("misses"))
def test_misses(slug: str, case: Mapping[str, Any]) -> None:
    assert fires(slug, case, site_of(case)) is None


@pytest.mark.parametrize(("slug", "case"), cases("suppressed"))
def test_suppressed(slug: str, case: Mapping[str, Any]) -> None:
    event = fires(slug, case, site_of(case))
    assert event is not None
    assert left_out_by(slug, event, site_of(case)) == case["suppressed_by"]


@pytest.mark.parametrize(("slug", "case"), cases("not_suppressed"))
def test_not_suppressed(slug: str, case: Mapping[str, Any]) -> None:
    event = fires(slug, case, site_of(case))
    assert event is not None
    assert left_out_by(slug, event, site_of(case)) is None


@pytest.mark.parametrize("slug", SLUGS)
def test_every_rule_has_events_of_each_kind(slug: str) -> None:
    table = yaml.safe_load((PACK / f"{slug}.events.yml").read_text(encoding="utf-8"))
    assert set(table) == {"hits", "misses", "suppressed", "not_suppressed"}
    for part, rows in table.items():
        assert rows, part
        for row in rows:
            assert {"note"} < set(row) <= {"note", "event", "events", "site", "suppressed_by"}
            assert ("suppressed_by" in row) == (part == "suppressed")
            assert ("site" in row) or part in ("hits", "misses")


@pytest.mark.parametrize("slug", SLUGS)
def test_no_block_is_idle(slug: str) -> None:
    """Without any one block, some hit is lost or some miss is found."""
    table = yaml.safe_load((PACK / f"{slug}.events.yml").read_text(encoding="utf-8"))
    for block in plain_rule(slug).detection.detections:
        lost = [c for c in table["hits"] if fires(slug, c, site_of(c), without=block) is None]
        found = [c for c in table["misses"] if fires(slug, c, site_of(c), without=block) is not None]
        assert lost or found, block
        if slug == "aws-2025-021":
            assert lost, block


def test_rules_recognise_the_aws_clients_of_the_table() -> None:
    table = yaml.safe_load((IMDS / "clients.yml").read_text(encoding="utf-8"))
    agents = [agent for entry in table["aws_clients"] for agent in entry["user_agent"]]
    for slug in ("imds-answered", "imds-credentials-served"):
        assert documents(slug)[0]["detection"]["client_agent"] == {"user_agent|contains": agents}


def test_client_table_is_well_formed() -> None:
    table = yaml.safe_load((IMDS / "clients.yml").read_text(encoding="utf-8"))
    assert set(table) == {"detectors", "aws_clients"}
    for group, entries in table.items():
        for entry in entries:
            marks = {"user_agent", "process", "req_header"} & set(entry)
            assert marks
            assert set(entry) == {"name", "source", *marks, *({"asks"} if group == "detectors" else ())}
            assert all(isinstance(entry[mark], list) and entry[mark] for mark in marks)


def test_other_clouds_are_not_ec2() -> None:
    table = yaml.safe_load((IMDS / "other-clouds.yml").read_text(encoding="utf-8"))
    assert set(table) == {"paths", "hosts", "headers"}
    for path in table["paths"]:
        assert path == urlpath.normal_path(path)
        assert not fires("imds-request", {"event": {"uri_path": path + "/x"}}, {})
    for host in table["hosts"]:
        assert not fires("imds-contact", {"event": {"host": host}}, {})
    for header in table["headers"]:
        assert not fires("imds-request", {"event": {"req_header": [header]}}, {})
