"""Everything that rotation does, between any two system calls of the watch, and `kill -9` there: each line counts once.

A writer takes its next step whenever the watch asks the operating system for something and a seeded coin says so: it
appends half lines, renames, copies in pieces, truncates, compresses. Nothing depends on time, so a seed that fails
fails again. `IMDSWATCH_RACES` says how many seeds there are.
"""

from __future__ import annotations

import gzip
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imdswatch.read.sources import GONE
from test_watch_follow import Followed
from watching import squid

SEEDS = int(os.environ.get("IMDSWATCH_RACES", "60"))
_CALLS = ("pread", "preadv", "fstat", "stat", "open", "scandir")
_OLDEST = 30


class Killed(BaseException):
    """The watch is gone in the middle of what it did; nothing may catch it."""


class Writer:
    """A log that grows and rotates, one step at a time; `lines` says how often each victim was written."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.log, self._chance = folder / "access.log", chance
        self.log.touch()
        self._saved = 0
        self.lines: Counter[str] = Counter()
        self._ways = (self._rename, self._copytruncate, self._compress, self._overwrite)

    def steps(self, turns: int) -> Iterator[None]:
        for _ in range(turns):
            for _ in range(self._chance.randrange(4)):
                yield from self._append(self._chance.choice((1, 1, 3, 40)))
            yield from self._chance.choice(self._ways)()
        yield from self._append(1)

    def _append(self, lines: int, *, ended: bool = True) -> Iterator[None]:
        data = bytearray()
        for _ in range(lines):
            number = self.lines.total() + 1
            victim = f"10.0.{number >> 8}.{number & 255}"
            self.lines[victim] += 1
            data += squid(1.7e9 + number, victim, "/latest/meta-data/")
        if not ended:
            del data[-1]
        cut = self._chance.randrange(len(data) + 1)
        for piece in (data[:cut], data[cut:]):
            with self.log.open("ab") as handle:
                handle.write(piece)
            yield

    def _aged(self, number: int, suffix: str = "") -> Path:
        return self.log.with_name(f"{self.log.name}.{number}{suffix}")

    def _shift(self) -> Iterator[None]:
        if self.log.exists() and self._chance.random() < 0.3:
            yield from self._append(1, ended=False)
        for number in range(_OLDEST, 1, -1):
            for suffix in ("", ".gz"):
                if self._aged(number - 1, suffix).exists():
                    os.rename(self._aged(number - 1, suffix), self._aged(number, suffix))
                    yield

    def _rename(self) -> Iterator[None]:
        yield from self._shift()
        if self.log.exists():
            os.rename(self.log, self._aged(1))
            yield
        if self._aged(2).exists() and self._chance.random() < 0.7:
            yield from self._pack(self._aged(2))

    def _compress(self) -> Iterator[None]:
        yield from self._rename()
        if self._aged(1).exists():
            yield from self._pack(self._aged(1))

    def _copytruncate(self) -> Iterator[None]:
        yield from self._shift()
        yield from self._copy(self._aged(1))

    def _overwrite(self) -> Iterator[None]:
        """Save what `.1` holds, and copy over it: its inode stays."""
        if self._aged(1).exists():
            yield from self._pack(self._aged(1), remove=False)
        yield from self._copy(self._aged(1))

    def _copy(self, target: Path) -> Iterator[None]:
        data = self.log.read_bytes() if self.log.exists() else b""
        size = self._chance.choice((100, 1000, 4096, 1 << 20))
        if not data:
            return
        with target.open("wb", buffering=0) as handle:
            for start in range(0, len(data), size):
                handle.write(data[start : start + size])
                yield
        os.truncate(self.log, 0)
        yield

    def _pack(self, path: Path, *, remove: bool = True) -> Iterator[None]:
        packed, data = path.with_name(f"{path.name}.gz"), gzip.compress(path.read_bytes(), 1)
        if not remove or packed.exists():
            self._saved += 1
            packed = self.log.with_name(f"access.log-2026{self._saved:04}.gz")
        with packed.open("wb", buffering=0) as handle:
            for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
                handle.write(piece)
                yield
        status = path.stat()
        os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
        yield
        if remove:
            os.unlink(path)
            yield


class Interrupted:
    """The operating system as a watch finds it that is interrupted at any moment."""

    def __init__(self, writer: Iterator[None], chance: random.Random, *, kills: bool) -> None:
        self._writer, self._chance, self._kills = writer, chance, kills
        self.over = self._inside = False
        self.often = 0.0

    def wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._interrupt()
            return real(*arguments, **named)

        return call

    def _interrupt(self) -> None:
        if self._inside or self.over:
            return
        self._inside = True
        try:
            while self._chance.random() < self.often:
                self._step()
        finally:
            self._inside = False
        if self._kills and self.often and self._chance.random() < 0.004:
            raise Killed

    def go_on(self) -> None:
        """Let the writer take its next step."""
        self._inside = True
        self._step()
        self._inside = False

    def _step(self) -> None:
        if next(self._writer, self) is self:
            self.over = True


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_line_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    writer = Writer(tmp_path, chance)
    system = Interrupted(writer.steps(12), chance, kills=seed % 2 == 0)
    followed = Followed(tmp_path if seed % 3 else writer.log)
    followed.round()  # what had rotated away before it began is the past
    for name in _CALLS:
        monkeypatch.setattr(os, name, system.wrapped(getattr(os, name)))
    counted: Counter[str] = Counter()
    quiet = 0
    while quiet < 90:
        system.often = 0.0 if system.over else chance.choice((0.0, 0.02, 0.2, 0.5))
        followed.now += chance.choice((0.05, 0.3, 1.1))
        try:
            outcome = followed.round()
        except Killed:
            system.often = 0.0
            followed.restart(from_start=True)
            continue
        for key, incident in outcome.incidents.items():
            counted[key[0]] += incident.count
        if not system.over and chance.random() < 0.3:
            system.go_on()
        quiet = 0 if outcome.lines or not system.over else quiet + 1
    assert (writer.lines - counted, counted - writer.lines) == (Counter(), Counter())
    assert set(followed.reasons) <= {GONE}  # between a rename and the next line there may be a long time
