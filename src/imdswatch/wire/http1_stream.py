"""One direction of an HTTP/1 connection: octets in, heads and bodies out.

A Stream finds where messages begin, also after foreign octets (a capture that begins late, a gap, a SOCKS or PROXY
preface), reads heads line by line and lets bodies pass. It never fails: what is no message is passed over. Working
state of the parser; `http1.Conversation` knows which response belongs to which request. Time is linear in the octets
however they are cut into pieces; memory is bounded by one line, one head and the kept part of one body. Longer than
most modules here: the ways into a message (in step, after foreign octets, cut) share one buffer.
Source: RFC 9112 2.2 (leading empty lines, bare LF), 5.2 (line folding), 6 (bodies).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Any

from imdswatch.wire.http1_body import Body, Framing
from imdswatch.wire.http1_message import (
    LATE_REQUEST,
    MAX_LINE,
    Head,
    cut_request_line,
    request_line,
    status_line,
)

REQUESTS, RESPONSES = 0, 1
MAX_JUNK = 16 * 1024
"""Octets without a message after which a direction that had none counts as another protocol."""
_MAX_HEAD_LINES = 4096
"""Lines of one head; beyond, it is no head."""
MAX_MARKS = 1024
"""Segments that are told apart while their octets wait; of more, every second one answers for the next, too."""
_TAIL = 64
"""Octets kept from the end of a line that is too long: the version of a request line stands there."""
_VERSION = b"HTTP/"
_BLANK = b" \t"
_NOT_HTTP = (b"\x16\x03", b"\x17\x03\x03", b"SSH-", b"PRI * HTTP/2")
"""First octets of TLS, SSH and HTTP/2: none of them turns into HTTP/1 later."""
_LONGEST_ALIEN = max(len(octets) for octets in _NOT_HTTP)
_LINE_ENDS = re.compile(rb"[\r\n]+")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}(?:[ \t\x0b\x0c\r]|\Z)")  # blanks of RFC 9112 3
_LATE = {
    # what must follow where a start line is looked for among foreign octets; short, so that a search stays linear
    REQUESTS: re.compile(rb"HTTP/[01]\.[0-9][ \t\r]{0,16}\n"),
    RESPONSES: re.compile(rb"HTTP/1\.[01] [1-5][0-9]{2}(?: [^\r\n]{0,128})?\r?\n"),
}
_LATE_LENGTH = 160


@dataclass(slots=True)
class Message:
    """A message on its way through a Stream: the head, then (once its framing is known) the body."""

    head: Head
    body: Body | None = None
    finished: bool = False
    """The body is there to its end."""
    over: bool = False
    """Nothing more will come of it, finished or not."""


class Stream:
    """The messages of one direction.

    `put` octets, then call `next` until it is None. It returns a Message twice: when its head is there (give it a
    `body` before the next call) and when it is over. Between messages it waits for as long as the caller does not ask.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        self.buffer = bytearray()
        self.message: Message | None = None
        self.found = False
        self.junk = 0
        self.ended = False
        self.hold = False
        """The next message waits for the other direction."""
        self.bare = False
        """The next response has no head (HTTP/0.9)."""
        self.headless = False
        """The head of the next response may be among octets that nobody saw."""
        self.optional = False
        """The body of the request under way may be left out, so that the next request follows its head."""
        self._first = b""
        self._squeezed = 0  # octets cut out of the line at the front
        self._gone = 0  # octets of the stream that left the buffer
        self._marks: deque[tuple[int, Any]] = deque()
        self._scanned = 0
        self._lost = False  # what waits does not begin a message: one is looked for inside
        self._folded = bytearray()
        self._lines = 0

    @property
    def between(self) -> bool:
        """Whether no message is under way."""
        return self.message is None

    @property
    def alien(self) -> bool:
        """Whether the first octets are those of another protocol."""
        return self._first.startswith(_NOT_HTTP)

    @property
    def in_step(self) -> bool:
        """Whether it is known how the message under way ends; else others may have passed unseen."""
        body = None if self.message is None else self.message.body
        return body is not None and body.framing is not Framing.LOST

    def put(self, octets: bytes, mark: Any) -> None:
        """Append octets; `mark` is told with the message that begins in them."""
        if not octets:
            return
        self._marks.append((self._gone + self._squeezed + len(self.buffer), mark))
        if len(self._marks) > MAX_MARKS:
            self._marks = deque(list(self._marks)[::2])
        if not self.buffer:
            self._forget()
        self.buffer += octets
        if len(self._first) < _LONGEST_ALIEN:
            self._first += octets[: _LONGEST_ALIEN - len(self._first)]

    def next(self) -> Message | None:
        """Return the message whose head or end was reached next, or None where more octets are needed."""
        if self.message is None:
            self.message = self._begin()
            if self.message is None:
                return None
        message = self.message
        if message.body is not None:
            return self._read_body(message, message.body)
        return message if message.head.complete or message.head.damaged else self._read_head(message)

    def gap(self, length: int) -> Message | None:
        """Pass over octets that nobody saw; returns the message whose head they broke or whose end they hid.

        The caller takes all that `next` gives before it calls this, and calls it again while octets wait before the
        gap: behind a body of broken framing they may begin a request.
        """
        message = self.message
        if message is None:
            return self._cut_off()
        if message.body is not None:
            if message.body.gap(length, self.buffer):
                return None
            if message.body.done or self.side == REQUESTS:
                return self._finish(message, message.body.done)
            message.body.end(self.buffer)
            return None
        self._break_head(message.head)
        self._drop(len(self.buffer))
        return self._finish(message, False) if self.side == REQUESTS else message

    def end(self, closed: bool) -> Message | None:
        """Take the end of the direction; returns the message that it cut off or, where `closed`, completed.

        The caller calls it again while octets wait: behind a body that was cut they may begin a request.
        """
        self.ended = True
        message = self.message
        if message is None:
            return self._cut_off()
        if message.body is None:
            self._break_head(message.head)
            self._drop(len(self.buffer))
            return self._finish(message, False) if self.side == REQUESTS else message
        message.body.end(self.buffer)
        return self._finish(
            message, closed and message.body.framing is Framing.CLOSE and not message.body.cut
        )

    def release(self) -> bytes:
        """Give up all octets that wait here: they belong to another protocol."""
        octets = bytes(self.buffer)
        self._drop(len(octets))
        return octets

    # -- where a message begins ------------------------------------------------------------------------------------

    def _begin(self) -> Message | None:
        while self.buffer:
            searched = self._lost
            if searched and not self._search():
                return None
            if ends := _LINE_ENDS.match(self.buffer):
                self._drop(ends.end())
            elif self.plausible:
                line = None if self.hold else self._line()
                if line is None:
                    return None
                head = self._start(line)
                if head is not None:
                    self._take_line()
                    return self._started(head)
                self._lost = True
            elif self.bare:
                return self._started(Head(self._mark(0), version="0.9", bare=True))
            elif self.headless:
                return Message(Head(self._mark(0), damaged=True))
            else:
                self._lost = True
            if (
                searched and self._lost
            ):  # what was found is no start line after all, and must not be found again
                self._drop(self.buffer.find(b"\n") + 1 or len(self.buffer), junk=True)
            self._scanned = 0
        return None

    def _started(self, head: Head) -> Message:
        self.found = True
        self._lost = self.bare = self.optional = False
        self._folded.clear()
        self._lines = 0
        head.complete = head.bare
        return Message(head)

    @property
    def plausible(self) -> bool:
        """Whether the octets that wait may still become a start line."""
        if self.side == RESPONSES:
            return self.buffer[:5] == _VERSION[: len(self.buffer)]
        return _METHOD.match(self.buffer) is not None

    def _start(self, line: bytes) -> Head | None:
        mark = self._mark(0)
        if self.side == RESPONSES:
            return status_line(line, mark)
        return request_line(line, mark, first=not self.found and not self.junk)

    def _search(self) -> bool:
        """Drop what is no start line; True if a whole one stands at the front now, False if more octets are needed."""
        while True:
            found = self.buffer.find(_VERSION, self._scanned)
            if found < 0:
                # The end may be the beginning of a start line.
                keep = max(0, len(self.buffer) - len(_VERSION) + 1)
                self._drop_junk(self._line_start(len(self.buffer), keep), scanned=keep)
                return False
            late = _LATE[self.side].match(self.buffer, found)
            begin = self._line_start(found, found)
            if late is not None:
                start = self._late_start(bytes(self.buffer[begin : late.end()]))
                if start is not None:
                    self._drop_junk(begin + start)
                    self._lost = False
                    return True
            elif len(self.buffer) - found < _LATE_LENGTH and self.buffer.find(b"\n", found) < 0:
                self._drop_junk(begin, scanned=found)
                return False
            self._scanned = found + len(_VERSION)

    def _line_start(self, end: int, response: int) -> int:
        """Return where a start line that goes on at `end` may have begun; one of a response begins with its version."""
        if self.side == RESPONSES:
            return response
        return max(self.buffer.rfind(b"\n", 0, end) + 1, end - MAX_LINE)

    def _drop_junk(self, count: int, scanned: int = 0) -> None:
        self._drop(count, junk=True)
        self._scanned = max(0, scanned - count)

    def _late_start(self, line: bytes) -> int | None:
        """Return where in a line that ends like a start line one begins, or None."""
        if self.side == RESPONSES:
            return 0 if status_line(line, None) else None
        late = LATE_REQUEST.search(line)
        if late is not None:
            return late.start()
        return 0 if request_line(line, None, first=False) else None

    def _cut_off(self) -> Message | None:
        """Give up what waits between messages; returns the request that it may be the beginning of."""
        begin = self.buffer.rfind(b"\n") + 1
        line = bytes(self.buffer[begin : begin + MAX_LINE])
        head = cut_request_line(line, self._mark(begin)) if self.side == REQUESTS else None
        self._drop(len(self.buffer), junk=head is None)
        if head is None:
            return None
        self.found = True
        return self._finish(Message(head), False)

    # -- head and body -----------------------------------------------------------------------------------------------

    def _read_head(self, message: Message) -> Message | None:
        head = message.head
        while True:
            line = self._line()
            if line is None:
                return None
            self._take_line()
            self._lines += 1
            if line[0] in _BLANK and line.strip():
                # obs-fold; a folded line right after the start line is consumed and says nothing (RFC 9112 2.2)
                if self._folded and len(self._folded) < MAX_LINE:
                    self._folded = bytearray(self._folded.rstrip()) + b" " + line.strip()
                continue
            self._add_folded(head)
            if not line.strip(b"\r\n \t"):
                head.complete = True
                return message
            if self._lines > _MAX_HEAD_LINES:
                self._break_head(head)
                return self._finish(message, False) if self.side == REQUESTS else message
            self._folded += line

    def _add_folded(self, head: Head) -> None:
        if self._folded:
            head.add(bytes(self._folded))
            self._folded.clear()

    def _break_head(self, head: Head) -> None:
        """Take the lines of a head that goes no further."""
        self._add_folded(head)
        head.damaged = True

    def _read_body(self, message: Message, body: Body) -> Message | None:
        if self.optional and self.buffer and not body.done:
            line = self._line() if self.plausible else b""
            if line is None:
                return None
            if line and len(line.split()) == 3 and request_line(line, None, first=False):
                return self._finish(message, False)
            self.optional = False
        size = len(self.buffer)
        body.take(self.buffer)
        if body.framing is Framing.LOST and self.side == RESPONSES:
            body.take_lost(self.buffer)
        self._passed(size - len(self.buffer))
        if body.framing is Framing.LOST and self.side == REQUESTS:
            return self._finish(message, False)  # nothing that may be a request is passed over as its body
        if not body.done:
            return None
        return self._finish(message, body.framing is not Framing.LOST)

    def _finish(self, message: Message, finished: bool) -> Message:
        message.finished = finished
        message.over = True
        self.message = None
        self._lost = False
        self._scanned = 0
        return message

    # -- octets --------------------------------------------------------------------------------------------------------

    def _line(self) -> bytes | None:
        """Return the next line with its end, without taking it; of one that is too long its two ends."""
        stop = self.buffer.find(b"\n", self._scanned)
        if stop < 0:
            self._scanned = len(self.buffer)
            if len(self.buffer) > 4 * MAX_LINE:
                self._squeeze()
                self._scanned = len(self.buffer)
            return None
        self._scanned = stop
        if stop >= MAX_LINE + _TAIL:
            return bytes(self.buffer[:MAX_LINE] + self.buffer[stop + 1 - _TAIL : stop + 1])
        return bytes(self.buffer[: stop + 1])

    def _squeeze(self) -> None:
        """Cut out the middle of a line that is too long, and forget the marks of octets there."""
        excess = len(self.buffer) - MAX_LINE - _TAIL
        del self.buffer[MAX_LINE : MAX_LINE + excess]
        self._squeezed += excess
        begin = self._gone + MAX_LINE
        end = begin + self._squeezed
        last = max(
            (place for place, _ in self._marks if place <= end), default=end
        )  # it tells of the tail, too
        self._marks = deque(mark for mark in self._marks if not begin < mark[0] < last)

    def _take_line(self) -> None:
        self._drop(self._scanned + 1)

    def _drop(self, count: int, junk: bool = False) -> None:
        if not count:
            return
        del self.buffer[:count]
        if junk:
            self.junk += count
        self._passed(count)

    def _passed(self, count: int) -> None:
        self._gone += count + self._squeezed
        self._squeezed = 0
        self._scanned = 0
        self._forget()

    def _forget(self) -> None:
        while len(self._marks) > 1 and self._marks[1][0] <= self._gone:
            self._marks.popleft()

    def _mark(self, offset: int) -> Any:
        """Return the mark of the octet at an offset in the buffer."""
        place = self._gone + offset
        chosen = None
        for begin, mark in self._marks:
            if begin > place:
                break
            chosen = mark
        return chosen
