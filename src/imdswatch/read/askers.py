"""`Askers` tells which process opened a connection, from what the kernel says of sockets on this machine.

A connection is begun by a process (`began`, the source port not chosen yet) and later known by its ports (`known`, in
whatever context the kernel was). Both are joined in the order in which they came. Where several processes wait for the
same destination, none is named alone: unknown is said as unknown.

`parse` reads one line of the tracepoint sock:inet_sock_set_state (linux/include/trace/events/sock.h) as trace_pipe
prints it (Documentation/trace/ftrace.rst). Pure; bounded; nothing raises for what a line or a process says of itself.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from imdswatch import address
from imdswatch.read.recent import Recent

_MOST = 1 << 13
_MOST_OF_ONE = 64
_YOUNG = 5.0
"""Seconds for which a connection that never became known by its ports is looked for: Linux's first SYNs."""
_LINE = re.compile(
    r"\s*(?P<comm>.*)-(?P<tid>\d+)\s.*? inet_sock_set_state: family=AF_INET6? protocol=IPPROTO_TCP "
    r"sport=(?P<sport>\d+) dport=(?P<dport>\d+) saddr=(?P<saddr>\S+) daddr=(?P<daddr>\S+) "
    r"saddrv6=(?P<saddrv6>\S+) daddrv6=(?P<daddrv6>\S+) oldstate=TCP_(?P<old>\w+) newstate=TCP_(?P<new>\w+)"
)
_LOST = re.compile(r"CPU:\d+ \[LOST (\d+) EVENTS\]")


@dataclass(frozen=True, slots=True)
class Asker:
    """A process that opened a connection; None and empty for what could not be read before it was gone."""

    name: str
    """Its executable, or what it calls itself."""
    pid: int | None = None
    user: str = ""
    group: str = ""
    """Its control group, which names the container where there is one."""

    @property
    def origin(self) -> str:
        """Where it runs: `pid 4711, user build, cgroup /docker/3f2a`."""
        parts = (f"pid {self.pid}" if self.pid else "", f"user {self.user}" if self.user else "")
        group = f"cgroup {self.group}" if self.group not in ("", "/") else ""
        return ", ".join(part for part in (*parts, group) if part)


class Change(NamedTuple):
    """A socket that begins to connect (`begins`), or that ends to; `tid` and `comm` are of whoever was running."""

    tid: int
    comm: str
    begins: bool
    src: str
    sport: int
    dst: str
    dport: int


class Lost(NamedTuple):
    """How many events the kernel had no room for."""

    events: int


def parse(line: str) -> Change | Lost | None:
    """Read one line of trace_pipe; None if it says nothing of a connection."""
    found = _LINE.match(line)
    if found is None:
        lost = _LOST.match(line)
        return Lost(int(lost[1])) if lost else None
    src = address.parse(found["saddr"] if found["saddr"] != "0.0.0.0" else found["saddrv6"])
    dst = address.parse(found["daddr"] if found["daddr"] != "0.0.0.0" else found["daddrv6"])
    if src is None or dst is None or "SYN_SENT" not in (found["old"], found["new"]):
        return None
    begins = found["new"] == "SYN_SENT"
    return Change(
        int(found["tid"]), found["comm"], begins, src, int(found["sport"]), dst, int(found["dport"])
    )


_Way = tuple[str, str, int]
"""Source, destination, destination port."""


class Askers:
    """Who opened which connection; times are monotonic seconds."""

    def __init__(self) -> None:
        self._begun: Recent[_Way, deque[tuple[float, int, Asker]]] = Recent(_MOST)
        self._known: Recent[tuple[str, int, str, int], Asker] = Recent(_MOST)

    def began(self, change: Change, asker: Asker, now: float) -> None:
        """Note who begins to connect."""
        way = change.src, change.dst, change.dport
        waiting = self._begun.get(way) or deque(maxlen=_MOST_OF_ONE)
        waiting.append((now, change.tid, asker))
        self._begun.put(way, waiting)
        if change.sport:
            self.name(change.src, change.sport, change.dst, change.dport, asker)

    def known(self, change: Change) -> None:
        """Note the ports of a connection that began before."""
        waiting = self._begun.get((change.src, change.dst, change.dport))
        if not waiting:
            return
        own = next((one for one in waiting if one[1] == change.tid), waiting[0])
        waiting.remove(own)
        self.name(change.src, change.sport, change.dst, change.dport, own[2])

    def name(self, src: str, sport: int, dst: str, dport: int, asker: Asker) -> None:
        """Note who has a connection."""
        self._known.put((src, sport, dst, dport), asker)

    def of(self, src: str, sport: int, dst: str, dport: int, now: float) -> Asker | None:
        """Return who opened a connection, or None; of several that may have, all that they have in common."""
        found = self._known.get((src, sport, dst, dport))
        if found is not None:
            return found
        waiting = self._begun.get((src, dst, dport)) or ()
        young = {asker.pid or asker.name: asker for when, _, asker in waiting if now - when <= _YOUNG}
        if len(young) < 2:
            return next(iter(young.values()), None)
        names = {asker.name for asker in young.values()}
        users = {asker.user for asker in young.values()}
        groups = {asker.group for asker in young.values()}
        return Asker(
            " or ".join(sorted(names)[:3]),
            None,
            users.pop() if len(users) == 1 else "",
            groups.pop() if len(groups) == 1 else "",
        )
