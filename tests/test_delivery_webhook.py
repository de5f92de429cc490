"""Delivery by webhook: signed, tried again, never held up by one result or by a bad receiver."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook

from deliveries import message
from imdswatch.delivery import channel_to
from imdswatch.delivery.courier import Courier, Pace
from imdswatch.delivery.message import Undelivered
from imdswatch.delivery.spool import Spool
from imdswatch.delivery.target import read_target
from patience import LONG
from receivers import (
    Certificates,
    Post,
    make_certificates,
    read_all,
    stream,
    webhook,
)

QUICK = Pace(first=0.01, most=0.02, last=0.02, tick=0.02)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def _no_thread_stays_behind() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if isinstance(thread, Courier):
            thread.join(LONG)
            assert not thread.is_alive()


def test_a_webhook_is_signed_and_each_result_has_its_id(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, began = b"FAKE-secret-of-the-test", time.time()
    monkeypatch.setenv("TEST_SECRET", "whsec_" + base64.b64encode(key).decode())
    monkeypatch.setenv("TEST_AUTHORIZATION", "Splunk FAKE-token")
    with webhook(lambda _: (204, {}), certificates.server_context()) as (port, got):
        options = f"secret-env=TEST_SECRET&authorization-env=TEST_AUTHORIZATION&ca={certificates.authority}"
        channel = channel_to(read_target(f"https://localhost:{port}/hook?tenant=a%20b#{options}"))
        assert channel.send([message(1), message(2)]) == 2
        assert channel.send([message(1), message(2)]) == 2
    [first, again] = got
    assert first.path == "/hook?tenant=a%20b"
    assert first.headers["authorization"] == "Splunk FAKE-token"
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert began - 1 < int(first.headers["webhook-timestamp"]) <= time.time()
    signed = ".".join((first.headers["webhook-id"], first.headers["webhook-timestamp"], first.body.decode()))
    expected = base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode()
    assert first.headers["webhook-signature"] == f"v1,{expected}"
    assert Webhook(key).verify(first.body, first.headers)["type"] == "imdswatch.results"
    payload = json.loads(first.body)
    assert (payload["type"], payload["timestamp"]) == ("imdswatch.results", "2026-11-22T01:00:00.250000Z")
    assert [(one["id"], one["kind"], one["result"]["number"]) for one in payload["data"]] == [
        ("f0001-x", "finding", 1),
        ("f0002-x", "finding", 2),
    ]


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 408, 429, 500, 503])
def test_any_other_status_is_tried_again_and_a_redirect_is_not_followed(status: int) -> None:
    with webhook(lambda _: (status, {"location": "http://127.0.0.1:1/", "retry-after": "7"})) as (port, got):
        with pytest.raises(Undelivered, match=str(status)) as caught:
            channel_to(read_target(f"http://127.0.0.1:{port}/")).send([message(1)])
        assert caught.value.after == 7.0
        assert len(got) == 1


@pytest.mark.parametrize("value", ["-1", "soon", "1e9999", "99999999999999999999", "\x1b[2J"])
def test_a_retry_after_that_makes_no_sense_is_bounded(value: str) -> None:
    with webhook(lambda _: (503, {"retry-after": value})) as (port, _):
        with pytest.raises(Undelivered) as caught:
            channel_to(read_target(f"http://127.0.0.1:{port}/")).send([message(1)])
        assert 0 <= caught.value.after <= 3600


def test_one_result_that_is_refused_does_not_hold_up_the_others() -> None:
    def answer(post: Post) -> tuple[int, dict[str, str]]:
        return (400 if b'"number": 5}' in post.body else 200), {}

    with webhook(answer) as (port, got):
        channel = channel_to(read_target(f"http://127.0.0.1:{port}/"))
        spool = Spool(None, 1 << 20)
        courier = Courier("test", spool, channel, lambda _: None, QUICK)
        for number in range(8):
            courier.put(message(number))
        courier.start()
        assert courier.finish(LONG) == 1
    taken = [
        one["result"]["number"]
        for post in got
        if b'"number": 5}' not in post.body
        for one in json.loads(post.body)["data"]
    ]
    assert taken == [0, 1, 2, 3, 4, 6, 7]
    assert (courier.refused, courier.first_refused) == (1, "f0005-x: the receiver answered with status 400")


def garbage(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x00\xff\x1b[31mnot http at all\r\n\r\n")


def half_closing(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    read_all(connection)


def drip(connection: socket.socket) -> None:
    connection.recv(65536)
    for octet in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000:
        connection.sendall(bytes([octet]))
        time.sleep(0.05)


def endless_header(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"x: " + b"y" * 60_000 + b"\r\n")


def silent(connection: socket.socket) -> None:
    read_all(connection)


@pytest.mark.parametrize("serve", [garbage, half_closing, drip, endless_header, silent])
def test_a_bad_receiver_is_given_up_in_time_and_quotes_nothing(serve: object) -> None:
    began = time.monotonic()
    with stream(serve) as port, pytest.raises(Undelivered) as caught:  # type: ignore[arg-type]
        channel_to(read_target(f"http://127.0.0.1:{port}/#timeout=1")).send([message(1)])
    assert time.monotonic() - began < LONG
    assert "\x1b" not in str(caught.value)
    assert "not http" not in str(caught.value)


def test_a_huge_body_of_an_answer_is_not_read() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with stream(serve) as port:
        assert channel_to(read_target(f"http://127.0.0.1:{port}/")).send([message(1)]) == 1
