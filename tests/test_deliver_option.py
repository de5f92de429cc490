"""`--deliver` on the command line: what is printed, what the exit code says, and that no secret is in either."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ecs_fields
import ocsf_classes
from imdswatch import cli
from patience import LONG, until
from receivers import datagrams, free_port, parse_syslog, webhook

Run = Callable[..., "Done"]

EXAMPLE = "examples/squid-access.log"
SECRET = "FAKE-secret-of-the-test"


@pytest.fixture(autouse=True)
def _in_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process: a scan of one small log needs no other."""

    def run(*arguments: str) -> Done:
        code = cli.invoke([*arguments, "-j", "1"])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Done(code, said.out, said.err)

    return run


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_what_is_delivered_is_what_ndjson_prints_and_an_id(run: Run, tmp_path: Path) -> None:
    delivered = tmp_path / "delivered"
    result = run(
        *(
            "scan",
            EXAMPLE,
            "--format",
            "ndjson",
            "-o",
            str(tmp_path / "printed"),
            "--spool",
            str(tmp_path / "spool"),
        ),
        *("--deliver", f"file://{delivered}"),
    )
    assert (result.code, result.err) == (1, "")
    found = lines(delivered)
    ids = [one.pop("delivery_id") for one in found]
    printed = lines(tmp_path / "printed")
    for one in (*found, *printed):
        one.pop("seconds", None)
    assert found == printed
    assert len(set(ids)) == len(ids)
    assert [id.rpartition("-")[0] for id in ids[:-1]] == [one["fingerprint"] for one in found[:-1]]


@pytest.mark.parametrize(("format", "judge"), [("ocsf", ocsf_classes.faults), ("ecs", ecs_fields.faults)])
def test_other_formats_are_delivered_with_an_id_of_their_own(
    run: Run, format: str, judge: Any, tmp_path: Path
) -> None:
    for turn in ("a", "b"):
        run("scan", EXAMPLE, "-q", "--deliver", f"file://{tmp_path / turn}?format={format}")
    ids = []
    for turn in ("a", "b"):
        found = lines(tmp_path / turn)
        assert [fault for one in found for fault in judge(one)] == []
        ids.append([one["event"]["id"] if format == "ecs" else one["metadata"]["uid"] for one in found[:-1]])
    assert ids[0] == ids[1], "the same finding has the same id in every run"


def test_several_receivers_get_the_same(run: Run, tmp_path: Path) -> None:
    with webhook(lambda _: (200, {})) as (port, posts), datagrams() as (other, got):
        result = run(
            *("scan", EXAMPLE, "-q", "--spool", str(tmp_path)),
            *(
                "--deliver",
                f"http://127.0.0.1:{port}/",
                "--deliver",
                f"syslog+udp://127.0.0.1:{other}?max=60kB",
            ),
        )
    assert result.code == 1
    by_web = [one["result"] for post in posts for one in json.loads(post.body)["data"]]
    assert [json.loads(parse_syslog(one).text) for one in got] == by_web
    assert [one["type"] for one in by_web][-1] == "summary"
    for spool in tmp_path.glob("*.spool"):
        assert sqlite3.connect(spool).execute("SELECT count(*) FROM message").fetchone() == (0,)


def test_without_a_spool_it_says_what_that_means_and_what_was_lost(run: Run) -> None:
    result = run("scan", EXAMPLE, "--deliver", "syslog+tcp://127.0.0.1:1", "--deliver-wait", "0.1s")
    assert result.code == 1
    assert "warning: without --spool, what a receiver does not take is lost" in result.err
    assert "results were not delivered and are lost: connection refused" in " ".join(result.out.split())


def test_a_clean_log_and_a_dead_receiver_are_exit_3(run: Run, tmp_path: Path) -> None:
    (tmp_path / "clean.log").write_text("", encoding="utf-8")
    arguments = ("scan", str(tmp_path / "clean.log"), "-q", "--format", "ndjson", "--deliver-wait", "0.1s")
    result = run(*arguments, "--spool", str(tmp_path / "s"), "--deliver", "http://127.0.0.1:1/")
    assert result.code == 3
    skipped, summary = map(json.loads, result.out.splitlines())
    assert skipped["source"] == "http://127.0.0.1:1"
    assert (summary["type"], summary["skipped"]) == ("summary", 1)


def test_a_full_spool_drops_the_newest_and_leaves_word(run: Run, tmp_path: Path) -> None:
    arguments = ("scan", "examples", "--spool", str(tmp_path), "--deliver-wait", "0.1s", "--format", "ndjson")
    result = run(*arguments, "--spool-limit", "4kB", "--deliver", "http://127.0.0.1:1/")
    assert result.code == 1
    assert "is full: new results are dropped" in result.err
    reasons = [
        one["reason"] for line in result.out.splitlines() if (one := json.loads(line))["type"] == "skipped"
    ]
    assert any("results were dropped: no room in the spool" in one for one in reasons)
    [spool] = tmp_path.glob("*.spool")
    kept = [
        json.loads(body)
        for (body,) in sqlite3.connect(spool).execute("SELECT body FROM message ORDER BY seq")
    ]
    printed = [json.loads(line) for line in result.out.splitlines()]
    assert kept[0]["fingerprint"] == printed[0]["fingerprint"], "the oldest stay"
    assert "were dropped" in kept[-1]["reason"], "the receiver will hear of the gap"


def test_a_damaged_spool_is_told(run: Run, tmp_path: Path) -> None:
    target = f"file://{tmp_path / 'out'}"
    run("scan", EXAMPLE, "-q", "--spool", str(tmp_path / "s"), "--deliver", target)
    [spool] = (tmp_path / "s").glob("*.spool")
    spool.write_bytes(b"no database" * 1000)
    result = run("scan", EXAMPLE, "-q", "--spool", str(tmp_path / "s"), "--deliver", target)
    assert result.code == 1
    assert "its spool could not be read and was set aside" in " ".join(result.out.split())
    assert len(list((tmp_path / "s").glob("*.damaged-1"))) == 1


def test_results_for_a_receiver_that_is_not_named_are_mentioned(run: Run, tmp_path: Path) -> None:
    arguments = ("scan", EXAMPLE, "--spool", str(tmp_path), "--deliver-wait", "0.1s", "--deliver")
    run(*arguments, "http://127.0.0.1:1/")
    result = run(*arguments, f"file://{tmp_path / 'out'}")
    assert f"results wait in {tmp_path} for a receiver that is not named now: http-127.0.0.1-" in result.err


def test_a_spool_that_others_may_write_to_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s").chmod(0o777)
    result = run("scan", EXAMPLE, "--spool", str(tmp_path / "s"), "--deliver", "http://127.0.0.1:1/")
    assert result.code == 2
    assert "others may write into the spool" in result.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--deliver", "ftp://host/"), "no scheme that is known"),
        (("--deliver", f"https://user:{SECRET}@host/"), "user or password"),
        (("--deliver", "https://host/#secret-env=NO_SUCH"), "NO_SUCH is empty or missing"),
        (("--deliver", "https://h/", "--deliver", "https://h/#batch=5"), "are the same"),
        (("--deliver", "https://h/", "--spool-limit", "much"), "`--spool-limit` is no size"),
        (("--deliver", "https://h/", "--spool", "README.md"), "cannot use the spool"),
    ],
)
def test_wrong_usage_is_exit_2_before_anything_is_read(
    run: Run, arguments: tuple[str, ...], why: str
) -> None:
    result = run("scan", EXAMPLE, *arguments)
    assert (result.code, result.out) == (2, "")
    assert why in result.err
    assert SECRET not in result.err


def test_no_secret_is_in_any_output(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "HOOK", f"http://127.0.0.1:1/services/{SECRET}?key={SECRET}#secret-env=KEY&authorization-env=KEY"
    )
    monkeypatch.setenv("KEY", SECRET)
    arguments = ("scan", EXAMPLE, "-v", "--spool", str(tmp_path), "--deliver-wait", "0.1s")
    result = run(*arguments, "--deliver", "env:HOOK", "--format", "ndjson")
    assert result.code == 1
    assert "http://127.0.0.1:1 does not take results" in result.err
    assert SECRET not in result.out + result.err
    assert not any(SECRET in path.name for path in tmp_path.iterdir())
    assert not any(SECRET.encode() in path.read_bytes() for path in tmp_path.iterdir())


def test_a_watch_delivers_and_its_next_run_gives_what_was_left(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    shutil.copy(EXAMPLE, log)
    port = free_port()
    command = [
        *(
            sys.executable,
            "-m",
            "imdswatch",
            "watch",
            "--follow",
            str(log),
            "--from-start",
            "--format",
            "ndjson",
        ),
        *("--state", str(tmp_path / "state"), "--spool", str(tmp_path / "spool"), "--deliver-wait", "5s"),
        *("--deliver", f"http://127.0.0.1:{port}/", "-o", str(tmp_path / "told")),
    ]
    environment = os.environ | {"PYTHONPATH": "src"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stderr is not None
        told_so = any("does not take results, they wait: connection refused" in line for line in watch.stderr)
        until(lambda: len(findings(tmp_path / "told")) == 6)
        watch.kill()
    assert told_so
    told = findings(tmp_path / "told")
    with (
        webhook(lambda _: (200, {}), port=port) as (_, posts),
        subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as watch,
    ):

        def got() -> list[dict[str, Any]]:
            results = [one["result"] for post in posts for one in json.loads(post.body)["data"]]
            return [one for one in results if one["type"] == "finding"]

        until(lambda: len(got()) >= len(told))
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(LONG) == 0
    for one in (given := got()):
        one.pop("delivery_id")
    assert given[: len(told)] == told


def findings(path: Path) -> list[dict[str, Any]]:
    """Return the findings in a file that may be written at the moment."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    results = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [one for one in results if one["type"] == "finding"]


def test_a_probe_delivers_each_verdict(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with webhook(lambda _: (200, {})) as (port, posts):
        arguments = ["probe", "--endpoint", "http://127.0.0.1:1", "--timeout", "1s", "-q"]
        assert cli.invoke([*arguments, "--deliver", f"http://127.0.0.1:{port}/"]) in (0, 3)
    capsys.readouterr()
    kinds = [one["kind"] for post in posts for one in json.loads(post.body)["data"]]
    assert kinds[0] == "verdict"
    assert kinds[-1] == "summary"


def test_a_spool_alone_is_wrong_usage(run: Run, tmp_path: Path) -> None:
    result = run("scan", EXAMPLE, "--spool", str(tmp_path))
    assert result.code == 2
    assert "`--spool` without `--deliver`" in result.err


def test_a_watch_does_not_follow_what_it_delivers(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    shutil.copy(EXAMPLE, logs / "access.log")
    command = [
        *(sys.executable, "-m", "imdswatch", "watch", "--follow", str(logs), "--from-start", "-q"),
        *(
            "--state",
            str(tmp_path / "state"),
            "--deliver",
            f"file://{logs / 'delivered.ndjson'}",
            "-o",
            os.devnull,
        ),
    ]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": "src"}) as watch:
        until(lambda: len({one["fingerprint"] for one in findings(logs / "delivered.ndjson")}) == 6)
        time.sleep(2)  # if it were followed, it would be by now
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(LONG) == 0
    found = lines(logs / "delivered.ndjson")
    assert found[-1]["type"] == "summary"
    told = [one for one in found if one["type"] == "finding"]
    assert len({one["fingerprint"] for one in told}) == 6, "some told once more at the end, with their totals"
    places = {Path(place["source"]).name for one in told for place in one["evidence"]}
    assert places == {"access.log"}, "no finding about findings"
