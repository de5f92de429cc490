"""`recognise` says what a file is from its first bytes, never from its name.

Pure. It errs towards text: a binary file searched as text costs time, a log taken for binary costs a finding.
Hence a log with NUL bytes (a crash or `copytruncate` leaves runs of them), with lines of junk, in Latin-1 or
in any ASCII-compatible encoding is text. Signatures are those of the formats' own specifications, as
collected in file(1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

HEAD = 64 << 10
"""How many bytes `recognise` wants to see; fewer only where the file is shorter."""

Kind = Literal[
    "empty",
    "text",
    "encoded",
    "gzip",
    "zstd",
    "bzip2",
    "xz",
    "zip",
    "tar",
    "capture",
    "table",
    "unread",
    "binary",
]


@dataclass(frozen=True, slots=True)
class Content:
    """What the first bytes show.

    `encoding` is a Python codec name for `encoded` (text that must be transcoded) and "" otherwise; `bom`
    counts the bytes of a byte order mark; `what` names formats we know and do not read (`unread`, `binary`), and which
    kind of `table` it is: parquet, arrow (a file) or arrows (a stream of the same messages).
    """

    kind: Kind
    encoding: str = ""
    bom: int = 0
    what: str = ""


COMPRESSED: frozenset[Kind] = frozenset({"gzip", "zstd", "bzip2", "xz"})
"""What `unpack.UNPACKERS` unpacks."""
_PACKED: tuple[tuple[bytes, Kind], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")  # block magic, or end magic of an empty file
_ZSTD_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)  # RFC 8878, 3.1.2

_CAPTURE = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d",
            b"\x34\xcd\xb2\xa1", b"\xa1\xb2\xcd\x34")  # fmt: skip
_CAPTURE_NG = re.compile(rb"\x0a\x0d\x0d\x0a.{4}(?:\x4d\x3c\x2b\x1a|\x1a\x2b\x3c\x4d)", re.DOTALL)

# What follows the mark of Parquet is a struct of Thrift's compact protocol, whose first octet is no letter.
_TABLES: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"PAR1[\x00-\x08\x0e-\x1f]"), "parquet"),
    (re.compile(rb"ARROW1\x00\x00"), "arrow"),
)
# An Arrow stream begins with a message: the mark of continuation, the length of its head, then the head itself, whose
# first four octets are an offset inside it (Arrow columnar format, Encapsulated message format).
_ARROWS = re.compile(rb"\xff\xff\xff\xff[^\x00].[\x00-\x0f]\x00.\x00\x00\x00", re.DOTALL)

# Formats that may well hold logs but that this version does not open: always worth a word, hence `unread`.
_UNREAD: tuple[tuple[bytes, str], ...] = (
    (b"PARE", "an encrypted Parquet table"),
    (b"ORC", "an ORC table"),
    (b"Obj\x01", "an Avro table"),
    (b"FEA1", "a Feather table of the first version; write it as Arrow (`write_feather` of today does)"),
    (b"ElfFile\x00", "a Windows event log; export it as JSON"),
    (b"LPKSHHRH", "a systemd journal; pipe `journalctl -o json --file …` in"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x04\x22\x4d\x18", "lz4-compressed; unpack it first"),
    (b"LZIP\x01", "lzip-compressed; unpack it first"),
    (b"\x1f\x9d", "packed with compress(1); unpack it first"),
    (b"\x1f\xa0", "packed with compress(1); unpack it first"),
    (b"\xff\x06\x00\x00sNaPpY", "snappy-compressed; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it first"),
    (b"PK\x07\x08", "one part of a split zip archive; join the parts first"),
    (b"\x0c\xa5\x01\x00", "an nfdump binary file; convert it with `nfdump -r … -o json`"),
)
_BINARY: tuple[tuple[bytes, str], ...] = (
    (b"\x7fELF", "a program"),
    (b"MZ\x90\x00", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\x00asm", "a program"),
    (b"!<arch>\n", "a library or package"),
    (b"\xed\xab\xee\xdb", "a package"),
    (b"\x89PNG\r\n", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"%PDF-", "a PDF document"),
    (b"OggS", "a media file"),
    (b"\xfa\x80\xf8\xff", "unknown binary data"),
)
_PYTHON = re.compile(rb"..\r\n[\x00-\x03]\x00\x00\x00", re.DOTALL)  # a .pyc: version, then flags (PEP 552)
_BOMS: tuple[tuple[bytes, str], ...] = (  # UTF-32 first: its little-endian mark begins with the one of UTF-16
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_UTF8_BOM = b"\xef\xbb\xbf"

# Bytes no log writer means: control bytes except \t \n \f \r \b, ESC (colours), SOH (FIX) and the separators
# 1C-1F (auditd writes 1D between raw and interpreted fields, JSON text sequences begin with 1E).
_CONTROL = bytes([*range(2, 8), 0x0B, *range(0x0E, 0x1B), 0x7F])
_HIGH = bytes(range(0x80, 0x100))
_PADDING = re.compile(rb"\x00{16,}")


def recognise(head: bytes) -> Content:
    """Say what a file is that begins with `head` (its first `HEAD` bytes, or all of it if it is shorter)."""
    if not head:
        return Content("empty")
    for magic, kind in _PACKED:
        if head.startswith(magic):
            return Content(kind)
    if _BZIP2.match(head):
        return Content("bzip2")
    if _ZSTD_SKIPPABLE.match(head):
        return Content("zstd")
    if is_tar_header(head[:512]):
        return Content("tar")
    if head.startswith(_CAPTURE) or _CAPTURE_NG.match(head):
        return Content("capture", what="a packet capture")
    for mark, what in _TABLES:
        if mark.match(head):
            return Content("table", what=what)
    if _ARROWS.match(head):
        return Content("table", what="arrows")
    for magic, what in _UNREAD:
        if head.startswith(magic) and (magic[-1] < 32 or magic[-1] > 126 or not _is_text(head)):
            return Content("unread", what=what)
    for magic, what in _BINARY:
        if head.startswith(magic) and not _is_text(head):
            return Content("binary", what=what)
    if _PYTHON.match(head):
        return Content("binary", what="a program")
    if head.startswith(_UTF8_BOM):
        return Content("text", bom=3)
    for bom, encoding in _BOMS:
        # Broken bytes may begin like a mark. A line end, blank or digit in UTF-16 and UTF-32 has a zero, else none has.
        if head.startswith(bom) and (b"\0" in head[len(bom) :] or len(head) < 16):
            return Content("encoded", encoding=encoding, bom=len(bom))
    if encoding := _utf16(head):
        return Content("encoded", encoding=encoding)
    return Content("text") if _is_text(head) else Content("binary", what="unknown binary data")


def is_tar_header(block: bytes) -> bool:
    """Say whether 512 bytes are a tar header: only its checksum is common to all tar formats (POSIX ustar,
    V7).
    """
    if len(block) < 512 or not block[0]:
        return False
    digits = block[148:156].strip(b" \x00")
    if not digits or digits.strip(b"01234567"):
        return False
    plain = sum(block) - sum(block[148:156]) + 8 * 0x20
    if int(digits, 8) == plain:
        return True
    # Some old tars summed signed characters (GNU tar, src/list.c, tar_checksum).
    return int(digits, 8) == plain - 256 * (len(_high_bytes(block[:148])) + len(_high_bytes(block[156:])))


def _high_bytes(data: bytes) -> bytes:
    return data.translate(None, bytes(range(0x80)))


def _utf16(head: bytes) -> str:
    """Recognise UTF-16 without a mark: in one half of each pair nearly all zeros, in the other nearly all
    ASCII.
    """
    pairs = len(head) // 2
    if pairs < 4:
        return ""
    even, odd = head[0 : 2 * pairs : 2], head[1 : 2 * pairs : 2]
    for letters, zeros, encoding in ((even, odd, "utf-16-le"), (odd, even, "utf-16-be")):
        if (
            zeros.count(0) >= 0.6 * pairs
            and letters.count(0) <= 0.02 * pairs
            and len(letters.translate(None, _CONTROL + _HIGH)) >= 0.9 * pairs
        ):
            return encoding
    return ""


def _is_text(head: bytes) -> bool:
    body = _PADDING.sub(b"", head)
    if not body:
        return True  # only NUL so far: what `copytruncate` leaves at the start of a log
    size = len(body)
    control = size - len(body.translate(None, _CONTROL))
    if body.count(0) <= 0.05 * size and control <= 0.10 * size:
        high = len(_high_bytes(body))
        if high <= 0.30 * size or _is_utf8(body):
            return True
    clean = sum(len(line) for line in head.split(b"\n")[:-1] if _is_clean(line))
    return clean >= 0.25 * size


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(body) - 4 and error.reason == "unexpected end of data"
    return True


def _is_clean(line: bytes) -> bool:
    line = line.strip(b"\x00")
    if len(line) < 8 or line.count(0) or len(line.translate(None, _CONTROL)) != len(line):
        return False
    return len(_high_bytes(line)) <= 0.30 * len(line) or _is_utf8(line)
