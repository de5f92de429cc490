"""`Live` is one interface as a source of packets for as long as it takes: it may go away and come back.

Guarantees: an interface that is gone or down is looked for by its name, and what was missed is a `Skipped` that says
from when until when; so is what the kernel dropped because nobody emptied the ring in time. Nothing waits. Raises
UsageError when it is opened for the first time, and never later. Times are those of the system's clock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime

from imdswatch.errors import UsageError
from imdswatch.finding import Skipped
from imdswatch.read.bpf import Instruction
from imdswatch.read.ring import BLOCK, Captured, Ring, hardware
from imdswatch.read.sieve import ETHERNET, RAW

Filter = Callable[[int], tuple[Instruction, ...]]
"""Link type in, kernel filter out."""

_LINKTYPES = {1: ETHERNET, 772: ETHERNET, 65534: RAW, 768: RAW, 769: RAW, 776: RAW, 778: RAW}
"""ARPHRD_… of linux/if_arp.h: Ethernet and loopback; tun and WireGuard, IP in IP, IPv6 in IP, GRE."""
_SIOCGIFFLAGS, _UP = 0x8913, 1
_EVERY = 1.0  # seconds between two looks at what was dropped
_SPAN = 60.0  # seconds of loss that are told at once
_AGAIN = 0.1  # seconds between two looks for an interface that is gone
_LEFT = 0.05  # seconds in which the kernel still hands over what came before the interface went


class Live:
    """The packets of one interface that a filter lets through, by a ring of `octets` in blocks."""

    def __init__(self, interface: str, program: Filter, octets: int, block: int = BLOCK) -> None:
        self.interface = interface
        self.name = f"interface {interface}"
        self.drops = 0
        self._program, self._octets, self._block = program, octets, block
        self._ring: Ring | None = None
        self._number = 1
        self._gone: float | None = None
        """Since when nothing is seen, if so."""
        self._going = 0.0  # monotonic: when the interface went, while its ring is still emptied
        self._checked = self._looked = time.monotonic()
        self._clean = time.time()  # what was dropped until then is counted
        self._dropping: tuple[float, float, int, int] | None = (
            None  # since when, until when; dropped of how many
        )
        self._told: list[Skipped] = []
        if interface not in {name for _, name in socket.if_nameindex()}:
            there = ", ".join(sorted(name for _, name in socket.if_nameindex()))
            raise UsageError(f"there is no interface {interface}", help=f"this machine has {there}")
        try:
            if _is_up(interface):
                self._open()
            else:
                self._lose("is down")
        except PermissionError as error:
            raise UsageError(
                f"cannot watch {self.name}: {(error.strerror or '').lower()}",
                help="run as root, or give CAP_NET_RAW: setpriv, or AmbientCapabilities= in a systemd unit",
            ) from error
        except OSError as error:
            raise UsageError(f"cannot watch {self.name}: {(error.strerror or str(error)).lower()}") from error

    def _open(self) -> None:
        kind = hardware(self.interface)
        linktype = _LINKTYPES.get(kind)
        if linktype is None:
            raise OSError(errno.EPFNOSUPPORT, f"links of kind {kind} (ARPHRD) cannot be read")
        self._ring = Ring(
            self.interface, linktype, self._program(linktype), self._octets, self._block, self._number
        )
        self._linktype = linktype

    def filter(self, program: Filter) -> None:
        """Use another filter from now on."""
        self._program = program
        if self._ring is not None:
            self._ring.filter(program(self._linktype))

    @property
    def whole(self) -> float:
        """Until when nothing was dropped that is not told yet, epoch seconds."""
        return self._clean if self._dropping is None else self._dropping[0]

    def fileno(self) -> int | None:
        """Return what select() waits on, None while the interface is gone."""
        return None if self._ring is None else self._ring.fileno()

    def read(self) -> Captured | None:
        """Return packets that are there, or None."""
        ring = self._ring
        if ring is None:
            return None
        found = ring.read()
        if found is None and self._gone is None:
            error = ring.error()
            if error:
                self._lose("went away" if error == errno.ENODEV else f"failed: {os.strerror(error).lower()}")
        return found

    def check(self, now: float) -> list[Skipped]:
        """Look after interface and losses; return what could not be looked at. `now` is monotonic seconds."""
        if self._gone is not None:
            self._return(now)
        if self._ring is not None and now - self._checked >= _EVERY:
            self._checked = now
            self._count()
        told, self._told = self._told, []
        return told

    def _lose(self, how: str) -> None:
        self._gone, self._going = time.time(), time.monotonic()
        self._told.append(
            Skipped(self.name, f"from {moment(self._gone)}", f"the interface {how}; nothing is seen")
        )

    def _return(self, now: float) -> None:
        if self._ring is not None and now - self._going >= _LEFT:
            self._count()
            self._number = self._ring.number
            self._ring.close()
            self._ring = None
        if self._ring is not None or now - self._looked < _AGAIN:
            return
        self._looked = now
        try:
            if not _is_up(self.interface):
                return
            self._open()
        except OSError:
            return  # gone again, or not ready yet
        assert self._gone is not None
        self._told.append(
            Skipped(self.name, span(self._gone, time.time()), "the interface was away; nothing was seen")
        )
        self._gone, self._clean = None, time.time()

    def _count(self) -> None:
        """Ask the kernel what it dropped; a span of losses is told once it is over, or long."""
        assert self._ring is not None
        before = time.time()
        packets, drops = self._ring.lost()
        now = time.time()
        self.drops += drops
        if drops:
            since, _, dropped, of = self._dropping or (self._clean, now, 0, 0)
            self._dropping = since, now, dropped + drops, of + packets
        if self._dropping is not None and (not drops or now - self._dropping[0] > _SPAN):
            self._tell_drops()
        self._clean = before

    def _tell_drops(self) -> None:
        assert self._dropping is not None
        since, until, drops, packets = self._dropping
        self._dropping = None
        reason = f"the kernel dropped {drops} of {packets} packets: they came faster than they were read"
        self._told.append(Skipped(self.name, span(since, until), reason))

    def close(self) -> list[Skipped]:
        """Give the interface back; return what could not be looked at and was not told yet."""
        if self._ring is not None:
            self._count()
            self._ring.close()
            self._ring = None
        if self._dropping is not None:
            self._tell_drops()
        if self._gone is not None:
            self._told.append(Skipped(self.name, span(self._gone, time.time()), "the interface was away"))
            self._gone = None
        told, self._told = self._told, []
        return told


def _is_up(interface: str) -> bool:
    """Say whether an interface is there and up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, struct.pack("16s24x", interface.encode()))
        except OSError:
            return False
    return bool(struct.unpack_from("=H", answer, 16)[0] & _UP)


def moment(when: float) -> str:
    """Return a time as people and machines read it."""
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def span(since: float, until: float) -> str:
    """Return two times as people and machines read them."""
    return f"from {moment(since)} to {moment(until)}"
