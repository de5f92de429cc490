"""Times: modifiers such as `-24h@h`, spans such as `5m`, and strptime/strftime formats, all in UTC.

Search Reference, "Time modifiers" and "Date and time format variables". Splunk uses the zone of the user;
the events of these tests carry epoch seconds, so that UTC is the zone of this user.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from .errors import SplError

UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "week", "weeks"), "w"),
    **dict.fromkeys(("mon", "month", "months"), "mon"),
    **dict.fromkeys(("q", "qtr", "qtrs", "quarter", "quarters"), "q"),
    **dict.fromkeys(("y", "yr", "yrs", "year", "years"), "y"),
}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
MODIFIER = re.compile(r"(?:[+-]?\d*[a-z]+|now|\d+)?(?:[+-]\d*[a-z]+)*(?:@[a-z]+[0-7]?)?(?:[+-]\d*[a-z]+)*")
STEP = re.compile(r"(?P<snap>@[a-z]+[0-7]?)|(?P<sign>[+-])(?P<count>\d*)(?P<unit>[a-z]+)")
ABSOLUTE = "%m/%d/%Y:%H:%M:%S"  # "Specify time modifiers in your search": the default time format


def months_later(moment: datetime, months: int) -> datetime:
    """Add months; the day is kept where the month has it, else the last day is taken."""
    index = moment.year * 12 + moment.month - 1 + months
    year, month = divmod(index, 12)
    for day in range(moment.day, 27, -1):
        try:
            return moment.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return moment.replace(year=year, month=month + 1)


def snapped(moment: datetime, unit: str, weekday: int = 0) -> datetime:
    """Round down to the start of the unit; weeks begin on Sunday (w0), `@w1` is Monday."""
    if unit == "s":
        return moment.replace(microsecond=0)
    if unit == "m":
        return moment.replace(second=0, microsecond=0)
    if unit == "h":
        return moment.replace(minute=0, second=0, microsecond=0)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "d":
        return day
    if unit == "w":
        return day - timedelta(days=(day.isoweekday() - weekday) % 7)
    if unit == "mon":
        return day.replace(day=1)
    if unit == "q":
        return day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1)
    return day.replace(day=1, month=1)


def relative_time(base: float, modifier: str, at: int | None = None) -> float:
    """Apply a relative modifier such as `-1d@d+2h` to epoch seconds."""
    moment = datetime.fromtimestamp(base, UTC)
    text = modifier.strip().removeprefix("now")
    if text and text[0] not in "+-@":
        text = "+" + text
    done = 0
    for step in STEP.finditer(text):
        if step.start() != done:
            break
        done = step.end()
        name = (step["snap"] or step["unit"]).lstrip("@")
        week = re.fullmatch(r"w(?:eek)?([0-7])", name)
        unit = "w" if week else UNITS.get(name)
        if unit is None:
            raise SplError(f"unknown time unit {name!r} in {modifier!r}", at)
        if step["snap"]:
            moment = snapped(moment, unit, int(week[1]) % 7 if week else 0)
            continue
        count = int(step["count"] or 1) * (-1 if step["sign"] == "-" else 1)
        if unit in SECONDS:
            moment += timedelta(seconds=count * SECONDS[unit])
        else:
            moment = months_later(moment, count * {"mon": 1, "q": 3, "y": 12}[unit])
    if done != len(text):
        raise SplError(f"no time modifier: {modifier!r}", at)
    return moment.timestamp()


def moment_of(text: str, now: float, at: int | None = None) -> float:
    """Read what `earliest=` or `latest=` was given: epoch seconds, `now`, relative, or month/day/year:time."""
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    if "/" in text:
        try:
            return datetime.strptime(text, ABSOLUTE).replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise SplError(f"no time of the form {ABSOLUTE}: {text!r}", at) from None
    return relative_time(now, text, at)


def span_of(text: str, at: int | None = None) -> float:
    """Read a span such as `5m`, `1h`, `30` into seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]*)", text)
    unit = UNITS.get(found[2]) if found and found[2] else "s"
    if not found or unit not in SECONDS:
        raise SplError(f"no span that this evaluator knows: {text!r}", at)
    return float(found[1]) * SECONDS[unit]


def _python_format(form: str) -> str:
    return re.sub(r"%(?:[1-9]N|[1-9]Q|Q|N)", "%f", form).replace("%T", "%H:%M:%S").replace("%F", "%Y-%m-%d")


def strptime(text: str, form: str) -> float | None:
    """Read a time by its format; None where it does not fit. Without a zone in the format it is UTC."""
    if form == "%s":
        return float(text) if re.fullmatch(r"\d+(?:\.\d+)?", text) else None
    try:
        moment = datetime.strptime(text, _python_format(form))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def strftime(seconds: float, form: str) -> str:
    """Write epoch seconds by a format; `%3N` and `%Q` are milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    form = re.sub(r"%(?:3N|3Q|Q)", f"{moment.microsecond // 1000:03d}", form)
    return moment.strftime(
        form.replace("%T", "%H:%M:%S").replace("%F", "%Y-%m-%d").replace("%s", str(int(seconds)))
    )
