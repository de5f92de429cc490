"""What probe, audit, harden and lab say, in the formats with types: golden files, valid whatever stands in a line."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ecs_fields
import ocsf_classes
from imdswatch.finding import Summary
from imdswatch.report import clock, ecs, ocsf, open_sink
from imdswatch.report.csv import COLUMNS
from imdswatch.report.readback import Unreadable, result
from imdswatch.report.statement import Statement
from imdswatch.verdict import Verdict
from test_report import check
from test_report_beside import AUDITED, CELL, CHECK, EDIT, NOTE, PLAYED, PLAYED_WELL, VERDICT
from test_report_command import JSON
from test_report_hostile import HIDDEN

JUDGES = {"ocsf": ocsf_classes.faults, "ecs": ecs_fields.faults}
COMMAND = {
    "format": "imdswatch/1",
    "type": "command",
    "host": "web-1",
    "slug": "block",
    "words": ["nft", "-f", "x"],
}
LINES: list[dict[str, Any]] = [
    VERDICT,
    CELL,
    CELL | {"state": "asks-only-when", "when": "the profile is gone", "tool": "boto3"},
    CHECK,
    AUDITED | {"states": {"asks": 1, "asks-only-when": 1}},
    EDIT,
    COMMAND | {"state": "applied"},
    NOTE,
    PLAYED,
    PLAYED_WELL,
]


@pytest.fixture(autouse=True)
def _fixed_clock_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: 1795350000.0)
    monkeypatch.setattr(ocsf, "__version__", "0.0")
    monkeypatch.setattr(ecs, "__version__", "0.0")


def written(form: str, documents: list[dict[str, Any]]) -> str:
    handle = io.StringIO(newline="")
    sink: Any = open_sink(form, handle, color=False, show_suppressed=False, width=None)
    for document in documents:
        match result(json.dumps(document).encode()):
            case Verdict() as verdict:
                sink.verdict(verdict)
            case Statement() as statement:
                sink.statement(statement)
            case other:
                pytest.fail(f"{document['type']} became {other}")
    sink.close(Summary(sources=1, records=len(documents)))
    return handle.getvalue()


@pytest.mark.parametrize("form", ["csv", "ocsf", "ecs", "text", "html"])
def test_what_commands_say_is_written_as_in_the_golden_file(form: str) -> None:
    text = written(form, LINES)
    if form == "html":  # the style and the script stand in files of their own
        text = text.partition("<main>")[2].partition("</main>")[0]
    check(f"beside.{ {'ocsf': 'ocsf.ndjson', 'ecs': 'ecs.ndjson', 'text': 'txt'}.get(form, form) }", text)


@pytest.mark.parametrize("form", JUDGES)
def test_every_line_is_valid_by_the_published_schema(form: str) -> None:
    for line in written(form, LINES).splitlines():
        assert JUDGES[form](json.loads(line)) == [], line


@pytest.mark.parametrize("version", ["1.7.0", "1.8.0"])
def test_a_compliance_finding_stays_valid_in_later_versions_of_ocsf(version: str) -> None:
    for line in written("ocsf", LINES).splitlines():
        event = json.loads(line)
        event["metadata"]["version"] = version
        assert ocsf_classes.faults(event, version) == []


NAMES = sorted({name for one in LINES for name in one} - {"format", "type"})


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([one for one in LINES if one["type"] != "verdict"]),
    st.dictionaries(
        st.sampled_from(NAMES), JSON | st.text(st.characters(codec="utf-8"), max_size=12), max_size=4
    ),
)
def test_whatever_a_line_holds_what_is_written_is_valid_and_harmless(
    base: dict[str, Any], values: dict[str, Any]
) -> None:
    try:
        if not isinstance(result(json.dumps(base | values).encode()), Statement):
            return  # the summary of another command
    except Unreadable:
        return
    for form, faults in JUDGES.items():
        for line in written(form, [base | values]).split("\n")[:-1]:
            assert not HIDDEN.search(line)
            assert faults(json.loads(line, parse_constant=pytest.fail)) == [], line
    for form in ("text", "html"):
        assert not HIDDEN.search(written(form, [base | values]).replace("\n", ""))
    rows = list(csv.reader(io.StringIO(written("csv", [base | values]), newline="")))
    assert [len(row) for row in rows] == [len(COLUMNS)] * 3


def test_the_same_thing_keeps_its_identity_however_it_stands() -> None:
    """A tool that asked and asks no more is the same Compliance Finding, of another status."""
    first, second, *_ = (
        json.loads(one) for one in written("ocsf", [CELL, CELL | {"state": "protected"}]).splitlines()
    )
    assert first["finding_info"]["uid"] == second["finding_info"]["uid"]
    assert (first["compliance"]["status"], second["compliance"]["status"]) == ("Fail", "Pass")
    assert (first["class_uid"], first["compliance"]["standards"]) == (2003, ["AWS-2025-021"])
