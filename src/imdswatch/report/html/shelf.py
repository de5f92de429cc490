"""Keeps the rows of the worst findings of any number, packed, in bounded memory.

Packed rows lie in memory while they are few, and in a temporary file from `ROOM` bytes on. A row that is let go stays
in the file, which stays small all the same: of findings in any order ever fewer are worse than what is kept.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from imdswatch.errors import UsageError
from imdswatch.finding import Finding
from imdswatch.report.digest import Rank, rank
from imdswatch.report.html.row import Row, row

LISTED = 100_000
"""Findings that a page holds: as many as a browser filters in an instant."""
SUPPRESSED = 10_000
ROOM = 16 << 20


class Shelf:
    """Keeps the `most` worst findings. Raises UsageError where a temporary file cannot be written."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[Rank, int, int]] = []
        self._packed = tempfile.SpooledTemporaryFile(ROOM, prefix="imdswatch-")  # noqa: SIM115  closed by `close`
        self._end = 0
        self.total = 0

    def add(self, finding: Finding) -> None:
        """Take a finding, and let go of the mildest where there is no room."""
        self.total += 1
        place = rank(finding, self.total)
        full = len(self._heap) >= self._most
        if full and place < self._heap[0][0]:
            return
        made = row(finding)
        packed = orjson.dumps((made.texts, made.numbers, made.details))
        with _writable():
            self._packed.write(packed)
        (heapq.heappushpop if full else heapq.heappush)(self._heap, (place, self._end, len(packed)))
        self._end += len(packed)

    @property
    def more(self) -> int:
        """How many findings were let go."""
        return self.total - len(self._heap)

    def rows(self) -> Iterator[Row]:
        """Yield what was kept, worst first; may be asked again, but nothing may be added afterwards."""
        self._heap.sort(reverse=True)
        for _, start, length in self._heap:
            with _writable():  # what is still buffered is written here
                self._packed.seek(start)
            yield Row(*orjson.loads(self._packed.read(length)))

    def close(self) -> None:
        """Give the temporary file back."""
        with _writable():
            self._packed.close()


@contextmanager
def _writable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot write temporary files: {(error.strerror or str(error)).lower()}",
            file=tempfile.gettempdir(),
            help="set TMPDIR to a folder with room: about 2 kB for each finding",
        ) from error
