"""Times of log lines in every spelling that the built-in layouts use, as epoch seconds UTC.

A time that names no zone is in the clock's zone. A time that names no year is in the latest year in which it is not
after the clock's `latest` (DESIGN 6). Whatever cannot be read is None, never an exception. Everything is pure.

A table of our own stands beside `datetime.strptime` because that one takes 8 µs a call and cannot read a year-less
29 February.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple


class Clock(NamedTuple):
    """What a log line leaves out: the zone of its times and the moment they cannot be after (epoch seconds)."""

    zone: tzinfo = UTC
    latest: float = float("inf")


MONTHS = dict(Jan=1, Feb=2, Mar=3, Apr=4, May=5, Jun=6, Jul=7, Aug=8, Sep=9, Oct=10, Nov=11, Dec=12)  # noqa: C408
_LAST = 253402300800.0  # 1 January 10000: datetime cannot hold more
_ZONE = r"Z|UTC|GMT|[+-]\d\d:?\d\d"
_ISO = re.compile(
    r"(?P<Y>\d{4})[-/](?P<m>\d\d?)[-/](?P<d>\d\d?)"
    r"(?:[T _](?P<H>\d\d?):(?P<M>\d\d)(?::(?P<S>\d\d)(?:[.,](?P<f>\d+))?)?)?"
    rf" ?(?P<z>{_ZONE})?(?: [A-Z]{{3,4}})?\Z"
)
_BSD = re.compile(  # RFC 3164 4.1.2; Cisco adds the year before, asctime after the clock time
    r"[*.]?(?:[A-Z][a-z]{2},? )?(?P<b>[A-Z][a-z]{2}) +(?P<d>\d\d?) (?:(?P<Y>\d{4}),? )?"
    rf"(?P<H>\d\d?):(?P<M>\d\d):(?P<S>\d\d)(?:\.(?P<f>\d+))?(?: (?P<z>{_ZONE}))?(?: (?P<y4>\d{{4}}))?\Z"
)
_CLF = re.compile(  # Apache mod_log_config %t; HAProxy has milliseconds and no zone
    r"\[?(?P<d>\d\d?)/(?P<b>[A-Z][a-z]{2})/(?P<Y>\d{4}):(?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)(?:\.(?P<f>\d+))?"
    rf"(?: (?P<z>{_ZONE}))?\]?\Z"
)
_EPOCH = re.compile(r"\d{9,19}(?:\.\d{1,9})?\Z")


def to_time(value: Any, clock: Clock) -> float | None:
    """Return the time that an ISO 8601, RFC 3164, CLF, asctime or epoch value names, else None."""
    kind = value.__class__
    if kind is str:
        if value[4:5] == "-" and value[10:11] in ("T", " "):
            try:
                moment = datetime.fromisoformat(value)
                return (moment if moment.tzinfo else moment.replace(tzinfo=clock.zone)).timestamp()
            except (ValueError, OverflowError):
                pass
        return _spelled(value, clock)
    if kind is float or kind is int:
        return scaled(float(value)) if -1 < value < 10**19 else None
    return None


def scaled(number: float) -> float | None:
    """Return epoch seconds of a number whose size tells seconds, milli-, micro- or nanoseconds; None if senseless."""
    if not number >= 0:  # NaN is refused here too
        return None
    for divisor in (1.0, 1e3, 1e6, 1e9):
        if number / divisor < 1e11:  # 1e11 s is the year 5138, 1e11 ms is 1973
            return number / divisor
    return None


def _spelled(text: str, clock: Clock) -> float | None:
    if len(text) > 64:
        return None
    text = text.strip()
    if _EPOCH.match(text):
        return scaled(float(text))
    for pattern in (_ISO, _BSD, _CLF):
        found = pattern.match(text)
        if found:
            return _moment(found.groupdict(), clock)
    return None


def _moment(part: dict[str, str | None], clock: Clock) -> float | None:
    get = part.get
    if seconds := get("s"):
        return scaled(float(seconds))
    month = MONTHS.get((get("b") or "")[:3].title()) if get("b") else int(get("m") or 1)
    if month is None:
        return None
    hour = int(get("H") or get("I") or 0)
    if half := get("p"):
        hour = hour % 12 + (12 if half.lower() == "pm" else 0)
    clocktime = hour, int(get("M") or 0), min(int(get("S") or 0), 59), int(f"{get('f') or 0:0<6}"[:6])
    zone = _zone(get("z")) or clock.zone
    year = get("Y") or get("y4")
    if year is None and (short := get("y")):
        year = str(int(short) + (1900 if int(short) >= 69 else 2000))  # POSIX strptime %y
    day = int(get("d") or 1)
    try:
        if year is not None:
            moment = datetime(int(year), month, day, *clocktime, tzinfo=zone)
            if ordinal := get("j"):
                moment = moment.replace(month=1, day=1) + timedelta(days=int(ordinal) - 1)
            return moment.timestamp()
        return _latest_year(month, day, clocktime, zone, clock.latest)
    except (ValueError, OverflowError):
        return None


def _latest_year(
    month: int, day: int, clocktime: tuple[int, int, int, int], zone: tzinfo, latest: float
) -> float | None:
    last = datetime.fromtimestamp(min(max(latest, 0.0), _LAST - 86400 * 2), zone).year
    for year in range(last, last - 9, -1):  # 29 February comes back after eight years at most (1896 to 1904)
        try:
            moment = datetime(year, month, day, *clocktime, tzinfo=zone).timestamp()
        except ValueError:
            continue
        if moment <= latest:
            return moment
    return None


@lru_cache(maxsize=256)
def _zone(text: str | None) -> tzinfo | None:
    if not text or text[0] not in "+-":
        return UTC if text in ("Z", "UTC", "GMT") else None
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    if minutes >= 24 * 60:
        return None
    return timezone(timedelta(minutes=minutes if text[0] == "+" else -minutes))


_DIRECTIVES = {
    "Y": r"(?P<Y>\d{4})", "m": r"(?P<m>\d{1,2})", "d": r" ?(?P<d>\d{1,2})", "e": r" ?(?P<d>\d{1,2})",
    "H": r"(?P<H>\d{1,2})", "I": r"(?P<I>\d{1,2})", "M": r"(?P<M>\d{1,2})", "S": r"(?P<S>\d{1,2})",
    "f": r"(?P<f>\d{1,9})", "b": r"(?P<b>[A-Za-z]{3})", "B": r"(?P<b>[A-Za-z]{3,9})", "y": r"(?P<y>\d\d)",
    "z": rf"(?P<z>{_ZONE})", "Z": r"(?P<z>[A-Za-z]{1,5})", "a": r"[A-Za-z]{3}", "A": r"[A-Za-z]{3,9}",
    "p": r"(?P<p>[AaPp][Mm])", "j": r"(?P<j>\d{1,3})", "s": r"(?P<s>\d{1,19})", "%": "%",
}  # fmt: skip


def format_reader(formats: tuple[str, ...]) -> Callable[[Any, Clock], float | None]:
    """Return the reader of texts in any of the strptime formats, falling back to `to_time`.

    Raises ValueError naming the first directive that is not known.
    """
    patterns = [re.compile(_format_regex(text)) for text in formats]

    @lru_cache(maxsize=1024)  # many lines of a log say the same second
    def named(text: str, clock: Clock) -> float | None:
        for pattern in patterns:
            found = pattern.fullmatch(text)
            if found:
                return _moment(found.groupdict(), clock)
        return to_time(text, clock)

    def read(value: Any, clock: Clock) -> float | None:
        return named(value, clock) if value.__class__ is str and len(value) <= 128 else to_time(value, clock)

    return read


def _format_regex(text: str) -> str:
    text = text.replace("%T", "%H:%M:%S").replace("%F", "%Y-%m-%d")
    out: list[str] = []
    for part in re.split(r"(%.)", text):
        if part.startswith("%") and len(part) == 2:
            if part[1] not in _DIRECTIVES:
                raise ValueError(f"time format {text!r} uses {part}, which is not known")
            out.append(_DIRECTIVES[part[1]])
        else:
            out.append(re.escape(part).replace(r"\ ", " +"))
    return "".join(out)


def iso(seconds: float) -> str:
    """Write epoch seconds as ISO 8601 UTC with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def clf(seconds: float) -> str:
    """Write epoch seconds as the Common Log Format does, in UTC, without brackets."""
    return formatted(seconds, "%d/%b/%Y:%H:%M:%S %z")


def formatted(seconds: float, text: str) -> str:
    """Write epoch seconds in one strptime format, in UTC."""
    moment = datetime.fromtimestamp(seconds, UTC)
    names = list(MONTHS)
    # strftime's month and day names follow the locale; log formats do not.
    text = text.replace("%b", names[moment.month - 1]).replace("%s", str(int(seconds)))
    text = text.replace("%a", ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][moment.weekday()])
    text = text.replace(
        "%f", f"{moment.microsecond // 1000:03d}"
    )  # the tools that have a fraction write milliseconds
    return moment.strftime(text)
