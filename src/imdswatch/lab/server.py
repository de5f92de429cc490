"""The simulated IMDS on sockets: `listen` opens them on loopback only, `Server` answers on them until it is closed.

A thread for each connection, at most `_CONNECTIONS`; a request may have 64 KiB and ten seconds. Whatever arrives, the
server goes on. Every request is told to `heard`, without tokens or header values that nobody needs.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from imdswatch.errors import UsageError
from imdswatch.lab.imds import Request, Response, Service
from imdswatch.redact import redact

_CONNECTIONS = 64
_LONGEST = 1 << 16
_PATIENCE = 10.0


class Namespace(Protocol):
    """A network namespace that the lab made: it knows whether the calling thread is in it."""

    def entered(self) -> bool:
        """Say whether the calling thread is in it now."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One request that was answered. `token`: none, valid, invalid or expired; never the token itself."""

    time: float
    client: tuple[str, int]
    server: tuple[str, int]
    method: str
    target: str
    host: str
    user_agent: str
    status: int
    token: str


def listen(address: str, port: int, namespace: Namespace | None = None) -> socket.socket:
    """Return a socket that listens; raises UsageError for an address that others could reach.

    `namespace`: one that the lab made and that the calling thread is in; only there any address will do.
    """
    try:
        number = ipaddress.ip_address(address)
    except ValueError:
        raise UsageError(f"`{address}` is no IP address", help="such as 127.0.0.1 or ::1") from None
    inside = namespace is not None and namespace.entered()
    if not number.is_loopback and not inside:
        raise UsageError(
            f"will not serve at {address}: others could take this for their metadata service",
            help="loopback addresses only; `imdswatch lab run` has the attack itself, where nobody is reached",
        )
    family = socket.AF_INET6 if number.version == 6 else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(_CONNECTIONS)
    except OSError as error:
        server.close()
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot listen at {address} port {port}: {why}") from error
    return server


class Server:
    """Answers on sockets from the moment it is made, until `close`."""

    def __init__(
        self, service: Service, sockets: Sequence[socket.socket], heard: Callable[[Heard], None]
    ) -> None:
        self._service, self._heard = service, heard
        self._lock = threading.Lock()  # the service and its listener are used by many threads
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        self._closed = threading.Event()
        self._sockets = tuple(sockets)
        self._open: set[socket.socket] = set()
        for one in self._sockets:
            threading.Thread(target=self._accept, args=(one,), daemon=True).start()

    def close(self) -> None:
        """Stop listening, and cut what is open."""
        self._closed.set()
        with self._lock:
            ending = [*self._sockets, *self._open]
        for one in ending:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
        for one in self._sockets:
            one.close()

    def _accept(self, server: socket.socket) -> None:
        while True:
            self._room.acquire()
            try:
                client, _ = server.accept()
            except OSError:
                self._room.release()
                if self._closed.wait(0.05):  # else we are out of descriptors, say: others will be closed
                    return
                continue
            with self._lock:
                self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, suppress(OSError):
                client.settimeout(_PATIENCE)
                self._talk(client)
        finally:
            with self._lock:
                self._open.discard(client)
            self._room.release()

    def _talk(self, client: socket.socket) -> None:
        peer, here = client.getpeername()[:2], client.getsockname()[:2]
        pending, ends = b"", time.monotonic() + _PATIENCE
        while True:
            while b"\r\n\r\n" not in pending:
                more = client.recv(_LONGEST)
                if not more or len(pending) + len(more) > _LONGEST or time.monotonic() > ends:
                    return
                pending += more
            head, _, pending = pending.partition(b"\r\n\r\n")
            request = parse(head)
            length = _length(request.headers) if request is not None else None
            if request is None or length is None:
                self._send(client, self._refuse(), "GET")
                return
            while len(pending) < length:
                more = client.recv(_LONGEST)
                if not more or time.monotonic() > ends:
                    return
                pending += more
            pending = pending[length:]
            now = time.time()
            with self._lock:
                response = self._service.answer(request, now)
                self._heard(
                    Heard(
                        now,
                        peer,
                        here,
                        request.method,
                        redact(request.target),
                        redact(request.headers.get("host", "")),
                        redact(request.headers.get("user-agent", "")),
                        response.status,
                        response.token,
                    )
                )
            self._send(client, response, request.method)
            if response.close:
                return
            ends = time.monotonic() + _PATIENCE

    def _refuse(self) -> Response:
        head = b"HTTP/1.0 400 Bad Request\r\nContent-Length: 0\r\nServer: EC2ws\r\nConnection: close\r\n\r\n"
        return Response(400, head, b"", close=True)

    def _send(self, client: socket.socket, response: Response, method: str) -> None:
        level, name = (
            (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
            if client.family == socket.AF_INET6
            else (socket.IPPROTO_IP, socket.IP_TTL)
        )
        # -1 is the system's own. It is set with the next answer, not after this one, which may have to be sent again.
        client.setsockopt(level, name, response.hop_limit or -1)
        client.sendall(response.octets(method))


def parse(head: bytes) -> Request | None:
    """Return the request that a head holds, or None if it is none; of headers that stand twice the first counts."""
    first, *lines = head.decode("latin-1").lstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[0].isalpha() or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return None
        headers.setdefault(name.lower(), value.strip())
    wish = headers.get("connection", "").lower()
    close = "close" in wish or (words[2] == "HTTP/1.0" and "keep-alive" not in wish)
    return Request(words[0], words[1], headers, close)


def _length(headers: Mapping[str, str]) -> int | None:
    """Return how many octets of body follow; None where that cannot be told or is too much."""
    text = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not (text.isascii() and text.isdigit() and len(text) < 6):
        return None
    return int(text) if int(text) <= _LONGEST else None
