"""Calendar parts of a time, for the modifiers `minute`, `hour`, `day`, `week`, `month` and `year`. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def time_part(value: Any, part: str) -> int | None:
    """Return a calendar part of a time, UTC; None if it is no time."""
    try:
        moment = datetime.fromtimestamp(value, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    if part == "week":
        return moment.isocalendar().week
    found: int = getattr(moment, part)
    return found
