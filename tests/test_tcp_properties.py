"""Whatever the segmentation, order and repetition, a stream comes out as an array of octets says, within bounds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import frames as f
from imdswatch.wire.frame import Frame
from imdswatch.wire.packet import Fragments, Packet, decode
from imdswatch.wire.stream import HISTORY
from imdswatch.wire.tcp import READINGS, WAITING, Closed, Data, Event, Gap, Opened, Tcp

SEEDS = st.integers(0, 1 << 32)
FRAME = Frame(1, None, b"", 0, 1)


def packet(
    payload: bytes = b"",
    seq: int = 0,
    flags: int = f.ACK,
    ack: int = 0,
    direction: int = 0,
    sport: int = 40112,
) -> Packet:
    """A packet without octets below its payload, which is all that reassembly looks at."""
    ends = [("10.0.1.5", sport), ("169.254.169.254", 80)]
    (src, source), (dst, target) = ends[direction], ends[1 - direction]
    return Packet(
        FRAME, "tcp", src, dst, None, None, (), 64, source, target, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, flags,
        payload, 0, 40 + len(payload), (),
    )  # fmt: skip


def run(tcp: Tcp, packets: Iterable[Packet]) -> list[Event]:
    return [event for some in packets for event in tcp.push(some)] + tcp.end()


def said(events: Iterable[Event], reading: int, direction: int = 0) -> bytes:
    return b"".join(
        event.octets
        for event in events
        if isinstance(event, Data) and (event.reading, event.direction) == (reading, direction)
    )


def segments(dice: random.Random, octets: bytes) -> list[tuple[int, bytes]]:
    """Cut octets anywhere."""
    edges = sorted({0, len(octets), *(dice.randrange(len(octets) + 1) for _ in range(dice.randrange(20)))})
    return [(a, octets[a:b]) for a, b in pairwise(edges)]


@given(st.binary(min_size=1, max_size=400), SEEDS)
def test_any_segmentation_order_and_repetition_gives_the_stream(stream: bytes, seed: int) -> None:
    dice = random.Random(seed)
    isn = dice.choice((0, 1000, 0xFFFFFFFF, 0xFFFFFF80, dice.randrange(1 << 32)))
    sent = [part for _ in range(dice.randrange(1, 4)) for part in segments(dice, stream)]
    dice.shuffle(sent)
    packets = [packet(octets, isn + 1 + at) for at, octets in sent]
    if dice.random() < 0.5:  # a FIN anywhere, as it may overtake
        packets.insert(dice.randrange(len(packets) + 1), packet(b"", isn + 1 + len(stream), f.FIN | f.ACK))
    events = run(Tcp(), [packet(flags=f.SYN, seq=isn), *packets])
    assert said(events, 0) == stream
    assert not [event for event in events if isinstance(event, Gap)]
    assert not [event for event in events if isinstance(event, Data) and event.reading]
    assert len([event for event in events if isinstance(event, Opened)]) == 1


@given(st.binary(min_size=1, max_size=300), st.binary(min_size=1, max_size=300), SEEDS)
def test_acknowledgements_anywhere_lose_nothing(request: bytes, response: bytes, seed: int) -> None:
    """Two directions that acknowledge one another, each packet up to two places away from where it belongs."""
    dice = random.Random(seed)
    talk = f.Talk(client_isn=dice.randrange(1 << 32), server_isn=dice.randrange(1 << 32)).handshake()
    for _ in range(3):
        talk.ask(request, response, size=dice.randrange(20, 120))
    talk.close()
    order = sorted(range(3, len(talk.sent)), key=lambda place: place + dice.random() * 2.9)
    fragments, tcp = Fragments(), Tcp()
    frames = [talk.sent[place] for place in (0, 1, 2, *order)]
    events = run(tcp, [p for frame in frames for p in decode(f.frame(frame), fragments)])
    assert said(events, 0, 0) == request * 3
    assert said(events, 0, 1) == response * 3
    assert not [event for event in events if isinstance(event, Gap)]


def arrays(length: int, sent: Iterable[tuple[int, bytes]]) -> tuple[bytearray, bytearray]:
    """Write segments into two arrays octet by octet: the first copies stay, or the last."""
    first, last, known = bytearray(length), bytearray(length), bytearray(length)
    for at, octets in sent:
        for place, octet in enumerate(octets, at):
            if not known[place]:
                first[place] = octet
            last[place], known[place] = octet, 1
    assert all(known)
    return first, last


@given(st.integers(1, 120), st.integers(0, 3), SEEDS)
def test_both_readings_of_what_overlaps_are_those_of_an_array(length: int, later: int, seed: int) -> None:
    """Everything waits for the first octet; then come up to three later copies of what was handed out."""
    dice = random.Random(seed)

    def copy() -> tuple[int, bytes]:
        at = dice.randrange(1, length + 1)
        return at, bytes(dice.choices(b"ab", k=dice.randrange(0, min(20, length + 2 - at))))

    held = [copy() for _ in range(dice.randrange(30))] + [(1, b"a" * length), (length, b"ab")]
    dice.shuffle(held)
    whole = [*held, (0, b"a")]
    copies = [(at, octets) for at, octets in (copy() for _ in range(later)) if octets]
    isn = 0xFFFFFFFF - length // 2
    events = run(
        Tcp(),
        [packet(flags=f.SYN, seq=isn)] + [packet(octets, isn + 1 + at) for at, octets in [*whole, *copies]],
    )
    size = length + 2
    first, last = arrays(size, whole)
    expected = [first, *([last] if last != first else [])]
    for n in range(len(copies)):
        later_first, later_last = arrays(size, whole + copies[: n + 1])
        assert later_first == first
        if later_last != last:
            expected.append(later_last)
            last = later_last
    expected = expected[:READINGS]
    assert [said(events, reading) for reading in range(len(expected))] == [
        bytes(octets) for octets in expected
    ]
    assert max(event.reading for event in events if isinstance(event, Data)) == len(expected) - 1


@given(SEEDS)
def test_any_packets_do_no_harm(seed: int) -> None:
    dice = random.Random(seed)
    tcp = Tcp(connections=4, octets=3000)
    near = [0, 1, 5, 1000, 0xFFFFFFFF, 0x7FFFFFFF, 1 << 24, 1 << 30]
    opened: set[int] = set()
    closed: set[int] = set()
    packets = [
        packet(
            bytes(dice.randrange(30)), dice.choice(near), dice.randrange(256), dice.choice(near), dice.randrange(2),
            dice.choice((80, 81, 82)),
        )._replace(missing=dice.choice((0, 0, 0, 7)))
        for _ in range(80)
    ]  # fmt: skip
    for event in run(tcp, packets):
        number = event.connection.number
        assert number not in closed, "nothing follows the close"
        if isinstance(event, Opened):
            opened.add(number)
        assert number in opened
        if isinstance(event, Closed):
            closed.add(number)
        if isinstance(event, Gap):
            assert event.length > 0
    assert opened == closed


def seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


HOSTILE: dict[str, Callable[[int], list[Packet]]] = {
    "one octet a segment, backwards": lambda n: [packet(b"x", n - at) for at in range(n)],
    "the same octet again and again": lambda n: [packet(bytes((at & 255,)), 1) for at in range(n)],
    "growing segments over one another": lambda n: [
        packet(bytes((at & 255,)) * 500, 2 + at) for at in range(n)
    ],
    "holes, acknowledged one by one": lambda n: [
        some
        for at in range(n // 2)
        for some in (packet(b"x", 2 + 2 * at), packet(b"", 1, f.ACK, 3 + 2 * at, 1))
    ],
    "another number every time": lambda n: [packet(b"x", at * 100_000_007) for at in range(n)],
    "resets and ends": lambda n: [packet(b"x", at, (f.RST, f.FIN, f.SYN)[at % 3] | f.ACK) for at in range(n)],
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_segments_take_linear_time(attack: str) -> None:
    packets = HOSTILE[attack]
    begin = [packet(flags=f.SYN)]
    few = min(seconds(lambda: run(Tcp(), begin + packets(4000))) for _ in range(3))
    many = min(seconds(lambda: run(Tcp(), begin + packets(32_000))) for _ in range(2))
    assert many < 8 * few * 2.5 + 0.1


def test_waiting_octets_are_bounded() -> None:
    tcp = Tcp()
    tcp.push(packet(flags=f.SYN))
    big = bytes(10_000)
    events = [event for n in range(2000) for event in tcp.push(packet(big, 2 + n * 10_000))]
    assert sum(len(e.octets) for e in events if isinstance(e, Data)) > 2000 * 10_000 - WAITING
    assert [e.length for e in events if isinstance(e, Gap)] == [1]


def test_what_the_other_side_waits_for_is_not_skipped() -> None:
    tcp = Tcp()
    tcp.push(packet(flags=f.SYN))
    tcp.push(packet(b"", 5000, f.SYN | f.ACK, 1, 1))
    events = [
        event for n in range(1600) for event in tcp.push(packet(bytes(10_000), 2 + n * 10_000, ack=5001))
    ]
    assert events == []
    events = tcp.push(packet(b"a", 1, ack=5001))
    assert said(events, 0)[0:1] == b"a"
    assert len(said(events, 0)) > 1_000_000


def test_connections_are_bounded_and_those_that_say_something_stay() -> None:
    tcp = Tcp(connections=100)
    tcp.push(packet(flags=f.SYN, sport=1))
    tcp.push(packet(b"GET /", 1, sport=1))
    events = [event for n in range(2, 1000) for event in tcp.push(packet(flags=f.SYN, sport=n))]
    closed = [event.connection.client.port for event in events if isinstance(event, Closed)]
    assert closed == list(range(2, 901))
    assert {event.how for event in events if isinstance(event, Closed)} == {"idle"}
    assert said(tcp.push(packet(b"latest", 6, sport=1)), 0) == b"latest"


def test_the_longest_silent_make_room() -> None:
    tcp = Tcp(connections=3)
    for port in (1, 2, 3, 1, 4):
        events = tcp.push(packet(b"x", sport=port))
    assert [event.connection.client.port for event in events if isinstance(event, Closed)] == [2]


def test_what_is_remembered_goes_before_connections_do() -> None:
    tcp = Tcp(octets=100_000)
    for port in range(1, 50):
        tcp.push(packet(flags=f.SYN, sport=port))
        assert not [
            event for event in tcp.push(packet(bytes(9000), 1, sport=port)) if isinstance(event, Closed)
        ]
    assert len(tcp.end()) == 49


def test_memory_is_bounded_over_all_connections() -> None:
    tcp = Tcp(octets=1 << 20)
    for port in range(1, 200):
        tcp.push(packet(flags=f.SYN, sport=port))
        for n in range(10):
            tcp.push(packet(bytes(2000), 1 + n * 2000, sport=port))
            tcp.push(packet(bytes(2000), 90_000 + n * 2000, sport=port))
    kept = sum(event.length for event in tcp.end() if isinstance(event, Gap))
    assert kept  # the latest still wait behind their hole
    assert sum(s.held for live in tcp._busy.values() for s in live.streams) == 0


def test_only_so_much_is_remembered() -> None:
    tcp = Tcp()
    tcp.push(packet(flags=f.SYN))
    for n in range(30):
        tcp.push(packet(bytes(10_000), 1 + n * 10_000))
    assert tcp.push(packet(b"x" * 10_000, 1)) == []  # too long ago to know
    events = tcp.push(packet(b"x" * 10_000, 290_001))
    (gap, data) = events
    assert isinstance(gap, Gap)
    assert isinstance(data, Data)
    assert (gap.reading, data.reading) == (1, 1)
    assert gap.length + len(data.octets) == 300_000
    assert HISTORY <= len(data.octets) <= 2 * HISTORY
    assert data.octets.endswith(b"\0" + b"x" * 10_000)
