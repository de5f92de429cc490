"""Source values as the plain text that line layouts carry."""

from __future__ import annotations

from typing import Any


def to_plain(value: Any) -> str:
    """Return a source value as text: lists joined by commas, whole floats without their zero."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, (list, tuple)):
        return ",".join(to_plain(item) for item in value)
    return str(value)
