"""What a sensor may no longer ask of the kernel, and what it still may; tried in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imdswatch.watch.syscalls import FORBIDDEN, MACHINES, refusal

TOOL = """
import ctypes, json, os, socket, sys, threading
from imdswatch.watch.syscalls import FORBIDDEN, MACHINES, forbid
said = {"held": forbid()}
libc = ctypes.CDLL(None, use_errno=True)
column = MACHINES[os.uname().machine][1]
def tried(what):
    try:
        what()
    except OSError as error:
        return error.errno
    return 0
for name, numbers in FORBIDDEN.items():
    if numbers[column] is not None:
        ctypes.set_errno(0)
        said[name] = (libc.syscall(numbers[column], -1, 0, 0, 0, 0, 0), ctypes.get_errno())
said["program"] = tried(lambda: os.execv(sys.executable, [sys.executable, "-c", "0"]))
done = []
thread = threading.Thread(target=lambda: done.append(tried(lambda: os.execv("/bin/sh", ["sh", "-c", "true"]))))
thread.start(); thread.join()
said["thread"] = done[0]
said["socket"] = tried(lambda: socket.socket().close())
said["file"] = tried(lambda: open(sys.executable).close())
said["seccomp"] = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("Seccomp:"))
print(json.dumps(said))
"""
EPERM = 1


@pytest.mark.skipif(os.uname().machine not in MACHINES, reason="no list for this machine")
def test_what_is_refused_and_what_is_not() -> None:
    done = subprocess.run(
        ["setpriv", "--no-new-privs", "--", sys.executable, "-c", TOOL],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    if not said.pop("held"):
        pytest.skip("this kernel has no filters of system calls")
    assert said.pop("seccomp") == "2"
    assert (said.pop("socket"), said.pop("file")) == (0, 0)
    assert (said.pop("program"), said.pop("thread")) == (EPERM, EPERM)
    assert set(said) <= set(FORBIDDEN)
    assert {name: found for name, found in said.items() if found != [-1, EPERM]} == {}


@pytest.mark.parametrize(
    ("column", "header"),
    [(0, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), (1, "/usr/include/asm-generic/unistd.h")],
)
def test_the_numbers_are_those_of_the_kernel(column: int, header: str) -> None:
    if not Path(header).exists():
        pytest.skip("the kernel's headers are not installed here")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text())
    known = {name: int(number) for name, number in reversed(found)}
    assert {name: numbers[column] for name, numbers in FORBIDDEN.items()} == {
        name: known.get(name) for name in FORBIDDEN
    }


@pytest.mark.parametrize("machine", MACHINES)
def test_every_jump_stays_within_the_filter(machine: str) -> None:
    code = refusal(machine)
    assert len(code) < 256
    for place, (_, true, false, _) in enumerate(code):
        assert place + 1 + max(true, false) < len(code) or (true, false) == (0, 0)
