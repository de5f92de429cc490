"""Each sink writes what it promises, byte for byte, and stays harmless whatever an attacker wrote into a log.

Golden files are in `golden/report`; `IMDSWATCH_GOLDEN=1 pytest tests/test_report.py` writes them anew.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from imdswatch.errors import UsageError
from imdswatch.finding import (
    CONFIDENCES,
    SEVERITIES,
    STAGES,
    Evidence,
    Finding,
    Skipped,
    Summary,
    fingerprint,
)
from imdswatch.report import escape, open_sink
from imdswatch.report.csv import COLUMNS
from imdswatch.report.headline import size

GOLDEN = Path(__file__).parent / "golden" / "report"
HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\u061c\xad\ud800-\udfff]"
)
ASK_NOBODY = (
    "Nobody answered, so nothing was lost. Tell the AWS tools on this host not to ask: set "
    "AWS_EC2_METADATA_DISABLED=true or give them credentials; `imdswatch harden` does it."
)
FIND_IMPOSTOR = (
    "Find the machine that answers: look its MAC address up in the switches' tables, or follow the NAT rule. "
    "Cut it off, then see what else it answered to."
)


def make(asker: str | None = "10.0.1.5", endpoint: str = "169.254.169.254", **changes: object) -> Finding:
    finding = Finding(
        rule="imds-contact",
        rules={"imds-contact": 1},
        title="A host contacts the instance metadata endpoint",
        stage="attempted",
        severity="low",
        confidence="medium",
        first_seen=1795309200.0,
        last_seen=1795309200.0,
        count=1,
        victim={"ip": asker} if asker else {},
        responder={"ip": endpoint},
        responders=(),
        request={},
        account={},
        evidence=(Evidence("conn.log", "line 9", f"{asker or '-'} → {endpoint}:80 S0"),),
        cause="misconfiguration",
        attack=("T1557",),
        suppressed_by=None,
        remedy=ASK_NOBODY,
        fingerprint=fingerprint(asker, endpoint),
    )
    return replace(finding, **changes)  # type: ignore[arg-type]


def findings() -> list[Finding]:
    """Return one finding of every sort a sink must show well, mildest first."""
    return [
        make("10.0.3.77", count=9_007_199_254_740_993, last_seen=1795395599.5, confidence="high"),
        make(
            None,
            rule="imds-name-lookup",
            title="A host looks up the name of the endpoint",
            first_seen=None,
            last_seen=None,
        ),
        make("10.20.0.4", suppressed_by="openstack-lab"),
        make("10.20.0.5", suppressed_by="openstack-lab", stage="requested"),
        make("198.51.100.7", suppressed_by="on_premises"),
        make(
            "2001:db8:85a3:8d3:1319:8a2e:370:7348",
            "fd00:ec2::254",
            rule="imds-token-request",
            rules={"imds-contact": 4, "imds-token-request": 2},
            title="A host asks for an IMDSv2 token",
            stage="requested",
            severity="medium",
            count=6,
            victim={
                "ip": "2001:db8:85a3:8d3:1319:8a2e:370:7348",
                "vlan": (120, 30),
                "user_agent": "aws-sdk-go/1.44.0 (go1.20; linux; amd64)",
                "process": "/usr/bin/amazon-ssm-agent",
            },
            request={"method": "PUT", "host": "[fd00:ec2::254]", "path": "/latest/api/token"},
        ),
        make(
            "10.0.2.9",
            "10.9.8.7:1338",
            rule="imds-answered",
            rules={"imds-answered": 12, "imds-request": 12},
            title="Something answered at the endpoint",
            stage="answered",
            severity="high",
            confidence="high",
            count=12,
            responder={"ip": "10.9.8.7", "mac": "02:00:00:00:09:87", "ttl": 63},
            responders=({"mac": "02:00:00:00:09:88"},),
            request={
                "method": "GET",
                "host": "10.9.8.7:1338",
                "path": "/latest/meta-data/instance-id",
                "status": 404,
            },
            evidence=tuple(
                Evidence("/var/log/zeek/2026-11-22/http.log.gz", f"line {n}", "") for n in range(812, 824)
            ),
            cause="impersonation",
            remedy=FIND_IMPOSTOR,
        ),
        make(
            "10.66.6.6",
            rule="imds-answered",
            title="Something answered \x1b[31mat the endpoint",
            stage="answered",
            severity="high",
            victim={
                "ip": "10.66.6.6",
                "host": "\x1b]0;owned\x07[bold red]evil\u202egnp.exe\r\n[/]",
                "user_agent": "=cmd|' /C calc'!A0,\"quoted\",\n\ttail",
            },
            request={
                "method": "GET",
                "path": "/latest/meta-data/%1b[2J\x9b2J/[link=https://example.com]x[/link]/" + "A" * 90,
                "status": 200,
            },
            evidence=(
                Evidence(
                    "logs/\udc80\u200b.json", "line 3", '{"uri":"\x1b[2J\udfff","x":"' + "B" * 600 + '"}'
                ),
            ),
            remedy=FIND_IMPOSTOR,
        ),
        make(
            rule="imds-unexpected-account",
            rules={"imds-contact": 3, "imds-credentials-served": 1, "imds-unexpected-account": 1},
            title="Credentials of an unexpected account were served",
            stage="credentials-served",
            severity="critical",
            confidence="high",
            last_seen=1795309204.25,
            count=3,
            victim={
                "ip": "10.0.1.5",
                "mac": "02:00:00:00:01:05",
                "port": 40112,
                "vlan": (210,),
                "host": "build-7.corp.example",
                "user_agent": "Boto3/1.34.0 Botocore/1.34.0",
            },
            responder={"ip": "169.254.169.254", "mac": "02:00:00:00:66:01", "nat_ip": "10.9.9.9", "ttl": 64},
            request={
                "method": "GET",
                "host": "169.254.169.254",
                "path": "/latest/meta-data/iam/security-credentials/role",
                "status": 200,
            },
            account={
                "id": "029608264753",
                "expected": False,
                "from": "access-key-id",
                "access_key_id": "ASIAQNZGEXAMPLEAAAAA",
                "role": "role",
            },
            evidence=(
                Evidence(
                    "span.pcap", "packet 41", '{"Code":"Success","AccessKeyId":"ASIAQNZGEXAMPLEAAAAA",…}'
                ),
                Evidence("http.log", "line 812", "GET /latest/meta-data/iam/security-credentials/role 200"),
            ),
            cause="impersonation",
            attack=("T1552.005", "T1557"),
            remedy="Take the host off the network. Its AWS tools may have worked in account 029608264753, which "
            "is not yours: treat what they uploaded as disclosed.\n" + FIND_IMPOSTOR,
        ),
    ]


SKIPPED = [
    Skipped("x.pcap", "byte 8812", "capture is cut short in packet 41"),
    Skipped("logs/\x1b[1mold\n.gz", "", "not a gzip file"),
]
SUMMARY = Summary(
    sources=12,
    bytes=1_234_567_890,
    records=48_211,
    findings=6,
    suppressed=3,
    skipped=2,
    ignored=3,
    seconds=3.42,
    notes=("rule my-rule has no literal: every record was parsed",),
)


def written(
    format: str,
    findings: list[Finding],
    skipped: list[Skipped] | None = None,
    summary: Summary = SUMMARY,
    *,
    color: bool = False,
    show_suppressed: bool = False,
    width: int | None = None,
) -> str:
    handle = io.StringIO(newline="")
    sink = open_sink(format, handle, color=color, show_suppressed=show_suppressed, width=width)
    for finding in findings:
        sink.finding(finding)
    for place in skipped or []:
        sink.skipped(place)
    sink.close(summary)
    return handle.getvalue()


# Golden files

RESULTS = {
    "findings.ndjson": {"format": "ndjson", "show_suppressed": True},
    "findings.csv": {"format": "csv", "show_suppressed": True},
    "unsuppressed.ndjson": {"format": "ndjson"},
    "unsuppressed.csv": {"format": "csv"},
    "findings.txt": {"format": "text"},
    "findings-narrow.txt": {"format": "text", "width": 80},
    "findings-wide.txt": {"format": "text", "width": 180},
    "findings-suppressed-shown.txt": {"format": "text", "show_suppressed": True},
    "findings-color.txt": {"format": "text", "color": True},
}
NOTHING = {
    "clean.txt": (Summary(sources=1, bytes=999, records=1, seconds=0.04), []),
    "clean-incomplete.txt": (replace(SUMMARY, findings=0, suppressed=0, notes=()), SKIPPED),
    "nothing-read.txt": (Summary(sources=1), []),
    "nothing-readable.txt": (Summary(sources=1, skipped=1), SKIPPED[:1]),
    "no-source.txt": (Summary(), []),
}


def check(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("IMDSWATCH_GOLDEN"):
        path.write_bytes(text.encode())
    assert text == path.read_bytes().decode(), f"{path} differs; IMDSWATCH_GOLDEN=1 writes it anew"


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_written_as_in_the_golden_file(name: str) -> None:
    options = dict(RESULTS[name])
    check(name, written(str(options.pop("format")), findings(), SKIPPED, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_found_is_three_different_sentences(name: str) -> None:
    summary, skipped = NOTHING[name]
    check(name, written("text", [], skipped, summary))


def test_only_suppressed_findings_are_nothing_to_act_on() -> None:
    suppressed = [finding for finding in findings() if finding.suppressed_by]
    check("only-suppressed.txt", written("text", suppressed, [], replace(SUMMARY, skipped=0)))


# Each format


def test_ndjson_keeps_the_order_of_keys_and_leaves_out_what_is_unknown() -> None:
    first, *_ = written("ndjson", findings()[-1:]).splitlines()
    document = json.loads(first)
    assert ",".join(document) == (
        "format,type,rule,rules,title,stage,severity,confidence,first_seen,last_seen,count,victim,responder,"
        "request,account,evidence,cause,attack,suppressed_by,remedy,fingerprint"
    )
    assert document["first_seen"] == "2026-11-22T01:00:00.000000Z"
    assert document["suppressed_by"] is None
    assert list(document["victim"]) == ["ip", "mac", "port", "vlan", "host", "user_agent"]
    assert document["victim"]["vlan"] == [210]

    bare = make(None, responder={}, remedy="", attack=(), evidence=(), first_seen=math.nan, last_seen=1e300)
    document = json.loads(written("ndjson", [bare]).splitlines()[0])
    assert set(document) == {
        "format",
        "type",
        "rule",
        "rules",
        "title",
        "stage",
        "severity",
        "confidence",
        "count",
    } | {
        "cause",
        "suppressed_by",
        "fingerprint",
    }


def test_ndjson_returns_every_text_exactly() -> None:
    text = "".join(map(chr, range(0xD800))) + "".join(map(chr, range(0xE000, 0x110000, 7)))
    [line, _] = written("ndjson", [make(title=text)]).split("\n")[:2]
    assert json.loads(line)["title"] == text


def test_ndjson_has_neither_floats_nor_integers_that_readers_refuse() -> None:
    finding = make(
        victim={"ip": "10.0.0.1", "a": 1.5, "b": 2.0, "c": math.inf, "d": 1 << 64, "e": None, "f": [{}]}
    )
    document = json.loads(written("ndjson", [finding]).splitlines()[0])
    assert document["victim"] == {"ip": "10.0.0.1", "a": "1.5", "b": 2, "d": str(1 << 64)}


def test_a_lone_surrogate_is_replaced_and_a_pair_is_joined() -> None:
    assert escape.encodable("a\ud800b\ud83d\ude00\udc80") == "a\ufffdb😀\ufffd"


@pytest.mark.parametrize("format", ["ndjson", "csv"])
def test_suppressed_findings_are_listed_only_on_request(format: str) -> None:
    assert "openstack-lab" not in written(format, findings())
    assert "openstack-lab" in written(format, findings(), show_suppressed=True)


@pytest.mark.parametrize("format", ["ndjson", "csv"])
def test_machine_formats_write_each_result_at_once(format: str) -> None:
    handle = io.StringIO()
    sink = open_sink(format, handle, color=False, show_suppressed=False, width=None)
    lengths = [len(handle.getvalue())]
    for finding in findings()[-3:]:
        sink.finding(finding)
        lengths.append(len(handle.getvalue()))
    assert lengths == sorted(set(lengths))


@pytest.mark.parametrize("sign", [*"=+-@\t\r\n＝＋－＠", "  =", "\u00a0@"])
def test_a_csv_cell_is_never_a_formula(sign: str) -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv", [make(title=f"{sign}1+1")]), newline="")))
    assert rows[0]["title"].startswith("'")


def test_csv_ends_in_what_was_looked_at() -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv", [], SKIPPED), newline="")))
    assert [row["type"] for row in rows] == ["skipped", "skipped", "summary"]
    assert rows[-1]["reason"] == (
        "sources=12 bytes=1234567890 records=48211 findings=6 suppressed=3 skipped=2 ignored=3 "
        "seconds=3.420; rule my-rule has no literal: every record was parsed"
    )


def test_text_lists_the_worst_thousand_and_says_how_many_more() -> None:
    mild = (make(f"10.1.{n >> 8}.{n & 255}", count=n + 1) for n in range(1500))
    worst = make("10.9.9.9", stage="answered", severity="high")
    text = written("text", [*mild, worst])
    table = text.partition("What to do next")[0]
    assert re.findall(r"^ *(\d+)  \w", table, re.M) == [str(n) for n in range(1, 1001)]
    assert "… and 501 more findings that this page does not list; --format ndjson has all." in text
    assert "1,500 hosts only tried to connect" in text
    assert table.index("10.9.9.9") < table.index("10.1.5.219") < table.index("10.1.1.246")
    assert "10.1.1.244 " not in table


def test_text_names_twenty_skipped_places_and_counts_the_rest() -> None:
    text = written("text", [], [Skipped(f"f{n}", "", "broken") for n in range(25)])
    assert "Could not be looked at: 25 places." in text
    assert "f19: broken" in text
    assert "f20: broken" not in text
    assert "… and 5 more places; --format ndjson has all." in text


def test_text_cuts_a_long_value_only_with_a_word_about_it() -> None:
    long = make(request={"method": "GET", "path": "/" + "x" * 5000}, stage="requested")
    assert "4,701 more characters" in " ".join(written("text", [long], width=200).split())


def test_text_suits_a_handle_that_is_not_utf8() -> None:
    raw = io.BytesIO()
    handle = io.TextIOWrapper(raw, encoding="ascii", newline="")
    sink = open_sink("text", handle, color=False, show_suppressed=False, width=None)
    sink.finding(make())
    sink.close(SUMMARY)
    handle.flush()
    assert b"\\u2192" in raw.getvalue()


def test_text_order_does_not_depend_on_the_order_of_findings() -> None:
    everything = findings()
    assert (
        written("text", everything).partition("What")[0]
        == written("text", everything[::-1]).partition("What")[0]
    )


def test_an_unknown_format_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="there is no output format 'xml'"):
        open_sink("xml", io.StringIO(), color=False, show_suppressed=False, width=None)


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.00 kB"),
        (999_600, "1.00 MB"),
        (12_345_678, "12.3 MB"),
        (999 * 10**12, "999 TB"),
        (5 * 10**18, "5,000 PB"),
    ],
)
def test_sizes_have_three_digits(octets: int, said: str) -> None:
    assert size(octets) == said


def test_importing_the_package_does_not_import_rich() -> None:
    code = (
        "import sys, io, imdswatch.report as r, imdswatch.finding as f\n"
        "for name in ('ndjson', 'csv'):\n"
        "    sink = r.open_sink(name, io.StringIO(), color=False, show_suppressed=False, width=None)\n"
        "    sink.close(f.Summary())\n"
        "r.open_sink('text', io.StringIO(), color=False, show_suppressed=False, width=None)\n"
        "sys.exit('rich' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Whatever an attacker writes

HOSTILE = st.text(
    st.one_of(
        st.characters(exclude_categories=()),
        st.sampled_from(
            "\x00\x07\x08\t\n\v\f\r\x1b\x7f\x85\x9b\u200b\u2028\u202e\u2066\ufeff\ud800\udc80\U000e0041=+-@,;'\"\\[]/"
        ),
    ),
    max_size=30,
)
VALUES = st.one_of(
    HOSTILE, st.integers(), st.none(), st.booleans(), st.lists(HOSTILE, max_size=3), st.floats()
)


def part(*keys: str) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(st.one_of(st.sampled_from(keys), HOSTILE), VALUES, max_size=6)


HOSTILE_SKIPPED = st.builds(Skipped, HOSTILE, HOSTILE, HOSTILE)
HOSTILE_SUMMARY = st.builds(
    Summary,
    sources=st.integers(0),
    bytes=st.integers(0, 1 << 80),
    records=st.integers(0),
    seconds=st.floats(),
    notes=st.lists(HOSTILE, max_size=2).map(tuple),
)
HOSTILE_FINDING = st.builds(
    Finding,
    rule=HOSTILE,
    rules=st.dictionaries(HOSTILE, st.integers(), max_size=3),
    title=HOSTILE,
    stage=st.sampled_from(STAGES),
    severity=st.sampled_from(SEVERITIES),
    confidence=st.sampled_from(CONFIDENCES),
    first_seen=st.none() | st.floats(),
    last_seen=st.none() | st.floats(),
    count=st.integers(0),
    victim=part("ip", "mac", "port", "vlan", "host", "process", "user_agent"),
    responder=part("ip", "mac", "nat_ip", "ttl"),
    responders=st.lists(part("ip", "mac"), max_size=2).map(tuple),
    request=part("method", "host", "path", "status"),
    account=part("id", "expected", "from", "access_key_id", "role"),
    evidence=st.lists(st.builds(Evidence, HOSTILE, HOSTILE, HOSTILE), max_size=4).map(tuple),
    cause=HOSTILE,
    attack=st.lists(HOSTILE, max_size=2).map(tuple),
    suppressed_by=st.none() | HOSTILE,
    remedy=HOSTILE,
    fingerprint=HOSTILE,
)
RUN = (
    st.lists(HOSTILE_FINDING, max_size=3),
    st.lists(HOSTILE_SKIPPED, max_size=2),
    HOSTILE_SUMMARY,
    st.booleans(),
)


@settings(deadline=None)
@given(*RUN)
def test_ndjson_stays_one_harmless_document_a_line(
    found: list[Finding], skipped: list[Skipped], summary: Summary, shown: bool
) -> None:
    text = written("ndjson", found, skipped, summary, show_suppressed=shown)
    text.encode()
    lines = text.split("\n")
    listed = [finding for finding in found if shown or finding.suppressed_by is None]
    assert lines.pop() == ""
    assert not any(HIDDEN.search(line) for line in lines)
    documents = [json.loads(line, parse_float=pytest.fail, parse_constant=pytest.fail) for line in lines]
    assert [document["type"] for document in documents] == (
        ["finding"] * len(listed) + ["skipped"] * len(skipped) + ["summary"]
    )


@settings(deadline=None)
@given(*RUN)
def test_csv_stays_a_table_of_harmless_cells(
    found: list[Finding], skipped: list[Skipped], summary: Summary, shown: bool
) -> None:
    text = written("csv", found, skipped, summary, show_suppressed=shown)
    text.encode()
    assert not HIDDEN.search(text.replace("\r\n", ""))
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    listed = [finding for finding in found if shown or finding.suppressed_by is None]
    assert len(rows) == 1 + len(listed) + len(skipped) + 1 == text.count("\r\n")
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert not any(cell.startswith(tuple("=+-@＝＋－＠")) for row in rows for cell in row)


@settings(deadline=None)
@given(*RUN, st.integers(1, 250))
def test_text_has_no_control_byte_and_keeps_to_its_width(
    found: list[Finding], skipped: list[Skipped], summary: Summary, shown: bool, width: int
) -> None:
    text = written("text", found, skipped, summary, show_suppressed=shown, width=width)
    text.encode()
    assert text.endswith("\n")
    assert not HIDDEN.search(text.replace("\n", ""))
    assert max(map(cell_len, text.split("\n"))) <= max(width, 80)


@settings(deadline=None)
@given(*RUN)
def test_color_adds_nothing_but_colors(
    found: list[Finding], skipped: list[Skipped], summary: Summary, shown: bool
) -> None:
    plain = written("text", found, skipped, summary, show_suppressed=shown)
    color = written("text", found, skipped, summary, show_suppressed=shown, color=True)
    bare = re.sub(r"\x1b\[[0-9;]*m", "", color)
    assert "\x1b" not in bare
    assert [line.rstrip() for line in bare.splitlines()] == plain.splitlines()
