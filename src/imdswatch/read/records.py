"""`json_objects` frames JSON that is not one object a line: pretty-printed, concatenated, or one endless
array.

Pure but for the blocks it draws; incremental; bounded memory: at most one object of `max_record` and one
block. Nothing is lost: text that is neither an object nor the punctuation between objects is yielded line by
line as it stands, and so is an object that breaks off (a raw line feed inside a string, which RFC 8259
section 7 forbids).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from imdswatch.finding import Skipped
from imdswatch.read.blocks import MAX_RECORD, Block

_STRING = rb'"(?:[^"\\\n]++|\\[^\n])*+"'
_FLAT = rb'\{(?:[^{}"]++|' + _STRING + rb")*+\}"
_NESTED = _FLAT
for _ in range(4):  # the depth logs have; deeper objects take the way of `_TOKEN`, at half the speed
    _NESTED = rb'\{(?:[^{}"]++|' + _STRING + rb"|" + _NESTED + rb")*+\}"
_OBJECT = re.compile(_NESTED)
_TOKEN = re.compile(rb'(?:[^{}"]++|' + _STRING + rb')*+([{}"])', re.DOTALL)
_INSIDE = re.compile(rb'(?:[^"\\\n]++|\\[^\n])*+')
_BETWEEN = re.compile(rb"[\s,\[\]\x1e]*")  # 1E: JSON text sequences, RFC 7464
_ARRAY = re.compile(rb"\s*\[\s*[{\]]")


def looks_multiline_json(head: bytes) -> bool:
    """Say whether a text that begins with `head` should be framed by `json_objects` rather than by lines."""
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\x1e")
    if head.startswith(b"["):
        return bool(_ARRAY.match(head))
    if not head.startswith(b"{"):
        return False
    end = head.find(b"\n")
    _, depth, quoted = _follow(head[: max(end, 0)], 1, 1, False)
    return end >= 0 and depth > 0 and not quoted  # an open string at the end of a line: this is no JSON


def _follow(data: bytes, at: int, depth: int, quoted: bool) -> tuple[int, int, bool]:
    """Go on from `at` within an object to its end, or to the end of data; return (at, depth, quoted) there.

    Depth 0 is the end of the object, or the line feed after which it cannot go on.
    """
    while depth:
        if quoted:
            at = _INSIDE.match(data, at).end()  # type: ignore[union-attr]  # matches the empty text too
            rest = data[at : at + 2]
            if rest in (b"", b"\\"):
                break
            if rest[:1] != b'"':
                return data.index(b"\n", at) + 1, 0, False
            at, quoted = at + 1, False
        elif token := _TOKEN.match(data, at):
            at = token.end()
            quoted = token[1] == b'"'
            depth += (token[1] == b"{") - (token[1] == b"}")
        else:
            return len(data), depth, False
    return at, depth, quoted


def json_objects(
    blocks: Iterable[Block], source: str = "", max_record: int = MAX_RECORD
) -> Iterator[tuple[bytes, int] | Skipped]:
    """Yield each object's text with the 1-based line it begins on; a `Skipped` where one is over
    `max_record`.
    """
    data, line = b"", 1  # what is not framed yet, and the line it begins on
    depth, quoted, known = (
        0,
        False,
        0,
    )  # within an object that goes on after `data`: state at its byte `known`
    dropped = False  # that object is too long: only its end is looked for
    for block in blocks:
        with memoryview(block.buffer) as view:
            data += view[block.repeated : block.length]
        at = 0
        while True:
            if depth:
                known, depth, quoted = _follow(data, known, depth, quoted)
                if depth and not block.last:
                    if len(data) - at > max_record or dropped:
                        if not dropped:
                            yield Skipped(
                                source, f"line {line}", f"JSON object is longer than {max_record} bytes"
                            )
                        line += data.count(b"\n", at, known)
                        at, dropped = known, True
                    break
                end = len(data) if depth else known
                if not dropped:
                    yield data[at:end].rstrip(b"\r\n"), line
                depth, dropped = 0, False
            else:
                end = _BETWEEN.match(data, at).end()  # type: ignore[union-attr]  # matches the empty text too
                line += data.count(b"\n", at, end)
                at = end
                if at == len(data):
                    break
                if found := _OBJECT.match(data, at):
                    end = found.end()
                    yield found[0], line
                elif data[at] == 0x7B:
                    known, depth = at + 1, 1
                    continue
                else:
                    end = data.find(b"\n", at) + 1
                    if not end and not block.last and len(data) - at <= max_record:
                        break
                    end = end or len(data)
                    yield data[at:end].rstrip(b"\r\n"), line
            line += data.count(b"\n", at, end)
            at = end
        data = data[at:]
        known -= at
