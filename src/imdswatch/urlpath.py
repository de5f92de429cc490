"""URLs and paths are compared decoded and resolved: what an HTTP server would serve, not how it was spelled.

A path is percent-decoded (at most two passes), its slashes collapsed, its dot segments resolved (RFC 3986 5.2.4),
and compared without case: the real service is case-sensitive, an impostor need not be. Pure; recent texts are
remembered (bounded).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from imdswatch import address

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]*://")


class Parts(NamedTuple):
    """What a URL consists of; empty text where it has no such part."""

    host: str
    path: str
    query: str


def split(url: str) -> Parts:
    """Split a URL in any of the forms logs use into host (with port), path and query.

    Forms: `http://host/path`, `host/path` (no scheme), `host:443` (CONNECT), `/path`, `*`. User information and the
    fragment are dropped: neither says where the request went, and the first may be a secret.
    """
    scheme = _SCHEME.match(url)
    rest = url[scheme.end() :] if scheme else url
    rest = rest.partition("#")[0]
    rest, _, query = rest.partition("?")
    if not scheme and (rest.startswith("/") or not rest):
        return Parts("", rest, query)
    authority, slash, path = rest.partition("/")
    return Parts(authority.rpartition("@")[2], slash + path, query)


def _lower(text: str) -> str:
    """Return the text in lower case; what is not an ASCII letter never becomes one (Kelvin sign, I with dot).

    A server would not take those for the letters either, and the search in raw bytes could not see them.
    """
    if text.isascii():
        return text.lower()
    return text.replace("\u212a", "\ufffd").replace("\u0130", "\ufffd").lower()


def _decode(text: str) -> str:
    if "%" in text:
        text = unquote(text, errors="replace")
        if "%" in text:
            text = unquote(text, errors="replace")
    return text


@lru_cache(maxsize=1 << 12)
def normal_path(path: str) -> str:
    """Return the path (without query) decoded, slashes collapsed, dot segments resolved, lower case."""
    text = _lower(_decode(path))
    if "//" not in text and "/." not in text and not text.startswith("."):
        return text
    out: list[str] = []
    parts = text.split("/")
    for part in parts:
        if part == "..":
            if out:
                out.pop()
        elif part and part != ".":
            out.append(part)
    lead = "/" if text.startswith("/") else ""
    tail = "/" if out and parts[-1] in ("", ".", "..") else ""
    return lead + "/".join(out) + tail


@lru_cache(maxsize=1 << 12)
def normal_url(url: str) -> str:
    """Return host, normal path and decoded query of a URL as one lower-case text for `contains` comparisons.

    A host that is an address in any spelling stands there in canonical form, without port.
    """
    host, path, query = split(url)
    text = (address.parse_host(host) or _lower(host) if host else "") + normal_path(path)
    return f"{text}?{_lower(_decode(query))}" if query else text
