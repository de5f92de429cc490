"""Where the body of an HTTP/1 message ends, and what it is without its codings.

A Body takes octets from the front of a buffer until it is done; it counts all and keeps the first 256 KiB. Linear, one
octet at a time too. Sources: RFC 9112 6 and 7 (message body, transfer codings), RFC 9110 8.4 (content codings).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from enum import Enum

MAX_KEPT = 256 * 1024
"""Octets kept of one body, before and after its codings are undone; metadata documents have a few thousand."""
_MAX_CHUNK_LINE = 4096
_MAX_CODINGS = 4
_PIECE = 512  # what is inflated before a damaged place stays
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?\r?\n\Z", re.DOTALL)
_NEXT_STATUS = re.compile(rb"HTTP/1\.[01] [1-5][0-9]{2}[ \r\n]")
_STATUS_LENGTH = 13
_TRAILER = re.compile(rb"[ \t]|[^\s:]+[ \t]*:")  # a field or its folded rest; a start line is neither
MISSING = b"\n"
"""Stands in the kept octets where some are missing: no JSON text may hold it, so no value grows together over a gap."""


class Framing(Enum):
    """How the end of a body is known."""

    LENGTH = "so many octets"
    CHUNKED = "chunks"
    CLOSE = "the end of the connection"
    LOST = "nobody knows any more: what follows up to the next message"


class Body:
    """The body of one message while it passes: working state of the parser."""

    def __init__(self, framing: Framing, length: int = 0, *, keep: bool = False) -> None:
        self.framing = framing
        self.remaining = length
        self.length = 0
        self.done = framing is Framing.LENGTH and length == 0
        self.cut = False
        """Octets are missing among those kept."""
        self._keep = keep
        self._kept = bytearray()
        self._chunk = "size" if framing is Framing.CHUNKED else ""

    @property
    def kept(self) -> bytes:
        """The first octets of the content, as they were transferred."""
        return bytes(self._kept)

    @property
    def whole(self) -> bool:
        """Whether every octet that came was kept, with none missing between."""
        return not self.cut and self.length == len(self._kept)

    def take(self, buffer: bytearray) -> None:
        """Consume what belongs to this body from the front of the buffer.

        Where the framing breaks it becomes LOST, and all from the broken line on stays in the buffer.
        """
        if self.framing is Framing.LENGTH:
            self._take_counted(buffer)
            self.done = self.remaining == 0
        elif self.framing is Framing.CHUNKED:
            while buffer and not self.done and self._take_chunk(buffer):
                pass
        elif self.framing is Framing.CLOSE:
            self._store(buffer)
            buffer.clear()

    def take_lost(self, buffer: bytearray) -> None:
        """Consume what comes before the next status line: nobody knows any more whether it is body."""
        found = _NEXT_STATUS.search(buffer)
        end = found.start() if found else max(0, len(buffer) - _STATUS_LENGTH + 1)
        self._store(buffer[:end])
        del buffer[:end]
        self.done = found is not None

    def gap(self, length: int, buffer: bytearray) -> bool:
        """Count octets that nobody saw; False if the end of the body lies among them or is unknown from now on.

        Where the framing breaks here, what waits in the buffer stays there.
        """
        self.end(buffer)
        counted = self.framing is Framing.LENGTH or self._chunk == "data"
        if counted and length <= self.remaining:
            self.remaining -= length
            self._miss(length)
            self.done = self.framing is Framing.LENGTH and self.remaining == 0
            if self._chunk == "data" and self.remaining == 0:
                self._chunk = "end"
            return True
        self._miss(min(length, self.remaining) if counted else length)
        if self.framing is Framing.LENGTH:
            self.remaining = 0
            self.done = True
            return False
        if self.framing is Framing.CHUNKED:
            self.framing = Framing.LOST
            return False
        return True

    def end(self, buffer: bytearray) -> None:
        """Take the rest: nothing will follow."""
        if self.framing is Framing.LOST:
            self._store(buffer)
            buffer.clear()

    def _miss(self, length: int) -> None:
        self.length += length
        self.cut = True
        if self._keep and not self._kept.endswith(MISSING) and len(self._kept) < MAX_KEPT:
            self._kept += MISSING

    def _store(self, octets: bytes | bytearray | memoryview) -> None:
        self.length += len(octets)
        if self._keep and (room := MAX_KEPT - len(self._kept)) > 0:
            self._kept += octets[:room]

    def _take_counted(self, buffer: bytearray) -> None:
        taken = buffer if len(buffer) <= self.remaining else buffer[: self.remaining]
        self._store(taken)
        self.remaining -= len(taken)
        del buffer[: len(taken)]

    def _take_chunk(self, buffer: bytearray) -> bool:
        """Take one part of the chunked framing; False where more octets are needed."""
        if self._chunk == "data":
            self._take_counted(buffer)
            if self.remaining:
                return False
            self._chunk = "end"
            return True
        stop = buffer.find(b"\n")
        if stop > _MAX_CHUNK_LINE or (stop < 0 and len(buffer) > _MAX_CHUNK_LINE):
            self.framing = Framing.LOST
            return False
        if stop < 0:
            return False
        line = bytes(buffer[: stop + 1])
        if self._chunk == "end":
            if line.strip():
                self.framing = Framing.LOST
                return False
            self._chunk = "size"
        elif self._chunk == "size":
            size = _CHUNK_SIZE.match(line)
            if size is None:
                self.framing = Framing.LOST
                return False
            self.remaining = int(size[1], 16)
            self._chunk = "data" if self.remaining else "trailer"
        elif not line.strip():
            self.done = True
        elif not _TRAILER.match(line):
            self.framing = Framing.LOST
            return False
        del buffer[: stop + 1]
        return True


def length_of(values: Sequence[str]) -> int | None:
    """Return the length that Content-Length values give, the first if they differ; None if none is a number."""
    numbers = [int(value) for value in values if value.isascii() and value.isdigit() and len(value) <= 18]
    return numbers[0] if numbers else None


def decoded(octets: bytes, codings: Sequence[str], whole: bool) -> tuple[bytes, bool]:
    """Undo content and transfer codings, last applied first; returns the octets and whether they are all there.

    At most 256 KiB come out, whatever goes in. Where a coding cannot be undone (br, zstd, compress, or none at all: an
    impostor may name what it likes, and urllib3 passes over a name that it does not know), the octets stay as they are.
    """
    for coding in codings[: -_MAX_CODINGS - 1 : -1]:
        if coding in ("identity", "chunked", ""):
            continue
        if coding not in ("gzip", "x-gzip", "deflate"):
            return octets, False
        plain, finished = _inflated(octets, coding)
        whole = whole and finished
        octets = plain or octets
    return octets, whole and len(codings) <= _MAX_CODINGS


def _inflated(octets: bytes, coding: str) -> tuple[bytes, bool]:
    # "deflate" is zlib (RFC 9110 8.4.1.2), but some servers send it without the zlib header, and clients take both.
    for bits in (31,) if coding != "deflate" else (15, -15):
        engine = zlib.decompressobj(bits)
        out = bytearray()
        try:
            for begin in range(0, len(octets), _PIECE):
                out += engine.decompress(octets[begin : begin + _PIECE], MAX_KEPT - len(out))
                if len(out) >= MAX_KEPT:
                    break
        except zlib.error:
            if not out:
                continue
        return bytes(out), engine.eof
    return b"", False
