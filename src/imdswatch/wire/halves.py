"""`unfinished` says whether a TCP segment can hold a piece of an HTTP request that other segments complete.

A request that lies in one segment is found by searching the segment. One that is cut in pieces may hide a word at a
cut, so the quick reading of captures takes its whole flow. It need not know the order of segments: of a head in
pieces at least one piece gives itself away, whatever the cut and whatever came between or twice.

- The piece with the method is an open line, or an open head.
- If the cut is within the method, the next piece begins with the rest of it; pieces as small as that are all taken.
- The piece in which a cut request line ends begins within the line.

Only methods in use count (RFC 9110 9, RFC 5789, WebDAV's RFC 4918 and 3253): a request by another one is found only
where no cut goes through what is searched. Pure; linear in the segment. Source of what ends a head: RFC 9112 2.1, 2.2.
"""

from __future__ import annotations

import re

METHODS = (
    "GET", "PUT", "HEAD", "POST", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE", "PROPFIND", "PROPPATCH", "MKCOL",
    "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH",
)  # fmt: skip
TINY = 8
"""Octets up to which a segment of visible text is taken for a piece of anything."""
LINE_END = rb"HTTP/[0-9]\.[0-9][ \t\r]*\n"
"""What ends a request line; a status line goes on after the version."""

_METHOD = re.compile(rb"(?:%s)[ \t]" % "|".join(METHODS).encode())
LONGEST_REST = max(map(len, METHODS)) - 1
"""Octets that the rest of a method may have."""
_ENDS_OF_METHODS = sorted({name[i:] for name in METHODS for i in range(1, len(name))}, key=len, reverse=True)
_LINE_END = re.compile(LINE_END)
_HEAD_END = re.compile(rb"\n[ \t\r]*\n")
_REST_OF_METHOD = re.compile(
    rb"(?:%s)?[ \t]+(?:[/*]|[A-Za-z0-9.\[-]|\Z)" % "|".join(_ENDS_OF_METHODS).encode()
)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TINY = re.compile(rb"[\t -~]{1,%d}\Z" % TINY)


def unfinished(segment: bytes) -> bool:
    """Say whether a request head may begin in this segment and not end there, or end there and begin before."""
    if _TINY.match(segment):
        return True
    first, line_feed, _ = segment.partition(b"\n")
    if line_feed and _LINE_END.search(first + line_feed) and not _METHOD.match(segment):
        return True
    heads = [found.start() for found in _LINE_END.finditer(segment)]
    if heads and not _HEAD_END.search(segment, segment.index(b"\n", heads[-1])):
        return True
    last = segment[segment.rfind(b"\n") + 1 :]
    if not last:
        return False
    if _METHOD.search(last):
        return True
    return not line_feed and not _CONTROL.search(last) and _REST_OF_METHOD.match(segment) is not None
