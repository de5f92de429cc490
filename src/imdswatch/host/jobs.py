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

SERVICES = ("cron", "crond")
"""What cron calls itself to PAM."""
_SYSTEM = ("/etc/crontab", "/etc/anacrontab")
_SPOOLS = ("/var/spool/cron/crontabs", "/var/spool/cron/tabs", "/var/spool/cron")
_FOLDERS = ("/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly")
_SPECIAL = re.compile(r"@\w+\s+(?P<rest>.+)|(?:\S+\s+){5}(?P<fields>.+)")


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of one user that share an environment; `path` is the crontab, or the script that one runs."""

    path: str
    user: str
    environment: Environment
    commands: str
    edit: str = ""
    """The crontab, where a variable for them belongs."""


def jobs(tree: Tree, given: Environment) -> Iterator[Jobs]:
    """Yield all jobs; `given` is what PAM gives to cron."""
    system = [*_SYSTEM, *(f"/etc/cron.d/{name}" for name in tree.listdir("/etc/cron.d"))]
    of_system = [found for path in system for found in _tab(tree, path, None, given)]
    yield from of_system
    for spool in _SPOOLS:
        for name in tree.listdir(spool):
            if tree.is_file(f"{spool}/{name}"):
                yield from _tab(tree, f"{spool}/{name}", name, given)
    for folder in _FOLDERS:
        # run-parts gives its scripts what it has from the crontab: cron's own, or that of anacron
        by = [one for one in of_system if folder in one.commands] or [Jobs("/etc/crontab", "root", given, "")]
        by = [one for at, one in enumerate(by) if not any(_alike(one, other) for other in by[:at])]
        for name in tree.listdir(folder):
            text = tree.read_text(f"{folder}/{name}")
            for one in by if text else ():
                yield Jobs(f"{folder}/{name}", one.user, one.environment, text or "", one.path)


def _alike(one: Jobs, other: Jobs) -> bool:
    return one.user == other.user and one.environment == other.environment


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
