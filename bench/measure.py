"""`best_of` runs commands and says what they cost: CPU, wall time and peak memory, as the kernel counted
them.

Guarantees: commands that are compared take turns, so that a busy minute of the machine hits all of them; of
several rounds the cheapest counts; memory is the peak resident set of the largest process, mapped file
pages included (getrusage(2), ru_maxrss), and never less than that of this process, from which Linux lets a
child start counting.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ROUNDS = 3


class Failed(Exception):
    """A command of the benchmark ended with an exit code that is none of those expected."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took: seconds of CPU (user and system) and wall time, bytes of memory; what it printed."""

    cpu: float
    wall: float
    memory: int
    output: str


def cost(
    command: Sequence[str], *, codes: Sequence[int] = (0,), env: Mapping[str, str] | None = None
) -> Cost:
    """Run one command, wait for it and all its children, and return its cost; raises `Failed`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, **(env or {})}
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        printed = out.read().decode(errors="replace")
        if child.returncode not in codes:
            err.seek(0)
            told = err.read().decode(errors="replace")[-2000:]
            raise Failed(f"{' '.join(command)}\nended with {child.returncode}:\n{told}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024, printed)


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and with which exit codes it counts as done."""

    words: Sequence[str]
    codes: Sequence[int] = (0,)
    env: Mapping[str, str] | None = None


def best_of(commands: Mapping[str, Command], rounds: int = ROUNDS) -> dict[str, Cost]:
    """Run the commands in turn, `rounds` times; the least CPU and wall time count, and the most memory."""
    runs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(cost(command.words, codes=command.codes, env=command.env))
    return {
        name: Cost(
            min(c.cpu for c in found),
            min(c.wall for c in found),
            max(c.memory for c in found),
            found[-1].output,
        )
        for name, found in runs.items()
    }
