"""A Mac from its files: what launchd gives to its jobs, what shells read, the profiles of each user.

Property lists are read wherever launchd looks for jobs, and at the top of the root, where exported ones may lie.
Sources: launchd.plist(5) EnvironmentVariables, zsh(1) (the shell of new accounts since macOS 10.15).
"""

from __future__ import annotations

import plistlib
from collections.abc import Iterator, Sequence
from typing import Any
from xml.parsers.expat import ExpatError

from imdswatch.host import sessions
from imdswatch.host.awsconfig import profiles
from imdswatch.host.contexts import starts
from imdswatch.host.facts import Context, Tool, User
from imdswatch.host.setting import Setting
from imdswatch.host.tree import Tree

_SIGNS = ("/System/Library/CoreServices/SystemVersion.plist", "/Library/LaunchDaemons")
_FOLDERS = ("/Library/LaunchDaemons", "/Library/LaunchAgents")
_NOBODY = frozenset({"Shared", "Guest"})
_BROKEN = (
    ValueError,
    OverflowError,
    RecursionError,
    LookupError,
    TypeError,
    AttributeError,
    ExpatError,
    MemoryError,
)
"""What plistlib raises for what is none; it passes on what its parts raise."""


def is_macos(tree: Tree) -> bool:
    """Say whether a root is a Mac's, or a folder of its property lists."""
    return any(tree.meta(path) for path in _SIGNS) or any(
        name.endswith(".plist") for name in tree.listdir("/")
    )


def users(tree: Tree) -> tuple[User, ...]:
    """Return root and the accounts that have a home."""
    names = [name for name in tree.listdir("/Users") if name not in _NOBODY and not name.startswith(".")]
    homes = [
        User(name, 501, f"/Users/{name}", "/bin/zsh") for name in names if tree.is_folder(f"/Users/{name}")
    ]
    return (User("root", 0, "/var/root", "/bin/zsh"), *homes)


def contexts(tree: Tree, known: Sequence[User], tools: Sequence[Tool]) -> Iterator[Context]:
    """Yield a session of each user, then the jobs of launchd that run a client."""
    for user in known:
        yield sessions.session(tree, user, {}, edit=f"{user.home}/.zshenv")
    for path, user, document in _jobs(tree, known):
        arguments = document.get("ProgramArguments")
        words = [document.get("Program"), *(arguments if isinstance(arguments, list) else [])]
        command = " ".join(word for word in words if isinstance(word, str))
        if not any(starts(command, tool) for tool in tools):
            continue
        given = document.get("EnvironmentVariables")
        environment = {
            name: Setting(name, value, path, 0)
            for name, value in (given.items() if isinstance(given, dict) else ())
            if isinstance(value, str) and isinstance(name, str) and sessions.RELEVANT.fullmatch(name)
        }
        yield Context(
            kind="daemon",
            name=str(document.get("Label") or path)[:120],
            user=str(document.get("UserName") or user.name)[:60],
            home=user.home,
            environment=environment,
            profiles=profiles(tree, environment, user.home),
            command=command,
            edit=path,
            change="disable-in-launchd",
        )


def _jobs(tree: Tree, known: Sequence[User]) -> Iterator[tuple[str, User, dict[str, Any]]]:
    root, *others = known
    places = [
        *((folder, root) for folder in (*_FOLDERS, "")),
        *((f"{u.home}/Library/LaunchAgents", u) for u in others),
    ]
    for folder, user in places:
        for name in tree.listdir(folder or "/"):
            if not name.endswith(".plist"):
                continue
            path = f"{folder}/{name}"
            data = tree.read_bytes(path)
            try:
                document = plistlib.loads(data or b"")
            except _BROKEN:
                tree.skip(path, "is no property list")
                continue
            if isinstance(document, dict):
                yield path, user, document
