"""Who on this machine opens TCP connections: told by the kernel as they begin, or asked for now and then.

`Trace` is an instance of its own in tracefs that tells of every connection, in all network namespaces, without a
compiler and without eBPF. It needs root to open, and nothing but its descriptors afterwards; killed in any way, tracing
stops and its memory is given back (`free_buffer`), and the empty folder goes when the next sensor starts. tracefs is
mounted in a mount namespace of this process where it is not mounted. `Sockets` is what is left where there is none: it
asks the kernel for sockets of its own network namespace, and sees unanswered connections, as those wait, and hardly any
of the others. Raises OSError where that is said.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path

from imdswatch.read.askers import Asker, Change, Lost, parse

_FOLDERS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_EVENT = "events/sock/inet_sock_set_state"
_NAME = "imdswatch-"
_SYN_SENT = 2
_CLONE_NEWNS, _MS_REC, _MS_SLAVE = 0x00020000, 0x4000, 1 << 19
_READ = 1 << 16
_MOST_DESCRIPTORS = 100_000


class Trace:
    """Connections of this machine as they begin and become known."""

    def __init__(self) -> None:
        self._folder = _tracefs() / "instances" / f"{_NAME}{os.getpid()}"
        _clear(self._folder.parent)
        self._folder.mkdir()
        self._descriptors: list[int] = []
        self._rest = b""
        try:
            self._put("buffer_size_kb", "256")
            self._put("buffer_percent", "0")  # else poll() wakes when the buffer is half full
            self._put("options/disable_on_free", "1")
            self._put(f"{_EVENT}/filter", f"oldstate == {_SYN_SENT} || newstate == {_SYN_SENT}")
            self._descriptors.append(os.open(self._folder / "free_buffer", os.O_RDONLY | os.O_CLOEXEC))
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            self._pipe = os.open(self._folder / "trace_pipe", flags)
            self._descriptors.append(self._pipe)
            self._put(f"{_EVENT}/enable", "1")
        except OSError:
            self.close()
            raise

    def _put(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)

    def fileno(self) -> int:
        """Return what select() waits on."""
        return self._pipe

    def read(self) -> Iterator[Change | Lost]:
        """Yield what the kernel told since this was last asked; never waits."""
        while True:
            try:
                octets = os.read(self._pipe, _READ)
            except (BlockingIOError, InterruptedError):
                return
            if not octets:
                return
            *lines, self._rest = (self._rest + octets).split(b"\n")
            self._rest = self._rest[-_READ:]
            for line in lines:
                found = parse(line.decode("utf-8", "backslashreplace"))
                if found is not None:
                    yield found

    def close(self) -> None:
        """Stop tracing, and take the instance away if this process still may."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []
        _remove(self._folder)


def _tracefs() -> Path:
    """Return where tracefs is, mounted in a mount namespace of our own if need be."""
    for folder in _FOLDERS:
        if Path(folder, _EVENT).is_dir():
            return Path(folder)
    library = ctypes.CDLL(None, use_errno=True)
    target = _FOLDERS[0].encode()
    failed = (
        library.unshare(_CLONE_NEWNS)
        or library.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None)
        or library.mount(b"tracefs", target, b"tracefs", ctypes.c_ulong(0), None)
    )
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "tracefs")
    return Path(_FOLDERS[0])


def _clear(folder: Path) -> None:
    """Take away what sensors left that were killed."""
    for old in folder.glob(f"{_NAME}*"):
        if not Path("/proc", old.name.removeprefix(_NAME)).is_dir():
            _remove(old)


def _remove(folder: Path) -> None:
    try:
        folder.rmdir()  # the kernel removes what is in it
    except OSError:
        pass  # not ours to remove any more; the next sensor does


class Sockets:
    """Connections to some addresses that exist at the moment, in the network namespace of this process."""

    def __init__(self, addresses: frozenset[str]) -> None:
        self._addresses = addresses

    def read(self) -> Iterator[tuple[str, int, str, int, Asker]]:
        """Yield source, port, destination, port and owner of each connection."""
        from pyroute2 import DiagSocket  # type: ignore[import-untyped]

        with DiagSocket() as asking:
            for family in (socket.AF_INET, socket.AF_INET6):
                for one in asking.get_sock_stats(family=family, states=1 << 1 | 1 << _SYN_SENT):
                    if one["idiag_dst"] in self._addresses:
                        asker = _owner(one["idiag_inode"], one["idiag_uid"])
                        ports = one["idiag_sport"], one["idiag_dport"]
                        yield one["idiag_src"], ports[0], one["idiag_dst"], ports[1], asker


def _owner(inode: int, uid: int) -> Asker:
    """Return the process that has a socket; only its user where that cannot be found."""
    wanted = f"socket:[{inode}]"
    for number, link in enumerate(Path("/proc").glob("[0-9]*/fd/*")):
        if number > _MOST_DESCRIPTORS:
            break
        try:
            if os.readlink(link) == wanted:
                return asker(int(link.parts[2]), "")
        except OSError:
            continue
    return Asker("", None, _user(uid))


def asker(tid: int, comm: str) -> Asker:
    """Return what /proc says of a thread's process; of one that is gone, what it called itself."""
    folder = Path("/proc", str(tid))
    status = dict(line.partition(":")[::2] for line in _text(folder / "status").splitlines())
    name = _link(folder / "exe") or status.get("Name", "").strip() or comm
    owner = status.get("Uid", "").split()
    leader = status.get("Tgid", "").strip()
    return Asker(
        name,
        int(leader) if leader.isdigit() else tid,
        _user(int(owner[0])) if owner and owner[0].isdigit() else "",
        _group(_text(folder / "cgroup")),
    )


def _group(text: str) -> str:
    """Return the control group that says most: of the unified hierarchy, or the longest (cgroups(7))."""
    groups = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    unified = next((group for number, _, group in groups if number == "0"), "")
    return (
        unified if unified not in ("", "/") else max((group for _, _, group in groups), key=len, default="")
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:_READ].decode("utf-8", "backslashreplace")
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return os.fsencode(os.readlink(path)).decode("utf-8", "backslashreplace").removesuffix(" (deleted)")
    except OSError:
        return ""
