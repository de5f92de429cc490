"""What a watch does when the world around it fails: a reader that stops, a state that becomes read-only."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from commandline import command, environment, run
from patience import LONG, until
from watching import FAST, Watching, last, scanned, squid, watching


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.touch()
    return path


def asked(*numbers: int) -> bytes:
    """Lines of Squid, a victim each."""
    return b"".join(
        squid(1.7e9 + number, f"10.0.{number >> 8}.{number & 255}", "/latest/api/token", status=503)
        for number in numbers
    )


@pytest.mark.parametrize("how", ["pipe", "socket"])
def test_a_reader_that_stops_stops_nothing_and_misses_nothing(log: Path, tmp_path: Path, how: str) -> None:
    words = ["watch", "--follow", log, "--from-start", "--format", "ndjson", "--state", tmp_path / "state"]
    if how == "socket":  # as the journal of systemd has it
        ours, theirs = socket.socketpair()
        reader = ours.makefile("rb")
        ours.close()  # once the reader is
        stdout: int = theirs.fileno()
    else:
        stdout = subprocess.PIPE
    with (tmp_path / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            command(*words, driver=FAST), stdout=stdout, stderr=errors, env=environment()
        )
    if how == "socket":
        theirs.close()
    else:
        assert process.stdout is not None
        reader = process.stdout
    looking, count = Watching(tmp_path), 1500  # about 2 MB of findings, where a pipe holds 64 kB
    until(looking.status)
    log.write_bytes(asked(*range(count)))
    said = tmp_path / "stderr"
    until(lambda: "cannot be written: nobody reads standard output" in said.read_text())
    until(
        lambda: sum(looking.status().get("findings", {}).values()) == count
    )  # and it goes on, and knows all
    got: list[bytes] = []
    reading = threading.Thread(target=lambda: got.extend(reader))
    reading.start()
    until(lambda: "the output can be written again" in said.read_text())
    until(lambda: len(last([json.loads(line) for line in list(got)])) == count)
    process.terminate()
    assert process.wait(LONG) == 0
    reading.join(LONG)
    reader.close()
    results = [json.loads(line) for line in got]
    assert results[-1]["type"] == "summary"
    assert last(results) == scanned(tmp_path, log)


def test_a_reader_that_never_reads_does_not_keep_it_from_ending(log: Path, tmp_path: Path) -> None:
    words = ["watch", "--follow", log, "--from-start", "--format", "ndjson", "--state", tmp_path / "state"]
    log.write_bytes(asked(*range(500)))
    process = subprocess.Popen(
        command(*words, driver=FAST), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    looking = Watching(tmp_path)
    until(lambda: sum(looking.status().get("findings", {}).values()) == 500)
    process.terminate()
    assert process.wait(LONG) == 0
    assert process.stdout is not None
    assert process.stderr is not None
    assert b"what was not told waits in the state" in process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    with watching(tmp_path, "--follow", log) as watch:
        watch.until(lambda: len(watch.told()) > 400)  # all but what stood in the pipe
        assert watch.stop() == 0


def test_a_state_that_becomes_read_only_silences_nothing(log: Path, tmp_path: Path) -> None:
    """`query_only` makes SQLite say what it says on a file system that was remounted read-only."""
    flag = tmp_path / "read-only"
    driver = FAST + (
        "import os\nfrom imdswatch.watch.state import State\ncommit = State.commit\n"
        "def refused(self, *given, **named):\n"
        f"    self._database.execute('PRAGMA query_only=%d' % os.path.exists({str(flag)!r}))\n"
        "    commit(self, *given, **named)\n"
        "State.commit = refused\n"
    )
    with watching(tmp_path, "--follow", log, "--from-start", driver=driver) as watch:
        watch.until_running()
        flag.touch()
        with log.open("ab") as handle:
            handle.write(asked(*range(50)))
        watch.until(lambda: len(watch.told()) == 50)
        watch.until(lambda: "the state cannot be written: attempt to write a readonly" in watch.errors)
        watch.until(lambda: any("told again after a restart" in reason for _, reason in watch.skips()))
        flag.unlink()
        watch.until(lambda: "the state can be written again" in watch.errors)
        watch.kill()
        before = len(watch.results())
        watch.start()
        watch.until_running()
        assert watch.stop() == 0
        again = [one for one in watch.results()[before:] if one["type"] == "finding"]
        assert again == []
        assert watch.told() == scanned(tmp_path, log)


@pytest.mark.parametrize("place", ["/proc/imdswatch", "/dev/null", "/sys/kernel"])
def test_a_state_that_cannot_be_kept_is_told_at_the_start(log: Path, tmp_path: Path, place: str) -> None:
    done = run(tmp_path, "watch", "--follow", log, "--state", place)
    assert (done.code, done.out) == (2, "")
    assert "error: the state cannot be kept: " in done.err
    assert f"--> {place}" in done.err
    assert "help: --state names a folder that this user may write to" in done.err
