"""The containers of pods whose manifests stand on this host: static pods of a kubelet, and what k3s and rke2 deploy.

What stands in the cluster alone cannot be seen from here; variables that come from there (`configMapRef`, `secretRef`)
make a container's environment incomplete. Source: Kubernetes API reference, Container `env` and `envFrom`; kubelet
configuration `staticPodPath`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from imdswatch.errors import RuleError
from imdswatch.host.setting import Setting
from imdswatch.host.tree import Tree
from imdswatch.sigma_yaml import read_yaml

_FOLDERS = (
    "/etc/kubernetes/manifests",
    "/var/lib/rancher/k3s/server/manifests",
    "/var/lib/rancher/rke2/server/manifests",
    "/var/lib/rancher/k3s/agent/pod-manifests",
    "/var/lib/rancher/rke2/agent/pod-manifests",
)
_KUBELET = "/var/lib/kubelet/config.yaml"
_MANY = 500


@dataclass(frozen=True, slots=True)
class Pod:
    """One container of a pod."""

    name: str
    settings: tuple[Setting, ...]
    image: str
    path: str
    own_network: bool
    whole: bool


def pods(tree: Tree) -> Iterator[Pod]:
    """Yield every container of every manifest; a file that is no YAML is skipped."""
    other = re.search(r"(?m)^staticPodPath:\s*[\"']?(/[^\"'\s#]+)", tree.read_text(_KUBELET) or "")
    for folder in dict.fromkeys((*_FOLDERS, *([other[1].rstrip("/")] if other else []))):
        for name in tree.listdir(folder)[:_MANY]:
            if name.endswith((".yaml", ".yml", ".json")) and not name.startswith("."):
                yield from _in_file(tree, f"{folder}/{name}")


def _in_file(tree: Tree, path: str) -> Iterator[Pod]:
    text = tree.read_text(path) or ""
    try:
        documents = read_yaml(text, path)  # JSON is YAML
    except RuleError as error:
        tree.skip(path, error.what)
        return
    for document in documents:
        items = document.get("items") if isinstance(document, dict) else None
        for item in items if isinstance(items, list) else [document]:
            yield from _in_object(item, text, path)


def _in_object(item: Any, text: str, path: str) -> Iterator[Pod]:
    """Yield the containers of a Pod, or of the template that a Deployment, DaemonSet, Job or CronJob has."""
    name, spec = _at(item, "metadata", "name"), _at(item, "spec")
    while _at(spec, "containers") is None and (
        deeper := _at(spec, "template", "spec") or _at(spec, "jobTemplate", "spec")
    ):
        spec = deeper
    for kind in ("initContainers", "containers"):
        listed = _at(spec, kind)
        for one in listed if isinstance(listed, list) else ():
            if isinstance(one, dict):
                settings = tuple(_settings(one, text, path))
                title = f"{name if isinstance(name, str) else '?'}/{one.get('name', '?')}"
                image = one.get("image")
                yield Pod(
                    title,
                    settings,
                    image if isinstance(image, str) else "",
                    path,
                    _at(spec, "hostNetwork") is not True,
                    not one.get("envFrom"),
                )


def _settings(container: dict[Any, Any], text: str, path: str) -> Iterator[Setting]:
    head = re.search(rf"(?m)\bname[\"']?: *[\"']?{re.escape(str(container.get('name')))}[\"']?,? *$", text)
    start = head.start() if head else 0
    given = container.get("env")
    for one in given if isinstance(given, list) else ():
        name, value = _at(one, "name"), _at(one, "value")
        if not isinstance(name, str):
            continue
        # The API takes texts only; an unquoted true is refused, so such a pod never starts.
        computed = not isinstance(value, str) or "$(" in value.replace("$$", "")
        if value is None and _at(one, "valueFrom") is None:
            value, computed = "", False
        at = text.find(name, start)
        yield Setting(name, None if computed else value, path, text.count("\n", 0, at) + 1 if at >= 0 else 0)


def _at(document: Any, *keys: str) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document
