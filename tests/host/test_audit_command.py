"""The command as a user runs it: exit codes, formats, secrets, and what is no root."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rooting import build

import commandline

ASKING = {"tools": ["botocore", "s3cmd"], "files": {"/etc/environment": "AWS_EC2_METADATA_DISABLED=1\n"}}
QUIET = {"tools": ["botocore"], "files": {"/etc/environment": "AWS_EC2_METADATA_DISABLED=true\n"}}
SECRETS = ("FAKEsecretFAKEsecretFAKEsecretFAKEsecret", "FAKETOKENFAKETOKEN", "FAKEPASSWORD")


def audit(tmp_path: Path, case: dict[str, object], *options: object) -> commandline.Done:
    root = tmp_path / "root"
    if not root.exists():
        build(case, root)
    return commandline.run(tmp_path, "audit", "--root", root, *options)


@pytest.mark.parametrize(
    ("case", "code"),
    [
        (ASKING, 1),
        (QUIET, 0),
        (
            {
                "tools": ["java-2"],
                "files": {"/etc/environment": "AWS_EC2_METADATA_DISABLED=1\nAWS_REGION=x\n"},
            },
            3,
        ),
        ({**QUIET, "fifos": ["/etc/cron.d/x"]}, 3),
        ({"tools": []}, 0),
    ],
)
def test_exit_code_says_whether_anything_asks(tmp_path: Path, case: dict[str, object], code: int) -> None:
    assert audit(tmp_path, case, "--format", "ndjson").code == code


def test_every_object_names_its_host_and_the_summary_is_last(tmp_path: Path) -> None:
    done = audit(tmp_path, ASKING, "--format", "ndjson")
    assert {(one["format"], one["host"]) for one in done.results} == {("imdswatch/1", "host-1")}
    assert [one["type"] for one in done.results][-1] == "summary"
    summary = done.results[-1]
    assert summary["states"] == {"asks": 4}
    assert summary["machine"] == "unknown"
    cell = done.of("cell")[0]
    assert cell["evidence"] == [
        {"source": "/etc/environment", "position": "line 1", "excerpt": "AWS_EC2_METADATA_DISABLED=1"}
    ]
    assert cell["change"]["slug"] == "correct-value"


def test_a_user_sees_what_runs_as_them(tmp_path: Path) -> None:
    done = audit(tmp_path, ASKING, "--user", "alice", "--format", "ndjson")
    assert {cell["user"] for cell in done.of("cell")} == {"alice"}


def test_a_user_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    done = audit(tmp_path, ASKING, "--user", "nobody-here")
    assert done.code == 2
    assert "nobody-here" in done.err


def test_text_names_tool_user_evidence_and_change(tmp_path: Path) -> None:
    done = audit(tmp_path, ASKING)
    for text in (
        *("asks", "botocore 1.44.5", "session of alice", "/etc/environment:1  AWS_EC2_METADATA_DISABLED=1"),
        *("Write exactly AWS_EC2_METADATA_DISABLED=true in", "Block 169.254.169.254", "4 asks"),
    ):
        assert text in " ".join(done.out.split()) or text in done.out, done.out


def test_sarif_has_what_its_schema_requires(tmp_path: Path) -> None:
    document = json.loads(audit(tmp_path, ASKING, "--format", "sarif").out)
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "imdswatch"
    rules = [rule["id"] for rule in driver["rules"]]
    assert len(rules) == len(set(rules))
    assert run["results"]
    for result in run["results"]:
        assert set(result) <= {"ruleId", "ruleIndex", "level", "kind", "message", "locations"}
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        for location in result["locations"]:
            if "physicalLocation" in location:
                artifact = location["physicalLocation"]["artifactLocation"]
                assert artifact["uriBaseId"] in run["originalUriBaseIds"]
                assert not artifact["uri"].startswith("/")
    errors = [result for result in run["results"] if result["ruleId"] == "imds-asks"]
    assert {result["level"] for result in errors} == {"error"}
    assert errors[0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 1}
    assert run["invocations"][0]["executionSuccessful"] is True


def test_junit_counts_what_asks_as_failures(tmp_path: Path) -> None:
    suites = ElementTree.fromstring(audit(tmp_path, ASKING, "--format", "junit").out)
    (suite,) = suites
    assert suites.tag == "testsuites"
    assert int(suite.get("tests", "")) == len(suite)
    failures = [case for case in suite if case.find("failure") is not None]
    assert (
        len(failures) == int(suite.get("failures", "")) == 5
    )  # four cells, and the value that not all honour
    assert all(case.get("name") and case.get("classname") for case in suite)


@pytest.mark.parametrize("form", ["text", "ndjson", "sarif", "junit"])
def test_no_format_shows_a_secret_or_a_control_character(tmp_path: Path, form: str) -> None:
    secret, token, password = SECRETS
    case: dict[str, object] = {
        "tools": ["botocore", "js-2", "rclone"],
        "files": {
            "/etc/environment": f"AWS_SECRET_ACCESS_KEY={secret}\nAWS_SESSION_TOKEN={token}\n"
            f"http_proxy=http://me:{password}@proxy:3128/{token}\nAWS_EC2_METADATA_DISABLED={secret}\n"
            f"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://me:{password}@10.0.0.1/?{token}\n",
            "/home/alice/.aws/credentials": f"[default]\naws_access_key_id={secret}\naws_secret_access_key={secret}\n",
            "/home/alice/.aws/config": f"[profile x]\ncredential_process = get {token}\nsso_session = {password}\n",
            "/etc/systemd/system/a\x1b[31m.service": f"[Service]\nExecStart=/usr/bin/python3 --password {password}\n",
            "/var/lib/amazon/ssm/Vault/Store/RegistrationKey": secret,
            "/var/lib/amazon/ssm/registration": json.dumps(
                {"ManagedInstanceID": token, "PrivateKey": secret}
            ),
        },
    }
    done = audit(tmp_path, case, "--format", form)
    for text in SECRETS:
        assert text not in done.out + done.err
    assert "\x1b" not in done.out
    assert done.code == 1


@pytest.mark.slow
def test_this_host_is_audited_without_a_trace(tmp_path: Path) -> None:
    """The live parts too: processes, routes, neighbours, rules, whatever this machine has of them."""
    done = commandline.run(tmp_path, "audit", "--format", "ndjson")
    assert done.code in (0, 1, 3)
    assert done.results[-1]["type"] == "summary"


@pytest.mark.parametrize("root", ["missing", "a-file"])
def test_what_is_no_root_is_wrong_usage(tmp_path: Path, root: str) -> None:
    (tmp_path / "a-file").write_text("hello")
    done = commandline.run(tmp_path, "audit", "--root", tmp_path / root)
    assert done.code == 2
    assert root in done.err
