"""`imdswatch watch` as people run it: what it tells and when, and what it does about signals and failures."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from commandline import command, environment, run
from patience import LONG, until
from watching import FAST, Told, Watching, scanned, squid, watching

TOKEN, ROLE = "/latest/api/token", "/latest/meta-data/iam/security-credentials/FAKE-role"
COUNTER = iter(range(1, 1 << 30))


def lines(count: int, path: str = TOKEN, source: str = "10.0.0.1", status: int = 503) -> bytes:
    return b"".join(squid(1.7e9 + next(COUNTER), source, path, status=status) for _ in range(count))


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as handle:
        handle.write(data)


def counts(watch: Watching) -> list[int]:
    return [one["count"] for one in watch.results() if one["type"] == "finding"]


def total(told: Told) -> int:
    return sum(count for count, _, _ in told.values())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "logs" / "access.log"
    path.parent.mkdir()
    path.touch()
    return path


def test_a_finding_is_told_when_new_when_graver_once_an_interval_and_at_the_end(
    log: Path, tmp_path: Path
) -> None:
    with watching(tmp_path, "--follow", log, "--interval", "2s") as watch:
        watch.until_running()
        add(log, lines(3))
        watch.until(lambda: counts(watch) == [3])
        began = time.monotonic()
        for _ in range(5):
            add(log, lines(4))
            time.sleep(0.05)
        watch.until(lambda: counts(watch)[-1] == 23)
        told = counts(watch)
        assert told == sorted(set(told))
        assert len(told) <= 2 + (time.monotonic() - began) / 2, "once an interval, never once a record"
        add(log, lines(1, ROLE, status=200))
        watch.until(lambda: watch.results()[-1].get("stage") == "credentials-served")
        assert counts(watch) == [*told, 24]
        add(log, lines(2))
        watch.until(lambda: sum(feed["counts"]["records"] for feed in watch.status()["feeds"]) == 26)
        assert watch.stop() == 0
        assert watch.told() == scanned(tmp_path, log)
        stages = [one["stage"] for one in watch.results() if one["type"] == "finding"]
        assert stages[: len(told) + 1] == [*["requested"] * len(told), "credentials-served"]
        assert watch.results()[-1]["type"] == "summary"
        assert len({one["fingerprint"] for one in watch.results() if one["type"] == "finding"}) == 1


@pytest.mark.parametrize(("stage", "code"), [("credentials-served", 1), ("credentials-used", 0)])
def test_who_asks_for_an_exit_code_of_a_watch_gets_one(
    log: Path, tmp_path: Path, stage: str, code: int
) -> None:
    """Without --fail-on it is 0, whatever was told (the tests around this one)."""
    with watching(tmp_path, "--follow", log, "--fail-on", stage) as watch:
        watch.until_running()
        add(log, lines(1, ROLE, status=200))
        watch.until(lambda: counts(watch) == [1])
        assert watch.stop() == code


def test_what_a_victim_does_with_credentials_is_found_in_another_log_after_a_restart(
    log: Path, tmp_path: Path
) -> None:
    other = log.with_name("proxy.log")
    with watching(tmp_path, "--follow", log.parent, "--from-start") as watch:
        add(log, lines(1, ROLE, status=200))
        watch.until(lambda: counts(watch) == [1])
        watch.kill()
        watch.start()
        watch.until_running()
        when = 1.7e9 + next(COUNTER)
        asked = "CONNECT sts.amazonaws.com:443 - HIER_DIRECT/192.0.2.1 -"
        add(other, f"{when:.3f} 9 10.0.0.1 TCP_TUNNEL/200 9 {asked}\n".encode())
        watch.until(lambda: watch.results()[-1].get("stage") == "credentials-used")
        assert watch.stop() == 0
        assert watch.told() == scanned(tmp_path, log.parent)


def test_site_and_rules_are_loaded_anew_and_a_wrong_site_keeps_the_old(log: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('[site]\nname = "hq"\n')
    with watching(tmp_path, "--follow", log, "--site", site) as watch:
        watch.until_running()
        add(log, lines(1))
        watch.until(lambda: counts(watch) == [1])
        site.write_text('[site]\nname = "hq"\nvlans = 3\n')
        watch.signal(signal.SIGHUP)
        watch.until(lambda: any(name == "site.toml" for name, _ in watch.skips()))
        assert "what was in force stays in force: unknown key `vlans` in [site]" in watch.errors
        add(log, lines(1, source="10.0.0.2"))
        watch.until(lambda: counts(watch) == [1, 1])
        site.write_text('[[suppress]]\nname = "lab"\nreason = "ours"\nsources = ["10.0.0.3/32"]\n')
        watch.signal(signal.SIGHUP)
        watch.until(lambda: watch.status().get("reloads") == 1)
        add(log, lines(1, source="10.0.0.3") + lines(1, source="10.0.0.4"))
        watch.until(lambda: counts(watch) == [1, 1, 1])
        victims = [one["victim"]["ip"] for one in watch.results() if one["type"] == "finding"]
        assert victims == ["10.0.0.1", "10.0.0.2", "10.0.0.4"]
        assert watch.stop() == 0


def test_its_output_may_be_rotated(log: Path, tmp_path: Path) -> None:
    with watching(tmp_path, "--follow", log.parent, "-o", log.parent / "x") as watch:
        watch.output = log.parent / "told.ndjson"
        watch.kill()
        watch._arguments = ("--follow", log.parent)
        watch.start()  # the output lies in the folder that is followed, and is not read
        watch.until_running()
        add(log, lines(1))
        watch.until(lambda: len(counts(watch)) == 1)
        before = watch.results()
        os.replace(watch.output, log.parent / "told.ndjson.1")
        add(log, lines(1, source="10.0.0.2"))
        watch.until(lambda: len(counts(watch)) == 1)
        assert before[0]["victim"]["ip"] == "10.0.0.1"
        assert watch.results()[0]["victim"]["ip"] == "10.0.0.2"
        time.sleep(0.5)
        assert watch.stop() == 0
        assert len(counts(watch)) == 1


def test_a_full_disk_silences_nothing_and_loses_nothing(log: Path, tmp_path: Path) -> None:
    full = FAST + "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (150_000, -1))\n"
    with watching(tmp_path, "--follow", log, "--from-start", driver=full) as watch:
        watch.until_running()
        for number in range(1, 9):
            add(log, b"".join(lines(2, source=f"10.0.{number}.{host}") for host in range(1, 40)))
            time.sleep(0.1)
        watch.until(lambda: "the state cannot be written" in watch.errors)
        watch.until(lambda: "the output cannot be written" in watch.errors)
        resource.prlimit(watch.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        watch.until(lambda: "the state can be written again" in watch.errors)
        watch.until(lambda: "the output can be written again" in watch.errors)
        assert any("cannot be written" in reason for _, reason in watch.skips())
        add(log, lines(1, source="10.0.9.9"))
        watch.until(lambda: len(watch.told()) == 8 * 39 + 1)
        watch.kill()
        watch._driver = FAST
        watch.start()
        watch.until_running()
        assert watch.stop() == 0
        assert watch.told() == scanned(tmp_path, log)


def test_a_damaged_state_is_set_aside_and_everything_told_again(log: Path, tmp_path: Path) -> None:
    with watching(tmp_path, "--follow", log) as watch:
        watch.until_running()
        add(log, lines(5))
        watch.until(lambda: counts(watch) == [5])
        assert watch.stop() == 0
        told = watch.told()
        database = watch.state / "state.sqlite"
        database.write_bytes(b"\x00" * 100 + database.read_bytes()[100:])
        watch.output.unlink()
        watch.start()
        watch.until(lambda: counts(watch) == [5])
        assert watch.told() == told
        ((name, reason),) = watch.skips()
        assert name == "state.sqlite"
        assert "was damaged; it is set aside as" in reason
        assert len(list(watch.state.glob("state.sqlite.damaged-*"))) == 1
        assert watch.stop() == 0


def test_a_clock_that_steps_back_stops_nothing(log: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    step = f"import os, time\nreal = time.time\ntime.time = lambda: real() - 8e5 * os.path.exists({str(moved)!r})\n"
    with watching(tmp_path, "--follow", log, "--interval", "2s", driver=step + FAST) as watch:
        watch.until_running()
        add(log, lines(1))
        watch.until(lambda: counts(watch) == [1])
        moved.touch()
        watch.until(lambda: watch.status()["at"] < time.time() - 1e5)
        add(log, lines(1) + lines(1, source="10.0.0.2"))
        watch.until(lambda: sorted(counts(watch)) == [1, 1, 2])
        assert watch.stop() == 0
        moved.unlink()
        watch.start()
        watch.until_running()
        add(log, lines(1))
        watch.until(lambda: counts(watch)[-1] == 3)
        assert watch.stop() == 0


def test_how_it_goes_is_told_to_people_and_to_prometheus(log: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "imdswatch.prom"
    with watching(tmp_path, "--follow", log, "--metrics-file", metrics, "--metrics-listen", "0") as watch:
        watch.until(lambda: "is served" in watch.errors)
        port = int(watch.errors.partition("port ")[2].split()[0])
        watch.until_running()
        add(log, lines(2) + b"GET ")
        feed = f'{{feed="{log}"}}'
        watch.until(lambda: f"imdswatch_records_total{feed} 2" in metrics.read_text())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LONG) as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            served = dict(
                line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#"
            )
        assert served[f"imdswatch_lag_bytes{feed}"] == "4"
        assert served['imdswatch_findings{stage="requested"}'] == "1"
        assert float(served[f"imdswatch_last_record_time_seconds{feed}"]) > 1.7e9
        done = run(tmp_path, "watch", "--status", "--state", watch.state)
        assert done.code == 0
        assert "2 records" in done.out
        assert "findings: 0 attempted, 1 requested" in done.out
        assert run(tmp_path, "watch", "-q", "--follow", log, "--state", watch.state).err.startswith(
            "error: another watch uses this state"
        )
        watch.signal(signal.SIGINT)
        assert watch._process is not None
        assert watch._process.wait(LONG) == 0
    done = run(tmp_path, "watch", "--status", "--state", watch.state, "--format", "ndjson")
    assert done.code == 3
    status = json.loads(done.out)
    assert (status["running"], status["findings"]["requested"], status["feeds"][0]["counts"]["records"]) == (
        False,
        1,
        2,
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "there is nothing to watch"),
        (["--follow", "-"], "standard input cannot be followed"),
        (["--follow", "x", "--state", "/proc/no/such"], "the state cannot be kept"),
        (["--follow", "x", "--metrics-listen", "http"], "is no address to listen on"),
        (["--follow", "x", "--interval", "0"], "is no duration"),
        (["--follow", "x", "--schema", "nothing"], "there is no schema `nothing`"),
        (["--status", "--state", "/nowhere"], "no watch has kept a state here"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, words: list[str], says: str) -> None:
    done = run(
        tmp_path, "watch", *words, *([] if "--state" in words else ["--state", str(tmp_path / "state")])
    )
    assert done.code == 2
    assert says in done.err


def test_findings_come_to_standard_output_as_lines_for_people(log: Path, tmp_path: Path) -> None:
    words = command("watch", "--follow", log, "--state", tmp_path / "state", driver=FAST)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    looking = Watching(tmp_path)
    until(looking.status)
    add(log, lines(1, ROLE, source="10.0.0.7", status=200))
    with process.stdout as handle:
        first = handle.readline()
        process.terminate()
        rest = handle.read()
    assert process.wait(LONG) == 0
    assert " critical credentials-served: 10.0.0.7 and 169.254.169.254, once; " in first
    assert "access.log line 1: 10.0.0.7 -> 169.254.169.254 GET" in rest
    assert "ended: 1 records of 1 feeds, 1 findings held, 0 places not looked at" in rest


def test_an_output_that_is_full_at_the_end_is_no_bug(log: Path, tmp_path: Path) -> None:
    with watching(tmp_path, "--follow", log) as watch:
        watch.until_running()
        watch.kill()
        add(log, lines(1))
        watch.output = Path("/dev/full")
        watch.start()
        watch.until(lambda: "the output cannot be written: no space left on device" in watch.errors)
        assert watch.stop() == 0
        assert "what was not told waits in the state" in watch.errors
        watch.output = tmp_path / "later.ndjson"
        watch.start()
        watch.until(lambda: counts(watch) == [1])
        assert watch.stop() == 0
