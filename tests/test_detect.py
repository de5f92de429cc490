"""`schemas detect`: what a file is, which rules it can fire, and why not; and the outlook it is decided by."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

import pytest

from imdswatch.event import complete
from imdswatch.outlook import NOT_LOGGED, Answer, Can, outlook, site_keys
from imdswatch.report.catalogue import show_detected, show_rule, show_rules, show_schema, show_schemas
from imdswatch.rule import Rule, load_rules, parse_rule
from imdswatch.scan.detect import HEAD, RECORDS, detect
from imdswatch.scan.predicate import compile_rules
from imdswatch.schema import Schemas, load_schemas

SAMPLES = Path(__file__).parent / "schemas"


@cache
def rules() -> tuple[Rule, ...]:
    return load_rules()


@cache
def schemas() -> Schemas:
    return load_schemas()


def answer(slug: str, schema: str, seen: frozenset[str] = frozenset()) -> Answer:
    (rule,) = [rule for rule in rules() if rule.slug == slug]
    return outlook(rule, schemas()[schema], rules(), seen).answer


def own(condition: str, detection: str, schema: str) -> Answer:
    """Return the outlook of a rule written for the test."""
    text = f"title: t\nlogsource:\n  category: network\ndetection:\n{detection}\n  condition: {condition}\n"
    rule = parse_rule("own", text, "own.yml")
    assert rule is not None
    return outlook(rule, schemas()[schema], [rule]).answer


def test_conn_can_show_contact_and_answer_but_no_request() -> None:
    assert answer("imds-contact", "zeek_conn").can is Can.YES
    assert answer("imds-answered", "zeek_conn").can is Can.YES
    request = answer("imds-request", "zeek_conn")
    assert request.can is Can.NEVER
    assert dict(request.why)["uri_path"] == schemas()["zeek_conn"].cannot["url"]


def test_a_switch_that_is_missing_is_told_and_one_that_is_on_is_not() -> None:
    need = schemas()["zeek_http"].needs["req_header"]
    assert ("req_header", need) in answer("imds-request", "zeek_http").why
    assert answer("imds-request", "zeek_http", frozenset({"req_header"})) == Answer(Can.YES)


def test_vlan_of_zeek_http_needs_a_join() -> None:
    keys = dict(site_keys(schemas()["zeek_http"]))
    assert keys["vlans, on_premises_vlans"].can is Can.IF
    assert "join conn.log on uid" in keys["vlans, on_premises_vlans"].why[0][1]
    assert (
        dict(site_keys(schemas()["zeek_http"], frozenset({"vlan"})))["vlans, on_premises_vlans"].can
        is Can.YES
    )
    assert dict(site_keys(schemas()["squid"]))["vlans, on_premises_vlans"].can is Can.NEVER


def test_what_no_schema_explains_is_said_to_be_missing() -> None:
    assert answer("imds-name-lookup", "squid") == Answer(
        Can.NEVER, (("dns_query", NOT_LOGGED), ("dns_answer", NOT_LOGGED))
    )


def test_the_source_of_a_request_is_never_the_endpoint() -> None:
    assert answer("imds-contact", "dnsmasq").can is Can.NEVER
    assert own("s", "  s:\n    src_ip: 169.254.169.254", "zeek_dns").can is Can.NEVER
    assert own("s", "  s:\n    src_ip: 169.254.169.254", "zeek_conn").can is Can.YES
    assert own("s", "  s:\n    src_ip: 10.0.0.1", "zeek_dns").can is not Can.NEVER


def test_and_or_not_over_fields_that_are_there_or_not() -> None:
    a, b = "  a:\n    dst_ip: 10.0.0.1", "  b:\n    nat_dst: 10.0.0.2"
    assert own("a and b", f"{a}\n{b}", "zeek_conn").can is Can.NEVER
    assert own("a or b", f"{a}\n{b}", "zeek_conn").can is Can.YES
    assert own("a and not b", f"{a}\n{b}", "zeek_conn").can is Can.YES
    assert own("not (a or b)", f"{a}\n{b}", "zeek_conn").can is Can.YES
    assert own("a and not x", f"{a}\n  x:\n    nat_dst: null", "zeek_conn").can is Can.NEVER
    assert own("a and x", f"{a}\n  x:\n    nat_dst|exists: false", "zeek_conn").can is Can.YES
    assert own("x", "  x:\n    dst_ip|fieldref: nat_dst", "zeek_conn").can is Can.NEVER


def test_constants_and_listed_values() -> None:
    assert own("x", "  x:\n    proto: tcp", "zeek_http").can is Can.YES
    assert own("x", "  x:\n    proto: udp", "zeek_http").can is Can.NEVER
    assert own("x", "  x:\n    reply_by: origin", "squid_headers").can is Can.NEVER


def test_completed_fields_count() -> None:
    assert own("x", "  x:\n    url|contains: /latest/", "zeek_http").can is Can.YES
    assert own("x", "  x:\n    answered: true", "zeek_conn").can is Can.YES
    assert own("x", "  x:\n    answered: true", "auditd").can is Can.NEVER


def test_unknown_records_can_show_the_endpoint_and_a_path_but_no_answer() -> None:
    assert answer("imds-contact", "unknown").can is Can.YES
    assert answer("imds-request", "unknown").can is Can.YES
    assert answer("imds-answered", "unknown").can is Can.NEVER


def test_account_rule_waits_for_the_site_file_and_used_for_served() -> None:
    assert answer("imds-unexpected-account", "squid").can is Can.NEVER
    assert answer("imds-credentials-used", "squid").can is Can.YES
    used = answer("imds-credentials-used", "suricata_tls")
    assert used.can is Can.IF
    assert "imds-credentials-served" in used.why[0][1]


@pytest.mark.parametrize("name", load_schemas().names)
def test_no_sample_fires_what_the_outlook_calls_impossible(name: str) -> None:
    """The other way round, with real records: whatever fired in a sample must have been possible."""
    schema = schemas()[name]
    usable = [rule for rule in rules() if rule.correlation is None and not rule.placeholders]
    judge = compile_rules(usable, {})
    cases = sorted((SAMPLES / name).glob("*.expected.json"))
    fired = {
        usable[index].slug
        for case in cases
        for entry in json.loads(case.read_text(encoding="utf-8"))
        for index in judge(complete({key: _value(value) for key, value in entry["event"].items()}))
    }
    for slug in fired:
        assert answer(slug, schema.name).can is not Can.NEVER, slug


def _value(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


# Files


def test_detect_counts_what_reads_the_records() -> None:
    found = detect(str(SAMPLES / "squid" / "served.log"), schemas(), rules())
    assert [one.schema.name for one in found.schemas] == ["squid"]
    assert found.schemas[0].records == found.records > 0
    assert found.unread == 0
    assert found.complete
    assert {one.rule for one in found.outlooks} == {rule.slug for rule in rules()}
    text = show_detected(found)
    for words in ("Can fire\n", "Can never fire\n", "Keys of the site file\n", "imds-l2-claim"):
        assert words in text


def test_detect_reads_a_mixed_archive_and_takes_the_best_of_its_schemas(tmp_path: Path) -> None:
    lines = b"".join(
        (SAMPLES / name / "benign.log").read_bytes() for name in ("suricata_http", "suricata_flow")
    )
    (tmp_path / "eve.json.gz").write_bytes(gzip.compress(lines))
    found = detect(str(tmp_path / "eve.json.gz"), schemas(), rules())
    assert {"suricata_http", "suricata_flow"} <= {one.schema.name for one in found.schemas}
    assert next(one for one in found.outlooks if one.rule == "imds-request").answer.can is Can.YES


def test_detect_looks_at_the_beginning_only(tmp_path: Path) -> None:
    line = (SAMPLES / "squid" / "served.log").read_bytes().splitlines(keepends=True)[0]
    (tmp_path / "access.log").write_bytes(line * (RECORDS + 1))
    found = detect(str(tmp_path / "access.log"), schemas(), rules())
    assert (found.records, found.unread, found.complete) == (RECORDS, 0, False)
    (tmp_path / "long.log").write_bytes(line + b"x" * HEAD + b"\n" + line)
    found = detect(str(tmp_path / "long.log"), schemas(), rules())
    assert (found.records, found.complete) == (1, False)


def test_a_header_alone_is_enough(tmp_path: Path) -> None:
    (header,) = schemas()["zeek_conn"].header()[-1:] or [b""]
    text = header or b"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state"
    (tmp_path / "conn.log").write_bytes(text + b"\n")
    found = detect(str(tmp_path / "conn.log"), schemas(), rules())
    assert [(one.schema.name, one.records) for one in found.schemas] == [("zeek_conn", 0)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 records"),
        (b"nothing that anybody knows\n", "No schema knows these records"),
        (b"\x00\x01\x02\xff" * 100, "Could not be looked at"),
        (b"\xd4\xc3\xb2\xa1" + bytes(20), "Could not be looked at"),
    ],
)
def test_what_is_no_known_log_is_said_to_be_none(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    found = detect(str(tmp_path / "file"), schemas(), rules())
    assert not found.schemas
    assert not found.outlooks
    assert words in show_detected(found)


def test_a_missing_file_and_a_hostile_name_are_told_safely(tmp_path: Path) -> None:
    found = detect(str(tmp_path / "a\x1b[2Jb"), schemas(), rules())
    text = show_detected(found)
    assert "\x1b" not in text
    assert "does not exist" in text


# Catalogue


def test_lists_name_everything_and_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    listed, known = show_rules(rules()), show_schemas(schemas())
    for rule in rules():
        assert rule.slug in listed
        assert rule.remedy.split(".")[0][:30] in show_rule(rule)
    for name in schemas().names:
        assert name in known
    for text in (listed, known):
        assert max(map(len, text.splitlines())) <= 90


@pytest.mark.parametrize("name", load_schemas().names)
def test_show_schema_tells_fields_gaps_and_switches(name: str) -> None:
    schema = schemas()[name]
    text = " ".join(show_schema(schema).split())
    for field, reason in {**schema.cannot, **schema.needs}.items():
        assert field in text
        assert " ".join(reason.split()) in text
