"""The place where the attack is rehearsed: processes and namespaces that end with us, whatever happens.

`enter` forks, and what goes on in the child is pid 1 of its own process tree, in a network that has no interface but
`lo`. Nothing has a name outside (no `ip netns`, no interface, no mount): when the child ends, by itself or by `kill -9`
of any of us, the kernel ends every process in there and takes the namespaces away. That is all the cleaning there is.

`Enclosure.start` is the only thing in this program that starts a client, and it looks first: the thread must be in a
namespace that the enclosure made, and no interface of any of them may lead anywhere else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from imdswatch.errors import ImdswatchError
from imdswatch.lab import kernel

WORK = Path("/run")
"""Private in an enclosure: a tmpfs of its own, so that the sockets of the host's daemons are out of reach, too."""
_SPACES = kernel.NEWNS | kernel.NEWIPC | kernel.NEWPID | kernel.NEWNET
_NO_RESOLVER = "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n"
_HARMLESS = {"veth", "bridge"}
_UNNUMBERED = 2**32 - 1  # NETNSA_NSID_NOT_ASSIGNED


class Unavailable(Exception):
    """This machine does not let us make namespaces; the text says why."""


class Unsafe(ImdswatchError):
    """A client would have been started where it could reach the world. Nothing was started."""


def enter() -> Enclosure | int:
    """Fork: returns the enclosure in the child, and in the parent, when all is over, the exit code that the child had.

    Raises `Unavailable` in the parent. Call it before any thread is started.
    """
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    try:
        outside, parent = kernel.identity(), kernel.own_number()
    except OSError as error:
        raise Unavailable(f"/proc: {(error.strerror or str(error)).lower()}") from error
    heard, tell = os.pipe()
    caretaker = os.fork()
    if caretaker:
        os.close(tell)
        return _await(caretaker, heard)
    os.close(heard)
    try:
        _leave(parent)
        parent = kernel.own_number()
        pid = os.fork()
    except OSError as error:
        os.write(tell, f"{error.filename or 'fork'}: {(error.strerror or str(error)).lower()}".encode())
        os._exit(1)
    if pid:
        os.close(tell)
        os._exit(_code(os.waitpid(pid, 0)[1]))
    try:
        kernel.end_with(parent)
        _furnish()
        if kernel.identity() == outside:
            raise OSError(0, "the network is still the machine's own", "unshare")
    except OSError as error:
        os.write(tell, f"{error.filename or 'mount'}: {(error.strerror or str(error)).lower()}".encode())
        os._exit(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.close(tell)
    return Enclosure(outside)


def _await(caretaker: int, heard: int) -> int:
    ended = False
    try:
        with open(heard, encoding="utf-8") as told:
            why = told.read()  # ends when the enclosure is set, or cannot be
        code = _code(os.waitpid(caretaker, 0)[1])
        ended = True
    finally:
        if not ended:  # interrupted
            os.kill(caretaker, signal.SIGKILL)
            os.waitpid(caretaker, 0)
    if why:
        raise Unavailable(why)
    return code


def _leave(parent: int) -> None:
    """Move this process out of what it shares with the machine; its next child is pid 1."""
    kernel.end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells our child as well
    try:
        kernel.unshare(_SPACES)
    except PermissionError:
        kernel.unshare(_SPACES | kernel.NEWUSER)
        kernel.become_root_of_own_users()


def _furnish() -> None:
    kernel.keep_mounts_private()
    with suppress(OSError):  # a container may hide parts of /proc and then forbids a whole one
        kernel.mount("proc", "/proc")
    resolver = os.path.realpath("/etc/resolv.conf")
    kernel.mount("tmpfs", str(WORK))
    (WORK / "resolv.conf").write_text(_NO_RESOLVER, encoding="ascii")
    if os.path.exists(resolver):
        kernel.bind(str(WORK / "resolv.conf"), resolver)


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


class Namespace:
    """One network namespace, kept alive by our descriptor alone; `with` puts the calling thread into it."""

    def __init__(self, name: str) -> None:
        from pyroute2 import IPRoute  # type: ignore[import-untyped]

        self.name = name
        self._before: list[int] = []
        back = os.open(kernel.HERE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.unshare(kernel.NEWNET)
            self.descriptor = os.open(kernel.HERE, os.O_RDONLY | os.O_CLOEXEC)
            self.identity = kernel.identity()
            self.set("ipv6/conf/default/accept_dad", 0)  # a link-local address is usable at once
            self.set("ipv6/conf/default/router_solicitations", 0)
            self.ip = IPRoute()  # its socket stays in this namespace
            self.ip.link("set", index=1, state="up")
        finally:
            kernel.setns(back)
            os.close(back)

    def __enter__(self) -> Namespace:
        self._before.append(os.open(kernel.HERE, os.O_RDONLY | os.O_CLOEXEC))
        kernel.setns(self.descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        back = self._before.pop()
        kernel.setns(back)
        os.close(back)

    def entered(self) -> bool:
        """Say whether the calling thread is in it."""
        return kernel.identity() == self.identity

    def set(self, name: str, value: int | str) -> None:
        """Set a value below /proc/sys/net; the calling thread must be in the namespace."""
        Path("/proc/sys/net", name).write_text(str(value), encoding="ascii")

    def index(self, interface: str) -> int:
        """Return the number of an interface."""
        found = self.ip.link_lookup(ifname=interface)
        return int(found[0])

    def close(self) -> None:
        """Let go of it: the kernel removes it with all its interfaces."""
        self.ip.close()
        os.close(self.descriptor)


class Enclosure:
    """The namespaces of one performance, and the processes in them; `close` ends both. Only `enter` makes one."""

    def __init__(self, outside: tuple[int, int]) -> None:
        self.spaces: dict[str, Namespace] = {}
        self._outside = outside
        self._processes: list[subprocess.Popen[bytes]] = []

    def space(self, name: str) -> Namespace:
        """Return a new namespace."""
        self.spaces[name] = found = Namespace(name)
        return found

    def close(self) -> None:
        """End all processes and let go of all namespaces."""
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes.clear()
        for space in self.spaces.values():
            space.close()
        self.spaces.clear()

    def start(
        self,
        space: Namespace,
        words: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path | None = None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start a program in a namespace, its output captured; raises `Unsafe` unless it can reach nobody else."""
        with space:
            self.verify(space)
            process = subprocess.Popen(
                words,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def verify(self, space: Namespace) -> None:
        """Raise `Unsafe` unless the calling thread is in that namespace of ours, and none of ours leads outside."""
        if self.spaces.get(space.name) is not space or not space.entered():
            raise Unsafe("the thread is not in a namespace of the lab")
        if os.getpid() != 1 or kernel.identity() == self._outside:
            raise Unsafe("this process is not alone in its own process tree")
        for one in self.spaces.values():
            links = list(one.ip.get_links())  # the kernel numbers the other ends as it lists them
            ours = {one.ip.get_netnsid(fd=other.descriptor)["nsid"] for other in self.spaces.values()}
            for link in links:
                fault = _way_out(link, ours)
                if fault:
                    raise Unsafe(f"{one.name}: {link.get_attr('IFLA_IFNAME')} {fault}")


def _way_out(link: Any, ours: set[int]) -> str:
    """Return why an interface may lead to somewhere that is not ours, or nothing."""
    if link.get_attr("IFLA_IFNAME") == "lo":
        return ""
    info = link.get_attr("IFLA_LINKINFO")
    kind = info.get_attr("IFLA_INFO_KIND") if info is not None else None
    if kind not in _HARMLESS:
        return f"is of kind {kind}, not a cable between our namespaces"
    if kind == "veth":
        there = link.get_attr("IFLA_LINK_NETNSID")
        if there is not None and there not in ours - {_UNNUMBERED}:
            return "ends in a namespace that is not ours"
    return ""
