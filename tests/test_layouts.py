"""Each layout kind whole: quoting, escapes, absent and surplus parts, what is broken."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdswatch.layouts import KINDS, Layout
from imdswatch.layouts.fieldmap import UNSET
from imdswatch.layouts.result import Malformed
from imdswatch.layouts.times import Clock
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
