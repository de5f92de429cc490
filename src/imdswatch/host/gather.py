"""Read a host from its tree: users, tools, every way in which they are started, agents, network. Order: as told.

Nothing is judged, nothing raises; what could not be read stands in the tree's `skipped`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from imdswatch.host import jobs, sessions, units
from imdswatch.host.awsconfig import profiles
from imdswatch.host.facts import Context, Facts, Tool, User
from imdswatch.host.installed import installed
from imdswatch.host.tree import Kind, Tree
from imdswatch.machine import DMI, Machine

_SESSIONS = (
    *("common-session", "login", "sshd", "su", "su-l", "sudo", "system-auth", "password-auth", "postlogin"),
    "gdm-password",
)
_CRON = ("cron", "crond")
_SCRIPT = 64 << 10


def gather(tree: Tree, only: str = "") -> Facts:
    """Return the facts of a host; `only` is the user whose sessions are wanted, "" for all."""
    known = sessions.users(tree)
    people = tuple(user for user in sessions.people(tree, known) if only in ("", user.name))
    tools, _ = installed(tree, known)
    machine = _machine(tree)
    amazon = machine.is_amazon
    return Facts(
        host=_host(tree),
        system="linux",
        machine={True: "ec2", False: "not-ec2", None: "unknown"}[amazon],
        machine_says=machine.shown,
        users=people,
        tools=tools,
        contexts=tuple(_contexts(tree, known, people, only, tools)),
    )


def _contexts(
    tree: Tree, known: tuple[User, ...], people: tuple[User, ...], only: str, tools: tuple[Tool, ...]
) -> Iterator[Context]:
    if not tools:
        return
    given = sessions.pam_environment(tree, _SESSIONS)
    for user in people:
        yield sessions.session(tree, user, given)
    homes = {user.name: user.home for user in known}

    def client(command: str) -> bool:
        return any(starts(command, tool) for tool in tools)

    for unit in units.units(tree, units.default_environment(tree)):
        unit.commands = _with_scripts(tree, unit.commands)
        command = "\n".join(unit.commands)
        if only in ("", unit.user) and client(command):
            units.environment_files(tree, unit)
            home = homes.get(unit.user, "/")
            yield Context(
                kind="unit",
                name=unit.name,
                user=unit.user,
                home=home,
                environment=unit.environment,
                profiles=profiles(tree, unit.environment, home),
                command=command,
                edit=unit.drop_in,
                change="disable-for-unit",
                whole=unit.whole,
            )
    for job in jobs.jobs(tree, sessions.pam_environment(tree, _CRON)):
        command = "\n".join(_with_scripts(tree, [job.commands]))
        if only in ("", job.user) and client(command):
            home = homes.get(job.user, "/")
            yield Context(
                kind="cron",
                name=job.path,
                user=job.user,
                home=home,
                environment=job.environment,
                profiles=profiles(tree, job.environment, home),
                command=command,
                edit=job.path,
                change="disable-in-cron",
            )


def runs(context: Context, tool: Tool) -> bool:
    """Say whether a tool may be what a context runs: a session may run all that its user can reach."""
    if context.kind == "session":
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


def _machine(tree: Tree) -> Machine:
    dmi = {
        name: (tree.read_text(f"/sys/class/dmi/id/{name}", 256) or "").strip()
        for name in DMI
        if name != "product_uuid"
    }
    return Machine(
        dmi={name: text for name, text in dmi.items() if text},
        hypervisor_uuid=(tree.read_text("/sys/hypervisor/uuid", 256) or "").strip(),
        hypervisor_version=(tree.read_text("/sys/hypervisor/version/extra", 256) or "").strip(),
    )


def _host(tree: Tree) -> str:
    """Return the name of the host: the kernel's where it runs, else the file's; "" where unknown."""
    paths = ("/proc/sys/kernel/hostname", "/etc/hostname") if tree.live else ("/etc/hostname",)
    for path in paths:
        lines = [line.strip() for line in (tree.read_text(path, 4096) or "").splitlines()]
        names = [line for line in lines if line and not line.startswith("#")]
        if names:
            return names[0][:253]
    return ""
