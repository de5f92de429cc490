"""The values that command-line options hold, and the options that all commands with findings share.

Nothing is printed here. A value that cannot be read is refused by click, in one line, as wrong usage.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Any

import click

from imdswatch.finding import STAGES

FORMATS = ("text", "ndjson", "csv", "ocsf", "ecs", "html")


class Moment(click.ParamType):  # type: ignore[type-arg]
    """A point in time: ISO 8601; without a zone it is one of `--timezone`, as times in a log are."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time, without a zone if it names none."""
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is no ISO 8601 time, such as 2026-11-22 or 2026-11-22T01:00:00Z", param, ctx
            )


class Zone(click.ParamType):  # type: ignore[type-arg]
    """A time zone name of the IANA database, or an offset from UTC such as +02:00."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tzinfo:
        """Return the zone."""
        if isinstance(value, tzinfo):
            return value
        if value == "UTC":
            return UTC  # the default must not need a time zone database
        from zoneinfo import ZoneInfo

        try:
            if value.startswith(("+", "-")):
                return datetime.fromisoformat(f"1970-01-01T00:00{value}").tzinfo or UTC
            return ZoneInfo(value)
        except (ValueError, OSError, KeyError):
            self.fail(f"{value!r} is no time zone, such as Europe/Berlin or +02:00", param, ctx)


class Day(click.ParamType):  # type: ignore[type-arg]
    """A calendar day."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date, such as 2026-11-22", param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A span of time such as 500ms, 60s, 5m, 1h or 30d; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)(ms|[smhd]?)", value, re.ASCII)
        if found is None or float(found[1]) == 0:
            self.fail(f"{value!r} is no duration, such as 60s, 5m, 1h or 30d", param, ctx)
        return float(found[1]) * {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def common(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that every command with findings has."""
    for option in reversed(
        (
            click.option(
                "--site", type=click.Path(path_type=Path), metavar="FILE", help="What this network is (TOML)."
            ),
            click.option(
                "--rules",
                type=click.Path(path_type=Path),
                metavar="DIR",
                help="Rules over the built-in ones.",
            ),
            click.option(
                "--schemas", type=click.Path(path_type=Path), metavar="DIR", help="Schemas over the built-in."
            ),
            click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True),
            click.option(
                "-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="Write here."
            ),
            click.option("--show-suppressed", is_flag=True, help="List what the site file suppresses, too."),
            click.option("--fail-on", type=click.Choice(STAGES), metavar="STAGE", help=FAIL_ON),
            click.option("-q", "--quiet", is_flag=True, help="No progress, no warnings."),
            click.option("-v", "--verbose", is_flag=True, help="Say more; show the trace of our own bugs."),
        )
    ):
        command = option(command)
    return command


def deliverable(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a command whose results can be delivered (`cli.deliver`)."""
    for option in reversed(
        (
            click.option(
                "--deliver",
                "deliver",
                multiple=True,
                metavar="URL",
                help="Deliver results to a receiver as well: syslog+tcp, +tls, +udp, https, file (repeatable).",
            ),
            click.option(
                "--spool",
                type=click.Path(path_type=Path),
                metavar="DIR",
                help="Where results wait on disk until they are delivered.",
            ),
            click.option(
                "--spool-limit",
                default="1GB",
                show_default=True,
                metavar="SIZE",
                help="Room for each receiver.",
            ),
            click.option(
                "--deliver-wait",
                type=Duration(),
                default="30s",
                show_default=True,
                help="How long to wait at the end for what is not delivered yet.",
            ),
        )
    ):
        command = option(command)
    return command


FAIL_ON_HOST = f"As for findings; what would ask counts as requested. {', '.join(STAGES)}."
FAIL_ON = f"Exit with 1 only from this stage on: {', '.join(STAGES)}."
