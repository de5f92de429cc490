"""The status of a watch for Prometheus: its text format, served on an address or written to a file.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4). It is a dozen lines to write,
so nothing is depended on for it. The server answers from the last status and never touches the watch itself; it takes
one client at a time, each for two seconds at most, so that nobody can hold it or fill memory.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from imdswatch.errors import UsageError
from imdswatch.watch.status import Status

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PATIENCE = 2.0


def exposition(status: Status) -> str:
    """Return the status in Prometheus' text format; pure."""
    return "".join(f"{line}\n" for line in _lines(status))


def _lines(status: Status) -> Iterator[str]:
    feeds = [({"feed": feed.name}, feed.counts) for feed in status.feeds]
    yield from _metric("imdswatch_start_time_seconds", "gauge", "When the watch began.", [({}, status.began)])
    yield from _metric(
        "imdswatch_status_time_seconds", "gauge", "When these figures were taken.", [({}, status.at)]
    )
    for name, kind, text in (
        ("records_total", "counter", "Packets of an interface, lines of a log."),
        ("bytes_total", "counter", "Octets that were looked at."),
        ("drops_total", "counter", "Records that were lost before anybody could look at them."),
        ("events_total", "counter", "Records that were judged by the rules."),
        ("lag_bytes", "gauge", "Octets that are there and were not read yet."),
    ):
        field = name.removesuffix("_total").removesuffix("_bytes")
        rows: list[tuple[dict[str, str], float]] = [
            (labels, getattr(counts, field)) for labels, counts in feeds
        ]
        yield from _metric(f"imdswatch_{name}", kind, text, rows)
    times = [(labels, counts.last_time) for labels, counts in feeds if counts.last_time is not None]
    yield from _metric(
        "imdswatch_last_record_time_seconds", "gauge", "The newest time in a judged record.", times
    )
    stages: list[tuple[dict[str, str], float]] = [
        ({"stage": stage}, count) for stage, count in status.findings.items()
    ]
    yield from _metric("imdswatch_findings", "gauge", "Findings that are remembered, by stage.", stages)
    yield from _metric(
        "imdswatch_skipped_total", "counter", "What could not be looked at.", [({}, status.skipped)]
    )
    yield from _metric(
        "imdswatch_troubles",
        "gauge",
        "Why state or output cannot be written; 0 is well.",
        [({}, len(status.trouble))],
    )


def _metric(name: str, kind: str, text: str, rows: Iterable[tuple[dict[str, str], float]]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in rows:
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}"


def _escaped(text: str) -> str:
    plain = text.encode("utf-8", "backslashreplace").decode()
    return plain.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


class Server:
    """Answers `GET /metrics` with the last status that it was given."""

    def __init__(self, host: str, port: int) -> None:
        """Listen; raises UsageError if that cannot be."""
        self.text = b""
        served = self

        class Answer(BaseHTTPRequestHandler):
            timeout = _PATIENCE
            server_version, sys_version = "imdswatch", ""

            def do_GET(self) -> None:
                found = self.path.partition("?")[0] in ("/metrics", "/")
                body = served.text if found else b"not found\n"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", TYPE if found else "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Listening(HTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Let a client that goes away go."""

        try:
            self._server = Listening((host, port), Answer)
        except (OSError, OverflowError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise UsageError(f"cannot listen for metrics on {host} port {port}: {reason}") from error
        self.port = self._server.server_address[1]
        self.shown = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def write_file(path: Path, text: str) -> None:
    """Replace a file by the text at once, as the textfile collector of node_exporter asks; raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        with open(fd, "wb") as handle:
            handle.write(text.encode())
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
