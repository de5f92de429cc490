"""Whether a proxy made a reply itself, told by the headers that only its own pages have (`data/imds/proxies.yml`).

Pure after the data file was read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ERROR = 400


@cache
def _marks() -> tuple[tuple[str, str], ...]:
    text = files("imdswatch").joinpath("data/imds/proxies.yml").read_text(encoding="utf-8")
    entries = yaml.load(text, Loader=_LOADER)["headers"]
    return tuple((str(entry["name"]).lower(), str(entry["holds"]).lower()) for entry in entries)


def made_by_proxy(status: int | None, headers: Sequence[tuple[str, str | None]]) -> bool:
    """Say whether a reply is a proxy's own; `headers` are names and values, None where the value may be a secret.

    Only errors count: an impostor that puts such a header on what it serves is not taken for a proxy.
    """
    if status is None or status < _ERROR:
        return False
    return any(
        name.lower() == mark and holds in (value or "").lower()
        for name, value in headers
        for mark, holds in _marks()
    )
