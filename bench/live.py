"""`make bench BENCH=live`: what a sensor on an interface loses, costs, and how late it is, beside tcpdump and Suricata.

Everything happens in a network namespace of this process: a cable of two interfaces, a sender (`flood`) at one end, and
at the other one program at a time. Bounded: some million packets, a few seconds each. The programs run with real-time
priority (`chrt`), because a machine that is busy otherwise loses packets whoever reads them. Needs root; prints rows
of the table of `run`.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import captures
from table import Row

HERE = Path(__file__).resolve().parent
_CLONE_NEWNET = 0x40000000
_FILTER = "host 169.254.169.254 or host fd00:ec2::254"
FLOOD, MIX, RATE = 6_000_000, 600_000, 300_000
TRIES = 60


@dataclass(frozen=True, slots=True)
class Run:
    """What a flood did, and what the program at the other end said of it."""

    sent: int
    seconds: float
    cpu: float
    seen: int
    lost: int
    findings: int
    memory: int
    """Peak of resident octets, the ring included."""

    @property
    def rate(self) -> float:
        """Packets a second that were sent."""
        return self.sent / self.seconds

    @property
    def share(self) -> float:
        """Of a core, while packets came."""
        return self.cpu / self.seconds


def rows(out: Path) -> Iterator[Row]:
    """Measure everything; files are made in `out`."""
    if os.geteuid() != 0:
        yield Row("a sensor on an interface", "", "", "not measured: needs root", "", None)
        return
    small = _small(out / "live-60.pcap")
    mix = captures.make_capture(out / f"capture-{MIX}.pcap", MIX)
    planted = len(json.loads(mix.with_name(mix.name + ".truth.json").read_text())["hits"])
    with _namespace():
        _lay()
        ours = _flood(_watch(out), small, FLOOD, 0, _read_watch)
        told = f"{ours.findings} of 100 victims found"
        yield _lossless("60 octets, one in 1000 to the endpoint, as fast as they are sent", ours, told)
        yield _row(
            "CPU of it, of one core",
            f"{ours.share:.1%}",
            "",
            f"{ours.share:.1%}",
            "under 10 %",
            ours.share < 0.1,
        )
        yield from _beside(ours, small, FLOOD, 0, filtered=True)
        every = _flood(_watch(out, "--all-http"), mix, MIX, RATE, _read_watch)
        told = f"{every.findings} of {planted} incidents found"
        yield _lossless("--all-http: office traffic, packets of 60 to 1514 octets", every, told)
        yield _row("findings of it", told, "", "equal" if every.findings == planted else "differs", "all",
                   every.findings == planted)  # fmt: skip
        yield _row("CPU of it, of one core", f"{every.share:.1%}", "", f"{every.share:.1%}", "", None)
        peak = max(ours.memory, every.memory) / 1e6
        yield _row("peak memory of both", f"{peak:.0f} MB", "", f"{peak:.0f} MB", "under 300 MB", peak < 300)
        yield from _beside(every, mix, MIX, RATE, filtered=False)
        yield from _delays(out)


def _row(what: str, ours: str, against: str, figure: str, bar: str, met: bool | None) -> Row:
    return Row(f"sensor: {what}", ours, against, figure, bar, met)


def _lossless(what: str, run: Run, told: str) -> Row:
    figure = f"{run.lost} lost at {run.rate / 1000:.0f} k packets/s"
    return _row(what, told, f"{run.sent} sent", figure, "none lost", run.lost == 0)


# --- programs at the far end ------------------------------------------------------------------------------------------

Reader = Callable[[str], tuple[int, int, int]]
"""What a program printed, in; packets seen, packets lost, findings out."""


def _watch(out: Path, *more: str) -> list[str]:
    state = out / "live-state"
    shutil.rmtree(state, ignore_errors=True)
    words = ["watch", "--interface", "out0", "--format", "ndjson", "--state", str(state), "--quiet"]
    return [sys.executable, "-m", "imdswatch", *words, *more]


def _read_watch(printed: str) -> tuple[int, int, int]:
    results = [json.loads(line) for line in printed.splitlines()]
    lost = sum(
        int(found[1])
        for one in results
        if one["type"] == "skipped" and (found := re.search(r"dropped (\d+)", one["reason"]))
    )
    victims = {one["victim"]["ip"] for one in results if one["type"] == "finding"}
    return next(one["records"] for one in results if one["type"] == "summary"), lost, len(victims)


def _read_tcpdump(printed: str) -> tuple[int, int, int]:
    seen = int(re.search(r"(\d+) packets? captured", printed)[1])  # type: ignore[index]
    lost = int(re.search(r"(\d+) packets? dropped by kernel", printed)[1])  # type: ignore[index]
    return seen, lost, 0


def _read_suricata(printed: str) -> tuple[int, int, int]:
    kernel = re.findall(r"packets: (\d+), drops: (\d+)", printed)
    return sum(int(seen) for seen, _ in kernel), sum(int(lost) for _, lost in kernel), 0


def _beside(ours: Run, path: Path, count: int, rate: float, *, filtered: bool) -> Iterator[Row]:
    """Measure what else there is on this machine, with the same packets."""
    what = "the same filter" if filtered else "the same packets"
    if shutil.which("tcpdump"):
        words = [
            "tcpdump",
            "-i",
            "out0",
            "-n",
            "-B",
            "65536",
            "-w",
            "/dev/null",
            *([_FILTER] if filtered else []),
        ]
        yield _compared(
            f"{what}, tcpdump to /dev/null", ours, _flood(words, path, count, rate, _read_tcpdump)
        )
    if shutil.which("suricata") and not filtered:
        rules = HERE / "out" / "suricata"
        rules.mkdir(parents=True, exist_ok=True)
        words = ["suricata", "--af-packet=out0", "-l", str(rules), "-S", "/dev/null", "--runmode", "workers"]
        yield _compared(
            f"{what}, Suricata without rules", ours, _flood(words, path, count, rate, _read_suricata)
        )


def _compared(what: str, ours: Run, theirs: Run) -> Row:
    told = f"{theirs.share:.0%} of a core, {theirs.lost} lost at {theirs.rate / 1000:.0f} k packets/s"
    mine = f"{ours.share:.0%} of a core, {ours.lost} lost"
    return _row(what, mine, told, f"{ours.share / max(theirs.share, 1e-3):.2f}x the CPU", "", None)


def _flood(words: Sequence[str], path: Path, count: int, rate: float, read: Reader) -> Run:
    """Run a program, flood it, end it; return what both said."""
    with _running(words) as (program, printed):
        before = _cpu(program)
        sender = subprocess.run(
            [*_urgent(), sys.executable, str(HERE / "flood.py"), "in0", str(path), str(count), str(rate)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        time.sleep(1.5)
        cpu, memory = _cpu(program) - before, _peak(program)
        program.send_signal(signal.SIGTERM if "imdswatch" in words else signal.SIGINT)
        text = printed()
    sent = json.loads(sender.stdout)
    return Run(int(sent["sent"]), sent["seconds"], cpu, *read(text), memory)


class _running:
    """A program at the far end, from when it listens until it is left; what it prints goes to a file, or a pipe."""

    def __init__(self, words: Sequence[str], *, pipe: bool = False) -> None:
        env = {**os.environ, "PYTHONPATH": str(HERE.parent / "src")}
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed when the program is left
        output = subprocess.PIPE if pipe else self._output
        self._program = subprocess.Popen(
            [*_urgent(), *words], stdout=output, stderr=subprocess.STDOUT, env=env
        )

    def __enter__(self) -> tuple[subprocess.Popen[bytes], Callable[[], str]]:
        end = time.monotonic() + 60
        while not _listens(self._program.pid) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(2.5)  # what is left of the start, on a machine that is busy otherwise
        return self._program, self._printed

    def _printed(self) -> str:
        self._program.wait(60)
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    def __exit__(self, *_: object) -> None:
        if self._program.poll() is None:
            self._program.kill()
        with self._program, self._output:
            pass


def _listens(pid: int) -> bool:
    """Say whether a process has a packet socket that takes packets."""
    try:
        inodes = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return False
    lines = Path("/proc/net/packet").read_text().splitlines()[1:]
    return any(f"socket:[{line.split()[-1]}]" in inodes and line.split()[3] == "0003" for line in lines)


def _urgent() -> list[str]:
    return ["chrt", "--rr", "1"] if shutil.which("chrt") else []


def _cpu(program: subprocess.Popen[bytes]) -> float:
    """Return the CPU seconds of a process and its threads so far."""
    threads = Path(f"/proc/{program.pid}/task").iterdir()
    return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e9


def _peak(program: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{program.pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:"))


# --- how late ---------------------------------------------------------------------------------------------------------


def _delays(out: Path) -> Iterator[Row]:
    """Measure from the packet that shows something to the line on standard output."""
    for mode in ((), ("--all-http",)):
        with (
            _running(_watch(out, *mode), pipe=True) as (program, _),
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire,
        ):
            wire.bind(("in0", 0))
            assert program.stdout is not None
            for stage in ("attempted", "credentials-served"):
                delays = [_delay(program.stdout.fileno(), wire, stage, number) for number in range(TRIES)]
                median, most = statistics.median(delays), max(delays)
                figure = f"median {median * 1000:.0f} ms, max {most * 1000:.0f} ms"
                label = f"delay to `{stage}`{' with --all-http' if mode else ''}"
                bar = "under 50 ms, max under 1 s"
                yield _row(label, f"{TRIES} dialogues", "", figure, bar, median < 0.05 and most < 1)
            program.terminate()


def _delay(output: int, wire: socket.socket, stage: str, number: int) -> float:
    """Send one dialogue, of a victim of its own; return how long its finding took."""
    victim = bytes([10, 77, 1 + (stage == "attempted"), number + 1])
    frames = list(captures.dialogue(victim)) if stage != "attempted" else list(captures.dialogue(victim))[:1]
    for frame in frames[:-1]:
        wire.send(frame)
        time.sleep(0.001)
    wire.send(frames[-1])
    began = time.perf_counter()
    os.set_blocking(output, True)
    wanted, text = socket.inet_ntoa(victim), b""
    while True:
        text += os.read(output, 1 << 16)
        *lines, text = text.split(b"\n")
        for one in map(json.loads, lines):
            if one["type"] == "finding" and one["victim"]["ip"] == wanted and one["stage"] == stage:
                return time.perf_counter() - began


# --- the namespace ----------------------------------------------------------------------------------------------------


class _namespace:
    """A network namespace for the block."""

    def __enter__(self) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")

    def __exit__(self, *_: object) -> None:
        ctypes.CDLL(None).setns(self._home, _CLONE_NEWNET)
        os.close(self._home)


def _lay() -> None:
    from pyroute2 import IPRoute

    for name in ("default", "all"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    with IPRoute() as net:
        net.link("add", ifname="in0", kind="veth", peer={"ifname": "out0"})
        for name in ("in0", "out0"):
            net.link("set", index=net.link_lookup(ifname=name)[0], state="up", mtu=9000)


def _small(path: Path) -> Path:
    """Write a capture of 100000 frames of 60 octets; one in a thousand asks the endpoint, each of another host."""
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for number in range(100_000):
            source = bytes([10, number >> 14, number >> 7 & 127, number & 127])
            target = b"\xa9\xfe\xa9\xfe" if number % 1000 == 0 else b"\x0a\xc8\x00\x09"
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0) + source + target
            tcp = struct.pack(">HHIIBBHHH", 1024 + number % 60_000, 80, 1000, 0, 0x50, 2, 500, 0, 0)
            frame = (b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0" + ip + tcp).ljust(60, b"\0")
            out.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
    return path
