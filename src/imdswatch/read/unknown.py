"""A record of no known layout: what can still be said of it without guessing (schema `unknown`).

Pure. An endpoint address or an IMDS path that stands as a whole token in the record gives an Event of low confidence:
`payload` holds the record around it without secrets, `dst_ip` the endpoint, `url` the path. Nothing else is read out
of it: no victim, no answer. A token inside a longer word, a policy name or a network is no token.
"""

from __future__ import annotations

import re
from typing import Any

from imdswatch import address, urlpath
from imdswatch.redact import redact

NAME = "unknown"

_WINDOW = 120
_CONTEXT = (
    2048  # characters on either side that are looked at for secrets, so that none is cut beyond recognition
)
_PARTIAL = re.compile(r"[^\s\"'&,;]*")
_IPV6_TOKEN = r"(?:[0-9a-fA-F]{0,4}:){2,7}(?:[0-9a-fA-F]{1,4}|[0-9]{1,3}(?:\.[0-9]{1,3}){3})"
_ADDRESS = re.compile(
    # tcpdump writes the port after a dot: `169.254.169.254.80: Flags [S]`
    rf"(?<![\w.\-])(?P<a>169\.254\.169\.254|(?<!:){_IPV6_TOKEN})(?:(?=\.[0-9]{{1,5}}(?: >|: ))|(?!\.?[\w]))"
    # a network is no token, but `169.254.169.254/80` is Cisco's address and port
    r"(?![\-:][A-Za-z_])(?!/(?:[0-9]|[12][0-9]|3[0-2]|48|56|64|96|1[0-9]{2})\b)(?!-\w)"
)
_SADDR = re.compile(
    r"(?i)(?<![0-9a-f])(?:0200[0-9a-f]{4}(?P<four>a9fea9fe)|0a00[0-9a-f]{12}(?P<six>fd000ec2(?:0{20})0254))"
)
_PATH = re.compile(
    r"(?i)(?<![\w.\-])(?P<p>(?:https?://[^\s/\"'<>]+)?(?:/|%2f|\\/)+(?:latest|1\.0|20\d\d-\d\d-\d\d)(?:/|%2f|\\/)[^\s\"'<>|,;]*)"
)
_TREE = re.compile(r"/(?:latest|1\.0|20\d\d-\d\d-\d\d)/(?:meta-data|user-data|dynamic|api/token)(?:/|\Z)")


def read(text: str) -> dict[str, Any] | None:
    """Return the canonical fields of a record of unknown layout, or None if nothing in it is a sign of IMDS."""
    found = _endpoint(text)
    path = _path(text)
    if found is None and path is None:
        return None
    start = min(hit[0] for hit in (found, path) if hit is not None)
    fields: dict[str, Any] = {"payload": _around(text, start)}
    if found is not None:
        fields["dst_ip"] = found[1]
    if path is not None:
        fields["url"] = path[1]
    return fields


def _around(text: str, at: int) -> str:
    """Return the text around an offset without secrets: a piece of a token has no mark to know it by."""
    first = max(0, at - _CONTEXT)
    if first:
        first = min(at, _PARTIAL.match(text, first).end())  # type: ignore[union-attr]  # matches the empty text too
    before, after = redact(text[first:at]), redact(text[at : at + _CONTEXT])
    return before[-_WINDOW:] + after[:_WINDOW]


def _endpoint(text: str) -> tuple[int, str] | None:
    for match in _ADDRESS.finditer(text):
        parsed = address.parse(match["a"])
        if parsed in address.ENDPOINTS:
            return match.start(), parsed
    match_hex = _SADDR.search(text)
    if match_hex is None:
        return None
    return match_hex.start(), address.ENDPOINT_V4 if match_hex["four"] else address.ENDPOINT_V6


def _path(text: str) -> tuple[int, str] | None:
    for match in _PATH.finditer(text):
        url = match["p"].replace("\\/", "/")
        if _TREE.match(urlpath.normal_path(urlpath.split(url).path or url)):
            return match.start(), url
    return None
