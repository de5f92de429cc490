"""Runs the command line in a process of its own and measures it; tests share it.

`rss` is the peak resident memory in bytes of that process and its workers, whichever is largest; `seconds` what all of
them worked, which a busy machine hardly changes. A process in between starts it, because the kernel counts what a
parent had at the time of the fork, and pytest has a lot.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import line_schema
from patience import LONG

SOURCES = Path(__file__).parents[1] / "src"
_JUDGED = 200
LIMIT = 300 << 20
"""Peak memory that no input may exceed, in bytes."""

_STARTER = """
import os, resource, subprocess, sys
code = subprocess.call(sys.argv[2:], close_fds=False)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as out:
    out.write(f"{used.ru_maxrss} {used.ru_utime + used.ru_stime}")
sys.exit(code if code >= 0 else 128 - code)
"""


@dataclass(frozen=True)
class Done:
    """What a run left behind."""

    code: int
    out: str
    err: str
    rss: int
    seconds: float = 0.0

    @property
    def results(self) -> list[dict[str, Any]]:
        """The lines of ndjson output; those of `imdswatch/1` are as its published schema says."""
        found = [json.loads(line) for line in self.out.splitlines()]
        for one in (*found[:_JUDGED], *found[-1:]):
            if one.get("format") == line_schema.FORMAT:
                assert line_schema.faults(one) == [], one
        return found

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The results of a type: finding, skipped, summary."""
        return [result for result in self.results if result["type"] == kind]

    @property
    def places(self) -> set[str]:
        """Where findings were seen, as `file name:position`."""
        seen = [evidence for finding in self.of("finding") for evidence in finding["evidence"]]
        return {f"{Path(one['source']).name}:{one['position']}" for one in seen}

    @property
    def skips(self) -> dict[str, str]:
        """What could not be looked at: `file name:position` and the reason."""
        return {
            f"{Path(one['source']).name}:{one.get('position', '')}": one["reason"]
            for one in self.of("skipped")
        }


def environment() -> dict[str, str]:
    """Return the environment for a run: our sources, no colours, no terminal."""
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    return {**kept, "PYTHONPATH": str(SOURCES), "NO_COLOR": "1", "PYTHONWARNINGS": "default"}


def command(*arguments: object, driver: str = "") -> list[str]:
    """Return the words that start a command line; `driver` is Python code to run before it, in the same process."""
    words = [str(argument) for argument in arguments]
    if not driver:
        return [sys.executable, "-m", "imdswatch", *words]
    return [sys.executable, "-c", f"{driver}\nfrom imdswatch.cli import run\nrun()", *words]


def run(
    tmp_path: Path,
    *arguments: object,
    driver: str = "",
    stdin: Any = subprocess.DEVNULL,
    timeout: float = 4 * LONG,
) -> Done:
    """Run a command line to its end. Fails on what no user may ever see: a trace, our own bug, too much memory."""
    note = tmp_path / f".rss-{os.urandom(4).hex()}"
    words = [sys.executable, "-S", "-c", _STARTER, str(note), *command(*arguments, driver=driver)]
    given: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    done = subprocess.run(
        words, capture_output=True, timeout=timeout, env=environment(), check=False, **given
    )
    kilobytes, seconds = note.read_text().split()
    rss = int(kilobytes) << 10
    result = Done(done.returncode, done.stdout.decode(), done.stderr.decode(), rss, float(seconds))
    note.unlink()
    assert "Traceback" not in result.err, result.err
    assert "Warning" not in result.err, result.err
    assert result.code != 70, result.err
    assert result.rss < LIMIT, f"took {result.rss >> 20} MiB"
    return result


def scan(tmp_path: Path, *arguments: object, **how: Any) -> Done:
    """Run `scan … --format ndjson`; the options come last."""
    return run(tmp_path, "scan", *arguments, "--format", "ndjson", **how)
