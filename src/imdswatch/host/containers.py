"""Containers that this host is set up to run, as far as their settings show that AWS tools are in them.

Docker's own records and Compose files; what the images hold is not looked at (audit the image itself with --root). A
container is named where it is given AWS variables, or its image is Amazon's. Sources: moby `config.v2.json`, Compose
specification (`environment`, `env_file`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imdswatch.errors import RuleError
from imdswatch.host import syntax
from imdswatch.host.sessions import RELEVANT
from imdswatch.host.setting import Environment, Setting
from imdswatch.host.tree import Tree
from imdswatch.sigma_yaml import read_yaml

_DOCKER = "/var/lib/docker/containers"
_AWS_IMAGE = re.compile(r"(?:^|[/.])(?:amazon|aws|amazonaws)(?:[/.:-]|\Z)")
_MANY = 500


@dataclass(frozen=True, slots=True)
class Container:
    """One container: its name, what it gets, and the file to change."""

    name: str
    environment: Environment
    path: str


def containers(tree: Tree, compose: Sequence[str]) -> Iterator[Container]:
    """Yield the containers that may hold AWS tools; `compose` are the files that a walk met."""
    for name in tree.listdir(_DOCKER)[:_MANY]:
        path = f"{_DOCKER}/{name}/config.v2.json"
        try:
            document = json.loads(tree.read_text(path) or "{}")
        except (ValueError, RecursionError):
            tree.skip(path, "is no JSON")
            continue
        config = document.get("Config") if isinstance(document, dict) else None
        if not isinstance(config, dict):
            continue
        words = [word for word in config.get("Env") or () if isinstance(word, str)]
        settings = list(syntax.env_file("\n".join(word.replace("\n", " ") for word in words), path))
        found = _environment([Setting(one.name, one.value, path) for one in settings])
        if _is_aws(found, config.get("Image")):
            yield Container(str(document.get("Name") or name).lstrip("/")[:80], found, path)
    for path in compose[:_MANY]:
        yield from _compose(tree, path)


def _compose(tree: Tree, path: str) -> Iterator[Container]:
    text = tree.read_text(path) or ""
    try:
        documents = read_yaml(text, path)
    except RuleError as error:
        tree.skip(path, error.what)
        return
    document = documents[0] if documents else None
    services = document.get("services") if isinstance(document, dict) else None
    for name, service in services.items() if isinstance(services, dict) else ():
        if not isinstance(service, dict):
            continue
        settings = [
            *_env_files(tree, path, service.get("env_file")),
            *_inline(path, text, service.get("environment")),
        ]
        found = _environment(settings)
        if _is_aws(found, service.get("image")):
            yield Container(str(name)[:80], found, path)


def _env_files(tree: Tree, path: str, given: Any) -> Iterator[Setting]:
    for item in given if isinstance(given, list) else [given]:
        name = item.get("path") if isinstance(item, dict) else item
        if isinstance(name, str):
            where = name if name.startswith("/") else f"{path.rpartition('/')[0]}/{name}"
            yield from syntax.dotenv(tree.read_text(where) or "", where)


def _inline(path: str, text: str, given: Any) -> Iterator[Setting]:
    pairs: list[tuple[Any, Any]] = []
    if isinstance(given, dict):
        pairs = list(given.items())
    elif isinstance(given, list):
        pairs = [tuple(item.split("=", 1)) for item in given if isinstance(item, str) and "=" in item]  # type: ignore[misc]
    for name, value in pairs:
        said = (
            {True: "true", False: "false", None: ""}.get(value, value)
            if isinstance(value, bool | None)
            else value
        )
        computed = isinstance(said, str) and "$" in said.replace("$$", "")
        line = next((at for at, one in enumerate(text.splitlines(), 1) if str(name) in one), 0)
        yield Setting(str(name), None if computed else str(said), path, line)


def _environment(settings: Sequence[Setting]) -> Environment:
    return {setting.name: setting for setting in settings if RELEVANT.fullmatch(setting.name)}


def _is_aws(environment: Environment, image: Any) -> bool:
    return any(name.startswith("AWS_") for name in environment) or (
        isinstance(image, str) and _AWS_IMAGE.search(image) is not None
    )
