"""Read a host from its tree: users, tools, every way in which they are started, agents, network.

Nothing is judged; what could not be read stands in the tree's `skipped`. Raises UsageError for a user who is not
there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imdswatch.errors import UsageError
from imdswatch.host import agents, sessions, units
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
    known = sessions.users(tree)
    if only and known and only not in {user.name for user in known}:
        raise UsageError(
            f"there is no user {only!r} below this root", help="`/etc/passwd` there has all names"
        )
    people = tuple(user for user in sessions.people(tree, known) if only in ("", user.name))
    tools, compose = installed(tree, known)
    machine = _machine(tree)
    found = [one for one in contexts(tree, known, people, only, tools, compose) if only in ("", one.user)]
    if any(context.kind == "container" for context in found):
        (package,) = [package for package in packages() if package.name == ANY]
        tools = (*tools, Tool(package, "", ""))
    return Facts(
        host=_host(tree),
        system="linux",
        machine={True: "ec2", False: "not-ec2", None: "unknown"}[machine.is_amazon],
        machine_says=machine.shown,
        users=people,
        tools=tools,
        contexts=tuple(found),
        agents=tuple(_agents(tree, known, only)),
        network=_network(tree),
    )


def _network(tree: Tree) -> Network:
    if not tree.live:
        return network(tree)
    from imdswatch.host.running import running

    return running(tree)


def _agents(tree: Tree, known: Sequence[User], only: str) -> Iterator[Agent]:
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
        if only in ("", context.user):
            yield Agent(name, "", settings, context, path)


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
