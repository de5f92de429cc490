"""A cable in a network namespace of the test's own: frames are put in at one end, the program listens at the other.

The namespace has no way out, and goes when the block is left: the process returns to its own, and nothing holds it any
more. Nothing in it speaks by itself: IPv6 is off, and the cable has no address.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imdswatch.wire.frame import Frame
from patience import until

_CLONE_NEWNET = 0x40000000
_CAN = os.geteuid() == 0 and subprocess.run(["unshare", "--net", "true"], check=False).returncode == 0
NEEDS_ROOT = pytest.mark.skipif(
    not _CAN, reason="making a network namespace needs root, and a kernel that lets it"
)
_MTU = 65_535


def call(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@contextmanager
def namespace() -> Iterator[None]:
    """Enter a network namespace made for the block; this thread only."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        call("unshare", _CLONE_NEWNET)
        try:
            yield
        finally:
            call("setns", home, _CLONE_NEWNET)
    finally:
        os.close(home)


def lay(near: str = "in0", far: str = "out0") -> None:
    """Lay a cable between two interfaces of this namespace."""
    from pyroute2 import IPRoute

    for name in ("default", "all"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    with IPRoute() as net:
        net.link("add", ifname=near, kind="veth", peer={"ifname": far})
        for name in (near, far):
            net.link("set", index=net.link_lookup(ifname=name)[0], state="up", mtu=_MTU)
    _works(near, far)


def _works(*names: str) -> None:
    """Wait until interfaces pass packets: the kernel notices a moment later that a cable is in."""
    from pyroute2 import IPRoute

    def works() -> bool:
        return {net.link("get", ifname=name)[0].get_attr("IFLA_OPERSTATE") for name in names} == {"UP"}

    with IPRoute() as net:
        until(works, "the cable does not work")


def switch(name: str, *, up: bool) -> None:
    """Take an interface up or down."""
    from pyroute2 import IPRoute

    with IPRoute() as net:
        net.link("set", index=net.link_lookup(ifname=name)[0], state="up" if up else "down")
    if up and name not in ("lo", "tun0"):
        _works(name)


def cut(name: str) -> None:
    """Take an interface away, and the cable with it."""
    from pyroute2 import IPRoute

    with IPRoute() as net:
        net.link("del", index=net.link_lookup(ifname=name)[0])


@contextmanager
def sender(name: str = "in0") -> Iterator[socket.socket]:
    """Open a socket that puts whole frames on an interface."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.bind((name, 0))
        yield out


def send(frames: Iterable[bytes | Frame], name: str = "in0") -> int:
    """Put frames on an interface; return how many."""
    count = 0
    with sender(name) as out:
        for frame in frames:
            out.send(frame.data if isinstance(frame, Frame) else frame)
            count += 1
    return count


def pcap(path: Path) -> list[Frame]:
    """Read a classic little-endian pcap of Ethernet frames, by no reader of ours; any other raises ValueError."""
    octets = path.read_bytes()
    units = {b"\xd4\xc3\xb2\xa1": 1e6, b"\x4d\x3c\xb2\xa1": 1e9}.get(octets[:4])
    if units is None or len(octets) < 24 or struct.unpack_from("<I", octets, 20)[0] != 1:
        raise ValueError(path.name)
    frames, at = list[Frame](), 24
    while at + 16 <= len(octets):
        seconds, fraction, size, length = struct.unpack_from("<IIII", octets, at)
        data = octets[at + 16 : at + 16 + size]
        frames.append(Frame(len(frames) + 1, seconds + fraction / units, data, length, 1))
        at += 16 + size
    return frames
