"""A ring of memory that Linux fills with the packets of an interface, and this process empties: AF_PACKET, TPACKET_V3.

The kernel writes packets into blocks and hands a block over when it is full or `PAUSE` milliseconds after its first
packet; what finds no free block is dropped and counted. `read` copies what was handed over and gives the blocks back,
so that a slow reader of the copy costs memory and not packets.

Guarantees: no packet before the filter stands; packets come in the order of arrival with the kernel's time (the
system's clock, nanoseconds), all their octets and the VLAN tag that the kernel took out of the frame; nothing waits.
Raises OSError as the system calls do. Sources: linux/if_packet.h, Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

import ctypes
import mmap
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imdswatch.read.bpf import Instruction, packed
from imdswatch.read.captures import PADDING
from imdswatch.read.packets import Interface, Packets
from imdswatch.wire.frame import Frame

BLOCK = 1 << 20
"""Octets of a block: what comes in milliseconds on a busy link, so that what is done once for a block costs little."""
SMALL_BLOCK = 1 << 17
"""Octets of a block where little passes the filter: one that is handed over nearly empty still takes its place."""
PAUSE = 8
"""Milliseconds after which a block is handed over though there is room in it."""
MOST = 4 << 20
"""Octets that one `read` returns at most."""

_FRAME = 1 << 11  # TPACKET_V3 asks for it and does not use it
_PACKET_ADD_MEMBERSHIP, _PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 1, 5, 6, 10
_PACKET_IGNORE_OUTGOING = 23
_TPACKET_V3, _MR_PROMISC = 2, 1
_SOL_PACKET, _ETH_P_ALL = 263, 3
_SO_ATTACH_FILTER = 26
_USER = 1  # TP_STATUS_USER
_VLAN_VALID, _VLAN_TPID_VALID = 1 << 4, 1 << 6
_IS_LOOPBACK = 772  # ARPHRD_LOOPBACK
_SIOCGIFHWADDR = 0x8927

_unpack_header = struct.Struct("=IIII").unpack_from  # block_status, num_pkts, offset_to_first_pkt, blk_len
_unpack_next = struct.Struct("=I").unpack_from

Words = NDArray[np.uint32]


class Lost(NamedTuple):
    """Packets that passed the filter, and those of them that found no room."""

    packets: int
    drops: int


@dataclass(slots=True)
class Captured(Packets):
    """Packets from a ring; `tags` are the VLAN tags that the kernel took out of frames: TPID and TCI, 0 for none."""

    tags: Sequence[int] = field(default_factory=list)

    def frame(self, index: int) -> Frame:
        """Return one packet as a value, its tag where it was on the wire."""
        found = Packets.frame(self, index)
        tag = self.tags[index]
        if not tag:
            return found
        data = found.data[:12] + tag.to_bytes(4) + found.data[12:]
        return Frame(found.number, found.time, data, found.length + 4, found.linktype)


def hardware(interface: str) -> int:
    """Return what kind of link an interface is: ARPHRD_… of linux/if_arp.h."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, _SIOCGIFHWADDR, struct.pack("16s24x", interface.encode()))
    return int(struct.unpack_from("=H", answer, 16)[0])


class Ring:
    """The packets of one interface that pass a filter; `octets` of memory are shared with the kernel.

    `number` is that of the next packet: who opens an interface again goes on where the last ring ended.
    """

    def __init__(
        self,
        interface: str,
        linktype: int,
        program: tuple[Instruction, ...],
        octets: int,
        block: int = BLOCK,
        number: int = 1,
    ) -> None:
        self._linktype = linktype
        self._block, self._count = block, max(2, octets // block)
        self._turn = 0
        self.number = number
        self._interfaces: dict[int, Interface] = {}
        self._memory: mmap.mmap | None = None
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: nothing comes yet
        try:
            self._open(interface, program)
        except OSError:
            self.close()
            raise

    def _open(self, interface: str, program: tuple[Instruction, ...]) -> None:
        tap = self._socket
        self.filter(program)
        tap.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        request = (self._block, self._count, _FRAME, self._block // _FRAME * self._count, PAUSE, 0, 0)
        tap.setsockopt(_SOL_PACKET, _PACKET_RX_RING, struct.pack("=7I", *request))
        self._memory = mmap.mmap(
            tap.fileno(), self._block * self._count, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE
        )
        index = socket.if_nametoindex(interface)
        if hardware(interface) == _IS_LOOPBACK:
            tap.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)  # there all packets come twice
        tap.bind((interface, _ETH_P_ALL))
        member = struct.pack("=iHH8s", index, _MR_PROMISC, 0, b"")
        tap.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, member)

    def filter(self, program: tuple[Instruction, ...]) -> None:
        """Let only those packets come that a filter accepts; packets that came are not asked again."""
        array = ctypes.create_string_buffer(packed(program))
        self._socket.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(array))
        )

    def fileno(self) -> int:
        """Return what select() waits on: readable when a block was handed over, or the interface is in trouble."""
        return self._socket.fileno()

    def error(self) -> int:
        """Return, once, why the socket stopped (an errno), or 0."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def lost(self) -> Lost:
        """Return what passed the filter and what was dropped since this was last asked."""
        packets, drops, _ = struct.unpack(
            "=III", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        )
        return Lost(packets, drops)

    def read(self) -> Captured | None:
        """Return the packets that were handed over, `MOST` octets at most, or None where there are none."""
        memory, ready, total = self._memory, list[tuple[int, int, int, int]](), 0
        assert memory is not None
        while len(ready) < self._count:
            base = self._turn * self._block
            status, count, first, size = _unpack_header(memory, base + 8)
            if not status & _USER or total + size > MOST:
                break
            ready.append((base, count, first, size))
            total += size
            self._turn = (self._turn + 1) % self._count
        if not ready:
            return None
        octets, at, headers = bytearray(total + PADDING), 0, list[int]()
        with memoryview(memory) as view:
            for base, count, first, size in ready:
                octets[at : at + size] = view[base : base + size]
                view[base + 8 : base + 12] = b"\0\0\0\0"  # the block is the kernel's again
                place = at + first
                for _ in range(count):
                    headers.append(place)
                    place += _unpack_next(octets, place)[0]
                at += size
        return self._packets(octets, headers)

    def _packets(self, octets: bytearray, headers: list[int]) -> Captured:
        """Read the headers before packets, struct tpacket3_hdr, all at once."""
        at = np.array(headers, np.int64)
        words: Words = np.ndarray((len(octets) - 3,), "=u4", octets, 0, (1,))
        halves = np.ndarray((len(octets) - 1,), "=u2", octets, 0, (1,))
        before = halves[at + 24].astype(np.int64)
        starts = at + before
        ends = starts + words[at + 12]
        status = words[at + 20]
        tagged = status & _VLAN_VALID != 0
        tags: list[int] = []
        if tagged.any():
            kind = np.where(status & _VLAN_TPID_VALID != 0, halves[at + 36], 0x8100).astype(np.int64)
            tags = np.where(tagged, kind << 16 | words[at + 32], 0).tolist()
        first, self.number = self.number, self.number + len(headers)
        distance = before.tolist()
        one = self._interface(distance[0])
        same = bool((before == before[0]).all())
        return Captured(
            octets,
            first,
            starts.tolist(),
            ends.tolist(),
            [one] if same else [self._interface(some) for some in distance],
            tags=tags or [0] * len(headers),
        )

    def _interface(self, before: int) -> Interface:
        """Return how time and length stand before packets whose octets begin so far behind their header."""
        found = self._interfaces.get(before)
        if found is None:
            found = Interface(self._linktype, "=", 10**9, header=before - 4)
            self._interfaces[before] = found
        return found

    def close(self) -> None:
        """Give memory and socket back."""
        if self._memory is not None:
            self._memory.close()
        self._socket.close()
