"""Dialogues told early: when, what is not told again, and what a clock that is set back does."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

import frames as f
from capture_mixes import mix
from imdswatch.event import complete
from imdswatch.read.dialogues import Dialogues
from imdswatch.read.observed import Observed
from imdswatch.read.prompt import LATER, SILENT, SOON, Prompt
from imdswatch.wire.frame import Frame

REQUEST = b"GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"
TIME = 1_790_000_000.0


def at(frame: bytes, seconds: float, number: int = 1) -> Frame:
    return f.frame(frame, number, TIME + seconds)


def told(found: Iterable[Observed]) -> list[tuple[Any, ...]]:
    """Step, and whether something replied."""
    return [(str(one.fields.get("step")), complete(one.fields).get("answered")) for one in found]


def test_nothing_is_told_before_its_time() -> None:
    prompt, syn = Prompt(), f.Talk().send(0, flags=f.SYN).sent[0]
    assert prompt.push(at(syn, 0), 100.0) == []
    assert prompt.tick(100.0 + SOON * 0.9) == []
    assert told(prompt.tick(100.0 + SOON)) == [("connect", False)]
    assert prompt.tick(101.0) == []


def test_only_news_is_told_early() -> None:
    """A client that tries again shows nothing new; its tries are told when they are over."""
    prompt, early = Prompt(), 0
    for number in range(5):
        syn = f.Talk(sport=40_000 + number, client_isn=number * 1000).send(0, flags=f.SYN).sent[0]
        prompt.push(at(syn, number, number + 1), 100.0 + number)
        early += len(prompt.tick(100.5 + number))
    assert early == 1
    assert len(prompt.tick(105.0 + SILENT)) == 4


def test_what_says_more_is_told_again() -> None:
    prompt, talk = Prompt(), f.Talk().handshake().send(0, REQUEST)
    found = [one for n, data in enumerate(talk.sent, 1) for one in prompt.push(at(data, n / 1000, n), 100.0)]
    assert found == []
    assert told(prompt.tick(100.1)) == [("request", False)]
    talk.send(1, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    assert told(prompt.push(at(talk.sent[-1], 0.2, 9), 100.2)) == [("request", True)]
    assert told(prompt.end()) == []


def test_a_response_under_way_is_an_answer_and_nothing_more() -> None:
    prompt = Prompt()
    talk = f.Talk().handshake().send(0, REQUEST).send(1, b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nro")
    for n, data in enumerate(talk.sent, 1):
        prompt.push(at(data, n / 1000, n), 100.0)
    first = prompt.tick(100.0 + SOON)
    assert told(first) == [("request", True)]
    assert "status" not in first[0].fields
    assert prompt.tick(100.0 + LATER * 0.9) == []
    later = prompt.tick(100.1 + LATER)
    assert [(one.fields["status"], str(one.fields["step"])) for one in later] == [(200, "roles")]
    assert prompt.end() == []


def test_a_lookup_without_answer() -> None:
    query = bytes.fromhex("0001010000010000000000000d") + b"instance-data\x03ec2\x08internal\0\0\x01\0\x01"
    packet = f.ethernet(f.ip4(f.udp(query, dport=53), protocol=17, dst="10.0.0.1"))
    prompt = Prompt()
    assert prompt.push(at(packet, 0), 100.0) == []
    assert told(prompt.tick(100.9)) == [("resolve", None)]


@pytest.mark.parametrize("back", [6.0, 3600.0, 1e9])
def test_a_clock_that_is_set_back(back: float) -> None:
    """What was open is told as it stands, and what comes then is told in time."""
    prompt = Prompt()
    first = f.Talk().send(0, flags=f.SYN).sent[0]
    other = f.Talk(client="10.0.1.6").send(0, flags=f.SYN).sent[0]
    prompt.push(at(first, 0), 100.0)
    assert told(prompt.push(at(other, -back, 2), 100.01)) == [("connect", False)]
    assert told(prompt.tick(100.1)) == [("connect", False)]
    assert prompt.tick(101.0 + SILENT) == []


def test_a_clock_that_is_set_forward() -> None:
    """Connections seem silent, and are over; nothing is lost."""
    prompt = Prompt()
    prompt.push(at(f.Talk().send(0, flags=f.SYN).sent[0], 0), 100.0)
    prompt.push(at(f.Talk(client="10.0.1.6").send(0, flags=f.SYN).sent[0], 7200, 2), 100.01)
    assert len(prompt.tick(100.1) + prompt.tick(100.2)) == 2


def test_without_time_passing_it_is_the_dialogues_of_a_capture() -> None:
    chance = random.Random(1)
    for _ in range(40):
        sent = f.frames(mix(chance))
        prompt, dialogues = Prompt(), Dialogues()
        found = [one for frame in sent for one in prompt.push(frame, 1.0)] + prompt.end()
        expected = [one for frame in sent for one in dialogues.push(frame)] + dialogues.end()
        assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_told_early_or_late_the_stages_are_the_same() -> None:
    """However often time passes between packets, as much is seen of every exchange.

    Packets that the mix put in another order come within `SOON`, as they do on a wire.
    """
    chance = random.Random(2)
    for _ in range(40):
        sent = f.frames(mix(chance))
        prompt, dialogues, now, found = Prompt(), Dialogues(), 1.0, list[Observed]()
        for frame in sent:
            found += prompt.push(frame, now)
            now += chance.choice((0.0, 0.0, 0.0, 0.002))
            found += prompt.tick(now)
        found += prompt.end()
        expected = [one for frame in sent for one in dialogues.push(frame)] + dialogues.end()
        assert {_gist(one) for one in expected} - {_gist(one) for one in found} == set()


def test_a_flood_takes_bounded_memory_and_loses_nothing() -> None:
    """Forty thousand hosts ask within a second, and nobody answers: each is told, now or when it is over."""
    prompt, found, count = Prompt(), list[Observed](), 40_000
    for number in range(count):
        host = f"10.{number >> 14}.{number >> 7 & 127}.{number & 127}"
        frame = f.ethernet(f.ip4(f.tcp(flags=f.SYN), src=host))
        found += prompt.push(at(frame, number / count, number + 1), 100.0 + number / count)
        assert len(prompt._soon) < 5000
    found += prompt.tick(101.0)
    found += prompt.end()
    assert len({one.fields["src_ip"] for one in found}) == count
    assert len(found) == count


def _gist(one: Observed) -> tuple[object, ...]:
    fields = complete(one.fields)
    return (
        one.number,
        fields.get("src_ip"),
        fields.get("dst_ip"),
        str(fields.get("step")),
        fields.get("answered"),
    )
