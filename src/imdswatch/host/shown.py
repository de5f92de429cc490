"""A setting as something to show: where it stands, and what may be seen of it. Pure."""

from __future__ import annotations

from imdswatch.finding import Evidence
from imdswatch.host.setting import Setting


def evidence(setting: Setting) -> Evidence:
    """Return the place of a setting and its text without secrets."""
    position = f"line {setting.line}" if setting.line else ""
    return Evidence(setting.path or "(environment)", position, setting.shown)
