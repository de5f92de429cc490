"""Each sink writes what it promises, byte for byte.

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

import orjson
import pytest

from imdswatch.errors import UsageError
from imdswatch.finding import Skipped, Summary
from imdswatch.report import escape, ndjson, open_sink
from imdswatch.report.headline import size
from report_cases import SKIPPED, SUMMARY, findings, make, written

GOLDEN = Path(__file__).parent / "golden" / "report"

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
    assert list(document["victim"]) == ["ip", "mac", "port", "vlan", "host", "user_agent", "client"]
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


def test_the_quick_way_writes_what_the_slow_way_writes() -> None:
    plain = [
        replace(one, evidence=tuple(replace(e, excerpt=e.excerpt.replace("→", "->")) for e in one.evidence))
        for one in findings()
    ]
    quick = [(ndjson._quick_line(one), one) for one in plain]
    assert sum(line is not None for line, _ in quick) >= 3, "the quick way is for ordinary findings"
    for line, one in quick:
        if line is not None:
            assert line == escape.json_line(orjson.dumps(ndjson.finding_document(one)).decode()) + "\n"
