"""Who asks: multi-cloud detectors and other clouds' software, told by what a record shows (`data/imds/*.yml`).

Pure after the data files were read once; answers for recent texts are remembered (bounded).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import yaml

from imdswatch import urlpath

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PIECES = ("user_agent", "process")


@cache
def _table(name: str) -> dict[str, Any]:
    text = files("imdswatch").joinpath(f"data/imds/{name}.yml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.load(text, Loader=_LOADER)
    return table


def detector(fields: Mapping[str, Any]) -> str | None:
    """Return the name of the multi-cloud detector that made this event, or None.

    Such agents ask every cloud's metadata service whether they run there, and ask no credentials meanwhile.
    """
    for key in _PIECES:
        text = fields.get(key)
        if text is not None and (name := _by_piece(key, text)) is not None:
            return name
    for header in fields.get("req_header") or ():
        if (name := _by_header(header)) is not None:
            return name
    return None


@lru_cache(maxsize=1 << 12)
def _by_piece(key: str, text: str) -> str | None:
    folded = text.lower()
    for entry in _table("clients")["detectors"]:
        if any(mark.lower() in folded for mark in entry.get(key, ())):
            return str(entry["name"])
    return None


@lru_cache(maxsize=1 << 12)
def _by_header(header: str) -> str | None:
    folded = header.lower()
    for entry in _table("clients")["detectors"]:
        if any(name.lower() == folded for name in entry.get("req_header", ())):
            return str(entry["name"])
    return None


def other_cloud(fields: Mapping[str, Any]) -> str | None:
    """Return the other cloud whose metadata service this event asks for, by path, host or header; None for AWS."""
    path = fields.get("uri_path")
    if path is not None and (cloud := _by_path(urlpath.normal_path(path))) is not None:
        return cloud
    table = _table("other-clouds")["headers"]
    for header in fields.get("req_header") or ():
        for name, cloud in table.items():
            if header.lower() == name.lower():
                return str(cloud)
    return None


@lru_cache(maxsize=1 << 14)
def _by_path(path: str) -> str | None:
    found = [
        (len(prefix), str(cloud))
        for prefix, cloud in _table("other-clouds")["paths"].items()
        if path.startswith(prefix)
    ]
    return max(found)[1] if found else None
