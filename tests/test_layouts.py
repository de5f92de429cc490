"""Each layout kind whole: quoting, escapes, absent and surplus parts, what is broken; conversions; envelopes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdswatch.layouts import KINDS, Layout, conversions
from imdswatch.layouts.fieldmap import UNSET, Field, FieldMap, lookup
from imdswatch.layouts.json import parse as parse_json
from imdswatch.layouts.required import anchored, examples, required_literal
from imdswatch.layouts.result import Malformed
from imdswatch.layouts.times import Clock, format_reader, to_time
from imdswatch.read.unwrap import envelope, objects, syslog
from imdswatch.yamlfile import load

CLOCK = Clock(UTC, datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())
THEN = 1795309323.0  # 22 November 2026, 01:02:03 UTC


def layout(text: str) -> Layout:
    table = load(text, "x.yml")
    made = KINDS[table.choice("kind", tuple(KINDS))].load(table, UNSET)
    table.done()
    return made


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ("a,b,c", {"x": "a", "y": "b", "z": "c"}),
        ('a,"b,c",d', {"x": "a", "y": "b,c", "z": "d"}),
        ('"a ""b"" c",,', {"x": 'a "b" c', "y": "", "z": ""}),
        ('"","","a"', {"x": "", "y": "", "z": "a"}),
        ('a"b,c', {"x": 'a"b', "y": "c"}),
        ('a,b"x"y,c', {"x": "a", "y": 'b"x"y', "z": "c"}),
        ("a,b,c,d,e", {"x": "a", "y": "b", "z": "c"}),
        ("a,", {"x": "a", "y": ""}),
    ],
)
def test_delimited_quotes(row: str, cells: dict[str, str]) -> None:
    assert layout("kind: delimited\nquote: '\"'\ncolumns: [x, y, z]").parse(row) == cells


def test_delimited_broken_quote() -> None:
    made = layout("kind: delimited\nquote: '\"'\ncolumns: [x, y, z]")
    assert made.parse('a,"b,c') == Malformed("a quoted field does not end")


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ("a,{b,c},d", ["a", "{b,c}", "d"]),
        ('a,"{b",c', ["a", "{b", "c"]),
        ("a,{b,{c,d}},e", ["a", "{b,{c,d}}", "e"]),
        ("a,{b,c", ["a", "{b", "c"]),
        ("a,b},c", ["a", "b}", "c"]),
        ('a,{b,c},"d,e"', ["a", "{b,c}", "d,e"]),
    ],
)
def test_delimited_braces(row: str, cells: list[str]) -> None:
    made = layout("kind: delimited\nquote: '\"'\nbraces: true\ncolumns: [v, w, x, y, z]")
    parsed = made.parse(row)
    assert isinstance(parsed, dict)
    assert list(parsed.values()) == cells


def test_delimited_trim_and_sparse_columns() -> None:
    made = layout("kind: delimited\nquote: '\"'\ntrim: true\ncolumns_at: {2: x, 4: y}")
    parsed = made.parse('"a", "b, c" ,d, "e"')
    assert isinstance(parsed, dict)
    assert (parsed["x"], parsed["y"]) == ("b, c", "e")


def test_delimited_blank_separated_strings() -> None:
    made = layout("kind: delimited\nseparator: ' '\nquote: '\"'\ncolumns: [a, b, c]")
    assert made.parse('GET "Mozilla/5.0 (X11; Linux)" -') == {
        "a": "GET",
        "b": "Mozilla/5.0 (X11; Linux)",
        "c": "-",
    }


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00")), min_size=2, max_size=5))
def test_delimited_round_trip(cells: list[str]) -> None:
    made = layout("kind: delimited\nquote: '\"'\ncolumns: [v, w, x, y, z]")
    sources = dict(zip("vwxyz", cells, strict=False))
    parsed = made.parse(made.write(sources))
    assert isinstance(parsed, dict)
    assert {name: parsed[name] for name in sources} == sources


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ('a=1 b="x y" c=', {"a": "1", "b": "x y", "c": ""}),
        (r'a="x \"y\" \\z" b=2', {"a": r'x "y" \z', "b": "2"}),
        ("a=1 b=two words c=3", {"a": "1", "b": "two words", "c": "3"}),
        ("a=1 a=2", {"a": "1"}),
        ("a=http://h/?q=1&r=2 b=3", {"a": "http://h/?q=1&r=2", "b": "3"}),
        ("noise a=1", {"a": "1"}),
        ('a="open b=2', {"a": '"open', "b": "2"}),
        ("nothing here", None),
        ("", None),
    ],
)
def test_keyvalue(text: str, pairs: dict[str, str] | None) -> None:
    assert layout("kind: keyvalue").parse(text) == pairs


def test_keyvalue_other_separators() -> None:
    made = layout(
        "kind: keyvalue\npair: ', '\nassign: ':'\nquote: null\nkey: '[A-Za-z_ ]+'\nprefix: '%X-(?P<level>\\d): '\nsuffix: '!'"  # noqa: E501
    )
    assert made.parse("%X-6: SrcIP: 10.0.0.1, URL: http://h/a, b, User Agent: x, y!") == {
        "level": "6",
        "SrcIP": "10.0.0.1",
        "URL": "http://h/a, b",
        "User Agent": "x, y",
    }
    assert made.parse("SrcIP: 10.0.0.1") is None
    bracketed = layout("kind: keyvalue\npair: '; '\nassign: ':'\nprefix: '\\['\nsuffix: '\\]'")
    assert bracketed.parse('[a:"1"; b:"x; c:2"; d:"y\\]"; ]') == {"a": "1", "b": "x; c:2", "d": "y]"}


def test_cef() -> None:
    made = layout("kind: cef")
    parsed = made.parse(
        r"Nov 22 h CEF:0|Ven\|dor|P\\q|1|42|A name|5|src=10.0.0.1 request=http://h/?a\=b&c=d msg=one two\nthree cs1=7 cs1Label=VLAN ID"  # noqa: E501
    )
    assert parsed == {
        "cefDeviceVendor": "Ven|dor",
        "cefDeviceProduct": r"P\q",
        "cefDeviceVersion": "1",
        "cefSignatureId": "42",
        "cefName": "A name",
        "cefSeverity": "5",
        "src": "10.0.0.1",
        "request": "http://h/?a=b&c=d",
        "msg": "one two\nthree",
        "cs1": "7",
        "cs1Label": "VLAN ID",
        "VLAN ID": "7",
    }
    assert made.parse("no cef") is None
    assert made.parse("CEF:0|a|b") == Malformed("CEF header is cut short")


@pytest.mark.parametrize(
    "text",
    [
        "LEEF:1.0|V|P|1|7|src=10.0.0.1\turl=http://h/a=b",
        "LEEF:2.0|V|P|1|7|^|src=10.0.0.1^url=http://h/a=b",
        "LEEF:2.0|V|P|1|7|0x5E|src=10.0.0.1^url=http://h/a=b",
        "LEEF:2.0|V|P|1|7|x09|src=10.0.0.1\turl=http://h/a=b",
        "LEEF:2.0|V|P|1|7||src=10.0.0.1\turl=http://h/a=b",
        "LEEF:2.0|V|P|1|7|||src=10.0.0.1|url=http://h/a=b",
        "LEEF:1.0|V|P|1|7|src=10.0.0.1|url=http://h/a=b",
    ],
)
def test_leef(text: str) -> None:
    parsed = layout("kind: leef").parse("<13>Nov 22 h " + text)
    assert parsed == {
        "leefVendor": "V", "leefProduct": "P", "leefVersion": "1", "leefEventId": "7",
        "src": "10.0.0.1", "url": "http://h/a=b",
    }  # fmt: skip


def test_leef_broken() -> None:
    assert layout("kind: leef").parse("LEEF:1.0|V|P") == Malformed("LEEF header is cut short")


@pytest.mark.parametrize(
    ("dialect", "format", "line", "expected"),
    [
        (
            "squid",
            "%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt",
            "1795309323.123    217 fd20:1::10 TCP_MISS/200 512 GET http://h/a?b=/c - HIER_DIRECT/fd00:ec2::254 text/plain",  # noqa: E501
            {"%ts": "1795309323", "%03tu": "123", "%6tr": "217", "%>a": "fd20:1::10", "%Sh": "HIER_DIRECT",
             "%ru": "http://h/a?b=/c", "%<a": "fd00:ec2::254", "%03>Hs": "200", "%mt": "text/plain"},
        ),
        (
            "apache",
            '%v:%p %h %l %u %t "%r" %>s %b "%{User-Agent}i"',
            '[fd00:ec2::254]:80 10.0.0.1 - a user [22/Nov/2026:01:02:03 +0000] "GET /\\"x\\x2f HTTP/1.1" 200 5 "a \\\\ \\"b\\""',  # noqa: E501
            {"%v": "[fd00:ec2::254]", "%p": "80", "%u": "a user", "%t": "22/Nov/2026:01:02:03 +0000",
             "%r": 'GET /"x/ HTTP/1.1', "%{User-Agent}i": 'a \\ "b"'},
        ),
        (
            "nginx",
            '$remote_addr [$time_local] "$request" $status "$http_user_agent"',
            '::1 [22/Nov/2026:01:02:03 +0000] "" 400 "\\x22q\\x22"',
            {"$remote_addr": "::1", "$request": "", "$status": "400", "$http_user_agent": '"q"'},
        ),
        (
            "haproxy",
            "%ci:%cp [%tr] %ft %b/%s %TR/%Tw %ST %B %hr %hs %{+Q}r",
            'fd20:1::10:40112 [22/Nov/2026:01:02:03.456] fe~ be/<NOSRV> -1/+2 503 0 "GET /a HTTP/1.1"',
            {"%ci": "fd20:1::10", "%cp": "40112", "%s": "<NOSRV>", "%ST": "503", "%hr": None, "%{+Q}r": "GET /a HTTP/1.1"},  # noqa: E501
        ),
        (
            "haproxy",
            "%ci:%cp %hr %hs %{+Q}r",
            '10.0.0.1:1 {h|agent x} {y} "GET /a HTTP/1.1"',
            {"%hr": "{h|agent x}", "%hs": "{y}"},
        ),
    ],
)  # fmt: skip
def test_logformat(dialect: str, format: str, line: str, expected: dict[str, str]) -> None:
    made = layout(f"kind: logformat\ndialect: {dialect}\nformat: '{format}'")
    parsed = made.parse(line)
    assert isinstance(parsed, dict), parsed
    assert {code: parsed[code] for code in expected} == expected
    again = made.parse(made.write({code: value for code, value in parsed.items() if value is not None}))
    assert again == parsed or dialect == "haproxy"
    assert isinstance(made.parse("nothing like it"), Malformed)


def test_pattern_first_match_wins_and_absent_groups_are_none() -> None:
    made = layout(
        "kind: pattern\npatterns: ['a (?P<x>\\d+)(?: b (?P<y>\\w+))?', 'a (?P<z>.*)']\nwrite: ['a {x} b {y}', 'a {z}']"
    )
    assert made.parse("a 12") == {"x": "12", "y": None}
    assert made.parse("a q") == {"z": "q"}
    assert made.parse("xa 12") is None
    assert made.write({"x": "1", "y": "w"}) == "a 1 b w"
    assert made.write({"z": "q"}) == "a q"


def test_json_write_nests_unless_the_tool_does_not() -> None:
    assert layout("kind: json").write({"a.b": 1, "a.c": [2]}) == '{"a":{"b":1,"c":[2]}}'
    assert layout("kind: json\nliteral: true").write({"a.b": 1}) == '{"a.b":1}'


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
