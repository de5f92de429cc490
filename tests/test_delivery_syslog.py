"""Delivery by syslog: every message is RFC 5424, framed as its transport has it, and nothing escapes its message."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliveries import AT, message
from imdswatch.delivery import channel_to, rfc5424
from imdswatch.delivery.message import Message, Refused, Undelivered
from imdswatch.delivery.target import read_target
from patience import until
from receivers import (
    Certificates,
    datagrams,
    make_certificates,
    parse_syslog,
    read_all,
    stream,
    unframed,
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def test_a_syslog_message_is_as_rfc_5424_has_it() -> None:
    text = rfc5424.message(message(7), hostname="sensor 1", process=42, facility=10, most=9999)
    assert text is not None
    got = parse_syslog(text)
    assert (got.priority, got.timestamp, got.hostname) == (
        10 * 8 + 3,
        "2026-11-22T01:00:00.250000Z",
        "sensor1",
    )
    assert (got.application, got.kind) == ("imdswatch", "finding")
    assert got.data == {"id": "f0007-x", "fingerprint": "f0007", "severity": "high"}
    assert json.loads(got.text)["number"] == 7


@settings(deadline=None)
@given(st.text(), st.text(), st.text(min_size=1))
def test_a_hostile_value_stays_inside_its_message(value: str, label: str, hostname: str) -> None:
    body = (
        json.dumps({"title": value}, ensure_ascii=False)
        .replace("\u2028", "\\u2028")
        .encode("utf-8", "replace")
    )
    one = Message("id", "finding", AT, body.decode(), (("rule", label),))
    text = rfc5424.message(one, hostname=hostname, process=1, facility=10, most=1 << 20)
    assert text is not None
    assert not any(octet < 0x20 or octet == 0x7F for octet in text)
    got = parse_syslog(text)
    assert json.loads(got.text) == json.loads(body)
    assert got.text.isascii()
    assert [*unframed(rfc5424.framed([text, text]))] == [text, text]
    expected = "".join(one if one.isprintable() else "?" for one in label)
    assert got.data.get("rule", "") == expected


def test_a_message_that_is_too_long_loses_members_by_name_and_stays_json() -> None:
    long = message(1, evidence=["x" * 3000], reasons=["y"], remedy="z" * 200)
    text = rfc5424.message(long, hostname="h", process=1, facility=10, most=2048)
    assert text is not None
    assert len(text) <= 2048
    document = json.loads(parse_syslog(text).text)
    assert document["truncated"] == ["reasons", "evidence"]
    assert document["remedy"] == "z" * 200
    assert (
        rfc5424.message(message(1, title="t" * 3000), hostname="h", process=1, facility=10, most=2048) is None
    )


def test_syslog_over_tcp_counts_octets() -> None:
    got: list[bytes] = []
    with stream(lambda connection: got.append(read_all(connection))) as port:
        channel = channel_to(read_target(f"syslog+tcp://127.0.0.1:{port}"))
        assert channel.send([message(1), message(2)]) == 2
        assert channel.send([message(3)]) == 1
    texts = [json.loads(parse_syslog(one).text)["number"] for data in got for one in unframed(data)]
    assert texts == [1, 2, 3]


def test_syslog_over_tls_verifies_the_receiver_and_shows_a_certificate(certificates: Certificates) -> None:
    got: list[tuple[bytes, object]] = []
    context = certificates.server_context(asks_client=True)

    def serve(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as secure:
            got.append((read_all(secure), secure.getpeercert()))
            secure.unwrap()

    with stream(serve) as port:
        ours = f"ca={certificates.authority}&cert={certificates.client}&confirm=strict"
        channel = channel_to(read_target(f"syslog+tls://localhost:{port}?{ours}"))
        assert channel.send([message(1)]) == 1
        [(data, peer)] = got
        assert [json.loads(parse_syslog(one).text)["number"] for one in unframed(data)] == [1]
        assert isinstance(peer, dict)
        assert dict(part[0] for part in peer["subject"])["commonName"] == "client"
        for options, why in (
            (f"ca={certificates.other_authority}", "certificate is not to be trusted"),
            ("", "certificate is not to be trusted"),
            (f"{ours}&name=elsewhere.example", "certificate is not to be trusted"),
        ):
            with pytest.raises(Undelivered, match=why):
                channel_to(read_target(f"syslog+tls://localhost:{port}?{options}")).send([message(2)])
        # TLS 1.3 lets the client finish before the server has refused it; it must not pass for delivered.
        anonymous = f"syslog+tls://localhost:{port}?ca={certificates.authority}"
        for confirm in ("close", "strict"):
            with pytest.raises(Undelivered):
                channel_to(read_target(f"{anonymous}&confirm={confirm}")).send([message(2)])
    assert len(got) == 1


def test_strict_syslog_wants_a_close_notify(certificates: Certificates) -> None:
    context = certificates.server_context()

    def serve(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as secure:
            read_all(secure)  # and then no close_notify, as if killed

    with stream(serve) as port:
        where = f"syslog+tls://localhost:{port}?ca={certificates.authority}"
        assert channel_to(read_target(where)).send([message(1)]) == 1
        with pytest.raises(Undelivered, match="close_notify"):
            channel_to(read_target(f"{where}&confirm=strict")).send([message(1)])


def test_a_receiver_that_dies_with_unread_octets_has_not_confirmed() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    with stream(serve) as port:
        channel = channel_to(read_target(f"syslog+tcp://127.0.0.1:{port}"))
        with pytest.raises(Undelivered):
            channel.send([message(number) for number in range(100)])


def test_a_receiver_that_talks_is_no_syslog() -> None:
    def serve(connection: socket.socket) -> None:
        for _ in range(10_000):
            connection.sendall(b"\x1b]0;owned\x07" * 1000)

    with stream(serve) as port:
        channel = channel_to(read_target(f"syslog+tcp://127.0.0.1:{port}"))
        with pytest.raises(Undelivered) as caught:
            channel.send([message(1)])
    assert "owned" not in str(caught.value)


def test_syslog_over_udp_keeps_to_its_size() -> None:
    with datagrams() as (port, got):
        channel = channel_to(read_target(f"syslog+udp://127.0.0.1:{port}"))
        batch = [message(1), message(2, evidence=["x" * 9000]), message(3, title="t" * 9000), message(4)]
        assert channel.send(batch) == 2
        with pytest.raises(Refused, match="2048"):
            channel.send(batch[2:])
        assert channel.send(batch[3:]) == 1
        until(lambda: len(got) == 3)
    assert [json.loads(parse_syslog(one).text)["number"] for one in got] == [1, 2, 4]
    assert max(map(len, got)) <= 2048


def test_udp_to_nobody_is_noticed() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    channel = channel_to(read_target(f"syslog+udp://127.0.0.1:{port}"))
    for _ in range(3):
        with pytest.raises(Undelivered, match="refused"):
            channel.send([message(1)])
