"""What holds for any frames: nothing raises, cuts and noise change nothing, the order is that of the packets."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue_cases import ROLES, credentials, findings_of, observed_of, request, response
from frames import (
    ACK,
    ARP,
    ENDPOINT,
    PSH,
    SYN,
    VICTIM,
    VICTIM_MAC,
    Talk,
    arp,
    ethernet,
    frame,
    frames,
    ip4,
    udp,
)
from imdswatch.event import complete
from imdswatch.read.dialogues import Dialogues
from imdswatch.read.steps import TRANSITIONS, Dialogue, Step
from imdswatch.wire.http1 import Conversation
from test_dhcp import ACK as DHCP_ACK
from test_dhcp import HOST_ROUTE, message, option
from test_dialogue_routes import client_hello, dhcp

TOKEN = request("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60")
LIST = request("GET", ROLES)
ROLE = request("GET", ROLES + "app")


def incident(size: int = 1448) -> list[bytes]:
    claims = ethernet(arp(2, ("02:00:00:00:00:fe", ENDPOINT), (VICTIM_MAC, VICTIM)), ARP)
    talk = Talk().handshake().ask(TOKEN, response("AQAAAFAKE"), size)
    talk.ask(LIST, response("app"), size).ask(ROLE, response(credentials()), size).close()
    return [claims, dhcp(message(DHCP_ACK, option(121, HOST_ROUTE))), *talk.sent]


def benign(seed: int) -> list[bytes]:
    number = random.Random(seed)
    out: list[bytes] = []
    for n in range(6):
        client, server = f"10.0.2.{number.randrange(1, 9)}", f"192.0.2.{number.randrange(1, 9)}"
        talk = Talk(client, server, 30000 + seed % 1000 * 10 + n, 80 if n % 2 else 443).handshake()
        if n % 3 == 0:
            talk.ask(client_hello("www.example.com"), bytes(40))
        elif n % 3 == 1:
            talk.ask(request("GET", "/index.html", host="www.example.com"), response("hello"))
        out += talk.close().sent
    out.append(
        ethernet(ip4(udp(b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"), 17))
    )
    out.append(ethernet(arp(1, (VICTIM_MAC, VICTIM), ("00:00:00:00:00:00", "10.0.1.1")), ARP))
    return out


def of_imds(sent: list[bytes]) -> Counter[str]:
    """Return the events that have to do with the endpoint, without numbers and times."""
    found: Counter[str] = Counter()
    for one in observed_of(frames(sent)):
        fields: dict[str, Any] = complete(dict(one.fields))
        fields.pop("timestamp")
        if "step" in fields or "offered_route" in fields:
            found[repr(sorted(fields.items()))] += 1
    return found


@given(st.integers(1, 80))
def test_how_a_stream_is_cut_changes_nothing(size: int) -> None:
    cut = [dict(one.fields) for one in observed_of(frames(incident(size)))]
    whole = [dict(one.fields) for one in observed_of(frames(incident()))]
    for fields in (*cut, *whole):
        del fields["timestamp"]
    assert cut == whole


@given(st.integers(0, 1 << 20), st.data())
def test_other_traffic_changes_nothing(seed: int, data: st.DataObject) -> None:
    """The contract with the fast path: what is told of the endpoint hangs on nothing that it may leave out."""
    wanted, noise = incident(), benign(seed)
    places = sorted(
        data.draw(st.lists(st.integers(0, len(wanted)), min_size=len(noise), max_size=len(noise)))
    )
    mixed: list[bytes] = []
    for place, one in enumerate([*wanted, b""]):
        mixed += [noise[n] for n, at in enumerate(places) if at == place]
        mixed += [one] if one else []
    assert of_imds(mixed) == of_imds(wanted)


@settings(max_examples=300)
@given(st.integers(0, 1 << 30))
def test_damaged_frames_raise_nothing(seed: int) -> None:
    number = random.Random(seed)
    sent = [*incident(number.choice([7, 100, 1448])), *benign(seed)]
    number.shuffle(sent) if seed % 3 == 0 else None
    dialogues, told = Dialogues(), []
    for n, data in enumerate(sent, 1):
        octets = bytearray(data)
        for _ in range(number.choice([0, 0, 1, 3])):
            octets[number.randrange(len(octets))] = number.randrange(256)
        if number.random() < 0.2:
            del octets[number.randrange(len(octets)) :]
        time = number.choice([None, 1.79e9 + n, 1.79e9 - n])
        told += dialogues.push(frame(bytes(octets), n, time, len(data), number.choice([1, 1, 1, 101, 113])))
    told += dialogues.end()
    assert all(1 <= one.number <= len(sent) for one in told)


@given(st.lists(st.binary(max_size=120), max_size=12), st.sampled_from([0, 1, 12, 101, 108, 113, 276]))
def test_any_octets_raise_nothing(datas: list[bytes], linktype: int) -> None:
    observed_of(frames(datas, linktype))


def test_the_same_frames_give_the_same_events_in_the_order_of_packets() -> None:
    sent = frames([*incident(3), *benign(7), *incident(50)])
    assert observed_of(sent) == observed_of(sent)
    dialogues = Dialogues()
    for batch in (*(dialogues.push(one) for one in sent), dialogues.end()):
        assert [one.number for one in batch] == sorted(one.number for one in batch)


def test_a_flood_of_victims_is_judged_in_bounded_memory() -> None:
    """Each host asks once and half of them get an answer; more than any table keeps."""
    dialogues = Dialogues()
    answered = asked = number = 0
    for host in range(6000):
        talk = Talk(client=f"10.{host >> 16}.{host >> 8 & 255}.{host & 255}", sport=20000 + host % 40000)
        talk.send(0, flags=SYN)
        if host % 2:
            talk.send(1, flags=SYN | ACK).send(0).ask(LIST, response("app"))
        for data in talk.sent:
            number += 1
            for one in dialogues.push(frame(data, number, 1.79e9 + number * 1e-4)):
                answered += one.fields.get("status") == 200
                asked += 1
    asked += len(dialogues.end())
    assert (asked, answered) == (6000, 3000)


def test_a_page_of_octets_that_come_one_by_one_costs_linear_time() -> None:
    """A server name that never ends must not be read again with every octet."""
    talk = Talk(server="192.0.2.1", dport=443).handshake()
    hello = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + bytes(6000)
    for at in range(len(hello)):
        talk.send(0, hello[at : at + 1], ACK | PSH)
    assert observed_of(talk.frames()) == []


def test_the_way_of_a_dialogue_is_the_order_of_its_steps() -> None:
    order = list(Step)
    for state, ways in TRANSITIONS.items():
        for step, target in ways.items():
            assert target is step
            assert order.index(step) > order.index(state) or (state, step) == (Step.USE, Step.CREDENTIALS)
    for state in order[: order.index(Step.CREDENTIALS)]:
        dialogue = Dialogue()
        dialogue.state = state
        assert not dialogue.take(Step.USE), "no use before credentials"
        assert dialogue.state is state


@given(st.lists(st.sampled_from(list(Step)[1:]), max_size=20))
def test_use_needs_credentials_whatever_came_before(steps: list[Step]) -> None:
    dialogue = Dialogue()
    for number, step in enumerate(steps):
        counts = dialogue.take(step)
        if step is Step.USE:
            assert counts == (Step.CREDENTIALS in steps[:number])


def test_a_segment_full_of_claims_names_few() -> None:
    sent = [
        ethernet(arp(2, (f"02:00:00:00:01:{n:02x}", ENDPOINT), (VICTIM_MAC, VICTIM)), ARP) for n in range(40)
    ]
    (found,) = findings_of(frames(sent))
    assert found.count == 40
    assert len(found.responders) < 40


@given(st.integers(0, 1 << 30))
def test_a_request_line_with_odd_blanks_comes_to_an_end(seed: int) -> None:
    """Found by mutated frames: a line that was taken for a start line when searched, and refused when read."""
    number = random.Random(seed)
    line = bytearray(number.choice([b"GET /index.html HTTP/1.1\r\n", b"PUT /latest/api/token HTTP/1.1\n"]))
    for _ in range(number.randrange(1, 4)):
        line[number.randrange(len(line) - 2)] = number.choice(b"\x00\t\x0b\x0c\r \x1c\x85\xa0GT/")
    for opened in (True, False):
        conversation = Conversation(from_start=opened)
        found = conversation.feed(0, number.choice([b"", b"\x01\n"]) + bytes(line) + LIST, None)
        found += conversation.close()
        assert len(found) <= 2


def test_many_unfinished_answers_are_held_in_bounded_memory() -> None:
    """Each of 300 hosts is sent half of a large body; what is held of them is far less, and nothing is lost."""
    dialogues, number, told = Dialogues(), 0, []
    body = b"x" * 200_000
    tracemalloc.start()
    for host in range(300):
        talk = Talk(client=f"10.1.{host >> 8}.{host & 255}").handshake()
        talk.ask(LIST, response(body, mime="application/octet-stream")[:-10], 60_000)
        for data in talk.sent:
            number += 1
            told += dialogues.push(frame(data, number, 1.79e9 + number * 1e-5))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 140 << 20
    told += dialogues.end()
    assert len({one.fields["src_ip"] for one in told if one.fields.get("status") == 200}) == 300
