"""Who asks: AWS clients, multi-cloud detectors and other clouds' paths, from `data/imds/*.yml`."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def _table(name: str) -> dict[str, Any]:
    text = files("imdswatch").joinpath(f"data/imds/{name}.yml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.load(text, Loader=_LOADER)
    return table


@lru_cache(maxsize=1 << 12)
def detector(user_agent: str) -> str | None:
    """Return the name of the multi-cloud detector that sends this User-Agent, or None.

    Such agents ask every cloud's metadata service whether they run there, and ask no credentials.
    """
    folded = user_agent.lower()
    for entry in _table("clients")["detectors"]:
        if any(mark.lower() in folded for mark in entry["user_agent"]):
            return str(entry["name"])
    return None


@lru_cache(maxsize=1 << 14)
def other_cloud(path: str) -> str | None:
    """Return the cloud whose metadata service has this normal path, or None; AWS is none of them."""
    for entry in _table("other-clouds")["paths"]:
        if any(path == prefix or path.startswith(prefix.rstrip("/") + "/") for prefix in entry["prefixes"]):
            return str(entry["cloud"])
    return None
