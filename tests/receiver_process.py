"""A receiver that stores before it confirms, as a process of its own: to be killed at any moment and started again.

    python receiver_process.py webhook|syslog PORT STORE [CERTIFICATE]

Each result becomes a line of STORE, on the disk (fsync) before the receiver confirms: with status 204, or with the TLS
close_notify that ends the connection. A torn line of an earlier life is cut off, as any receiver that keeps its promise
would do.
"""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import ssl
import sys
import threading
from pathlib import Path

from receivers import parse_syslog, read_all, unframed


class Store:
    def __init__(self, path: Path) -> None:
        self._handle, self._lock = (
            os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600),
            threading.Lock(),
        )
        data = path.read_bytes()
        os.ftruncate(self._handle, data.rfind(b"\n") + 1)

    def add(self, results: list[dict[str, object]]) -> None:
        data = b"".join(json.dumps(one).encode() + b"\n" for one in results)
        with self._lock:
            assert os.write(self._handle, data) == len(data)
            os.fsync(self._handle)


def main(kind: str, port: str, store: str, certificate: str = "") -> None:
    kept = Store(Path(store))

    class Webhook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            kept.add([{"id": one["id"], "result": one["result"]} for one in body["data"]])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Syslog(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            with context.wrap_socket(self.request, server_side=True) as secure:
                messages = [parse_syslog(one) for one in unframed(read_all(secure))]
                kept.add([{"id": one.data["id"], "result": json.loads(one.text)} for one in messages])
                secure.unwrap()

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer.daemon_threads = True
    if kind == "webhook":
        server: socketserver.BaseServer = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Webhook)
    else:
        server = socketserver.ThreadingTCPServer(("127.0.0.1", int(port)), Syslog)
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
