"""The AWS clients that can be a victim, from `data/lab/clients.yml`: how each is started, and what is known of it.

Nothing is started here; that is for who has a namespace without a way out. Frozen; read once.
A folder of clients is what `make clients` writes: the environments `python`, `aws` and `node`, and `debian`, where
packages of Debian may lie unpacked. A virtual environment, or a folder with `node_modules`, will do as well.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

BUILT_IN = "built-in"
"""`run` of our own client, for which nothing need be installed."""
_SYSTEM = ("/usr/bin", "/usr/sbin")


@dataclass(frozen=True, slots=True)
class Client:
    """One client. `operations` and `version` are scripts (text) for the interpreter of `run`, or command lines."""

    id: str
    name: str
    run: str
    operations: Mapping[str, str | tuple[str, ...]]
    version: str | tuple[str, ...] = ()
    matches: str = ""
    imds: tuple[int, ...] = ()
    ipv6: bool = False
    both: bool = False
    proxy: bool = False
    obeys: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, where it is run, and what it needs in its environment."""

    words: tuple[str, ...]
    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a client cannot be run here."""

    why: str


@cache
def inventory() -> Mapping[str, Client]:
    """Return all clients by their id, in the order of the file."""
    text = files("imdswatch").joinpath("data/lab/clients.yml").read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = yaml.safe_load(text)["clients"]
    return {
        name: Client(
            id=name,
            name=entry["name"],
            run=entry["run"],
            operations={key: _words(value) for key, value in entry["operations"].items()},
            version=_words(entry.get("version", [])),
            matches=entry.get("is", ""),
            imds=tuple(entry["imds"]),
            ipv6=entry["ipv6"],
            both=entry.get("both", False),
            proxy=entry["proxy"],
            obeys=entry["obeys"],
            environment=entry.get("environment", {}),
        )
        for name, entry in table.items()
    }


def command(client: Client, operation: str, folder: Path | None) -> Command | Missing:
    """Return how a client is made to do something; `folder` as in the module's docstring, None: what PATH has."""
    if operation not in client.operations:
        return Missing(f"{client.name} has no operation `{operation}`")
    return _command(client, client.operations[operation], folder)


def version_command(client: Client, folder: Path | None) -> Command | Missing:
    """Return how a client is made to print its version; to be run in an enclosure, as everything else of it."""
    return _command(client, client.version, folder)


def _words(value: Any) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else tuple(map(str, value))


def _command(client: Client, what: str | tuple[str, ...], folder: Path | None) -> Command | Missing:
    root = None if folder is None else folder.resolve()
    if client.run == BUILT_IN:
        return Missing(f"{client.name} is no program: it is part of the lab")
    if client.run == "debian":
        return _of_debian(what, root)
    if client.run == "node":
        return _of_node(what, root)
    interpreter = _python(client.run, root)
    if interpreter is None:
        return Missing(f"no `{client.run}/bin/python` in {folder}" if folder else "no `python3` on PATH")
    # -I: neither the user's site-packages nor the folder we happen to be in is part of the environment
    words = ("-c", what) if isinstance(what, str) else what
    return Command((interpreter, "-I", *words))


def _python(name: str, root: Path | None) -> str | None:
    if root is None:
        return shutil.which("python3")
    for place in (root / name / "bin" / "python", root / "bin" / "python"):
        if os.access(place, os.X_OK):
            return str(place)
    return None


def _of_node(what: str | tuple[str, ...], root: Path | None) -> Command | Missing:
    node = shutil.which("node")
    if node is None:
        return Missing("no `node` on PATH")
    for place in (root / "node", root) if root else (Path.cwd(),):
        if (place / "node_modules").is_dir():
            words = ("--input-type=module", "-e", what) if isinstance(what, str) else what
            return Command((node, *words), folder=place)  # modules are looked for from where it is run
    return Missing(f"no `node_modules` in {root or 'this folder'}")


def _of_debian(what: str | tuple[str, ...], root: Path | None) -> Command | Missing:
    assert not isinstance(what, str), "Debian's clients are command lines"
    # Debian's own first: a version manager may have put other programs of the same names before them.
    places = [*_SYSTEM, *os.environ.get("PATH", os.defpath).split(os.pathsep)]
    environment: dict[str, str] = {}
    if root is not None and (root / "debian").is_dir():
        unpacked = root / "debian"
        places = [*(str(unpacked / place.lstrip("/")) for place in _SYSTEM), *places]
        environment = {"PYTHONPATH": str(unpacked / "usr/lib/python3/dist-packages")}
    path = os.pathsep.join(dict.fromkeys(places))
    environment["PATH"] = path
    program = shutil.which(what[0], path=path)
    if program is None:
        return Missing(f"no `{what[0]}` on PATH")
    return Command((program, *what[1:]), environment=environment)
