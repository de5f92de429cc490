"""The core of `export`: formulas mean what `scan` means, losses are told, spellings are read, the command obeys."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sigma.collection import SigmaCollection
from sigma.plugins import InstalledSigmaPlugins

import commandline
import formula_judge
from export_cases import RULES, SITE, content, query, site
from imdswatch import address, urlpath
from imdswatch.errors import SchemaError, UsageError
from imdswatch.event import complete
from imdswatch.finding import STAGE_RANK
from imdswatch.rule import Text, Wild, parse_rule
from imdswatch.scan.predicate import compile_rules
from imdswatch.schema import Schemas, load_schemas
from imdswatch.schemafile import parse
from imdswatch.siem import content_of, tree
from imdswatch.siem import formula as f
from imdswatch.siem.content import Query, Request
from imdswatch.siem.kusto import KustoBackend
from imdswatch.siem.spelling import host_regex, path_regex, v4_of, v6_of
from imdswatch.site import Site

PACK = Path(__file__).parents[1] / "src" / "imdswatch" / "data" / "rules"
EXTRA: list[dict[str, Any]] = [
    {"src_ip": "10.0.1.5", "dst_ip": "169.254.169.25", "uri_path": "/latest/meta-database"},
    {"src_ip": "10.0.1.5", "dst_ip": "169.254.169.254", "vlan": [99, 210], "status": 200},
    {"src_ip": "172.16.0.1", "dst_ip": "fd00:ec2::254", "vlan": [99]},
    {"src_ip": "172.16.0.1", "dst_ip": "fd00:ec2::254"},
    {"src_ip": "169.254.1.1", "dst_ip": "169.254.169.254"},
    {"dst_ip": "169.254.169.254", "vlan": [7]},
    {"src_ip": "10.20.0.7", "dst_ip": "169.254.169.254", "resp_packets": 4, "resp_ip_bytes": 900},
    {"src_ip": "10.66.0.7", "dst_ip": "169.254.169.254", "status": 404},
    {"src_ip": "10.66.0.7", "dst_ip": "10.9.9.9", "host": "0xa9fea9fe", "status": 404},
    {"src_ip": "169.254.169.254", "dst_ip": "172.16.0.9", "resp_packets": 4, "resp_ip_bytes": 900},
    {"src_ip": "169.254.169.254", "dst_ip": "10.20.0.9"},
    {"src_ip": "10.0.1.5", "dst_ip": "169.254.169.254", "dst_mac": "fa:16:3e:00:00:01", "vlan": [210], "status": 200},
    {"src_ip": "10.0.1.5", "dst_ip": "169.254.169.254", "dst_mac": "fa:16:3e:00:00:02", "vlan": [210], "status": 200},
    {"src_ip": "10.0.1.5", "dst_ip": "169.254.169.254", "nat_dst": "10.20.0.1", "vlan": [211], "status": 200},
]  # fmt: skip


def pack_events() -> Iterator[dict[str, Any]]:
    for path in sorted(PACK.glob("*.events.yml")):
        for cases in yaml.safe_load(path.read_text()).values():
            for case in cases:
                yield from case.get("events") or [case["event"]]


@cache
def records(schema: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Render events into records of a schema: the record, and what `scan` reads in it, completed."""
    found = load_schemas()[schema]
    reader = load_schemas().reader(only=schema)
    out = []
    for event in (*pack_events(), *EXTRA):
        fields = {name: tuple(v) if isinstance(v, list) else v for name, v in event.items()}
        lines = found.write(complete({"timestamp": 1795309323.0, **fields}))
        if lines:
            read = reader.read(lines[-1])
            assert read is not None
            out.append((formula_judge.flat(json.loads(lines[-1])), complete(dict(read.fields))))  # type: ignore[union-attr]
    assert len(out) > 150
    return out


SOURCES = [
    ("sentinel", "kusto", name)
    for name in ("asim_network", "asim_web", "commonsecuritylog", "defender_network")
]


@pytest.mark.parametrize(("target", "language", "schema"), [*SOURCES, ("elastic", "esql", "ecs")])
@pytest.mark.parametrize("where", [Site(), site()], ids=["anywhere", "site"])
def test_a_formula_means_what_scan_means_on_the_same_record(
    target: str, language: str, schema: str, where: Site
) -> None:
    found = content(target, where, language)
    mine = [q for q in found.queries if q.source.schema.name == schema and q.rule.correlation is None]
    judge = compile_rules(RULES, where.values)
    wrong = []
    seen = 0
    for record, fields in records(schema):
        matched = {RULES[index].slug for index in judge(fields)}
        for one in mine:
            rank = STAGE_RANK[one.rule.stage]
            wanted = one.rule.slug in matched and where.suppressed_by(one.rule.slug, rank, fields) is None
            whole = f.all_of([one.plan.where, f.negated(one.plan.mute)])
            seen += wanted
            if formula_judge.holds(whole, record) != wanted:
                wrong.append(f"{one.rule.slug} {'loses' if wanted else 'wrongly has'} {record}")
    assert not wrong, "\n".join(wrong[:10])
    assert seen > 100


def test_what_no_schema_can_carry_is_told_and_only_nothing_left_is_not_applicable() -> None:
    found = content("sentinel")
    assert {loss.clause for loss in query(found, "aws-2025-021", "commonsecuritylog").lost} == {
        "req_header: *X-aws-ec2-metadata-token*"
    }
    # what the other part of a schema carries is no loss of the schema
    assert all("url" not in loss.clause for loss in query(found, "aws-2025-021", "asim", "network").lost)
    asked = {(one.rule.slug, one.schema) for one in found.queries}
    refused = {(one.rule.slug, one.schema) for one in found.not_applicable}
    assert not asked & refused
    assert asked | refused == {(r.slug, s) for r in RULES for s in ("asim", "commonsecuritylog", "defender")}
    assert ("imds-answered", "defender") in refused  # a handshake is no answer
    assert all(one.why for one in found.not_applicable)


def test_site_keys_that_never_apply_are_told() -> None:
    one = query(content("sentinel", site()), "imds-answered", "commonsecuritylog")
    assert {loss.clause for loss in one.lost} >= {"site: vlans of `openstack-lab`"}
    two = query(content("sentinel", site()), "imds-answered", "asim", "network")
    assert not any(loss.clause.startswith("site") for loss in two.lost)


TOY = """\
name: toy
title: A toy
origin: documentation
version: "1"
references: [none]
layer: flow
vantage: siem
priority: 50
layout: {kind: json}
recognise: {keys: [toy]}
fields: {timestamp: t, src_ip: s, dst_ip: d}
siem:
  target: sentinel
  schema: toy
  table: Toy
  columns: {timestamp: {t: datetime}, src_ip: {s: string}, dst_ip: {d: string}}
"""


def toy(text: str, rule: str) -> list[Query]:
    found = parse_rule("toy", rule, "toy.yml")
    assert found is not None
    request = Request((found,), Site(), Schemas([parse(text, "toy.yml", "toy")]), formula_judge.TODAY)
    return list(content_of("sentinel", request).queries)


def rule_of(detection: str) -> str:
    return f"title: t\nlogsource: {{category: network}}\ndetection: {detection}\n"


def test_a_field_without_column_or_reason_is_an_error_that_names_it() -> None:
    rule = rule_of("{a: {dst_ip: 10.0.0.1}, b: {user_agent: curl}, condition: a or b}")
    with pytest.raises(SchemaError, match=r"`toy` has no column for `user_agent`, which rule toy"):
        toy(TOY, rule)
    [one] = toy(TOY + "cannot: {user_agent: no web}\n", rule)
    assert [(loss.clause, loss.why) for loss in one.lost] == [("user_agent: curl", "no web")]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("src_ip: {s: string}", "src_ip: {}"), "needs columns and their types"),
        (("src_ip: {s: string}", "vlan: {v: string}"), "does not say where 'vlan' comes from"),
        (("table: Toy", "tables: Toy"), "key 'table' is missing"),
        (("table: Toy", "table: Toy\n  part: both"), "'part' is 'both'"),
        (("table: Toy", "table: Toy\n  partly: {vlan: x}"), "'vlan' has no column"),
        (("table: Toy", "table: Toy\n  colour: red"), "unknown key 'colour'"),
    ],
)
def test_a_wrong_siem_section_is_refused(change: tuple[str, str], what: str) -> None:
    with pytest.raises(SchemaError, match=re.escape(what)):
        parse(TOY.replace(*change), "toy.yml", "toy")


def test_a_rule_of_which_everything_would_be_left_has_no_query() -> None:
    text = TOY + "cannot: {user_agent: no web}\n"
    assert toy(text, rule_of("{a: {user_agent: curl}, condition: not a}")) == []


def test_a_missing_field_never_suppresses_and_never_loses() -> None:
    rule = rule_of("{a: {dst_ip: 10.0.0.1}, b: {src_ip|cidr: 10.9.0.0/16}, condition: a and not b}")
    [one] = toy(TOY, rule)
    assert formula_judge.holds(one.plan.where, {"d": "10.0.0.1"})
    assert not formula_judge.holds(one.plan.where, {"d": "10.0.0.1", "s": "10.9.1.1"})
    assert "not (coalesce(ipv4_is_in_any_range(s" in one.query


def test_formulas_fold_what_is_lost() -> None:
    loss = f.Loss("x", "y")
    gone = f.Const(False, (loss,))
    atom = f.Atom(
        query(content("sentinel"), "imds-contact", "defender").source.naming.columns["dst_ip"][0], f.Present()
    )
    assert f.any_of([gone, gone]) == gone
    assert f.any_of([gone, atom]) == atom
    assert f.all_of([atom, gone]) == gone
    assert f.all_of([atom, f.negated(gone)]) == atom
    assert f.negated(f.negated(atom)) == atom
    assert f.any_of([atom, f.TRUE]) == f.TRUE


# Spellings.

PATTERNS = (
    Text(("/latest/meta-data/", Wild.ANY)),
    Text(("/latest/api/token",)),
    Text(("/20", Wild.ONE, Wild.ONE, "/x")),
)
ENCODED = re.compile(path_regex(PATTERNS, encoded=True))
PLAIN = re.compile(path_regex(PATTERNS, encoded=False))
PIECES = st.sampled_from(
    ["latest", "meta-data", "api", "token", "LATEST", "%6catest", "meta%2Ddata", "%2561pi", "2021", "20%31%31", "x"]
)  # fmt: skip
SLASHES = st.sampled_from(["/", "//", "%2f", "%252F", "/./"])


@given(st.lists(st.tuples(SLASHES, PIECES), max_size=6))
def test_encoded_paths_are_read_as_the_predicate_reads_them(parts: list[tuple[str, str]]) -> None:
    path = "".join(slash + piece for slash, piece in parts)
    normal = urlpath.normal_path(path)
    wanted = any(formula_judge._matches(pattern, normal) for pattern in PATTERNS)
    assert (PLAIN.fullmatch(normal) is not None) == wanted
    assert (ENCODED.fullmatch(path.lower()) is not None) == wanted, path


def test_a_step_back_before_the_path_is_read() -> None:
    assert ENCODED.fullmatch("//x/../latest/.//meta-data/iam")
    assert ENCODED.fullmatch("/x/%2e%2e/latest/api/token")


HOST = re.compile(host_regex(("169.254.169.254", "fd00:ec2::254"), (Text(("instance-data",)),), encoded=True))


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "169.254.169.254:80", "169.254.169.254.", "2852039166", "0xa9fea9fe", "025177524776",
        "0251.0376.0251.0376", "0xa9.0xfe.0xa9.0xfe", "0xa9.254.0251.0xfe", "169.254.43518", "169.16689662",
        "425.510.425.510", "%31%36%39.254.169.254", "::ffff:169.254.169.254", "[::ffff:a9fe:a9fe]:80", "fd00:ec2::254",
        "[fd00:0ec2:0:0:0:0:0:254]", "fd00:0ec2:0000:0000:0000:0000:0000:0254", "FD00:EC2:0::254", "instance-data",
        "Instance-Data.:8773",
    ],
)  # fmt: skip
def test_hosts_are_read_in_every_spelling(host: str) -> None:
    assert HOST.fullmatch(host.lower())


@pytest.mark.parametrize(
    "host",
    ["169.254.169.25", "169.254.169.2541", "1169.254.169.254", "169.254.169.254.example.net", "2852039167",
     "fd00:ec2::2541", "fd00:ec2::23", "instance-database", "instance-data.example.net", "x169.254.169.254", ""],
)  # fmt: skip
def test_near_misses_are_no_endpoint(host: str) -> None:
    assert not HOST.fullmatch(host)


@given(st.ip_addresses(v=6) | st.ip_addresses(v=4))
def test_addresses_outside_are_no_endpoint(found: Any) -> None:
    wanted = address.parse_host(str(found)) in address.ENDPOINTS
    assert (
        HOST.fullmatch(str(found)) is not None
    ) == wanted or wanted  # embedded forms are asked of address columns


def test_networks_of_both_families() -> None:
    nets = [address.network(text) for text in ("10.1.0.0/16", "169.254.169.254/32", "2001:db8::/32")]
    assert v4_of(nets) == ("10.1.0.0/16", "169.254.169.254")
    assert v6_of(nets) == (
        "::ffff:a01:0/112", "::ffff:a9fe:a9fe/128", "64:ff9b::a9fe:a9fe/128", "::a9fe:a9fe/128",
        "::ffff:0:a9fe:a9fe/128", "2002:a9fe:a9fe::/48", "2001:db8::/32",
    )  # fmt: skip
    assert v6_of(nets, mapped=False)[-1] == "2001:db8::/32"


# The command.


def test_ndjson_objects_are_those_of_the_contract(tmp_path: Path) -> None:
    done = commandline.run(tmp_path, "export", "sentinel", "--schema", "asim", "--format", "ndjson")
    assert done.code == 0
    asked = [one for one in done.results if "query" in one]
    refused = [one for one in done.results if "not_applicable" in one]
    assert {frozenset(one) for one in asked} == {
        frozenset({"target", "schema", "language", "rule", "stage", "part", "query", "path", "not_carried"})
    }
    assert {frozenset(one) for one in refused} == {frozenset({"target", "schema", "rule", "not_applicable"})}
    assert {one["part"] for one in asked} == {"network", "web"}
    assert {one["language"] for one in asked} == {"kusto"}
    assert all(set(loss) == {"clause", "why"} for one in asked for loss in one["not_carried"])
    stages = {one["rule"]: one["stage"] for one in asked}
    assert stages["imds-contact"] == "attempted"
    assert stages["imds-answered"] == "answered"


def test_the_path_of_a_query_is_a_file_of_the_tree() -> None:
    for target, language in (
        ("sentinel", None),
        ("elastic", "kuery"),
        ("elastic", "eql"),
        ("elastic", "esql"),
    ):
        found = content(target, site(), language)
        assert {one.path for one in found.queries} <= set(tree(found))


def test_the_tree_is_the_same_each_time_and_nothing_else_is_touched(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(SITE)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("stays")
    words = ("export", "elastic", "--site", tmp_path / "site.toml", "--as-of", "2026-11-22", "-o", folder)
    written = []
    for _ in range(2):
        done = commandline.run(tmp_path, *words)
        assert (done.code, done.out) == (0, "")
        written.append({path: path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert written[0] == written[1]
    assert (folder / "mine.txt").read_text() == "stays"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("export", "arcsight"), "there is no target `arcsight`"),
        (("export", "sentinel", "--schema", "ecs"), "sentinel has no schema `ecs`"),
        (("export", "elastic", "--language", "spl"), "elastic has no language `spl`"),
        (("export", "sentinel", "--site", "absent.toml"), "cannot read the site file"),
    ],
)
def test_wrong_usage_is_exit_2(tmp_path: Path, words: tuple[str, ...], what: str) -> None:
    done = commandline.run(tmp_path, *words)
    assert done.code == 2
    assert what in done.err


def test_list_and_explain(tmp_path: Path) -> None:
    listed = commandline.run(tmp_path, "export", "sentinel", "--list").out
    assert "asim (network)" in listed
    assert "languages: kusto" in listed
    said = commandline.run(tmp_path, "export", "elastic", "--schema", "ecs", "--explain").out
    assert "imdswatch/data/rules/aws-2025-021.yml, line " in said
    assert "not carried: req_header" in said.replace("\n#  ", "")
    assert "is there only with: the exporter must log VLANs" in said.replace("\n#  ", "")


def test_explain_names_the_line_of_each_clause() -> None:
    one = query(content("elastic"), "imds-request", "ecs")
    lines = one.rule.text.splitlines()
    for clause in one.plan.clauses:
        number = int(clause.origin.removeprefix("line "))
        assert clause.text.split(": ")[1].split(",")[0].strip("*") in lines[number - 1]


def test_expired_entries_warn_and_do_not_apply(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(SITE)
    words = ("export", "sentinel", "--schema", "defender", "--site", tmp_path / "site.toml")
    before = commandline.run(tmp_path, *words, "--as-of", "2027-03-31")
    after = commandline.run(tmp_path, *words, "--as-of", "2027-04-01")
    assert "now() < datetime(2027-04-01)" in before.out
    assert "suppression `v6 lab` expired" in after.err
    assert "2001:db8:ec2::" not in after.out


def test_export_is_quick_and_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("export must not use the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for target in ("sentinel", "elastic"):
        began = time.process_time()
        tree(content(target, site()))
        assert time.process_time() - began < 10


def test_no_capability_of_scanning_is_loaded() -> None:
    code = "import sys, imdswatch.siem.export; print([name for name in sys.modules if 'hyperscan' in name])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=commandline.environment(),
    )
    assert done.stdout.strip() == "[]"


# pySigma.

PORTABLE = """
title: Anything to the endpoint
logsource: {category: network}
detection:
    ip: {destination.ip: 169.254.169.254}
    path: {c-uri|contains: /latest/meta-data}
    condition: 1 of *
"""


def test_pysigma_finds_the_backends() -> None:
    found = InstalledSigmaPlugins.autodiscover()
    assert {"imdswatch_sentinel", "imdswatch_kuery", "imdswatch_eql", "imdswatch_esql"} <= set(found.backends)
    assert "imdswatch_fields" in found.pipelines


def test_pysigma_users_convert_rules_of_their_own() -> None:
    network, web = KustoBackend().convert(SigmaCollection.from_yaml(PORTABLE))
    assert "_Im_NetworkSession" in network
    assert 'imds_url contains "/latest/meta-data"' in web
    [one] = KustoBackend(schema="commonsecuritylog").convert(SigmaCollection.from_yaml(PORTABLE))
    assert "CommonSecurityLog" in one


def test_pysigma_errors_are_pysigma_errors() -> None:
    from sigma.exceptions import SigmaConfigurationError

    rule = PORTABLE.replace("c-uri|contains", "no_such_field")
    with pytest.raises(SigmaConfigurationError, match="no_such_field"):
        KustoBackend().convert(SigmaCollection.from_yaml(rule))
    with pytest.raises(SigmaConfigurationError, match="has no schema"):
        KustoBackend(schema="splunk").convert(SigmaCollection.from_yaml(PORTABLE))
    assert KustoBackend(collect_errors=True).convert(SigmaCollection.from_yaml(rule)) == []


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(UsageError, match="no language"):
        content("sentinel", None, "spl")


def test_a_title_cannot_leave_its_comment() -> None:
    [one] = toy(
        TOY, rule_of("{a: {dst_ip: 10.0.0.1}, condition: a}").replace("title: t", r'title: "t\n| take 0"')
    )
    assert one.query.startswith("// toy: t | take 0\nlet ")
