"""Settings of all tests: random examples are the same on every run, so that a red test is a change and not a chance.

`make fuzz` and `make conformance` look for what no run has seen yet; IMDSWATCH_HYPOTHESIS=random does so here, too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests interrupt programs. A shell starts what runs in the background with SIGINT ignored, and programs inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("IMDSWATCH_HYPOTHESIS", "fixed"))


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    """What writes a log and returns its path."""

    def write(data: bytes, name: str = "x.log") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return write


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Chromium, or a skip that says why there is none."""
    from chromium import start  # late: its driver takes longer to import than most tests to run

    yield from start()
