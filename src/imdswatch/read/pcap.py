"""`Pcap` walks the record headers of a pcap capture: either endian, micro- or nanoseconds, with damage passed over.

Pure: it is shown a buffer and says where packets lie in it. The format is draft-ietf-opsawg-pcap ("PCAP Capture File
Format"); the "modified" magic, with eight more octets in each record header, is Alexey Kuznetsov's, as in Wireshark's
wiretap/libpcap.c. Nothing raises for any octets.
"""

from __future__ import annotations

import re
import struct

import numpy as np
from numpy.typing import NDArray

from imdswatch.read.packets import LONGEST, Interface, Packets, Walked

HEADER = 24
_FORMATS = {  # magic → byte order, ticks a second, octets of a record header
    b"\xd4\xc3\xb2\xa1": ("<", 10**6, 16),
    b"\xa1\xb2\xc3\xd4": (">", 10**6, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9, 16),
    b"\xa1\xb2\x3c\x4d": (">", 10**9, 16),
    b"\x34\xcd\xb2\xa1": ("<", 10**6, 24),
    b"\xa1\xb2\xcd\x34": (">", 10**6, 24),
}
_DAY = 86_400
_CHAIN = 3  # record headers that must follow one another where reading goes on after damage
_LONGEST_ON_WIRE = 1 << 24
_TRIES = 200_000  # places of one capture that are tried in vain; a capture made to look possible everywhere ends here


class Pcap:
    """One pcap capture; `header` is its first `HEADER` octets, which `recognise` took for one."""

    def __init__(self, header: bytes) -> None:
        self._order, self._units, self._size = _FORMATS[header[:4]]
        (network,) = struct.unpack_from(self._order + "I", header, 20)
        # The upper 16 bits tell of frame check sequences, which lie beyond the end that IP headers give.
        self._interface = Interface(network & 0xFFFF, self._order, self._units, header=self._size)
        self._record = struct.Struct(self._order + "IIII").unpack_from
        self._last: int | None = None  # seconds of the last good record
        self._tries = 0
        self._damaged = False  # or holds an empty packet, which may be a hole

    def walk(self, octets: bytearray, at: int, end: int, into: Packets) -> Walked:
        """Note the packets that lie wholly in octets[at:end]; say how far that went, and what stopped it."""
        starts, damage = into.starts, ""
        if not self._damaged:
            at, into.places = self._hopped(octets, at, end, starts)
        if into.places is None:
            at, damage = self._stepped(octets, at, end, starts)
        if at > end:
            at = starts.pop() - self._size
            into.places = None if into.places is None else into.places[:-1]
        into.stop, into.gap = at, self._size
        if starts:
            into.interfaces[:] = (self._interface,)
            self._last = self._record(octets, starts[-1] - self._size)[0]
        return Walked(at, damage=damage)

    def _hopped(
        self, octets: bytearray, begin: int, end: int, starts: list[int]
    ) -> tuple[int, NDArray[np.int64] | None]:
        """Hop from record header to record header, and only then look whether all sizes on the way could be.

        Returns where that ended and the starts as an array. Where a size could not be, nothing is noted, there is no
        array, and it ended where it began: so the whole is walked twice, but only once in a capture (`_damaged`).
        """
        header, at, note = self._size, begin, starts.append
        if at > end - header:
            return at, np.zeros(0, np.int64)
        size_of = struct.Struct(f"{self._order}8xI").unpack_from
        with memoryview(octets)[: end - header + 12] as view:  # no size is read of a header that is cut
            try:
                # The one loop that runs for every packet: nothing in it that can be done for all at once.
                while True:
                    (size,) = size_of(view, at)
                    at += header
                    note(at)
                    at += size
            except struct.error:
                pass
        # Packed first, which takes half as long as np.array of a list.
        places = np.frombuffer(struct.pack(f"={len(starts)}q", *starts), np.int64)
        sizes = np.diff(places, append=at + header) - header
        if sizes.min() > 0 and sizes.max() <= LONGEST:
            return at, places
        self._damaged = True
        starts.clear()
        return begin, None

    def _stepped(self, octets: bytearray, at: int, end: int, starts: list[int]) -> tuple[int, str]:
        """Go from record header to record header, and say where and why that cannot go on."""
        size_of = struct.Struct(f"{self._order}8xI").unpack_from
        header, note, last = self._size, starts.append, end - self._size
        while at <= last:
            (size,) = size_of(octets, at)
            if size > LONGEST:
                return at, f"packet %d claims to be {size} bytes long"
            if not size and not any(octets[at : at + header]):  # a hole, as a crash or a full disk leaves it
                return at, "packet %d is nothing but zeros"
            at += header
            note(at)
            at += size
        return at, ""

    def resume(self, octets: bytearray, at: int, end: int, *, final: bool) -> int | None:
        """Return the first place after `at` where packets seem to follow, None if there is none before `end`.

        Seem to: several record headers in a row that are possible, within a day of the last good one.
        Unless `final`, the last `room()` octets before `end` are left for a later call.
        """
        stop = end - self._size if final else end - self.room()
        for found in self._possible.finditer(octets, at + 1, end):
            if found.start() > stop or self._tries > _TRIES:
                break
            if self._follows(octets, found.start(), end, final=final):
                return found.start()
            self._tries += 1
        return None

    def room(self) -> int:
        """Return how many octets `resume` must see after the place that it returns."""
        return _CHAIN * (LONGEST + self._size)

    @property
    def _possible(self) -> re.Pattern[bytes]:
        """Return what record headers look like: a time, ticks below a second, a size and a length that can be."""
        fraction = r".[\x00-\x3b]" if self._units == 10**9 else r"[\x00-\x0f]\x00"
        ticks, size, length = ".." + fraction, r"..[\x00-\x04]\x00", r"...\x00"
        if self._order == ">":
            fraction = r"[\x00-\x3b]." if self._units == 10**9 else r"\x00[\x00-\x0f]"
            ticks, size, length = fraction + "..", r"\x00[\x00-\x04]..", r"\x00..."
        some = r"(?!\x00{4})"
        return re.compile(f"(?s)(?={some}.{{4}}{ticks}{some}{size}{some}{length})".encode("ascii"))

    def _follows(self, octets: bytearray, at: int, end: int, *, final: bool) -> bool:
        last = self._last
        for _ in range(_CHAIN):
            if at + self._size > end:
                return final and at == end
            seconds, ticks, size, length = self._record(octets, at)
            if not (0 < size <= length <= _LONGEST_ON_WIRE and size <= LONGEST and ticks < self._units):
                return False
            if abs(seconds - (seconds if last is None else last)) > _DAY or not seconds:
                return False
            last = seconds
            at += self._size + size
        return at <= end
