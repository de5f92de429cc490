"""What tests of streams share: a log, how it is packed, and everything that is read of a file."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import zstandard

from imdswatch.finding import Skipped
from imdswatch.read.sources import Ignored, Source, walk
from imdswatch.read.streams import Stream, open_streams

LOG = b"".join(
    b"%d 10.0.%d.%d GET /a/%d 200 caf\xc3\xa9\n" % (i, i >> 8 & 255, i & 255, i * 7919) for i in range(6000)
)


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def tar(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 77
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(method: int = zipfile.ZIP_DEFLATED, /, **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def read(path: Path | Source, size: int = 50_000) -> tuple[dict[str, bytes], list[Skipped | Ignored]]:
    """Return the data per stream, by its name without the folder, and all else, likewise."""
    source = path if isinstance(path, Source) else next(iter(walk([str(path)])))
    assert isinstance(source, Source)
    data, others = dict[str, bytes](), list[Skipped | Ignored]()
    prefix = f"{path.parent}/" if isinstance(path, Path) else ""
    for item in open_streams(source):
        if isinstance(item, Stream):
            buffer, parts = bytearray(size), []
            while count := item.readinto(buffer):
                parts.append(bytes(buffer[:count]))
            assert item.name.removeprefix(prefix) not in data
            data[item.name.removeprefix(prefix)] = b"".join(parts)
        elif isinstance(item, Skipped):
            others.append(Skipped(item.source.removeprefix(prefix), item.position, item.reason))
        else:
            others.append(Ignored(item.source.removeprefix(prefix), item.reason))
    return data, others
