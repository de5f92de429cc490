"""Whatever an attacker wrote into a log, no sink lets it through, and no sink's format breaks."""

from __future__ import annotations

import csv
import io
import json
import re

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from imdswatch.finding import CONFIDENCES, SEVERITIES, STAGES, Evidence, Finding, Skipped, Summary
from imdswatch.report import escape, ndjson
from imdswatch.report.csv import COLUMNS
from report_cases import written

HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\u061c\xad\ud800-\udfff]"
)
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
    documents = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert all(
        name == "seconds" or not isinstance(value, float) for one in documents for name, value in one.items()
    )
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


@given(HOSTILE_FINDING)
def test_the_quick_way_gives_up_or_writes_what_the_slow_way_writes(one: Finding) -> None:
    line = ndjson._quick_line(one)
    if line is not None:
        assert line == escape.json_line(orjson.dumps(ndjson.finding_document(one)).decode()) + "\n"
