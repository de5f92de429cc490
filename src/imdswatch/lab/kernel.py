"""The system calls that namespaces need and that Python 3.11 has no names for. Each raises OSError.

Numbers are those of Linux's headers (sched.h, mount.h, prctl.h), the same on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
HERE = "/proc/thread-self/ns/net"
"""The network namespace of the calling thread."""

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Put the calling thread into new namespaces."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int) -> None:
    """Put the calling thread into the network namespace of a descriptor."""
    _check(_libc.setns(descriptor, NEWNET), "setns")


def own_number() -> int:
    """Return the number that this process has in the /proc that is mounted."""
    return int(os.readlink("/proc/self"))


def end_with(parent: int) -> None:
    """Have the kernel kill this process as soon as the one that forked it is gone; if it is gone already, end now.

    `parent` is what `own_number` said there: os.getppid() knows nobody outside our process tree.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    if f"PPid:\t{parent}\n" not in status:
        os._exit(1)


def become_root_of_own_users() -> None:
    """Map us to root of the user namespace that we are in: what an ordinary user may (user_namespaces(7))."""
    user, group = _ids
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")


def keep_mounts_private() -> None:
    """From now on nothing that is mounted here is seen outside."""
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)


def mount(kind: str, target: str) -> None:
    """Mount a new file system of a kind (proc, tmpfs)."""
    _mount(kind, target, kind, 0)


def bind(source: str, target: str) -> None:
    """Show a file in the place of another."""
    _mount(source, target, "", _MS_BIND)


def identity(path: str = HERE) -> tuple[int, int]:
    """Return what tells one namespace from another."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


_ids = (os.geteuid(), os.getegid())  # before a user namespace hides them


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    done = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)
    _check(done, f"mount {target}")


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
