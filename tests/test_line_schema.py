"""The published schema of `imdswatch/1`: current, valid, and what every command writes is valid by it.

Beside the lines here every line that any test reads through `commandline.Done` is judged by it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from imdswatch.cli import invoke
from imdswatch.watch.state import State
from line_schema import ROOT, faults, module
from report_cases import SKIPPED, findings, written
from test_typed_statements import LINES

COMMANDS = {
    "scan": ("scan", "examples", "docs/site.toml", "-j1", "--show-suppressed", "--site", "docs/site.toml"),
    "scan --each": ("scan", "examples", "-j1", "--each"),
    "probe": ("probe", "--endpoint", "http://127.0.0.1:1", "--timeout", "0.2s"),
    "audit": ("audit", "--root", "docs/example-host"),
    "harden": ("harden", "--root", "docs/example-host"),
    "rules": ("rules",),
    "one rule": ("rules", "imds-credentials-used"),
    "schemas": ("schemas",),
    "one schema": ("schemas", "show", "suricata_http"),
    "detect": ("schemas", "detect", "examples/dnsmasq.log"),
}


def test_the_published_schema_is_current_and_a_schema() -> None:
    committed = (ROOT / "docs" / module().NAME).read_text(encoding="utf-8")
    assert committed == module().text(), "run `make docs`"
    Draft202012Validator.check_schema(json.loads(committed))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_line_of_a_command_is_valid(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    out = tmp_path / "out"
    assert invoke([*COMMANDS[name], "--format", "ndjson", "-o", str(out)]) in (0, 1, 3)
    published = Draft202012Validator(module().schema())
    documents = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert documents
    for document in documents:
        assert faults(document) == []
        assert published.is_valid(document)


def test_a_watch_tells_its_status_by_the_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    State(tmp_path / "state").close()
    assert invoke(["watch", "--status", "--state", str(tmp_path / "state"), "--format", "ndjson"]) == 3
    assert faults(json.loads(capsys.readouterr().out)) == []


def test_verdicts_audits_and_changes_are_valid() -> None:
    for document in LINES:
        if document["format"] == "imdswatch/1":
            assert faults({"state": "needed"} | document if document["type"] == "command" else document) == []


WRONG: list[Callable[[dict[str, Any]], dict[str, Any]]] = [
    lambda good: good | {"stage": "conquered"},
    lambda good: good | {"count": -1},
    lambda good: good | {"made_up": 1},
    lambda good: good | {"victim": {"made_up": 1}},
    lambda good: good | {"first_seen": "yesterday"},
    lambda good: good | {"format": "imdswatch/2"},
    lambda good: good | {"type": "rumour"},
    lambda good: {name: value for name, value in good.items() if name != "fingerprint"},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_the_judge_sees_what_is_wrong(wrong: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    good = json.loads(written("ndjson", findings()[-1:], SKIPPED).splitlines()[0])
    assert faults(good) == []
    assert faults(wrong(good))
