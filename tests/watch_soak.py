"""Logs that grow and rotate while `kill -9` strikes: what a watch tells must be what one scan of all of it says.

A writer appends to several logs, in pieces that end anywhere, and rotates them as logrotate does: by renaming, by
copying and truncating, with and without compression, with and without a line feed at the end. Beside it everything is
written once more to files that nobody rotates; a scan of those is the oracle. Run by itself it goes on at length.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from patience import LONG
from watching import Watching, last, scanned, squid

_AHEAD = 300 << 20  # octets that may be unread before the writer waits
KEPT = 40
"""Rotated files of a log; older ones are removed. A watch that is away for longer has lost them."""
PATHS = (
    "/latest/meta-data/",
    "/latest/api/token",
    "/latest/meta-data/iam/security-credentials/FAKE-role",
    "/index.html",
)
ZEEK = (
    b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\thttp\n"
    b"#open\t2026-11-22-%02d-%02d-%02d\n"
    b"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tmethod\thost\turi\tstatus_code\n"
    b"#types\ttime\tstring\taddr\tport\taddr\tport\tstring\tstring\tstring\tcount\n"
)


@dataclass
class Growing:
    """One log that grows and rotates; `truth` is all that was ever written to it."""

    path: Path
    truth: Path
    line: Callable[[random.Random, int], bytes]
    rotation: str
    header: Callable[[int], bytes] = lambda number: b""
    noise: int = 0
    making: Path | None = None
    """Where copies are written before they get their names; None: in their places, as tools write them."""
    number: int = 0
    files: int = 0

    def begin(self) -> None:
        self.files += 1
        self._write(self.header(self.files))

    def grow(self, chance: random.Random, lines: int) -> None:
        """Append some lines, the last piece of each batch in two writes."""
        out = bytearray()
        for _ in range(lines):
            self.number += 1
            line = self.line(chance, self.number)
            if self.noise and chance.randrange(self.noise):
                line = line.replace(b"169.254.169.254", b"198.51.100.7").replace(b"/latest/", b"/images/")
            out += line
        self._write(bytes(out), cut=chance.randrange(len(out)))

    def _write(self, data: bytes, cut: int = 0, *, ended: bool = True) -> None:
        """Append some lines in two pieces; the last without its line feed if it is not to be `ended`."""
        with self.truth.open("ab") as truth:
            truth.write(data)
        if not ended:
            data = data[:-1]
        for piece in (data[:cut], data[cut:]):
            with self.path.open("ab") as handle:
                handle.write(piece)

    def rotate(self, chance: random.Random) -> None:
        if chance.random() < 0.3:
            self.number += 1
            self._write(self.line(chance, self.number), ended=False)
        for number in range(KEPT, 1, -1):
            for suffix in ("", ".gz"):
                older = self._aged(number - 1, suffix)
                if older.exists():
                    os.replace(older, self._aged(number, suffix))
        if self.rotation == "copytruncate":
            making = self.making or self._aged(1)
            shutil.copyfile(self.path, making)
            os.replace(making, self._aged(1))
            os.truncate(self.path, 0)
        else:
            os.replace(self.path, self._aged(1))
            self.path.touch()
        if self.rotation == "compress":
            compress(self._aged(1), self.making)
        elif self._aged(2).exists():
            compress(self._aged(2), self.making)
        self.begin()

    def _aged(self, number: int, suffix: str = "") -> Path:
        return self.path.with_name(f"{self.path.name}.{number}{suffix}")


def compress(path: Path, making: Path | None = None) -> None:
    """Do as gzip(1): write beside it (or where it is to be made), take over the times, remove it."""
    packed = path.with_name(f"{path.name}.gz")
    with path.open("rb") as source, gzip.open(making or packed, "wb", 1) as target:
        shutil.copyfileobj(source, target)
    status = path.stat()
    os.utime(making or packed, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(making or packed, packed)
    path.unlink()


def victim(chance: random.Random) -> str:
    return f"10.1.{chance.randrange(8)}.{chance.randrange(1, 5)}"


def squid_line(chance: random.Random, number: int) -> bytes:
    return squid(1.7e9 + number, victim(chance), chance.choice(PATHS), status=chance.choice((200, 403, 503)))


def zeek_line(chance: random.Random, number: int) -> bytes:
    path = chance.choice(PATHS)
    asked = f"169.254.169.254\t80\tGET\t169.254.169.254\t{path}\t200"
    return f"{1.7e9 + number:.6f}\tC{number}\t{victim(chance)}\t40000\t{asked}\n".encode()


def eve_line(chance: random.Random, number: int) -> bytes:
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1.7e9 + number))
    event = {
        "timestamp": f"{when}.{number % 10**6:06}+0000", "event_type": "http", "src_ip": victim(chance),
        "src_port": 40000, "dest_ip": "169.254.169.254", "dest_port": 80, "proto": "TCP", "tx_id": number,
        "http": {"hostname": "169.254.169.254", "url": chance.choice(PATHS), "http_method": "GET", "status": 200},
    }  # fmt: skip
    return json.dumps(event).encode() + b"\n"


def zeek_header(number: int) -> bytes:
    return ZEEK % (number // 3600, number // 60 % 60, number % 60)


def logs(folder: Path, noise: int, whole: bool) -> list[Growing]:
    """Return the logs, one of each way to rotate."""
    made = []
    for name, line, rotation in (
        ("all/access.log", squid_line, "rename"),
        ("all/eve.json", eve_line, "compress"),
        ("all/proxy.log", squid_line, "copytruncate"),
        ("one/access.log", squid_line, "compress"),
        ("two/access.log", eve_line, "copytruncate"),
        ("all/http.log", zeek_line, "rename"),
    ):
        path, truth = folder / name, folder / "truth" / name.replace("/", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        truth.parent.mkdir(exist_ok=True)
        header = zeek_header if line is zeek_line else lambda number: b""
        made.append(Growing(path, truth, line, rotation, header, noise, folder / "making" if whole else None))
        made[-1].begin()
        path.touch()
    return made


def soak(
    folder: Path,
    seconds: float,
    *,
    seed: int,
    lines: int,
    noise: int,
    every: float,
    most: int = 0,
    driver: str,
    between: float = 2.5,
    patience: float = 4 * LONG,
    whole: bool = False,
) -> Watching:
    """Write, rotate and kill for so long, and until `most` bytes are written; return the watch, well ended.

    `whole`: copies get their names when they are complete, so that none seems to have come to rest before, however busy
    the machine is; a watch that is in a hurry needs it.
    """
    chance = random.Random(seed)
    growing = logs(folder, noise, whole)
    watch = Watching(
        folder, "--follow", folder / "all", "--follow", folder / "one/access.log",
        "--follow", folder / "two/access.log", "--from-start", "--interval", "3s", driver=driver,
    )  # fmt: skip
    over = threading.Event()

    def write() -> None:
        turns = random.Random(seed + 1)
        end, due = time.monotonic() + seconds, time.monotonic() + every
        while time.monotonic() < end or (most and sum(one.truth.stat().st_size for one in growing) < most):
            while watch.behind() > _AHEAD:
                time.sleep(0.1)  # rotated files are kept for a while, not for ever
            for one in growing:
                one.grow(turns, turns.randrange(1, lines))
            if time.monotonic() >= due:
                due += every
                turns.choice(growing).rotate(turns)
            time.sleep(0.02 if not most else 0)
        over.set()

    writer = threading.Thread(target=write)
    watch.start()
    watch.until_running()  # what had rotated away before the first watch is the past
    writer.start()
    kills = 0
    while not over.wait(chance.uniform(0.3, between)):
        watch.kill()
        watch.start()
        kills += 1
    watch.kill()
    writer.join()
    watch.start()
    watch.until_running()
    calm = [0]

    def settled() -> bool:
        calm[0] = calm[0] + 1 if not watch.behind() else 0
        return calm[0] > 150  # three seconds, in which what was packed has come to rest

    watch.until(settled, patience)
    watch.kills = kills
    assert watch.stop() == 0, watch.errors
    return watch


def main() -> int:
    """Run it at length, and print what a person wants to know."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gigabytes", type=float, default=10.0)
    options.add_argument("--minutes", type=float, default=0.0)
    options.add_argument("--between", type=float, default=30.0, help="seconds between kills, at most")
    options.add_argument("--every", type=float, default=10.0, help="seconds between two rotations")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="imdswatch-soak-"))
    try:
        began = time.monotonic()
        watch = soak(
            folder, given.minutes * 60, seed=given.seed, lines=4000, noise=500, every=given.every,
            most=int(given.gigabytes * 1e9), driver="", between=given.between,
        )  # fmt: skip
        truth, told = scanned(folder, folder / "truth"), last(watch.results())
        size = sum(path.stat().st_size for path in (folder / "truth").iterdir())
        wrong = [name for name in truth.keys() | told.keys() if truth.get(name) != told.get(name)]
        print(f"{size / 1e9:.2f} GB in {time.monotonic() - began:.0f} s, killed {watch.kills} times")
        print(f"peak memory {watch.peak >> 20} MiB, skipped: {watch.skips() or 'nothing'}")
        print(f"{len(truth)} findings, {len(wrong)} of them other than one scan says")
        for name in wrong[:10]:
            print(name, "scan:", truth.get(name), "watch:", told.get(name))
        return 1 if wrong else 0
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
