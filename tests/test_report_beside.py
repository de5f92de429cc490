"""`imdswatch report` of what probe and audit wrote: shown in the page, counted for the exit code, never lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commandline import run
from imdswatch.cli import invoke
from report_cases import written
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
    end = json.loads(written("ndjson", []).splitlines()[-1])
    probe = lines(tmp_path, "p", VERDICT, VERDICT, end)
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
    assert "3 more audit lines than a report holds" in text


def test_formats_that_cannot_show_verdicts_and_audits_say_so(tmp_path: Path) -> None:
    path = lines(tmp_path, "a", VERDICT, CELL, AUDITED)
    text = run(tmp_path, "report", path, "--format", "text").out
    assert "1 probe verdict: not shown in this format" in " ".join(text.split())
    assert "2 audit lines: not shown in this format" in " ".join(text.split())


def test_a_report_without_findings_never_hides_an_impostor_or_a_tool_that_asks(tmp_path: Path) -> None:
    heads = {
        "IMPOSTOR: 1 endpoint answered by an impostor.": [VERDICT],
        "AT RISK: AWS tools on 1 host would ask an impostor.": [CELL, AUDITED],
        "CLEAN: No findings, no impostor, and no tool that asks.": [CELL | {"state": "protected"}, AUDITED],
    }
    end = json.loads(written("ndjson", []).splitlines()[-1])
    for title, documents in heads.items():
        page = run(tmp_path, "report", lines(tmp_path, "x", *documents, end)).out
        assert f"<title>{title}</title>" in page
