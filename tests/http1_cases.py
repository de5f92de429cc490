"""HTTP/1 dialogues and what a reader should make of them, written by hand.

A case is what the two sides sent, in the order a capture holds it, and one line for each exchange expected:
`METHOD target | status length`, with `~` behind a request or response that is not complete, `…` behind a target whose
line was cut, and `-` for the side that was not seen. Sources: RFC 9110, RFC 9112, and behaviour seen in practice.
"""

# ruff: noqa: E501 - one case a line is easier to compare

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from imdswatch.wire.http1 import Conversation, Exchange, Request, Response

C, S = 0, 1


@dataclass(frozen=True)
class Gap:
    direction: int
    length: int


@dataclass(frozen=True)
class Case:
    name: str
    sent: tuple[tuple[int, bytes] | Gap, ...]
    expected: tuple[str, ...]
    goes_on: bool = True
    """Whether another exchange can follow on the connection."""
    from_start: bool = True


def case(
    name: str, *sent: tuple[int, bytes] | Gap, expected: str, ends: bool = False, late: bool = False
) -> Case:
    lines = tuple(line.strip() for line in expected.strip().splitlines())
    return Case(name, sent, lines, not ends, not late)


def summary(exchange: Exchange) -> str:
    request, response = exchange.request, exchange.response
    asked = "-"
    if request is not None:
        asked = f"{request.method} {request.target}{'' if request.line_complete else '…'}"
        asked += "" if request.complete else "~"
    answer = "-"
    if response is not None:
        answer = f"{response.status} {response.body_length}{'' if response.complete else '~'}"
    return f"{asked} | {answer}"


def run(
    sent: tuple[tuple[int, bytes] | Gap, ...],
    pieces: Callable[[bytes], list[bytes]],
    *,
    from_start: bool = True,
    finished: bool = True,
) -> tuple[list[Exchange], Conversation]:
    conversation = Conversation(from_start=from_start)
    found: list[Exchange] = []
    for item in sent:
        if isinstance(item, Gap):
            found += conversation.gap(item.direction, item.length)
        else:
            for piece in pieces(item[1]):
                found += conversation.feed(item[0], piece, None)
    return found + conversation.close(finished=finished), conversation


def whole(octets: bytes) -> list[bytes]:
    return [octets]


def single(octets: bytes) -> list[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


def ragged(octets: bytes) -> list[bytes]:
    dice = random.Random(len(octets))
    pieces = []
    while octets:
        size = dice.choice((1, 2, 3, 7, 20, 60))
        pieces.append(octets[:size])
        octets = octets[size:]
    return pieces


def only(found: list[Exchange]) -> tuple[Request, Response]:
    (exchange,) = found
    return exchange.request, exchange.response


def get(
    target: str = "/a", *headers: str, method: str = "GET", version: str = "1.1", body: bytes = b""
) -> tuple[int, bytes]:
    lines = [f"{method} {target} HTTP/{version}", *(headers or ("Host: x",)), "", ""]
    return C, "\r\n".join(lines).encode() + body


def ok(
    body: bytes = b"", *headers: str, status: str = "200 OK", version: str = "1.1", counted: bool = True
) -> tuple[int, bytes]:
    lines = [f"HTTP/{version} {status}", *headers]
    if counted:
        lines.append(f"Content-Length: {len(body)}")
    return S, "\r\n".join([*lines, "", ""]).encode() + body


def chunked(*chunks: bytes, trailer: bytes = b"", extension: bytes = b"") -> bytes:
    return b"".join(b"%x%s\r\n%s\r\n" % (len(c), extension, c) for c in chunks) + b"0\r\n" + trailer + b"\r\n"


CHUNKED = "Transfer-Encoding: chunked"

CASES = [
    case("one exchange", get(), ok(b"abc"), expected="GET /a | 200 3"),
    case(
        "keep-alive",
        get("/a"), ok(b"1"), get("/b"), ok(b"22"),
        expected="""GET /a | 200 1
                    GET /b | 200 2""",
    ),
    case(
        "pipelining",
        get("/a"), get("/b"), get("/c"), ok(b"1"), ok(b"22", status="404 Not Found"), ok(b"333"),
        expected="""GET /a | 200 1
                    GET /b | 404 2
                    GET /c | 200 3""",
    ),
    case("the token is put without a length (CRT)", get("/latest/api/token", method="PUT"), ok(b"T"), expected="PUT /latest/api/token | 200 1"),
    case("a request body is counted", get("/a", "Content-Length: 5", method="POST", body=b"GET /"), ok(), expected="POST /a | 200 0"),
    case("a request in chunks", get("/a", CHUNKED, method="POST", body=chunked(b"GET / HTTP/1.1\r\n\r\n", b"x")), ok(), expected="POST /a | 200 0"),
    case("chunks", get(), (S, ok(b"", CHUNKED, counted=False)[1] + chunked(b"abc", b"defg")), expected="GET /a | 200 7"),
    case(
        "chunks with extensions and trailers",
        get(),
        (S, ok(b"", CHUNKED, counted=False)[1] + chunked(b"abc", trailer=b"X-Sum: 1\r\nY: 2\r\n", extension=b' ;a="b;c"')),
        expected="GET /a | 200 3",
    ),
    case("a status line inside a body is body", get(), ok(b"HTTP/1.1 500 No\r\n\r\n"), expected="GET /a | 200 19"),
    case("a body until the end", get(), ok(b"abcdef", counted=False), expected="GET /a | 200 6", ends=True),
    case("HTTP/1.0", get(version="1.0"), ok(b"abc", counted=False, version="1.0"), expected="GET /a | 200 3", ends=True),
    case("HEAD has no body", get(method="HEAD"), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"), expected="HEAD /a | 200 0"),
    case("204 has no body", get(), (S, b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"), expected="GET /a | 204 0"),
    case("304 has no body", get(), (S, b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"), expected="GET /a | 304 0"),
    case("100 is no answer", get("/a", "Expect: 100-continue", "Content-Length: 2", method="PUT"), (S, b"HTTP/1.1 100 Continue\r\n\r\n"), (C, b"ab"), ok(), expected="PUT /a | 200 0"),
    case("hints come before the answer", get(), (S, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"), ok(b"1"), expected="GET /a | 200 1"),
    case(
        "a body refused before it was sent is left out (417)",
        get("/latest/api/token", "Expect: 100-continue", "Content-Length: 9", method="PUT"), ok(status="417 Expectation Failed"), get("/b"), ok(),
        expected="""PUT /latest/api/token~ | 417 0
                    GET /b | 200 0""",
    ),
    case(
        "a body refused before it was sent comes all the same",
        get("/a", "Expect: 100-continue", "Content-Length: 9", method="PUT"), ok(status="417 Expectation Failed"), (C, b"GET / not"), get("/b"), ok(),
        expected="""PUT /a~ | 417 0
                    GET /b | 200 0""",
    ),
    case("absolute form", get("http://169.254.169.254/latest/api/token", method="PUT"), ok(b"T"), expected="PUT http://169.254.169.254/latest/api/token | 200 1"),
    case("asterisk form", get("*", method="OPTIONS"), ok(), expected="OPTIONS * | 200 0"),
    case("folded lines", (C, b"GET /a HTTP/1.1\r\nX: a\r\n  b\r\n\tc\r\nHost:\r\n x\r\n\r\n"), ok(b"1"), expected="GET /a | 200 1"),
    case("bare LF", (C, b"GET /a HTTP/1.1\nHost: x\n\n"), (S, b"HTTP/1.1 200 OK\nContent-Length: 2\n\nab"), expected="GET /a | 200 2"),
    case("leading empty lines", (C, b"\r\n\r\n\nGET /a HTTP/1.1\r\n\r\n"), (S, b"\r\n" + ok(b"1")[1]), expected="GET /a | 200 1"),
    case("blanks in the request line", (C, b"GET \t /a b  HTTP/1.1 \r\n\r\n"), ok(), expected="GET /a b | 200 0"),
    case("a method of its own", get(method="X-ASK"), ok(), expected="X-ASK /a | 200 0"),
    case("no reason phrase", get(), (S, b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), expected="GET /a | 200 0"),
    case("lines without colon are passed over", (C, b"GET /a HTTP/1.1\r\nnonsense\r\n: x\r\nHost: x\r\n\r\n"), ok(), expected="GET /a | 200 0"),
    case("HTTP/0.9", (C, b"GET /latest/meta-data/\r\n"), (S, b"ami-id\n"), expected="GET /latest/meta-data/ | None 7", ends=True),
    case("an old request, a new answer", (C, b"GET /latest/\r\n"), ok(b"abc"), expected="GET /latest/ | 200 3", ends=True),
    case("lengths that agree", get(), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\nContent-Length: 3\r\n\r\nabc"), expected="GET /a | 200 3"),
    case("chunked wins over a length", get("/a", CHUNKED, "Content-Length: 100", method="POST", body=chunked(b"abc")), ok(), expected="POST /a | 200 0"),
    case("another coding than chunked ends with the connection", get(), (S, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc"), expected="GET /a | 200 3", ends=True),
    # who came first, and what was not seen
    case(
        "the answers stand first in the capture",
        ok(b"1"), ok(b"22", status="401 No"), get("/a"), get("/b", method="HEAD"),
        expected="""GET /a | 200 1
                    HEAD /b | 401 0""",
        ends=True,
    ),
    case("a response without request", ok(b"abc"), expected="- | 200 3", ends=True),
    case("a response without request, late capture", ok(b"abc"), get("/b"), ok(b"1"), expected="- | 200 3\nGET /b | 200 1", late=True),
    case("requests without response", get("/a"), get("/b"), expected="GET /a | -\nGET /b | -", ends=True),
    case("the capture begins inside a request body", (C, b'{"a": 1}\r\nGET /x or so'), get("/b"), ok(b"1"), expected="GET /b | 200 1", late=True),
    case("the capture begins inside a body that ends without a line end", (C, b'{"a": 1}'), get("/b"), ok(), expected="GET /b | 200 0", late=True),
    case("the capture begins inside a response body", (S, b"<p>HTTP/1.1 is</p>\r\nHTTP/2"), ok(b"abc", status="404 No"), get("/b"), ok(b"1"), expected="- | 404 3\nGET /b | 200 1", late=True),
    case("the capture begins inside a head", (C, b"pt: */*\r\nUser-Agent: x/1\r\n\r\n"), get("/b"), ok(), expected="GET /b | 200 0", late=True),
    case("a PROXY preface", (C, b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 80\r\n"), get("/b"), ok(), expected="GET /b | 200 0"),
    case("a SOCKS preface", (C, b"\x05\x01\x00"), (S, b"\x05\x00"), (C, b"\x05\x01\x00\x01\xa9\xfe\xa9\xfe\x00\x50"), (S, b"\x05\x00\x00\x01\x7f\x00\x00\x01\x10\x00"), get("/b"), ok(b"1"), expected="GET /b | 200 1"),
    # cut
    case("cut in the target", (C, b"GET /latest/meta-data/iam/sec"), expected="GET /latest/meta-data/iam/sec…~ | -", ends=True),
    case("cut in the version", (C, b"GET /latest/ HTTP/1"), expected="GET /latest/…~ | -", ends=True),
    case("cut in a CONNECT", (C, b"CONNECT sts.amazonaws.com:4"), expected="CONNECT sts.amazonaws.com:4…~ | -", ends=True),
    case("cut in something else", (C, b"GET elsewhere"), expected="", ends=True),
    case("no such status", get(), (S, b"HTTP/1.1 20x\r\nHTTP/1.1 099 no\r\n"), expected="GET /a | -", ends=True),
    case("a length that is none", get("/a", "Content-Length: x, -1, 1e3", "Host: x"), ok(b"1"), expected="GET /a | 200 1"),
    case("no chunk size", get(), (S, b"HTTP/1.1 200 OK\r\n%s\r\n\r\nzz\r\nabc" % CHUNKED.encode()), expected="GET /a | 200 7~", ends=True),
    case("a chunk longer than it says", get(), (S, b"HTTP/1.1 200 OK\r\n%s\r\n\r\n1\r\nabc\r\n0\r\n\r\n" % CHUNKED.encode()), ok(b"1", status="404 No"), expected="GET /a | 200 10~\n- | 404 1", late=True),
    case("a request in broken chunks", get("/a", CHUNKED, body=b"zz\r\n"), ok(), expected="GET /a~ | 200 0"),
    case("a request behind a broken chunk", get("/a", CHUNKED, body=b"4\r\nhello\r\n0\r\n\r\n" + get("/b", method="PUT")[1]), ok(b"1"), ok(b"22"), expected="GET /a~ | 200 1\nPUT /b | 200 2"),
    case("a request in the place of a chunk size", get("/a", CHUNKED, body=get("/b")[1]), ok(b"1"), ok(b"22"), expected="GET /a~ | 200 1\nGET /b | 200 2"),
    case("a request in the place of a chunk's end", get("/a", CHUNKED, body=b"4\r\nhell" + get("/b")[1]), ok(b"1"), ok(b"22"), expected="GET /a~ | 200 1\nGET /b | 200 2"),
    case("a request in the place of a trailer", get("/a", CHUNKED, body=b"0\r\nX: y\r\n" + get("http://h/b")[1]), ok(b"1"), ok(b"22"), expected="GET /a~ | 200 1\nGET http://h/b | 200 2"),
    case("an answer in the place of a trailer", get("/a"), get("/b"), (S, ok(b"", CHUNKED, counted=False)[1] + b"3\r\nabc\r\n0\r\nX: y\r\n"), ok(b"1"), expected="GET /a | 200 3~\nGET /b | 200 1"),
    case("folded trailers", get(), (S, ok(b"", CHUNKED, counted=False)[1] + chunked(b"abc", trailer=b"X: y\r\n z\r\n\tz\r\n")), expected="GET /a | 200 3"),
    case("a chunk size line that is too long", get("/a", CHUNKED, body=b"3;" + b"x" * 5000 + b"\r\nabc\r\n0\r\n\r\n" + get("/b")[1]), ok(b"1"), ok(b"22"), expected="GET /a~ | 200 1\nGET /b | 200 2"),
    case("cut in a request behind a broken chunk", get("/a", CHUNKED, body=b"0\r\nGET /latest/api/tok"), expected="GET /a~ | -\nGET /latest/api/tok…~ | -", ends=True),
    case("a gap in a request behind a broken chunk", get("/a", CHUNKED, body=b"4\r\nhellGET /latest/api/tok"), Gap(C, 9), (C, b"x\r\n"), get("/b"), expected="GET /a~ | -\nGET /latest/api/tok…~ | -\nGET /b | -", ends=True),
    case("an endless chunk size", get(), (S, b"HTTP/1.1 200 OK\r\n%s\r\n\r\n1;" % CHUNKED.encode() + b"x" * 5000), expected="GET /a | 200 5002~", ends=True),
    case("cut before the target", (C, b"GET "), expected="", ends=True),
    case("cut in the headers", (C, b"GET /a HTTP/1.1\r\nHost: x\r\nX-aws"), expected="GET /a~ | -", ends=True),
    case("cut in the request body", get("/a", "Content-Length: 10", body=b"abc"), expected="GET /a~ | -", ends=True),
    case("cut in the status line", get(), (S, b"HTTP/1.1 20"), expected="GET /a | -", ends=True),
    case("cut in the response head", get(), (S, b"HTTP/1.1 200 OK\r\nServ"), expected="GET /a | 200 0~", ends=True),
    case("cut in the response body", get(), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), expected="GET /a | 200 3~", ends=True),
    case("cut in a chunk", get(), (S, b"HTTP/1.1 200 OK\r\n%s\r\n\r\n8\r\nabc" % CHUNKED.encode()), expected="GET /a | 200 3~", ends=True),
    case("a connection that never was HTTP", (C, b"EHLO there\r\n"), (S, b"220 mail\r\n"), expected="", ends=True),
    # gaps
    case("a gap inside a counted body counts", get(), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), Gap(S, 4), (S, b"xyz"), expected="GET /a | 200 10"),
    case("a gap to the end of a counted body", get(), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), Gap(S, 7), expected="GET /a | 200 10"),
    case("a gap over the end of a counted body", get(), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), Gap(S, 9), (S, b"ct: x\r\n\r\n"), get("/b"), ok(b"1"), expected="GET /a | 200 10\nGET /b | 200 1"),
    case("a gap inside a chunk counts", get(), (S, b"HTTP/1.1 200 OK\r\n%s\r\n\r\n8\r\nabc" % CHUNKED.encode()), Gap(S, 5), (S, b"\r\n0\r\n\r\n"), expected="GET /a | 200 8"),
    case("a gap over chunk borders", get(), (S, b"HTTP/1.1 200 OK\r\n%s\r\n\r\n8\r\nabc" % CHUNKED.encode()), Gap(S, 9), (S, b"x\r\n0\r\n\r\n"), ok(b"1", status="404 No"), expected="GET /a | 200 16~\n- | 404 1", late=True),
    case("a gap in the request head", (C, b"GET /a HTTP/1.1\r\nHost: x\r\nUse"), Gap(C, 20), (C, b"gent: x\r\n\r\n"), ok(b"1"), expected="GET /a~ | 200 1"),
    case("a gap in the request line", (C, b"GET /latest/me"), Gap(C, 20), (C, b"x HTTP/1.1\r\nHost: x\r\n\r\n"), ok(b"1"), expected="GET /latest/me…~ | 200 1"),
    case("a gap in the response head", get(), (S, b"HTTP/1.1 200 OK\r\nServ"), Gap(S, 30), (S, b"h: 3\r\n\r\nabc"), expected="GET /a | 200 11~", ends=True),
    case("a gap where the response head was", get(), Gap(S, 100), (S, b"abc"), expected="GET /a | None 3~", ends=True),
    case("a whole response is missing", get("/a"), Gap(S, 100), get("/b"), ok(b"1"), expected="GET /a | -\nGET /b | 200 1"),
    case("a whole request is missing", get("/a"), ok(b"1"), Gap(C, 80), ok(b"22"), get("/c"), ok(b"333"), expected="GET /a | 200 1\n- | 200 2\nGET /c | 200 3", late=True),
    case("a gap in a body that ends with the connection", get(), ok(b"abc", counted=False), Gap(S, 5), (S, b"de"), expected="GET /a | 200 10~", ends=True),
    case("a gap in a request body", get("/a", "Content-Length: 10", body=b"abc"), Gap(C, 7), ok(), expected="GET /a | 200 0"),
]  # fmt: skip

CREDENTIALS = (
    b'{\n  "Code" : "Success",\n  "LastUpdated" : "2026-11-22T00:00:00Z",\n  "Type" : "AWS-HMAC",\n'
    b'  "AccessKeyId" : "ASIAQNZGKIQY56JQ7WML",\n'
    b'  "SecretAccessKey" : "FAKE/SECRET/NOT/REAL/FAKE/SECRET/NOTREAL",\n'
    b'  "Token" : "FAKE-SESSION-TOKEN-NOT-REAL",\n  "Expiration" : "2026-11-22T06:00:00Z"\n}'
)
ROLE_PATH = "/latest/meta-data/iam/security-credentials/h6-fake-role"
SECRETS = ("FAKE/SECRET", "NOTREAL", "FAKE-SESSION", "NOT-REAL")

_deflater = zlib.compressobj(wbits=-15)
BODIES = {
    "plain": ok(CREDENTIALS),
    "until close": ok(CREDENTIALS, counted=False),
    "chunked": (S, ok(b"", CHUNKED, counted=False)[1] + chunked(CREDENTIALS[:99], CREDENTIALS[99:])),
    "gzip": ok(gzip.compress(CREDENTIALS), "Content-Encoding: gzip"),
    "x-gzip in chunks": (
        S,
        ok(b"", "Content-Encoding: x-gzip", CHUNKED, counted=False)[1] + chunked(gzip.compress(CREDENTIALS)),
    ),
    "deflate with zlib header": ok(zlib.compress(CREDENTIALS), "Content-Encoding: deflate"),
    "deflate without": ok(_deflater.compress(CREDENTIALS) + _deflater.flush(), "Content-Encoding: deflate"),
    "two codings": ok(zlib.compress(gzip.compress(CREDENTIALS)), "Content-Encoding: gzip, deflate"),
    "gzip as transfer coding": (
        S,
        ok(b"", "Transfer-Encoding: gzip, chunked", counted=False)[1] + chunked(gzip.compress(CREDENTIALS)),
    ),
}
