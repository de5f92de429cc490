"""Cron jobs of this host: the system's crontabs and every user's, each with the variables that stand above its jobs.

Source: crontab(5) of Debian's cron and of cronie; cron gives no shell start-up file to a job. What PAM gives to cron
comes first where cron's PAM service has pam_env.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from imdswatch.host import syntax
from imdswatch.host.sessions import RELEVANT
from imdswatch.host.setting import Environment, Setting
from imdswatch.host.tree import Tree

_SYSTEM = ("/etc/crontab", "/etc/anacrontab")
_SPOOLS = ("/var/spool/cron/crontabs", "/var/spool/cron/tabs", "/var/spool/cron")
_FOLDERS = ("/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly")
_SPECIAL = re.compile(r"@\w+\s+(?P<rest>.+)|(?:\S+\s+){5}(?P<fields>.+)")


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of one user in one file that share an environment."""

    path: str
    user: str
    environment: Environment
    commands: str


def jobs(tree: Tree, given: Environment) -> Iterator[Jobs]:
    """Yield all jobs; `given` is what PAM gives to cron."""
    system = [*_SYSTEM, *(f"/etc/cron.d/{name}" for name in tree.listdir("/etc/cron.d"))]
    for path in system:
        yield from _tab(tree, path, None, given)
    for spool in _SPOOLS:
        for name in tree.listdir(spool):
            if tree.is_file(f"{spool}/{name}"):
                yield from _tab(tree, f"{spool}/{name}", name, given)
    for folder in _FOLDERS:
        for name in tree.listdir(folder):
            text = tree.read_text(f"{folder}/{name}")
            if text:
                yield Jobs(f"{folder}/{name}", "root", given, text)


def _tab(tree: Tree, path: str, user: str | None, given: Environment) -> Iterator[Jobs]:
    environment = dict(given)
    groups: dict[str, list[str]] = {}
    for number, line in enumerate((tree.read_text(path) or "").splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        setting = syntax.cron_line(line, path, number)
        if setting is not None:
            if RELEVANT.fullmatch(setting.name):
                yield from _emit(path, environment, groups)
                environment[setting.name] = Setting(setting.name, setting.value, path, number)
            continue
        found = _SPECIAL.match(stripped)
        if found is None:
            continue
        rest = found["rest"] or found["fields"]
        owner, command = (
            (user, rest) if user is not None else rest.split(None, 1) if " " in rest else ("root", rest)
        )
        groups.setdefault(owner, []).append(command)
    yield from _emit(path, environment, groups)


def _emit(path: str, environment: dict[str, Setting], groups: dict[str, list[str]]) -> Iterator[Jobs]:
    for owner, commands in groups.items():
        yield Jobs(path, owner, dict(environment), "\n".join(commands))
    groups.clear()
