"""The processes of the running host that are AWS clients, with the environment that is really in force in each.

Only for a live host: /proc/PID/environ is what the process got when it started; a change needs a restart. A process is
looked at where its command names a client, or where it was given AWS variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from imdswatch.host.sessions import RELEVANT
from imdswatch.host.setting import Environment, Setting
from imdswatch.host.tree import Tree

_LONGEST = 1 << 18
_UNIT = re.compile(r"/([^/\n]+\.service)(?:/|\n|\Z)")


@dataclass(frozen=True, slots=True)
class Process:
    """One process: `unit` is the service it belongs to, "" for none."""

    pid: int
    name: str
    uid: int
    command: str
    environment: Environment
    home: str
    unit: str
    whole: bool


def processes(tree: Tree) -> Iterator[Process]:
    """Yield the processes with a command line, by number; one that ends meanwhile is left out."""
    for entry in sorted((name for name in tree.listdir("/proc") if name.isdigit()), key=int):
        folder = f"/proc/{entry}"
        command = (tree.read_bytes(f"{folder}/cmdline", _LONGEST) or b"").rstrip(b"\0")
        status = tree.read_text(f"{folder}/status") or ""
        uid = re.search(r"(?m)^Uid:\s+(\d+)", status)
        name = re.search(r"(?m)^Name:\s+(.*)$", status)
        if not command or uid is None or name is None:
            continue
        told = len(tree.skipped)
        data = tree.read_bytes(f"{folder}/environ", _LONGEST)
        if (
            len(tree.skipped) > told
        ):  # another user's process: the environment is unknown, and its cell says so
            del tree.skipped[told:]
            data = None
        environment, home = _environment(data or b"", f"{folder}/environ")
        cgroup = tree.read_text(f"{folder}/cgroup") or ""
        unit = _UNIT.search(cgroup)
        yield Process(
            int(entry),
            name[1],
            int(uid[1]),
            command.replace(b"\0", b" ").decode("utf-8", "replace"),
            environment,
            home,
            unit[1] if unit else "",
            data is not None,
        )


def _environment(data: bytes, path: str) -> tuple[Mapping[str, Setting], str]:
    found: dict[str, Setting] = {}
    home = ""
    for word in data.split(b"\0"):
        name, equals, value = word.decode("utf-8", "replace").partition("=")
        if equals and name == "HOME":
            home = value
        if equals and RELEVANT.fullmatch(name):
            found.setdefault(name, Setting(name, value, path))
    return found, home
