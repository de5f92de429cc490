"""The HTTP/1 parser against readers that know nothing of it: h11 on random dialogues, TShark on real ones.

h11 is strict, so only well-formed dialogues are compared with it; the odd ones stand in `http1_cases`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from http1_cases import SECRETS, C, S, chunked, run, single, whole
from imdswatch.wire.http1 import Conversation, Exchange

# -- h11 -------------------------------------------------------------------------------------------------------------

TEXT = st.text("abcdefgXYZ0123456789-_", min_size=1, max_size=8)
NAME = TEXT.map(lambda text: "Z-" + text)
VALUE = st.text("abc DEF/;=.,:()*\t", max_size=12).map(str.strip)
HEADERS = st.lists(st.tuples(NAME, VALUE), max_size=4)
BODY = st.one_of(
    st.just(b""),
    st.binary(max_size=40),
    st.sampled_from([b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]),
)


@st.composite
def message_body(draw: st.DrawFn) -> tuple[list[tuple[str, str]], bytes, bytes]:
    """Return framing headers, what stands on the wire, and the content."""
    content = draw(BODY)
    if draw(st.booleans()):
        return [("Content-Length", str(len(content)))], content, content
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=3)))
    parts = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True) if a < b]
    return (
        [("Transfer-Encoding", "chunked")],
        chunked(*parts, trailer=draw(st.sampled_from([b"", b"Z-T: 1\r\n"]))),
        content,
    )


@st.composite
def dialogue(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    sent: list[tuple[int, bytes]] = []
    for _ in range(draw(st.integers(1, 4))):
        method = draw(st.sampled_from(["GET", "PUT", "POST", "HEAD", "DELETE"]))
        framing, octets, _ = draw(message_body()) if method in ("PUT", "POST") else ([], b"", b"")
        target = "/" + draw(TEXT)
        sent.append(
            (C, head(f"{method} {target} HTTP/1.1", [("Host", "h"), *draw(HEADERS), *framing]) + octets)
        )
        if draw(st.booleans()):
            sent.append((S, head("HTTP/1.1 103 Early Hints", draw(HEADERS))))
        status = draw(st.sampled_from([200, 201, 204, 304, 401, 404, 503]))
        framing, octets, _ = draw(message_body())
        if method == "HEAD" or status in (204, 304):
            framing, octets = [], b""
        sent.append((S, head(f"HTTP/1.1 {status} {draw(TEXT)}", [*draw(HEADERS), *framing]) + octets))
    return sent


def head(start: str, headers: list[tuple[str, str]]) -> bytes:
    return "\r\n".join([start, *(f"{name}: {value}" for name, value in headers), "", ""]).encode()


def by_h11(sent: list[tuple[int, bytes]]) -> list[tuple]:
    """Return what h11 makes of the same octets: its server reads the requests, its client the responses."""
    server, client = h11.Connection(h11.SERVER), h11.Connection(h11.CLIENT)
    found: list[tuple] = []
    asked = answered = ()
    size = 0
    for direction, octets in sent:
        engine = server if direction == C else client
        engine.receive_data(octets)
        while (event := engine.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                asked, size = (event.method, event.target, listed(event.headers.raw_items())), 0
            elif isinstance(event, h11.Response):
                answered, size = (event.status_code, listed(event.headers.raw_items())), 0
            elif isinstance(event, h11.Data):
                size += len(event.data)
            elif isinstance(event, h11.EndOfMessage) and direction == C:
                asked += (size,)
                # The client has to know the method, the server that it was answered; the rest they only read.
                client.send(h11.Request(method=asked[0], target="/", headers=[("Host", "h")]))
                client.send(h11.EndOfMessage())
            elif isinstance(event, h11.EndOfMessage):
                found.append((*asked, *answered, size))
                server.send(h11.Response(status_code=204, headers=[]))
                server.send(h11.EndOfMessage())
                for side in (server, client):
                    side.start_next_cycle()
    return found


def listed(headers: list[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode(), value.decode()) for name, value in headers)


def by_us(exchanges: list[Exchange]) -> list[tuple]:
    return [
        (
            request.method.encode(),
            request.target.encode(),
            request.headers,
            request.body_length,
            response.status,
            response.headers,
            response.body_length,
        )
        for exchange in exchanges
        if (request := exchange.request) and (response := exchange.response)
    ]


@given(dialogue(), st.randoms(use_true_random=False))
def test_well_formed_dialogues_are_read_as_h11_reads_them(
    sent: list[tuple[int, bytes]], dice: random.Random
) -> None:
    def pieces(octets: bytes) -> list[bytes]:
        cuts = sorted(dice.randint(0, len(octets)) for _ in range(dice.randint(0, 6)))
        return [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]

    found, _ = run(tuple(sent), pieces)
    expected = by_h11(sent)
    assert len(expected) == sum(direction == C for direction, _ in sent)
    assert by_us(found) == expected
    assert all(exchange.request.complete and exchange.response.complete for exchange in found)


# -- TShark ----------------------------------------------------------------------------------------------------------

RECORDED = json.loads((Path(__file__).parent / "data" / "http1-captures.json").read_text(encoding="utf-8"))


def streams() -> Iterator[tuple[str, dict]]:
    for name, found in RECORDED["captures"].items():
        for number, stream in enumerate(found):
            yield f"{name}-{number}", stream


STREAMS = list(streams())


@pytest.mark.parametrize("pieces", [whole, single])
@pytest.mark.parametrize(("name", "stream"), STREAMS, ids=[name for name, _ in STREAMS])
def test_real_dialogues_are_read_as_tshark_reads_them(name: str, stream: dict, pieces) -> None:
    sent = tuple((direction, octets.encode("latin-1")) for direction, octets in stream["segments"])
    found, conversation = run(sent, pieces)
    assert conversation.is_http
    asked = [[e.request.method, e.request.target] for e in found if e.request]
    answers = [[e.response.status, e.response.body_length] for e in found if e.response]
    rows = stream["tshark"]
    assert asked == [row for row in rows if isinstance(row[0], str)]
    assert answers == [row for row in rows if isinstance(row[0], int)]
    assert not any(secret in repr(found) for secret in SECRETS)
    assert "FAKETOKEN" not in repr(found)


def test_the_recorded_attacks_show_whose_credentials_were_served() -> None:
    served = {}
    for name, stream in STREAMS:
        conversation = Conversation()
        for direction, octets in stream["segments"]:
            for exchange in conversation.feed(direction, octets.encode("latin-1"), None):
                document = exchange.response.document if exchange.response else None
                if document is not None and document.kind == "credentials":
                    served[name.rpartition("-")[0]] = (document.access_key_id, document.role, document.whole)
    expected = ("ASIAFAKEFAKEFAKEFAKE", "h6-fake-role", True)
    assert set(served.values()) == {expected}
    assert set(served) == {
        name for name in RECORDED["captures"] if name.startswith(("b", "c1", "c3", "c4", "c5", "d1", "e1"))
    }


def test_the_recorded_look_alikes_say_nothing() -> None:
    for name, stream in STREAMS:
        if name.startswith("h1"):
            sent = tuple((direction, octets.encode("latin-1")) for direction, octets in stream["segments"])
            found, _ = run(sent, whole)
            assert [exchange.response.document for exchange in found] == [None] * len(found)
