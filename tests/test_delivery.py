"""Delivery: what each receiver gets, what stays when it does not take it, and that nothing escapes its message."""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import json
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from imdswatch.delivery import channel_to, rfc5424
from imdswatch.delivery.courier import Courier, Pace
from imdswatch.delivery.message import Message, Refused, Undelivered, identity
from imdswatch.delivery.spool import Spool
from imdswatch.delivery.target import read_target
from imdswatch.errors import UsageError
from patience import LONG, until
from receivers import (
    Certificates,
    Post,
    datagrams,
    make_certificates,
    parse_syslog,
    read_all,
    stream,
    unframed,
    webhook,
)

AT = 1795309200.25
QUICK = Pace(first=0.01, most=0.02, last=0.02, tick=0.02)


def message(number: int, **more: object) -> Message:
    body = json.dumps({"delivery_id": f"f{number:04}-x", "type": "finding", "number": number} | more)
    labels = (("fingerprint", f"f{number:04}"), ("severity", "high"))
    return Message(f"f{number:04}-x", "finding", AT, body, labels)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


# Syslog


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


# Webhooks


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


# Files


def test_a_file_is_rotated_and_keeps_so_many(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    channel = channel_to(read_target(f"file://{file}?rotate=400&keep=3"))
    for number in range(40):
        assert channel.send([message(number)]) == 1
    channel.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"out.ndjson{end}" for end in ("", ".1", ".2", ".3")
    ]
    numbers = [
        json.loads(line)["number"]
        for end in (".3", ".2", ".1", "")
        for line in (tmp_path / f"out.ndjson{end}").read_text(encoding="utf-8").splitlines()
    ]
    assert numbers == list(range(numbers[0], 40))
    assert all(path.stat().st_size <= 400 for path in tmp_path.iterdir())
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_torn_line_is_cut_off_before_the_next_is_written(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    file.write_text('{"number": 1}\n{"numb', encoding="utf-8")
    channel = channel_to(read_target(f"file://{file}"))
    channel.send([message(2)])
    channel.close()
    assert [json.loads(line)["number"] for line in file.read_text(encoding="utf-8").splitlines()] == [1, 2]


def test_a_file_that_others_move_away_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    channel = channel_to(read_target(f"file://{file}"))
    channel.send([message(1)])
    file.rename(tmp_path / "moved")
    channel.send([message(2)])
    channel.close()
    assert json.loads(file.read_text(encoding="utf-8"))["number"] == 2


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    one, two = (channel_to(read_target(f"file://{tmp_path / 'out'}")) for _ in range(2))
    one.send([message(1)])
    with pytest.raises(Undelivered, match="another process"):
        two.send([message(2)])
    one.close()
    assert two.send([message(2)]) == 1
    two.close()


def test_a_full_disk_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "out.ndjson"
    channel = channel_to(read_target(f"file://{file}"))
    channel.send([message(1)])
    write = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) <= 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data[:20])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(Undelivered, match="no space left"):
            channel.send([message(2)])
    assert len(file.read_text(encoding="utf-8").splitlines()) == 1
    assert channel.send([message(2)]) == 1
    channel.close()
    assert [json.loads(line)["number"] for line in file.read_text(encoding="utf-8").splitlines()] == [1, 2]


def test_only_a_plain_file_is_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    for name in ("fifo", "", "../../../../../../dev/null"):
        with pytest.raises(UsageError, match="plain file"):
            channel_to(read_target(f"file://{tmp_path / name}"))
    with pytest.raises(Undelivered):
        channel_to(read_target(f"file://{tmp_path / 'link'}")).send([message(1)])
    assert not (tmp_path / "victim").exists()


# The spool and its courier


def test_the_spool_keeps_order_ids_and_bounds(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "a.spool", 3 * len(message(0).body))
    assert [spool.put(message(number)) for number in (3, 1, 3, 2, 4)] == [True, True, True, True, False]
    assert spool.put(message(3)), "what waits already needs no room"
    assert spool.put(message(9), force=True)
    spool.close()
    again = Spool(tmp_path / "a.spool", 3 * len(message(0).body))
    assert [one for _, one in again.head(10)] == [message(3), message(1), message(2), message(9)]
    again.confirmed([number for number, _ in again.head(2)])
    assert again.put(message(5))
    assert [one.id for _, one in again.head(10)] == ["f0002-x", "f0009-x", "f0005-x"]
    assert (tmp_path / "a.spool").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_no_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "a.spool", 1 << 30)
    assert spool.put(message(1))
    spool._db.execute("PRAGMA max_page_count = 8")
    assert not spool.put(message(2, title="x" * 100_000))
    assert [one.id for _, one in spool.head(9)] == ["f0001-x"]
    spool.close()


def test_two_processes_may_share_a_spool(tmp_path: Path) -> None:
    one, two = (Spool(tmp_path / "a.spool", 1 << 20) for _ in range(2))
    one.put(message(1))
    two.put(message(2))
    two.put(message(1))
    assert [m.id for _, m in one.head(9)] == [m.id for _, m in two.head(9)] == ["f0001-x", "f0002-x"]
    numbers = [number for number, _ in one.head(9)]
    one.confirmed(numbers)
    two.confirmed(numbers)
    assert one.waiting() == two.waiting() == 0
    one.close()
    two.close()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_spool_is_set_aside_and_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.spool").write_bytes(content)
    spool = Spool(tmp_path / "a.spool", 1 << 20)
    assert Path(spool.damaged).read_bytes() == content
    assert spool.put(message(1))
    spool.close()


def test_a_refused_message_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "a.spool", 1 << 20)
    spool.put(message(1))
    [(number, _)] = spool.head(1)
    spool.refused(number, "no")
    assert spool.head(1) == []
    assert spool.waiting() == 1
    spool.close()
    assert len(Spool(tmp_path / "a.spool", 1 << 20).head(1)) == 1


class Flaky:
    """A channel that fails most of the time, and confirms a part now and then."""

    most = 7

    def __init__(self, chance: random.Random) -> None:
        self._chance, self.got = chance, list[str]()

    def send(self, batch: list[Message]) -> int:
        if self._chance.random() < 0.6:
            raise Undelivered("not now")
        done = self._chance.randint(1, len(batch))
        self.got += [one.id for one in batch[:done]]
        return done

    def close(self) -> None:
        pass


@pytest.mark.parametrize("seed", range(5))
def test_a_courier_delivers_everything_in_order(seed: int, tmp_path: Path) -> None:
    channel = Flaky(random.Random(seed))
    told: list[str] = []
    spool = Spool(tmp_path / "a.spool", 1 << 20)
    courier = Courier("test", spool, channel, told.append, QUICK)  # type: ignore[arg-type]
    courier.put(message(0))
    courier.start()
    for number in range(1, 60):
        courier.put(message(number))
    assert courier.finish(LONG) == 0
    assert channel.got == [message(number).id for number in range(60)]
    assert all("wait" in one or "again" in one for one in told)


def test_a_courier_waits_as_long_as_the_receiver_says() -> None:
    times: list[float] = []

    class Busy:
        most = 1

        def send(self, batch: list[Message]) -> int:
            times.append(time.monotonic())
            if len(times) == 1:
                raise Undelivered("busy", after=0.3)
            return 1

        def close(self) -> None:
            pass

    courier = Courier("test", Spool(None, 1000), Busy(), lambda _: None, QUICK)  # type: ignore[arg-type]
    courier.put(message(1))
    courier.start()
    assert courier.finish(LONG) == 0
    assert times[1] - times[0] >= 0.3


def test_what_cannot_be_delivered_in_time_is_counted_and_stays(tmp_path: Path) -> None:
    release = threading.Event()
    with stream(lambda _: release.wait(LONG) and None) as port:  # type: ignore[func-returns-value]
        spool = Spool(tmp_path / "a.spool", 1 << 20)
        channel = channel_to(read_target(f"http://127.0.0.1:{port}/"))
        courier = Courier("test", spool, channel, lambda _: None, QUICK)
        courier.put(message(1))
        courier.start()
        began = time.monotonic()
        assert courier.finish(0.3) == 1
        assert time.monotonic() - began < LONG / 2, "it does not wait for the receiver"
        release.set()
        courier.join(LONG)
    assert Spool(tmp_path / "a.spool", 1 << 20).waiting() == 1


def test_the_id_derives_from_what_a_result_says() -> None:
    assert (
        identity("finding", "{}", "abc")
        == identity("finding", "{}", "abc")
        != identity("finding", "{ }", "abc")
    )
    assert identity("finding", "{}", "abc").startswith("abc-")
    assert identity("skipped", "\ud800").startswith("skipped-")


# Targets


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tcp://host:1", "no scheme"),
        ("", "no scheme"),
        ("https://", "without a host"),
        ("https://host:0/", "port 0"),
        ("https://host:99999/", "no URL"),
        ("https://[::1/", "no URL"),
        ("https://user:pass@host/", "user or password"),
        ("https://host/#secret=x", "no option `secret`"),
        ("https://host/#format=text", "must be one of"),
        ("https://host/#batch=0", "from 1 to"),
        ("https://host/#secret-env=NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE is empty or missing"),
        ("https://host/#secret-file=/no/such/file", "no such file"),
        ("https://host/#ca=/no/such/file", "cannot load a certificate"),
        ("https://host/#key=/no/such/file", "`key` without `cert`"),
        ("http://host.example/#authorization-env=HOME", "plain text"),
        ("syslog+tcp://host:1?ca=x", "no option `ca`"),
        ("syslog+udp://host:1?max=many", "no size"),
        ("syslog+tcp://host:1?facility=24", "from 0 to 23"),
        ("syslog+tcp://host:1?facility=1&facility=2", "twice"),
        ("file://relative/path", "full path"),
        ("file:///x?rotate=0MB", "no size"),
        ("env:NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE"),
        ("@/no/such/file", "no such file"),
    ],
)
def test_a_target_that_makes_no_sense_is_a_usage_error(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        channel_to(read_target(text))


def test_secrets_of_a_target_are_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hook").write_text(
        "https://hooks.example/services/FAKE-T/FAKE-secret?x=FAKE-secret\n", encoding="utf-8"
    )
    target = read_target(f"@{tmp_path / 'hook'}")
    assert (target.shown, target.path) == (
        "https://hooks.example:443",
        "/services/FAKE-T/FAKE-secret?x=FAKE-secret",
    )
    assert "FAKE" not in target.key
    monkeypatch.setenv("HOOK", "https://user:FAKE-secret@hooks.example/")
    for text in ("env:HOOK", "https://u:FAKE-secret@h/", "FAKE-secret://host", "https://host:FAKE-secret/"):
        with pytest.raises(UsageError) as caught:
            read_target(text)
        assert "FAKE" not in str(caught.value)
    monkeypatch.setenv("KEY", "whsec_FAKE-secret!")
    with pytest.raises(UsageError) as caught:
        channel_to(read_target("https://host/#secret-env=KEY"))
    assert "FAKE" not in str(caught.value)


def test_a_path_of_a_webhook_is_what_http_can_carry() -> None:
    target = read_target("https://host/ü b/%41?x=ü&y=a%20b")
    assert target.path == "/%C3%BC%20b/%41?x=%C3%BC&y=a%20b"


def test_a_secret_that_no_header_can_carry_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "Bearer FAKE-one\nFAKE-two")
    channel = channel_to(read_target("http://127.0.0.1:1/#authorization-env=KEY"))
    with pytest.raises(Undelivered) as caught:
        channel.send([message(1)])
    assert "FAKE" not in str(caught.value)


def test_verification_cannot_be_turned_off() -> None:
    from imdswatch.delivery import tls

    context = tls.context(read_target("https://host/"))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.fixture(autouse=True)
def _no_thread_stays_behind() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if isinstance(thread, Courier):
            thread.join(LONG)
            assert not thread.is_alive()
