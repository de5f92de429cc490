"""Results reach a receiver at least once: a spool on disk, a courier for each target, and how each kind is spoken to.

`accept` a target, give each `Message` to its `Courier`; docs/delivery.md says what is promised to whom.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from imdswatch.delivery.message import Channel
from imdswatch.delivery.target import Target

CHANNELS = {
    "file": "imdswatch.delivery.rotating",
    "http": "imdswatch.delivery.webhook",
    "https": "imdswatch.delivery.webhook",
    "syslog+tcp": "imdswatch.delivery.syslog",
    "syslog+tls": "imdswatch.delivery.syslog",
    "syslog+udp": "imdswatch.delivery.syslog",
}
"""Scheme of a target, and the module whose `open_channel` speaks it, imported only then: HTTP and TLS cost time."""


def channel_to(target: Target) -> Channel:
    """Return what speaks to a target; raises UsageError for an option without sense or a file that cannot be read."""
    return cast("Channel", import_module(CHANNELS[target.scheme]).open_channel(target))
