"""Who else is on the network: a forward proxy that everybody uses, and an intranet page that only writes about IMDS.

Both are made in a namespace of the lab and stay there: what they connect to is in the lab, too.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from imdswatch.lab.enclosure import Namespace
from imdswatch.lab.network import ENDPOINT
from imdswatch.lab.server import listen, parse

_PATIENCE = 3.0
_LONGEST = 1 << 16
_PAGE = (
    b"<html><h1>How the metadata service works</h1><pre>curl http://169.254.169.254/latest/meta-data/iam/\n"
    b"PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 21600\n"
    b'{"Code" : "Success", "AccessKeyId" : "ASIAEXAMPLEEXAMPLE00"}</pre></html>'
)
_BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nVia: 1.1 lab\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def proxy(space: Namespace, address: str, port: int) -> Callable[[], None]:
    """Start a forward proxy in the namespace that the calling thread is in; returns what ends it.

    It takes requests in absolute form, one a connection, and passes them on to where they are meant for.
    """
    return _serve(listen(address, port, space), _forward)


def page(space: Namespace, address: str, port: int) -> Callable[[], None]:
    """Start the intranet page in the namespace that the calling thread is in; returns what ends it."""
    return _serve(listen(address, port, space), _read_page)


def _serve(server: socket.socket, answer: Callable[[bytes], bytes]) -> Callable[[], None]:
    def run() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client, suppress(OSError):
                client.settimeout(_PATIENCE)
                if head := _head(client):
                    client.sendall(answer(head))

    threading.Thread(target=run, daemon=True).start()  # it inherits the namespace

    def end() -> None:
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()

    return end


def _head(client: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found and len(found) < _LONGEST:
        more = client.recv(_LONGEST)
        if not more:
            return b""
        found += more
    return found


def _read_page(_: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(_PAGE)}\r\nConnection: close\r\n\r\n"
    return head.encode() + _PAGE


def _forward(octets: bytes) -> bytes:
    request = parse(octets.partition(b"\r\n\r\n")[0])
    if request is None or not request.target.startswith(f"http://{ENDPOINT}/"):
        return _BAD_GATEWAY  # the lab has no other server that a proxy is for
    path = request.target.removeprefix(f"http://{ENDPOINT}")
    kept = "".join(
        f"{name}: {text}\r\n"
        for name, text in request.headers.items()
        if name not in ("connection", "proxy-connection")
    )
    try:
        with socket.create_connection((ENDPOINT, 80), _PATIENCE) as server:
            server.sendall(
                f"{request.method} {path} HTTP/1.1\r\n{kept}Connection: close\r\n\r\n".encode("latin-1")
            )
            found = b""
            while more := server.recv(_LONGEST):
                found += more
    except OSError:
        return _BAD_GATEWAY
    head, _, body = found.partition(b"\r\n\r\n")
    return head + b"\r\nVia: 1.1 lab\r\n\r\n" + body
