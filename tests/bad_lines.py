"""What tests of bad input share: lines of a log, of hosts that ask and hosts that do not, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

CLEAN, FOUND, WRONG, SKIPPED = 0, 1, 2, 3
Log = Callable[..., Path]
"""Writes a log and returns its path: content, name (the fixture `log`)."""


def hit(number: int = 1, **more: object) -> bytes:
    """Return a Zeek http line: host 10.0.0.`number` asks, nobody answers."""
    return _line(number, "169.254.169.254", "/latest/meta-data/iam/", more)


def miss(number: int = 1, **more: object) -> bytes:
    """Return a Zeek http line about something else."""
    return _line(number, "198.51.100.7", "/index.html", more)


def _line(number: int, host: str, uri: str, more: dict[str, object]) -> bytes:
    record: dict[str, object] = {
        "ts": 1795309301.5 + number, "uid": f"C{number}", "id.orig_h": f"10.0.{number >> 8}.{number & 255}",
        "id.orig_p": 40000, "id.resp_h": host, "id.resp_p": 80, "trans_depth": 1, "method": "GET", "host": host,
        "uri": uri, "request_body_len": 0,
    }  # fmt: skip
    return json.dumps({**record, **more}).encode() + b"\n"
