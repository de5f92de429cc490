"""How the page writes stages and times; pure. All times are UTC, in milliseconds since 1970, and None where unknown."""

from __future__ import annotations

from datetime import UTC, datetime

from imdswatch.finding import STAGES
from imdswatch.report.html.markup import Html, tag


def stage(rank: int) -> Html:
    """Return the mark of a stage."""
    return tag("span", STAGES[max(rank, 0)], class_=f"stage stage-{max(rank, 0)}")


def moment(milliseconds: int | None) -> str:
    """Return a time as people read it, without a zone: all are UTC."""
    return "" if milliseconds is None else f"{_utc(milliseconds):%Y-%m-%d %H:%M:%S}"


def period(first: int | None, last: int | None) -> str:
    """Return a span of time, the date once where it is one day."""
    if first is None or last is None:
        return "no time"
    begin, end = _utc(first), _utc(last)
    if last - first < 1000:
        return moment(first)
    same = begin.date() == end.date()
    return (
        f"{begin:%Y-%m-%d %H:%M:%S} – {end:%H:%M:%S}"
        if same
        else f"{begin:%Y-%m-%d %H:%M} – {end:%Y-%m-%d %H:%M}"
    )


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def machine(milliseconds: int | None) -> str | None:
    """Return a time as programs read it."""
    return (
        None
        if milliseconds is None
        else _utc(milliseconds).isoformat(timespec="seconds").replace("+00:00", "Z")
    )
