"""An impostor frames its answer as no server should, and as some client of AWS still reads it: nothing is hidden so.

Each case is a response whose body at least one real client takes: Python's http.client (botocore), Java's
HttpURLConnection, Go's net/http, or any client that passes over a coding that it does not know.
"""

from __future__ import annotations

import pytest

from dialogue_cases import KEY, ROLES, credentials, finding_of, request, response
from frames import Talk
from imdswatch.wire.http1_message import status_line

BODY = credentials().encode()
LENGTH = f"Content-Length: {len(BODY)}"


def said(*headers: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([status, *headers, "", ""]).encode() + BODY


LIES = {
    "unknown transfer coding": said(LENGTH, "Transfer-Encoding: xchunked"),
    "identity as a transfer coding": said(LENGTH, "Transfer-Encoding: identity"),
    "length 0, then the real one": said("Content-Length: 0", LENGTH),
    "the real length, then 0": said(LENGTH, "Content-Length: 0"),
    "unknown content coding": said(LENGTH, "Content-Encoding: aws"),
    "gzip, but it is none": said(LENGTH, "Content-Encoding: gzip"),
    "five codings": said(LENGTH, "Content-Encoding: x, x, x, x, x"),
    "version 0.9 with header lines": said(LENGTH, status="HTTP/0.9 200 OK"),
    "version 1.10": said(LENGTH, status="HTTP/1.10 200 OK"),
    "version 2.0": said(LENGTH, status="HTTP/2.0 200 OK"),
    "status 0200": said(LENGTH, status="HTTP/1.1 0200 OK"),
    "status +2_00": said(LENGTH, status="HTTP/1.1 +2_00 OK"),
}


@pytest.mark.parametrize("name", LIES)
def test_credentials_are_seen_however_they_are_framed(name: str) -> None:
    talk = Talk().handshake().ask(request("GET", ROLES + "role"), LIES[name]).close()
    found = finding_of(talk.frames())
    assert (found.stage, found.confidence) == ("credentials-served", "high")
    assert found.account["access_key_id"] == KEY


@pytest.mark.parametrize("name", ["unknown transfer coding", "length 0, then the real one"])
def test_what_follows_such_an_answer_is_no_part_of_it(name: str) -> None:
    talk = Talk().handshake()
    talk.ask(request("GET", "/latest/meta-data/"), LIES[name].replace(BODY, b"x" * len(BODY)))
    talk.ask(request("GET", ROLES + "role"), response(BODY)).close()
    found = finding_of(talk.frames())
    assert (found.stage, found.account["access_key_id"]) == ("credentials-served", KEY)


@pytest.mark.parametrize("name", ["unknown content coding", "unknown transfer coding"])
def test_a_body_that_nobody_can_read_excludes_nothing(name: str) -> None:
    octets = LIES[name].replace(BODY, bytes(range(128, 228)) + bytes(len(BODY) - 100))
    found = finding_of(Talk().handshake().ask(request("GET", ROLES + "role"), octets).close().frames())
    assert (found.stage, found.confidence) == ("credentials-served", "medium")


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 20\r\n", b"HTTP/1.1 2000 x\r\n", b"HTTP/1.1 099\r\n", b"HTTP/ 200\r\n"]
)
def test_a_line_without_a_version_or_a_status_is_no_status_line(line: bytes) -> None:
    assert status_line(line, None) is None
