"""Asks all targets at once, by every way, and gives what each came to.

Targets are asked in parallel, outcomes come in the order of the targets; a repeated probe tells only what is new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from imdswatch import address
from imdswatch.errors import UsageError
from imdswatch.finding import STAGE_RANK, Finding, Skipped, Summary
from imdswatch.probe.ask import ask
from imdswatch.probe.certificates import Bundle
from imdswatch.probe.judge import judge
from imdswatch.probe.link import Link, Links
from imdswatch.probe.machine import Machine
from imdswatch.probe.outcome import Asked, Outcome, outcome
from imdswatch.probe.target import DEFAULTS, Target
from imdswatch.probe.transport import Transport
from imdswatch.rule import Rule
from imdswatch.site import Site
from imdswatch.verdict import Verdict

_AT_ONCE = 32
Round = tuple[tuple[Outcome, ...], Summary]
"""What all targets came to, and the counts."""


class Sink(Protocol):
    """Takes what is found, as it comes."""

    def verdict(self, verdict: Verdict) -> None: ...  # noqa: D102
    def finding(self, finding: Finding) -> None: ...  # noqa: D102
    def skipped(self, skipped: Skipped) -> None: ...  # noqa: D102
    def close(self, summary: Summary) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask, by which means, and what to judge it by. `seconds` bounds one exchange."""

    targets: tuple[Target, ...]
    transport: Transport
    links: Links
    machine: Machine
    bundle: Bundle
    rules: Sequence[Rule]
    site: Site
    seconds: float = 1.0
    credentials: bool = True
    proxied: bool = False
    stale: str = ""
    """A warning where the certificates may be too old."""


def spread(targets: Sequence[Target], interfaces: Sequence[str], links: Links) -> tuple[Target, ...]:
    """Return each target by each way to go; raises UsageError for an interface that is not up.

    Interfaces that the user names are used for all targets. Without them the two endpoints are asked as AWS tools do,
    by the routing table, and then over every other interface that is up: each segment may have its own answerer.
    """
    up = {one.name: one for one in links.interfaces()}
    for name in interfaces:
        if name not in up:
            known = ", ".join(up) or "none"
            raise UsageError(f"interface `{name}` is not up, or does not exist", help=f"up are: {known}")
    if interfaces:
        return tuple(replace(target, interface=name) for target in targets for name in interfaces)
    ways: list[Target] = []
    for target in targets:
        ways.append(target)
        if target in DEFAULTS:
            usual = links.link(target.host, None).interface
            others = (one for one in up.values() if not one.loopback and one.name != usual)
            ways += [replace(target, interface=one.name) for one in others]
    return tuple(ways)


def probe(plan: Plan, clock: Callable[[], float]) -> tuple[Outcome, ...]:
    """Ask all targets and return what each came to, in their order; `clock` gives seconds since 1970."""
    with ThreadPoolExecutor(max(1, min(_AT_ONCE, len(plan.targets)))) as pool:
        asked = list(pool.map(lambda target: _ask(plan, target), plan.targets))
    return tuple(outcome(one, plan.machine, plan.rules, plan.site, clock()) for one in asked)


def rounds(plan: Plan, every: float | None) -> Iterator[Round]:
    """Ask once, or again each time that so many seconds went by since the last start, for ever."""
    while True:
        started = time.monotonic()
        outcomes = probe(plan, time.time)
        seconds = time.monotonic() - started
        yield (
            outcomes,
            Summary(
                sources=len(outcomes),
                records=len(outcomes),
                findings=sum(
                    1 for one in outcomes if one.finding is not None and one.finding.suppressed_by is None
                ),
                suppressed=sum(
                    1 for one in outcomes if one.finding is not None and one.finding.suppressed_by
                ),
                skipped=sum(1 for one in outcomes if one.skipped is not None),
                seconds=seconds,
            ),
        )
        if every is None:
            return
        time.sleep(max(0.0, every - seconds))


def changes(rounds: Iterable[Round]) -> Iterator[Round]:
    """Return of each round what differs from the round before; all of the first."""
    before: dict[tuple[str, str], tuple[object, ...]] = {}
    for outcomes, summary in rounds:
        states = {(one.verdict.endpoint, one.verdict.interface): one.verdict.state for one in outcomes}
        changed = [
            one
            for one in outcomes
            if before.get((one.verdict.endpoint, one.verdict.interface)) != one.verdict.state
        ]
        yield tuple(changed), summary
        before = states


def deliver(plan: Plan, every: float | None, sink: Sink, threshold: int) -> tuple[int, int]:
    """Give a sink what is new until the last round, or an interrupt after the first; return counts of findings, skips.

    Findings below the rank of stage `threshold`, and those that the site mutes, do not count.
    """
    found = skipped = 0
    complete = False
    try:
        for outcomes, summary in changes(rounds(plan, every)):
            for one in outcomes:
                sink.verdict(one.verdict)
                if one.finding is not None:
                    sink.finding(one.finding)
                    found += one.finding.suppressed_by is None and STAGE_RANK[one.finding.stage] >= threshold
                if one.skipped is not None:
                    sink.skipped(one.skipped)
                    skipped += 1
            if outcomes:
                sink.close(summary)
            complete = True
    except KeyboardInterrupt:
        if not complete:
            raise  # nothing was looked at: that must not pass for a clean answer
    return found, skipped


def _ask(plan: Plan, target: Target) -> Asked:
    literal = address.parse(target.host)
    way = plan.links.link(literal, target.interface) if literal is not None and not plan.proxied else Link()
    if literal is None or plan.proxied or not way.interface:
        answers = ask(
            target, plan.transport, plan.seconds, credentials=plan.credentials, proxied=plan.proxied
        )
        link = (
            way
            if literal is not None or answers.peer is None
            else plan.links.link(answers.peer, target.interface)
        )
        link = replace(link, is_local=False) if plan.proxied else link
    else:
        with plan.links.listen(literal, way.interface) as ear:
            answers = ask(target, plan.transport, plan.seconds, credentials=plan.credentials)
        # Asked again: only now the kernel knows the neighbour.
        link = plan.links.link(literal, target.interface)
        answered = answers.peer is not None
        notes = (*link.notes, ear.note) if ear.note and answered else link.notes
        link = replace(link, ttl=ear.ttl, heard_mac=ear.mac, notes=notes)
    verdict = judge(answers, link, plan.machine, plan.site.expected_accounts, plan.bundle)
    return Asked(answers, link, verdict)
