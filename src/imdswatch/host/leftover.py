"""What would still ask once a plan is carried out: the audit, asked about the root as it would be.

Harden decides by itself what it changes (decision 25); here it learns what that does not reach, and why that is for a
person's hands. Reads, and changes nothing. What the audit cannot read is its own to tell, in its own run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from imdswatch.edit import Edit, Left
from imdswatch.finding import Skipped
from imdswatch.host import agentcells
from imdswatch.host.cells import cells
from imdswatch.host.facts import Facts, Network
from imdswatch.host.families import by_hand
from imdswatch.host.gather import gather
from imdswatch.host.network import network
from imdswatch.host.overlay import over
from imdswatch.host.tree import Tree
from imdswatch.matrix import ASKS, Cell, Change

_ELSEWHERE = {
    "windows": "harden edits Linux hosts; `--export windows-registry` and `windows-gpo` write it for this one",
    "macos": "harden edits Linux hosts; docs/remedies.md says what to do on this one",
}
_NOTHING = "nothing on this root can block it: neither systemd nor OpenRC with `nft` or `ip`"
_UNREACHED = "the setting that decides is none that harden changes"


def left(tree: Tree, edits: Iterable[Edit], skipped: Iterable[Skipped]) -> Iterator[Left]:
    """Yield what asks all the same with these edits made, each change once, with the tools that wait for it."""
    facts = _facts(tree, edits)
    why_not = {one.source: one.reason for one in skipped}
    waiting: dict[tuple[str, str], tuple[Change, list[str]]] = {}
    for cell in _asking(facts):
        change = cell.change or Change("", "", "")
        title = f"{cell.tool} ({cell.context} / {cell.user})"
        waiting.setdefault((change.slug, change.path), (change, []))[1].append(title)
    for change, titles in waiting.values():
        reason = _reason(facts, change, why_not)
        yield Left(change.slug, change.path, change.text, reason, tuple(dict.fromkeys(titles)))


def _facts(tree: Tree, edits: Iterable[Edit]) -> Facts:
    """Return the facts of the root as it would be; on a live one also what its kernel does already."""
    there = over(tree, edits)
    facts = gather(there)
    if there.live and facts.system == "linux":
        files = network(there)
        blocks = {block.family: block for block in (*files.blocks, *facts.network.blocks)}
        facts = replace(facts, network=Network(tuple(blocks.values()), facts.network.on_link))
    return facts


def _asking(facts: Facts) -> Iterator[Cell]:
    for cell in (*cells(facts), *(agentcells.cell(facts, agent) for agent in facts.agents)):
        if cell.state == ASKS:
            yield cell


def _reason(facts: Facts, change: Change, why_not: Mapping[str, str]) -> str:
    if facts.system in _ELSEWHERE:
        return _ELSEWHERE[facts.system]
    if change.path in why_not:
        return f"{change.path} {why_not[change.path]}"
    if change.slug == "block-endpoint":
        return _NOTHING
    return by_hand().get(change.slug) or _UNREACHED
