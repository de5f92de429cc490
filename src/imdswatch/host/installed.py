"""Which AWS clients are installed below a root: package databases, and one walk over the names of the files.

A walk opens almost nothing: folders are listed, and only what a name points at is read. File systems that come over a
network, the kernel's own, temporary folders and the images of containers are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from imdswatch.host.binaries import go_modules, jar_holds
from imdswatch.host.facts import Tool, User
from imdswatch.host.families import Package, packages
from imdswatch.host.rpm import rpm_versions
from imdswatch.host.tree import Folder, Kind, Tree

_LEFT_OUT = (
    *("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp"),
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/containers"),
)
_NAMES_LEFT_OUT = ("__pycache__", ".git", ".svn", ".hg", ".npm", ".cargo", "pip-cache")
_ELSEWHERE = re.compile(
    r"nfs|cifs|smb|fuse|9p|ceph|gluster|lustre|beegfs|afs|autofs|proc|sysfs|tmpfs|devtmpfs|overlay|cgroup"
)
_DATABASE = 64 << 20
_COMPOSE = re.compile(r"(?:docker-)?compose[\w.-]*\.ya?ml\Z")
_DIST = re.compile(r"(?P<name>[A-Za-z0-9_.]+?)-(?P<version>\d[^-]*)(?:-py[\d.]+)?\.(?:dist-info|egg-info)\Z")
_JAR = re.compile(r"(?P<name>[a-z0-9-]+?)-(?P<version>\d[\w.]*)\.jar\Z")
_GEM = re.compile(r"(?P<name>[a-z0-9_-]+?)-(?P<version>\d[\w.]*)\.gemspec\Z")
_JARS = 5000
_EXECUTABLES = 400


@dataclass(slots=True)
class Found:
    """What the walk met; working state."""

    tools: dict[tuple[str, str], tuple[set[str], str]] = field(default_factory=dict)
    compose: list[str] = field(default_factory=list)
    jars: int = 0
    executables: int = 0


class _Index:
    """The names of all packages, by system."""

    def __init__(self) -> None:
        self.by: dict[str, dict[str, list[Package]]] = {}
        for package in packages():
            for system, names in package.names.items():
                for name in names:
                    self.by.setdefault(system, {}).setdefault(name.lower(), []).append(package)
            for name in package.binaries:
                self.by.setdefault("binary", {}).setdefault(name, []).append(package)

    def find(self, system: str, name: str, version: str = "") -> list[Package]:
        """Return the packages of a name that fit a version."""
        named = self.by.get(system, {}).get(name.lower(), [])
        return [one for one in named if not one.major or version.startswith(one.major + ".")]


def installed(tree: Tree, users: tuple[User, ...]) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    """Return the clients of a host, each once a home folder, and the Compose files that the walk met."""
    index, found = _Index(), Found()
    homes = sorted({user.home.rstrip("/") for user in users} - {"", "/nonexistent"}, key=len, reverse=True)
    homes = [home for home in homes if home.count("/") > 1 or home == "/root"]

    def add(package: Package, version: str, path: str) -> None:
        home = next((home for home in homes if path.startswith(f"{home}/")), "")
        versions, _ = found.tools.setdefault((package.name, home), (set(), path))
        versions.update({version} if version else ())

    for package, version, path in _databases(tree, index):
        add(package, version, path)
    for folder in tree.walk("/", prune=_pruned(tree), names=_NAMES_LEFT_OUT):
        for package, version, path in _in_folder(tree, index, folder, found):
            add(package, version, path)
    by_name = {package.name: package for package in packages()}
    tools = [
        Tool(by_name[name], ", ".join(sorted(versions)[:4]), path, home)
        for (name, home), (versions, path) in sorted(found.tools.items())
    ]
    return tuple(tools), tuple(found.compose)


def _pruned(tree: Tree) -> frozenset[str]:
    """Return what a walk leaves out: on a running host also what is mounted from elsewhere."""
    left_out = set(_LEFT_OUT)
    if tree.live:
        for line in (tree.read_text("/proc/self/mounts") or "").splitlines():
            words = line.split(" ")
            if len(words) > 2 and words[1] != "/" and _ELSEWHERE.match(words[2]):
                left_out.add(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), words[1]))
    return frozenset(left_out)


_Hit = tuple[Package, str, str]


def _databases(tree: Tree, index: _Index) -> Iterator[_Hit]:
    for path in (
        "/var/lib/dpkg/status",
        *(f"/var/lib/dpkg/status.d/{n}" for n in tree.listdir("/var/lib/dpkg/status.d")),
    ):
        text = tree.read_bytes(path, _DATABASE) or b""
        for block in re.finditer(rb"(?m)^Package: (\S+)\n((?:.+\n?)*)", text):
            name, body = block[1].decode("utf-8", "replace"), block[2]
            status = re.search(rb"(?m)^Status: (.+)$", body)
            if status is not None and not status[1].endswith(b" installed"):
                continue
            version = re.search(rb"(?m)^Version: (\S+)$", body)
            told = version[1].decode("utf-8", "replace") if version else ""
            for package in index.find("dpkg", name, told.partition(":")[2] or told):
                yield package, told, path
    names = list(index.by.get("rpm", {}))
    for path, name, told in rpm_versions(tree, names):
        for package in index.find("rpm", name, told):
            yield package, told, path
    path = "/lib/apk/db/installed"
    text = tree.read_bytes(path, _DATABASE) or b""
    for block in re.finditer(rb"(?m)^P:(\S+)\nV:(\S+)$", text):
        told = block[2].decode("utf-8", "replace")
        for package in index.find("apk", block[1].decode("utf-8", "replace"), told):
            yield package, told, path


def _in_folder(tree: Tree, index: _Index, folder: Folder, found: Found) -> Iterator[_Hit]:
    """Yield what the names of one folder show."""
    here = folder.path.rstrip("/")
    for name in (*folder.folders, *folder.files):
        if name.endswith(("-info",)) and (dist := _DIST.match(name)):
            for package in index.find("pip", dist["name"].replace("_", "-"), dist["version"]):
                yield package, dist["version"], f"{here}/{name}"
    last = here.rpartition("/")[2]
    if last == "node_modules" or (here.rpartition("/")[0].endswith("/node_modules") and last.startswith("@")):
        scope = f"{last}/" if last.startswith("@") else ""
        for name in folder.folders:
            for package in index.find("npm", scope + name):
                yield package, _json_version(tree, f"{here}/{name}/package.json"), f"{here}/{name}"
    for system in ("folder", "module", "composer"):
        for name in folder.folders:
            stem = f"{last}/{name}" if system != "module" else name
            for package in index.by.get(system, {}).get(stem.lower(), ()):
                numbers = [one for one in tree.listdir(f"{here}/{name}") if one[:1].isdigit()]
                yield package, numbers[-1] if numbers else "", f"{here}/{name}"
    in_bin = last in ("bin", "sbin")
    for name in folder.files:
        if name.endswith(".jar"):
            yield from _jar(tree, index, f"{here}/{name}", name, found)
        elif name.endswith(".gemspec") and (gem := _GEM.match(name)):
            for package in index.find("gem", gem["name"]):
                yield package, gem["version"], f"{here}/{name}"
        elif name.endswith(".dll") or ".so" in name:
            stem = name.partition(".so")[0] + ".so" if ".so" in name else name
            for system in ("assembly", "library"):
                for package in index.find(system, stem):
                    yield package, "", f"{here}/{name}"
        elif _COMPOSE.match(name):
            found.compose.append(f"{here}/{name}")
        elif in_bin:
            yield from _binary(tree, index, f"{here}/{name}", name, found)


def _jar(tree: Tree, index: _Index, path: str, name: str, found: Found) -> Iterator[_Hit]:
    found.jars += 1
    if found.jars > _JARS:
        tree.skip("/", f"has more than {_JARS} Java archives; the rest is not looked into")
        return
    named = _JAR.match(name)
    of_jars = [package for package in packages() if "jar" in package.names]
    held = jar_holds(tree, path, [package.package for package in of_jars if package.package])
    for package in of_jars:
        is_named = named is not None and named["name"] in package.names["jar"]
        if is_named and not package.package:
            yield package, named["version"] if named else "", path
        elif package.package in held:
            yield package, named["version"] if named is not None and is_named else "", path


def _binary(tree: Tree, index: _Index, path: str, name: str, found: Found) -> Iterator[_Hit]:
    for package in index.by.get("binary", {}).get(name, ()):
        if not package.major and tree.is_file(path):
            yield package, "", path
            return
    if path.startswith(("/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/")):
        return  # what a package manager put there is in its database
    meta = tree.meta(path)
    if meta is None or meta.kind is not Kind.FILE or not meta.mode & 0o111 or meta.size < 1 << 20:
        return
    found.executables += 1
    if found.executables > _EXECUTABLES:
        tree.skip("/", f"has more than {_EXECUTABLES} large programs; the rest is not looked into")
        return
    modules = go_modules(tree, path)
    for module, version in modules.items():
        for package in index.find("go", module):
            yield package, f"{version} in {name}", path


def _json_version(tree: Tree, path: str) -> str:
    try:
        document = json.loads(tree.read_text(path) or "{}")
    except (ValueError, RecursionError):
        return ""
    version = document.get("version") if isinstance(document, dict) else None
    return version[:40] if isinstance(version, str) else ""
