"""`Following` is `Selection` for a live sensor: what can matter is handed on at once, and not when a window is full.

Packets come as they are captured. Where a flow becomes interesting, what the window still has of it is handed on first,
in the order of its packets; so the packets of one flow are in order, and those of several may not be. The window is
`WINDOW` octets or `MOST` buffers of packets, whichever is less. Pieces of requests are joined once `SETTLED` seconds
have passed, in which the other pieces should have come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from imdswatch.read.packets import Packets
from imdswatch.scan.flows import WINDOW, Selection
from imdswatch.scan.requests import Held
from imdswatch.scan.wiresearch import Search
from imdswatch.wire.columns import Bools
from imdswatch.wire.frame import Frame

MOST = 256
"""Buffers that are held back: two seconds of little traffic."""
SETTLED = 0.1
_PASSED = 64


class Following(Selection):
    """The packets of one interface that can matter; `now` is monotonic seconds."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._window: deque[tuple[Held, Bools]] = deque()  # with what was handed on
        self._octets = 0
        self._due: deque[tuple[float, Held]] = deque()
        self._passed: deque[Packets] = deque(maxlen=_PASSED)

    def search_for(self, search: Search) -> Iterator[Frame]:
        """Look for something else from now on, and in the window; flows that are interesting stay so."""
        self._search = search
        self._requests.search = search
        anew: dict[int, Held] = {}
        for place, (held, told) in enumerate(self._window):
            anew[id(held)] = self._looked(held.packets)
            self._window[place] = anew[id(held)], told
        self._due = deque((since, anew[id(held)]) for since, held in self._due if id(held) in anew)
        return self._wanted(again=True)

    def pass_on(self, packets: Packets) -> Iterator[Frame]:
        """Yield all of some few packets; they are looked at only if many follow."""
        self._passed.append(packets)
        return map(packets.frame, range(len(packets)))

    def take(self, packets: Packets, now: float) -> Iterator[Frame]:
        """Look at packets; yield those that can matter, and the older ones of flows that do since."""
        before = self._flows.count
        while self._passed:
            held = self._looked(self._passed.popleft())
            self._window.append((held, np.ones(len(held.packets), np.bool_)))
            self._octets += len(held.packets.octets)
        held = self._looked(packets)
        self._window.append((held, np.zeros(len(packets), np.bool_)))
        self._octets += len(packets.octets)
        self._due.append((now, held))
        yield from self._wanted(again=self._flows.count != before)
        while self._octets > WINDOW or len(self._window) > MOST:
            gone, _ = self._window.popleft()
            self._octets -= len(gone.packets.octets)
            if self._due and self._due[0][1] is gone:  # all that it could be joined with has come long ago
                yield from self._settled()

    @property
    def waits(self) -> bool:
        """Whether pieces are to be joined, so that `settle` should not be long in coming."""
        return bool(self._due)

    def settle(self, now: float) -> Iterator[Frame]:
        """Join pieces of requests that came long enough ago; yield what can matter because of it."""
        while self._due and now - self._due[0][0] >= SETTLED:
            yield from self._settled()

    def _settled(self) -> Iterator[Frame]:
        _, held = self._due.popleft()
        before = self._flows.count
        self._requests.settle(held, [later for _, later in self._due])
        if self._flows.count != before:
            yield from self._wanted(again=True)

    def _wanted(self, *, again: bool) -> Iterator[Frame]:
        """Yield what is wanted and was not handed on, of the last packets or of the whole window."""
        for held, told in self._window if again else list(self._window)[-1:]:
            held.chosen[self._flows.among(held.found.keys)] = True
            new = held.chosen & ~told
            if new.any():
                told |= new
                yield from map(held.packets.frame, np.flatnonzero(new).tolist())
