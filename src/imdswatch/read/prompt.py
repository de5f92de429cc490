"""`Prompt` is `Dialogues` for a live sensor: no end of the capture comes, and nobody would wait for it.

What would be told at the end of a capture is told `SOON` after it began (a request without response, a connection
without request), `LATER` where a response is under way, whose rest may say more. Only news is told so: what a victim
and an endpoint did not show yet. When the rest comes it is told too where it says more, and else not again, so that an
exchange that took longer than `SOON` may count twice in `count`, and the stage is right at any time. Connections that
are silent for `SILENT` seconds are over. Where the beginning of a connection was not seen, the lowest segment of the
first `SOON` seconds begins it; holes later on are waited for as in a capture, since what was lost is sent again.

Time is the capture's, carried on by a monotonic clock while nothing comes. When the system's clock is set back by more
than `BACK` seconds, everything open is told as it stands and begins anew, as timeouts could not be told any more.

Guarantees: those of `Dialogues`; what a packet shows is told within `LATER` of it, if `tick` is called that often.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from imdswatch.event import derive_answered, endpoint, victim_ip, victim_mac
from imdswatch.read.connections import Connections
from imdswatch.read.datagrams import Lookups
from imdswatch.read.dialogues import Dialogues
from imdswatch.read.observed import Observed
from imdswatch.read.recent import Recent
from imdswatch.read.talk import Talk
from imdswatch.wire.frame import Frame
from imdswatch.wire.packet import expire

SOON = 0.03
"""Seconds: an answer on the same segment takes a few milliseconds, and a person should not be told three times."""
LATER = 0.5
SILENT = 90.0
"""Seconds: Linux sends a SYN again for 63 s, a client waits less for a response."""
BACK = 5.0
_LOOKUP = 0.8  # seconds that a lookup waits for its answer
_FRAGMENTS = 2.0
_MOST = 1 << 14
_MOST_WAITING = 1 << 12
_AT_ONCE = 256  # connections that are looked into at one tick: a flood of them is told as it closes

_News = tuple[object, ...]


class _Open(Dialogues):
    """Dialogues that say which connections something came of."""

    def __init__(self) -> None:
        self.touched: list[Talk] = []
        super().__init__()

    def _open(self) -> tuple[Lookups, Connections]:
        lookups = Lookups(_LOOKUP)
        return lookups, Connections(self._steps, lookups, self.touched.append)

    def expire(self, now: float, silent: float) -> Iterator[Observed]:
        """Yield what waited long enough, by the time of the capture."""
        for packet in expire(self._fragments, now, _FRAGMENTS):
            yield from self._packet(packet)
        yield from self._connections.expire(now, silent)
        yield from self._lookups.expire(now)

    def waits(self, talk: Talk) -> bool:
        """Say whether only more packets, or the end, show what becomes of a connection."""
        return self._connections.waits(talk)

    def hurry(self, talk: Talk) -> Iterator[Observed]:
        """Yield what waits for packets that may never be seen."""
        return self._connections.hurry(talk)

    def so_far(self, talk: Talk, *, cut: bool) -> Iterator[Observed]:
        """Yield what would be told of a connection if the capture ended now."""
        return self._connections.so_far(talk, cut=cut)


class Prompt:
    """The dialogues of one interface. `now` is monotonic seconds, and only its differences count."""

    def __init__(self) -> None:
        self._begin()
        self._known: Recent[_News, bool] = Recent(_MOST)
        """What was told of victims and endpoints."""
        self._early: Recent[_News, bool] = Recent(_MOST)
        """What was told of exchanges before they were complete."""

    def _begin(self) -> None:
        self._dialogues = _Open()
        self._soon: OrderedDict[int, tuple[Talk, float]] = OrderedDict()
        self._later: OrderedDict[int, tuple[Talk, float]] = OrderedDict()
        self._time: float | None = None  # of the last frame, and when it came
        self._came = 0.0

    def push(self, frame: Frame, now: float) -> list[Observed]:
        """Take one frame; return what is known by it."""
        found: list[Observed] = []
        if frame.time is not None:
            if self._time is not None and frame.time < self._time - BACK:
                found = self.end()
            if self._time is None or frame.time > self._time:
                self._time, self._came = frame.time, now
        dialogues = self._dialogues
        found += self._finally(dialogues.push(frame))
        if dialogues.touched:
            for talk in dialogues.touched:
                number = talk.connection.number
                if number not in self._soon and dialogues.waits(talk):
                    self._soon[number] = talk, now
                    if len(self._soon) > _MOST_WAITING:  # a flood: those are told when they are over
                        self._soon.popitem(last=False)
            dialogues.touched.clear()
        return found

    def tick(self, now: float) -> list[Observed]:
        """Let time pass; return what waited long enough."""
        found: list[Observed] = []
        dialogues = self._dialogues
        for talk in _due(self._soon, now - SOON):
            found += self._finally(dialogues.hurry(talk))
            found += self._of(talk, cut=False)
            if dialogues.waits(talk) and len(self._later) < _MOST_WAITING:
                self._later.setdefault(talk.connection.number, (talk, now))
        for talk in _due(self._later, now - LATER + SOON):
            found += self._of(talk, cut=True)
        if self._time is not None:
            found += self._finally(dialogues.expire(self._time + now - self._came, SILENT))
        return found

    @property
    def waits(self) -> bool:
        """Whether something is to be told soon, so that `tick` should not be long in coming."""
        return bool(self._soon or self._later)

    def end(self) -> list[Observed]:
        """Return what is left, and begin anew."""
        found = self._finally(self._dialogues.end())
        self._begin()
        return found

    def _of(self, talk: Talk, *, cut: bool) -> Iterator[Observed]:
        """Yield the news of a connection that is open."""
        for one in self._dialogues.so_far(talk, cut=cut):
            news = _news(one)
            if self._known.get(news) is None:
                self._known.put(news, True)
                self._early.put((one.number, *news), True)
                yield one

    def _finally(self, found: Iterable[Observed]) -> list[Observed]:
        """Return events that are complete, but for what was told of them before."""
        out: list[Observed] = []
        for one in found:
            news = _news(one)
            self._known.put(news, True)
            if self._early.get((one.number, *news)) is None:
                out.append(one)
        return out


def _due(waiting: OrderedDict[int, tuple[Talk, float]], until: float) -> Iterator[Talk]:
    for _ in range(_AT_ONCE):
        number, (talk, since) = next(iter(waiting.items()), (0, (None, 0.0)))
        if talk is None or since > until:
            return
        del waiting[number]
        yield talk


def _news(one: Observed) -> _News:
    """Return what an event adds to what is known of a victim and an endpoint."""
    fields = one.fields
    answered = fields.get("answered")
    return (
        victim_ip(fields) or victim_mac(fields),
        endpoint(fields),
        fields.get("step"),
        bool(derive_answered(fields) if answered is None else answered),
        fields.get("account_id"),
        fields.get("nat_dst"),
        bool(fields.get("dns_answer")),
    )
