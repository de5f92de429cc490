"""pcapng captures by hand-written octets: sections of both endians, every block type, every cut, garbage.

The octets follow draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_pcap import GARBAGE, packets

WHEN = 1_790_000_000
ORDERS = ["<", ">"]


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str = "<", length: int = -1, major: int = 1) -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, length), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(linktype: int = 1, order: str = "<", options: bytes = b"", snaplen: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options, order)


def enhanced(
    data: bytes, ticks: int = WHEN * 10**6, number: int = 0, order: str = "<", options: bytes = b""
) -> bytes:
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data) + 5)
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


@pytest.mark.parametrize("order", ORDERS)
def test_every_kind_of_packet_block(order: str, tmp_path: Path) -> None:
    obsolete = (
        struct.pack(order + "HHIIII", 1, 9, WHEN * 10**6 >> 32, WHEN * 10**6 & 0xFFFFFFFF, 3, 3) + b"old"
    )
    octets = b"".join((
        section(order), interface(1, order), interface(113, order),
        enhanced(b"one", order=order, options=option(1, b"a comment", order) + option(0, b"", order)),
        block(3, struct.pack(order + "I", 40) + b"simple!", order), block(2, obsolete, order),
        enhanced(b"", number=1, order=order),
    ))  # fmt: skip
    frames, told = packets(octets, tmp_path)
    assert told == []
    # A simple block has no length of its own: what was kept is its padded body (draft, 4.4).
    assert [(one.data, one.length, one.linktype, one.time) for one in frames] == [
        (b"one", 8, 1, WHEN), (b"simple!\0", 40, 1, None), (b"old", 3, 113, WHEN), (b"", 5, 113, WHEN),
    ]  # fmt: skip


def test_a_simple_block_is_cut_by_the_snapshot_length(tmp_path: Path) -> None:
    octets = section() + interface(snaplen=6) + block(3, struct.pack("<I", 40) + b"simple!!")
    frames, _ = packets(octets, tmp_path)
    assert [(one.data, one.length) for one in frames] == [(b"simple", 40)]


@pytest.mark.parametrize("kind", [4, 5, 9, 10, 0xBAD, 0x40000BAD, 0x80000001, 0xFFFFFFFF])
@pytest.mark.parametrize("size", [0, 1, 3, 400_000, 9 << 20])
def test_other_blocks_are_passed_over(kind: int, size: int, tmp_path: Path) -> None:
    octets = (
        section() + block(kind, b"\x06" * size) + interface() + enhanced(b"one") + block(kind, b"\x06" * size)
    )
    frames, told = packets(octets + enhanced(b"two"), tmp_path)
    assert ([one.data for one in frames], told) == ([b"one", b"two"], [])


def test_a_block_of_a_type_that_nobody_defined_is_passed_over_unless_it_is_huge(tmp_path: Path) -> None:
    before = section() + interface() + enhanced(b"one")
    assert packets(before + block(7, bytes(5000)) + enhanced(b"two"), tmp_path)[1] == []
    frames, (told,) = packets(before + block(7, b"\x07" * 400_000) + enhanced(b"two"), tmp_path)
    assert [one.data for one in frames] == [b"one", b"two"]
    assert told.reason.startswith(
        "a block of type 7 claims to be 400012 bytes long; 400012 bytes are passed over"
    )


@pytest.mark.parametrize("kind", [4, 10, 0xBAD, 0x80000001])
def test_a_block_longer_than_libpcap_reads_hides_nothing(kind: int, tmp_path: Path) -> None:
    before, after = section() + interface() + enhanced(b"one"), enhanced(b"two")
    frames, (told,) = packets(before + struct.pack("<II", kind, 0xFFFFFFFC) + bytes(64) + after, tmp_path)
    assert [one.data for one in frames] == [b"one", b"two"]
    assert told.position == f"byte {len(before)}"
    assert told.reason.startswith(
        f"a block of type {kind} claims to be 4294967292 bytes long; 72 bytes are passed over"
    )


def test_a_section_that_claims_four_gigabytes_hides_nothing(tmp_path: Path) -> None:
    huge = bytearray(section())
    huge[4:8] = struct.pack("<I", 0xFFFFFFFC)
    frames, (told,) = packets(bytes(huge) + interface() + enhanced(b"one"), tmp_path)
    assert [one.data for one in frames] == [b"one"]
    assert told.reason.startswith(
        "a section header claims to be 4294967292 bytes long; 28 bytes are passed over"
    )


@pytest.mark.parametrize(
    ("options", "ticks", "wanted"),
    [
        (b"", WHEN * 10**6 + 5, WHEN + 5e-6),
        (option(9, b"\x09"), WHEN * 10**9 + 5, WHEN + 5e-9),
        (option(9, b"\x00"), WHEN, WHEN),
        (option(9, b"\x8a"), WHEN << 10 | 512, WHEN + 0.5),
        (
            option(2, b"eth0") + option(14, struct.pack("<q", -3600)) + option(0, b""),
            WHEN * 10**6,
            WHEN - 3600,
        ),
        (
            option(0, b"") + option(9, b"\x09"),
            WHEN * 10**6,
            WHEN,
        ),  # what follows the end of the options is none
        (option(9, b"\x7f"), (1 << 64) - 1, 0),
        (option(14, struct.pack("<q", 1 << 62)), 1, None),  # no such year
        (option(9, b"\x00"), (1 << 64) - 1, None),
        (struct.pack("<HH", 9, 400), WHEN * 10**6, WHEN),  # longer than its block
    ],
)
def test_times(options: bytes, ticks: int, wanted: float | None, tmp_path: Path) -> None:
    frames, told = packets(section() + interface(options=options) + enhanced(b"x", ticks), tmp_path)
    assert told == []
    assert frames[0].time == (None if wanted is None else pytest.approx(wanted, abs=1e-6))


def test_sections_of_both_endians_have_interfaces_of_their_own(tmp_path: Path) -> None:
    octets = section("<") + interface(1) + interface(101) + enhanced(b"a", number=1)
    octets += section(">") + interface(276, ">") + enhanced(b"b", order=">")
    octets += section("<") + interface(1) + enhanced(b"c") + enhanced(b"d", number=1)
    frames, (told,) = packets(octets, tmp_path)
    assert [(one.number, one.data, one.linktype) for one in frames] == [
        (1, b"a", 101),
        (2, b"b", 276),
        (3, b"c", 1),
    ]
    assert told.reason == "packet 4 names interface 1, which the capture does not describe"
    assert told.position == f"byte {len(octets) - 36}"


def test_a_packet_longer_than_its_block_is_told_and_passed_over(tmp_path: Path) -> None:
    lie = block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99) + b"abc")
    frames, (told,) = packets(section() + interface() + enhanced(b"one") + lie + enhanced(b"two"), tmp_path)
    assert [one.data for one in frames] == [b"one", b"two"]
    assert told.reason == "packet 2 is longer than the block that holds it"


def test_packets_before_any_interface(tmp_path: Path) -> None:
    octets = (
        section()
        + enhanced(b"one")
        + block(3, struct.pack("<I", 3) + b"two")
        + interface()
        + enhanced(b"six")
    )
    frames, told = packets(octets, tmp_path)
    assert [one.data for one in frames] == [b"six"]
    assert [one.reason.partition(" ")[2][2:] for one in told] == [
        "names interface 0, which the capture does not describe",
        "belongs to an interface that the capture does not describe",
    ]


@pytest.mark.parametrize("order", ORDERS)
def test_a_cut_at_every_octet_keeps_all_packets_before_it(order: str, tmp_path: Path) -> None:
    parts = [section(order), interface(1, order), enhanced(b"one", order=order), block(10, bytes(30), order)]
    parts += [enhanced(b"seven77", order=order), enhanced(b"", order=order)]
    whole = b"".join(parts)
    borders = [sum(map(len, parts[:n])) for n in range(len(parts) + 1)]
    for at in range(28, len(whole)):
        frames, told = packets(whole[:at], tmp_path)
        complete = sum(border <= at for border in borders[3:])
        assert [one.data for one in frames] == [b"one", b"seven77"][: (complete >= 1) + (complete >= 3)], at
        cut = [] if at in borders else [f"byte {max(border for border in borders if border <= at)}"]
        assert [one.position for one in told] == cut, at
        assert all("cut short" in one.reason for one in told)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", GARBAGE)
def test_behind_garbage_it_is_read_on(kind: str, order: str, tmp_path: Path) -> None:
    some = [enhanced(bytes([n]) * 70, order=order) for n in range(6)]
    before = section(order) + interface(1, order) + b"".join(some[:3])
    frames, (told,) = packets(before + GARBAGE[kind] + b"".join(some[3:]), tmp_path)
    assert [one.data[0] for one in frames] == list(range(6))
    assert told.position == f"byte {len(before)}"
    assert f"it is read on at byte {len(before) + len(GARBAGE[kind])}" in told.reason


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (struct.pack("<II", 6, 0), "a block claims to be 0 bytes long"),
        (struct.pack("<II", 6, 1 << 30), "packet 2 claims to be 1073741824 bytes long"),
        (enhanced(b"two")[:-4] + b"\0\0\0\0", "a block's two lengths differ: 36 and 0"),
        (section(major=9), "a section is of pcapng version 9, which is unknown"),
        (section()[:8] + bytes(20), "a section header has no byte order mark"),
    ],
)
def test_a_broken_frame_is_told_with_what_is_wrong(octets: bytes, reason: str, tmp_path: Path) -> None:
    whole = section() + interface() + enhanced(b"one") + octets + bytes(12)
    frames, (told, *_) = packets(whole, tmp_path)
    assert [one.data for one in frames] == [b"one"]
    assert told.position == "byte 84"
    assert told.reason.startswith(reason)


@given(st.binary(max_size=400), st.sampled_from(ORDERS))
def test_anything_behind_a_section_header_raises_nothing(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, order: str
) -> None:
    octets = section(order) + interface(1, order) + enhanced(b"one", order=order) + noise
    frames, told = packets(octets, tmp_path_factory.mktemp("n"))
    assert frames[0].data == b"one"
    assert told or len(noise) % 4 == 0


@given(st.lists(st.binary(max_size=300), max_size=30), st.integers(800, 5000), st.sampled_from(ORDERS))
def test_buffers_of_any_size_give_the_same(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], size: int, order: str
) -> None:
    octets = section(order) + interface(1, order) + b"".join(enhanced(body, order=order) for body in bodies)
    frames, told = packets(octets, tmp_path_factory.mktemp("b"), size)
    assert ([one.data for one in frames], told) == (bodies, [])
