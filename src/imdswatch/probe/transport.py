"""One HTTP exchange over a socket of its own: bounded in octets and time, no redirect followed, no proxy unasked.

`Transport` is what tests put in its place. An exchange never raises for what the other side does: it gives a `Raw`
with what came, or why nothing did. The clock runs from the first SYN to the last octet, so an answer that drips
(slow-loris) ends with it, and so does one without end.
"""

from __future__ import annotations

import errno
import io
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Literal, Protocol, cast

from imdswatch.probe.target import Target

MOST_OCTETS = 1 << 16
"""Octets of one answer, head included; the longest honest one (user-data is not asked) has some thousand."""

Failure = Literal[
    "refused",  # a RST for the SYN
    "unreachable",  # no route, or an ICMP error
    "no-answer",  # not even a SYN-ACK in time
    "not-permitted",  # this host does not let us (firewall, interface binding)
    "no-name",  # the name of a custom endpoint has no address
    "silent",  # connected, and not one octet in time
    "slow",  # octets, but no whole head in time
    "cut",  # closed or reset before a whole head
    "tls",  # TLS where plain HTTP was asked
    "garbage",  # octets that are no HTTP
]
NEVER_CONNECTED = frozenset({"refused", "unreachable", "no-answer", "not-permitted", "no-name"})


@dataclass(frozen=True, slots=True)
class Request:
    """What to send; `headers` may hold a token, so a request is never shown."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Raw:
    """What came back. `body` may hold secrets: `ask` reads it and lets it go."""

    failure: Failure | None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    whole: bool = True
    local: str | None = None
    peer: str | None = None


class Transport(Protocol):
    """Something that can carry one request to a target and its answer back, within some seconds."""

    def exchange(self, target: Target, request: Request, seconds: float) -> Raw: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Sockets:
    """The transport of real life. `proxy`: host and port of an HTTP proxy, only where the user wants one."""

    proxy: tuple[str, int] | None = None

    def exchange(self, target: Target, request: Request, seconds: float) -> Raw:
        """Connect, ask, read what fits into the bounds, close."""
        until = time.monotonic() + seconds
        try:
            connection = _connect(self.proxy or (target.host, target.port), target.interface, until)
        except OSError as error:
            return Raw(_why(error))
        with connection:
            local, peer = connection.getsockname()[0], connection.getpeername()[0]
            source = _Bounded(connection, until)
            try:
                connection.settimeout(_left(until))
                connection.sendall(_octets(target, request, absolute=self.proxy is not None))
                return _answer(source, request.method, local, peer)
            except TimeoutError:
                return Raw("slow" if source.taken else "silent", local=local, peer=peer)
            except (HTTPException, ValueError):
                failure: Failure = "tls" if source.looks_like_tls else "garbage" if source.taken else "cut"
                return Raw(failure, local=local, peer=peer)
            except OSError:
                return Raw("tls" if source.looks_like_tls else "cut", local=local, peer=peer)


def _connect(where: tuple[str, int], interface: str | None, until: float) -> socket.socket:
    kind = socket.SOCK_STREAM
    family, _, proto, _, place = socket.getaddrinfo(where[0], where[1], type=kind)[0]
    connection = socket.socket(family, kind, proto)
    try:
        if interface is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        connection.settimeout(_left(until))
        connection.connect(place)
    except OSError:
        connection.close()
        raise
    return connection


def _why(error: OSError) -> Failure:
    if isinstance(error, socket.gaierror):
        return "no-name"
    if isinstance(error, TimeoutError):
        return "no-answer"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, PermissionError) or error.errno == errno.ENODEV:
        return "not-permitted"
    return "unreachable"


def _octets(target: Target, request: Request, *, absolute: bool) -> bytes:
    path = target.prefix + request.path
    lines = [
        f"{request.method} {f'http://{target.authority}' if absolute else ''}{path} HTTP/1.1",
        f"Host: {target.authority}",
        "Accept: */*",
        *(f"{name}: {value}" for name, value in request.headers.items()),
        *(["Content-Length: 0"] if request.method == "PUT" else []),
        "Connection: close",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _answer(source: _Bounded, method: str, local: str, peer: str) -> Raw:
    """Read head and body; a body that is cut, or too long, is what came of it."""
    response = HTTPResponse(cast("socket.socket", source), method=method)
    response.begin()
    # Of a name that stands twice the first counts; names are lower case from here on.
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        headers.setdefault(name.lower(), value)
    body, whole = b"", True
    try:
        while piece := response.read1(1 << 14):
            body += piece
    except (HTTPException, OSError, ValueError):
        whole = False
    whole = whole and not source.full and not response.length
    return Raw(None, response.status, headers, body, whole, local, peer)


def _left(until: float) -> float:
    """Return the seconds left, never zero: that would mean a socket that does not wait."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Bounded(io.RawIOBase):
    """The octets of a connection up to `MOST_OCTETS`, read before a moment in time; a socket for http.client."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection, self._until = connection, until
        self.taken = 0
        self._first = b""

    @property
    def full(self) -> bool:
        return self.taken >= MOST_OCTETS

    @property
    def looks_like_tls(self) -> bool:
        """Whether the first octets are a TLS record: an alert or a handshake, version 3.x (RFC 8446 5.1)."""
        return len(self._first) > 1 and self._first[0] in (0x15, 0x16) and self._first[1] == 0x03

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        room = min(len(view), MOST_OCTETS - self.taken)
        if room <= 0:
            return 0
        self._connection.settimeout(_left(self._until))
        count = self._connection.recv_into(view[:room])
        self._first = (self._first + bytes(view[: min(count, 2)]))[:2]
        self.taken += count
        return count
