"""Archives member by member, in the order they are stored, in constant memory: tar and zip.

Guarantees: lazy; a member's reader is valid until the next member is asked for; names are data, never used as
paths. Damage that ends the archive is raised as `Damage` after all members before it.

Both formats are walked here rather than by the standard library: `tarfile` of Python 3.11 loops for ever on a
negative size (CVE-2025-8194) and reads an extended header of any claimed size into memory; `zipfile` holds
the whole directory in memory, unpacks bzip2 and xz members without a bound, and cannot read from a pipe.
Sources: POSIX.1-2017 pax "ustar Interchange Format", GNU tar manual "Basic Tar Format", PKWARE APPNOTE 6.3.9.

Longer than most: two archive formats, each read from its specification.
"""

from __future__ import annotations

import calendar
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from isal import isal_zlib

from imdswatch.read.content import is_tar_header
from imdswatch.read.reader import Budget, Damage, Limited, Peeked, Reader, Slice
from imdswatch.read.unpack import Deflated, Zstd, bzip2, xz

_EXTENDED = 1 << 20  # an extended header larger than this (a name!) is not kept
_EOCD = 22
_YEAR_10000 = 253402300800  # beyond that, Python has no dates


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive; `trouble` says why its content cannot be had ("" where it can)."""

    name: str
    mtime: float | None
    reader: Reader
    trouble: str = ""


def tar_members(below: Reader) -> Iterator[Member]:
    """Yield the regular files of a tar stream; links and folders carry no content and are passed over."""
    name, extended, ended = "", dict[str, str](), False
    while True:
        start = below.offset
        block = below.exactly(512)
        if not block.strip(b"\x00"):
            if len(block) < 512:
                break
            ended = True  # two of these end the archive, but several archives may follow one another (tar -i)
            continue
        if not is_tar_header(block):
            short = "is cut short in a header" if len(block) < 512 else "is damaged: no header"
            raise Damage(f"tar {short} at its byte {start}")
        ended = False
        kind, size = block[156:157], _tar_number(block[124:136])
        if size is None:
            raise Damage(f"tar is damaged: impossible size at its byte {start}")
        if kind in b"LKxg":
            text = _kept(below, size)
            if kind == b"L":
                name = _text(text.partition(b"\x00")[0])
            elif kind == b"x":
                extended = _pax(text)
            _padding(below, size)
            continue
        name = extended.get("GNU.sparse.name") or extended.get("path") or name or _tar_name(block)
        trouble = (
            "is stored as a sparse file of a kind we do not read" if "GNU.sparse.major" in extended else ""
        )
        if extended.get("size", "").isdecimal():
            size = int(extended["size"])
        more = kind == b"S" and block[482]
        while (
            more
        ):  # old GNU sparse: the map goes on in further blocks; what is stored follows without the holes
            further = below.exactly(512)
            if len(further) < 512:
                raise Damage(f"tar is cut short in a header at its byte {start}")
            more = further[504]
        if kind not in b"123456":
            data = Limited(below, size, "tar member")
            if kind in b"0\x007S" and not name.endswith("/"):
                yield Member(name, _tar_time(block, extended), data, trouble)
            data.drain()
            _padding(below, size)
        name, extended = "", {}
    if not ended:
        raise Damage(f"tar ends at its byte {below.offset} without an end mark: it may be cut short")


def _tar_number(field: bytes) -> int | None:
    if field[0] & 0x80:  # GNU base-256, big-endian; the sign bit set means negative
        return None if field[0] & 0x40 else int.from_bytes(bytes([field[0] & 0x3F]) + field[1:], "big")
    digits = field.strip(b" \x00")
    return None if digits.strip(b"01234567") else int(digits or b"0", 8)


def _tar_time(block: bytes, extended: dict[str, str]) -> float | None:
    try:
        time = float(extended["mtime"])
    except (KeyError, ValueError):
        number = _tar_number(block[136:148])
        time = -1.0 if number is None else float(number)
    return time if 0 <= time < _YEAR_10000 else None


def _tar_name(block: bytes) -> str:
    name = block[:100].partition(b"\x00")[0]
    prefix = block[345:500].partition(b"\x00")[0] if block[257:263] == b"ustar\x00" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _pax(text: bytes) -> dict[str, str]:
    """Read `length key=value\\n` records; a malformed one ends it: only the name depends on it."""
    found = dict[str, str]()
    while text:
        digits = text[:20].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        if not len(digits) < length <= len(text):
            break
        key, _, value = text[len(digits) + 1 : length - 1].partition(b"=")
        found[_text(key)] = _text(value)
        text = text[length:]
    return found


def _kept(below: Reader, size: int) -> bytes:
    data = Limited(below, size, "tar header")
    text = data.exactly(size) if size <= _EXTENDED else b""
    data.drain()
    return text


def _padding(below: Reader, size: int) -> None:
    below.exactly(-size % 512)


def zip_members(below: Reader, fd: int | None, size: int, budget: Budget) -> Iterator[Member]:
    """Yield the files of a zip archive: by its directory where `fd` is seekable, else by the local headers.

    A file whose directory is missing (cut short) is read by its local headers, too, so that what is there is
    seen.
    """
    directory = _directory(fd, size) if fd is not None else None
    if fd is None or directory is None:
        yield from _zip_stream(Peeked(below), budget)
    else:
        yield from _zip_directory(fd, size, *directory, budget)


def _directory(fd: int, size: int) -> tuple[int, int, int] | None:
    """Return start and length of the directory, and by how much all offsets are off (bytes put before the
    archive).
    """
    tail_start = max(0, size - 0xFFFF - _EOCD)
    try:
        tail = os.pread(fd, size - tail_start, tail_start)
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) < at + _EOCD:
            return None
        length, start = struct.unpack_from("<II", tail, at + 12)
        end = tail_start + at
        if at >= 20 and tail[at - 20 : at - 16] == b"PK\x06\x07":
            (where,) = struct.unpack_from("<Q", tail, at - 12)
            record = os.pread(fd, 56, where) if where < size else b""
            if record[:4] == b"PK\x06\x06" and len(record) == 56:
                length, start = struct.unpack_from("<QQ", record, 40)
                end = where
    except OSError:
        return None
    shift = end - length - start
    return None if shift < 0 else (start + shift, length, shift)


def _zip_directory(
    fd: int, size: int, start: int, length: int, shift: int, budget: Budget
) -> Iterator[Member]:
    entries = Slice(fd, start, length, budget)
    while entries.offset < length:
        at = start + entries.offset
        head = entries.exactly(46)
        if len(head) < 46 or head[:4] != b"PK\x01\x02":
            raise Damage(f"zip directory is damaged at byte {at}")
        flags, method, when, day, crc, packed, plain, n_name, n_extra, n_comment = struct.unpack_from(
            "<HHHHIIIHHH", head, 8
        )
        (where,) = struct.unpack_from("<I", head, 42)
        name = _zip_name(entries.exactly(n_name), flags)
        plain, packed, where = _zip64(entries.exactly(n_extra), plain, packed, where)
        entries.exactly(n_comment)
        if name.endswith("/"):
            continue
        where += shift
        local = _pread(fd, where)
        if local[:4] != b"PK\x03\x04" or where + packed > size:
            yield Member(
                name, None, Slice(fd, 0, 0, budget), f"zip directory points to no member at byte {where}"
            )
            continue
        body = where + 30 + sum(struct.unpack_from("<HH", local, 26))
        yield _zip_member(
            name, Slice(fd, body, packed, budget), flags, method, crc, plain, _zip_time(day, when), budget
        )


def _pread(fd: int, where: int) -> bytes:
    try:
        local = os.pread(fd, 30, where)
    except (OSError, OverflowError):
        return b""
    return local if len(local) == 30 else b""


def _zip_member(
    name: str,
    body: Reader,
    flags: int,
    method: int,
    crc: int,
    plain: int,
    mtime: float | None,
    budget: Budget,
) -> Member:
    if flags & 1:
        return Member(name, mtime, body, "is encrypted")
    if method == 0:
        return Member(name, mtime, Checked(body, crc, plain))
    if method == 8:
        return Member(name, mtime, Checked(Deflated(Peeked(body), budget, "zip member"), crc, plain))
    if method == 12:
        return Member(name, mtime, Checked(bzip2(body, budget), crc, plain))
    if method == 93:
        return Member(name, mtime, Checked(Zstd(body, budget), crc, plain))
    if method == 95:
        return Member(name, mtime, Checked(xz(body, budget), crc, plain))
    return Member(name, mtime, body, f"is packed with zip method {method}, which we do not read")


class Checked(Reader):
    """Another reader whose length and checksum are compared at its end."""

    def __init__(self, below: Reader, crc: int, size: int) -> None:
        super().__init__()
        self._below, self._crc, self._size, self._sum = below, crc, size, 0

    def _more(self, n: int) -> bytes:
        data = self._below.read(n)
        if data:
            self._sum = isal_zlib.crc32(data, self._sum)
        elif self._sum != self._crc or self.offset != self._size:
            raise Damage("zip checksum is wrong: what was read may not be what was written")
        return data


def _zip_stream(below: Peeked, budget: Budget) -> Iterator[Member]:
    while True:
        at = below.offset
        head = below.exactly(4)
        if head in (b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x08"):
            below.drain()
            return
        head += below.exactly(26)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise Damage(f"zip is {'cut short' if len(head) < 30 else 'damaged'} at its byte {at}")
        flags, method, when, day, crc, packed, plain, n_name, n_extra = struct.unpack_from(
            "<HHHHIIIHH", head, 6
        )
        name = _zip_name(below.exactly(n_name), flags)
        plain, packed, _ = _zip64(below.exactly(n_extra), plain, packed, 0)
        mtime = _zip_time(day, when)
        if not flags & 8 or packed:
            body: Reader = Limited(below, packed, "zip member")
            if not name.endswith("/"):
                yield _zip_member(name, body, flags, method, crc, plain, mtime, budget)
            body.drain()
            if flags & 8:
                _descriptor(below, crc, packed, plain)
        elif method == 8 and not flags & 1:
            body = Deflated(below, budget, "zip member")
            before = below.offset
            yield Member(name, mtime, body)
            body.drain()
            _descriptor(below, body.crc, below.offset - before, body.offset)
        else:
            raise Damage(f"zip member at its byte {at} does not say its length; nothing after it can be read")


def _descriptor(below: Peeked, crc: int, packed: int, plain: int) -> None:
    """Read what follows a member written to a pipe: checksum and sizes, of 4 or 8 bytes, with or without a
    mark.
    """
    if below.peek(4) == b"PK\x07\x08":
        below.exactly(4)
    seen = below.exactly(4)
    sizes = below.peek(12)
    narrow = sizes[:8] == struct.pack("<II", packed & 0xFFFFFFFF, plain & 0xFFFFFFFF) and sizes[8:] != bytes(
        4
    )
    below.exactly(8 if narrow else 16)
    if len(seen) == 4 and seen != struct.pack("<I", crc):
        raise Damage("zip checksum is wrong: what was read may not be what was written")


def _zip_name(name: bytes, flags: int) -> str:
    return name.decode("utf-8" if flags & 0x800 else "cp437", "backslashreplace")


def _zip64(extra: bytes, plain: int, packed: int, where: int) -> tuple[int, int, int]:
    """Replace the sizes that do not fit in 32 bits by those of the zip64 field (id 1), in the order it has
    them.
    """
    values = [plain, packed, where]
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            field = extra[4 : 4 + length]
            for i, value in enumerate(values):
                if value == 0xFFFFFFFF and len(field) >= 8:
                    values[i] = int.from_bytes(field[:8], "little")
                    field = field[8:]
        extra = extra[4 + length :]
    return values[0], values[1], values[2]


def _zip_time(day: int, when: int) -> float | None:
    """Return the DOS date and time (of an unknown zone) as if it were UTC; None where it is none."""
    month, date = day >> 5 & 15, day & 31
    if not 1 <= month <= 12 or not date:
        return None
    return float(
        calendar.timegm((1980 + (day >> 9), month, date, when >> 11, when >> 5 & 63, (when & 31) * 2))
    )
