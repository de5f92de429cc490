"""The HTTP/1 dialogue of one TCP connection, both directions, without any I/O.

A `Conversation` takes the octets of each direction as they come and returns an `Exchange` whenever a response is
complete, and at the end what is known of the rest. It never raises for any octets, keeps no secret and no body, and
its memory is bounded: a head of MAX_HEADERS fields and MAX_LINE octets a line, 256 KiB of a body and MAX_HELD octets
that wait per direction, MAX_OUTSTANDING requests without response (beyond, the oldest is returned without one).
How the octets are cut into pieces makes no difference to what is returned over all calls.

Order: responses belong to requests in order (RFC 9112 9.3.2). Octets of the server that come first wait for a request
if the connection was seen from its start; else they are the rest of an older dialogue and returned without request.

Longer than most modules here: pairing, waiting and tunnels depend on each other's state.

Tunnels: after a 2xx to CONNECT, or 101, `tunnel` is True and what follows is another protocol. The caller takes its
octets with `take_tunnelled(direction)` after every call, and gives them to `tls.server_name` or a new Conversation.
Source: RFC 9110, RFC 9112.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from imdswatch import documents
from imdswatch.wire.http1_body import Body, Framing, decoded, length_of
from imdswatch.wire.http1_message import Exchange, Head, Request, Response, first_value
from imdswatch.wire.http1_stream import MAX_JUNK, REQUESTS, RESPONSES, Message, Stream

__all__ = ["Conversation", "Exchange", "Request", "Response"]

MAX_OUTSTANDING = 64
MAX_HELD = 64 * 1024
_TOKEN_TTL = "x-aws-ec2-metadata-token-ttl-seconds"


class Conversation:
    """One connection; `from_start` says whether its first octets were seen (the SYN was)."""

    def __init__(self, *, from_start: bool = True) -> None:
        self.tunnel = False
        self._from_start = from_start
        self._streams = (Stream(REQUESTS), Stream(RESPONSES))
        self._outstanding: deque[Message] = deque()
        self._asked: Message | None = None
        """The request that the response under way answers."""
        self._waits = False
        """A CONNECT or Upgrade was asked: whose octets follow is known once it is answered."""
        self._slipped = False
        """Responses may have been among octets that nobody saw."""
        self._tunnelled = (bytearray(), bytearray())
        self._done: list[Exchange] = []

    @property
    def is_http(self) -> bool | None:
        """Whether this is HTTP/1; None while that is open.

        False is advice, not the end: a message that comes later is still read, and this becomes True.
        """
        if any(stream.found for stream in self._streams):
            return True
        if any(stream.alien or stream.junk > MAX_JUNK for stream in self._streams):
            return False
        return None

    @property
    def waits(self) -> bool:
        """Whether a request was seen and the end of its response was not."""
        return self._asked is not None or bool(self._outstanding)

    def feed(self, direction: int, octets: bytes, mark: Any) -> list[Exchange]:
        """Take octets of a direction (0: from the client) in order; `mark` comes back with what begins in them."""
        if self.tunnel:
            self._collect(direction, octets)
            return []
        self._streams[direction].put(octets, mark)
        self._run(direction)
        return self._take()

    def gap(self, direction: int, length: int) -> list[Exchange]:
        """Take note that octets of a direction are missing for good."""
        if self.tunnel or length <= 0:
            return []
        stream = self._streams[direction]
        if direction == REQUESTS and self._waits:
            return []
        if direction == RESPONSES and stream.between:
            self._let_go()
        message = stream.gap(length)
        if direction == RESPONSES and not stream.in_step:
            self._slipped = True
        while message is not None:
            self._step(direction, message)
            message = stream.gap(length) if direction == REQUESTS and stream.buffer else None
        self._run(direction)
        return self._take()

    def close(self, direction: int | None = None, *, finished: bool = True) -> list[Exchange]:
        """Take the end of one direction, or of both; returns what is known of all that is left in the second case.

        `finished` False: the end was not seen (reset, end of the capture), so a body that ends with the connection is
        not complete.
        """
        order = (RESPONSES, REQUESTS) if self._waits else (REQUESTS, RESPONSES)
        for side in order if direction is None else (direction,):
            if not self.tunnel and not self._streams[side].ended:
                self._end(side, finished)
                self._run(side)
        if all(stream.ended for stream in self._streams):
            while self._outstanding:
                self._answered(self._outstanding.popleft(), None)
        return self._take()

    def take_tunnelled(self, direction: int) -> bytes:
        """Return the octets of the tunnel that came since the last call, and forget them; at most MAX_HELD are kept."""
        octets = bytes(self._tunnelled[direction])
        self._tunnelled[direction].clear()
        return octets

    # -- both directions -------------------------------------------------------------------------------------------

    def _run(self, came: int) -> None:
        """Go on as far as octets are there. `came` is the direction of the last ones.

        After every message of it the other direction goes first, as if those octets had come one at a time.
        """
        while self._advance(1 - came) or self._advance(came):
            pass

    def _advance(self, side: int) -> bool:
        """Take one step in a direction; False if it needs more octets or has to wait for the other."""
        if self.tunnel:
            return False
        stream = self._streams[side]
        if stream.between:
            stream.hold = self._held(side)
            if stream.hold and side == REQUESTS:
                return False  # what waits may be a tunnel's: nothing of it is looked at
            late = self._slipped or not (self._from_start or stream.found)
            stream.headless = late and side == RESPONSES and bool(self._outstanding)
        message = stream.next()
        if message is None:
            return False
        self._step(side, message)
        if not message.over and message.body is not None and message.body.done:
            stream.next()  # it has no body: the end of its head is its own
            self._step(side, message)
        return True

    def _held(self, side: int) -> bool:
        """Whether the next message of a direction has to wait for the other direction."""
        stream = self._streams[side]
        if side == REQUESTS:
            if self._waits and len(stream.buffer) > MAX_HELD:
                self._unanswered_wait()
            return self._waits
        if self._outstanding or not self._from_start or self._streams[REQUESTS].ended:
            return False
        if len(stream.buffer) > MAX_HELD:
            self._from_start = False
            return False
        return True

    def _step(self, side: int, message: Message) -> None:
        if side == REQUESTS:
            self._requested(message)
        else:
            self._responded(message)

    def _end(self, side: int, finished: bool) -> None:
        stream = self._streams[side]
        if side == RESPONSES:
            self._let_go()
        elif self._waits:
            self._unanswered_wait()
            self._run(side)
            if self.tunnel:
                return
        message = stream.end(finished)
        while message is not None:
            self._step(side, message)
            message = stream.end(finished) if not message.over or stream.buffer else None

    def _let_go(self) -> None:
        """Read what waits for a request: none will come that could explain it."""
        before, self._from_start = self._from_start, False
        self._run(RESPONSES)
        self._from_start = before

    def _unanswered_wait(self) -> None:
        """Go on where nobody saw the answer: octets after a CONNECT are its tunnel, an Upgrade may be declined."""
        self._waits = False
        if any(message.head.method == "CONNECT" for message in self._outstanding):
            self._open_tunnel()

    def _take(self) -> list[Exchange]:
        done, self._done = self._done, []
        return done

    # -- requests ----------------------------------------------------------------------------------------------------

    def _requested(self, message: Message) -> None:
        head = message.head
        if message.body is None:
            message.body = _request_body(head)
            self._outstanding.append(message)
            self._waits = head.complete and (head.method == "CONNECT" or head.upgrades)
            self._streams[RESPONSES].bare = head.bare
            if len(self._outstanding) > MAX_OUTSTANDING:
                self._answered(self._outstanding.popleft(), None)

    # -- responses ---------------------------------------------------------------------------------------------------

    def _responded(self, message: Message) -> None:
        head = message.head
        if message.body is None:
            self._ask_for(head)
            message.body = self._response_body(head)
        if not message.over:
            return
        if head.status is not None and 100 <= head.status < 200 and head.status != 101:
            if self._asked is not None:
                self._outstanding.appendleft(self._asked)
                self._asked = None
            return
        asked, self._asked = self._asked, None
        self._answered(asked, message)
        if asked is None:
            return
        opened = head.status == 101 or (
            asked.head.method == "CONNECT" and head.status is not None and 200 <= head.status < 300
        )
        if opened:
            self._open_tunnel()
        self._waits = self._waits and bool(self._outstanding)
        if (
            not asked.over
            and asked.head.expects_continue
            and asked.body is not None
            and not asked.body.length
        ):
            # Refused before it was sent, a body need not come (RFC 9110 10.1.1): the real service answers 417.
            self._streams[REQUESTS].optional = True

    def _ask_for(self, head: Head) -> None:
        if self._slipped:
            # Clients that send one request at a time have had an answer to all but the last.
            while len(self._outstanding) > 1:
                self._answered(self._outstanding.popleft(), None)
            self._slipped = False
        self._asked = self._outstanding.popleft() if self._outstanding else None

    def _response_body(self, head: Head) -> Body:
        method = "" if self._asked is None else self._asked.head.method
        status = head.status or 0
        if head.damaged:
            return Body(Framing.LOST, keep=True)
        if head.bare:
            return Body(Framing.CLOSE, keep=True)
        if method == "HEAD" or status < 200 or status in (204, 304) or (method == "CONNECT" and status < 300):
            return Body(Framing.LENGTH)
        codings = [coding for coding in head.transfer_codings if coding != "identity"]  # RFC 2616 3.6: none
        if codings and codings[-1] == "chunked":
            return Body(Framing.CHUNKED, keep=True)
        length = length_of(head.lengths)
        if length is None:
            return Body(Framing.CLOSE, keep=True)
        if codings or head.ambiguous_length:
            # Clients disagree: Python's http.client passes over a coding that it does not know and takes the first
            # length, Java's HttpURLConnection the last.
            return Body(Framing.LOST, keep=True)
        return Body(Framing.LENGTH, length, keep=True)

    # -- results -----------------------------------------------------------------------------------------------------

    def _answered(self, asked: Message | None, answer: Message | None) -> None:
        request = None if asked is None else _request(asked)
        response = None if answer is None else _response(answer, request)
        self._done.append(Exchange(request, response))

    # -- tunnels -----------------------------------------------------------------------------------------------------

    def _open_tunnel(self) -> None:
        self.tunnel = True
        self._waits = False
        while self._outstanding:
            self._answered(self._outstanding.popleft(), None)
        for stream in self._streams:
            self._collect(stream.side, stream.release())

    def _collect(self, direction: int, octets: bytes) -> None:
        room = MAX_HELD - len(self._tunnelled[direction])
        self._tunnelled[direction].extend(octets[: max(0, room)])


def _request_body(head: Head) -> Body:
    if head.transfer_codings and head.complete:
        return Body(Framing.CHUNKED)
    return Body(Framing.LENGTH, (length_of(head.lengths) or 0) if head.complete else 0)


def _request(message: Message) -> Request:
    head, body = message.head, message.body
    return Request(
        method=head.method,
        target=head.target,
        version=head.version,
        headers=tuple(head.headers),
        complete=head.complete and message.finished,
        line_complete=head.line_complete,
        body_length=0 if body is None else body.length,
        mark=head.mark,
        signing_key_id=head.signing_key_id,
        ambiguous=head.ambiguous,
    )


def _response(message: Message, request: Request | None) -> Response:
    head, body = message.head, message.body
    assert body is not None, "a response is over after its body"
    headers = tuple(head.headers)
    octets, whole = decoded(
        body.kept, [*head.content_codings, *head.transfer_codings], message.finished and body.whole
    )
    ttl = first_value(headers, _TOKEN_TTL) or ""
    document = documents.read(
        None if request is None else request.path,
        octets,
        method="" if request is None else request.method,
        status=head.status,
        token_ttl=int(ttl) if ttl.isascii() and ttl.isdigit() and len(ttl) < 10 else None,
        whole=whole,
    )
    return Response(
        version=head.version,
        status=head.status,
        reason=head.reason,
        headers=headers,
        body_length=body.length,
        complete=head.complete and message.finished,
        mark=head.mark,
        document=document,
        whole=whole,
        mime=(first_value(headers, "content-type") or "").partition(";")[0].strip().lower() or None,
        ambiguous=head.ambiguous,
    )
