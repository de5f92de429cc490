"""`imdswatch report` of what probe and audit wrote: shown in the page, counted for the exit code, never lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commandline import run
from imdswatch.cli import invoke
from imdswatch.finding import Summary
from report_cases import findings, written
from test_html import Page
from test_report_command import report

VERDICT = {
    "format": "imdswatch/1",
    "type": "verdict",
    "endpoint": "169.254.169.254",
    "interface": "eth0",
    "verdict": "impostor",
    "responder": {"ip": "169.254.169.254", "mac": "02:00:5e:00:53:01"},
    "account": {"id": "123456789012", "expected": False},
    "reasons": [{"slug": "dmi", "speaks_for": "impostor", "text": "the firmware says Dell"}],
    "advice": "take it off the net",
}
CELL = {
    "format": "imdswatch/1",
    "type": "cell",
    "host": "web-1",
    "tool": "aws-cli",
    "version": "2.1",
    "family": "AWS CLI v2",
    "context": "session",
    "user": "deploy",
    "state": "asks",
    "why": "nothing keeps it <from> asking",
    "evidence": [{"source": "/etc/environment", "position": "line 3", "excerpt": "AWS_PROFILE=x"}],
    "change": {
        "slug": "environment",
        "path": "/etc/environment",
        "text": "set AWS_EC2_METADATA_DISABLED=true",
    },
}
CHECK = {
    "format": "imdswatch/1",
    "type": "check",
    "host": "web-1",
    "slug": "no-network-block",
    "title": "No network block",
    "level": "warning",
    "why": "nothing drops 169.254.169.254",
}
AUDITED = {
    "format": "imdswatch/1",
    "type": "summary",
    "host": "web-1",
    "command": "audit",
    "root": "/",
    "machine": "not-ec2",
    "states": {},
    "tools": 1,
    "checks": 1,
    "skipped": 0,
    "seconds": 0.1,
}


def lines(folder: Path, name: str, *documents: dict[str, Any]) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(one) + "\n" for one in documents), encoding="utf-8")
    return path


def test_verdicts_and_audits_stand_in_the_page(tmp_path: Path) -> None:
    probe = lines(tmp_path, "p", VERDICT, VERDICT, END)
    safe = CELL | {"host": "web-2", "state": "protected", "why": "AWS_EC2_METADATA_DISABLED=true"}
    audit = lines(
        tmp_path,
        "a",
        CELL,
        CELL | {"user": "root", "tool": "boto3"},
        CHECK,
        AUDITED,
        safe,
        AUDITED | {"host": "web-2"},
    )
    done = run(tmp_path, "report", probe, audit)
    assert done.code == 1, "a tool that asks counts"
    text = " ".join(" ".join(Page(done.out).texts).split())
    assert text.count("169.254.169.254 over eth0 impostor") == 1
    for words in (
        "2 hosts audited; 1 host with tools that ask.",
        "web-1 no EC2 instance 2 asks",
        "web-2 no EC2 instance 1 protected",
        "aws-cli 2.1, boto3 2.1 , in session of deploy, session of root",
        "nothing keeps it <from> asking",
        "/etc/environment line 3 AWS_PROFILE=x",
        "Change: set AWS_EC2_METADATA_DISABLED=true",
        "warning No network block",
    ):
        assert words in text, words


def test_of_each_host_the_last_audit_counts(tmp_path: Path) -> None:
    before = lines(tmp_path, "1", CELL, AUDITED)
    after = lines(tmp_path, "2", CELL | {"state": "protected"}, AUDITED)
    assert report(tmp_path, after, before).code == 1
    done = report(tmp_path, before, after)
    assert done.code == 0
    assert [one["state"] for one in done.of("cell")] == ["protected"]
    assert report(tmp_path, lines(tmp_path, "3", CELL | {"state": "unknown"}, AUDITED)).code == 3


def test_beyond_what_a_report_holds_the_summaries_of_audits_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imdswatch.report.join.STATEMENTS", 3)
    cells = [CELL | {"state": "protected", "tool": f"t{n}"} for n in range(5)]
    path = lines(tmp_path, "x", *cells, CELL, AUDITED | {"states": {"protected": 5, "asks": 1}})
    page = tmp_path / "page.html"
    assert invoke(["report", str(path), "-o", str(page)]) == 1
    text = " ".join(" ".join(Page(page.read_text(encoding="utf-8")).texts).split())
    assert "AWS tools on 1 host would ask an impostor." in text
    assert "3 more lines of audit, harden and lab than a report holds" in text


EDIT = {
    "format": "imdswatch/1",
    "type": "edit",
    "host": "web-1",
    "slugs": ["environment"],
    "path": "/etc/environment",
    "action": "change",
    "state": "needed",
    "diff": "--- a/etc/environment\n+++ b/etc/environment\n@@ -0,0 +1 @@\n+AWS_EC2_METADATA_DISABLED=<true>\n",
}
NOTE = {"format": "imdswatch/1", "type": "note", "host": "web-1", "slug": "environment", "text": "restart it"}
LEFT = {
    "format": "imdswatch/1",
    "type": "left",
    "host": "web-1",
    "slug": "disable-in-container",
    "path": "/srv/compose.yml",
    "text": "Set it in the compose file",
    "reason": "a container keeps what it was made with",
    "cells": ["any-sdk (container web / root)"],
}
END = {"format": "imdswatch/1", "type": "summary", "sources": 1, "bytes": 5, "records": 1, "seconds": 0.5}
ALARM = {
    "victim": "10.20.1.10",
    "endpoint": "169.254.169.254",
    "expected": "credentials-served",
    "seen": "answered",
}
PLAYED = {
    "format": "imdswatch-lab/1",
    "type": "performance",
    "scenario": "routed-rogue",
    "client": "boto3",
    "version": "1.44.5",
    "result": "failed",
    "alarms": [ALARM | {"wrong": ["stage answered, not credentials-served"]}],
    "wrong": [],
}
PLAYED_WELL = PLAYED | {
    "result": "passed",
    "client": "probe",
    "alarms": [ALARM | {"seen": "credentials-served"}],
}
LAB_END = {
    "format": "imdswatch-lab/1",
    "type": "summary",
    "passed": 1,
    "failed": 1,
    "skipped": 0,
    "seconds": 1.5,
}


def told(folder: Path, *words: object) -> tuple[int, str]:
    """Report in this process; return exit code and output."""
    code = invoke(["report", *map(str, words), "-o", str(folder / "told")])
    return code, (folder / "told").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["text", "html", "csv", "ocsf", "ecs", "ndjson"])
def test_every_format_shows_what_probe_audit_harden_and_lab_said(tmp_path: Path, form: str) -> None:
    path = lines(tmp_path, "a", VERDICT, CELL, AUDITED, EDIT, NOTE, LEFT, END)
    lab = lines(tmp_path, "b", PLAYED, LAB_END)
    code, out = told(tmp_path, path, lab, "--format", form)
    assert code == 1
    for words in (
        "impostor",
        "nothing keeps it",
        "/etc/environment",
        "restart it",
        "a container keeps what it was made with",
        "routed-rogue",
        "not credentials-served",
    ):
        assert words in " ".join(out.split()), words


def test_a_hardening_and_a_rehearsal_have_sections_of_their_own(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "report",
        lines(tmp_path, "a", EDIT, NOTE, END),
        lines(tmp_path, "b", PLAYED, PLAYED_WELL, LAB_END),
    )
    assert done.code == 1
    text = " ".join(" ".join(Page(done.out).texts).split())
    for words in (
        "FAILED: 1 rehearsal failed: an alarm is missing, or false.",
        "Changes are needed on 1 host.",
        "1 host checked by harden. 2 rehearsals played.",
        "1 host; changes are needed on 1.",
        "web-1 1 needed",
        "needed change /etc/environment environment",
        "+AWS_EC2_METADATA_DISABLED=<true>",
        "environment restart it",
        "2 rehearsals of the lab: 1 passed, 1 failed.",
        "scenario boto3 probe routed-rogue failed passed",
        "failed routed-rogue boto3 1.44.5 credentials-served answered credentials-served at 169.254.169.254: stage",
    ):
        assert words in text, words


def test_of_each_file_and_each_rehearsal_the_last_word_counts(tmp_path: Path) -> None:
    """Needed, then applied: the host is well. The same with the files the other way round: it is not."""
    needed, applied = lines(tmp_path, "1", EDIT, END), lines(tmp_path, "2", EDIT | {"state": "applied"}, END)
    assert report(tmp_path, needed, applied).code == 0
    assert report(tmp_path, applied, needed).code == 1
    failed, passed = (
        lines(tmp_path, "3", PLAYED, LAB_END),
        lines(tmp_path, "4", PLAYED | {"result": "passed"}, LAB_END),
    )
    assert report(tmp_path, failed, passed).code == 0
    assert report(tmp_path, passed, failed).code == 1


@pytest.mark.parametrize(
    ("documents", "stage", "code"),
    [
        ([CELL, AUDITED], "requested", 1),
        ([CELL, AUDITED], "answered", 0),
        ([EDIT, END], "requested", 1),
        ([EDIT, END], "answered", 0),
        ([PLAYED, LAB_END], "credentials-served", 1),
        ([PLAYED, LAB_END], "credentials-used", 0),
        ([PLAYED | {"alarms": [], "wrong": ["the client did not end"]}, LAB_END], "credentials-used", 1),
        ([VERDICT, END], "answered", 1),
        ([VERDICT, END], "credentials-served", 0),
        ([VERDICT, END | {"suppressed": 1}], "attempted", 0),
        ([EDIT | {"state": "left-alone"}, END], "attempted", 3),
        ([PLAYED | {"result": "skipped", "reason": "no curl"}, LAB_END], "attempted", 3),
    ],
)
def test_what_stands_beside_findings_counts_as_in_its_command(
    tmp_path: Path, documents: list[dict[str, Any]], stage: str, code: int
) -> None:
    assert told(tmp_path, lines(tmp_path, "x", *documents), "--fail-on", stage)[0] == code


def test_findings_stay_the_headline_and_what_else_is_wrong_follows(tmp_path: Path) -> None:
    path = tmp_path / "found"
    path.write_text(written("ndjson", findings()[-1:], summary=Summary(records=1)), encoding="utf-8")
    code, out = told(tmp_path, path, lines(tmp_path, "x", CELL, AUDITED, EDIT, END), "--format", "text")
    assert code == 1
    head = " ".join(out.split("\n\n")[0].split())
    assert head.startswith("CRITICAL Credentials served to 1 host.")
    assert "AWS tools on 1 host would ask an impostor. Changes are needed on 1 host." in head


ABSENT = {
    "format": "imdswatch/1",
    "type": "verdict",
    "endpoint": "169.254.169.254",
    "verdict": "absent",
    "reasons": [],
}


@pytest.mark.parametrize("form", ["text", "html"])
@pytest.mark.parametrize(
    ("documents", "code", "word"),
    [
        ([ABSENT, END], 0, "CLEAN"),
        ([VERDICT, END], 1, "IMPOSTOR"),
        ([VERDICT, END | {"suppressed": 1}], 0, "CLEAN"),
        ([CELL, AUDITED], 1, "AT RISK"),
        ([CELL | {"state": "unknown"}, AUDITED], 3, "INCOMPLETE"),
        ([CELL | {"state": "protected"}, AUDITED], 0, "CLEAN"),
        ([CELL | {"state": "protected"}], 3, "INCOMPLETE"),
        ([EDIT, END], 1, "NOT HARDENED"),
        ([EDIT | {"state": "applied"}, END], 0, "CLEAN"),
        ([EDIT | {"state": "applied"}, LEFT, END], 1, "NOT HARDENED"),
        ([EDIT | {"state": "left-alone"}, END], 3, "INCOMPLETE"),
        ([PLAYED, LAB_END], 1, "FAILED"),
        ([PLAYED_WELL, LAB_END], 0, "CLEAN"),
        ([ABSENT], 3, "INCOMPLETE"),
        ([END], 0, "CLEAN"),
    ],
)
def test_the_word_and_the_exit_code_say_the_same(
    tmp_path: Path, form: str, documents: list[dict[str, Any]], code: int, word: str
) -> None:
    said, out = told(tmp_path, lines(tmp_path, "x", *documents), "--format", form)
    assert said == code
    assert (out.split("<title>")[1].split(":")[0] if form == "html" else out[: len(word)]) == word


def test_a_report_without_findings_never_hides_an_impostor_or_a_tool_that_asks(tmp_path: Path) -> None:
    heads = {
        "IMPOSTOR: 1 endpoint answered by an impostor.": [VERDICT],
        "AT RISK: AWS tools on 1 host would ask an impostor.": [CELL, AUDITED],
        "CLEAN: No findings and no tool that asks.": [CELL | {"state": "protected"}, AUDITED],
    }
    for title, documents in heads.items():
        page = run(tmp_path, "report", lines(tmp_path, "x", *documents, END)).out
        assert f"<title>{title}</title>" in page
