"""What a victim does with served credentials is found whatever else the run is asked for, and however large it is."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from imdswatch.cli import invoke
from imdswatch.finding import Finding
from imdswatch.rule import load_rules
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.run import Options, Scan
from imdswatch.schema import load_schemas
from imdswatch.site import Site

ROLE = "/latest/meta-data/iam/security-credentials/build"


def _served(when: float, victim: str, host: str = "169.254.169.254") -> dict[str, object]:
    return {
        "ts": when, "uid": "C1", "trans_depth": 1, "request_body_len": 0,
        "id.orig_h": victim, "id.orig_p": 40000, "id.resp_h": "169.254.169.254",
        "id.resp_p": 80, "method": "GET", "host": host, "uri": ROLE, "status_code": 200,
        "user_agent": "Boto3/1.44.5", "response_body_len": 1200,
    }  # fmt: skip


def _used(when: float, victim: str) -> dict[str, object]:
    return {
        "ts": when, "uid": "C2", "id.orig_h": victim, "id.orig_p": 40001, "id.resp_h": "198.51.100.7", "id.resp_p": 443,
        "version": "TLSv12", "resumed": False, "server_name": "sts.eu-west-1.amazonaws.com", "established": True,
    }  # fmt: skip


def _scan(path: Path, each: bool = False, jobs: int = 1) -> list[Finding]:
    scan = Scan([str(path)], Options(load_rules(), Site(), load_schemas(), each=each, jobs=jobs))
    return [result for result in scan.results() if isinstance(result, Finding)]


def _write(path: Path, *records: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_each_gives_a_finding_for_every_use(tmp_path: Path) -> None:
    log = _write(
        tmp_path / "log", _served(1e9, "10.0.0.5"), _used(1e9 + 60, "10.0.0.5"), _used(1e9 + 90, "10.0.0.5")
    )
    stages = [finding.stage for finding in _scan(log, each=True)]
    assert stages == ["credentials-used", "credentials-used", "credentials-served"]


@pytest.mark.parametrize(
    "record",
    [
        {"server_name": "sts.amazonaws.com."},
        {"server_name": "STS.AMAZONAWS.COM."},
        {
            "trans_depth": 1,
            "method": "CONNECT",
            "host": "sts.amazonaws.com.:443",
            "uri": "sts.amazonaws.com.:443",
        },
        {"trans_depth": 1, "method": "GET", "host": "s3.amazonaws.com.", "uri": "/bucket"},
    ],
)
def test_a_name_with_a_final_dot_is_the_same_name(record: dict[str, object], tmp_path: Path) -> None:
    used = _used(1e9 + 60, "10.0.0.5") | record
    if "method" in record:
        used = {
            key: used[key] for key in used if key not in ("version", "resumed", "server_name", "established")
        }
        used["request_body_len"] = 0
    (finding,) = _scan(_write(tmp_path / "log", _served(1e9, "10.0.0.5"), used))
    assert (finding.stage, finding.rules["imds-credentials-used"]) == ("credentials-used", 1)


def test_a_victim_served_twice_may_use_either(tmp_path: Path) -> None:
    late = 1e9 + 10 * 3600
    log = _write(
        tmp_path / "log",
        _served(1e9, "10.0.0.5", "10.9.9.9:1338") | {"id.resp_h": "10.9.9.9"},
        _served(late, "10.0.0.5"),
        _used(late + 3600, "10.0.0.5"),
    )
    assert _scan(log)[0].stage == "credentials-used"


def test_use_belongs_to_what_was_served_last(tmp_path: Path) -> None:
    """A tool that asks again uses what it got: the use stands at the endpoint that served it last."""
    log = _write(
        tmp_path / "log",
        _served(1e9, "10.0.0.5"),
        _served(1e9 + 600, "10.0.0.5") | {"id.resp_h": "fd00:ec2::254", "host": "[fd00:ec2::254]"},
        _used(1e9 + 660, "10.0.0.5"),
        _served(1e9 + 700, "10.0.0.5"),
    )
    stages = {finding.responder["ip"]: finding.stage for finding in _scan(log)}
    assert stages == {"fd00:ec2::254": "credentials-used", "169.254.169.254": "credentials-served"}


@pytest.mark.parametrize(
    ("result", "hierarchy", "stage"),
    [
        ("TCP_TUNNEL/200 5120", "HIER_DIRECT/198.51.100.7", "credentials-used"),
        ("TCP_TUNNEL/200 9", "HIER_DIRECT/198.51.100.7", "credentials-used"),
        ("TCP_DENIED/403 3900", "HIER_NONE/-", "credentials-served"),
        ("TCP_DENIED/407 3900", "HIER_NONE/-", "credentials-served"),
    ],
)
def test_what_a_proxy_turns_away_was_not_used(
    result: str, hierarchy: str, stage: str, tmp_path: Path
) -> None:
    _write(tmp_path / "http.log", _served(1e9, "10.0.0.5"))
    line = (
        f"1000000060.000     60 10.0.0.5 {result} CONNECT sts.eu-west-1.amazonaws.com:443 - {hierarchy} -\n"
    )
    (tmp_path / "squid.log").write_text(line)
    assert _scan(tmp_path)[0].stage == stage


@pytest.mark.parametrize("jobs", [1, 2])
def test_victims_that_were_written_out_are_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.setattr(Incidents.__init__, "__defaults__", (3,))
    victims = [f"10.0.0.{number}" for number in range(1, 11)]
    log = _write(
        tmp_path / "log", *(_served(1e9, v) for v in victims), *(_used(1e9 + 60, v) for v in victims)
    )
    found = _scan(log, jobs=jobs)
    assert [(one.victim["ip"], one.stage, one.count) for one in found] == [
        (victim, "credentials-used", 2) for victim in sorted(victims)
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_room_for_temporary_files_is_no_bug_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], jobs: int
) -> None:
    monkeypatch.setattr(Incidents.__init__, "__defaults__", (3,))
    # Every write to it fails as on a full disk (full(4)).
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda prefix: open("/dev/full", "w+b"))  # noqa: SIM115
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        victims = [f"10.0.0.{number}" for number in range(9)]
        for number in range(100):  # more than one task
            _write(tmp_path / name / f"{number}.log", *(_served(1e9, victim) for victim in victims))
    assert invoke(["scan", str(tmp_path), "--jobs", str(jobs), "-q"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: cannot write temporary files: no space left on device")
    assert "help: set TMPDIR" in told
