"""Words of the command line become values: times, zones, days, durations.

Each fails with one sentence that names the right form; nothing is read but the time zone database.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, tzinfo
from typing import Any

import click


class Moment(click.ParamType):  # type: ignore[type-arg]
    """A point in time: ISO 8601; without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: D102
        if isinstance(value, float):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is no ISO 8601 time, such as 2026-11-22 or 2026-11-22T01:00:00Z", param, ctx
            )
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Zone(click.ParamType):  # type: ignore[type-arg]
    """A time zone name of the IANA database."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tzinfo:  # noqa: D102
        if isinstance(value, tzinfo):
            return value
        if value == "UTC":
            return UTC  # the default must not need a time zone database
        from zoneinfo import ZoneInfo

        try:
            return ZoneInfo(value)
        except (ValueError, OSError, KeyError):
            self.fail(f"{value!r} is no time zone, such as Europe/Berlin", param, ctx)


class Day(click.ParamType):  # type: ignore[type-arg]
    """A calendar day."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:  # noqa: D102
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date, such as 2026-11-22", param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A span of time such as 60s, 5m or 1h; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: D102
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)([smh]?)", value, re.ASCII)
        if found is None or float(found[1]) == 0:
            self.fail(f"{value!r} is no duration, such as 60s, 5m or 1h", param, ctx)
        return float(found[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[found[2]]
