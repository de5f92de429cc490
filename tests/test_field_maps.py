"""From source fields to canonical ones: paths, conversions, the order of work; and out of envelopes before that."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdswatch.layouts import conversions
from imdswatch.layouts.fieldmap import UNSET, Field, FieldMap, lookup
from imdswatch.layouts.json import parse as parse_json
from imdswatch.layouts.required import anchored, examples, required_literal
from imdswatch.layouts.result import Malformed
from imdswatch.layouts.times import Clock, format_reader, to_time
from imdswatch.read.unwrap import envelope, objects, syslog
from imdswatch.schema import load_schemas

CLOCK = Clock(UTC, datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())
THEN = 1795309323.0  # 22 November 2026, 01:02:03 UTC


@pytest.mark.parametrize(
    ("record", "value"),
    [
        ({"a.b": 1, "a": {"b": 2}}, 1),
        ({"a": {"b": 2}}, 2),
        ({"a": [{"b": 1}, {"c": 2}, {"b": [3, 4]}]}, [1, 3, 4]),
        ({"a": 5}, None),
        ({"a": None}, None),
        ({}, None),
    ],
)
def test_paths(record: dict[str, Any], value: Any) -> None:
    assert lookup(record, "a.b") == value
    fields = FieldMap((Field("session", ("a.b",), "text"),), (), UNSET, nested=True)
    assert fields.convert(record, CLOCK).get("session") == (
        None if value is None else str(value[0] if isinstance(value, list) else value)
    )


@pytest.mark.parametrize(
    ("name", "value", "result"),
    [
        ("text", 5, "5"), ("text", True, "true"), ("text", ["a", "b"], "a"), ("text", {}, None), ("text", "", None),
        ("int", "80", 80), ("int", "80.0", 80), ("int", 80.0, 80), ("int", " 80 ", 80), ("int", "-5", -5),
        ("int", "1_0", None), ("int", "٣", None), ("int", "9" * 30, None), ("int", 10**30, None), ("int", True, None),
        ("int", float("nan"), None), ("int", float("inf"), None), ("int", [7], 7),
        ("hexint", "0x1f", 31), ("hexint", "1F", 31), ("hexint", "xyz", None),
        ("bool", "T", True), ("bool", False, False), ("bool", "maybe", None),
        ("address", "FD00:0EC2:0000::0254", "fd00:ec2::254"),
        ("address", "::ffff:169.254.169.254", "169.254.169.254"),
        ("address", "[fe80::1%eth0]", "fe80::1"), ("address", "host", None), ("address", "1" * 10**6, None),
        ("mac", "02-00-00-AA-BB-CC", "02:00:00:aa:bb:cc"), ("mac", "0200.00aa.bbcc", "02:00:00:aa:bb:cc"),
        ("mac", "2:0:0:a:b:c", "02:00:00:0a:0b:0c"), ("mac", "x", None),
        ("macs", ["020000aabbcc"], "02:00:00:aa:bb:cc"),
        ("nlmac_dst", "01:02:03:04:05:06:11:12:13:14:15:16:08:00", "01:02:03:04:05:06"),
        ("nlmac_src", "01:02:03:04:05:06:11:12:13:14:15:16:08:00", "11:12:13:14:15:16"), ("nlmac_src", "01:02", None),
        ("vlan", 120, (120,)), ("vlan", "120", (120,)), ("vlan", "eth0.120", (120,)), ("vlan", [10, "20"], (10, 20)),
        ("vlan", "vlan7", (7,)), ("vlan", 0, None), ("vlan", "eth0", None), ("vlan", 4095, None),
        ("vlan", "10,20", (10, 20)),
        ("time", "2026-11-22T01:02:03Z", THEN), ("time", "2026-11-22T01:02:03.000000001+0000", THEN),
        ("time", "2026-11-22 02:02:03 +0100", THEN), ("time", "2026/11/22 01:02:03", THEN),
        ("time", "[22/Nov/2026:01:02:03 +0000]", THEN), ("time", "Sun Nov 22 01:02:03 2026", THEN),
        ("time", "Nov 22 2026 01:02:03", THEN), ("time", "*Nov 22 01:02:03.000", THEN), ("time", THEN, THEN),
        ("time", "1795309323", THEN), ("time", 1795309323000, THEN), ("when", "1795309323000000000", THEN),
        ("time", "2026-13-45T99:99:99Z", None), ("time", float("nan"), None), ("time", True, None), ("time", [], None),
        ("epoch", "1795309323.5", THEN + 0.5), ("epoch", "1e999", None), ("epoch", "nan", None), ("epoch", -1, None),
        ("epoch_ms", 1795309323000, THEN), ("epoch_us", "1795309323000000", THEN),
        ("epoch_ns", 1795309323 * 10**9, THEN),
        ("base64", "aHR0cDovL2g_YQ", "http://h?a"), ("base64", "!!", None),
        ("sockaddr_ip", "02000050A9FEA9FE0000000000000000", "169.254.169.254"),
        ("sockaddr_ip", "0A00005000000000FD000EC200000000000000000000025400000000", "fd00:ec2::254"),
        ("sockaddr_port", "02000050A9FEA9FE", 80), ("sockaddr_ip", "01002F", None), ("sockaddr_port", "zz", None),
        ("names", ["HOST", "X-AWS-EC2-METADATA-TOKEN"], ("HOST", "X-AWS-EC2-METADATA-TOKEN")),
        ("names", [{"name": "Host", "value": "secret"}], ("Host",)), ("names", {"Host": "secret"}, ("Host",)),
        ("names", "A,B|C", ("A", "B", "C")), ("names", "A: secret, token\r\nB: y", ("A", "B")),
        ("names", "A: secret\\r\\nB: y", ("A", "B")), ("names", ["A: secret"], ("A",)), ("names", "-", None),
        ("list", "a, b,-", ("a", "b")), ("list", ["a", 1], ("a", "1")), ("list", [], None),
        ("flags", 27, "SAFP"), ("flags", "0x1b", "SAFP"), ("flags", "1b", "SAFP"), ("flags", "...AP.SF", "SAFP"),
        ("flags", "SYN ACK", "SA"), ("flags", "", None),
        ("request_method", "put /x HTTP/1.1", "PUT"), ("request_uri", "GET /a b HTTP/1.1", "/a b"),
        ("request_uri", "\\x16\\x03", None), ("request_uri", "GET /cut", "/cut"),
        ("host_port_host", "[fd00:ec2::254]:80", "fd00:ec2::254"), ("host_port_port", "10.0.0.1:80", 80),
        ("host_port_port", "fd00:ec2::254", None),
        ("dhcp_routes", "20:a9:fe:a9:fe:0a:14:01:01:00:0a:00:00:01", ("169.254.169.254/32", "0.0.0.0/0")),
        ("dhcp_routes", "20a9fe", None), ("percent_cr", "a+b%20c", "a+b%20c"),
    ],
)  # fmt: skip
def test_conversions(name: str, value: Any, result: Any) -> None:
    got = conversions.READ[name](value, CLOCK)
    assert got == (pytest.approx(result, abs=1e-6) if isinstance(result, float) else result)
    assert type(got) is type(result)


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(ANYTHING)
def test_conversions_never_raise(value: Any) -> None:
    for name, read in conversions.READ.items():
        read(value, CLOCK)
        conversions.reader("dst_ip", name)(value, CLOCK)
    format_reader(("%b %d %H:%M:%S", "%d/%m/%y %I:%M %p", "%j %Y", "%s"))(value, CLOCK)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("%{X-aws-ec2-metadata-token}>h", "X-aws-ec2-metadata-token"),
        ("%{X-aws-ec2-metadata-token}i", "X-aws-ec2-metadata-token"),
        ("$http_x_aws_ec2_metadata_token", "x-aws-ec2-metadata-token"),
        ("cs(X-aws-ec2-metadata-token)", "X-aws-ec2-metadata-token"),
        ("hdr_x_aws_ec2_metadata_token", "x-aws-ec2-metadata-token"),
        ("X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token"),
    ],
)
def test_header_name_is_the_name_never_the_value(source: str, name: str) -> None:
    assert conversions.header_name(source)("AQAEAsecret", CLOCK) == name


def one(spec: Field, record: dict[str, Any], unset: frozenset[str] = UNSET) -> Any:
    return FieldMap((spec,), (), unset, nested=True).convert(record, CLOCK).get(spec.name)


def test_field_order_of_work() -> None:
    assert one(Field("session", ("a", "b"), "text"), {"a": "-", "b": "x"}) == "x"
    assert one(Field("src_ip", ("a", "b"), "address"), {"a": "n/a", "b": "10.0.0.1"}) == "10.0.0.1"
    assert one(Field("vlan", ("a", "b", "c"), "vlan", join=True), {"a": 5, "b": 6, "c": 5}) == (5, 6)
    assert one(Field("vlan", ("a", "b"), "vlan", join=True), {}) is None
    glued = Field(
        "action", ("a", "b"), "lower", glue="|", map=(("Block|Reset*", "reset"), ("Block*", "deny"))
    )
    assert one(glued, {"a": "BLOCK", "b": "reset both"}) == "reset"
    assert one(glued, {"a": "Block"}) == "deny"
    assert one(glued, {"a": "Allow"}) is None
    assert one(glued, {}) is None
    assert one(Field("reply_by", ("a",), "lower", map=(("*", "proxy"),)), {"a": "x"}) == "proxy"
    matched = Field("host", ("a",), "text", match="^(?P<v>[a-z]+):")
    assert one(matched, {"a": ["1:", "ab:2", "cd:3"]}) == "ab"
    assert one(
        Field("dns_answer", ("a",), "list", match="^(?P<v>[a-z]+):"), {"a": ["1:", "ab:2", "cd:3"]}
    ) == ("ab", "cd")


def test_less_and_otherwise() -> None:
    spec = Field(
        "resp_ip_bytes",
        ("a",),
        "int",
        less_of="b",
        less_times=18,
        otherwise=Field("resp_ip_bytes", ("c",), "int"),
    )
    assert one(spec, {"a": 100, "b": 2}) == 64
    assert one(spec, {"a": 10, "b": 2}) == 0
    assert one(spec, {"a": 100}) is None
    assert one(spec, {"a": 100, "c": 7}) == 7


def test_unset_marks_are_absent_even_where_they_are_values() -> None:
    assert (
        one(Field("dst_ip", ("a", "b"), "address"), {"a": "0.0.0.0", "b": "10.0.0.1"}, frozenset({"0.0.0.0"}))
        == "10.0.0.1"
    )
    assert one(Field("src_port", ("a",), "int"), {"a": "0"}, frozenset({"0"})) is None


def test_translation_that_translates_nothing_is_dropped() -> None:
    fields = FieldMap(
        tuple(Field(name, (name,), conversions.default(name)) for name in ("dst_ip", "dst_port", "nat_dst", "nat_dst_port")),  # noqa: E501
        (), UNSET, nested=False,
    )  # fmt: skip
    same = {"dst_ip": "10.0.0.1", "dst_port": "80", "nat_dst": "10.0.0.1", "nat_dst_port": "80"}
    assert fields.convert(same, CLOCK) == {"dst_ip": "10.0.0.1", "dst_port": 80}
    assert fields.convert({**same, "nat_dst_port": "8080"}, CLOCK)["nat_dst_port"] == 8080
    assert "nat_dst" not in fields.convert({**same, "nat_dst": "0.0.0.0", "nat_dst_port": "0"}, CLOCK)


@pytest.mark.parametrize(
    ("line", "message", "said"),
    [
        ("<34>Oct 11 22:14:15 host su[1]: hi", "hi", ("Oct 11 22:14:15", "host", "su")),
        ("Nov  2 03:25:08 dnsmasq[21164]: query", "query", ("Nov  2 03:25:08", None, "dnsmasq")),
        (
            "<166>Nov 22 2026 01:02:03 fw1 : %ASA-6-302013: B",
            "%ASA-6-302013: B",
            ("Nov 22 2026 01:02:03", "fw1", None),
        ),
        ("Nov 22 2026 01:02:03: %ASA-6-302013: B", "%ASA-6-302013: B", ("Nov 22 2026 01:02:03", None, None)),
        (
            "<189>9: sw1: *Nov 22 01:02:03.123: %SEC-6-X: y",
            "%SEC-6-X: y",
            ("Nov 22 01:02:03.123", "sw1", None),
        ),
        ('<165>1 2026-11-22T01:02:03Z h a 1 - [x@1 k="v\\]"] m', "m", ("2026-11-22T01:02:03Z", "h", "a")),
        (
            '<165>1 2026-11-22T01:02:03Z h CP 1 - [a:"b"; c:"d"]',
            '[a:"b"; c:"d"]',
            ("2026-11-22T01:02:03Z", "h", "CP"),
        ),
        ("2026-11-22T01:02:03.5+00:00 h p: m", "m", ("2026-11-22T01:02:03.5+00:00", "h", "p")),
        ("Nov 22 01:02:03 PA-VM 1,2026/11/22", "1,2026/11/22", ("Nov 22 01:02:03", "PA-VM", None)),
        ("Nov 22 01:02:03 h CEF: 0|a", "CEF: 0|a", ("Nov 22 01:02:03", "h", None)),
        ("<189>date=2026-11-22 a=b", "date=2026-11-22 a=b", (None, None, None)),
        ("2026-11-22T01:02:03Z stderr P cut", "cut", ("2026-11-22T01:02:03Z", None, None)),
    ],
)
def test_syslog_headers(line: str, message: str, said: tuple[str | None, ...]) -> None:
    got, outer = syslog(line)
    assert got == message
    assert outer == {
        f"syslog.{name}": value
        for name, value in zip(("time", "host", "program"), said, strict=True)
        if value
    }


@pytest.mark.parametrize(
    "line", ["", "1795309323.123 5 10.0.0.1 TCP", "2026-11-22 01:02:03 10.0.0.1", "%ASA-6-1: x", "{}"]
)
def test_what_has_no_syslog_header_stays(line: str) -> None:
    assert syslog(line) == (line, None)


@given(st.text(max_size=60))
def test_unwrapping_never_raises(text: str) -> None:
    for start in ("", "<1>", "<1>1 ", "Nov 22 01:02:03 ", "2026-11-22T01:02:03Z "):
        message, _ = syslog(start + text)
        assert len(message) <= len(start + text)


@given(
    st.dictionaries(
        st.sampled_from(["log", "MESSAGE", "result", "_raw", "event", "message", "host", "time"]), ANYTHING
    )
)
def test_envelopes_never_raise(record: dict[str, Any]) -> None:
    found = envelope(record)
    assert found is None or isinstance(found[0], (str, dict))


def test_documents_of_several_records() -> None:
    a, b = {"a": 1}, {"b": 2}
    for document in (
        [a, b],
        [[a], [b]],
        {"results": [a, b]},
        {"hits": {"total": 2, "hits": [a, b]}},
        {"Records": [a, b]},
    ):
        assert list(objects(document)) == [a, b]
    assert list(objects({"a": 1, "results": "x"})) == [{"a": 1, "results": "x"}]


def test_json_depth_and_garbage() -> None:
    assert parse_json(b"[" * 10**6) == Malformed("JSON nests too deeply")
    assert parse_json(b'{"a":1') == Malformed("JSON is broken or cut short")
    assert parse_json(b'{"a":1}') == {"a": 1}


@pytest.mark.parametrize(
    "pattern", ["^a+b", "x(?:yy|zz)w", "(?:abc)?d", "(?i:abc)d", "(?i)abc", "^(?:a|b)c", "^a|b", "(a)b*+c"]
)
@given(st.data())
def test_shortcuts_for_expressions_change_nothing(pattern: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(pattern) | st.text("abcdxyzwABC\n", max_size=12))
    compiled = re.compile(pattern)
    found, quick = compiled.search(text), anchored(compiled)(text)
    assert (found and found.span()) == (quick and quick.span())
    assert not found or required_literal(pattern) in text


def test_examples_match_their_groups() -> None:
    pattern = r"(?P<a>\d{3})-(?P<b>[A-Z]+)(?P<c>\s\S+|x) (?P<d>[^x\s]+?)(?P<e>[+-])"
    made = examples(pattern)
    assert re.fullmatch(pattern, f"{made['a']}-{made['b']}{made['c']} {made['d']}{made['e']}")


def test_year_is_the_latest_not_after_the_file() -> None:
    latest = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    assert to_time("Mar  1 00:00:00", Clock(UTC, latest)) == latest
    assert (
        to_time("Mar  1 00:00:01", Clock(UTC, latest))
        == datetime(2025, 3, 1, 0, 0, 1, tzinfo=UTC).timestamp()
    )


_SAMPLES = Path(__file__).parent / "schemas"


@pytest.mark.parametrize("name", sorted(path.name for path in _SAMPLES.iterdir() if path.is_dir()))
def test_what_reads_objects_with_known_keys_reads_them_the_same(name: str) -> None:
    forms = [form for base in load_schemas()[name].bases for form in base.forms]
    for path in sorted((_SAMPLES / name).glob("*.log")) + sorted((_SAMPLES / name).glob("*.json")):
        for line in path.read_bytes().splitlines()[:5]:
            record = parse_json(line)
            if not isinstance(record, dict):
                continue
            nothing, text, number = (dict.fromkeys(record, value) for value in (None, "-", 7))
            for form, other in product(forms, (record, nothing, text, number, {**record, "id": record})):
                read = form.fields.convert_for(frozenset(other))
                assert read(other, CLOCK) == form.fields.convert(other, CLOCK)
