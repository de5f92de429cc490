"""A Windows host from its files: exported registry keys (`reg export`) at the top of the root, profiles, agents.

Names of variables and files have no case there. The hives themselves are not read: a root that has them but no export
is told as skipped. Source: Microsoft, "Environment variables" (machine, then user), reg.exe's text format 5.00, the
registry value `Environment` of a service (REG_MULTI_SZ).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from imdswatch.host import agents
from imdswatch.host.awsconfig import Profiles, profiles
from imdswatch.host.contexts import starts
from imdswatch.host.facts import Agent, Context, Tool, User
from imdswatch.host.sessions import RELEVANT
from imdswatch.host.setting import Setting
from imdswatch.host.tree import Tree

_EXPORT = 64 << 20
_MACHINE = re.compile(r"(?i)HKEY_LOCAL_MACHINE\\SYSTEM\\[^\\]+\\Control\\Session Manager\\Environment\Z")
_OF_USER = re.compile(r"(?i)(?:HKEY_CURRENT_USER|HKEY_USERS\\[^\\]+)\\Environment\Z")
_SERVICE = re.compile(r"(?i)HKEY_LOCAL_MACHINE\\SYSTEM\\[^\\]+\\Services\\([^\\]+)\Z")
_TAKES_AWAY = re.compile(r'(?m)^(?:\[-|"(?:[^"\\\n]|\\.)*"=-\s*$)')
_NOBODY = frozenset({"public", "default", "default user", "all users", "defaultapppool"})
_SSM_CONFIG = "/Program Files/Amazon/SSM/amazon-ssm-agent.json"
_SSM_STATE = "/ProgramData/Amazon/SSM/InstanceData"
_CLOUDWATCH = "/ProgramData/Amazon/AmazonCloudWatchAgent/common-config.toml"
_PLACE = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"

Values = dict[str, tuple[str, int]]
"""The values of one key: name in lower case, text and line."""


def is_windows(tree: Tree) -> bool:
    """Say whether a root is a Windows one, or a folder of its exports."""
    return tree.spelled("/Windows/System32") is not None or any(map(_is_export, tree.listdir("/")))


def users(tree: Tree) -> tuple[User, ...]:
    """Return the accounts that have a profile."""
    folder = tree.spelled("/Users")
    names = tree.listdir(folder) if folder is not None else ()
    return tuple(
        User(name, 1000, f"{folder}/{name}", "windows")
        for name in names
        if name.casefold() not in _NOBODY and tree.is_folder(f"{folder}/{name}")
    )


def contexts(tree: Tree, known: Sequence[User], tools: Sequence[Tool]) -> Iterator[Context]:
    """Yield a session of each user, then the services that run a client; tells which hives were not read."""
    machine, own, services = _registry(tree)
    for user in known:
        environment = {**machine, **own.get(user.name.casefold(), own.get("", {}))}
        yield Context(
            kind="session",
            name="",
            user=user.name,
            home=user.home,
            environment=environment,
            profiles=profiles(tree, environment, user.home),
            edit=_PLACE,
            change="disable-in-windows",
        )
    for name, (environment, command) in sorted(services.items()):
        if any(starts(command, tool) for tool in tools):
            yield _service(name, {**machine, **environment}, command)


def found_agents(tree: Tree) -> Iterator[Agent]:
    """Yield the agents of AWS."""
    machine, _, services = _registry(tree)
    for agent, service, config in (
        (agents.SSM, "AmazonSSMAgent", _SSM_CONFIG),
        (agents.CLOUDWATCH, "AmazonCloudWatchAgent", _CLOUDWATCH),
    ):
        path = tree.spelled(config)
        folder = tree.spelled(config.rpartition("/")[0])
        if folder is None and service.lower() not in services:
            continue
        environment, command = services.get(service.lower(), ({}, ""))
        settings: agents.Settings = {}
        if agent == agents.SSM:
            settings = agents.ssm_settings(tree, path or config, tree.spelled(_SSM_STATE) or _SSM_STATE)
        yield Agent(
            agent, "", settings, _service(service, {**machine, **environment}, command), path or config
        )


def _service(name: str, environment: dict[str, Setting], command: str) -> Context:
    return Context(
        kind="service",
        name=name,
        user="SYSTEM",
        home="/",
        environment=environment,
        profiles=Profiles("", ""),
        command=command,
        edit=_PLACE,
        change="disable-in-windows",
    )


_Found = tuple[dict[str, Setting], dict[str, dict[str, Setting]], dict[str, tuple[dict[str, Setting], str]]]


def _registry(tree: Tree) -> _Found:
    """Return the variables of the machine, of each user by name ("" where the export does not say), of each service."""
    machine: dict[str, Setting] = {}
    own: dict[str, dict[str, Setting]] = {}
    services: dict[str, tuple[dict[str, Setting], str]] = {}
    exports = [name for name in tree.listdir("/") if _is_export(name)]
    if not exports and tree.spelled("/Windows/System32/config/SYSTEM") is not None:
        tree.skip(
            "/Windows/System32/config/SYSTEM", "registry hives are not read; put a reg export beside them"
        )
    for name in exports:
        path, text = f"/{name}", tree.read_text(f"/{name}", _EXPORT) or ""
        if _TAKES_AWAY.search(text):
            tree.skip(path, "takes keys or values away, as `reg export` never does; the rest is judged")
        for key, values in _keys(text):
            if _MACHINE.match(key):
                machine |= _variables(values, path)
            elif _OF_USER.match(key):
                own.setdefault(_whose(tree, name), {}).update(_variables(values, path))
            elif service := _SERVICE.match(key):
                lines = values.get("environment", ("", 0))
                pairs = [line.partition("=") for line in lines[0].split("\0")]
                given = {left.lower(): (right, lines[1]) for left, equals, right in pairs if equals}
                command = values.get("imagepath", ("", 0))[0].replace("\\", "/").lower().replace(".exe", "")
                services[service[1].lower()] = (_variables(given, path), command)
    return machine, own, services


def _whose(tree: Tree, name: str) -> str:
    """Return the user whom an export is of: its file bears their name, or the export does not say."""
    stem = name.rpartition(".")[0].casefold()
    return stem if tree.spelled(f"/Users/{stem}") is not None else ""


def _variables(values: Values, path: str) -> dict[str, Setting]:
    names = {name.upper(): said for name, said in values.items()}
    return {
        name: Setting(name, None if "%" in text else text, path, line)
        for name, (text, line) in names.items()
        if RELEVANT.fullmatch(name)
    }


def _is_export(name: str) -> bool:
    return name.lower().endswith(".reg")


def _keys(text: str) -> Iterator[tuple[str, Values]]:
    """Yield each key of an export with its values; what is no text is left out."""
    key, values, number = "", dict[str, tuple[str, int]](), 0
    lines = iter(text.splitlines())
    for line in lines:
        number += 1
        first = number
        parts = [line]
        while parts[-1].endswith("\\") and (more := next(lines, None)) is not None:
            parts[-1] = parts[-1][:-1]
            parts.append(more.strip())
            number += 1
        line = "".join(parts)
        if line.startswith("[") and line.endswith("]"):
            if key:
                yield key, values
            key, values = line[1:-1].lstrip("-"), {}
        elif found := re.match(r'"((?:[^"\\]|\\.)*)"=(.*)', line):
            said = _text(found[2].strip())
            if said is not None:
                values[found[1].lower()] = (said, first)
    if key:
        yield key, values


def _text(data: str) -> str | None:
    if len(data) >= 2 and data[0] == data[-1] == '"':
        return re.sub(r"\\(.)", r"\1", data[1:-1])
    found = re.match(r"hex\([127]\):([0-9a-fA-F, ]*)\Z", data)
    if found is None:
        return None
    octets = bytes(int(one, 16) for one in re.findall(r"[0-9a-fA-F]{2}", found[1]))
    return octets.decode("utf-16-le", "replace").rstrip("\0")
