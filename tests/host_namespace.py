"""Namespaces in which `imdswatch harden` may do to `/` what it likes, for tests of it on a live root.

A child process gets its own network and mounts: `/etc` and `/var/lib` are folders of the test, `/run`, `/sys` and the
start-up files of users are empty, and the only interface leads to a peer that nobody listens behind. There is no way
out, and nothing is left.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from commandline import command, environment
from patience import LONG, until

TOOLS = ("ip", "mount", "nft")
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
NEEDED = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may make namespaces and rules in them"),
    pytest.mark.skipif(
        not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)} (Debian: iproute2, nftables)"
    ),
    pytest.mark.skipif(
        not any(map(os.path.isfile, ("/usr/lib/systemd/systemd", "/lib/systemd/systemd"))),
        reason="the block is made to last by systemd, which is not installed here",
    ),
]


def harden(*words: str) -> tuple[int, str]:
    """Run the command on the root that this process sees; return its exit code and what it said."""
    done = subprocess.run(
        command("harden", *words),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def apart(folder: Path, what: Callable[[], object]) -> object:
    """Do something in namespaces of its own, with a root whose /etc and /var/lib lie in a folder; return its result."""
    result = folder / "result"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            enter(folder)
            result.write_text(json.dumps(what()), encoding="utf-8")
            code = 0
        except NotImplementedError:
            code = 98
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 98:
        pytest.skip("this sandbox allows no namespaces of its own")
    assert code == 0, "the child's trace stands above"
    return json.loads(result.read_text(encoding="utf-8"))


def enter(folder: Path) -> None:
    if ctypes.CDLL(None).unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        raise NotImplementedError
    for words in (
        f"mount --make-rprivate /|mount --bind {folder}/etc /etc|mount --bind {folder}/lib /var/lib"
        "|mount -t tmpfs none /run|mount -t tmpfs none /sys"
        "|ip link set lo up|ip link add v0 type veth peer name v1|ip link set v0 address 02:00:00:00:00:01"
        "|ip addr add 10.9.0.1/24 dev v0|ip -6 addr add fd09::1/64 dev v0 nodad|ip link set v1 up|ip link set v0 up"
        "|ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev v0"
        "|ip -6 neigh add fd09::2 lladdr 02:00:00:00:00:02 dev v0"
        "|ip route add default via 10.9.0.2|ip -6 route add default via fd09::2"
    ).split("|"):
        if subprocess.run(words.split(" "), check=False).returncode != 0:
            raise NotImplementedError
    # The start-up files of who runs the tests are nobody's business here: empty ones stand in for them.
    (folder / "empty").touch()
    for home in (Path("/root"), *Path("/home").glob("*")):
        for name in (".profile", ".bashrc", ".bash_profile", ".zshenv", ".zshrc"):
            if (home / name).is_file():
                words = ["mount", "--bind", folder / "empty", home / name]
                if subprocess.run(words, check=False).returncode != 0:
                    raise NotImplementedError
    shown = ["ip", "link", "show", "v0"]
    until(
        lambda: " state UP " in subprocess.run(shown, capture_output=True, text=True).stdout,
        "the link does not come up",
    )
