"""What a host's files say, as values: users, the tools they can run, and every way in which those are started.

Nothing is judged here. `gather` reads it from a tree, one subject a module: `sessions`, `units`, `jobs`, `containers`,
`processes`, `installed`, `agents`, `network`, `windows`, `macos`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imdswatch.host.awsconfig import Profiles
from imdswatch.host.families import Package
from imdswatch.host.setting import Environment, Setting


@dataclass(frozen=True, slots=True)
class User:
    """One account of the host."""

    name: str
    uid: int
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A client that is installed; `home` is the home folder it stands in, "" where all users have it."""

    package: Package
    version: str
    path: str
    home: str = ""


@dataclass(frozen=True, slots=True)
class Other:
    """The same started in another way, with another environment: `when` completes "asks only when"."""

    when: str
    environment: Environment


@dataclass(frozen=True, slots=True)
class Context:
    """One way in which clients are started, and what they then see."""

    kind: str
    """session, sudo, unit, user unit, cron, container, process, service, daemon."""
    name: str
    user: str
    home: str
    environment: Environment
    profiles: Profiles
    command: str = ""
    """What is run; "" where it may be anything."""
    others: tuple[Other, ...] = ()
    edit: str = ""
    """The file in which a variable for it belongs."""
    change: str = ""
    """The slug of the change that sets it there."""
    whole: bool = True
    """False where a file that may set its variables could not be read."""
    meddles: bool = False
    """Whether its command, or a script that it starts, sets or takes away the switch by itself."""

    own_network: bool = False
    """Whether it has a network of its own, so that what blocks this host's says nothing about it."""

    @property
    def title(self) -> str:
        """What a report calls it."""
        return f"{self.kind} {self.name}" if self.name else self.kind


@dataclass(frozen=True, slots=True)
class Block:
    """What stops this host from sending to an endpoint, by family of addresses (4 or 6)."""

    family: int
    setting: Setting
    """The rule or route, and where it stands."""


@dataclass(frozen=True, slots=True)
class Network:
    """Routes and rules; of a tree that is not running, what its files will set up."""

    blocks: tuple[Block, ...] = ()
    on_link: tuple[Setting, ...] = ()
    """Routes that make 169.254.169.254 a neighbour, and what sets them up."""
    listeners: tuple[Setting, ...] = ()
    """Sockets and addresses of this host at the endpoint."""
    neighbours: tuple[Setting, ...] = ()
    """Whoever answered for the endpoint on a link."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent of AWS: what it is, how it is set up, and which registration it has."""

    name: str
    version: str
    settings: Mapping[str, Setting]
    context: Context
    path: str = ""
    """The file that configures it, which may be absent."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that an audit judges."""

    host: str
    system: str
    """linux, windows, macos."""
    machine: str
    """ec2, not-ec2, unknown."""
    machine_says: str
    users: tuple[User, ...] = ()
    tools: tuple[Tool, ...] = ()
    contexts: tuple[Context, ...] = ()
    agents: tuple[Agent, ...] = ()
    network: Network = field(default_factory=Network)
