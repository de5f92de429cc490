"""`Pcapng` walks the blocks of a pcapng capture: sections of either endian, any number of interfaces.

Pure: it is shown a buffer and says where packets lie in it. The format is draft-ietf-opsawg-pcapng ("PCAP Now Generic
Capture File Format"). Packets come from Enhanced, Simple and the obsolete Packet Blocks; name resolution, statistics,
decryption secrets, journal entries and whatever is unknown are passed over by their length. A block whose frame is
intact but whose content is not is a fault, told in `faults`, and reading goes on behind it. Where the frame is broken
`resume` looks for the next block by its type and by its length, which stands at both ends. Nothing raises.
"""

from __future__ import annotations

import re
import struct

from imdswatch.read.packets import LONGEST, Interface, Packets, Walked

HEADER = 28  # the shortest section header block
_SECTION, _INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_FRAME = 12  # type, length, and the length once more at the end
_LARGEST = LONGEST + (64 << 10)  # of a block that is looked into: a packet with its options
_PASSED = frozenset((4, 5, 9, 10, 0xBAD, 0x40000BAD))
"""Names, statistics, journal entries, decryption secrets, custom blocks: none of them is read."""
_LONGEST_PASSED = 16 << 20
"""Octets of a block that is passed over: libpcap reads no longer one (sf-pcapng.c, INITIAL_MAX_BLOCKSIZE)."""
_LOCAL = 0x80000000  # from here on types are for local use
_IF_TSRESOL, _IF_TSOFFSET, _END = 9, 14, 0
_MAX_INTERFACES = 100_000
_MAX_FAULTS = 1000  # of one walk
_TRIES = 200_000  # places of one capture that are tried in vain
_SOME_BLOCK = {
    "<": re.compile(rb"(?s)(?=(?:[\x01-\x06\x0a]\x00\x00\x00|\x0a\x0d\x0d\x0a)..[\x00-\x04]\x00)"),
    ">": re.compile(rb"(?s)(?=(?:\x00\x00\x00[\x01-\x06\x0a]|\x0a\x0d\x0d\x0a)\x00[\x00-\x04])"),
}


class Pcapng:
    """One pcapng capture."""

    def __init__(self) -> None:
        self._order = "<"
        self._section(self._order)
        self._tries = 0
        self.faults: list[tuple[int, str]] = []
        """Places in the buffer of the last walk, and what was wrong there; `%d` stands for a packet's number."""

    def _section(self, order: str) -> None:
        self._order = order
        self._interfaces: list[Interface] = []
        self._simple: Interface | None = None
        self._snaplen = 0  # of the first interface: Simple Packet Blocks rely on it
        self._head = struct.Struct(order + "III8xI").unpack_from
        self._two = struct.Struct(order + "II").unpack_from
        self._one = struct.Struct(order + "I").unpack_from

    def walk(self, octets: bytearray, at: int, end: int, into: Packets) -> Walked:
        """Note the packets that lie wholly in octets[at:end]; say how far that went, and what stopped it."""
        self.faults = []
        starts, ends, seen, interfaces = into.starts, into.ends, into.interfaces, self._interfaces
        head, one = self._head, self._one
        while at + _FRAME <= end:
            if at + HEADER <= end:
                kind, size, number, kept = head(octets, at)
                after = at + size
                if (
                    kind == _ENHANCED
                    and kept + 32 <= size <= _LARGEST
                    and after <= end
                    and not size & 3
                    and number < len(interfaces)
                    and one(octets, after - 4)[0] == size
                ):
                    starts.append(at + 28)
                    ends.append(at + 28 + kept)
                    seen.append(interfaces[number])
                    at = after
                    continue
            walked = self._block(octets, at, end, into)
            if walked.at == at or walked.skip or walked.damage:
                return walked
            at = walked.at
            interfaces, head, one = self._interfaces, self._head, self._one
        return Walked(at)

    def foreign(self, octets: bytearray, at: int, end: int) -> bool:
        """Say whether what begins here is of no type that the format defines: garbage, if it goes on past the end."""
        if at + 4 > end:
            return False
        (kind,) = self._one(octets, at)
        return not (kind in _PASSED or kind in (_INTERFACE, _PACKET, _SIMPLE, _ENHANCED, _SECTION))

    def resume(self, octets: bytearray, at: int, end: int, *, final: bool) -> int | None:
        """Return the first place after `at` where a block that the format defines seems to be, None if there is none.

        Seems to: its length stands at both of its ends. Unless `final`, the last `room()` octets are left for later.
        """
        stop = end - _FRAME if final else end - self.room()
        for found in _SOME_BLOCK[self._order].finditer(octets, at + 1, end):
            place = found.start()
            if place > stop or self._tries > _TRIES:
                break
            size = self._two(octets, place)[1]
            if (
                _FRAME <= size <= min(_LARGEST, end - place)
                and self._one(octets, place + size - 4)[0] == size
            ):
                return place
            self._tries += 1
        return None

    def room(self) -> int:
        """Return how many octets `resume` must see after the place that it returns."""
        return _LARGEST

    def _block(self, octets: bytearray, at: int, end: int, into: Packets) -> Walked:
        """Read one block of any kind; `at` stays where it is if the block does not lie wholly before `end`."""
        kind, size = self._two(octets, at)
        if kind == _SECTION:
            if end - at < HEADER:
                return Walked(at)
            order = _ORDERS.get(bytes(octets[at + 8 : at + 12]))
            if order is None:
                return Walked(at, damage="a section header has no byte order mark")
            size = struct.unpack_from(order + "I", octets, at + 4)[0]
            if size < HEADER:
                return Walked(at, damage=f"a section header claims to be {size} bytes long")
            major = struct.unpack_from(order + "H", octets, at + 12)[0]
            if major != 1:
                return Walked(at, damage=f"a section is of pcapng version {major}, which is unknown")
            self._section(order)
        if size < _FRAME:
            return Walked(at, damage=f"a block claims to be {size} bytes long")
        padding = -size & 3  # some writers forget to count it
        size += padding
        if size > _LARGEST:
            passed = kind in _PASSED or kind >= _LOCAL or kind == _SECTION
            if passed and not padding and size <= _LONGEST_PASSED:
                return Walked(at, skip=size)
            what = "a section header" if kind == _SECTION else f"a block of type {kind}"
            what = "packet %d" if kind in (_PACKET, _SIMPLE, _ENHANCED) else what
            return Walked(at, damage=f"{what} claims to be {size} bytes long")
        if at + size > end:
            return Walked(at)
        (again,) = self._one(octets, at + size - 4)
        if again + (-again & 3) != size:
            return Walked(at, damage=f"a block's two lengths differ: {size} and {again}")
        if kind == _INTERFACE:
            self._interface(octets, at, at + size - 4)
        elif kind in (_PACKET, _SIMPLE, _ENHANCED):
            self._packet(kind, octets, at, size, into)
        return Walked(at + size)

    def _interface(self, octets: bytearray, at: int, end: int) -> None:
        if end - at < 16 or len(self._interfaces) >= _MAX_INTERFACES:
            self._fault(at, "an interface description is too short, or one of too many")
            return
        linktype, _, snaplen = struct.unpack_from(self._order + "HHI", octets, at + 8)
        units, offset, place = 10**6, 0, at + 16
        while place + 4 <= end:
            code, length = struct.unpack_from(self._order + "HH", octets, place)
            place += 4
            if code == _END or place + length > end:
                break
            if code == _IF_TSRESOL and length == 1:
                exponent = octets[place] & 0x7F
                units = (2 if octets[place] & 0x80 else 10) ** exponent
            elif code == _IF_TSOFFSET and length == 8:
                (offset,) = struct.unpack_from(self._order + "q", octets, place)
            place += length + (-length & 3)
        if not self._interfaces:
            self._simple = Interface(linktype, self._order, timed=False)
            self._snaplen = snaplen
        self._interfaces.append(Interface(linktype, self._order, units, offset, joined=True))

    def _packet(self, kind: int, octets: bytearray, at: int, size: int, into: Packets) -> None:
        if kind == _SIMPLE:
            if self._simple is None:
                self._fault(at, "packet %d belongs to an interface that the capture does not describe", into)
                return
            kept = length = self._one(octets, at + 8)[0] if size >= 16 else 0
            kept = min(length, size - 16, self._snaplen or length) if size >= 16 else -1
            interface, start = self._simple, at + 12
        else:
            number = kept = -1
            if size >= 32:
                number = self._one(octets, at + 8)[0]
                if kind == _PACKET:
                    (number,) = struct.unpack_from(self._order + "H", octets, at + 8)
                kept = self._one(octets, at + 20)[0]
            start = at + 28
            if size >= 32 and number >= len(self._interfaces):
                self._fault(
                    at, f"packet %d names interface {number}, which the capture does not describe", into
                )
                return
            interface = self._interfaces[number] if size >= 32 else Interface(0)
            if kept + 32 > size:
                kept = -1
        if kept < 0:
            self._fault(at, "packet %d is longer than the block that holds it", into)
            return
        into.starts.append(start)
        into.ends.append(start + kept)
        into.interfaces.append(interface)

    def _fault(self, at: int, reason: str, into: Packets | None = None) -> None:
        if len(self.faults) < _MAX_FAULTS:
            told = reason.replace("%d", str(into.first + len(into))) if into is not None else reason
            self.faults.append((at, told))
