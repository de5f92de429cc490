"""Whether a proxy made a reply itself, told by its status, or by headers that only its own pages have.

The headers stand in `data/imds/proxies.yml`. Pure after the data file was read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from imdswatch.kept import kept

_TABLE = Path(__file__).parent / "data" / "imds" / "proxies.yml"
_ERROR = 400
_OWN = frozenset({407, 502, 503, 504})
"""A proxy asks for a login, or did not reach the origin (RFC 9110 15.5.8, 15.6.3 to 15.6.5)."""


@cache
def marks() -> tuple[tuple[str, str], ...]:
    """Return which response headers only a proxy's own pages have: name and text it holds, lower case."""
    return kept("proxies", [_TABLE], _read)


def _read() -> tuple[tuple[str, str], ...]:
    import yaml

    text = _TABLE.read_text(encoding="utf-8")
    entries = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["headers"]
    return tuple((str(entry["name"]).lower(), str(entry["holds"]).lower()) for entry in entries)


def made_by_proxy(
    status: int | None, headers: Sequence[tuple[str, str | None]], *, proxied: bool = False
) -> bool:
    """Say whether a reply is a proxy's own; `headers` are names and values, None where the value may be a secret.

    `proxied`: the request was one that only proxies are sent (absolute form, CONNECT). Only errors count: an impostor
    that puts such a header on what it serves is not taken for a proxy.
    """
    if status is None or status < _ERROR:
        return False
    if proxied and status in _OWN:
        return True
    return any(
        name.lower() == mark and holds in (value or "").lower()
        for name, value in headers
        for mark, holds in marks()
    )
