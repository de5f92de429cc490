"""Give up what a sensor needs no more once its sockets are open: root, capabilities, and the way back to them.

What stays is CAP_NET_RAW, so that an interface that comes back can be opened again; with `--processes` CAP_SYS_PTRACE,
without which /proc does not say which program another user runs; with `--follow` CAP_DAC_READ_SEARCH, for logs. It
is said to the kernel that this process and its children get no more than they have (no_new_privs, and an empty
bounding set otherwise).

A filter of system calls is not set here: no Python library for it is kept up to date; the systemd unit has one
(SystemCallFilter=). Call it before threads are started: capabilities belong to a thread. Sources: capabilities(7),
capset(2), prctl(2). Raises UsageError.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import struct

from imdswatch.errors import UsageError

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
    return all(os.access(path, os.R_OK) for path in (os.__file__, __file__))


def _become(user: str, library: ctypes.CDLL) -> None:
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise UsageError(f"there is no user {user}", help="useradd --system imdswatch makes one") from None
    if os.geteuid() == entry.pw_uid:
        return
    _checked(library.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "keepcaps")
    groups = [group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem]
    try:
        os.setgroups(groups)
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
