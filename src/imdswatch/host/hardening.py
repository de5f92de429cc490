"""One run of `imdswatch harden` on one root: plan what it lacks, and make it, or take back all that was made.

The way in to `plan`, which decides, and `transaction`, which does. Raises HostError, and then the root is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imdswatch.edit import Command, Edit, Left, Note
from imdswatch.errors import HostError
from imdswatch.finding import Skipped
from imdswatch.host.catalogue import Catalogue, Remedy
from imdswatch.host.gather import host_name
from imdswatch.host.leftover import left
from imdswatch.host.plan import plan, without
from imdswatch.host.transaction import Hardener, Reverted
from imdswatch.host.tree import open_tree


@dataclass(frozen=True, slots=True)
class Hardened:
    """What is lacking, or was made: edits, then commands; and what a person should know."""

    edits: tuple[Edit, ...]
    commands: tuple[Command, ...]
    notes: tuple[Note, ...]
    skipped: tuple[Skipped, ...]
    left: tuple[Left, ...]
    """What would ask all the same, and is for a person's hands."""
    looked: int


def hardened(
    root: Path,
    catalogue: Catalogue,
    remedies: tuple[Remedy, ...],
    block: str | None,
    *,
    apply: bool,
    on_ec2: bool = False,
    wanted: Callable[[str], bool] = lambda slug: True,
) -> Hardened:
    """Return what a root lacks, and with `apply` make it, too; `block` None chooses what the host has.

    `wanted` says of a change, by its slug, whether anybody asks for it: who leaves a remedy out knows what still asks.
    """
    with Hardener(open_tree(root), root, apply) as hardener:
        notes = tuple(_notes(hardener, apply, on_ec2))
        planned = plan(open_tree(root), catalogue, remedies, block)
        planned = without(planned, hardener.obstacles(planned.edits))
        try:
            commands = hardener.commands(planned)
        except HostError as error:
            if apply:
                raise
            commands = ()  # who may not see the rules of the network may still see the files
            planned = without(planned, {"the network block": f"cannot be looked at: {error.what}"})
        # Asked before anything is done: what the answer needs, no edit can take away.
        waiting = tuple(
            one for one in left(open_tree(root), planned.edits, planned.skipped) if wanted(one.slug)
        )
        if apply and (planned.edits or commands):
            hardener.apply(planned.edits, commands, planned.block)
    told = (*notes, *planned.notes)
    return Hardened(planned.edits, commands, told, planned.skipped, waiting, planned.looked)


def reverted(root: Path, force: bool) -> Reverted:
    """Take back all that was made below a root; `force` also where somebody else changed it since."""
    with Hardener(open_tree(root), root, True) as hardener:
        return hardener.revert(force)


def name_of(root: Path) -> str:
    """Return what the host below a root is called; "" where nothing says so."""
    return host_name(open_tree(root))


def _notes(hardener: Hardener, apply: bool, on_ec2: bool) -> Iterator[Note]:
    if apply and hardener.recover():
        yield Note("", "an earlier run was cut off; what it had done was taken back first")
    elif not apply and hardener.unfinished():
        yield Note("", "an earlier run was cut off: --apply begins anew, --revert takes it back")
    if on_ec2:
        yield Note("", "this is an EC2 instance: --apply refuses without --force")
