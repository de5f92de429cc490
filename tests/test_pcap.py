"""pcap captures by hand-written octets: every magic, every cut, garbage, holes and lies about lengths.

The octets follow draft-ietf-opsawg-pcap; `packets` returns what the reader makes of them, and what it tells.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdswatch.finding import Skipped
from imdswatch.read.captures import SIZE, packets_of
from imdswatch.read.sources import Source
from imdswatch.read.streams import Stream, open_streams
from imdswatch.wire.frame import Frame

HEAD = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000")  # little endian, µs, Ethernet
WHEN = 1_790_000_000


def record(
    data: bytes, seconds: int = WHEN, ticks: int = 7, length: int | None = None, order: str = "<"
) -> bytes:
    return (
        struct.pack(order + "IIII", seconds, ticks, len(data), len(data) if length is None else length) + data
    )


def packets(
    octets: bytes, folder: Path, size: int = SIZE, name: str = "x.pcap"
) -> tuple[list[Frame], list[Skipped]]:
    path = folder / name
    path.write_bytes(octets)
    frames, told = list[Frame](), list[Skipped]()
    for stream in open_streams(Source(name, str(path), True, 1.0)):
        if isinstance(stream, Stream):
            assert stream.capture
            for found in packets_of(stream, size=size):
                if isinstance(found, Skipped):
                    told.append(found)
                else:
                    frames += map(found.frame, range(len(found)))
        elif isinstance(stream, Skipped):
            told.append(stream)
    return frames, told


@pytest.mark.parametrize(
    ("magic", "order", "tick", "more"),
    [
        ("d4c3b2a1", "<", 1e-6, 0), ("a1b2c3d4", ">", 1e-6, 0), ("4d3cb2a1", "<", 1e-9, 0), ("a1b23c4d", ">", 1e-9, 0),
        ("34cdb2a1", "<", 1e-6, 8), ("a1b2cd34", ">", 1e-6, 8),
    ],
)  # fmt: skip
def test_every_magic(magic: str, order: str, tick: float, more: int, tmp_path: Path) -> None:
    head = bytes.fromhex(magic) + struct.pack(
        order + "HHiIII", 2, 4, 0, 0, 96, 0x1400_0071
    )  # FCS bits, Linux cooked
    body = b"".join(
        struct.pack(order + "IIII", WHEN + n, 500, 3, 900) + bytes(more) + bytes([n, n, n]) for n in range(3)
    )
    frames, told = packets(head + body, tmp_path)
    assert told == []
    assert [(one.number, one.data, one.length, one.linktype) for one in frames] == [
        (n + 1, bytes([n, n, n]), 900, 113) for n in range(3)
    ]
    assert frames[2].time == pytest.approx(WHEN + 2 + 500 * tick, abs=1e-7)


def test_a_cut_at_every_octet_keeps_all_packets_before_it(tmp_path: Path) -> None:
    bodies = [b"a" * 20, b"", b"b" * 7]
    whole = HEAD + b"".join(map(record, bodies))
    borders = [24, 60, 76, 99]
    for at in range(25, len(whole)):
        frames, told = packets(whole[:at], tmp_path)
        complete = sum(border <= at for border in borders[1:])
        assert [one.data for one in frames] == bodies[:complete], at
        place = borders[complete]
        wanted = [] if at in borders else [f"capture is cut short in packet {complete + 1}"]
        assert [(one.position, one.reason) for one in told] == [
            (f"byte {place}", reason) for reason in wanted
        ], at


@pytest.mark.parametrize("size", range(4, 24))
def test_a_cut_header(size: int, tmp_path: Path) -> None:
    assert packets(HEAD[:size], tmp_path) == (
        [],
        [Skipped("x.pcap", "byte 0", "capture is cut short in its header")],
    )


def test_a_header_alone_is_a_capture_without_packets(tmp_path: Path) -> None:
    assert packets(HEAD, tmp_path) == ([], [])


def test_a_huge_snapshot_length_means_nothing(tmp_path: Path) -> None:
    frames, told = packets(HEAD[:16] + b"\xff\xff\xff\xff" + HEAD[20:] + record(b"abc"), tmp_path)
    assert ([one.data for one in frames], told) == ([b"abc"], [])


@pytest.mark.parametrize("claim", [262_145, 1 << 30, 0xFFFFFFFF])
def test_a_packet_that_claims_too_much_ends_what_can_be_read(claim: int, tmp_path: Path) -> None:
    octets = HEAD + record(b"abc") + struct.pack("<IIII", WHEN, 1, claim, claim) + bytes(50)
    frames, (told,) = packets(octets, tmp_path)
    assert [one.data for one in frames] == [b"abc"]
    assert told.position == "byte 43"
    assert told.reason == f"packet 2 claims to be {claim} bytes long; the last 66 bytes are not read"


GARBAGE = {
    "text": b"tail: /var/cap.pcap: file truncated\n",
    "ones": b"\xff" * 301,
    "zeros": bytes(400),
    "pattern": bytes((n * 37 + 11) & 0xFF for n in range(999)),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", GARBAGE)
def test_behind_garbage_it_is_read_on(kind: str, order: str, tmp_path: Path) -> None:
    head = HEAD if order == "<" else b"\xa1\xb2\xc3\xd4" + struct.pack(">HHiIII", 2, 4, 0, 0, 262_144, 1)
    some = [record(bytes([n]) * 70, WHEN + n, order=order) for n in range(12)]
    frames, (told,) = packets(head + b"".join(some[:4]) + GARBAGE[kind] + b"".join(some[4:]), tmp_path)
    assert [one.data[0] for one in frames] == list(range(12))
    assert [one.number for one in frames] == list(range(1, 13))
    start = 24 + 4 * 86
    assert told.position == f"byte {start}"
    size = len(GARBAGE[kind])
    assert told.reason.endswith(f"; {size} bytes are passed over, it is read on at byte {start + size}")


def test_it_is_not_read_on_in_what_only_looks_like_packets(tmp_path: Path) -> None:
    """Times a year away, a length on the wire below the one kept, a fraction beyond a second: none is a packet."""
    lies = [
        record(b"x" * 60, WHEN + 366 * 86_400), record(b"x" * 60, length=59), record(b"x" * 60, ticks=1_000_001),
        record(b"", 0, 0),
    ]  # fmt: skip
    for lie in lies:
        frames, told = packets(HEAD + record(b"a" * 60) + b"\xff" * 40 + lie * 6, tmp_path)
        assert (len(frames), len(told)) == (1, 1)


def test_damage_at_the_border_of_a_buffer_and_larger_than_one(tmp_path: Path) -> None:
    one = record(b"a" * 1000)
    before = (SIZE - 24 - 400) // len(one)
    octets = HEAD + one * before + b"\xff" * (SIZE + 77) + one * 2000
    frames, (told,) = packets(octets, tmp_path)
    assert len(frames) == before + 2000
    assert told.position == f"byte {24 + before * len(one)}"
    assert f"{SIZE + 77} bytes are passed over" in told.reason


def test_a_compressed_capture_that_is_cut_is_told_once(tmp_path: Path) -> None:
    whole = gzip.compress(HEAD + b"".join(record(bytes([n]) * 500) for n in range(200)), mtime=0)
    frames, (told,) = packets(whole[:-20], tmp_path, name="x.pcap.gz")
    assert len(frames) > 100
    assert "gzip data is cut short" in told.reason


@given(st.lists(st.binary(max_size=300), max_size=40), st.integers(600, 5000))
def test_buffers_of_any_size_give_the_same(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], size: int
) -> None:
    octets = HEAD + b"".join(map(record, bodies))
    frames, told = packets(octets, tmp_path_factory.mktemp("b"), size)
    assert ([one.data for one in frames], told) == (bodies, [])
    assert [one.number for one in frames] == list(range(1, len(bodies) + 1))


@given(st.binary(max_size=600))
def test_anything_behind_a_header_is_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    frames, told = packets(HEAD + record(b"abc") + noise, tmp_path_factory.mktemp("n"))
    assert frames[0].data == b"abc"
    covered = sum(len(one.data) + 16 for one in frames) + 24
    assert covered == 24 + 19 + len(noise) or told
