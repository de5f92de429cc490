"""kill -9 at random moments, of imdswatch, the receiver or both: nothing is lost, and what comes twice has one id.

`make test` does it with some hundred findings; `IMDSWATCH_KILLS=10000 pytest tests/test_delivery_killed.py`, or `make
delivery`, with ten thousand. The seed is printed, `IMDSWATCH_SEED` repeats it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from patience import LONG
from receivers import free_port, make_certificates

FINDINGS = int(os.environ.get("IMDSWATCH_KILLS", "300"))
KILLS = 2 if FINDINGS < 1000 else 25
SEED = int(os.environ.get("IMDSWATCH_SEED", str(random.SystemRandom().randrange(1 << 32))))
HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(HERE.parent / "src")}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A proxy log in which each client is a finding, so that findings are told while the log is read."""
    path = tmp_path_factory.mktemp("logs") / "access.log"
    with path.open("w", encoding="utf-8") as handle:
        for number in range(FINDINGS):
            who = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            handle.write(
                f"{1795309200 + number}.000     12 {who} TCP_MISS/200 411 GET http://169.254.169.254/latest/meta-data/"
                "iam/security-credentials/ - HIER_DIRECT/169.254.169.254 text/plain\n"
            )
    return path


@pytest.fixture(scope="module")
def expected(log: Path) -> dict[str, dict[str, Any]]:
    """What an undisturbed scan finds, by fingerprint."""
    run = subprocess.run(
        [sys.executable, "-m", "imdswatch", "scan", str(log), "--each", "--format", "ndjson"],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    found = [json.loads(line) for line in run.stdout.splitlines()]
    findings = {one["fingerprint"]: one for one in found if one["type"] == "finding"}
    assert len(findings) == FINDINGS
    return findings


def started(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *arguments], env=ENVIRONMENT, stdout=subprocess.DEVNULL)


@contextmanager
def killed_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def scan(log: Path, target: str, spool: Path) -> subprocess.Popen[bytes]:
    options = ("--each", "-q", "-j", "1", "--deliver", target, "--spool", str(spool), "--deliver-wait", "10m")
    return started("-m", "imdswatch", "scan", str(log), *options)


def judged(store: Path, expected: dict[str, dict[str, Any]]) -> Counter[str]:
    """Hold what was stored to what was found, and return how often each id came."""
    results = [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines()]
    findings = [one for one in results if one["result"]["type"] == "finding"]
    times = Counter(one["id"] for one in findings)
    by_fingerprint: dict[str, set[str]] = {}
    for one in findings:
        result = dict(one["result"])
        fingerprint = result["fingerprint"]
        by_fingerprint.setdefault(fingerprint, set()).add(one["id"])
        assert result.pop("delivery_id") == one["id"]
        assert result == expected[fingerprint], "what is delivered is what was found"
    assert by_fingerprint.keys() == expected.keys(), "a finding was lost"
    assert all(len(ids) == 1 for ids in by_fingerprint.values()), "the same finding came with two ids"
    return times


@pytest.mark.parametrize("kind", ["webhook", "syslog"])
def test_nothing_is_lost_when_both_sides_are_killed(
    kind: str, log: Path, expected: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    print(f"IMDSWATCH_SEED={SEED}")
    certificates = make_certificates(tmp_path)
    port, store = free_port(), tmp_path / "store"
    receiver = (str(HERE / "receiver_process.py"), kind, str(port), str(store), str(certificates.server))
    target = f"http://127.0.0.1:{port}/#batch=20"
    if kind == "syslog":
        target = f"syslog+tls://127.0.0.1:{port}?ca={certificates.authority}&confirm=strict"
    longest = 1.5 + FINDINGS / 2000
    with killed_at_the_end(started(*receiver)) as taker:
        for _ in range(KILLS):
            with killed_at_the_end(scan(log, target, tmp_path / "spool")) as giver:
                time.sleep(chance.uniform(0.4, longest))
                dying = chance.sample([giver, taker], chance.choice((1, 2)))
                for one in dying:
                    one.send_signal(signal.SIGKILL)
                    time.sleep(chance.uniform(0, 0.4))
            if taker in dying or chance.random() < 0.3:  # who was killed may be dying still
                taker.kill()
                taker.wait()
                taker = started(*receiver)
        with killed_at_the_end(taker), killed_at_the_end(scan(log, target, tmp_path / "spool")) as giver:
            assert giver.wait(4 * LONG) == 1
    times = judged(store, expected)
    print(f"{kind}: {len(times)} findings, {sum(times.values()) - len(times)} of them came again")


def test_a_file_is_whole_whenever_its_writer_is_killed(
    log: Path, expected: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    file = tmp_path / "out.ndjson"
    target = f"file://{file}?rotate=20kB&keep=1000"
    for _ in range(KILLS):
        with killed_at_the_end(scan(log, target, tmp_path / "spool")):
            time.sleep(chance.uniform(0.4, 1.5 + FINDINGS / 2000))
    with killed_at_the_end(scan(log, target, tmp_path / "spool")) as giver:
        assert giver.wait(4 * LONG) == 1
    store = tmp_path / "store"
    with store.open("w", encoding="utf-8") as handle:
        for path in tmp_path.glob("out.ndjson*"):
            assert path.read_bytes().endswith(b"\n")
            for line in path.read_text(encoding="utf-8").splitlines():
                result = json.loads(line)
                handle.write(json.dumps({"id": result["delivery_id"], "result": result}) + "\n")
    judged(store, expected)


def test_what_a_dead_receiver_missed_comes_with_the_next_run(
    log: Path, expected: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    port, store = free_port(), tmp_path / "store"
    target = f"http://127.0.0.1:{port}/"
    command = [
        sys.executable,
        "-m",
        "imdswatch",
        "scan",
        "--deliver",
        target,
        "--spool",
        str(tmp_path / "spool"),
    ]
    empty = tmp_path / "empty.log"
    empty.write_text("", encoding="utf-8")
    first = subprocess.run(
        [*command, str(log), "--each", "--deliver-wait", "0.3s"],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert first.returncode == 1
    assert b"does not take results, they wait: connection refused" in first.stderr
    told = " ".join(first.stdout.decode().split())
    assert f"{FINDINGS + 1} results were not delivered and are left in the spool" in told
    alone = subprocess.run(
        [*command, str(empty), "--deliver-wait", "0.3s"], env=ENVIRONMENT, capture_output=True, check=False
    )
    assert alone.returncode == 3, "nothing found, but a receiver does not know of it"
    with killed_at_the_end(started(str(HERE / "receiver_process.py"), "webhook", str(port), str(store))):
        second = subprocess.run([*command, str(empty)], env=ENVIRONMENT, capture_output=True, check=False)
    assert second.returncode == 0, second.stderr
    assert set(judged(store, expected).values()) == {1}
