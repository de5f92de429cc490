"""Receivers of deliveries, good and bad, on this machine; they know nothing of the code that delivers.

Syslog is parsed by its grammar here (RFC 5424 and octet counting), HTTP by the standard library, and certificates come
from a test authority made by `cryptography`.
"""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import random
import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HEADER = re.compile(
    rb"<(\d{1,3})>1 (\S+) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) "
    rb'(\[[!-~]+?(?: [!-~]+?="(?:[^"\\\]]|\\["\\\]])*")*\]) (.*)',
    re.DOTALL,
)
_PARAMETER = re.compile(rb' ([!-~]+?)="((?:[^"\\\]]|\\["\\\]])*)"')


@dataclass(frozen=True)
class Syslog:
    """One message, taken apart."""

    priority: int
    timestamp: str
    hostname: str
    application: str
    kind: str
    data: dict[str, str]
    text: bytes


def parse_syslog(octets: bytes) -> Syslog:
    found = _HEADER.fullmatch(octets)
    assert found is not None, octets
    data = {
        name.decode(): re.sub(r'\\(["\\\]])', r"\1", value.decode())
        for name, value in _PARAMETER.findall(found[7])
    }
    return Syslog(
        int(found[1]),
        found[2].decode(),
        found[3].decode(),
        found[4].decode(),
        found[6].decode(),
        data,
        found[8],
    )


def unframed(stream: bytes) -> Iterator[bytes]:
    """Yield the whole messages of a stream with octet counting; what is cut short at its end is left out."""
    at = 0
    while at < len(stream):
        space = stream.find(b" ", at, at + 12)
        if space < 0:
            assert stream[at:].isdigit(), stream[at : at + 40]
            return
        length = int(stream[at:space])
        if space + 1 + length > len(stream):
            return
        yield stream[space + 1 : space + 1 + length]
        at = space + 1 + length


@dataclass
class Certificates:
    """A test authority, a server's certificate for localhost and 127.0.0.1, and a client's."""

    authority: Path
    server: Path
    client: Path
    other_authority: Path
    folder: Path = field(repr=False)

    def server_context(self, *, asks_client: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        if asks_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.authority)
        return context


def make_certificates(folder: Path, *hosts: str) -> Certificates:
    """Write an authority, another one, and the server's (also for `hosts`) and the client's certificates."""
    authority = _authority("imdswatch test authority")
    other = _authority("another authority")
    _write(folder / "ca.pem", authority[1])
    _write(folder / "other.pem", other[1])
    names = [*map(x509.DNSName, ("localhost", *hosts)), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    for name in ("server", "client"):
        key, certificate = _signed(name, authority, names)
        _write(folder / f"{name}.pem", certificate, key)
    return Certificates(
        *(folder / f"{name}.pem" for name in ("ca", "server", "client", "other")), folder=folder
    )


Pair = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def _authority(name: str) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, name, key).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    return key, builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())


def _signed(name: str, authority: Pair, names: list[x509.GeneralName]) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority[1].subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    builder = _builder(name, str(issuer), key).add_extension(
        x509.SubjectAlternativeName(names), critical=False
    )
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority[0].public_key())
    builder = builder.add_extension(above, critical=False)
    return key, builder.sign(authority[0], hashes.SHA256())


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _write(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None = None) -> None:
    text = certificate.public_bytes(serialization.Encoding.PEM)
    if key is not None:
        text += key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    path.write_bytes(text)


# Streams and datagrams


def free_port() -> int:
    """Return a port for a receiver that is not always there.

    It lies below those that the kernel gives to who connects: else somebody could get it meanwhile, even the sender,
    whose connection would be to itself.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    for port in random.sample(range(first // 2, first), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class _Threaded(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # broken connections are what some tests make


@contextmanager
def stream(handle: Callable[[socket.socket], None], port: int = 0) -> Iterator[int]:
    """Serve TCP connections with a function, and yield the port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            handle(self.request)

    with _Threaded(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def read_all(connection: socket.socket) -> bytes:
    data = b""
    while octets := connection.recv(65536):
        data += octets
    return data


@contextmanager
def datagrams() -> Iterator[tuple[int, list[bytes]]]:
    got: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.05)
        ended = threading.Event()

        def read() -> None:
            while not ended.is_set():
                try:
                    got.append(server.recv(65536))
                except TimeoutError:
                    continue

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        yield server.getsockname()[1], got
        ended.set()
        thread.join()


# Webhooks


@dataclass
class Post:
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Post], tuple[int, dict[str, str]]]


@contextmanager
def webhook(
    answer: Answer, context: ssl.SSLContext | None = None, port: int = 0
) -> Iterator[tuple[int, list[Post]]]:
    """Serve POST requests, and yield the port and what came."""
    got: list[Post] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            post = Post(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            got.append(post)
            status, headers = answer(post)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    with Server(("127.0.0.1", port), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.server_address[1], got
        server.shutdown()
