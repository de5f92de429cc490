"""A flood on an interface while `kill -9` strikes: whatever is not found happened in a span that a `skipped` names.

In a namespace with a cable a sender replays noise, and dialogues pass, each of a victim of its own, with the time
before and after it. The sensor is killed and started again all the while. At the end every dialogue must have been
found to its last stage, or have passed, in part at least, in a span that was told: between two sensors, or while
packets were dropped. Run by itself it goes on for millions of packets, and prints loss, memory and CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import wires
from test_capture_paths import FOLDER, capture
from watching import Watching

_FLOOD = Path(__file__).parents[1] / "bench" / "flood.py"
_NOISE = 50_000


@dataclass(frozen=True)
class Passed:
    """A dialogue, and when it passed: the clock before its first packet and after its last."""

    victim: str
    began: float
    ended: float


@dataclass(frozen=True)
class Outcome:
    """What became of all dialogues."""

    passed: list[Passed]
    found: set[str]
    spans: list[tuple[float, float]]
    dropped: int
    kills: int
    cpu: float
    peak: int

    @property
    def untold(self) -> list[Passed]:
        """Dialogues that were not found though a sensor claims to have looked."""
        return [
            one
            for one in self.passed
            if one.victim not in self.found
            and not any(one.began <= until and since <= one.ended for since, until in self.spans)
        ]


def dialogues() -> Iterator[tuple[str, list[bytes]]]:
    """Yield victims and what they say to the endpoint, and hear: credentials are served to each."""
    frames = [frame.data for frame in wires.pcap(FOLDER / "recorded" / "curl-v2.pcap")]
    for number in range(1, 1 << 16):
        address = bytes([10, 77, number >> 8, number & 255])
        yield ".".join(map(str, address)), [data.replace(b"\x0a\x14\x01\x0a", address) for data in frames]


def noise(path: Path) -> Path:
    """Write a capture of frames of 60 octets that are nobody's business."""
    frames = []
    for number in range(_NOISE):
        source = bytes([10, number >> 14, number >> 7 & 127, number & 127])
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0) + source + b"\x0a\xc8\x00\x09"
        tcp = struct.pack(">HHIIBBHHH", 1024 + number % 60_000, 80, 1000, 0, 0x50, 2, 500, 0, 0)
        frames.append((b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0" + ip + tcp).ljust(60, b"\0"))
    path.write_bytes(capture(frames))
    return path


def _cpu(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def soak(folder: Path, packets: int, rate: float, kills: int, between: float, *words: str) -> Outcome:
    """Replay so many packets, and kill so many times at least, so many seconds apart, in the namespace of the caller.

    A sensor is killed only after it has looked.
    """
    watch = Watching(folder, "--interface", "out0", *words, driver="")
    chance, passed, cpu, done = random.Random(1), list[Passed](), 0.0, 0
    given = [str(_FLOOD), "in0", str(noise(folder / "noise.pcap")), str(packets), str(rate)]
    watch.start()
    watch.until_running()
    with subprocess.Popen([sys.executable, *given], stdout=subprocess.DEVNULL) as flood:
        due, started = time.monotonic() + between, 0.0
        for victim, frames in dialogues():
            began = time.time()
            wires.send(frames)
            passed.append(Passed(victim, began, time.time()))
            time.sleep(chance.uniform(0, 0.1))
            if time.monotonic() >= due and watch.status().get("at", 0.0) > started:
                cpu += _cpu(watch.pid)
                watch.kill()
                time.sleep(chance.uniform(0, 0.5))
                watch.start()
                done, due, started = done + 1, time.monotonic() + between, time.time()
            if flood.poll() is not None and done >= kills:
                break
    watch.until_running()
    _, frames = next(dialogues())
    wires.send([data.replace(b"\x0a\x4d\x00\x01", b"\x0a\x4e\x00\x01") for data in frames])
    watch.until(lambda: "10.78.0.1" in _found(watch))  # so all that came before was read
    cpu += _cpu(watch.pid)
    assert watch.stop() == 0, watch.errors
    skipped = [one for one in watch.results() if one["type"] == "skipped"]
    drops = [int(found[1]) for one in skipped if (found := re.search(r"dropped (\d+) of", one["reason"]))]
    return Outcome(passed, _found(watch), list(map(_span, skipped)), sum(drops), done, cpu, watch.peak)


def _found(watch: Watching) -> set[str]:
    return {
        one["victim"]["ip"]
        for one in watch.results()
        if one["type"] == "finding" and one["stage"] == "credentials-served"
    }


def _span(skipped: dict[str, str]) -> tuple[float, float]:
    since, until = skipped["position"].removeprefix("from ").split(" to ")
    return datetime.fromisoformat(since).timestamp(), datetime.fromisoformat(until).timestamp() + 0.001


def main() -> int:
    """Run it at length, and print what a person wants to know."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--packets", type=int, default=50_000_000)
    options.add_argument("--rate", type=float, default=0.0, help="packets a second; as fast as they go if 0")
    options.add_argument("--between", type=float, default=30.0, help="seconds between kills")
    options.add_argument("--all-http", action="store_true")
    given = options.parse_args()
    words = ["--all-http"] if given.all_http else []
    with tempfile.TemporaryDirectory(prefix="imdswatch-soak-") as name, wires.namespace():
        wires.lay()
        began = time.monotonic()
        seen = soak(Path(name), given.packets, given.rate, 1, given.between, *words)
        seconds = time.monotonic() - began
        what = "every packet" if given.all_http else "the kernel's filter"
        print(
            f"{given.packets} packets of noise through {what} in {seconds:.0f} s, killed {seen.kills} times"
        )
        print(
            f"the kernel dropped {seen.dropped}; peak memory {seen.peak >> 20} MiB; {seen.cpu:.1f} s of CPU"
        )
        found = sum(one.victim in seen.found for one in seen.passed)
        print(
            f"{len(seen.passed)} dialogues, {found} found, {len(seen.untold)} neither found nor in a span told"
        )
        gaps = sum(until - since for since, until in seen.spans)
        print(f"{len(seen.spans)} spans were told, {gaps:.0f} s together")
        print(json.dumps([vars(one) for one in seen.untold[:10]])) if seen.untold else None
        return 1 if seen.untold else 0


if __name__ == "__main__":
    sys.exit(main())
