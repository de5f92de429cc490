"""Time in SPL: relative time modifiers, strptime and strftime, spans; all in UTC.

Search Reference, "Time modifiers": `[+|-]<integer><unit>@<snap unit>`; earliest is inclusive, latest exclusive.
Search Reference, "Date and time format variables". The manuals count in the user's time zone; here that is UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from .errors import SplError

UNITS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "m": ("m", "min", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
    "w": ("w", "week", "weeks"),
    "mon": ("mon", "month", "months"),
    "q": ("q", "qtr", "qtrs", "quarter", "quarters"),
    "y": ("y", "yr", "yrs", "year", "years"),
}
UNIT = {name: unit for unit, names in UNITS.items() for name in names}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def unit_of(name: str) -> str:
    if name not in UNIT:
        raise SplError(f"unknown time unit {name!r}")
    return UNIT[name]


def modifier(word: str, now: float | None) -> float:
    """Return the second an `earliest=` or `latest=` value stands for."""
    if re.fullmatch(r"\d+(?:\.\d+)?", word):
        return float(word)
    absolute = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4}):(\d{1,2}):(\d{2}):(\d{2})", word)
    if absolute:  # the default timeformat of the search command, %m/%d/%Y:%H:%M:%S
        month, day, year, hour, minute, second = (int(part) for part in absolute.groups())
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    if now is None:
        raise SplError(f"time modifier {word!r} needs now=")
    if word in ("now", "now()"):
        return now
    return relative(now, word)


def relative(moment: float, word: str) -> float:
    """Apply one relative time modifier to a moment (Date and Time functions, relative_time)."""
    when = datetime.fromtimestamp(moment, UTC)
    rest = word
    if not word:
        raise SplError("an empty time modifier")
    while rest:
        offset = re.match(r"([+-])(\d*)([a-z]+)", rest)
        snap = re.match(r"@([a-z]+)(\d?)", rest)
        if offset:
            count = int(offset[2] or "1") * (1 if offset[1] == "+" else -1)
            when, rest = shifted(when, count, unit_of(offset[3])), rest[offset.end() :]
        elif snap:
            when, rest = snapped(when, snap[1], snap[2]), rest[snap.end() :]
        else:
            raise SplError(f"not a time modifier: {word!r}")
    return when.timestamp()


def shifted(when: datetime, count: int, unit: str) -> datetime:
    if unit in SECONDS:
        return when + timedelta(seconds=count * SECONDS[unit])
    months = when.year * 12 + when.month - 1 + count * {"mon": 1, "q": 3, "y": 12}[unit]
    year, month = divmod(months, 12)
    for day in range(when.day, 27, -1):
        try:
            return when.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return when.replace(year=year, month=month + 1)


def snapped(when: datetime, name: str, day_of_week: str) -> datetime:
    """Snap down to the beginning of a unit; weeks begin on Sunday, `@w1` on Monday."""
    unit = unit_of(name)
    if unit == "s":
        return when.replace(microsecond=0)
    if unit == "m":
        return when.replace(second=0, microsecond=0)
    if unit == "h":
        return when.replace(minute=0, second=0, microsecond=0)
    day = when.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "d":
        return day
    if unit == "w":
        return day - timedelta(days=(day.isoweekday() - int(day_of_week or 0)) % 7)
    if unit == "mon":
        return day.replace(day=1)
    if unit == "q":
        return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    return day.replace(month=1, day=1)


def span(word: str) -> float:
    """Return the seconds of a span such as `5m` (bin, span)."""
    shape = re.fullmatch(r"(\d+)([a-z]+)", word)
    unit = unit_of(shape[2]) if shape else ""
    if not shape or unit not in SECONDS:
        raise SplError(f"span={word} is not one this evaluator knows")
    return int(shape[1]) * SECONDS[unit]


def event_time(value: object) -> float | None:
    """Read `_time`: seconds since 1970, or an ISO 8601 text."""
    if value is None:
        return None
    word = str(value)
    try:
        return float(word)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(word)
    except ValueError:
        raise SplError(f"_time is no time: {word!r}") from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def parsed(value: str, layout: str) -> float | None:
    """Return strptime's seconds, or null where the text does not fit (Date and Time functions, strptime)."""
    python = re.sub(r"%[369]?[NQ]", "%f", layout).replace("%T", "%H:%M:%S").replace("%F", "%Y-%m-%d")
    if python == "%s":
        return float(value) if re.fullmatch(r"\d+(\.\d+)?", value) else None
    try:
        when = datetime.strptime(value, python)
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def formatted(moment: float, layout: str) -> str:
    """Return strftime's text."""
    when = datetime.fromtimestamp(moment, UTC)
    milli = f"{when.microsecond // 1000:03d}"
    python = re.sub(r"%3?[NQ]", milli, layout).replace("%6N", f"{when.microsecond:06d}")
    python = python.replace("%s", str(int(moment))).replace("%T", "%H:%M:%S").replace("%F", "%Y-%m-%d")
    return when.strftime(python)
