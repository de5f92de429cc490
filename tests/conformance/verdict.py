"""The verdict on one query: what it answered against what `scan` says of the events, one by one.

`lost` and `noise` are failures. `not carried` is what the schema cannot tell, as far as `allowed.yml` says so: an alert
that it has no column for, or one that the site would mute by something it has no column for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from conformance.corpus import cases, wanted
from conformance.losses import entries, visible
from conformance.records import label
from imdswatch.rule import Rule
from imdswatch.siem.content import Source
from imdswatch.site import Site


@dataclass(frozen=True, slots=True)
class Verdict:
    """Numbers of the events by what became of them; `wanted` counts what `scan` says must be an alert."""

    wanted: int = 0
    matched: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    noise: tuple[int, ...] = ()
    not_carried: tuple[int, ...] = ()
    blurred: tuple[int, ...] = ()
    invalid: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.noise or self.invalid)


@dataclass(slots=True)
class _Lists:
    matched: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    noise: list[int] = field(default_factory=list)
    not_carried: list[int] = field(default_factory=list)
    blurred: list[int] = field(default_factory=list)


def at_best(rule: Rule, site: Site, target: str, name: str, language: str) -> list[bool]:
    """Return of each event whether a query on this part of a schema can be expected to answer it."""
    losses = tuple(loss for loss, _ in entries(target, name, language))
    return [wanted(rule, site, visible(case, losses)) for case in cases()]


def judge(
    rule: Rule, site: Site, target: str, language: str, answers: Sequence[tuple[Source, Iterable[int] | None]]
) -> Verdict:
    """Judge the answers of the queries of one rule, one for each part of a schema; None where there is no query.

    Every part is held to what it can carry; the schema has what any of its parts has.
    """
    best = [at_best(rule, site, target, label(source), language) for source, _ in answers]
    got = [set(answer or ()) for _, answer in answers]
    lists, count = _Lists(), 0
    for number, case in enumerate(cases()):
        must = wanted(rule, site, case.fields)
        count += must
        wrong = False
        for can, found in zip(best, got, strict=True):
            has = number in found
            if has != can[number] and has != must:
                (lists.noise if has else lists.lost).append(number)
                wrong = True
        if wrong:
            continue
        has = any(number in found for found in got)
        if has and must:
            lists.matched.append(number)
        elif must:
            lists.not_carried.append(number)
        elif has:
            lists.blurred.append(number)
    return Verdict(
        count,
        tuple(lists.matched),
        tuple(dict.fromkeys(lists.lost)),
        tuple(dict.fromkeys(lists.noise)),
        tuple(lists.not_carried),
        tuple(lists.blurred),
    )
