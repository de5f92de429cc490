"""Starts `imdswatch watch` in a process of its own, kills it, and reads what it told; tests and the soak share it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commandline import command, environment
from patience import LONG

FAST = """
from imdswatch.watch import follow, loop
follow.EVERY, follow.GRACE, follow.SETTLED, follow.FINISHED, follow.MISSING = 0.1, 1.0, 0.3, 0.6, 60.0
loop.TICK, loop.STATUS, loop.RETRY = 0.05, 0.2, 0.3
"""
"""Seconds that people need not feel and tests would: run before the command."""

Told = dict[tuple[str, str | None], tuple[int, dict[str, int], str]]
"""Fingerprint and suppression; total count, counts by rule, stage."""


class Watching:
    """One `watch` over some paths, which may be started and killed many times."""

    def __init__(self, folder: Path, *arguments: object, driver: str = FAST) -> None:
        self.folder, self.output, self.state = folder, folder / "told.ndjson", folder / "state"
        self._arguments, self._driver = arguments, driver
        self._process: subprocess.Popen[bytes] | None = None
        self.peak = self.kills = 0

    def start(self) -> None:
        words = ["watch", *self._arguments, "--state", self.state, "--format", "ndjson", "-o", self.output]
        with (self.folder / "stderr").open("ab") as errors:
            self._process = subprocess.Popen(
                command(*words, driver=self._driver),
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        self._note_memory()
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def stop(self) -> int:
        self._note_memory()
        self.signal(signal.SIGTERM)
        assert self._process is not None
        return self._process.wait(LONG)

    def _note_memory(self) -> None:
        try:
            text = Path(f"/proc/{self.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        for line in text.splitlines():
            if line.startswith("VmHWM:"):
                self.peak = max(self.peak, int(line.split()[1]) << 10)

    @property
    def errors(self) -> str:
        return (self.folder / "stderr").read_text()

    def results(self) -> list[dict[str, Any]]:
        """What was told so far, whole lines only."""
        text = self.output.read_text() if self.output.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def told(self) -> Told:
        """What was told of each finding last."""
        return last(self.results())

    def skips(self) -> list[tuple[str, str]]:
        return [
            (Path(one["source"]).name, one["reason"]) for one in self.results() if one["type"] == "skipped"
        ]

    def until(self, what: Callable[[], object], seconds: float = LONG) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not what():
            assert self._process is not None
            assert self._process.poll() is None, self.errors
            assert time.monotonic() < end, f"never happened; {self.errors}"
            time.sleep(0.02)

    def until_running(self, seconds: float = LONG) -> None:
        """Wait until it has looked at everything once."""
        before = time.time()
        self.until(lambda: self.status().get("at", 0.0) > before, seconds)

    def behind(self) -> int:
        """Return how many octets were unread when it told last how it goes."""
        return sum(feed["counts"]["lag"] for feed in self.status().get("feeds", ()))

    def status(self) -> dict[str, Any]:
        """Return what `--status` reads."""
        from imdswatch.errors import UsageError
        from imdswatch.watch.state import read_status

        try:
            return read_status(self.state)[0]
        except UsageError:
            return {}


@contextmanager
def watching(folder: Path, *arguments: object, driver: str = FAST) -> Iterator[Watching]:
    """Run a watch for as long as the block lasts."""
    one = Watching(folder, *arguments, driver=driver)
    one.start()
    try:
        yield one
    finally:
        if one._process is not None and one._process.poll() is None:
            one.kill()
        assert "Traceback" not in one.errors, one.errors
        assert "has a bug" not in one.errors, one.errors


def last(results: list[dict[str, Any]]) -> Told:
    """Return what the last line about each finding says."""
    return {
        (one["fingerprint"], one["suppressed_by"]): (one["count"], one["rules"], one["stage"])
        for one in results
        if one["type"] == "finding"
    }


def squid(when: float, source: str, path: str, host: str = "169.254.169.254", status: int = 200) -> bytes:
    """Return a line of Squid's native access log."""
    return (
        f"{when:.3f}      1 {source} TCP_MISS/{status} 346 GET http://{host}{path} - HIER_DIRECT/{host} text/plain\n"
    ).encode()


def scanned(folder: Path, *paths: object) -> Told:
    """Return what one `scan` says of some paths."""
    done = subprocess.run(
        command("scan", *paths, "--format", "ndjson"), env=environment(), capture_output=True, check=False
    )
    assert os.path.exists(folder)
    assert done.returncode in (0, 1), done.stderr
    return last([json.loads(line) for line in done.stdout.splitlines()])
