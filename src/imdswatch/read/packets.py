"""`Packets` are the packets of a capture that lie in one buffer: where each begins and ends, and on what it was seen.

They are kept as plain lists of offsets, because that is what the quick reading of millions of them wants; `frame`
makes one of them a value. A buffer is used again for later packets: whoever holds `Packets` longer than the reader
promised sees other octets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imdswatch.wire.frame import Frame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST = 262_144
"""The longest packet that is read: what libpcap allows for networks (pcap-int.h, MAXIMUM_SNAPLEN)."""
_YEAR_10000 = 253_402_300_800  # no calendar of ours goes further


@dataclass(frozen=True, slots=True, eq=False)
class Interface:
    """Where packets were captured, and how their headers are written: `units` are clock ticks a second."""

    linktype: int
    order: str = "<"
    units: int = 10**6
    offset: int = 0
    joined: bool = False  # pcapng: the time is one number of 64 bits, not seconds and a fraction
    timed: bool = True
    header: int = 16  # how far before a packet its time, size and length stand

    def when(self, octets: bytearray, start: int) -> tuple[float | None, int]:
        """Return time and length on the wire of the packet whose octets begin at `start`."""
        if not self.timed:
            return None, int(struct.unpack_from(self.order + "I", octets, start - 4)[0])
        high, low, _, length = struct.unpack_from(self.order + "IIII", octets, start - self.header)
        whole, ticks = divmod(high << 32 | low, self.units) if self.joined else (high, low)
        when = whole + self.offset + ticks / self.units
        return (when if 0 <= when < _YEAR_10000 else None), length


@dataclass(slots=True)
class Packets:
    """Packets number `first`, `first` + 1, … of a capture; `octets[starts[i]:end(i)]` is what was kept of one.

    `ends` may be empty: then each packet ends `gap` octets before the next one begins, and the last one at `stop`.
    `interfaces` has that of each packet, or only one: that of them all. Where captures were merged, `numbers` says what
    each packet is called instead. `places` are the starts as an array, where whoever found them made one.
    """

    octets: bytearray
    first: int
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    interfaces: list[Interface] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    stop: int = 0
    gap: int = 0
    places: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def end(self, index: int) -> int:
        """Return where the octets of a packet end."""
        if self.ends:
            return self.ends[index]
        return self.starts[index + 1] - self.gap if index + 1 < len(self.starts) else self.stop

    def interface(self, index: int) -> Interface:
        """Return where a packet was captured."""
        return self.interfaces[index if len(self.interfaces) > 1 else 0]

    def frame(self, index: int) -> Frame:
        """Return one packet as a value of its own."""
        start, interface = self.starts[index], self.interface(index)
        when, length = interface.when(self.octets, start)
        data = bytes(self.octets[start : self.end(index)])
        number = self.numbers[index] if self.numbers else self.first + index
        return Frame(number, when, data, max(length, len(data)), interface.linktype)

    def when(self, index: int) -> float | None:
        """Return when a packet was captured."""
        return self.interface(index).when(self.octets, self.starts[index])[0]


@dataclass(frozen=True, slots=True)
class Walked:
    """How far a walk came: `skip` octets from `at` on hold no packets, or `damage` says why it cannot go on there.

    `%d` in `damage` stands for the number of the packet.
    """

    at: int
    skip: int = 0
    damage: str = ""
