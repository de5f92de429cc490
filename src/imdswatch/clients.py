"""Who asks: multi-cloud detectors and other clouds' software, told by what a record shows (`data/imds/*.yml`).

Pure after the data files were read once; answers for recent texts are remembered (bounded).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

from imdswatch import urlpath
from imdswatch.kept import kept

_FOLDER = Path(__file__).parent / "data" / "imds"
_PIECES = ("user_agent", "process")


@cache
def _table(name: str) -> dict[str, Any]:
    path = _FOLDER / f"{name}.yml"
    return kept(name, [path], lambda: _read(path))


def _read(path: Path) -> dict[str, Any]:
    import yaml

    table: dict[str, Any] = yaml.load(
        path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return table


def detector(fields: Mapping[str, Any]) -> str | None:
    """Return the name of the multi-cloud detector that made this event, or None.

    Such agents ask every cloud's metadata service whether they run there, and ask no credentials meanwhile.
    """
    for key in _PIECES:
        text = fields.get(key)
        if text is not None and (name := _by_piece(key, text)) is not None:
            return name
    headers = fields.get("req_header")
    return None if headers is None else _by_header_names(headers)


@lru_cache(maxsize=1 << 12)
def _by_piece(key: str, text: str) -> str | None:
    folded = text.lower()
    for entry in _table("clients")["detectors"]:
        if any(mark.lower() in folded for mark in entry.get(key, ())):
            return str(entry["name"])
    return None


@lru_cache(maxsize=1 << 12)
def _by_header_names(headers: tuple[str, ...]) -> str | None:
    folded = {name.lower() for name in headers}
    for entry in _table("clients")["detectors"]:
        if any(name.lower() in folded for name in entry.get("req_header", ())):
            return str(entry["name"])
    return None


def other_cloud(fields: Mapping[str, Any]) -> str | None:
    """Return the other cloud whose metadata service this event asks for, by path, host or header; None for AWS."""
    path = fields.get("uri_path")
    if path is not None and (cloud := _by_path(urlpath.normal_path(path))) is not None:
        return cloud
    headers = fields.get("req_header")
    return None if headers is None else _by_headers(headers)


@lru_cache(maxsize=1 << 12)
def _by_headers(headers: tuple[str, ...]) -> str | None:
    known = {name.lower(): str(cloud) for name, cloud in _table("other-clouds")["headers"].items()}
    return next((known[name.lower()] for name in headers if name.lower() in known), None)


def is_aws_client(fields: Mapping[str, Any]) -> bool:
    """Say whether an AWS client made this event, by what only such clients send."""
    agent = fields.get("user_agent")
    if agent is not None and _is_aws_agent(agent):
        return True
    return any("aws-ec2-metadata-token" in name.lower() for name in fields.get("req_header") or ())


@lru_cache(maxsize=1 << 12)
def _is_aws_agent(agent: str) -> bool:
    folded = agent.lower()
    return any(
        mark.lower() in folded
        for entry in _table("clients")["aws_clients"]
        for mark in entry.get("user_agent", ())
    )


class Asked(Protocol):
    """What a request shows of the client that sent it: header names as sent, in order, values where no secret."""

    @property
    def path(self) -> str:
        """Path without query, as sent."""

    @property
    def headers(self) -> Sequence[tuple[str, str | None]]:
        """Names and values."""


def kind(dialogue: Sequence[Asked]) -> str | None:
    """Return which client made the requests of one dialogue, by what it sends and what it asks for; None if unknown.

    A hint, no proof: any client can send another's marks. Earlier entries of `data/imds/fingerprints.yml` win.
    """
    seen = [(_Sent(request), urlpath.normal_path(request.path)) for request in dialogue]
    paths = {path.rstrip("/") for _, path in seen}
    for entry in _table("fingerprints")["clients"]:
        asked = entry.get("asked")
        if asked is not None and len(paths.intersection(asked["of"])) < asked["at_least"]:
            continue
        if any(_fits(entry, sent, path) for sent, path in seen):
            return str(entry["name"])
    return None


class _Sent:
    """The headers of one request, ready to compare."""

    def __init__(self, request: Asked) -> None:
        self.names = [name for name, _ in request.headers]
        self.values = {name.lower(): value for name, value in request.headers}


def _fits(entry: Mapping[str, Any], sent: _Sent, path: str) -> bool:
    agents = entry.get("user_agent")
    if agents is not None:
        agent = sent.values.get("user-agent")
        if not agents and agent is not None:
            return False
        if agents and not any(mark.lower() in (agent or "").lower() for mark in agents):
            return False
    orders = entry.get("headers")
    if orders is not None and not any(sent.names[: len(order)] == order for order in orders):
        return False
    for name, value in entry.get("values", {}).items():
        if sent.values.get(name.lower()) != value:
            return False
    return "paths" not in entry or path.startswith(tuple(entry["paths"]))


@cache
def _prefixes() -> tuple[tuple[str, ...], dict[str, str]]:
    table = {prefix: str(cloud) for prefix, cloud in _table("other-clouds")["paths"].items()}
    return tuple(table), table


def _by_path(path: str) -> str | None:
    prefixes, table = _prefixes()
    if not path.startswith(prefixes):
        return None
    return table[max((prefix for prefix in prefixes if path.startswith(prefix)), key=len)]
