"""TCP streams come out in order however their segments come in; what is missing, doubled or forged is told.

Longer than most: every way in which a capture can spoil a connection has its case here. What holds for all
segmentations stands in `test_tcp_properties`.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

import frames as f
from imdswatch.wire.frame import Frame
from imdswatch.wire.packet import Fragments, decode
from imdswatch.wire.tcp import Closed, Connection, Data, Ended, Event, Gap, Opened, Tcp

REQUEST = b"PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntoken"


def push(tcp: Tcp, frames: Iterable[Frame | bytes]) -> list[Event]:
    events: list[Event] = []
    for number, some in enumerate(frames, 1):
        frame = some if isinstance(some, Frame) else f.frame(some, number, number * 0.001)
        for packet in decode(frame, Fragments()):
            events += tcp.push(packet)
    return events


def run(frames: Iterable[Frame | bytes]) -> list[Event]:
    tcp = Tcp()
    return push(tcp, frames) + tcp.end()


def octets(events: Iterable[Event], direction: int, reading: int = 0, gap: bytes = b"?") -> bytes:
    """What a direction said, with a mark for every octet that is missing."""
    parts = []
    for event in events:
        if isinstance(event, Data) and (event.direction, event.reading) == (direction, reading):
            parts.append(event.octets)
        elif isinstance(event, Gap) and (event.direction, event.reading) == (direction, reading):
            parts.append(gap * event.length)
    return b"".join(parts)


def connections(events: Iterable[Event]) -> list[Connection]:
    return [event.connection for event in events if isinstance(event, Opened)]


def closings(events: Iterable[Event]) -> list[str]:
    return [event.how for event in events if isinstance(event, Closed)]


def talk(**how: object) -> f.Talk:
    return f.Talk(**how).handshake().ask(REQUEST, RESPONSE)  # type: ignore[arg-type]


def names(events: Iterable[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_a_dialogue_from_beginning_to_end() -> None:
    sent = talk().close()
    events = run(sent.frames())
    assert names(events) == ["Opened", "Data", "Data", "Ended", "Ended", "Closed"]
    opened, asked, answered, *ended, closed = events
    assert isinstance(asked, Data)
    assert isinstance(answered, Data)
    assert (asked.direction, asked.octets, asked.packet.frame.number, asked.reading) == (0, REQUEST, 4, 0)
    assert (answered.direction, answered.octets, answered.packet.frame.number) == (1, RESPONSE, 6)
    assert [event.direction for event in ended if isinstance(event, Ended)] == [0, 1]
    assert closings([closed]) == ["fin"]
    connection = opened.connection
    assert (connection.client.ip, connection.client.port, connection.client.mac) == (
        f.VICTIM,
        40112,
        f.VICTIM_MAC,
    )
    assert (connection.server.ip, connection.server.mac, connection.server.ttl) == (
        f.ENDPOINT,
        f.RESPONDER_MAC,
        63,
    )
    assert (connection.syn_seen, connection.synack_seen, connection.handshake) == (True, True, True)
    assert (connection.client.isn, connection.server.isn, connection.reset_by) == (1000, 5000, None)
    assert (connection.client.packets, connection.server.packets, connection.packets) == (6, 4, 10)
    assert (connection.client.octets, connection.server.octets) == (len(REQUEST), len(RESPONSE))
    assert connection.client.ip_octets == 6 * 40 + len(REQUEST)
    assert connection.server.flags == f.SYN | f.ACK | f.PSH | f.FIN
    assert (connection.first.frame.number, connection.first.frame.data, connection.first.flags) == (
        1,
        b"",
        f.SYN,
    )


def test_data_is_told_as_soon_as_it_is_in_order() -> None:
    tcp, sent = Tcp(), talk().frames()
    assert names(push(tcp, sent[:3])) == ["Opened"]
    assert octets(push(tcp, sent[3:4]), 0) == REQUEST
    assert octets(push(tcp, sent[4:6]), 1) == RESPONSE


def test_a_byte_a_segment() -> None:
    events = run(f.Talk().handshake().ask(REQUEST, RESPONSE, size=1).close().frames())
    assert octets(events, 0) == REQUEST
    assert octets(events, 1) == RESPONSE


def test_sequence_numbers_wrap() -> None:
    sent = (
        f.Talk(client_isn=0xFFFFFFFF - 10, server_isn=0xFFFFFFFF)
        .handshake()
        .ask(REQUEST, RESPONSE, size=7)
        .close()
    )
    events = run(sent.sent[:3] + sent.sent[3:12][::-1] + sent.sent[12:])
    assert octets(events, 0) == REQUEST
    assert octets(events, 1) == RESPONSE
    assert closings(events) == ["fin"]


def test_everything_twice_is_everything_once() -> None:
    sent = talk().close().frames()
    events = run(frame for frame in sent for _ in range(2))
    assert names(events) == names(run(sent))
    assert events[0].connection.packets == 20


def test_a_capture_that_begins_late_finds_the_client() -> None:
    sent = talk().close().sent
    for begin in range(1, 9):
        events = run(sent[begin:])
        (connection,) = connections(events)
        assert (connection.client.ip, connection.server.ip) == (f.VICTIM, f.ENDPOINT), begin
        assert connection.syn_seen is False
        assert octets(events, 0) == (REQUEST if begin <= 3 else b"")
        assert octets(events, 1) == (RESPONSE if begin <= 5 else b"")
    proxied = f.Talk(server="10.0.0.9", sport=1024, dport=8080).handshake().ask(REQUEST, RESPONSE).sent
    (connection,) = connections(run(proxied[3:]))
    assert (connection.client.port, connection.server.port) == (1024, 8080)  # by what it says
    (connection,) = connections(run(proxied[5:]))
    assert (connection.client.port, connection.server.port) == (1024, 8080)
    (connection,) = connections(run(proxied[4:5]))
    assert (connection.client.port, connection.server.port) == (
        8080,
        1024,
    )  # a guess by the ports, here wrong


def test_a_beginning_out_of_order_is_waited_for() -> None:
    sent = f.Talk().handshake().ask(REQUEST * 3, size=60).sent[3:]
    assert octets(run([sent[1], sent[0], *sent[2:]]), 0) == REQUEST * 3
    tcp = Tcp()
    assert octets(push(tcp, sent[:1]), 0) == b""  # not yet sure
    assert octets(tcp.end(), 0) == (REQUEST * 3)[:60]
    tcp = Tcp()
    many = f.Talk().handshake().ask(REQUEST, size=10).sent[3:]
    assert octets(push(tcp, many[:3]), 0) == b""
    assert octets(push(tcp, many[3:4]), 0) == REQUEST[:40]  # sure enough


def test_a_capture_that_ends_early() -> None:
    events = run(f.Talk().handshake().ask(REQUEST, RESPONSE, size=20).sent[:5])
    assert octets(events, 0) == REQUEST[:40]
    assert closings(events) == ["end"]


@pytest.mark.parametrize("direction", [0, 1])
def test_one_direction_only(direction: int) -> None:
    mac = f.mac(f.VICTIM_MAC if direction == 0 else f.RESPONDER_MAC)
    sent = f.Talk().handshake().ask(REQUEST, RESPONSE).ask(REQUEST, RESPONSE).close().sent
    events = run(frame for frame in sent if frame[6:12] == mac)
    assert octets(events, direction) == (REQUEST, RESPONSE)[direction] * 2
    (connection,) = connections(events)
    assert (connection.client.ip, connection.server.ip) == (f.VICTIM, f.ENDPOINT)
    assert connection.sides[1 - direction].mac is None
    assert connection.handshake is False
    # Acknowledged by those who are seen; a FIN that is not seen looks like one octet more.
    assert octets(events, 1 - direction) == (b"" if direction == 0 else b"?" * (2 * len(REQUEST) + 1))


def test_a_lost_segment_is_a_gap_once_it_was_acknowledged() -> None:
    sent = f.Talk().handshake().ask(REQUEST, size=20).ask(b"", RESPONSE).ask(REQUEST, RESPONSE)
    tcp = Tcp()
    events = push(tcp, [frame for n, frame in enumerate(sent.sent) if n != 4])
    assert octets(events, 0) == REQUEST[:20] + b"?" * 20 + REQUEST[40:] + REQUEST
    assert octets(events, 1) == RESPONSE * 2
    assert [event.length for event in events if isinstance(event, Gap)] == [20]
    stale = f.Talk().handshake().ask(REQUEST, size=20)
    stale.sent += [stale.packet(1, ack=1001)] * 3
    assert octets(push(Tcp(), stale.sent[:3] + stale.sent[4:]), 0) == b"?" * 20 + REQUEST[20:]


def test_an_acknowledgement_that_overtakes_makes_no_gap() -> None:
    sent = f.Talk().handshake().ask(REQUEST, size=20).sent
    for order in ((3, 6, 5, 4), (6, 5, 4, 3), (5, 6, 3, 4)):
        assert octets(run([*sent[:3], *(sent[place] for place in order)]), 0) == REQUEST
    twice = f.Talk().handshake().ask(REQUEST[:40], size=20).send(0).send(0).ask(REQUEST[40:], size=9).sent
    events = run([*twice[:3], twice[5], *twice[3:5], *twice[6:8], twice[10], *twice[9:7:-1]])
    assert octets(events, 0) == REQUEST


def test_a_lost_segment_that_nobody_acknowledged_is_waited_for() -> None:
    sent = f.Talk().handshake()
    for n in range(0, len(REQUEST), 5):
        sent.send(0, REQUEST[n : n + 5])
    tcp = Tcp()
    events = push(tcp, sent.sent[:3] + sent.sent[4:])
    assert octets(events, 0) == b""
    events = push(tcp, sent.sent[3:4])
    assert octets(events, 0) == REQUEST


def test_what_is_missing_at_the_end_is_a_gap() -> None:
    sent = f.Talk().handshake().ask(REQUEST, size=20).close()
    assert octets(run(sent.sent[:4] + sent.sent[5:]), 0) == REQUEST[:20] + b"?" * 20 + REQUEST[40:]
    assert octets(run(sent.sent[:4] + sent.sent[6:]), 0) == REQUEST[:20] + b"?" * (len(REQUEST) - 20)
    ended = f.Talk().handshake().send(0, REQUEST).send(0, flags=f.FIN | f.ACK)
    assert octets(run([*ended.sent[:3], ended.sent[4]]), 0) == b"?" * len(REQUEST)
    unanswered = f.Talk().handshake().send(0, REQUEST[:9]).send(0, REQUEST[9:])
    assert octets(run(unanswered.sent[:3] + unanswered.sent[4:]), 0) == b"?" * 9 + REQUEST[9:]


def test_a_snapshot_length_makes_gaps_at_once() -> None:
    sent = f.Talk().handshake().ask(REQUEST, RESPONSE).ask(REQUEST, RESPONSE).frames()
    cut = [Frame(frame.number, frame.time, frame.data[:74], frame.length, 1) for frame in sent]
    tcp = Tcp()
    events = push(tcp, cut)
    assert octets(events, 0) == (REQUEST[:20] + b"?" * (len(REQUEST) - 20)) * 2
    assert octets(events, 1) == (RESPONSE[:20] + b"?" * (len(RESPONSE) - 20)) * 2
    shuffled = [cut[0], cut[1], cut[7], cut[3], *cut[8:], cut[5]]
    assert octets(run(shuffled), 0) == octets(events, 0)


def test_a_cut_segment_over_what_is_known_misses_the_rest_only() -> None:
    sent = f.Talk().handshake().send(0, REQUEST[:30])
    over = f.ethernet(f.ip4(f.tcp(REQUEST[10:], seq=1011, ack=5001)))
    cut = f.frame(over[: 54 + 15], 5, length=len(over))
    assert octets(run([*sent.sent, cut]), 0) == REQUEST[:30] + b"?" * (len(REQUEST) - 30)


def test_an_answer_to_a_half_closed_side_does_not_wait() -> None:
    sent = f.Talk().handshake().send(0, REQUEST, f.ACK | f.FIN).send(1, RESPONSE)
    events = push(Tcp(), sent.sent)
    assert names(events) == ["Opened", "Data", "Ended", "Data"]


def test_answers_do_not_wait_for_a_side_that_is_not_in_the_capture() -> None:
    sent = f.Talk().handshake()
    for _ in range(9):
        sent.ask(REQUEST, RESPONSE)
    mine = [frame for frame in sent.sent if frame[6:12] == f.mac(f.RESPONDER_MAC)]
    assert octets(push(Tcp(), mine), 1) == RESPONSE * 9


def test_an_answer_comes_after_its_request_where_the_capture_has_it_before() -> None:
    sent = f.Talk().handshake().ask(REQUEST, RESPONSE).sent
    request, answer = sent[3], sent[5]
    events = run([*sent[:3], answer, request, *sent[6:]])
    data = [event for event in events if isinstance(event, Data)]
    assert [event.direction for event in data] == [0, 1]
    assert [event.packet.frame.number for event in data] == [5, 4]
    tcp = Tcp()
    lost = push(tcp, [*sent[:3], answer])
    assert octets(lost, 1) == b""
    assert octets(push(tcp, sent[6:] * 3), 1) == RESPONSE  # three packets later it is told alone
    assert octets(run([*sent[:3], answer]), 1) == RESPONSE


def test_a_refused_and_an_unanswered_connection() -> None:
    sent = f.Talk().send(0, flags=f.SYN)
    reset = sent.packet(1, flags=f.RST | f.ACK, seq=0)
    events = run([*sent.sent, reset])
    assert names(events) == ["Opened", "Closed"]
    assert closings(events) == ["reset"]
    assert events[0].connection.reset_by == "server"
    assert (events[0].connection.server.mac, events[0].connection.handshake) == (f.RESPONDER_MAC, False)
    events = run(sent.sent * 4)
    assert names(events) == ["Opened", "Closed"]
    assert (closings(events), events[0].connection.client.packets) == (["end"], 4)
    assert events[0].connection.server.mac is None


def test_a_port_used_again() -> None:
    again = talk(client_isn=90_000, server_isn=7).close()
    for first in (talk().close(), talk(), f.Talk().send(0, flags=f.SYN)):
        events = run(first.sent + again.sent)
        assert len(connections(events)) == 2
        assert octets((e for e in events if e.connection is connections(events)[1]), 0) == REQUEST
    events = run(talk().close().sent + again.sent)
    assert names(events)[5:7] == ["Closed", "Opened"]


def test_a_port_used_again_whose_syn_was_lost() -> None:
    again = (
        f.Talk(client_isn=900_000_000, server_isn=3_000_000_000)
        .handshake()
        .ask(b"GET / HTTP/1.1\r\n\r\n", RESPONSE)
    )
    events = run(talk().sent + again.sent[3:])
    one, two = connections(events)
    assert octets((e for e in events if e.connection is two), 0) == b"GET / HTTP/1.1\r\n\r\n"
    assert octets((e for e in events if e.connection is one), 1) == RESPONSE


def test_the_same_addresses_in_two_tunnels_are_two_connections() -> None:
    one = f.Talk().handshake().ask(REQUEST, RESPONSE, size=9).sent
    two = (
        f.Talk(client_isn=3_000_000_000, server_isn=1_500_000_000)
        .handshake()
        .ask(REQUEST[::-1], RESPONSE[::-1], size=9)
        .sent
    )
    events = run(frame for pair in zip(one, two, strict=True) for frame in pair)
    first, second = connections(events)
    assert octets((e for e in events if e.connection is first), 0) == REQUEST
    assert octets((e for e in events if e.connection is second), 0) == REQUEST[::-1]
    assert octets((e for e in events if e.connection is second), 1) == RESPONSE[::-1]


def test_two_answerers_of_one_syn_are_two_connections() -> None:
    sent = f.Talk().send(0, flags=f.SYN)
    rival = f.Talk(server_isn=777_777_777, server_mac="02:bb:00:00:00:01")
    rival.seq[0] += 1
    rival.send(1, flags=f.SYN | f.ACK)
    events = run(sent.sent + f.Talk().handshake().sent[1:2] + rival.sent)
    assert [c.server.mac for c in connections(events)] == [f.RESPONDER_MAC, "02:bb:00:00:00:01"]
    assert [c.client.ip for c in connections(events)] == [f.VICTIM, f.VICTIM]


def test_a_stray_segment_does_not_move_the_stream() -> None:
    sent = f.Talk().handshake()
    strays = [sent.packet(0, b"stray", seq=2_000_000_000 + n * 50_000_000) for n in range(9)]
    sent.ask(REQUEST, RESPONSE)
    events = run([*sent.sent[:3], *strays, *sent.sent[3:]])
    first = connections(events)[0]
    assert octets((e for e in events if e.connection is first), 0) == REQUEST
    assert octets((e for e in events if e.connection is first), 1) == RESPONSE
    assert octets(events, 0).count(b"stray") == 9


def test_a_forged_reset_does_not_cut_the_stream() -> None:
    sent = f.Talk().handshake().send(0, REQUEST[:20]).send(1)
    sent.sent.append(sent.packet(0, flags=f.RST))
    sent.send(0, REQUEST[20:]).ask(b"", RESPONSE).close()
    events = run(sent.sent)
    assert octets(events, 0) == REQUEST
    assert closings(events) == ["fin"]
    assert events[0].connection.reset_by is None


def test_a_reset_with_strange_numbers_is_no_connection_of_its_own() -> None:
    sent = talk()
    sent.sent.append(sent.packet(1, flags=f.RST, seq=3_000_000_000))
    events = run(sent.sent)
    assert len(connections(events)) == 1
    assert events[0].connection.reset_by == "server"


def test_a_forged_end_does_not_cut_the_stream() -> None:
    sent = f.Talk().handshake().send(0, REQUEST[:20])
    sent.sent.append(sent.packet(0, flags=f.FIN | f.ACK))
    sent.send(1).send(0, REQUEST[20:]).ask(b"", RESPONSE).close()
    events = run(sent.sent)
    assert octets(events, 0) == REQUEST
    assert names(events)[-3:] == ["Ended", "Ended", "Closed"]


def test_a_closed_connection_lingers_for_its_stragglers() -> None:
    sent = talk().close()
    tcp = Tcp()
    push(tcp, sent.frames())
    assert push(tcp, [sent.sent[-1], sent.sent[-2], sent.sent[5]]) == []
    assert tcp.expire(1.79e9 + 1) == []
    assert closings(tcp.expire(1.79e9 + 3)) == ["fin"]
    assert tcp.end() == []


def test_other_connections_push_the_closed_ones_out() -> None:
    other = f.frame(f.Talk(sport=5).send(0, flags=f.SYN).sent[0], 99, 1.79e9 + 60)
    events = push(Tcp(), [*talk().close().frames(), other])
    assert names(events)[-2:] == ["Closed", "Opened"]


def test_keep_alives_and_window_probes() -> None:
    sent = f.Talk().handshake().ask(REQUEST, RESPONSE)
    keep = [
        sent.packet(0, b"\0", seq=sent.seq[0] - 1),
        sent.packet(1),
        sent.packet(0, b"", seq=sent.seq[0] - 1),
    ]
    probe = sent.packet(1, RESPONSE[:1])
    sent.sent += [*keep, probe]
    sent.ask(b"", RESPONSE)
    events = run(sent.sent)
    assert octets(events, 0) == REQUEST
    assert octets(events, 1) == RESPONSE * 2
    assert events[0].connection.contradictions == 0


def test_an_octet_that_comes_again_is_a_keep_alive_only_if_it_was_acknowledged() -> None:
    sent = f.Talk().handshake().send(0, REQUEST)
    sent.sent.append(sent.packet(0, b"\0", seq=sent.seq[0] - 1))
    assert run(sent.sent)[0].connection.contradictions == 1
    sent.sent.insert(4, sent.packet(1))
    assert run(sent.sent)[0].connection.contradictions == 0
    sent.sent.append(sent.packet(0, b"\0\0", seq=sent.seq[0] - 2))
    events = run(sent.sent)
    assert events[0].connection.contradictions == 1
    assert octets(events, 0, 1) == REQUEST[:-2] + b"\0\0"
    sent.sent[-1] = sent.packet(0, b"\0more", seq=sent.seq[0] - 1)
    events = run(sent.sent)
    assert [octets(events, 0, reading) for reading in (0, 1)] == [REQUEST + b"more", REQUEST[:-1] + b"\0more"]


def test_data_in_the_syn() -> None:
    sent = (
        f.Talk()
        .send(0, REQUEST[:30], f.SYN)
        .send(1, flags=f.SYN | f.ACK)
        .send(0, REQUEST[30:])
        .ask(b"", RESPONSE)
    )
    assert octets(run(sent.sent), 0) == REQUEST
    refused = f.Talk()
    refused.sent.append(refused.packet(0, REQUEST[:30], f.SYN))
    refused.seq[0] += 1
    refused.send(1, flags=f.SYN | f.ACK).ask(REQUEST, RESPONSE)
    events = run(refused.sent)
    assert octets(events, 0) == REQUEST
    assert events[0].connection.contradictions == 0


def test_a_simultaneous_open() -> None:
    sent = f.Talk()
    sent.sent = [sent.packet(0, flags=f.SYN), sent.packet(1, flags=f.SYN)]
    sent.seq = [1001, 5001]
    sent.sent += [
        sent.packet(0, flags=f.SYN | f.ACK, seq=1000),
        sent.packet(1, flags=f.SYN | f.ACK, seq=5000),
    ]
    sent.ask(REQUEST, RESPONSE)
    events = run(sent.sent)
    assert len(connections(events)) == 1
    assert octets(events, 0) == REQUEST
    assert octets(events, 1) == RESPONSE


def test_urgent_octets_stay_in_their_place() -> None:
    sent = f.Talk().handshake().send(0, REQUEST[:10], f.ACK | f.URG).send(0, REQUEST[10:])
    assert octets(run(sent.sent), 0) == REQUEST


def test_a_host_that_talks_to_itself() -> None:
    own = (
        f.Talk(client="127.0.0.1", server="127.0.0.1", sport=80, dport=80)
        .send(0, flags=f.SYN)
        .send(0, REQUEST)
    )
    assert octets(run(own.sent), 0) == REQUEST


def test_ipv6_and_vlans() -> None:
    events = run(talk(client=f.VICTIM6, server=f.ENDPOINT6, vlans=((0x8100, 42),)).sent)
    assert (events[0].connection.server.ip, events[0].connection.vlan) == (f.ENDPOINT6, (42,))
    assert octets(events, 1) == RESPONSE
    one_way = talk().sent
    one_way[3] = f.Talk(vlans=((0x8100, 7),)).packet(0, REQUEST, f.ACK, seq=1001, ack=5001)
    events = run(one_way)
    assert len(connections(events)) == 1
    assert events[0].connection.vlan == (7,)


def test_what_is_no_tcp_is_nothing() -> None:
    assert run([f.ethernet(f.ip4(f.udp(b"x"), 17)), f.ethernet(f.ip4(b"\0\1", 6))]) == []
