"""SARIF and JUnit of audits, held to the schemas that others publish (tests/data/reports says where each is from)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import xmlschema
import yaml
from jsonschema import Draft4Validator, FormatChecker
from rooting import build

from imdswatch.cli.invoke import invoke

ROOTS = Path(__file__).parent / "roots"
PUBLISHED = Path(__file__).parents[1] / "data" / "reports"
SARIF = Draft4Validator(
    json.loads(gzip.decompress((PUBLISHED / "sarif-2.1.0-rtm.5.json.gz").read_bytes())),
    format_checker=FormatChecker(),
)
JUNIT = xmlschema.XMLSchema10(PUBLISHED / "junit-10.xsd")
MIXED: dict[str, Any] = {
    "tools": ["botocore", "s3cmd"],
    "files": {
        "/etc/environment": "AWS_EC2_METADATA_DISABLED=1\nhttp_proxy=http://\x1b]0;x\x07p:1\n",
        "/etc/systemd/system/a <&>\"'%2e]]>.service": "[Service]\nExecStart=/usr/bin/python3 x\n",
        "/home/alice/.profile": "[ -e /x ] && if true; then export AWS_EC2_METADATA_DISABLED=true; fi\n",
    },
    "fifos": ["/home/alice/.aws/config"],
}


def reported(case: dict[str, Any], form: str, tmp_path: Path) -> str:
    root, out = tmp_path / "a root", tmp_path / "out"
    root.mkdir()
    build(case, root)
    assert invoke(["audit", "--root", str(root), "--format", form, "-o", str(out)]) in (0, 1, 3)
    return out.read_text(encoding="utf-8")


def case_of(name: str) -> dict[str, Any]:
    if name == "mixed":
        return MIXED
    loaded: dict[str, Any] = yaml.safe_load((ROOTS / f"{name}.yml").read_text(encoding="utf-8"))
    return loaded


CASES = (
    "mixed",
    "hostile",
    "containers",
    "windows-agents",
    "macos",
    "ec2-instance",
    "nothing-installed",
    "pods",
)


@pytest.mark.parametrize("name", CASES)
def test_sarif_is_valid(name: str, tmp_path: Path) -> None:
    document = json.loads(reported(case_of(name), "sarif", tmp_path))
    assert [fault.message for fault in SARIF.iter_errors(document)] == []


@pytest.mark.parametrize("name", CASES)
def test_junit_is_valid(name: str, tmp_path: Path) -> None:
    text = reported(case_of(name), "junit", tmp_path)
    assert [fault.reason for fault in JUNIT.iter_errors(text)] == []


def test_the_schemas_find_faults(tmp_path: Path) -> None:
    document = json.loads(reported(MIXED, "sarif", tmp_path))
    document["runs"][0]["results"][0]["level"] = "fatal"
    assert not SARIF.is_valid(document)
    assert not JUNIT.is_valid('<testsuites><testsuite name="x" tests="none"/></testsuites>')
