"""Folders that name a value: `year=2026/month=11/day=22`, `eventday=20261122`, `region=eu-west-1` (Hive's layout).

`values_in` returns the columns that a path names; `span_of` the time that it names, if it names one: what a file below
it holds lies in there. Names of the parts of a time as Hive, Spark, Firehose and Security Lake write them. Pure.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from urllib.parse import unquote

_NULL = "__HIVE_DEFAULT_PARTITION__"
_PAIR = re.compile(r"([A-Za-z_@][\w.@\-]{0,63})=([^/=]{1,256})\Z")
_DAYS = frozenset({"date", "dt", "day", "eventday", "event_day", "event_date", "log_date", "ds", "p_date"})
_DAY = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)\Z")
_HOURS = frozenset({"hour", "hr", "eventhour", "event_hour"})
_HOUR = re.compile(r"(?:(\d{4})-?(\d\d)-?(\d\d)[-T ]?)?(\d\d?)\Z")


def values_in(name: str) -> dict[str, str]:
    """Return the columns and values that the folders of a path name; a value that stands for null is left out."""
    out: dict[str, str] = {}
    for part in name.split("/")[:-1]:
        found = _PAIR.match(part)
        if found and found[2] != _NULL:
            out[found[1]] = unquote(found[2])
    return out


def span_of(name: str, zone: tzinfo = UTC) -> tuple[float, float] | None:
    """Return the time that the folders of a path name, epoch seconds, its end not included; None if they name none.

    A name carries no zone: it is in `zone`.
    """
    parts = {key.lower(): value for key, value in values_in(name + "/").items()}
    day = next((found for key in _DAYS if (found := _DAY.match(parts.get(key, "")))), None)
    try:
        if day is not None:
            begin = datetime(int(day[1]), int(day[2]), int(day[3]), tzinfo=zone)
            end = begin + timedelta(days=1)
        else:
            year = int(parts["year"])
            if "month" not in parts:
                begin, end = datetime(year, 1, 1, tzinfo=zone), datetime(year + 1, 1, 1, tzinfo=zone)
            else:
                month = int(parts["month"])
                begin = datetime(year, month, 1, tzinfo=zone)
                end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
                if "day" in parts:
                    begin = datetime(year, month, int(parts["day"]), tzinfo=zone)
                    end = begin + timedelta(days=1)
        hour = next((found for key in _HOURS if (found := _HOUR.match(parts.get(key, "")))), None)
        if hour is not None and end - begin == timedelta(days=1):
            begin += timedelta(hours=int(hour[4]))
            end = begin + timedelta(hours=1)
        return begin.timestamp(), end.timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
