"""`--deliver`: whatever a sink is given goes to the receivers as well, each in its format, each by its own courier.

What could not be delivered is told twice: on standard error when it happens, and as a Skipped at the end, so that the
exit code says so too. Its results wait in the spool for the next run; without `--spool` they wait in memory.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import orjson

from imdswatch.cli.output import visible
from imdswatch.delivery import channel_to
from imdswatch.delivery.courier import Courier
from imdswatch.delivery.message import Message, identity
from imdswatch.delivery.spool import Spool, folder_of_spools, left_over
from imdswatch.delivery.target import FORMATS, Target, read_target, size
from imdswatch.errors import UsageError
from imdswatch.finding import Finding, Skipped, Summary
from imdswatch.report import escape, open_sink
from imdswatch.verdict import Verdict

_IN_MEMORY = 64_000_000
"""Octets of results that wait for each receiver where there is no spool."""


@contextmanager
def delivering(options: dict[str, Any], sink: Any, live: bool) -> Iterator[Delivering]:
    """Yield a sink that hands on to `sink` and delivers; raises UsageError for a target or spool that cannot be."""
    targets = [read_target(text) for text in options["deliver"]]
    if len({target.key for target in targets}) < len(targets):
        raise UsageError("two targets of `--deliver` are the same")
    limit = size(options["spool_limit"], "`--spool-limit`")
    if options["spool"] is None:
        limit = min(limit, _IN_MEMORY)
    folder = None if options["spool"] is None else folder_of_spools(options["spool"])
    tell = _silent if options["quiet"] else _warn
    if folder is None:
        tell("warning: without --spool, what a receiver does not take is lost when this program ends")
    else:
        for name, waiting in left_over(folder, [target.key for target in targets]):
            tell(f"warning: {waiting} results wait in {folder} for a receiver that is not named now: {name}")
    routes = [_route(target, folder, limit, tell) for target in targets]
    bugs: list[BaseException] = []
    earlier, threading.excepthook = (
        threading.excepthook,
        lambda bug: bugs.append(bug.exc_value or RuntimeError("a courier died")),
    )
    try:
        made = Delivering(sink, routes, options, live, bugs)
        yield made
        for skipped in made.finish():  # live: the summary was written long ago
            tell(f"warning: {skipped.source}: {skipped.reason}")
    finally:
        threading.excepthook = earlier
    if bugs:
        raise bugs[0]


@dataclass(slots=True)
class _Route:
    """One receiver and what goes to it."""

    target: Target
    courier: Courier
    damaged: str = ""
    dropped: int = 0
    """Results that the spool had no room for."""
    untold: int = 0
    """Those of them that the receiver was not told of yet."""
    format: str = field(init=False)

    def __post_init__(self) -> None:
        self.format = (
            self.target.choice("format", FORMATS) if "syslog" not in self.target.scheme else "ndjson"
        )


def _route(target: Target, folder: Path | None, limit: int, tell: Any) -> _Route:
    spool = Spool(None if folder is None else folder / f"{target.key}.spool", limit)
    courier = Courier(
        f"to {target.shown}", spool, channel_to(target), lambda what: tell(f"warning: {target.shown} {what}")
    )
    return _Route(target, courier, spool.damaged)


class Delivering:
    """A sink around another one. `undelivered` is how many places of trouble there were at the end.

    Live, what an earlier run left is delivered at once, `close` ends a round, and trouble is told when the program
    ends. Else couriers start with the first result, since a scan forks its workers before that, and `close` waits for
    the receivers, so that trouble stands in the report as Skipped.
    """

    def __init__(
        self, sink: Any, routes: list[_Route], options: dict[str, Any], live: bool, bugs: list[BaseException]
    ) -> None:
        self._sink, self._routes, self._wait = sink, routes, options["deliver_wait"]
        self._live, self._bugs = live, bugs
        self._where = "memory" if options["spool"] is None else str(options["spool"])
        self._show = options["show_suppressed"]
        self._texts = {name: _Text(name) for name in {"ndjson", *(route.format for route in routes)}}
        self._started = self._finished = False
        self.undelivered = 0
        if live:
            self._start()

    def finding(self, finding: Finding) -> None:
        """Hand on a finding; a suppressed one is delivered only if suppressed findings are shown."""
        if finding.suppressed_by is None or self._show:
            labels = (
                ("fingerprint", finding.fingerprint),
                ("rule", finding.rule),
                ("stage", finding.stage),
                ("severity", finding.severity),
            )
            self._deliver("finding", finding, finding.fingerprint, labels)
        self._sink.finding(finding)  # last: its reader may be gone

    def skipped(self, skipped: Skipped) -> None:
        """Hand on what could not be looked at."""
        self._deliver("skipped", skipped)
        self._sink.skipped(skipped)

    def verdict(self, verdict: Verdict) -> None:
        """Hand on what stands at one endpoint."""
        self._deliver("verdict", verdict)
        self._sink.verdict(verdict)

    def close(self, summary: Summary) -> None:
        """Deliver the summary and close the other sink; where this is the end, with what could not be delivered."""
        self._deliver("close", summary)
        for skipped in [] if self._live else self.finish():
            self._sink.skipped(skipped)
        self._sink.close(replace(summary, skipped=summary.skipped + self.undelivered))

    def finish(self) -> list[Skipped]:
        """Wait for the couriers, and return what they could not do."""
        if self._finished:
            return []
        self._finished = True
        self._start()
        for route in self._routes:
            self._tell_of_dropped(route, time.time())
            route.courier.end()
        until = time.monotonic() + self._wait
        found: list[Skipped] = []
        for route in self._routes:
            left = route.courier.finish(max(0.0, until - time.monotonic()))
            found += [Skipped(route.target.shown, "", what) for what in self._troubles(route, left)]
        self.undelivered = len(found)
        return found

    def _troubles(self, route: _Route, left: int) -> Iterator[str]:
        refused = route.courier.refused
        first = route.courier.first_refused
        if route.damaged:
            yield f"its spool could not be read and was set aside: {route.damaged}"
        if route.dropped:
            yield f"{route.dropped} results were dropped: no room in the spool ({self._where})"
        if refused:
            yield f"the receiver refused {refused} results, the first of them {first}"
        if left > refused:
            fate = (
                "lost" if self._where == "memory" else f"left in the spool ({self._where}) for the next run"
            )
            why = route.courier.trouble or "there was no more time (`--deliver-wait`)"
            yield f"{left - refused} results were not delivered and are {fate}: {why}"

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for route in self._routes:
                route.courier.start()

    def _deliver(
        self, kind: str, result: object, fingerprint: str = "", labels: tuple[tuple[str, str], ...] = ()
    ) -> None:
        exact = self._texts["ndjson"].of(kind, result)
        name = "summary" if kind == "close" else kind
        id = identity(name, exact, fingerprint)
        now = time.time()
        if self._bugs:
            raise self._bugs.pop(0)
        for route in self._routes:
            line = exact if route.format == "ndjson" else self._texts[route.format].of(kind, result)
            if route.courier.put(Message(id, name, now, _with_id(route.format, line, id), labels)):
                self._tell_of_dropped(route, now)
                continue
            if not route.untold:
                _warn(f"warning: the spool for {route.target.shown} is full: new results are dropped")
            route.dropped, route.untold = route.dropped + 1, route.untold + 1
        self._start()

    def _tell_of_dropped(self, route: _Route, now: float) -> None:
        """Leave word in a spool that was full, so that the receiver knows of the gap."""
        if route.untold:
            gap = Skipped(
                "delivery", "", f"{route.untold} results were dropped about here: no room in the spool"
            )
            exact = self._texts["ndjson"].of("skipped", gap)
            id = identity("skipped", f"{now} {exact}")
            line = self._texts[route.format].of("skipped", gap)
            route.courier.put(Message(id, "skipped", now, _with_id(route.format, line, id)), force=True)
            route.untold = 0


class _Text:
    """A sink of one format whose lines are taken away one by one."""

    def __init__(self, format: str) -> None:
        self._handle = io.StringIO()
        self._sink: Any = open_sink(format, self._handle, color=False, show_suppressed=True, width=None)

    def of(self, kind: str, result: object) -> str:
        """Return the line for one result, without its end."""
        getattr(self._sink, kind)(result)
        text = self._handle.getvalue()
        self._handle.seek(0)
        self._handle.truncate()
        return text.rstrip("\n")


def _with_id(format: str, line: str, id: str) -> str:
    """Return a line with its delivery id: where the format has a place for one, else as its first member."""
    if format == "ndjson":
        return f'{{"delivery_id":{orjson.dumps(id).decode()},{line[1:]}'
    document = orjson.loads(line)
    document["event" if format == "ecs" else "metadata"]["id" if format == "ecs" else "uid"] = id
    return escape.json_line(orjson.dumps(document).decode())


def _warn(text: str) -> None:
    click.echo(visible(text), err=True)


def _silent(text: str) -> None:
    """Say nothing: `-q`; the end of the report says it all the same."""
