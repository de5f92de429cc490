"""Every way in which AWS clients are started on a host: sessions, services, jobs, containers, running processes.

`contexts` reads; `runs` and `starts` are pure and say which client a context may run. A script that a service or job
starts is read, too: its text counts as part of the command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from imdswatch.host import jobs, sessions, sudo, syntax, units
from imdswatch.host.awsconfig import Profiles, profiles
from imdswatch.host.containers import containers
from imdswatch.host.facts import Context, Tool, User
from imdswatch.host.processes import processes
from imdswatch.host.setting import Setting
from imdswatch.host.tree import Kind, Tree

SESSIONS = (
    *("common-session", "login", "sshd", "su", "su-l", "sudo", "system-auth", "password-auth", "postlogin"),
    "gdm-password",
)
_NAMED = 3
"""Users that the name of a context lists."""
_SCRIPT = 64 << 10
_USES_AWS = re.compile(
    r"AWS_(?:ACCESS_KEY_ID|(?:DEFAULT_)?(?:PROFILE|REGION)|ROLE_ARN|WEB_IDENTITY|CONTAINER_CREDENTIALS)"
)
"""Variables that say that a process works with AWS; the switch does not, where all processes have it."""
ANY = "any-sdk"
"""The tool that stands for whatever may be in a container of which only the settings are known."""


def contexts(
    tree: Tree,
    known: Sequence[User],
    people: Sequence[User],
    only: str,
    tools: Sequence[Tool],
    compose: Sequence[str],
) -> Iterator[Context]:
    """Yield every context in which one of the tools may run; `only` is the user that is wanted, "" for all."""
    homes = {user.name: user.home for user in known}
    if tree.image is not None:
        yield _of_image(tree, homes)
    elif tools:
        given = sessions.pam_environment(tree, SESSIONS)
        edit = "/etc/environment" if sessions.pam_reads(tree, SESSIONS) else ""
        own = {user: sessions.pam_of_user(tree, SESSIONS, user.home) for user in people}
        logins = [sessions.session(tree, user, {**given, **own[user]}, edit) for user in people]
        yield from logins
        yield from _of_sudo(tree, known, people, logins)
        yield from _of_units(tree, homes, tools)
        yield from _of_user_units(tree, people, tools)
        yield from _of_jobs(tree, homes, tools)
        if tree.live:
            yield from _of_processes(tree, known, tools)
    for container in containers(tree, compose):
        yield Context(
            kind="container",
            name=container.name,
            user="root",
            home="/root",
            environment=container.environment,
            profiles=Profiles("", ""),
            edit=container.path,
            change="disable-in-container",
            whole=container.whole,
            own_network=container.own_network,
        )


def _of_image(tree: Tree, homes: dict[str, str]) -> Context:
    """Return what a container of an image gets where nothing else is said."""
    config = tree.image or {}
    given, user = config.get("Env"), str(config.get("User") or "root").partition(":")[0]
    words = (
        [word.replace("\n", " ") for word in given if isinstance(word, str)]
        if isinstance(given, list)
        else []
    )
    settings = [Setting(one.name, one.value, _ENV) for one in syntax.env_file("\n".join(words), _ENV)]
    environment = {one.name: one for one in settings if sessions.RELEVANT.fullmatch(one.name)}
    home = homes.get(user, "/root" if user in ("root", "0") else "/")
    return Context(
        kind="image",
        name="",
        user=user,
        home=home,
        environment=environment,
        profiles=profiles(tree, environment, home),
        edit=_ENV,
        change="disable-in-image",
    )


_ENV = "(image configuration)"


def _of_sudo(
    tree: Tree, known: Sequence[User], people: Sequence[User], logins: Sequence[Context]
) -> Iterator[Context]:
    """Yield what a tool gets that a user starts with sudo; users for whom that is the same share one context."""
    rules = sudo.sudoers(tree)
    if rules is None:
        return
    groups, pam = sudo.groups(tree, known), sessions.pam_environment(tree, ("sudo",))
    home = next((user.home for user in known if user.uid == 0), "/root")
    alike: dict[frozenset[Setting], list[str]] = {}
    by_user = {login.user: login for login in logins}
    for user in sudo.users(rules, people, groups):
        left = sudo.passed(tree, sudo.policy(rules, user, groups), by_user[user.name].environment, pam)
        alike.setdefault(frozenset(left.values()), []).append(user.name)
    for settings, names in alike.items():
        environment = {setting.name: setting for setting in settings}
        by_pam = sessions.pam_reads(tree, ("sudo",))
        yield Context(
            kind="sudo",
            name=f"by {', '.join(names[:_NAMED])}{f' and {more} more' if (more := len(names) - _NAMED) > 0 else ''}",
            user="root",
            home=home,
            environment=environment,
            profiles=profiles(tree, environment, home),
            edit="/etc/environment"
            if by_pam
            else f"{rules.drop_ins}/imdswatch"
            if rules.drop_ins
            else sudo.SUDOERS,
            change="disable-in-environment" if by_pam else "keep-through-sudo",
        )


def _of_units(tree: Tree, homes: dict[str, str], tools: Sequence[Tool]) -> Iterator[Context]:
    for unit in _starting(tree, units.units(tree, units.default_environment(tree)), tools):
        yield unit_context(tree, unit, homes)


def _of_user_units(tree: Tree, people: Sequence[User], tools: Sequence[Tool]) -> Iterator[Context]:
    """Yield what the manager of each user starts; users without files of their own for it have the same."""
    given = sessions.pam_environment(tree, ("systemd-user",))
    shared: list[Context] | None = None
    for user in people:
        manager = units.of_user(user.home)
        own = any(map(tree.is_folder, manager.own))
        if own or shared is None:
            found = []
            defaults = units.default_environment(tree, manager, given)
            for unit in _starting(tree, units.units(tree, defaults, manager), tools):
                unit.user = user.name
                found.append(unit_context(tree, unit, {user.name: user.home}))
            shared = shared if own else found
            yield from found
            continue
        for one in shared:
            files = profiles(tree, one.environment, user.home)
            yield replace(one, user=user.name, home=user.home, profiles=files)


def _starting(tree: Tree, found: Iterable[units.Unit], tools: Sequence[Tool]) -> Iterator[units.Unit]:
    """Yield the units that start one of the tools, by themselves or by a script."""
    for unit in found:
        unit.commands = _with_scripts(tree, unit.commands)
        if any(starts("\n".join(unit.commands), tool) for tool in tools):
            yield unit


def unit_context(tree: Tree, unit: units.Unit, homes: dict[str, str]) -> Context:
    """Return what a service gets, its environment files read."""
    home = homes.get(unit.user, "/")
    units.environment_files(tree, unit, home)
    return Context(
        kind="unit" if unit.manager is units.SYSTEM else "user unit",
        name=unit.name,
        user=unit.user,
        home=home,
        environment=unit.environment,
        profiles=profiles(tree, unit.environment, home),
        command="\n".join(unit.commands),
        edit=unit.drop_in,
        change="disable-for-unit",
        whole=unit.whole,
        meddles=_MEDDLES.search("\n".join(unit.commands)) is not None,
    )


def _of_jobs(tree: Tree, homes: dict[str, str], tools: Sequence[Tool]) -> Iterator[Context]:
    for job in jobs.jobs(tree, sessions.pam_environment(tree, jobs.SERVICES)):
        command = "\n".join(_with_scripts(tree, [job.commands]))
        if any(starts(command, tool) for tool in tools):
            home = homes.get(job.user, "/")
            yield Context(
                kind="cron",
                name=job.path,
                user=job.user,
                home=home,
                environment=job.environment,
                profiles=profiles(tree, job.environment, home),
                command=command,
                edit=job.edit or job.path,
                change="disable-in-cron",
                meddles=_MEDDLES.search(command) is not None,
            )


def _of_processes(tree: Tree, known: Sequence[User], tools: Sequence[Tool]) -> Iterator[Context]:
    """Yield the running clients: programs that are one, and interpreters that were given AWS variables."""
    names = {user.uid: user.name for user in known}
    for process in processes(tree):
        head = process.command.split(" ", 1)[0]
        is_client = any(
            {head.rpartition("/")[2], process.name} & set(tool.package.binaries) for tool in tools
        )
        given = any(_USES_AWS.match(name) for name in process.environment)
        if not is_client and not (given and any(starts(process.command, tool) for tool in tools)):
            continue
        yield Context(
            kind="process",
            name=f"{process.pid} {process.name}",
            user=names.get(process.uid, str(process.uid)),
            home=process.home or "/",
            environment=process.environment,
            profiles=profiles(tree, process.environment, process.home or "/"),
            command=process.command,
            edit=units.drop_in(process.unit) if process.unit else "/etc/environment",
            change="disable-for-unit" if process.unit else "disable-in-environment",
            whole=process.whole,
        )


def runs(context: Context, tool: Tool) -> bool:
    """Say whether a tool may be what a context runs: a session may run all that its user can reach."""
    if context.kind == "container":
        return tool.package.name == ANY
    if tool.package.name == ANY:
        return False
    if context.kind in ("session", "sudo", "image"):
        return not tool.home or _same_home(context.home, tool.home)
    if tool.home and not _same_home(context.home, tool.home) and context.user != "root":
        return False
    return starts(context.command, tool)


def starts(command: str, tool: Tool) -> bool:
    """Say whether a command starts a tool, or an interpreter that may load it."""
    words = _words(command)
    if words & set(tool.package.binaries):
        return True
    if not words & set(tool.package.runs):
        return False
    prefix = re.split(r"/lib(?:64)?/python|/node_modules", tool.path, maxsplit=1)[0]
    return prefix in ("/usr", "/usr/local", tool.path) or f"{prefix}/" in command


@lru_cache(maxsize=256)
def _words(command: str) -> frozenset[str]:
    """Return the names of programs in a command, also without their version: `python3.11` is `python`, too."""
    words = {word.rpartition("/")[2] for word in re.findall(r"[\w./@+-]+", command)}
    return frozenset(words | {re.sub(r"(?<=[a-z])[\d.]+\Z", "", word) for word in words})


_MEDDLES = re.compile(
    r"AWS_EC2_METADATA_DISABLED|\bunset\s+AWS|\benv\s+(?:-\S+\s+)*(?:-i\b|--ignore-environment\b|-\s)"
)


def _same_home(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _with_scripts(tree: Tree, commands: list[str]) -> list[str]:
    """Return commands with the text of the scripts that they start, without comments."""
    parts = list(commands)
    for path in dict.fromkeys(re.findall(r"(?m)(?:(?<=[\s=@!:+-])|^)/[\w./@+-]+", "\n".join(commands))):
        if path.startswith(("/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/")):
            continue
        meta = tree.meta(path)
        if meta is not None and meta.kind is Kind.FILE and 0 < meta.size <= _SCRIPT:
            text = tree.read_text(path) or ""
            if text.startswith("#!"):
                parts.append(re.sub(r"(?m)^\s*#(?!!).*$", "", text))
    return parts
