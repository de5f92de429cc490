"""Times are written in UTC, and left out where they are none; pure, but for `now`."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def moment(seconds: float | None) -> datetime | None:
    """Return the time of epoch seconds, or None if unknown, no number, or outside of the years 1 to 9999."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def iso(seconds: float | None) -> str | None:
    """Return ISO 8601 with microseconds and Z (`2026-11-22T01:00:00.000000Z`), or None as `moment` does."""
    at = moment(seconds)
    return None if at is None else f"{at.isoformat('T', 'microseconds')[:-6]}Z"  # without +00:00


def now() -> float:
    """Return the time of writing in epoch seconds; the one place of the sinks that looks at a clock."""
    return time.time()
