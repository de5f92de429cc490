"""The same dialogue in every container, whole and damaged.

Pure: `captures` takes the recorded dialogue of boto3 and yields file names and files.
Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator, Sequence

import zstandard
from derive_streams import GET, KEYS, asked
from packets import ETHERNET, OTHER, OTHER_MAC, RAW, End, Frame, Talk, pcap, timed


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Return a pcapng block."""
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, 12 + len(body)) + body + struct.pack(order + "I", 12 + len(body))


def option(code: int, data: bytes, order: str = "<") -> bytes:
    """Return a pcapng option."""
    return struct.pack(order + "HH", code, len(data)) + data + bytes(-len(data) % 4)


def section(order: str = "<") -> bytes:
    """Return a section header of unknown length with options."""
    named = option(4, b"derive.py", order) + option(0, b"", order)
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + named, order)


def interface(link: int, order: str = "<", resolution: int | None = None, snaplen: int = 0) -> bytes:
    """Return an interface description."""
    options = option(2, b"eth0", order)
    if resolution is not None:
        options += option(9, bytes((resolution,)), order)
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options + option(0, b"", order), order)


def enhanced(frame: Frame, number: int = 0, order: str = "<", units: int = 10**6) -> bytes:
    """Return an enhanced packet block; `units` a second."""
    at = round(frame.time * units)
    head = struct.pack(order + "IIIII", number, at >> 32, at & 0xFFFFFFFF, len(frame.data), len(frame.data))
    return block(
        6,
        head + frame.data + bytes(-len(frame.data) % 4) + option(1, b"noted", order) + option(0, b"", order),
        order,
    )


def simple(frame: Frame) -> bytes:
    """Return a simple packet block: no time, no interface."""
    return block(3, struct.pack("<I", len(frame.data)) + frame.data)


def old(frame: Frame) -> bytes:
    """Return a packet block of the obsolete kind."""
    at = round(frame.time * 10**6)
    head = struct.pack("<HHIIII", 0, 0, at >> 32, at & 0xFFFFFFFF, len(frame.data), len(frame.data))
    return block(2, head + frame.data)


def modified(frames: Sequence[Frame]) -> bytes:
    """Return a capture of Kuznetzov's patched libpcap: magic 0xa1b2cd34, eight more octets a record."""
    out = struct.pack("<IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, ETHERNET)
    for frame in frames:
        whole = int(frame.time)
        size = len(frame.data)
        out += (
            struct.pack("<IIIIIHBB", whole, round((frame.time - whole) * 1e6), size, size, 2, 0x0800, 0, 0)
            + frame.data
        )
    return out


def two_victims() -> tuple[list[Frame], list[Frame]]:
    """Return two whole dialogues of different hosts, one after the other."""
    second = Talk(End(OTHER, 40001, OTHER_MAC)).open().say(0, GET).say(1, KEYS).close()
    return timed(asked().frames), timed(second.frames, 1795309260)


def captures(frames: Sequence[Frame]) -> Iterator[tuple[str, bytes]]:
    """Yield file names and files."""
    little = pcap(frames)
    yield "container-big-endian.pcap", pcap(frames, order=">")
    yield "container-nano.pcap", pcap(frames, nano=True)
    yield "container-big-endian-nano.pcap", pcap(frames, order=">", nano=True)
    yield "container-modified.pcap", modified(frames)
    yield (
        "container-fcs.pcap",
        pcap([Frame(f.time, f.data + b"\1\2\3\4") for f in frames], ETHERNET | 0x24000000),
    )
    yield "container-gzip.pcap.gz", gzip.compress(little, mtime=0)
    yield "container-zstd.pcap.zst", zstandard.ZstdCompressor(write_checksum=True).compress(little)
    yield "container-snaplen-96.pcap", pcap(frames, snaplen=96)
    for order, name in (("<", "little"), (">", "big")):
        head = section(order) + interface(ETHERNET, order)
        yield f"container-{name}.pcapng", head + b"".join(enhanced(f, 0, order) for f in frames)
    yield "container-simple.pcapng", section() + interface(ETHERNET) + b"".join(map(simple, frames))
    yield "container-obsolete.pcapng", section() + interface(ETHERNET) + b"".join(map(old, frames))
    secrets = block(10, struct.pack("<II", 0x544C534B, 20) + b"CLIENT_RANDOM FAKE\n\n")
    resolved = block(4, struct.pack("<HH", 1, 9) + bytes((10, 20, 1, 10)) + b"host\0" + bytes(3) + bytes(4))
    unknown, custom = block(0x0BADF00D, b"whatever"), block(0xBAD, struct.pack("<I", 32473) + b"custom")
    statistics = block(5, struct.pack("<III", 0, 0, 0) + option(0, b""))
    body = section() + secrets + interface(ETHERNET) + resolved
    body += b"".join(enhanced(f) + unknown for f in frames) + custom + statistics
    yield "container-other-blocks.pcapng", body
    half = len(frames) // 2
    both = section() + interface(ETHERNET, resolution=6) + interface(RAW, resolution=9)
    for number, frame in enumerate(frames):
        if number % 2 and frame.data[12:14] == b"\x08\x00":
            both += enhanced(Frame(frame.time, frame.data[14:]), 1, units=10**9)
        else:
            both += enhanced(frame)
    yield "container-two-interfaces.pcapng", both
    binary = section() + interface(ETHERNET, resolution=0x80 | 20)
    yield "container-binary-time.pcapng", binary + b"".join(enhanced(f, units=2**20) for f in frames)
    parts = b"".join(enhanced(f) for f in frames[:half]), b"".join(enhanced(f, 0, ">") for f in frames[half:])
    sections = section() + interface(ETHERNET) + parts[0] + section(">") + interface(ETHERNET, ">") + parts[1]
    yield "container-two-sections.pcapng", sections

    first, second = two_victims()
    before, after = pcap(first), pcap(second)[24:]
    whole = pcap(timed(asked().frames))
    last = 16 + len(asked().frames[-1])
    yield "damaged-header-only.pcap", pcap([])
    yield "damaged-header-only.pcapng", section() + interface(ETHERNET)
    yield "damaged-cut-in-packet.pcap", whole[:-20]
    yield "damaged-cut-in-record-header.pcap", whole[: len(whole) - last + 7]
    yield "damaged-cut-in-file-header.pcap", whole[:15]
    yield "damaged-garbage.pcap", before + bytes((n * 37 + 11) & 0xFF for n in range(301)) + after
    yield "damaged-zeros.pcap", before + bytes(400) + after
    blocks = [section() + interface(ETHERNET), *(enhanced(f) for f in [*first, *second])]
    yield "damaged-cut.pcapng", b"".join(blocks[: 1 + len(first)]) + blocks[-1][:30]
    middle = 1 + len(first)
    noise = bytes((n * 37 + 11) & 0xFF for n in range(300))
    yield "damaged-garbage.pcapng", b"".join(blocks[:middle]) + noise + b"".join(blocks[middle:])
    stray = enhanced(first[0], number=7)
    yield "damaged-unknown-interface.pcapng", blocks[0] + stray + b"".join(blocks[1:middle])
    yield "damaged-cut.pcap.gz", gzip.compress(before + after, mtime=0)[:-30]
