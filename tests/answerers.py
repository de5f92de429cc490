"""Simulated answerers on loopback: what may stand at the endpoint, from the real service to an endless body.

Servers listen on 127.0.0.1 with a port of their own choice, and close when their block ends. Credentials are visibly
fake; identity documents and signatures are the published vectors in tests/data/identity. `answerer_cases` says which
verdict each deserves.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from imdswatch.probe.link import Ear, Interface, Link
from imdswatch.probe.machine import Machine

VECTORS = Path(__file__).parent / "data" / "identity"
GENUINE = VECTORS / "npm-2026-apse2"
INSTANCE, ADDRESS, ACCOUNT = "i-0c5541936caf78c12", "10.0.1.242", "189292791360"
STRANGER = "029608264753"
SECRET = "FAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKE"
TOKEN = "AQAAAFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFake=="
SESSION = "IQoJFakeSessionTokenFakeSessionTokenFakeSessionTokenFake"

ON_EC2 = Machine(
    dmi={"sys_vendor": "Amazon EC2", "product_name": "t4g.small", "board_asset_tag": INSTANCE},
    addresses=frozenset({ADDRESS, "127.0.0.1"}),
)
ON_XEN = Machine(
    dmi={"sys_vendor": "Xen", "product_uuid": "ec2e1916-9099-7caf-fd21-012345abcdef"},
    addresses=frozenset({ADDRESS}),
)
ON_DELL = Machine(
    dmi={"sys_vendor": "Dell Inc.", "product_name": "PowerEdge R740"},
    addresses=frozenset({"10.20.0.7", "127.0.0.1"}),
)
ON_AZURE = Machine(
    dmi={"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"},
    addresses=frozenset({"10.1.0.4"}),
)
ON_UNKNOWN = Machine(addresses=frozenset({"10.20.0.7"}))
REMOTE = Link(interface="eth0", source="10.20.0.7", gateway="10.20.0.1", mac="3c:ec:ef:00:00:01")
LOCAL = Link(is_local=True, interface="lo", source="127.0.0.1")


def key_id(account: str, prefix: str = "ASIA") -> str:
    """Return a made-up access key id of an account (the inverse of `imdswatch.account`)."""
    number = (1 << 47) | (int(account) << 7)
    return prefix + base64.b32encode(number.to_bytes(6) + b"FAKE").decode()


@dataclass(frozen=True)
class Links:
    """A network that is told, not looked up: every address is reached by one link."""

    way: Link = REMOTE
    up: tuple[Interface, ...] = ()

    def interfaces(self) -> tuple[Interface, ...]:
        return self.up

    def addresses(self) -> frozenset[str]:
        return frozenset()

    def link(self, host: str, interface: str | None) -> Link:
        return replace(self.way, interface=interface or self.way.interface)

    @contextmanager
    def listen(self, host: str, interface: str) -> Iterator[Ear]:
        yield Ear()


# HTTP answerers


@dataclass(frozen=True)
class Imds:
    """A service like EC2's; the defaults are the real one's behaviour with IMDSv2 only (EC2 User Guide)."""

    v1: bool = False
    v2: bool = True
    hop_limit: bool = False
    ttl_header: bool = True
    role: str | None = "app"
    account: str = ACCOUNT
    key: str = ""
    profile_account: str = ""
    refusals: bool = True
    identity: Mapping[str, bytes] = field(
        default_factory=lambda: {
            "document": (GENUINE / "document.json").read_bytes(),
            "rsa2048": (GENUINE / "rsa2048.b64").read_bytes(),
            "signature": (GENUINE / "signature.b64").read_bytes(),
        }
    )
    instance: str = INSTANCE
    extra: Mapping[str, bytes] = field(default_factory=dict)

    def answer(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes] | None:
        """Return status, headers and body; None: no answer at all."""
        if path == "/latest/api/token" and self.v2:
            if method != "PUT":
                return (405, {"Allow": "OPTIONS, PUT"}, b"") if self.refusals else (404, {}, b"")
            if self.hop_limit:
                return None
            ttl = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
            if self.refusals and "x-forwarded-for" in headers:
                return 403, {}, b""
            if self.refusals and not (ttl.isdigit() and 1 <= int(ttl) <= 21600):
                return 400, {}, b""
            return (
                200,
                {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": ttl} if self.ttl_header else {},
                TOKEN.encode(),
            )
        if method != "GET":
            return 404, {}, b""
        if not self.v1 and headers.get("x-aws-ec2-metadata-token") != TOKEN:
            return 401, {"Content-Type": "text/html"}, b"<html><title>401 - Unauthorized</title></html>"
        body = self.tree().get(path)
        return (
            (404, {}, b"") if body is None else (200, {"Content-Type": "text/plain", "Server": "EC2ws"}, body)
        )

    def tree(self) -> dict[str, bytes]:
        tree = {
            "/latest/meta-data/": b"ami-id\niam/\ninstance-id",
            "/latest/meta-data/instance-id": self.instance.encode(),
        }
        tree |= {f"/latest/dynamic/instance-identity/{name}": body for name, body in self.identity.items()}
        if self.role is not None:
            roles = "/latest/meta-data/iam/security-credentials/"
            arn = f"arn:aws:iam::{self.profile_account or self.account}:instance-profile/{self.role}"
            tree[roles] = self.role.encode()
            tree[roles + self.role] = credentials(self.key or key_id(self.account))
            tree["/latest/meta-data/iam/info"] = json.dumps(
                {"Code": "Success", "InstanceProfileArn": arn}
            ).encode()
        return tree | dict(self.extra)


def credentials(key: str) -> bytes:
    document = {
        "Code": "Success",
        "LastUpdated": "2026-11-22T01:00:00Z",
        "Type": "AWS-HMAC",
        "AccessKeyId": key,
        "SecretAccessKey": SECRET,
        "Token": SESSION,
        "Expiration": "2036-11-22T07:00:00Z",
    }
    return json.dumps(document).encode()


@dataclass(frozen=True)
class Pages:
    """Another service: GET paths and their bodies, headers that a request needs, and headers of every answer."""

    pages: Mapping[str, bytes]
    need: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    otherwise: int = 404
    put: int = 405
    anything: bytes | None = None

    def answer(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes] | None:
        if method == "PUT" and self.anything is None:
            return self.put, self.headers, b""
        body = self.pages.get(path, self.anything)
        if body is None:
            return self.otherwise, self.headers, b""
        if any(headers.get(name.lower()) != value for name, value in self.need.items()):
            return 400, self.headers, b""
        return 200, self.headers, body


Http = Imds | Pages


@contextmanager
def http(service: Http, seen: list[str] | None = None) -> Iterator[int]:
    """Serve until the block ends; gives the port. `seen` collects the request lines."""

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            if seen is not None:
                seen.append(self.requestline)
            path = self.path.partition("?")[0]
            found = service.answer(
                self.command, path, {name.lower(): value for name, value in self.headers.items()}
            )
            if found is None:
                time.sleep(1.5)
                self.close_connection = True
                return
            status, headers, body = found
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = reply

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # the probe went away, as it should

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


# Answerers below HTTP


def silent(connection: socket.socket) -> None:
    connection.settimeout(3)
    while connection.recv(4096):
        pass


def hasty(connection: socket.socket) -> None:
    connection.recv(4096)


def garbage(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"\x00\xff\x07SSH? no\x1b[2J" * 40 + b"\r\n\r\n")


def drip(connection: socket.socket) -> None:
    """Slow-loris: an honest beginning, an octet now and then, never an end."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Wait: ")
    for _ in range(200):
        time.sleep(0.05)
        connection.sendall(b"x")


def endless(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        connection.sendall(b"<p>more" * 4096)


def endless_head(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: and more\r\n" * 400)


def continues(connection: socket.socket) -> None:
    connection.recv(4096)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def many_chunks(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"fffffff\r\n" + b"x" * 4096)


def tls(connection: socket.socket) -> None:
    """A TLS server without a certificate: it answers plain HTTP with an alert."""
    with contextlib.suppress(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_socket(connection, server_side=True)


Low = Callable[[socket.socket], None]


@contextmanager
def low(behave: Low) -> Iterator[int]:
    """Serve connections one thread each until the block ends; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            behave(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@contextmanager
def nothing() -> Iterator[int]:
    """A port where nothing listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
