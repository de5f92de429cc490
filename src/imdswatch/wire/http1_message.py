"""HTTP/1 messages as values, and the reading of their heads; secrets end here.

A Request or Response keeps header names as they were sent and in their order (clients are known by them); a value that
may be a secret is None. Of a signature only the key id stays. Pure. Sources: RFC 9110, RFC 9112; AWS General Reference
(signing: SigV4, SigV4a and the older `AWS key:signature`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from imdswatch import documents, urlpath
from imdswatch.redact import redact

Headers = tuple[tuple[str, str | None], ...]

MAX_LINE = 16 * 1024
"""Octets of one start or header line; of a longer one the first so many and the last few are kept."""
MAX_HEADERS = 256
"""Header fields kept of one message; later ones still frame the body (Content-Length …) but are not kept."""
MAX_VALUE = 4096
"""Characters kept of one header value."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_METHOD = re.compile(_TOKEN + rb"{1,32}\Z")
_VERSION = re.compile(rb"HTTP/([01]\.[0-9])\Z")
_STATUS_LINE = re.compile(
    # as lax as the laxest client: Python's http.client takes HTTP/1.10 and 0200, Go's net/http takes HTTP/2.0
    rb"HTTP/([0-9]\.[!-~]{1,16})[ \t\x0b\x0c]+\+?[0_]{0,16}([1-9]_?[0-9]_?[0-9])(?:[ \t\r\n\x0b\x0c](.*)|\Z)",
    re.DOTALL,
)
_KNOWN_METHODS = frozenset(b"GET PUT HEAD POST DELETE OPTIONS CONNECT PATCH TRACE".split())
LATE_REQUEST = re.compile(
    # after octets that belong to something else: only methods that are in use, and no blanks in the target
    rb"(GET|PUT|HEAD|POST|DELETE|OPTIONS|CONNECT|PATCH|TRACE) ([!-~\x80-\xff]+) HTTP/(1\.[01])\r?\n\Z"
)
_TARGET = re.compile(rb"/|\*\Z|[A-Za-z][A-Za-z0-9+.\-]{0,31}://")

_SECRET_NAME = re.compile(
    r"(?i)token|secret|passw|cookie|credential|api-?key|authorization|session|signature|x-auth|private|(?:^|-)key$"
)
_USERINFO = re.compile(r"\A([A-Za-z][A-Za-z0-9+.\-]{0,31}:/{1,3})?[^/?#]*@")
_SIGNED = re.compile(r"(?i)Credential=\"?([A-Za-z0-9_]{3,128})(?:/|%2f)|\AAWS ([A-Za-z0-9_]{3,128}):")
_SIGNED_QUERY = re.compile(
    r"(?i)[?&](?:X-Amz-Credential=([A-Za-z0-9_]{3,128})(?:/|%2f)|AWSAccessKeyId=([A-Za-z0-9_]{3,128}))"
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; what the capture does not hold is empty.

    target          as sent, without user information and with secrets in the query replaced
    headers         (name as sent, value; None where the value may be a secret), in order, repeated ones too
    complete        head and body were there to the end; octets that a gap hid inside a counted body do not matter
    line_complete   the request line was there to its end, so the target is whole
    body_length     octets of content seen or known to be missing, without chunk framing
    mark            what `feed` was given with the message's first octet
    signing_key_id  access key id of an AWS signature in the Authorization header or the query
    ambiguous       framed in two ways (Content-Length and chunked, differing lengths): RFC 9112 11.2, smuggling
    """

    method: str
    target: str
    version: str
    headers: Headers
    complete: bool
    line_complete: bool
    body_length: int
    mark: Any
    signing_key_id: str | None = None
    ambiguous: bool = False

    def header(self, name: str) -> str | None:
        """Return the value of the first header of that name, compared without case; None if absent or secret."""
        return first_value(self.headers, name)

    @property
    def host(self) -> str | None:
        """The host asked, with port if given: that of an absolute or authority target, else the Host header's."""
        if not self.target.startswith("/") and self.target != "*":
            named = urlpath.split(self.target).host
            if named:
                return named
        return self.header("host")

    @property
    def path(self) -> str:
        """The path asked, as sent, without query; empty for authority targets."""
        return "" if self.target == "*" else urlpath.split(self.target).path


@dataclass(frozen=True, slots=True)
class Response:
    """One final response; `status` is None where it had none (HTTP/0.9) or nobody saw its head.

    `complete` is also False for content that ends with the connection where the connection's own end was not seen.
    `document` is what the body says (`imdswatch.documents`); the body itself is gone. `whole`: all of it was there to
    be read, with its codings undone, so what `document` does not say did not stand there.
    """

    version: str
    status: int | None
    reason: str
    headers: Headers
    body_length: int
    complete: bool
    mark: Any
    document: documents.Document | None = None
    whole: bool = False
    mime: str | None = None
    ambiguous: bool = False

    def header(self, name: str) -> str | None:
        """Return the value of the first header of that name, compared without case; None if absent or secret."""
        return first_value(self.headers, name)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response; None for the one that was not seen."""

    request: Request | None
    response: Response | None


@dataclass(slots=True)
class Head:
    """The head of a message while it is read: private to the parser, and the only place where header values pass."""

    mark: Any
    version: str = ""
    method: str = ""
    target: str = ""
    status: int | None = None
    reason: str = ""
    line_complete: bool = True
    bare: bool = False
    """It is HTTP/0.9's: no header lines follow. Whoever names that version in a start line does send some."""
    headers: list[tuple[str, str | None]] = field(default_factory=list)
    lengths: list[str] = field(default_factory=list)
    transfer_codings: list[str] = field(default_factory=list)
    content_codings: list[str] = field(default_factory=list)
    connection: list[str] = field(default_factory=list)
    expects_continue: bool = False
    upgrades: bool = False
    signing_key_id: str | None = None
    complete: bool = False
    """The empty line was seen."""
    damaged: bool = False
    """Octets of the head are missing: its framing headers may be among them."""

    def add(self, line: bytes) -> None:
        """Take one unfolded header line; a line without a colon says nothing and is passed over."""
        name_octets, colon, value_octets = line.partition(b":")
        name = name_octets.decode("latin-1").strip()
        if not colon or not name:
            return
        value = value_octets.decode("latin-1").strip(" \t\r\n")
        known = name.lower()
        if known == "content-length":
            self.lengths += _listed(value)
        elif known == "transfer-encoding":
            self.transfer_codings += _listed(value)
        elif known == "content-encoding":
            self.content_codings += _listed(value)
        elif known == "connection":
            self.connection += _listed(value)
        elif known == "expect":
            self.expects_continue = "100-continue" in value.lower()
        elif known == "upgrade":
            self.upgrades = True
        elif known == "authorization" and (signed := _SIGNED.search(value)):
            self.signing_key_id = signed[1] or signed[2]
        if len(self.headers) < MAX_HEADERS:
            self.headers.append((name[:MAX_VALUE], _shown(known, value)))

    @property
    def ambiguous(self) -> bool:
        """Whether two readers could disagree about where the body ends."""
        return self.ambiguous_length or bool(self.lengths and self.transfer_codings)

    @property
    def ambiguous_length(self) -> bool:
        """Whether its lengths differ."""
        return len(set(self.lengths)) > 1


def request_line(line: bytes, mark: Any, first: bool) -> Head | None:
    """Return the head that a whole line begins, or None if it is no request line; `first`: it begins the stream."""
    method, *target = line.split()[:2] or [b""]
    if not target or not _METHOD.match(method):
        return None
    before, _, last = line.strip().replace(b"\t", b" ").rpartition(b" ")
    version = _VERSION.match(last)
    if version and len(before) > len(method):
        return _request(method, before[len(method) :].strip(), version[1].decode(), mark)
    if first and method == b"GET" and target[0].startswith(b"/") and last == target[0]:
        head = _request(method, target[0], "0.9", mark)
        head.bare = True
        return head
    return None


def cut_request_line(line: bytes, mark: Any) -> Head | None:
    """Return what the beginning of a request line tells where its end is missing; None if it may be anything."""
    parts = line.split()
    if len(parts) < 2 or parts[0] not in _KNOWN_METHODS:
        return None
    if parts[0] != b"CONNECT" and not _TARGET.match(parts[1]):
        return None
    head = _request(parts[0], parts[1], "", mark)
    head.line_complete = False
    return head


def status_line(line: bytes, mark: Any) -> Head | None:
    """Return the head that a whole line begins, or None if it is no status line."""
    found = _STATUS_LINE.match(line)
    if found is None:
        return None
    reason = (found[3] or b"").decode("latin-1").strip()
    status = int(found[2].replace(b"_", b""))
    return Head(mark, version=found[1].decode(), status=status, reason=redact(reason))


def _request(method: bytes, target: bytes, version: str, mark: Any) -> Head:
    asked = _USERINFO.sub(lambda match: match[1] or "", target.decode("latin-1").strip())
    signed = _SIGNED_QUERY.search(asked)
    return Head(
        mark,
        version=version,
        method=method.decode("ascii"),
        target=redact(asked),
        signing_key_id=(signed[1] or signed[2]) if signed else None,
    )


def _listed(value: str) -> list[str]:
    return [part for item in value.split(",") if (part := item.strip().lower())]


def first_value(headers: Headers, name: str) -> str | None:
    """Return the value of the first header of that name, compared without case; None if absent or secret."""
    wanted = name.lower()
    return next((value for sent, value in headers if sent.lower() == wanted), None)


@lru_cache(maxsize=1 << 10)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None and not name.endswith("-ttl-seconds")


def _shown(name: str, value: str) -> str | None:
    return None if _is_secret(name) else redact(value[:MAX_VALUE])
