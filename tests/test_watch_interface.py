"""`imdswatch watch --interface` as a user runs it: in a namespace with a cable, until a signal ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import wires
from commandline import command, environment, run
from imdswatch.watch.state import read_status
from imdswatch.watch.syscalls import MACHINES
from patience import LONG, until
from test_capture_paths import FOLDER, capture

pytestmark = wires.NEEDS_ROOT


@pytest.fixture
def cable() -> Iterator[None]:
    with wires.namespace():
        wires.lay()
        yield


class Watching:
    """A watch that runs, and the results it has written so far."""

    def __init__(self, folder: Path, *words: str, driver: str = "") -> None:
        self.results: list[dict[str, Any]] = []
        self._state = folder / "state"
        arguments = [
            "watch",
            "--interface",
            "out0",
            "--state",
            folder / "state",
            "--format",
            "ndjson",
            *words,
        ]
        self._process = subprocess.Popen(
            command(*arguments, driver=driver),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.until(self._listens)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.results.append(json.loads(line))

    def _listens(self) -> bool:
        """Its powers are given up once everything is open; what comes from then on waits in the ring."""
        assert self._process.poll() is None, self.end()
        status = Path("/proc", str(self.pid), "status").read_text()
        return "NoNewPrivs:\t1" in status

    @property
    def pid(self) -> int:
        return self._process.pid

    def until(self, holds: Callable[[], bool]) -> None:
        until(holds, lambda: str(self.results))

    def tell(self, number: int) -> None:
        self._process.send_signal(number)

    def has_reloaded(self) -> bool:
        return bool(read_status(self._state)[0].get("reloads"))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.results if one["type"] == kind]

    def stages(self) -> list[str]:
        return [one["stage"] for one in self.of("finding")]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and what was written to stderr."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._reader.join(LONG)
        with self._process:
            assert self._process.stderr is not None
            said = self._process.stderr.read()
        assert "Traceback" not in said, said
        assert "bug" not in said, said
        return self._process.wait(LONG), said


def _frames(name: str) -> list[bytes]:
    return [frame.data for frame in wires.pcap(FOLDER / "recorded" / f"{name}.pcap")]


def test_from_the_wire_to_standard_output(cable: None, tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    try:
        wires.send(_frames("curl-v2"))
        watching.until(lambda: "credentials-served" in watching.stages())
    finally:
        code, said = watching.end()
    assert (code, "error" in said) == (0, False)
    finding = watching.of("finding")[-1]
    assert finding["victim"]["ip"] == "10.20.1.10"
    assert finding["evidence"][0]["source"] == "interface out0"
    assert finding["evidence"][0]["position"].startswith("packet ")
    (summary,) = watching.of("summary")
    assert (summary["sources"], summary["records"], summary["skipped"]) == (1, 18 * 2, 0)


def test_zeros_are_nobodys_card(cable: None, tmp_path: Path) -> None:
    """What loopback has for MAC addresses names neither victim nor responder, in a watch or a scan."""
    frames = [bytes(12) + frame[12:] for frame in _frames("curl-v2")]
    (tmp_path / "lo.pcap").write_bytes(capture(frames))
    scan = run(tmp_path, "scan", tmp_path / "lo.pcap", "--format", "ndjson")
    watching = Watching(tmp_path)
    try:
        wires.send(frames)
        watching.until(lambda: "credentials-served" in watching.stages())
    finally:
        watching.end()
    for finding in (scan.of("finding")[-1], watching.of("finding")[-1]):
        assert finding["victim"]["ip"] == "10.20.1.10"
        assert finding["responder"]["ip"] == "169.254.169.254"
        assert "mac" not in finding["victim"] | finding["responder"]


def test_a_sensor_that_is_killed_says_from_when_to_when_it_was_blind(cable: None, tmp_path: Path) -> None:
    first = Watching(tmp_path)
    wires.send(_frames("curl-v2"))
    first.until(lambda: "credentials-served" in first.stages())
    first.end(signal.SIGKILL)
    second = Watching(tmp_path)
    try:
        second.until(lambda: bool(second.of("skipped")))
        wires.send(_frames("curl-v1"))
        time.sleep(0.5)
    finally:
        assert second.end()[0] == 0
    (gap,) = second.of("skipped")
    assert gap["source"] == "interface out0"
    assert gap["reason"] == "no sensor was running"
    since, until = gap["position"].removeprefix("from ").split(" to ")
    assert since < until
    fingerprints = {one["fingerprint"] for one in first.of("finding") + second.of("finding")}
    assert len(fingerprints) == 1


def test_who_asked(cable: None, tmp_path: Path) -> None:
    """A process on this machine is named, with its pid, user and control group."""
    from pyroute2 import IPRoute

    with IPRoute() as net:
        index = net.link_lookup(ifname="out0")[0]
        net.addr("add", index=index, address="10.20.1.10", prefixlen=24)
        net.route("add", dst="169.254.169.254/32", oif=index)
        net.neigh("add", dst="169.254.169.254", lladdr="02:00:00:00:00:01", ifindex=index)
    watching = Watching(tmp_path, "--processes")
    try:
        if any(one["source"] == "processes" for one in watching.of("skipped")):
            pytest.skip("tracing is not allowed here")
        tool = "import socket; s = socket.socket(); s.settimeout(600); s.connect_ex(('169.254.169.254', 80))"
        client = subprocess.Popen([sys.executable, "-I", "-c", tool])
        watching.until(lambda: bool(watching.stages()))
        client.kill()
        client.wait()
    finally:
        assert watching.end()[0] == 0
    finding = watching.of("finding")[0]
    assert finding["stage"] == "attempted"
    assert finding["victim"]["process"] == os.path.realpath(sys.executable)
    assert f"pid {client.pid}, user root" in finding["evidence"][0]["excerpt"]


def test_it_gives_up_what_it_does_not_need(cable: None, tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    try:
        status = Path("/proc", str(watching.pid), "status").read_text()
        lines = dict(line.split(":\t", 1) for line in status.splitlines())
        assert int(lines["CapEff"], 16) == int(lines["CapPrm"], 16) == 1 << 13
        assert lines["NoNewPrivs"] == "1"
        assert lines["Seccomp"] == "2" or os.uname().machine not in MACHINES
        wires.cut("out0")  # and still it can open the interface again
        wires.lay()
        watching.until(lambda: len(watching.of("skipped")) == 2)
        wires.send(_frames("curl-v1"))
        watching.until(lambda: "credentials-served" in watching.stages())
    finally:
        assert watching.end()[0] == 0


def _another(name: str, last: int) -> list[bytes]:
    """A recorded dialogue, of another victim."""
    return [frame.replace(b"\x0a\x14\x01\x0a", bytes([10, 20, 1, last])) for frame in _frames(name)]


def test_a_site_is_loaded_anew_between_two_packets(cable: None, tmp_path: Path) -> None:
    """A reload takes its time; the packets of that time wait in the ring. A wrong site changes nothing."""
    site = tmp_path / "site.toml"
    site.write_text('[site]\nname = "lab"\n')
    watching = Watching(tmp_path, "--site", str(site), "--show-suppressed")
    try:
        wires.send(_frames("curl-v2"))
        watching.until(lambda: "credentials-served" in watching.stages())
        site.write_text('[site]\nname = "lab"\non_premises = ["192.0.2.0/24"]\n')
        watching.tell(signal.SIGHUP)
        watching.until(watching.has_reloaded)
        wires.send(_another("curl-v2", 11))
        watching.until(lambda: "10.20.1.11" in {one["victim"]["ip"] for one in watching.of("finding")})
        site.write_text("[site]\nname = 7\n")
        watching.tell(signal.SIGHUP)
        watching.until(lambda: bool(watching.of("skipped")))
        wires.send(_another("curl-v2", 12))
        watching.until(lambda: "10.20.1.12" in {one["victim"]["ip"] for one in watching.of("finding")})
    finally:
        code, said = watching.end()
    assert code == 0
    assert "what was in force stays in force" in said
    (wrong,) = watching.of("skipped")
    assert (wrong["source"], wrong["position"]) == (str(site), "line 2")
    assert {one["victim"]["ip"]: one["suppressed_by"] for one in watching.of("finding")} == {
        "10.20.1.10": None, "10.20.1.11": "on_premises", "10.20.1.12": "on_premises",
    }  # fmt: skip


def test_a_clock_that_is_set_back_loses_nothing(cable: None, tmp_path: Path) -> None:
    """The system's clock is not ours to set: what asks it, and what stamps packets, is set back in the program."""
    moved = tmp_path / "moved"
    driver = (
        "import os, time\nfrom dataclasses import replace\nfrom imdswatch.read.ring import Captured\n"
        f"def back(): return 8e5 * os.path.exists({str(moved)!r})\n"
        "clock, when, frame = time.time, Captured.when, Captured.frame\n"
        "time.time = lambda: clock() - back()\n"
        "Captured.when = lambda self, number: when(self, number) - back()\n"
        "def stamped(self, number):\n"
        "    found = frame(self, number)\n"
        "    return replace(found, time=found.time - back())\n"
        "Captured.frame = stamped\n"
    )
    watching = Watching(tmp_path, driver=driver)
    try:
        frames = _another("curl-v2", 11)
        wires.send(_frames("curl-v2") + frames[:-4])  # one dialogue is over, one is in the middle
        watching.until(lambda: "credentials-served" in watching.stages())
        moved.touch()
        wires.send(frames[-4:] + _another("curl-v2", 12))
        served = {"10.20.1.10", "10.20.1.12"}
        watching.until(
            lambda: served <= {
                one["victim"]["ip"] for one in watching.of("finding") if one["stage"] == "credentials-served"
            }
        )  # fmt: skip
    finally:
        assert watching.end()[0] == 0
    last = {one["victim"]["ip"]: one for one in watching.of("finding")}
    assert set(last) == {"10.20.1.10", "10.20.1.11", "10.20.1.12"}
    assert last["10.20.1.12"]["last_seen"] < last["10.20.1.10"]["first_seen"]
    assert watching.of("skipped") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--interface", "out9"], "error: there is no interface out9"),
        (["--interface", "x" * 400], "error: there is no interface xxx"),
        (["--interface", "out0\n"], "error: there is no interface out0"),
        (["--interface", ""], "error: there is no interface"),
        (["--all-http"], "error: there is nothing to watch"),
        (["--processes", "--follow", "/var/log"], "error: --processes says how to watch an interface"),
        (["--interface", "lo", "--user", "nobody-of-this-name"], "error: there is no user nobody-of-this-name"),
    ],
)  # fmt: skip
def test_what_cannot_be(cable: None, tmp_path: Path, words: list[str], said: str) -> None:
    done = run(tmp_path, "watch", "--state", tmp_path / "state", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.fixture
def readable(tmp_path: Path) -> bool:
    """Whether another user can run this interpreter; what is made here is everybody's."""
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents:
        if not os.stat(folder).st_mode & 0o005:
            folder.chmod(0o755)
    try:
        os.seteuid(65_534)
        return os.access(os.__file__, os.R_OK, effective_ids=True)
    finally:
        os.seteuid(0)


def _uid(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1])


def test_another_user(cable: None, tmp_path: Path, readable: bool) -> None:
    """Everything is opened first; what is written afterwards is written by that user."""
    if not readable:
        told = run(
            tmp_path, "watch", "--state", tmp_path / "state", "--interface", "out0", "--user", "nobody"
        )
        assert "error: user nobody cannot read the modules of this program" in told.err
        pytest.skip("another user cannot run this interpreter")
    watching = Watching(tmp_path, "--user", "nobody")
    try:
        wires.send(_frames("curl-v1"))
        watching.until(lambda: "credentials-served" in watching.stages())
    finally:
        assert watching.end()[0] == 0


def test_root_does_not_stay_root_unless_it_must(cable: None, tmp_path: Path, readable: bool) -> None:
    """The state goes with whoever goes on, and back."""
    watching = Watching(tmp_path)
    wires.send(_frames("curl-v1"))
    watching.until(lambda: "credentials-served" in watching.stages())
    uid = _uid(watching.pid)
    code, said = watching.end()
    assert code == 0
    if readable:
        assert uid == 65_534
        assert "goes on as user nobody, which gives up root" in said
    else:
        assert uid == 0
        assert "goes on as root, without root's powers: user nobody cannot read the modules" in said
    assert {path.stat().st_uid for path in (tmp_path / "state").iterdir()} == {uid}
    (tmp_path / "own").mkdir(mode=0o700)
    watching = Watching(tmp_path, "-o", str(tmp_path / "own" / "told"))
    uid, (code, said) = _uid(watching.pid), watching.end()
    assert (uid, code) == (0, 0)
    assert "goes on as root, without root's powers: user nobody cannot" in said
    assert {path.stat().st_uid for path in (tmp_path / "state").iterdir()} == {0}
    watching = Watching(tmp_path, "--user", "root", "-q")
    uid, (code, said) = _uid(watching.pid), watching.end()
    assert (uid, code, said) == (0, 0, "")
