"""`best_of` runs commands and says what they cost: CPU, wall time and peak memory, as the kernel counted them.

Guarantees: commands that are compared take turns, so that a busy minute of the machine hits all of them; of
several rounds the cheapest counts. CPU is that of the command and all its children; memory is the peak resident
set of the largest of these processes, mapped file pages included (getrusage(2), ru_maxrss). Linux lets a child
start counting from what its parent had, so commands are started by a small process, this file run as a program.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ROUNDS = 3
PATIENCE = 60.0
"""Seconds after which no further round begins."""
_OUTPUT = "BENCH_OUTPUT"


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
        starter = subprocess.run(
            [sys.executable, "-S", "-E", __file__, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=err,
            pass_fds=[out.fileno()],
            env={**os.environ, **(env or {}), _OUTPUT: str(out.fileno())},
            check=False,
        )
        told = starter.stdout.split()
        out.seek(0)
        printed = out.read().decode(errors="replace")
        if starter.returncode != 0 or int(told[0]) not in codes:
            err.seek(0)
            complaint = err.read().decode(errors="replace")[-2000:]
            code = told[0].decode() if told else f"none, after {time.perf_counter() - began:.1f} s"
            raise Failed(f"{' '.join(command)}\nended with exit code {code}:\n{complaint}")
    return Cost(float(told[1]), float(told[2]), int(told[3]) * 1024, printed)


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and with which exit codes it counts as done."""

    words: Sequence[str]
    codes: Sequence[int] = (0,)
    env: Mapping[str, str] | None = None


def best_of(commands: Mapping[str, Command], rounds: int = ROUNDS) -> dict[str, Cost]:
    """Run the commands in turn, `rounds` times; the least CPU and wall time count, and the most memory."""
    runs: dict[str, list[Cost]] = {name: [] for name in commands}
    began = time.perf_counter()
    for number in range(rounds):
        if number and time.perf_counter() - began > PATIENCE:
            break
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


def _start(command: list[str]) -> None:
    """Run a command, its output to the file in `_OUTPUT`; print exit code, CPU, wall time and peak kB."""
    out = int(os.environ.pop(_OUTPUT))
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out, 1)])
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - began
    print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss)


if __name__ == "__main__":
    _start(sys.argv[1:])
