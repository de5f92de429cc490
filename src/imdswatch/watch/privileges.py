"""Give up what a sensor needs no more once its sockets are open: root, capabilities, system calls, and the way back.

What stays is CAP_NET_RAW, so that an interface that comes back can be opened again; with `--processes` CAP_SYS_PTRACE,
without which /proc does not say which program another user runs; with `--follow` CAP_DAC_READ_SEARCH, for logs. It
is said to the kernel that this process and its children get no more than they have (no_new_privs, and an empty
bounding set otherwise).

Root that names nobody becomes who called sudo, else nobody, where that user can do what is left to do. Call it before
threads are started: capabilities belong to a thread. Sources: capabilities(7), capset(2), prctl(2). Raises UsageError.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import stat
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imdswatch.errors import UsageError
from imdswatch.watch.state import is_ours

CAP_DAC_READ_SEARCH, CAP_NET_RAW, CAP_SYS_PTRACE = 2, 13, 19
_VERSION_3 = 0x20080522
_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 8, 24, 38, 47
_CLEAR_ALL = 4
_LAST = 63  # capabilities of any kernel; unknown ones are refused, which ends the loop


def drop(user: str | None, keep: frozenset[int] = frozenset({CAP_NET_RAW})) -> None:
    """Become a user, if one is named, and keep only these capabilities of those that are held."""
    library = ctypes.CDLL(None, use_errno=True)
    held = permitted() & sum(1 << capability for capability in keep)
    for capability in range(_LAST + 1):
        if capability not in keep and library.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
            break  # unknown to this kernel, or not allowed: then there is nothing to drop
    if user is not None:
        _become(user, library)
    if (
        permitted() != held
    ):  # else there is nothing to give up, and systemd's SystemCallFilter= may forbid to try
        _set(library, held)
    library.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    _checked(library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def permitted() -> int:
    """Return the capabilities that this thread may use, as a mask of bits."""
    with open("/proc/thread-self/status", "rb") as status:
        return int(next(line for line in status if line.startswith(b"CapPrm:")).split()[1], 16)


def can_go_on() -> bool:
    """Say whether this process, as who it is now, may read the modules that it has yet to import."""
    return all(os.access(path, os.R_OK, effective_ids=True) for path in (os.__file__, __file__))


def somebody() -> str | None:
    """Return who root is to become where nobody is named: who called sudo, else nobody; None for who is not root."""
    if os.geteuid():
        return None
    called = os.environ.get("SUDO_UID", "")
    return called if called.isascii() and called.isdigit() and int(called) else "nobody"


def hindrance(user: str, *, own: Path, written: Iterable[Path], read: Iterable[Path]) -> str:
    """Say what of that which is left to do a user could not do; empty if nothing is in the way. Asked by root.

    `own` is the folder of the state, which will be handed over; `written` are files, there or not; `read` files and
    folders.
    """
    ours, there = is_ours(own), own.exists()
    above = next(one for one in own.absolute().parents if one.exists())
    try:
        with _as(_entry(user)):
            if not can_go_on():
                return "cannot read the modules of this program"
            if not (_may(above, os.X_OK) and (ours or not there or _may(own, os.W_OK | os.X_OK))):
                return f"cannot write to {own}"
            for path in written:
                place, what = (
                    (path, os.W_OK) if path.exists() else (path.absolute().parent, os.W_OK | os.X_OK)
                )
                if not _may(place, what):
                    return f"cannot write to {path}"
            for path in read:
                if not _may(path, os.R_OK):
                    return f"cannot read {path}"
    except UsageError as error:
        return f"cannot be: {error.what}"
    except OSError as error:
        return f"cannot be: {(error.strerror or str(error)).lower()}"
    return ""


def hand_over(folder: Path, user: str | None) -> None:
    """Make the folder of a state the user's, with what is in it; root's for None. Any other folder is left alone.

    Who had it before may be anybody: a file with another name somewhere else, or none of its own, keeps its owner.
    """
    entry = _entry(user) if user is not None else pwd.getpwuid(0)
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_ours(folder):
            for path in (*folder.iterdir(), folder):
                _hand_over(path, entry, folder=path == folder)


def _hand_over(path: Path, entry: pwd.struct_passwd, *, folder: bool) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if folder or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1):
            os.fchown(fd, entry.pw_uid, entry.pw_gid)
    finally:
        os.close(fd)


def _may(path: Path, what: int) -> bool:
    return os.access(path, what, effective_ids=True)


@contextmanager
def _as(entry: pwd.struct_passwd) -> Iterator[None]:
    """Be a user for as long as the block lasts; raises OSError. For root, before anything is given up."""
    group, groups = os.getegid(), os.getgroups()
    os.setgroups(_groups(entry))
    try:
        os.setegid(entry.pw_gid)
        os.seteuid(entry.pw_uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _entry(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise UsageError(f"there is no user {user}", help="useradd --system imdswatch makes one") from None


def _groups(entry: pwd.struct_passwd) -> list[int]:
    return [group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem]


def _become(user: str, library: ctypes.CDLL) -> None:
    entry = _entry(user)
    if os.geteuid() == entry.pw_uid:
        return
    _checked(library.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "keepcaps")
    try:
        os.setgroups(_groups(entry))
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    except OSError as error:
        raise UsageError(
            f"cannot become user {user}: {(error.strerror or '').lower()}",
            help="only root can become another user",
        ) from error


def _set(library: ctypes.CDLL, mask: int) -> None:
    """Make this mask all that is permitted and effective; nothing is inherited."""
    header = struct.pack("=Ii", _VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    _checked(library.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)), "capset")


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise UsageError(f"cannot give up privileges ({what}): {os.strerror(number).lower()}")
