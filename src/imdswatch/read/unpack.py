"""The readers that unpack: gzip, raw deflate, zstd, bzip2, xz, and text of another encoding.

They keep the promises of `reader.Reader`. Of the step in which deflate, bzip2 or xz find the damage at most
64 kB are lost (their libraries return nothing for the call that fails); of zstd, and where data is cut or
only a checksum is wrong, nothing is lost.

gzip goes through ISA-L as raw deflate, with header, checksum and member chain done here: that way a wrong
checksum is told apart from data that cannot be unpacked. zstd is fed block by block (RFC 8878, 3.1.1.2: a
block is at most 128 kB unpacked), because the binding has no limit on output otherwise and does not tell a
cut frame from a whole one.
"""

from __future__ import annotations

import bz2
import codecs
import lzma
import struct
from collections.abc import Callable

import zstandard
from isal import igzip_lib, isal_zlib

from imdswatch.read.reader import CHUNK, Budget, Damage, Peeked, Reader

STEP = 64 << 10
"""How many bytes are unpacked in one call at most: the most that damage can take with it."""
WINDOW = 128 << 20
"""The largest zstd window or xz dictionary we grant memory for: what `zstd -d` itself grants without
--long=31.
"""

_ISAL_ERROR: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # the stub says instance


class Deflated(Reader):
    """Raw deflate data; afterwards `crc` and `offset` describe what came out, and the rest was given back
    below.
    """

    def __init__(self, below: Peeked, budget: Budget, what: str) -> None:
        super().__init__()
        self._below, self._budget, self._what = below, budget, what
        self._state = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_DEFLATE)
        self.crc = 0

    def _more(self, n: int) -> bytes:
        state = self._state
        while not state.eof:
            packed = b""
            if state.needs_input:
                packed = self._below.read(CHUNK)
                if not packed:
                    raise Damage(f"{self._what} is cut short")
            try:
                data: bytes = state.decompress(packed, min(n, STEP))
            except _ISAL_ERROR as error:
                raise Damage(f"{self._what} is damaged: {error}") from error
            if state.eof:
                self._below.back(state.unused_data)
            if data:
                self.crc = isal_zlib.crc32(data, self.crc)
                self._budget.charge(len(data))
                return data
        return b""


class Gzip(Reader):
    """gzip (RFC 1952): every member one after another; zero padding after them is no damage, anything else
    is.
    """

    def __init__(self, below: Reader, budget: Budget) -> None:
        super().__init__()
        self._below, self._budget = Peeked(below), budget
        self._member: Deflated | None = None

    def _more(self, n: int) -> bytes:
        while True:
            if self._member is None:
                if not self._header():
                    return b""
                self._member = Deflated(self._below, self._budget, "gzip data")
            if data := self._member.read(n):
                return data
            trailer = self._below.exactly(8)
            if len(trailer) < 8:
                raise Damage("gzip data is cut short in its checksum")
            crc, size = struct.unpack("<II", trailer)
            if crc != self._member.crc or size != self._member.offset & 0xFFFFFFFF:
                raise Damage("gzip checksum is wrong: what was read may not be what was written")
            self._member = None

    def _header(self) -> bool:
        below = self._below
        if not _at_next(below, b"\x1f\x8b", "gzip", padded=True):
            return False
        fixed = below.exactly(10)
        if len(fixed) == 10 and fixed[2] != 8:
            raise Damage(f"gzip method {fixed[2]} is unknown")
        flags = fixed[3] if len(fixed) == 10 else 0
        whole = len(fixed) == 10
        if flags & 4:
            length = below.exactly(2)
            whole = len(length) == 2 and _skip(below, int.from_bytes(length, "little"))
        for flag in (8, 16):  # file name, comment: up to a NUL
            while whole and flags & flag:
                piece = below.exactly(256)
                _, nul, rest = piece.partition(b"\x00")
                whole = bool(piece)
                if nul:
                    below.back(rest)
                    break
        if flags & 2:
            whole = whole and _skip(below, 2)
        if not whole:
            raise Damage("gzip data is cut short in its header")
        return True


def _skip(reader: Reader, n: int) -> bool:
    return len(reader.exactly(n)) == n


def _at_next(below: Peeked, magic: bytes, what: str, *, padded: bool) -> bool:
    """Say whether another member follows (True) or the data ends (False); anything else is damage."""
    while padded and (head := below.peek(CHUNK)) and not head[0]:
        below.read(len(head) - len(head.lstrip(b"\x00")))
    head = below.peek(len(magic))
    if not head:
        below.read(1)  # says so if it is not the end but damage
        return False
    if head == magic:
        return True
    if magic.startswith(head):
        raise Damage(f"{what} data is cut short in its header")
    raise Damage(
        f"what follows the {what} data at its byte {below.offset} is no {what} data and was not read"
    )


class Zstd(Reader):
    """zstd (RFC 8878): every frame one after another, skippable frames skipped, each block unpacked by
    itself.
    """

    def __init__(self, below: Reader, budget: Budget) -> None:
        super().__init__()
        self._below, self._budget = Peeked(below), budget
        self._context = zstandard.ZstdDecompressor(max_window_size=WINDOW)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._checksum = self._last = False
        self._held = b""

    def _more(self, n: int) -> bytes:
        while not self._held:
            if self._frame is None:
                if not self._header():
                    return b""
            elif self._last:
                if self._checksum:
                    self._feed(self._take(4))
                self._frame = None
            else:
                self._block()
        data, self._held = self._held[:n], self._held[n:]
        self._budget.charge(len(data))
        return data

    def _take(self, n: int) -> bytes:
        data = self._below.exactly(n)
        if len(data) < n:
            raise Damage("zstd data is cut short")
        return data

    def _feed(self, data: bytes) -> None:
        assert self._frame is not None
        try:
            self._held = self._frame.decompress(data)
        except zstandard.ZstdError as error:
            reason = str(error).rpartition(": ")[2]
            raise Damage(f"zstd data cannot be unpacked: {reason[:1].lower()}{reason[1:]}") from error

    def _block(self) -> None:
        head = self._take(3)
        value = int.from_bytes(head, "little")
        kind, size = value >> 1 & 3, value >> 3
        if kind == 3 or size > 128 << 10:
            raise Damage("zstd data is damaged: impossible block")
        self._last = bool(value & 1)
        self._feed(head + (self._take(1 if kind == 1 else size)))

    def _header(self) -> bool:
        below = self._below
        while (magic := below.peek(4))[1:] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5:
            below.exactly(4)
            left = int.from_bytes(self._take(4), "little")
            while left:
                left -= len(self._take(min(left, CHUNK)))
        if not _at_next(below, b"\x28\xb5\x2f\xfd", "zstd", padded=True):
            return False
        head = self._take(5)
        flags = head[4]
        single = flags >> 5 & 1
        rest = (not single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
        self._checksum, self._last = bool(flags & 4), False
        self._frame = self._context.decompressobj()
        self._feed(head + (self._take(rest) if rest else b""))
        return True


class Chained(Reader):
    """bzip2 or xz: every stream one after another."""

    def __init__(
        self,
        below: Reader,
        budget: Budget,
        make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor],
        magic: bytes,
        what: str,
    ) -> None:
        super().__init__()
        self._below, self._budget, self._make, self._magic, self._what = (
            Peeked(below),
            budget,
            make,
            magic,
            what,
        )
        self._state: bz2.BZ2Decompressor | lzma.LZMADecompressor | None = None

    def _more(self, n: int) -> bytes:
        while True:
            if self._state is None:
                if not _at_next(self._below, self._magic, self._what, padded=True):
                    return b""
                self._state = self._make()
            state, packed = self._state, b""
            if state.needs_input:
                packed = self._below.read(CHUNK)
                if not packed:
                    raise Damage(f"{self._what} data is cut short")
            try:
                data = state.decompress(packed, min(n, STEP))
            except (OSError, EOFError, ValueError, lzma.LZMAError, MemoryError) as error:
                raise Damage(f"{self._what} data cannot be unpacked: {_plain(error)}") from error
            if state.eof:
                self._below.back(state.unused_data)
                self._state = None
            if data:
                self._budget.charge(len(data))
                return data


def _plain(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def bzip2(below: Reader, budget: Budget) -> Reader:
    """Return a reader of bzip2 data."""
    return Chained(below, budget, bz2.BZ2Decompressor, b"BZh", "bzip2")


def xz(below: Reader, budget: Budget) -> Reader:
    """Return a reader of xz data; `xz -9` needs 65 MiB, more than `WINDOW` and a little is refused."""

    def make() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=WINDOW + (8 << 20))

    return Chained(below, budget, make, b"\xfd7zXZ\x00", "xz")


UNPACKERS: dict[str, Callable[[Reader, Budget], Reader]] = {
    "gzip": Gzip,
    "zstd": Zstd,
    "bzip2": bzip2,
    "xz": xz,
}
"""What unpacks the kinds that are `content.COMPRESSED`."""


class Transcoded(Reader):
    """Text of another encoding as UTF-8; what is malformed becomes U+FFFD, so lines stay where they are."""

    def __init__(self, below: Reader, encoding: str, bom: int) -> None:
        super().__init__()
        self._below, self._bom = below, bom
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._held, self._over = b"", False

    def _more(self, n: int) -> bytes:
        if self._bom:
            self._below.exactly(self._bom)
            self._bom = 0
        while not self._held:
            if self._over:
                return b""
            data = self._below.read(CHUNK)
            self._over = not data
            self._held = self._decoder.decode(data, final=self._over).encode("utf-8", "replace")
        data, self._held = self._held[:n], self._held[n:]
        return data
