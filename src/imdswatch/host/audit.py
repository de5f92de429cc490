"""One audit of one root: its cells, its checks, what could not be looked at; the summary comes last."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from imdswatch.finding import Skipped
from imdswatch.host import agentcells
from imdswatch.host.cells import cells
from imdswatch.host.checks import checks
from imdswatch.host.gather import gather
from imdswatch.host.tree import open_tree
from imdswatch.matrix import Audited, Cell, Check, Subject


def audit(root: Path, user: str = "") -> Iterator[Subject | Cell | Check | Skipped | Audited]:
    """Yield all there is to say of a root, its subject first; `user` limits it to what runs as them. UsageError."""
    started = time.monotonic()
    tree = open_tree(root)
    facts = gather(tree, user)
    yield Subject(facts.host, tree.name, facts.system, facts.machine, facts.machine_says)
    states: Counter[str] = Counter()
    of_agents = {agent.name: agentcells.cell(facts, agent) for agent in facts.agents}
    for cell in (*cells(facts), *of_agents.values()):
        states[cell.state] += 1
        yield cell
    checked = 0
    for check in (*checks(facts), *agentcells.agent_checks(facts, of_agents)):
        checked += 1
        yield check
    yield from tree.skipped
    yield Audited(
        states=dict(states),
        checks=checked,
        skipped=len(tree.skipped),
        tools=len(facts.tools) + len(facts.agents),
        seconds=time.monotonic() - started,
    )
