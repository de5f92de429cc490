"""An `Interrupt` makes SIGINT the end of one input: what came before it is reported (DESIGN 6, `scan -`).

Guarantees: nothing that was read is lost, wherever the signal comes: between two reads, within one, or while the
work on what was read goes on. The second SIGINT ends the program as ever. A process that was started with SIGINT
ignored (a background job) stays so.
"""

from __future__ import annotations

import os
import select
import signal
from types import FrameType


class Interrupt:
    """Takes SIGINT over until `close`; to be made in the main thread, which Python asks for."""

    def __init__(self) -> None:
        self.came = False
        # An exception could strike after a read and before its bytes are kept, so a pipe wakes who waits instead.
        self._wake, self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._ring)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True
        os.write(self._bell, b"!")

    def wait(self, fd: int) -> bool:
        """Wait until `fd` can be read; False where SIGINT came instead, or before."""
        if not self.came:
            select.select([fd, self._wake], [], [])
        return not self.came

    def close(self) -> None:
        """Give SIGINT back."""
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._before)
        os.close(self._wake)
        os.close(self._bell)
