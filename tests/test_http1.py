"""The HTTP/1 parser: each dialogue of the table whole, octet by octet, in random pieces and with more behind it."""

from __future__ import annotations

import gzip
from functools import reduce

import pytest

from http1_cases import (
    BODIES,
    CASES,
    CHUNKED,
    CREDENTIALS,
    ROLE_PATH,
    SECRETS,
    C,
    Case,
    Gap,
    S,
    get,
    ok,
    only,
    ragged,
    run,
    single,
    summary,
    whole,
)
from imdswatch.wire.http1 import MAX_HELD, Conversation

PIECES = [whole, single, ragged]


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_dialogue_is_read_however_it_is_cut(case: Case, pieces) -> None:
    found, _ = run(case.sent, pieces, from_start=case.from_start)
    assert tuple(summary(exchange) for exchange in found) == case.expected


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("case", [case for case in CASES if case.goes_on], ids=lambda case: case.name)
def test_more_may_follow_a_dialogue(case: Case, pieces) -> None:
    sent = (*case.sent, get("/more"), ok(b"more"))
    found, _ = run(sent, pieces, from_start=case.from_start)
    assert tuple(summary(exchange) for exchange in found) == (*case.expected, "GET /more | 200 4")


@pytest.mark.parametrize("case", [case for case in CASES if case.goes_on], ids=lambda case: case.name)
def test_the_end_of_the_capture_changes_nothing_that_was_complete(case: Case) -> None:
    found, _ = run(case.sent, whole, from_start=case.from_start, finished=False)
    assert tuple(summary(exchange) for exchange in found) == case.expected


# -- heads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", PIECES)
def test_headers_keep_order_case_and_repetition(pieces) -> None:
    octets = (
        b"GET /a HTTP/1.1\r\nhOsT:x:80\r\nX-A:  1 \r\nx-a: 2\r\nBad : 3\r\nL: a\r\n\t b\r\nEmpty:\r\n\r\n"
    )
    request, _ = only(run(((C, octets), ok()), pieces)[0])
    assert request.headers == (
        ("hOsT", "x:80"),
        ("X-A", "1"),
        ("x-a", "2"),
        ("Bad", "3"),
        ("L", "a b"),
        ("Empty", ""),
    )
    assert (request.host, request.header("X-a")) == ("x:80", "1")


@pytest.mark.parametrize(
    ("target", "headers", "host", "path"),
    [
        ("/latest/?q=1", "Host: x", "x", "/latest/"),
        ("http://[fd00:ec2::254]:80/latest/", "Host: proxy", "[fd00:ec2::254]:80", "/latest/"),
        ("http://user:word@h/x", "Host: y", "h", "/x"),
        ("*", "Host: y", "y", ""),
        ("/x", "No: host", None, "/x"),
    ],
)
def test_the_host_asked_is_that_of_the_target_first(target: str, headers: str, host: str, path: str) -> None:
    request, _ = only(run((get(target, headers), ok()), whole)[0])
    assert (request.host, request.path) == (host, path)
    assert "word" not in repr(request)


def test_a_proxys_own_reply_can_be_told() -> None:
    answer = ok(
        b"<html>",
        "Server: squid/5.7",
        "X-Squid-Error: ERR_CONNECT_FAIL 113",
        "Via: 1.1 proxy (squid/5.7)",
        "Content-Type: Text/HTML; charset=utf-8",
        status="503 Service Unavailable",
    )
    _, response = only(run((get("http://169.254.169.254/latest/"), answer), single)[0])
    assert (response.status, response.reason, response.mime) == (503, "Service Unavailable", "text/html")
    assert response.header("x-squid-error") == "ERR_CONNECT_FAIL 113"
    assert response.header("VIA") == "1.1 proxy (squid/5.7)"


def test_two_ways_to_find_the_end_of_a_body_are_said() -> None:
    both = get("/a", "Content-Length: 4", CHUNKED, method="POST", body=b"0\r\n\r\n")
    assert only(run((both, ok()), whole)[0])[0].ambiguous
    differing = get("/a", "Content-Length: 4", "Content-Length: 5", method="POST", body=b"abcd")
    assert only(run((differing, ok()), whole)[0])[0].ambiguous
    assert not only(run((get("/a", "Content-Length: 4, 4", body=b"abcd"), ok()), whole)[0])[0].ambiguous


@pytest.mark.parametrize("pieces", PIECES)
def test_a_mark_is_that_of_the_first_octet(pieces) -> None:
    conversation = Conversation()
    found = []
    number = 0
    starts = {}
    for direction, octets in (get("/a"), ok(b"xyz"), get("/b"), ok(b"xyz")):
        starts[octets[:6]] = starts.get(octets[:6], number + 1)
        first = True
        for piece in pieces(octets):
            number += 1
            if first:
                starts[(direction, len(starts))] = number
                first = False
            found += conversation.feed(direction, piece, number)
    marks = [(e.request.mark, e.response.mark) for e in found]
    begun = [number for key, number in starts.items() if isinstance(key, tuple)]
    assert marks == [(begun[0], begun[1]), (begun[2], begun[3])]


def test_marks_of_messages_in_one_segment() -> None:
    conversation = Conversation()
    conversation.feed(C, get("/a")[1] + get("/b")[1][:9], "first")
    conversation.feed(C, get("/b")[1][9:] + get("/c")[1], "second")
    found = conversation.close()
    assert [exchange.request.mark for exchange in found] == ["first", "first", "second"]


# -- secrets ---------------------------------------------------------------------------------------------------------

SECRET = "s3cr3tValueThatNobodyMaySee/+="


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize(
    "name",
    [
        "x-aws-ec2-metadata-token",
        "X-AWS-EC2-Metadata-Token",
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "x-amz-security-token",
        "X-Api-Key",
        "X-Vault-Token",
        "X-Auth",
        "Private-Key",
    ],
)
def test_secret_values_end_in_the_parser(name: str, pieces) -> None:
    for value in (SECRET, f"a\r\n {SECRET}", f"Bearer {SECRET}; {name}={SECRET}"):
        found, conversation = run((get("/a", f"{name}: {value}"), ok(b"", f"{name}: {value}")), pieces)
        request, response = only(found)
        assert request.headers == ((name, None),)
        assert response.headers[0] == (name, None)
        assert SECRET not in repr(found)
        assert SECRET not in repr(vars(conversation))


def test_the_lifetime_of_a_token_is_no_secret() -> None:
    name = "X-aws-ec2-metadata-token-ttl-seconds"
    request, response = only(run((get("/a", f"{name}: 300"), ok(b"", f"{name}: 21600")), whole)[0])
    assert (request.header(name), response.header(name)) == ("300", "21600")


SIGV4 = (
    "AWS4-HMAC-SHA256 Credential=ASIAQNZGKIQY56JQ7WML/20261122/us-east-1/sts/aws4_request, "
    "SignedHeaders=host, Signature=0123456789abcdef0123456789abcdef"
)


@pytest.mark.parametrize(
    "request_octets",
    [
        get("/", f"Authorization: {SIGV4}"),
        get("/", "Authorization: " + SIGV4.replace("HMAC-SHA256", "ECDSA-P256-SHA256").replace("us-east-1/", "")),
        get("/", "authorization: AWS ASIAQNZGKIQY56JQ7WML:0123456789abcdef0123456789abcdef"),
        get("/?X-Amz-Credential=ASIAQNZGKIQY56JQ7WML%2F20261122%2Fus-east-1&X-Amz-Signature=0123456789abcdef0123456789abcdef"),
        get("/b?AWSAccessKeyId=ASIAQNZGKIQY56JQ7WML&Signature=0123456789abcdef0123456789abcdef"),
    ],
)  # fmt: skip
def test_of_a_signature_only_the_key_id_stays(request_octets: tuple[int, bytes]) -> None:
    request, _ = only(run((request_octets, ok()), whole)[0])
    assert request.signing_key_id == "ASIAQNZGKIQY56JQ7WML"
    assert "0123456789abcdef" not in repr(request)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("http://user:hunter22@169.254.169.254/x", "http://169.254.169.254/x"),
        ("user:hunter22@h.example:443", "h.example:443"),
        ("/x?token=hunter22hunter22&a=b", "/x?token=[redacted]&a=b"),
        ("/x@y", "/x@y"),
    ],
)
def test_targets_lose_what_is_secret(target: str, shown: str) -> None:
    request, _ = only(run((get(target, method="CONNECT" if ":443" in target else "GET"), ok()), whole)[0])
    assert request.target == shown


# -- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("name", BODIES)
def test_a_credential_document_is_read_in_every_coding(name: str, pieces) -> None:
    found, _ = run((get(ROLE_PATH), BODIES[name]), pieces)
    _, response = only(found)
    document = response.document
    assert document is not None
    assert (document.kind, document.access_key_id, document.role, document.whole) == (
        "credentials",
        "ASIAQNZGKIQY56JQ7WML",
        "h6-fake-role",
        True,
    )
    assert not any(secret in repr(found) for secret in SECRETS)


@pytest.mark.parametrize("name", [name for name in BODIES if name != "two codings"])
@pytest.mark.parametrize("lost", range(0, 40, 7))
def test_a_cut_credential_document_still_tells_the_key(name: str, lost: int) -> None:
    octets = BODIES[name][1]
    found, _ = run((get(ROLE_PATH), (S, octets[: len(octets) - 40 + lost])), whole, finished=False)
    _, response = only(found)
    assert response.document is not None
    assert response.document.access_key_id == "ASIAQNZGKIQY56JQ7WML"
    assert not response.document.whole
    assert not response.complete
    assert not any(secret in repr(found) for secret in SECRETS)


@pytest.mark.parametrize("begin", [10, 40, 90, 130, 200, 260])
def test_a_gap_hides_only_what_it_covers(begin: int) -> None:
    size = 8
    sent = (get(ROLE_PATH), ok(CREDENTIALS)[1], S)
    head = len(sent[1]) - len(CREDENTIALS)
    first, rest = sent[1][: head + begin], sent[1][head + begin + size :]
    found, _ = run((sent[0], (S, first), Gap(S, size), (S, rest)), whole)
    _, response = only(found)
    assert response.complete
    assert response.body_length == len(CREDENTIALS)
    assert response.document is not None
    hidden = range(begin, begin + size)
    place = CREDENTIALS.index(b'"AccessKeyId"')
    expected = None if any(at in hidden for at in range(place, place + 38)) else "ASIAQNZGKIQY56JQ7WML"
    assert response.document.access_key_id == expected
    assert not any(secret in repr(found) for secret in SECRETS)


def test_the_document_is_found_though_the_head_is_lost() -> None:
    octets = ok(CREDENTIALS)[1]
    for lost in (3, 20, 39):
        sent = (
            get(ROLE_PATH),
            (S, octets[: 30 - lost] if lost < 30 else b""),
            Gap(S, lost),
            (S, octets[max(30, lost) :]),
        )
        found, _ = run(sent, whole)
        _, response = only(found)
        assert response.document is not None
        assert response.document.access_key_id == "ASIAQNZGKIQY56JQ7WML"


@pytest.mark.parametrize("pieces", PIECES)
def test_of_a_body_in_broken_chunks_only_what_is_certain_counts(pieces) -> None:
    asked = get("/a", CHUNKED, body=b"4;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n")
    request, _ = only(run((asked, ok()), pieces)[0])
    assert (request.body_length, request.complete) == (4, False)


def test_a_bomb_stays_small() -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 50_000_000))
    found, _ = run((get(ROLE_PATH), ok(bomb, "Content-Encoding: gzip, gzip")), whole)
    _, response = only(found)
    assert response.body_length == len(bomb)
    assert response.document is None


# -- tunnels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", PIECES)
def test_the_octets_of_a_tunnel_are_handed_on(pieces) -> None:
    inner_request, inner_answer = get("/inner")[1], ok(b"in")[1]
    conversation, inner = Conversation(), Conversation()
    found, inside = [], []
    sent = (
        get("x.amazonaws.com:443", method="CONNECT"),
        (S, b"HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n"),
        (C, inner_request),
        (S, inner_answer),
    )
    for direction, octets in sent:
        for piece in pieces(octets):
            found += conversation.feed(direction, piece, None)
            for side in (C, S):
                inside += inner.feed(side, conversation.take_tunnelled(side), None)
    assert [summary(exchange) for exchange in found] == ["CONNECT x.amazonaws.com:443 | 200 0"]
    assert conversation.tunnel
    assert [summary(exchange) for exchange in inside] == ["GET /inner | 200 2"]
    assert conversation.close() == []


@pytest.mark.parametrize("pieces", PIECES)
def test_octets_sent_before_the_answer_wait_for_it(pieces) -> None:
    connect = get("h:80", method="CONNECT")[1]
    hello = b"\r\n\x16\x03\x01\nHTTP/1.1\n" * 20
    _, opened = run(((C, connect + hello), (S, b"HTTP/1.1 200 OK\r\n\r\nxyz")), pieces)
    assert (opened.take_tunnelled(C), opened.take_tunnelled(S)) == (hello, b"xyz")
    found, refused = run(((C, connect), get("/next"), ok(status="407 Auth"), ok()), pieces)
    assert not refused.tunnel
    assert [summary(exchange) for exchange in found] == ["CONNECT h:80 | 407 0", "GET /next | 200 0"]
    found, unseen = run(((C, connect + b"\x16\x03\x01"),), pieces)
    assert [summary(exchange) for exchange in found] == ["CONNECT h:80 | -"]
    assert unseen.take_tunnelled(C) == b"\x16\x03\x01"


@pytest.mark.parametrize("pieces", PIECES)
def test_an_upgrade_is_a_tunnel_once_it_is_granted(pieces) -> None:
    upgrade = get("/chat", "Upgrade: websocket", "Connection: upgrade")
    switched = (S, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nxyz")
    found, granted = run((upgrade, switched, (C, b"abc")), pieces)
    assert [summary(exchange) for exchange in found] == ["GET /chat | 101 0"]
    assert (granted.take_tunnelled(C), granted.take_tunnelled(S)) == (b"abc", b"xyz")
    found, declined = run((upgrade, get("/b"), ok(b"1"), ok(b"22")), pieces)
    assert [summary(exchange) for exchange in found] == ["GET /chat | 200 1", "GET /b | 200 2"]
    assert not declined.tunnel
    found, _ = run((upgrade, get("/b")), pieces)
    assert [summary(exchange) for exchange in found] == ["GET /chat | -", "GET /b | -"]


@pytest.mark.parametrize("pieces", PIECES)
def test_an_upgrade_that_stands_first_in_the_capture_is_granted_to_the_first_request(pieces) -> None:
    switched = (S, b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    behind = get("/b", method="HEAD")[1] + b"xyz"
    found, granted = run((switched, (C, get("/chat")[1] + behind)), pieces)
    assert [summary(exchange) for exchange in found] == ["GET /chat | 101 0"]
    assert granted.take_tunnelled(C) == behind


def test_what_waits_for_the_answer_to_a_connect_is_bounded() -> None:
    conversation = Conversation()
    conversation.feed(C, get("h:443", method="CONNECT")[1], None)
    found = []
    for _ in range(200):
        found += conversation.feed(C, b"\x17\x03\x03" * 200, None)
    assert [summary(exchange) for exchange in found] == ["CONNECT h:443 | -"]
    assert conversation.tunnel
    assert 0 < len(conversation.take_tunnelled(C)) <= MAX_HELD
    assert conversation.gap(C, 100) == []


@pytest.mark.parametrize("pieces", [whole, single])
def test_a_gap_before_the_answer_to_a_connect_leaves_the_tunnel(pieces) -> None:
    sent = (
        get("h:443", method="CONNECT"),
        (C, b"\x16\x03"),
        Gap(C, 5),
        (C, b"xyz"),
        (S, b"HTTP/1.1 200 OK\r\n\r\n"),
    )
    found, conversation = run(sent, pieces)
    assert [summary(exchange) for exchange in found] == ["CONNECT h:443 | 200 0"]
    assert conversation.take_tunnelled(C) == b"\x16\x03xyz"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip, gzip, gzip, gzip"])
def test_a_coding_that_cannot_be_undone_gives_no_document(coding: str) -> None:
    packed = reduce(lambda octets, _: gzip.compress(octets, mtime=0), coding.split(","), CREDENTIALS)
    _, response = only(run((get(ROLE_PATH), ok(packed, f"Content-Encoding: {coding}")), whole)[0])
    assert (response.document, response.complete, response.whole) == (None, True, False)
    assert response.header("content-encoding") == coding
