"""The HTTP/1 parser against other protocols and hostile octets: verdict, bounds, linear time."""

from __future__ import annotations

import pickle
from time import process_time
from weakref import WeakSet

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http1_cases import CREDENTIALS, SECRETS, C, Gap, S, get, ok, only, run, single, summary, whole
from imdswatch.wire.http1 import MAX_HELD, MAX_OUTSTANDING, Conversation
from imdswatch.wire.http1_body import MAX_KEPT
from imdswatch.wire.http1_message import MAX_HEADERS, MAX_LINE
from imdswatch.wire.http1_stream import MAX_MARKS


@pytest.mark.parametrize("pieces", [whole, single])
@pytest.mark.parametrize(
    ("sent", "verdict"),
    [
        ((get(),), True),
        ((ok(),), None),
        ((get(), ok()), True),
        (((C, b"GET /lat"),), None),
        (((C, b"\x16\x03\x01\x02\x00\x01"), (S, b"\x16\x03\x03")), False),
        (((S, b"SSH-2.0-OpenSSH_9\r\n"),), False),
        (((C, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),), False),
        (((C, b"EHLO x\r\n"),), None),
        (((C, b"EHLO x\r\n" * 4096),), False),
        (((C, b"EHLO x\r\n" * 4096), get(), ok()), True),
    ],
)
def test_it_says_itself_whether_this_is_http(sent, verdict: bool | None, pieces) -> None:
    conversation = Conversation()
    for direction, octets in sent:
        for piece in pieces(octets):
            conversation.feed(direction, piece, None)
    assert conversation.is_http is verdict


def test_long_lines_keep_their_two_ends() -> None:
    long = "/" + "a" * 200_000
    for pieces in (whole, lambda octets: [octets[at : at + 1000] for at in range(0, len(octets), 1000)]):
        found, _ = run(
            (get(long, "Host: x", "X: " + "b " * 100_000, "Content-Length: 3", body=b"abc"), ok()), pieces
        )
        request, _ = only(found)
        assert request.complete
        assert len(request.target) < MAX_LINE + 100
        assert len(request.headers[1][1] or "") <= 4096
        assert request.body_length == 3


class Mark:
    """A packet that octets came in, which somebody may keep."""


@pytest.mark.parametrize("step", [1, 1400])
@pytest.mark.parametrize("start", ["GET /", "CONNECT a:1 HTTP/1.1\r\n\r\nGET /", "GET / HTTP/1.1\r\nX: "])
def test_a_line_that_never_ends_keeps_few_of_its_packets(start: str, step: int) -> None:
    conversation, kept = Conversation(), WeakSet[Mark]()
    octets = start.encode() + b"a" * (3000 * step)
    for at in range(0, len(octets), step):
        mark = Mark()
        kept.add(mark)
        conversation.feed(0, octets[at : at + step], mark)
    del mark
    assert len(kept) <= MAX_MARKS


def test_headers_beyond_the_limit_still_frame_the_body() -> None:
    many = [f"X-{number}: y" for number in range(MAX_HEADERS + 50)]
    request, _ = only(run((get("/a", *many, "Content-Length: 3", body=b"abc"), ok()), whole)[0])
    assert len(request.headers) == MAX_HEADERS
    assert (request.complete, request.body_length) == (True, 3)


@pytest.mark.parametrize("pieces", [whole, single])
def test_a_head_of_too_many_lines_is_given_up(pieces) -> None:
    lines = b"a:b\r\n" * 5000
    asked = (C, b"GET /a HTTP/1.1\r\n" + lines + b"\r\n")
    found, _ = run((asked, get("/b"), ok(b"1")), pieces)
    assert [summary(exchange) for exchange in found] == ["GET /a~ | 200 1", "GET /b | -"]
    found, _ = run((get(), (S, b"HTTP/1.1 200 OK\r\n" + lines)), pieces)
    request, response = only(found)
    assert request.complete
    assert (response.status, response.complete) == (200, False)


def test_requests_without_end_are_let_go() -> None:
    conversation = Conversation()
    found = []
    for number in range(MAX_OUTSTANDING + 10):
        found += conversation.feed(C, get(f"/{number}")[1], None)
    assert [summary(exchange) for exchange in found] == [f"GET /{number} | -" for number in range(10)]
    assert len(found + conversation.close()) == MAX_OUTSTANDING + 10


def test_what_waits_is_bounded() -> None:
    conversation = Conversation()
    answer = ok(b"x" * 1000)[1]
    found = []
    for _ in range(2 * MAX_HELD // len(answer)):
        found += conversation.feed(S, answer, None)
    assert found
    assert all(exchange.request is None for exchange in found)


HOSTILE = {
    "one long line": b"A" * 1000,
    "blanks": b"GET " + b" " * 996,
    "versions": b"HTTP/" * 200,
    "status lines without end": b"HTTP/1.1 200 " * 77,
    "request lines without end": b"GET /a HTTP/1.1 " * 62,
    "line ends": b"\r\n" * 500,
    "folds": b" \r\n" * 333,
    "folded text": b" a\r\n" * 250,
    "colons": b":" * 999 + b"\n",
    "chunk sizes": b"1\r\nx\r\n" * 166,
    "short requests": b"\r\nGET / HTTP/1.1\r\n\r\n" * 50,
    "short answers": b"HTTP/1.1 204 x\r\n\r\n" * 55,
}
HEADS = {
    "nothing": b"",
    "a request": b"GET /a HTTP/1.1\r\nX: y\r\n",
    "an answer": b"HTTP/1.1 200 OK\r\nX: y\r\n",
    "an answer in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "an endless answer": b"HTTP/1.1 200 OK\r\n\r\n",
}


def cost(head: bytes, block: bytes, blocks: int, piece: int) -> float:
    octets = head + block * blocks
    conversation = Conversation(from_start=False)
    start = process_time()
    for at in range(0, len(octets), piece):
        conversation.feed(C, octets[at : at + piece], at)
        conversation.feed(S, octets[at : at + piece], at)
    conversation.close()
    return process_time() - start


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("block", HOSTILE)
def test_time_is_linear_in_the_octets(head: str, block: str) -> None:
    for piece, blocks in ((1, 3), (10**9, 60)):
        small = cost(HEADS[head], HOSTILE[block], blocks, piece)
        large = cost(HEADS[head], HOSTILE[block], 4 * blocks, piece)
        # linear is 4, quadratic is 16; small times are mostly noise
        assert large < max(9 * small, 0.2), f"{piece}: {small:.4f} s, four times as much takes {large:.4f} s"


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("block", HOSTILE)
def test_memory_is_bounded_whatever_comes(head: str, block: str) -> None:
    conversation = Conversation()
    for direction in (C, S):
        conversation.feed(direction, HEADS[head], None)
        for at in range(90):
            conversation.feed(direction, HOSTILE[block] * 5, at)
    assert len(pickle.dumps(conversation)) < MAX_KEPT + 2 * MAX_HELD + 100_000


PARTS = st.sampled_from(
    [
        get()[1], ok(b"abc")[1], b"GET /a HTTP/1.1\r\n", b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n",
        b"\r\n", b"\n", b" ", b"HTTP/1.1 ", b"200 OK", b"CONNECT h:1 HTTP/1.1\r\n\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n",
        b"Upgrade: x\r\n",
        b"Content-Encoding: gzip\r\n", b"\x1f\x8b\x08", b"HEAD / HTTP/1.0\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n",
        b"Expect: 100-continue\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", CREDENTIALS, b"ffffffffffffffff\r\n",
        b"4;x=y\r\nhello\r\n0\r\n\r\n",
    ]
)  # fmt: skip
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([C, S]), st.one_of(PARTS, st.binary(max_size=30))),
        st.builds(Gap, st.sampled_from([C, S]), st.integers(1, 40)),
    ),
    max_size=30,
)


@given(STEPS, st.booleans(), st.booleans())
def test_no_octets_make_it_fail_and_their_pieces_make_no_difference(
    steps, from_start: bool, finished: bool
) -> None:
    sent = tuple(steps)
    once, one = run(sent, whole, from_start=from_start, finished=finished)
    again, two = run(sent, single, from_start=from_start, finished=finished)
    assert once == again
    assert (one.is_http, one.tunnel) == (two.is_http, two.tunnel)
    assert [one.take_tunnelled(side) for side in (C, S)] == [two.take_tunnelled(side) for side in (C, S)]
    assert not any(secret in repr(once) for secret in SECRETS)
