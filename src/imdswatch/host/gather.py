"""Read a host from its tree: users, tools, every way in which they are started, agents, network.

Nothing is judged; what could not be read stands in the tree's `skipped`. Raises UsageError for a user who is not
there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from imdswatch.errors import UsageError
from imdswatch.host import agents, macos, sessions, units, windows
from imdswatch.host.awsconfig import Profiles
from imdswatch.host.contexts import ANY, contexts, unit_context
from imdswatch.host.facts import Agent, Context, Facts, Network, Tool, User
from imdswatch.host.families import packages
from imdswatch.host.installed import installed
from imdswatch.host.network import network
from imdswatch.host.tree import Tree
from imdswatch.machine import DMI, Machine

_UNITS = {
    agents.SSM: ("amazon-ssm-agent.service", "snap.amazon-ssm-agent.amazon-ssm-agent.service"),
    agents.CLOUDWATCH: ("amazon-cloudwatch-agent.service",),
    agents.CODEDEPLOY: ("codedeploy-agent.service",),
    agents.ECS: ("ecs.service",),
    agents.CLOUD_INIT: ("cloud-init.service", "cloud-init-main.service", "cloud-init-network.service"),
}
"""The services that run each agent; the first that is there counts."""


def gather(tree: Tree, only: str = "") -> Facts:
    """Return the facts of a host; `only` is the user whose sessions are wanted, "" for all."""
    system = "windows" if windows.is_windows(tree) else "macos" if macos.is_macos(tree) else "linux"
    known = {"windows": windows.users, "macos": macos.users, "linux": sessions.users}[system](tree)
    if only and known and only not in {user.name for user in known}:
        raise UsageError(
            f"there is no user {only!r} below this root", help="`/etc/passwd` there has all names"
        )
    people = sessions.people(tree, known) if system == "linux" else known
    wanted = tuple(user for user in people if only in ("", user.name))
    tools, compose = installed(tree, known)
    machine = _machine(tree)
    given: Iterable[Context]
    if system == "linux":
        given = contexts(tree, known, wanted, only, tools, compose)
    elif system == "windows":
        given = windows.contexts(tree, wanted, tools) if tools else ()
    else:
        given = macos.contexts(tree, known, tools) if tools else ()
    found = [one for one in given if only in ("", one.user)]
    if any(context.kind == "container" for context in found):
        (package,) = [package for package in packages() if package.name == ANY]
        tools = (*tools, Tool(package, "", ""))
    there = windows.found_agents(tree) if system == "windows" else _agents(tree, known)
    return Facts(
        host=host_name(tree),
        system=system,
        machine={True: "ec2", False: "not-ec2", None: "unknown"}[machine.is_amazon],
        machine_says=machine.shown,
        users=wanted,
        tools=tools,
        contexts=tuple(found),
        agents=tuple(agent for agent in there if only in ("", agent.context.user)),
        network=_network(tree) if system == "linux" else Network(),
    )


def _network(tree: Tree) -> Network:
    if not tree.live:
        return network(tree)
    from imdswatch.host.running import running

    return running(tree)


def _agents(tree: Tree, known: Sequence[User]) -> Iterator[Agent]:
    there = list(agents.found(tree))
    if not there:
        return
    services = {unit.name: unit for unit in units.units(tree, units.default_environment(tree))}
    homes = {user.name: user.home for user in known}
    for name, path, settings in there:
        unit = next((services[one] for one in _UNITS.get(name, ()) if one in services), None)
        if unit is not None:
            context = unit_context(tree, unit, homes)
        else:
            context = Context("host", "", "root", "/root", {}, Profiles("", ""))
        yield Agent(name, "", settings, context, path)


def _machine(tree: Tree) -> Machine:
    if tree.image is not None:  # whoever builds an image writes its /sys; a container has its host's
        return Machine()
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


def host_name(tree: Tree) -> str:
    """Return the name of the host: the kernel's where it runs, else the file's; "" where unknown."""
    paths = ("/proc/sys/kernel/hostname", "/etc/hostname") if tree.live else ("/etc/hostname",)
    for path in paths:
        lines = [line.strip() for line in (tree.read_text(path, 4096) or "").splitlines()]
        names = [line for line in lines if line and not line.startswith("#")]
        if names:
            return names[0][:253]
    return ""
