"""Would an agent of AWS ask the metadata service: one cell for each agent, and the checks that go with it.

Pure. Agents decide for themselves what they are before any chain of credentials: each function below follows one
agent's own rule. The variable and a block of the network are judged as for every client.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from imdswatch.host import agents
from imdswatch.host.checks import check
from imdswatch.host.facts import Agent, Facts
from imdswatch.host.families import changes
from imdswatch.host.setting import SWITCH, Setting
from imdswatch.host.shown import evidence
from imdswatch.matrix import ASKS, ASKS_ONLY_WHEN, PROTECTED, UNKNOWN, Cell, Change, Check
from imdswatch.redact import redact

_DEFAULT_ORDER = "OnPrem, EC2, CustomIdentity"


@dataclass(frozen=True, slots=True)
class _Said:
    """What an agent does; `reads_switch` says whether the variable stops it."""

    state: str
    why: str
    when: str = ""
    rests_on: tuple[Setting, ...] = ()
    change: str = ""
    reads_switch: bool = True


def cell(facts: Facts, agent: Agent) -> Cell:
    """Return the cell of one agent."""
    said = _RULES[agent.name.split(" ")[0]](agent)
    said = _closed(facts, agent, said)
    if facts.machine == "ec2" and said.state == ASKS:
        when = "this disk is started outside of EC2"
        said = _Said(ASKS_ONLY_WHEN, "on EC2 the service is genuine", when, said.rests_on)
    change = None
    if said.state not in (PROTECTED,) and said.change:
        change = Change(said.change, agent.path, changes()[said.change].replace("{place}", agent.path))
    return Cell(
        tool=agent.name,
        version=redact(agent.version),
        family="AWS agent",
        context=agent.context.title,
        user=agent.context.user,
        state=said.state,
        why=said.why,
        when=said.when,
        evidence=tuple(map(evidence, said.rests_on)),
        change=change,
    )


def _closed(facts: Facts, agent: Agent, said: _Said) -> _Said:
    """Return what is left of it where the variable or a block stops the agent."""
    if said.state == PROTECTED:
        return said
    switch = agent.settings.get(SWITCH) or agent.context.environment.get(SWITCH)
    if said.reads_switch and switch is not None and (switch.value or "").lower() == "true":
        return _Said(PROTECTED, f"{SWITCH} is set in a spelling that it honours", rests_on=(switch,))
    for block in facts.network.blocks:
        if block.family == 4:
            return _Said(PROTECTED, "this host sends nothing to the endpoint", rests_on=(block.setting,))
    return said


def _ssm(agent: Agent) -> _Said:
    """OnPrem counts while there is a registration; EC2 counts as soon as anything answers `instance-id`."""
    settings = agent.settings
    order = settings.get("order")
    if order is not None and order.value is None:
        why = "its configuration could not be understood"
        return _Said(UNKNOWN, why, "", (order,), "ssm-on-premises-identity")
    names = [name.strip() for name in (order.value or "" if order else _DEFAULT_ORDER).split(",")]
    rests_on = (order,) if order else ()
    ec2_key, registration = settings.get("EC2RegistrationKey"), settings.get("registration")
    if "EC2" not in names:
        return _Said(
            ASKS_ONLY_WHEN,
            "its order of identities leaves EC2 out",
            "it collects inventory or diagnoses itself, which ask all the same",
            rests_on,
            "disable-for-unit",
        )
    if ec2_key is not None and not (registration and registration.value):
        return _Said(
            ASKS, "it is registered by an EC2 identity", "", (*rests_on, ec2_key), "ssm-register-again"
        )
    on_premises = registration is not None and registration.value and "OnPrem" in names
    if on_premises and names.index("OnPrem") < names.index("EC2"):
        assert registration is not None
        return _Said(
            ASKS_ONLY_WHEN,
            "it is registered on premises, and EC2 is next in its order of identities",
            "its registration or vault is lost",
            (*rests_on, registration),
            "ssm-on-premises-identity",
        )
    why = "it has no registration, and takes whoever answers for its EC2 identity"
    return _Said(ASKS, why, "", rests_on, "ssm-on-premises-identity")


def _cloudwatch(agent: Agent) -> _Said:
    """`-m auto` asks for the identity document to find out where it is; `-m onPremise` does not."""
    command = agent.context.command.lower()
    if "onprem" in command:
        credentials = agent.settings.get("credentials")
        rests_on = (credentials,) if credentials else ()
        why = "it is started for on premises"
        return _Said(ASKS_ONLY_WHEN, why, "its credentials are missing", rests_on, "cloudwatch-on-premises")
    return _Said(
        ASKS, "it is started in auto mode, and asks whether it is on EC2", change="cloudwatch-on-premises"
    )


def _codedeploy(agent: Agent) -> _Said:
    credentials = agent.settings.get("credentials")
    if credentials is not None:
        return _Said(
            ASKS_ONLY_WHEN,
            "it has its on-premises configuration",
            "that configuration is taken away",
            (credentials,),
            "codedeploy-on-premises",
            reads_switch=False,
        )
    return _Said(
        ASKS,
        "it has no on-premises configuration, and takes itself for an EC2 instance",
        change="codedeploy-on-premises",
        reads_switch=False,
    )


def _ecs(agent: Agent) -> _Said:
    external = agent.settings.get("ECS_EXTERNAL")
    if external is not None and (external.value or "").strip().lower() == "true":
        return _Said(PROTECTED, "it is told that this is no EC2 instance", rests_on=(external,))
    rests_on = (external,) if external else ()
    return _Said(ASKS, "it is not told that this is no EC2 instance", "", rests_on, "ecs-external")


def _cloud_init(agent: Agent) -> _Said:
    """A list of only Ec2 is taken without a look at the firmware (ds-identify); strict_id keeps to Amazon's."""
    sources, strict = agent.settings.get("sources"), agent.settings.get("strict")
    names = [name.strip() for name in (sources.value or "").split(",")] if sources else ["Ec2"]
    rests_on = (sources,) if sources else ()
    if "Ec2" not in names:
        return _Said(PROTECTED, "its list of data sources leaves Ec2 out", rests_on=rests_on)
    if strict is not None and strict.value == "true":
        return _Said(PROTECTED, "it keeps to machines whose firmware is Amazon's", rests_on=(strict,))
    if sources is not None and {*names} <= {"Ec2", "None"}:
        why = "Ec2 is the only data source in its list, which is taken without a look at the firmware"
        return _Said(ASKS, why, "", rests_on, "cloud-init-datasources", reads_switch=False)
    return _Said(
        ASKS_ONLY_WHEN,
        "it looks at the firmware before it takes Ec2 for its data source",
        "that detection is turned off or mistaken",
        rests_on,
        "cloud-init-datasources",
        reads_switch=False,
    )


def _s3fs(agent: Agent) -> _Said:
    role = agent.settings.get("role")
    if role is not None:
        why = "it is mounted with iam_role, and has the address built in"
        return _Said(ASKS, why, "", (role,), "s3fs-key-file", reads_switch=False)
    return _Said(PROTECTED, "it is mounted without iam_role", rests_on=(agent.settings["mount"],))


_RULES = {
    agents.SSM: _ssm,
    agents.CLOUDWATCH: _cloudwatch,
    agents.CODEDEPLOY: _codedeploy,
    agents.ECS: _ecs,
    agents.CLOUD_INIT: _cloud_init,
    agents.S3FS: _s3fs,
}
"""The rule of each agent, by the first word of its name."""

_CHECKS: Mapping[str, str] = {
    agents.CLOUDWATCH: "cloudwatch-auto-mode",
    agents.CODEDEPLOY: "codedeploy-without-keys",
    agents.ECS: "ecs-not-external",
    agents.CLOUD_INIT: "cloud-init-ec2",
    agents.S3FS: "s3fs-iam-role",
}


def agent_checks(facts: Facts, cells: Mapping[str, Cell]) -> Iterator[Check]:
    """Yield the checks of all agents; `cells` by the agent's name."""
    if facts.machine == "ec2":
        return
    for agent in facts.agents:
        slug = _CHECKS.get(agent.name.split(" ")[0])
        if slug is not None and cells[agent.name].state == ASKS:
            yield check(slug, *_first(agent), path=agent.path)
        if agent.name == agents.SSM:
            yield from _of_ssm(agent)


def _of_ssm(agent: Agent) -> Iterator[Check]:
    order = agent.settings.get("order")
    if order is None or "EC2" in (order.value or "EC2"):
        shown = order or Setting("Identity.ConsumptionOrder", "", "")
        yield check("ssm-consumption-order", *((shown,) if shown.path else ()), path=agent.path)
    key = agent.settings.get("EC2RegistrationKey")
    if key is not None:
        yield check("ssm-ec2-registration", key)
    in_force = agent.settings.get("in-force")
    if in_force is not None and in_force.value == "EC2":
        yield check("ssm-ec2-identity-in-force", in_force)


def _first(agent: Agent) -> tuple[Setting, ...]:
    return next(
        ((one,) for name in ("role", "sources", "ECS_EXTERNAL") if (one := agent.settings.get(name))), ()
    )
