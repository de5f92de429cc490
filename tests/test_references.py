"""Our Sigma predicate against independent evaluators, on seeded random rules and events.

Three comparisons a batch, for each reference: every detection item by itself must get the same rows (else the
difference must be in `reference_known.KNOWN`); our whole rule must be what its items make it; the reference's whole
rule must be what *its* items make it. So a known difference of an item cannot hide a wrong `and`, `not` or `1 of`.
`IMDSWATCH_CASES` is the number of pairs of a rule and an event; the pairs of an item and an event are about five
times as many.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from sigma.modifiers import modifier_mapping

import reference_tenzir
from imdswatch.rule import parse_rule
from imdswatch.scan.predicate import compile_conditions
from reference_known import KNOWN, Known, excuse
from reference_rules import MANY, Batch, Event, Item, Rule, batch, document, item_document
from reference_sqlite import SqliteReference

pytestmark = pytest.mark.slow  # part of `make test`, not of `make check`

CASES = int(os.environ.get("IMDSWATCH_CASES", "30000"))
RULES, EVENTS = (25, 50) if CASES <= 100_000 else (50, 200)

needs_tenzir = pytest.mark.skipif(
    reference_tenzir.program() is None,
    reason="Tenzir (1.1 GB) is not installed; `make conformance` installs it, or IMDSWATCH_TENZIR names it",
)
References = {"sqlite": SqliteReference, "tenzir": reference_tenzir.TenzirReference}


def as_fields(event: Event) -> dict[str, Any]:
    return {name: (value,) if name in MANY else value for name, value in event.items()}


def ours(documents: Sequence[str], events: Iterable[Event]) -> list[set[int]]:
    """Return the rows that each rule matches, by imdswatch."""
    rules = [parse_rule("random", text, "random.yml") for text in documents]
    judge = compile_conditions([rule.condition for rule in rules if rule is not None], {})
    found: list[set[int]] = [set() for _ in documents]
    for row, event in enumerate(events):
        for index in judge(as_fields(event)):
            found[index].add(row)
    return found


def items_of(cases: Batch) -> list[Item]:
    return list(dict.fromkeys(item for rule in cases.rules for item in rule.items))


def whole(rule: Rule, by_item: dict[Item, set[int]], rows: int) -> set[int]:
    """Return the rows that a rule must match when its items match these."""

    def holds_in(row: int) -> Callable[[Item], bool]:
        return lambda item: row in by_item[item]

    return {row for row in range(rows) if rule.holds(holds_in(row))}


def loses_brackets(rule: Rule) -> bool:
    """The SQLite backend's known fault with networks shows in whole rules wherever AND is near."""
    return any("cidr" in item.modifiers for item in rule.items)


def compare(name: str, seed: int, counted: Counter[str]) -> None:
    cases = batch(seed, RULES, EVENTS)
    items = items_of(cases)
    of_items, of_rules = [item_document(item) for item in items], [document(r.detection) for r in cases.rules]
    mine = ours([*of_items, *of_rules], cases.events)
    reference = References[name](cases.events)
    try:
        theirs = reference.ask([*of_items, *of_rules])
    finally:
        reference.close()
    my_items = dict(zip(items, mine, strict=False))
    their_items: dict[Item, set[int]] = {}
    for item, text, my_rows, their_rows in zip(items, of_items, mine, theirs, strict=False):
        if their_rows is None:
            known = excuse(name, item, {}, refused=True)
            assert known is not None, f"{name} refuses, seed {seed}:\n{text}"
            counted[f"refused: {known.name}"] += 1
            continue
        their_items[item] = their_rows
        for row in my_rows ^ their_rows:
            known = excuse(name, item, cases.events[row])
            who = "imdswatch" if row in my_rows else name
            assert known is not None, f"only {who} matches, seed {seed}:\n{text}\n{cases.events[row]}"
            counted[f"differs: {known.name}"] += 1
        counted["items"] += EVENTS
        counted["items matched"] += len(my_rows)
    for rule, text, my_rows, their_rows in zip(
        cases.rules, of_rules, mine[len(items) :], theirs[len(items) :], strict=True
    ):
        assert my_rows == whole(rule, my_items, EVENTS), f"imdswatch, seed {seed}:\n{text}"
        if their_rows is None or not set(rule.items) <= their_items.keys():
            counted["rules refused"] += 1
            continue
        counted["rules"] += EVENTS
        counted["rules matched"] += len(my_rows)
        if their_rows != whole(rule, their_items, EVENTS):
            assert name == "sqlite", f"{name}, seed {seed}:\n{text}"
            assert loses_brackets(rule), f"{name}, seed {seed}:\n{text}"
            counted["rules without brackets"] += 1


def check(name: str, pairs: int) -> None:
    counted: Counter[str] = Counter()
    for seed in range(max(1, pairs // (RULES * EVENTS))):
        compare(name, seed, counted)
    print(f"\n{References[name].name}: {dict(counted)}")
    # The comparison means nothing where nothing matches, or everything does.
    for what in ("items", "rules"):
        assert 0.1 < counted[f"{what} matched"] / counted[what] < 0.9, counted
    assert counted["rules"] > pairs * 0.6, counted


@pytest.mark.slow
def test_sqlite_agrees() -> None:
    check("sqlite", CASES)


@pytest.mark.slow
@needs_tenzir
def test_tenzir_agrees() -> None:
    check("tenzir", min(CASES, 1_000_000))


def asked(known: Known) -> set[int] | None:
    reference = References[known.reference]([known.event, *([known.beside] if known.beside else [])])
    try:
        return reference.ask([item_document(known.item)])[0]
    finally:
        reference.close()


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(
            k, id=f"{k.reference}: {k.name}", marks=[needs_tenzir] if k.reference == "tenzir" else []
        )
        for k in KNOWN
    ],
)
def test_the_known_difference_is_still_there(known: Known) -> None:
    assert known.says
    assert known.source
    assert excuse(known.reference, known.item, known.event, refused=known.theirs is None) is not None
    assert ours([item_document(known.item)], [known.event]) == [{0} if known.ours else set()]
    theirs = asked(known)
    assert (None if theirs is None else 0 in theirs) == known.theirs
    assert known.ours != known.theirs


def test_every_modifier_that_pysigma_knows_is_compared() -> None:
    same_as_another = {"ignorecase", "multiline", "dotall"}
    refused = {"utf16", "expand"}  # tests/test_sigma_language.py
    used = {
        m for seed in range(24) for rule in batch(seed, 25, 1).rules for i in rule.items for m in i.modifiers
    }
    assert used == set(modifier_mapping) - same_as_another - refused


def test_every_form_of_condition_is_compared() -> None:
    text = " ; ".join(c for seed in range(24) for rule in batch(seed, 25, 1).rules for c in rule.conditions)
    for form in (
        " and ",
        " or ",
        "not ",
        "1 of them",
        "all of them",
        "1 of sel*",
        "all of filter_*",
        "1 of *_a",
        "((",
        "not (",
        "_hidden",
    ):
        assert form in text, form


def test_batches_are_the_same_everywhere() -> None:
    assert batch(7, 3, 3) == batch(7, 3, 3)
    assert batch(7, 3, 3) != batch(8, 3, 3)
