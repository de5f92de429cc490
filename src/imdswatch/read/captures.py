"""`packets_of` reads a capture, pcap or pcapng, from any stream: buffers full of packets, and what was damaged.

Guarantees: constant memory (`held` + 1 buffers of `SIZE` octets, touched as far as the capture fills them); packets
come in the order of the file, numbered from 1; the last `held` results stay valid while the next one is looked at;
damage is a `Skipped` with the offset in the unpacked capture, and everything before it is delivered. Behind damage it
is read on where packets seem to follow, which the `Skipped` says. Nothing raises for what a capture holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imdswatch.finding import Skipped
from imdswatch.read import pcap, pcapng
from imdswatch.read.packets import Packets
from imdswatch.read.streams import Stream

SIZE = 4 << 20
"""Octets of a buffer: some thousand packets, so that what is done once for all of them costs little."""
PADDING = 256
"""Octets after each buffer that may be read, and mean nothing: who decodes all packets at once need not ask first."""
_SECTION_HEADER = b"\x0a\x0d\x0d\x0a"


def packets_of(stream: Stream, held: int = 0, size: int = SIZE) -> Iterator[Packets | Skipped]:
    """Yield the packets of a capture; damage of the stream itself is the stream's to report."""
    yield from _Reading(stream, held, size).run()


@dataclass(slots=True)
class _Gap:
    """Octets that are being passed over after damage."""

    start: int
    reason: str


class _Reading:
    """One capture being read."""

    def __init__(self, stream: Stream, held: int, size: int) -> None:
        self._stream, self._size = stream, size
        self._ring: list[bytearray] = [bytearray() for _ in range(held + 1)]
        self._turn = 0
        self._format: pcap.Pcap | pcapng.Pcapng | None = None
        self._number = 1
        self._base = self._at = (
            0  # offset of the buffer in the capture, and of what was not read yet in the buffer
        )
        self._gap: _Gap | None = None
        self._skip = 0  # octets to pass over before the next block

    def run(self) -> Iterator[Packets | Skipped]:
        """Fill one buffer after the other and walk it."""
        held, filled = bytearray(), 0  # held[self._at : filled] was not read yet
        while True:
            buffer = self._buffer()
            keep = filled - self._at
            buffer[:keep] = held[self._at : filled]
            self._base, self._at = self._base + self._at, 0
            with memoryview(buffer) as view:
                filled = keep + self._stream.readinto(view[keep : self._size])
            final = filled < self._size or keep == self._size  # the latter only where buffers are made tiny
            yield from self._read(buffer, filled, final=final)
            if final:
                return
            held = buffer

    def _buffer(self) -> bytearray:
        self._turn = (self._turn + 1) % len(self._ring)
        if not self._ring[self._turn]:
            self._ring[self._turn] = bytearray(self._size + PADDING)
        return self._ring[self._turn]

    def _read(self, buffer: bytearray, filled: int, *, final: bool) -> Iterator[Packets | Skipped]:
        """Yield what a buffer holds, and leave `_at` where reading goes on with the next."""
        if self._format is None:
            if buffer[:4] == _SECTION_HEADER:
                self._format = pcapng.Pcapng()
            elif filled < pcap.HEADER:
                yield self._skipped(0, "capture is cut short in its header")
                return
            else:
                self._format = pcap.Pcap(bytes(buffer[: pcap.HEADER]))
                self._at = pcap.HEADER
        while True:
            if self._skip:
                passed = min(self._skip, filled - self._at)
                self._skip -= passed
                self._at += passed
                if self._skip:
                    if final:
                        yield from self._cut()
                    return
            if self._gap is not None:
                yield from self._search(buffer, filled, final=final)
                if self._gap is not None:
                    return
            found = Packets(buffer, self._number)
            walked = self._format.walk(buffer, self._at, filled, found)
            self._number += len(found)
            self._at = walked.at
            if len(found):
                yield found
            if isinstance(self._format, pcapng.Pcapng):
                for place, reason in self._format.faults:
                    yield self._skipped(place, reason)
            if walked.skip:
                self._skip = walked.skip
            elif walked.damage:
                self._gap = _Gap(self._base + self._at, walked.damage.replace("%d", str(self._number)))
            elif (
                final
                and isinstance(self._format, pcapng.Pcapng)
                and self._format.foreign(buffer, self._at, filled)
            ):
                self._gap = _Gap(self._base + self._at, "what stands here is no block of a capture")
            else:
                if final and self._at < filled:
                    yield from self._cut()
                return

    def _search(self, buffer: bytearray, filled: int, *, final: bool) -> Iterator[Skipped]:
        """Look where packets go on behind damage, and tell what is passed over once that is known."""
        gap, reader = self._gap, self._format
        assert gap is not None
        assert reader is not None
        found = reader.resume(buffer, self._at, filled, final=final)
        if found is not None:
            self._gap, self._at = None, found
            place = self._base + found
            passed = f"{place - gap.start} bytes are passed over, it is read on at byte {place}"
            yield self._skipped(gap.start - self._base, f"{gap.reason}; {passed}")
            return
        if not final:
            self._at = max(self._at, filled - reader.room())
            return
        self._at = filled
        rest = self._base + filled - gap.start
        yield self._skipped(gap.start - self._base, f"{gap.reason}; the last {rest} bytes are not read")

    def _cut(self) -> Iterator[Skipped]:
        if not (self._stream.skipped or self._stream.interrupted):
            # Else it is said already, with the reason; or the user ended the input within a packet.
            yield self._skipped(self._at, f"capture is cut short in packet {self._number}")

    def _skipped(self, at: int, reason: str) -> Skipped:
        return Skipped(self._stream.name, f"byte {self._base + at}", reason)
