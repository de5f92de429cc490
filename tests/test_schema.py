"""Schema files: what is accepted, what is refused and where; which schema claims a record; headers; hostile input."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imdswatch.errors import SchemaError, UsageError
from imdswatch.event import FIELDS
from imdswatch.layouts.result import Header, Malformed, Record
from imdswatch.read.writing import SAMPLE
from imdswatch.schema import Schemas, load_schemas
from imdswatch.schemafile import parse

HEAD = """\
name: toy
title: A toy
origin: documentation
version: "1"
references: [none]
layer: http
vantage: sensor
priority: 50
"""
JSON = HEAD + "layout: {kind: json}\nrecognise: {keys: [toy]}\nfields:\n  src_ip: a\n"
LATEST = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


def schemas(*texts: str) -> Schemas:
    return Schemas([parse(text, "toy.yml", text.partition("name: ")[2].partition("\n")[0]) for text in texts])


def read(text: str, line: bytes | str, zone: timezone = UTC) -> Any:
    return schemas(text).reader(zone, LATEST).read(line.encode() if isinstance(line, str) else line)


def fields(text: str, line: bytes | str) -> dict[str, Any]:
    result = read(text, line)
    assert isinstance(result, Record), result
    return result.fields


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (JSON.replace("priority: 50", "priority: 101"), 8, "whole number from 0 to 100"),
        (JSON.replace("name: toy", "name: other"), 1, "but the file is called 'toy'"),
        (JSON + "colour: red\n", 13, "unknown key 'colour'"),
        (JSON + "  src_address: b\n", 13, "'src_address' is no canonical field"),
        (JSON + "  dst_port: {from: b, as: integer}\n", 13, "'as' is 'integer'"),
        (JSON + "  host: {from: b, match: '('}\n", 13, "no regular expression"),
        (JSON + "  host: {from: b, match: 'x'}\n", 13, "(?P<v>"),
        (JSON + "  timestamp: {from: b, formats: ['%Q']}\n", 13, "%Q"),
        (JSON + "  host: {from: [b, c], join: all}\n", 13, "holds one value"),
        (
            JSON + "  answered: {from: b, map: {x: perhaps}}\n",
            13,
            "'perhaps', which is no value of 'answered'",
        ),
        (JSON + "constants: {dst_port: many}\n", 13, "'many' is no value of dst_port"),
        (JSON + "variants: [{fields: {host: h}}]\n", 13, "needs `when`"),
        (JSON.replace("{keys: [toy]}", "{}"), 10, "needs `keys`, `any` or `equals`"),
        (JSON.replace("kind: json", "kind: xml"), 9, "'kind' is 'xml'"),
        (JSON.replace("layer: http", "layer: http\nlayer: dns"), 7, "given twice"),
        (JSON.replace("title: A toy", "title: [a"), 0, "not valid YAML"),
        (
            HEAD + "layout: {kind: pattern, patterns: ['(?P<x>.)']}\nfields: {host: y}\n",
            10,
            "no source field 'y'",
        ),
        (HEAD + "layout: {kind: delimited, columns: [a, b]}\nfields: {host: a}\n", 0, "needs `regex`"),
        (HEAD + "layout: {kind: delimited}\nfields: {host: a}\n", 9, "either `columns`"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse(text, "toy.yml", "toy")
    assert what in str(caught.value)
    assert "toy.yml" in str(caught.value)
    if line:
        assert caught.value.line == line


def test_yaml_words_stay_texts() -> None:
    text = JSON + "  action: {from: b, map: {NO: deny, 6: allow, true: reset}}\n"
    assert fields(text, '{"toy":1,"b":"NO"}')["action"] == "deny"
    assert fields(text, '{"toy":1,"b":6}')["action"] == "allow"
    assert fields(text, '{"toy":1,"b":true}')["action"] == "reset"


def test_overlay_replaces_by_name_and_adds(tmp_path: Path) -> None:
    (tmp_path / "toy.yml").write_text(JSON)
    (tmp_path / "squid.yml").write_text(JSON.replace("name: toy", "name: squid"))
    loaded = load_schemas(tmp_path)
    assert "toy" in loaded.names
    assert loaded["squid"].title == "A toy"
    assert set(load_schemas().names) < set(loaded.names)


def test_overlay_must_exist_and_be_text(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="does not exist"):
        load_schemas(tmp_path / "absent")
    (tmp_path / "toy.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(SchemaError, match="not UTF-8"):
        load_schemas(tmp_path)


def test_unknown_name_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no schema 'squidd'"):
        load_schemas().reader(only="squidd")


def test_priority_then_name_decides_whatever_was_read_before() -> None:
    texts = [JSON.replace("name: toy", f"name: {name}").replace("priority: 50", f"priority: {p}")
             for name, p in (("b", 50), ("a", 50), ("c", 60))]  # fmt: skip
    texts[2] = texts[2].replace("keys: [toy]", "keys: [toy, more]")
    lines = [b'{"toy":1,"a":"10.0.0.1"}', b'{"toy":1,"more":1,"a":"10.0.0.1"}']
    for order in (lines, lines[::-1]):
        reader = schemas(*texts).reader(UTC, LATEST)
        results = {line: reader.read(line) for line in order * 2}
        claimed = {line: result.schema for line, result in results.items() if isinstance(result, Record)}
        assert claimed == {lines[0]: "a", lines[1]: "c"}


def test_a_schema_that_cannot_read_leaves_the_record_to_the_next() -> None:
    first = HEAD.replace("name: toy", "name: first") + (
        "layout: {kind: pattern, patterns: ['x (?P<a>\\d+)']}\nrecognise: {regex: '^x'}\nfields: {session: a}\n"
    )
    second = (
        HEAD
        + "layout: {kind: pattern, patterns: ['x (?P<a>.*)']}\nrecognise: {regex: '^x'}\nfields: {session: a}\n"
    )
    reader = schemas(first, second).reader(UTC, LATEST)
    assert reader.read(b"x 12") == Record({"session": "12"}, "first")
    assert reader.read(b"x y") == Record({"session": "y"}, "toy")
    assert reader.read(b"y") is None


def test_only_considers_one_schema() -> None:
    loaded = load_schemas()
    line = b'{"ts":1.5e9,"uid":"C1","id.orig_h":"10.0.0.1","conn_state":"S0"}'
    assert isinstance(loaded.reader(UTC, LATEST).read(line), Record)
    assert loaded.reader(UTC, LATEST, only="squid").read(line) is None
    assert loaded.reader(UTC, LATEST, only="unknown").read(b"any\xff\n") == Record(
        {"payload": "any\xff"}, "unknown"
    )


def test_header_state_can_be_handed_over() -> None:
    loaded = load_schemas()
    head = b"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state"
    row = b"1795309323.5\tC1\t10.0.0.1\t40000\t169.254.169.254\t80\ttcp\tS0"
    reader = loaded.reader(UTC, LATEST)
    assert reader.read(b"#separator \\x09") == Header(None)
    assert reader.read(row) is None
    assert reader.read(head) == Header("zeek_conn")
    assert loaded["zeek_conn"].recognises_header(head)
    assert not loaded["zeek_http"].recognises_header(head)
    first = reader.read(row)
    assert isinstance(first, Record)
    assert first.schema == "zeek_conn"
    other = loaded.reader(UTC, LATEST)
    other.restore(reader.state)
    assert other.read(row) == first
    assert other.state == reader.state
    other.restore(None)
    assert other.read(row) is None


def test_a_new_header_replaces_the_old_even_if_nobody_knows_it() -> None:
    reader = load_schemas().reader(UTC, LATEST)
    reader.read(b"#fields\tts\tuid\tid.orig_h\tid.resp_h\tconn_state")
    assert isinstance(reader.read(b"1.5\tC1\t10.0.0.1\t10.0.0.2\tS0"), Record)
    assert reader.read(b"1.5\tC1\t10.0.0.1\t10.0.0.2") == Malformed("4 columns where the header names 5")
    assert reader.read(b"#fields\tts\tname\taddl") == Header(None)
    assert reader.read(b"1.5\tC1\t10.0.0.1") is None


def test_text_inside_a_declared_row_cannot_pose_as_another_layout() -> None:
    reader = load_schemas().reader(UTC, LATEST)
    reader.read(b"#fields\tts\tuid\tid.orig_h\tid.resp_h\tconn_state")
    row = reader.read(b"1.5\tCEF:0|a|b|1|x|y|3|src=1.2.3.4 dst=169.254.169.254\t10.0.0.1\t10.0.0.2\tS0")
    assert isinstance(row, Record)
    assert row.schema == "zeek_conn"
    assert row.fields["src_ip"] == "10.0.0.1"


ENVELOPED = b'{"toy":1,"a":"10.0.0.1"}'


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: orjson.dumps({"log": inner + "\n", "stream": "stdout", "time": "2026-11-22T01:02:03.5Z"}),
        lambda inner: orjson.dumps({"MESSAGE": inner, "__REALTIME_TIMESTAMP": "1795309323500000"}),
        lambda inner: orjson.dumps({"MESSAGE": list(inner.encode()), "__REALTIME_TIMESTAMP": "1795309323500000"}),
        lambda inner: orjson.dumps({"@timestamp": "2026-11-22T01:02:03.5Z", "message": inner}),
        lambda inner: orjson.dumps({"@timestamp": "2026-11-22T01:02:03.5Z", "event": {"original": inner}}),
        lambda inner: orjson.dumps({"@timestamp": "2026-11-22T01:02:03.5Z", "event.original": inner}),
        lambda inner: orjson.dumps({"preview": False, "result": {"_raw": inner, "_time": "1795309323.5"}}),
        lambda inner: orjson.dumps({"_raw": inner, "_time": 1795309323.5}),
        lambda inner: orjson.dumps({"time": 1795309323.5, "host": "h", "event": orjson.loads(inner)}),
        lambda inner: orjson.dumps({"_index": "x", "_source": orjson.loads(inner), "timestamp": 1795309323.5}),
        lambda inner: f"<134>1 2026-11-22T01:02:03.5Z host app 1 - - {inner}".encode(),
        lambda inner: f"2026-11-22T01:02:03.5+00:00 host app[1]: {inner}".encode(),
        lambda inner: f"2026-11-22T01:02:03.500Z stdout F {inner}".encode(),
        lambda inner: f"Nov 22 01:02:03.5 host app[1]: @cee: {inner}".encode(),
        lambda inner: orjson.dumps({"log": f"2026-11-22T01:02:03.5+00:00 host app: {inner}", "stream": "stderr"}),
    ],
)  # fmt: skip
def test_envelopes_are_unwrapped_and_lend_their_time(wrap: Any) -> None:
    assert read(JSON, wrap(ENVELOPED.decode())) == Record(
        {"src_ip": "10.0.0.1", "timestamp": 1795309323.5}, "toy"
    )


def test_the_time_of_the_record_wins_over_the_envelope() -> None:
    line = orjson.dumps({"log": '{"toy":1,"t":7}', "stream": "stdout", "time": "2026-11-22T01:02:03Z"})
    assert fields(JSON + "  timestamp: t\n", line)["timestamp"] == 7.0


def test_syslog_names_are_source_fields() -> None:
    text = JSON + "  sensor: {from: [syslog.host]}\n  process: syslog.program\n"
    assert fields(text, "Nov 22 01:02:03 fw1 app[1]: " + ENVELOPED.decode()) == {
        "src_ip": "10.0.0.1",
        "sensor": "fw1",
        "process": "app",
        "timestamp": 1795309323.0,
    }


def test_times_without_zone_or_year() -> None:
    text = JSON + "  timestamp: t\n"
    line = '{"toy":1,"t":"%s"}'
    plus2 = timezone(timedelta(hours=2))
    assert read(text, line % "2026-11-22 01:02:03", plus2).fields["timestamp"] == 1795309323.0 - 7200
    assert read(text, line % "2026-11-22T01:02:03Z", plus2).fields["timestamp"] == 1795309323.0
    assert fields(text, line % "Nov 22 01:02:03")["timestamp"] == 1795309323.0
    december = datetime(2025, 12, 24, 1, 2, 3, tzinfo=UTC).timestamp()
    assert fields(text, line % "Dec 24 01:02:03")["timestamp"] == december
    leap = datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC).timestamp()
    assert fields(text, line % "Feb 29 01:02:03")["timestamp"] == leap
    assert "timestamp" not in fields(text, line % "Feb 30 01:02:03")


HOSTILE: list[bytes] = [
    b"",
    b"\n",
    b"\x00",
    b"{",
    b"{}",
    b"[]",
    b'{"',
    b'{"toy":',
    b'{"toy":1,"a":' + b"[" * 10**6,
    b'{"toy":1,"a":' + b'{"a":' * 10**6,
    b'{"toy":1,"a":"' + b"x" * 10**6 + b'"}',
    b'{"toy":1,"a":' + b"9" * 10**5 + b"}",
    b'{"toy":1,"a":1e999,"b":-1e999,"c":NaN}',
    b'{"toy":1,"a":"\\ud800","b":"\\udfff\\ud800"}',
    b'{"toy":1,"a":"\xff\xfe\x00"}',
    b'{"toy":1,"a":null,"b":[],"c":{},"d":[[]],"e":[{}],"id":[[{"x":1}]]}',
    b"#fields",
    b"#Fields:",
    b"<999>",
    b"<1>1 ",
    b"<1>1 - - - - - [",
    b"CEF:0|",
    b"CEF:0|||||||=",
    b"LEEF:2.0|||||x|",
    b"LEEF:2.0|a|b|c|d|xFFFF|a=b",
    b'10.0.0.1 - - [] "' + b"\\" * 70001,
    b'"' * 65537,
    b"," * 65537,
    b"a=" * 65537,
    b"Nov 99 99:99:99 h p: x",
    b"9999-99-99T99:99:99Z h p: x",
    b"\xff" * 1000,
    b"x" * 10**6,
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_lines_never_raise(number: int) -> None:
    result = load_schemas().reader(UTC, LATEST).read(HOSTILE[number])
    assert result is None or isinstance(result, (Record, Header, Malformed))


def test_cut_and_deep_json_is_malformed() -> None:
    assert isinstance(read(JSON, b'{"toy":1,"a":"10.0'), Malformed)
    assert read(JSON, b'{"toy":1,"a":' + b"[" * 10**6) == Malformed("JSON nests too deeply")


def test_json_that_strict_parsers_refuse_is_still_read() -> None:
    text = JSON + "  user_agent: u\n"
    assert fields(text, b'{"toy":1,"a":"10.0.0.1","u":"\\ud800x"}')["user_agent"] == "\ufffdx"
    assert fields(text, b'{"toy":1,"u":"caf\xe9"}')["user_agent"] == "caf\xe9"
    assert fields(text, b'{"toy":1,"u":"a\tb"}')["user_agent"] == "a\tb"


def test_mutated_samples_never_raise() -> None:
    generator = random.Random(20261122)
    logs = sorted((Path(__file__).parent / "schemas").glob("*/*.log"))
    reader = load_schemas().reader(UTC, LATEST)
    for path in logs:
        for line in path.read_bytes().split(b"\n")[:6]:
            for _ in range(6):
                at = generator.randrange(len(line) + 1)
                noise = generator.choice(
                    [b"", b'"', b"\\", b"\x00", b"\xff", b"{", b"|", b"=", b"9" * 30, b"\t", b","]
                )
                reader.read(line[:at] + noise + line[at + generator.randrange(3) :])


TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20).filter(
    lambda text: text not in ("-", "(empty)") and text == text.strip()
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "timestamp": st.integers(10**9, 2 * 10**9).map(float),
    "src_ip": st.ip_addresses(v=4).map(str),
    "dst_ip": st.sampled_from(["169.254.169.254", "fd00:ec2::254"]),
    "src_port": st.integers(1, 65535),
    "src_mac": st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":")),
    "vlan": st.lists(st.integers(1, 4094), min_size=1, max_size=2, unique=True).map(tuple),
    "user_agent": TEXT,
    "host": TEXT,
    "method": st.sampled_from(["GET", "PUT"]),
    "status": st.integers(100, 599),
    "answered": st.booleans(),
    "dns_answer": st.lists(st.sampled_from(["a.example", "169.254.169.254"]), min_size=1, unique=True).map(
        tuple
    ),
    "action": st.sampled_from(["allow", "deny"]),
}
EVENTS = st.fixed_dictionaries({}, optional=VALUES).filter(bool)
FIELD_MAP = "fields:\n" + "".join(
    f"  {name}: {name if name != 'action' else '{from: act, map: {pass: allow, block: deny}}'}\n"
    for name in VALUES
)
MAPPED = ", ".join(name if name != "action" else "act" for name in VALUES)
TOYS = {
    "json": "layout: {kind: json, defaults: {toy: x}}\nrecognise: {keys: [toy]}\n",
    "csv": f"layout: {{kind: delimited, quote: '\"', columns: [toy, {MAPPED}], defaults: {{toy: TOY}}}}\n"
    "recognise: {regex: '^\"?TOY'}\n",
    "tsv": 'layout: {kind: delimited, separator: "\\t", header: "#fields"}\nrecognise: {columns: [src_ip, host]}\n',
    "keyvalue": "layout: {kind: keyvalue, defaults: {toy: TOY}}\nrecognise: {regex: 'toy=\"?TOY'}\n",
    "cef": "layout: {kind: cef}\nrecognise: {regex: '^CEF:'}\n",
    "leef": "layout: {kind: leef}\nrecognise: {regex: '^LEEF:'}\n",
}


@pytest.mark.parametrize("kind", TOYS)
@settings(max_examples=150, deadline=None)
@given(event=EVENTS)
def test_reading_what_was_written_gives_the_event_back(kind: str, event: dict[str, Any]) -> None:
    loaded = schemas(HEAD + TOYS[kind] + FIELD_MAP)
    reader = loaded.reader(UTC, 2.1e9)
    lines = loaded["toy"].write(event)
    result = [reader.read(line) for line in lines][-1]
    assert isinstance(result, Record), lines
    assert {name: result.fields.get(name) for name in event} == event, lines


@pytest.mark.parametrize("name", load_schemas().names)
def test_what_a_schema_carries_comes_back(name: str) -> None:
    loaded = load_schemas()
    schema = loaded[name]
    lines = schema.write(SAMPLE)
    assert lines[: len(schema.header())] == schema.header()
    result = [loaded.reader(UTC, SAMPLE["timestamp"] + 1).read(line) for line in lines][-1]
    if name != "unknown" and not schema.header():
        assert isinstance(result, Record), lines
    mapped = {spec.name for spec in schema.all_fields()}
    carried = {field for field in FIELDS if schema.carries(field)}
    assert carried & mapped
    assert carried <= mapped | {name for base in schema.bases for name, _ in base.form.fields.constants}


def test_explain_is_plain_data() -> None:
    told = load_schemas()["zeek_http"].explain()
    assert told["fields"]["dst_ip"][0] == "id.resp_h"
    assert "nat_dst" in told["cannot"]
    orjson.dumps(told)
