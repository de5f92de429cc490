"""Who uses this host, and what a session of each user gets: PAM, the shell's start-up files, in their order.

The environment of a context is that of a shell in a terminal after login, the others are the ways round these files: a
command by ssh, a job, a desktop. A setting counts for all of them only where PAM makes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from imdswatch.host import shell, syntax
from imdswatch.host.awsconfig import profiles
from imdswatch.host.facts import Context, Other, User
from imdswatch.host.setting import Environment, Setting
from imdswatch.host.tree import Tree
from imdswatch.yamlfile import load

RELEVANT = re.compile(
    r"AWS_\w+|AMAZON_\w+|(?i:\w+_proxy)|ECS_\w+|RUN_IN_AWS|IMDS_\w+|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|_JAVA_OPTIONS"
    r"|MINIO_\w+"
)
"""Variables that a client heeds; no other is kept."""
_FALSE_SHELLS = frozenset({"nologin", "false", "sync", "halt", "shutdown", "git-shell", "true"})
_FIRST_PERSON = 1000
"""User ids from here on are people's (login.defs(5), UID_MIN)."""
_NOBODY = 65534
_MANY = 200
"""Users whose sessions are judged; a host with more has them all from one directory, set up alike."""


def users(tree: Tree) -> tuple[User, ...]:
    """Return the accounts of /etc/passwd that stand there whole."""
    found = []
    for line in (tree.read_text("/etc/passwd", 16 << 20) or "").splitlines():
        parts = line.split(":")
        if len(parts) == 7 and parts[2].isascii() and parts[2].isdigit() and len(parts[2]) < 11:
            found.append(User(parts[0], int(parts[2]), parts[5] or "/", parts[6].strip() or "/bin/sh"))
    return tuple(found)


def people(tree: Tree, known: tuple[User, ...]) -> tuple[User, ...]:
    """Return the users who may run a client in a session: root, people, and whoever has AWS files or a login."""
    found = []
    for user in known:
        logs_in = user.shell.rpartition("/")[2] not in _FALSE_SHELLS
        person = user.uid == 0 or _FIRST_PERSON <= user.uid < _NOBODY
        if (person and logs_in) or tree.is_folder(f"{user.home.rstrip('/')}/.aws"):
            found.append(user)
    if len(found) > _MANY:
        tree.skip("/etc/passwd", f"has {len(found)} users; sessions are judged for the first {_MANY}")
    return tuple(found[:_MANY])


def session(tree: Tree, user: User, pam: Mapping[str, Setting], edit: str = "") -> Context:
    """Return what a session of a user gets; `edit` is the file in which a variable belongs (default: theirs)."""
    before = len(tree.skipped)
    always = dict(pam)
    table = _shells().get(user.shell.rpartition("/")[2], {})
    _apply(tree, always, table.get("always", ()), user)
    login = dict(always)
    _apply(tree, login, table.get("login", ()), user)
    terminal = dict(login)
    _apply(tree, terminal, table.get("terminal", ()), user)
    others = []
    if login != terminal:
        others.append(Other("it is started by a login shell without a terminal, such as a script", login))
    if always != login:
        others.append(Other("it is started without a login shell: by ssh, a job or a desktop", always))
    if always != pam:
        others.append(Other("it is started without that shell: by a job, a service or a desktop", dict(pam)))
    edit = edit or own_file(tree, user)[0]
    return Context(
        kind="session",
        name="",
        user=user.name,
        home=user.home,
        environment=terminal,
        profiles=profiles(tree, terminal, user.home),
        others=tuple(others),
        edit=edit,
        change="disable-in-environment" if edit == "/etc/environment" else "disable-in-shell",
        whole=not any(_starts_shell(one.source, user.home) for one in tree.skipped[before:]),
    )


def own_file(tree: Tree, user: User) -> tuple[str, str]:
    """Return the file of a user in which a variable for their shell belongs, and its language."""
    shell_name = user.shell.rpartition("/")[2]
    (choices,) = _shells().get(shell_name, _shells()["sh"])["own"]
    paths = [f"{user.home.rstrip('/')}{choice[1:]}" for choice in choices.split("|")]
    there = next((path for path in paths if tree.is_file(path)), paths[-1])
    return there, {"csh": "csh", "tcsh": "csh", "fish": "fish"}.get(shell_name, "shell")


def _starts_shell(path: str, home: str) -> bool:
    return path.startswith(("/etc/", "/usr/")) or path.startswith(f"{home.rstrip('/')}/.")


def _apply(tree: Tree, environment: dict[str, Setting], patterns: tuple[str, ...], user: User) -> None:
    for pattern in patterns:
        for path in _paths(tree, pattern, user.home.rstrip("/")):
            for effect in shell.effects(tree.read_text(path) or "", path, environment):
                setting = effect.setting
                if RELEVANT.fullmatch(setting.name) and effect.sure and effect.gone:
                    environment.pop(setting.name, None)
                elif RELEVANT.fullmatch(setting.name):
                    value = setting.value if effect.sure else None
                    environment[setting.name] = Setting(setting.name, value, path, setting.line)


def _paths(tree: Tree, pattern: str, home: str) -> Iterator[str]:
    for choice in pattern.split("|"):
        path = home + choice[1:] if choice.startswith("~/") else choice
        folder, _, name = path.rpartition("/")
        if name.startswith("*"):
            yield from (f"{folder}/{entry}" for entry in tree.listdir(folder) if entry.endswith(name[1:]))
            return
        if tree.is_file(path):
            yield path
            return


# PAM


def pam_environment(tree: Tree, services: tuple[str, ...]) -> Environment:
    """Return what pam_env gives to sessions of any of these services, in the order of their files."""
    environment: dict[str, Setting] = {}
    for line in _pam_lines(tree, services):
        arguments = dict(word.partition("=")[::2] for word in line)
        conf = arguments.get("conffile", "/etc/security/pam_env.conf")
        _take(environment, syntax.pam_env_conf(tree.read_text(conf) or "", conf))
        if arguments.get("readenv", "1") != "0":
            path = arguments.get("envfile", "/etc/environment")
            _take(environment, syntax.pam_environment(tree.read_text(path) or "", path))
    return environment


def pam_of_user(tree: Tree, services: tuple[str, ...], home: str) -> Environment:
    """Return what pam_env takes from a user's own file, which it reads only where it is told to (user_readenv=1)."""
    environment: dict[str, Setting] = {}
    for line in _pam_lines(tree, services):
        arguments = dict(word.partition("=")[::2] for word in line)
        if arguments.get("user_readenv") == "1":
            path = f"{home.rstrip('/')}/{arguments.get('user_envfile', '.pam_environment')}"
            text = tree.read_text(path) or ""
            _take(environment, syntax.pam_environment(text, path))
            _take(environment, syntax.pam_env_conf(text, path))
    return environment


def pam_reads(tree: Tree, services: tuple[str, ...]) -> bool:
    """Say whether any of these services has pam_env, so that /etc/environment reaches its sessions."""
    lines = _pam_lines(tree, services)
    return any(
        "readenv=0" not in line and not any(one.startswith("envfile=") for one in line) for line in lines
    )


def _take(environment: dict[str, Setting], settings: Iterator[Setting]) -> None:
    environment.update({setting.name: setting for setting in settings if RELEVANT.fullmatch(setting.name)})


_WITHOUT_PAM = ("/etc/alpine-release", "/lib/apk/db", "/etc/openwrt_release")
"""What only systems have whose login knows no PAM."""


def _pam_lines(tree: Tree, services: tuple[str, ...]) -> list[list[str]]:
    """Return the arguments of each pam_env line of the services, included files read where they are included.

    A root that says nothing of PAM (a backup of some folders, a stripped image) is taken for what most systems are:
    pam_env reads /etc/environment. Alpine has no PAM as it is shipped, and its login does not read that file.
    """
    if not tree.is_folder("/etc/pam.d") and not any(tree.meta(path) for path in _WITHOUT_PAM):
        return [[]]
    found: list[list[str]] = []
    pending, seen = list(reversed(services)), set()
    while pending:
        service = pending.pop()
        if service in seen or "/" in service:
            continue
        seen.add(service)
        included = []
        for line in (tree.read_text(f"/etc/pam.d/{service}") or "").splitlines():
            words = line.split("#", 1)[0].split()
            if words[:1] == ["@include"] and len(words) > 1:
                included.append(words[1])
            elif len(words) > 2 and words[1] in ("include", "substack"):
                included.append(words[2])
            elif any(word.endswith("pam_env.so") for word in words):
                at = next(at for at, word in enumerate(words) if word.endswith("pam_env.so"))
                found.append(words[at + 1 :])
        pending += reversed(included)
    return found


@cache
def _shells() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    text = files("imdswatch").joinpath("data/host/shells.yml").read_text(encoding="utf-8")
    table = load(text, "data/host/shells.yml")
    return {name: table.choices(name) for name in table.names()}
