"""Fragments come together in any order, in both readings where they overlap, within bounds."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import frames as f
from imdswatch.wire import fragments as ip_fragments
from imdswatch.wire.fragments import Piece
from imdswatch.wire.frame import Frame
from imdswatch.wire.packet import Fragments, Packet, decode, flush

SEGMENT = f.tcp(b"GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\n\r\n", seq=77)
Cut = tuple[int, bytes, bool]


def cut(octets: bytes, *at: int) -> list[Cut]:
    edges = [0, *at, len(octets)]
    return [(a, octets[a:b], b < len(octets)) for a, b in pairwise(edges)]


def four(
    pieces: Iterable[Cut], ident: int = 1, start: int = 1, step: float = 0.001, protocol: int = 6
) -> list[Frame]:
    return [
        f.frame(f.ethernet(f.ip4(octets, protocol, ident=ident, offset=offset, more=more)), n, n * step)
        for n, (offset, octets, more) in enumerate(pieces, start)
    ]


def six(pieces: Iterable[Cut], ident: int = 1, protocol: int = 6) -> list[Frame]:
    return [
        f.frame(
            f.ethernet(f.ip6(f.fragment6(octets, protocol, offset, more, ident), 44), f.IPV6), n, n * 0.001
        )
        for n, (offset, octets, more) in enumerate(pieces, 1)
    ]


def read(frames: Sequence[Frame], fragments: Fragments | None = None) -> list[Packet]:
    fragments = fragments or Fragments()
    return [packet for frame in frames for packet in decode(frame, fragments)]


def payloads(packets: Iterable[Packet]) -> list[bytes]:
    return [packet.payload for packet in packets]


@pytest.mark.parametrize(
    "frames", [four(cut(SEGMENT, 8, 16, 40)), six(cut(SEGMENT, 8, 16, 40))], ids=["ipv4", "ipv6"]
)
def test_fragments_come_together_in_any_order_and_the_header_may_be_split(frames: list[Frame]) -> None:
    for order in (
        frames,
        frames[::-1],
        frames[1:] + frames[:1],
        [frames[2], frames[2], *frames[:2], frames[3]],
    ):
        (packet,) = read(order)
        assert (packet.kind, packet.sport, packet.dport, packet.seq) == ("tcp", 40112, 80, 77)
        assert packet.payload == SEGMENT[20:]
        assert packet.frame is order[-1]
        assert packet.missing == 0
        assert packet.ip_bytes == len(SEGMENT) + (40 if packet.dst == f.ENDPOINT6 else 20) + 8 * (
            packet.dst == f.ENDPOINT6
        )


def test_an_incomplete_datagram_says_nothing_until_it_is_given_up() -> None:
    frames = four(cut(SEGMENT, 24, 32, 64))
    fragments = Fragments()
    assert read([frames[0], frames[1], frames[3]], fragments) == []
    (packet,) = flush(fragments)
    assert (packet.kind, packet.payload, packet.missing) == (
        "tcp",
        SEGMENT[20:64][: 32 - 20],
        len(SEGMENT) - 32,
    )
    assert packet.frame == dataclasses.replace(frames[0], data=b"")  # nobody keeps what is around a fragment
    assert flush(fragments) == ()


def test_a_partial_tunnel_that_carries_a_fragment_leaves_nothing_behind() -> None:
    inner = f.ip4(SEGMENT[:24], more=True)
    fragments = Fragments()
    read(four(cut(inner + bytes(20), 48), protocol=4)[:1], fragments)
    assert [packet.kind for packet in flush(fragments)] == ["other"]
    assert flush(fragments) == ()


def test_a_datagram_whose_beginning_never_came_still_names_its_addresses() -> None:
    fragments = Fragments()
    read(four(cut(SEGMENT, 24))[1:], fragments)
    (packet,) = flush(fragments)
    assert (packet.kind, packet.src, packet.dst, packet.payload) == ("other", f.VICTIM, f.ENDPOINT, b"")


def test_datagrams_are_told_apart() -> None:
    one, two = SEGMENT, SEGMENT.replace(b"GET", b"PUT")
    mixed = [
        frame for pair in zip(four(cut(one, 24), 1), four(cut(two, 24), 2), strict=True) for frame in pair
    ]
    assert payloads(read(mixed)) == [one[20:], two[20:]]
    udp = four(cut(f.udp(b"x" * 50), 24), protocol=17)
    assert [p.kind for p in read([udp[0], *four(cut(one, 24)), udp[1]])] == ["tcp", "udp"]


def test_overlapping_fragments_have_two_readings() -> None:
    evil = SEGMENT[:24] + SEGMENT[24:].upper()
    for make in (four, six):
        a, b, c = make([(0, SEGMENT[:48], True), (24, evil[24:56], True), (56, SEGMENT[56:], False)])
        first, last = read([a, b, c])
        assert first.payload == (SEGMENT[:48] + evil[48:56] + SEGMENT[56:])[20:]
        assert last.payload == (SEGMENT[:24] + evil[24:56] + SEGMENT[56:])[20:]
        assert payloads(read([a, a, c, b])) == payloads([first, last])


def test_two_ends_have_two_readings() -> None:
    short = [(0, SEGMENT[:40], True), (40, b"x" * 16, False)]
    frames = four([(40, b"y" * 8, False), *short[::-1]])
    assert payloads(read(frames)) == [SEGMENT[20:40] + b"y" * 8, SEGMENT[20:40] + b"x" * 16]


def test_a_snaplen_that_cuts_the_first_fragment_does_not_silence_it() -> None:
    data = f.ethernet(f.ip4(SEGMENT[:64], offset=0, more=True))
    (packet,) = read([f.frame(data[:70], length=len(data))])
    assert (packet.kind, packet.payload, packet.missing) == ("tcp", SEGMENT[20:36], 28)


def test_numbers_are_used_again() -> None:
    old, new = four(cut(b"\xff" * 48, 24)), four(cut(SEGMENT, 24))
    fragments = Fragments()
    late = [Frame(frame.number + 10, 100.0, frame.data, frame.length, 1) for frame in new]
    packets = read([old[1], *late], fragments)
    assert payloads(packets) == [b"", SEGMENT[20:]]  # what was given up of the old one, the new one
    assert packets[0].kind == "other"


def test_atomic_fragments_stand_for_themselves() -> None:
    fragments = Fragments()
    pending, rest = six(cut(SEGMENT, 24))
    atomic = f.frame(f.ethernet(f.ip6(f.fragment6(f.tcp(b"alone"), 6, ident=1), 44), f.IPV6))
    assert payloads(read([pending, atomic, rest], fragments)) == [b"alone", SEGMENT[20:]]


def test_extension_headers_behind_a_fragment_header() -> None:
    inside = f.extension(SEGMENT, 6, 16)
    (packet,) = read(six(cut(inside, 8, 40), protocol=60))
    assert packet.payload == SEGMENT[20:]


def test_fragments_within_a_tunnel_and_of_a_tunnel() -> None:
    inner = [f.ip4(octets, offset=at, more=more) for at, octets, more in cut(SEGMENT, 24)]
    tunnelled = [f.frame(f.ethernet(f.ip4(i, 4, "192.0.2.1", "192.0.2.2"))) for i in inner]
    packets = read(tunnelled)
    assert [p.kind for p in packets] == ["other", "tcp"]
    assert packets[1].payload == SEGMENT[20:]
    vxlan = f.udp(f.vxlan(f.ethernet(f.ip4(SEGMENT))), 1, 4789)
    (packet,) = read(four(cut(vxlan, 24, 64), protocol=17))
    assert (packet.payload, packet.tunnels) == (SEGMENT[20:], ("vxlan:7",))


def test_a_fragment_within_a_whole_datagram_ends_there() -> None:
    nested = b""
    frames = []
    for ident in range(600, 0, -1):  # each datagram, once whole, would complete the next
        nested = f.fragment6(nested, 44, 8, False, ident + 1)
        frames += six([(0, f.extension(b"", 44), True)], ident)
        frames[-1] = f.frame(
            f.ethernet(f.ip6(f.fragment6(f.extension(b"", 44), 60, 0, True, ident), 44), f.IPV6)
        )
    final = f.frame(f.ethernet(f.ip6(f.fragment6(nested, 44, 8, False, 1), 44), f.IPV6))
    fragments = Fragments()
    assert read(frames, fragments) == []
    (packet,) = read([final], fragments)
    assert packet.kind == "other"


def test_memory_is_bounded_and_the_eldest_goes_first() -> None:
    fragments: ip_fragments.Fragments[int] = ip_fragments.Fragments(octets=100_000)
    gone: list[int] = []
    for number in range(1000):
        fragments.push(number, Piece(0, b"x" * 1000, True), None, number)
        gone += [partial.context for partial in fragments.gone()]
    assert gone == list(range(len(gone)))
    assert 940 < len(gone) < 960  # a thousand octets each, and what keeping them takes
    assert [partial.context for partial in fragments.end()] == list(range(len(gone), 1000))


def test_hostile_fragments_take_linear_time() -> None:
    fragments: ip_fragments.Fragments[int] = ip_fragments.Fragments()
    begin = time.process_time()
    for start in range(65528, 0, -8):  # never whole
        fragments.push("a", Piece(start, b"12345678", True), None, 0)
    for number in range(20_000):  # the same place again and again
        fragments.push("b", Piece(8, number.to_bytes(8, "big"), True), None, 0)
        fragments.push("c", Piece(8, b"12345678" * 100, False), None, 0)
    assert time.process_time() - begin < 15
    assert list(fragments.end())[1].begins is False
    fragments.push("b", Piece(8, b"1" * 8, False), None, 0)
    (whole,) = fragments.push("b", Piece(0, b"0" * 8, True), None, 0)
    assert whole.octets == b"0" * 8 + b"1" * 8


def oracle(pieces: Sequence[Piece], length: int, last: bool) -> bytes | None:
    """Write the octets into an array, one by one."""
    array: list[int | None] = [None] * length
    for start, octets, _ in pieces:
        for at, octet in enumerate(octets, start):
            if at < length and (last or array[at] is None):
                array[at] = octet
    return None if None in array else bytes(octet for octet in array if octet is not None)


@given(st.integers(1, 12), st.integers(0, 7), st.integers(0, 1 << 32))
def test_readings_are_those_of_an_array(units: int, odd: int, seed: int) -> None:
    dice = random.Random(seed)
    length = units * 8 + odd
    fragments: ip_fragments.Fragments[None] = ip_fragments.Fragments()
    pieces: list[Piece] = []
    for _ in range(200):
        start = dice.randrange(0, length, 8)
        end = min(length, start + 8 * dice.randrange(1, 5))
        octets = bytes(dice.choices(b"ab" if dice.random() < 0.2 else b"a", k=end - start))
        if end < length and len(octets) % 8:
            continue
        pieces.append(Piece(start, octets, end < length))
        wholes = fragments.push("key", pieces[-1], None, None)
        first, last = oracle(pieces, length, False), oracle(pieces, length, True)
        if first is None or last is None or all(piece.more for piece in pieces):
            assert wholes == ()
        else:
            assert [whole.octets for whole in wholes] == ([first] if first == last else [first, last])
            return
    raise AssertionError("a datagram of a hundred octets comes together in two hundred fragments")


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.binary(max_size=40), st.booleans(), st.integers(0, 1)), max_size=30
    )
)
def test_any_fragments_do_no_harm(pieces: list[tuple[int, bytes, bool, int]]) -> None:
    fragments = Fragments(octets=2000)
    for offset, octets, more, ident in pieces:
        for make in (four, six):
            read(make([(offset * 8, octets, more)], ident), fragments)
    flush(fragments)
