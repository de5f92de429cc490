"""Whether a TCP segment can hold a piece of an HTTP request that other segments complete: `within` and `opened`.

A request that lies in one segment is found by searching the segment. One that is cut in pieces may hide a word at a
cut, so the quick reading of captures joins the pieces, or takes the whole flow. It need not know the order of segments:
of a head in pieces at least one piece gives itself away, whatever the cut and whatever came between or twice.

- The segment with the method has an open line, or an open head.
- If the cut is within the method, the piece with the blank behind it begins with the rest of it, or with the blank.
- The piece in which a cut request line ends begins within the line.

Only the methods of HTTP itself count (RFC 9110 9, RFC 5789): a request by another one is found only where no cut goes
through what is searched. Pure; linear in the segment. Source of what ends a head: RFC 9112 2.1, 2.2.
"""

from __future__ import annotations

import re

METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE")
TINY = 8
"""Octets up to which any visible text with a blank in it is taken for a piece."""

_METHOD = re.compile(rb"(?:%s)[ \t]" % "|".join(METHODS).encode())
LONGEST_REST = max(map(len, METHODS)) - 1
"""Octets that the rest of a method may have."""
_ENDS_OF_METHODS = sorted({name[i:] for name in METHODS for i in range(1, len(name))}, key=len, reverse=True)
_LINE_END = re.compile(
    rb"HTTP/[0-9]\.[0-9][ \t\r]*\n"
)  # of a request: a status line goes on after the version
_HEAD_END = re.compile(rb"\n[ \t\r]*\n")
_REST_OF_METHOD = re.compile(
    rb"(?:%s)?[ \t]+(?:[/*]|[A-Za-z0-9.\[-]|\Z)" % "|".join(_ENDS_OF_METHODS).encode()
)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TINY = re.compile(rb"[!-~]*[\t ][\t -~]*\Z")


def within(segment: bytes) -> bool:
    """Say whether the segment may begin within a request head."""
    if len(segment) <= TINY:
        return _TINY.match(segment) is not None
    end = segment.find(b"\n") + 1
    if end:
        return _LINE_END.search(segment, 0, end) is not None and not _METHOD.match(segment)
    return _REST_OF_METHOD.match(segment) is not None and not _CONTROL.search(segment)


def opened(segment: bytes) -> int:
    """Return where a request head may begin in the segment that does not end in it, -1 if none does."""
    last = -1
    for found in _METHOD.finditer(segment):
        last = found.start()
    return last if last >= 0 and _open(segment, last) else -1


def _open(segment: bytes, method: int) -> bool:
    """Say whether the line of a method, or the head that it begins, is not over at the end of the segment."""
    line_feed = segment.find(b"\n", method)
    if line_feed < 0:
        return True
    # A method may be a word in the head of another, or in its body: then the line before says so.
    return _LINE_END.search(segment) is not None and not ended(segment, method)


def ended(octets: bytes | bytearray, begin: int) -> bool:
    """Say whether a head that begins somewhere in the octets is over there."""
    return _HEAD_END.search(octets, begin) is not None
