"""Containers that this host is set up to run, as far as their settings show that AWS tools are in them.

Docker's own records, Podman's Quadlet units, Compose files, and the pods that a kubelet of this host starts by itself
(`pods`); what the images hold is not looked at (audit the image itself with --root). A container is named where it is
given AWS variables, or its image is Amazon's. Sources: moby `config.v2.json`, podman-systemd.unit(5), Compose
specification (`environment`, `env_file`, `network_mode`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imdswatch.errors import RuleError
from imdswatch.host import syntax
from imdswatch.host.pods import pods
from imdswatch.host.sessions import RELEVANT
from imdswatch.host.setting import Environment, Setting
from imdswatch.host.tree import Tree
from imdswatch.sigma_yaml import read_yaml

_DOCKER = "/var/lib/docker/containers"
_QUADLETS = ("/etc/containers/systemd", "/usr/share/containers/systemd", "/run/containers/systemd")
_AWS_IMAGE = re.compile(r"(?:^|[/.])(?:amazon|aws|amazonaws)(?:[/.:-]|\Z)")
_MANY = 500


@dataclass(frozen=True, slots=True)
class Container:
    """One container: its name, what it gets, and the file to change."""

    name: str
    environment: Environment
    path: str
    own_network: bool = True
    """False where it uses the network of the host."""
    whole: bool = True
    """False where something else, which is not on this host, may set its variables."""


def containers(tree: Tree, compose: Sequence[str]) -> Iterator[Container]:
    """Yield the containers that may hold AWS tools; `compose` are the files that a walk met."""
    yield from _docker(tree)
    for folder in _QUADLETS:
        for name in tree.listdir(folder):
            if name.endswith(".container"):
                yield from _quadlet(tree, f"{folder}/{name}")
    for path in compose[:_MANY]:
        yield from _compose(tree, path)
    for pod in pods(tree):
        found = _environment(pod.settings)
        if _is_aws(found, pod.image):
            yield Container(pod.name[:80], found, pod.path, pod.own_network, pod.whole)


def _docker(tree: Tree) -> Iterator[Container]:
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
        given = config.get("Env")
        words = [word for word in given if isinstance(word, str)] if isinstance(given, list) else []
        settings = list(syntax.env_file("\n".join(word.replace("\n", " ") for word in words), path))
        found = _environment([Setting(one.name, one.value, path) for one in settings])
        if _is_aws(found, config.get("Image")):
            networks = document.get("NetworkSettings")
            named = networks.get("Networks") if isinstance(networks, dict) else None
            of_host = isinstance(named, dict) and list(named) == ["host"]
            yield Container(str(document.get("Name") or name).lstrip("/")[:80], found, path, not of_host)


def _quadlet(tree: Tree, path: str) -> Iterator[Container]:
    given: list[Setting] = []
    files: list[Setting] = []
    image, own_network, before = "", True, len(tree.skipped)
    for number, section, key, value in syntax.unit_lines(tree.read_text(path) or ""):
        if section != "Container":
            continue
        if key == "Environment":
            given += syntax.assignments(value, path, number)
        elif key == "EnvironmentFile" and "%" in value:
            tree.skip(path, f"EnvironmentFile={value} has a pattern that is not followed", f"line {number}")
        elif key == "EnvironmentFile":
            where = value if value.startswith("/") else f"{path.rpartition('/')[0]}/{value}"
            files += syntax.env_file(tree.read_text(where) or "", where)
        elif key == "Image":
            image = value
        elif key == "Network":
            own_network = value != "host"
    found = _environment([*files, *given])
    if _is_aws(found, image):
        name = path.rpartition("/")[2].removesuffix(".container")
        yield Container(name[:80], found, path, own_network, len(tree.skipped) == before)


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
        head = re.search(rf"(?m)^ *['\"]?{re.escape(str(name))}['\"]? *:", text)
        settings = [
            *_env_files(tree, path, service.get("env_file")),
            *_inline(path, text, head.start() if head else 0, service.get("environment")),
        ]
        found = _environment(settings)
        if _is_aws(found, service.get("image")):
            yield Container(str(name)[:80], found, path, service.get("network_mode") != "host")


def _env_files(tree: Tree, path: str, given: Any) -> Iterator[Setting]:
    for item in given if isinstance(given, list) else [given]:
        name = item.get("path") if isinstance(item, dict) else item
        if isinstance(name, str):
            where = name if name.startswith("/") else f"{path.rpartition('/')[0]}/{name}"
            yield from syntax.dotenv(tree.read_text(where) or "", where)


def _inline(path: str, text: str, start: int, given: Any) -> Iterator[Setting]:
    pairs: list[tuple[Any, Any]] = []
    if isinstance(given, dict):
        pairs = list(given.items())
    elif isinstance(given, list):
        pairs = [
            (found[0], found[2])
            for item in given
            if isinstance(item, str) and (found := item.partition("="))[1]
        ]
    for name, value in pairs:
        said = (
            {True: "true", False: "false", None: ""}.get(value, value)
            if isinstance(value, bool | None)
            else value
        )
        computed = isinstance(said, str) and "$" in said.replace("$$", "")
        yield Setting(str(name), None if computed else str(said), path, _line(text, str(name), start))


def _line(text: str, name: str, start: int) -> int:
    """Return the line in which a name stands, from the place on at which its service begins; 0 where unknown."""
    at = text.find(name, start)
    return 0 if at < 0 else text.count("\n", 0, at) + 1


def _environment(settings: Sequence[Setting]) -> Environment:
    return {setting.name: setting for setting in settings if RELEVANT.fullmatch(setting.name)}


def _is_aws(environment: Environment, image: Any) -> bool:
    return any(name.startswith("AWS_") for name in environment) or (
        isinstance(image, str) and _AWS_IMAGE.search(image) is not None
    )
