"""From facts to the matrix: one cell for each client in each place where it runs.

Pure. On a real EC2 instance the service is genuine: what asks there asks only when the disk is started elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from imdswatch.host.change import Change
from imdswatch.host.contexts import runs
from imdswatch.host.facts import Context, Facts, Network, Tool
from imdswatch.host.families import Family, changes, families
from imdswatch.host.judge import Judgement, judge
from imdswatch.host.shown import evidence
from imdswatch.matrix import ASKS, ASKS_ONLY_WHEN, PROTECTED, Cell
from imdswatch.redact import redact

_ELSEWHERE = "this disk is started outside of EC2"


def cells(facts: Facts) -> Iterator[Cell]:
    """Yield the cells: by context, then by tool."""
    for context in facts.contexts:
        for tool in facts.tools:
            if runs(context, tool):
                yield _cell(facts, context, tool)


def _cell(facts: Facts, context: Context, tool: Tool) -> Cell:
    family = families()[tool.package.family]
    found = judge(family, context, Network() if context.own_network else facts.network)
    if facts.machine == "ec2" and found.state == ASKS:
        found = replace(
            found, state=ASKS_ONLY_WHEN, when=_ELSEWHERE, why=f"on EC2 the service is genuine; {found.why}"
        )
    return Cell(
        tool=tool.package.name,
        version=redact(tool.version),
        family=family.title,
        context=context.title,
        user=context.user,
        state=found.state,
        why=redact(found.why),
        when=redact(found.when),
        evidence=tuple(map(evidence, found.rests_on)),
        change=_change(family, context, found),
        notes=(family.caveat,) if family.caveat and found.state != ASKS else (),
    )


def _change(family: Family, context: Context, found: Judgement) -> Change | None:
    if found.state == PROTECTED:
        return None
    slug = found.repair or ("block-endpoint" if family.switch == "never" else context.change)
    return _named(slug, found.repair_at or (context.edit if slug == context.change else ""))


def _named(slug: str, path: str) -> Change | None:
    return Change(slug, path, changes()[slug].replace("{place}", path or "its place")) if slug else None
