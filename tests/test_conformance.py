"""Exported queries mean what the rules mean: a fixed part of the conformance suite (`make conformance` runs all of it).

What is measured here must be what `results.json` says, and docs/conformance.md is written from that file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from conformance import measure, page, places
from conformance.cells import exported, languages, schemas_of, verdict, verdicts
from conformance.corpus import RULES, SIMPLE, cases, sites
from conformance.judges import JUDGES, Judge
from conformance.losses import BLIND, entries, visible
from conformance.mutants import MUTANTS, Mutant, applied
from conformance.records import label, sources
from conformance.series import LANGUAGES, Series, alerts, queries, series
from conformance.stock import SITES, applies, stock
from engines.elastic.esql_elastic import ElasticParser, parser_missing
from engines.elastic.esql_syntax import conditions
from engines.elastic.server import field_types
from engines.kusto import Binder, binder_missing
from imdswatch.event import FIELDS, Kind
from imdswatch.rule import Rule
from imdswatch.siem import TARGETS

CHECKED = [
    ("kuery", "ecs", "all of it"),
    ("eql", "ecs", "all of it"),
    ("eql", "ecs", "VLANs only"),
    ("esql", "ecs", "all of it"),
    ("esql", "ecs", "VLANs only"),
    ("kusto", "asim", "all of it"),
    ("kusto", "commonsecuritylog", "suppressions"),
    ("kusto", "defender", "networks of IPv6 only"),
    ("spl", "cim", "all of it"),
    ("spl", "zeek", "suppressions"),
    ("spl", "suricata", "none"),
]
"""Cells of all rules in `make test`: each language, each schema of the quick engines, each kind of site."""
SLOW = [
    ("spl", "cim-tstats", "none", "imds-redirected"),
    ("aql", "events", "none", "imds-contact"),
    ("aql", "flows", "suppressions", "imds-answered"),
]
"""One rule where evaluators see events one by one, or try every reading on a database."""
TEXTS = (Kind.TEXT, Kind.NAME, Kind.ADDRESS, Kind.MAC, Kind.HOST, Kind.URL, Kind.PATH)


@pytest.fixture(scope="module")
def judges() -> Iterator[dict[str, Judge]]:
    with ExitStack() as stack:
        yield _Judges(stack)


class _Judges(dict[str, Judge]):
    """Starts an engine when it is first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__()
        self._stack = stack

    def __missing__(self, language: str) -> Judge:
        self[language] = self._stack.enter_context(JUDGES[language]())
        return self[language]


def rule_named(slug: str) -> Rule:
    [found] = [one for one in RULES if one.slug == slug]
    return found


# The corpus.


def test_the_corpus_is_large_and_typed() -> None:
    assert len(cases()) >= 150
    assert len({case.name for case in cases()}) == len(cases())
    for case in cases():
        assert set(case.given) <= set(FIELDS), case.name
        assert set(case.spelled) | set(case.blank) <= set(FIELDS), case.name
        for name, value in case.given.items():
            several = value if isinstance(value, tuple) else (value,)
            wanted = str if FIELDS[name].kind in TEXTS else (int, float, bool)
            assert all(isinstance(one, wanted) for one in several), (case.name, name)


def test_every_rule_has_events_that_it_must_and_must_not_match() -> None:
    from conformance.corpus import wanted

    for rule in SIMPLE:
        site = sites()["suppressions" if rule.placeholders else "none"]
        found = {wanted(rule, site, case.fields) for case in cases()}
        assert found == {True, False}, rule.slug


def test_every_site_mutes_something_and_something_else() -> None:
    from conformance.corpus import wanted

    rule = rule_named("imds-contact")
    seen = {
        name: tuple(wanted(rule, site, case.fields) for case in cases()) for name, site in sites().items()
    }
    assert len(set(seen.values())) == len(seen)


# What may be lost.


@pytest.mark.parametrize("language", languages())
def test_every_allowed_loss_is_seen_in_the_corpus(language: str) -> None:
    target = JUDGES[language].target
    idle = []
    for source in sources(target):
        allowed = [what for what, _ in entries(target, label(source), language)]
        for one in allowed:
            others = tuple(what for what in allowed if what != one)
            if all(visible(case, (*others, one)) == visible(case, others) for case in cases()):
                idle.append(f"{label(source)}: {one}")
    assert not idle


def test_allowed_losses_are_fields_or_known_blind_spots() -> None:
    for language in languages():
        for source in sources(JUDGES[language].target):
            found = entries(JUDGES[language].target, label(source), language)
            assert {what for what, _ in found} <= set(FIELDS) | set(BLIND)
            assert all(why.strip() for _, why in found)
            assert found, f"{label(source)} is not in allowed.yml"


# The queries.


@pytest.mark.parametrize(("language", "schema", "site"), CHECKED)
def test_queries_answer_what_scan_says(
    judges: dict[str, Judge], language: str, schema: str, site: str
) -> None:
    results = measure.load()[language]["own"]
    for cell, found in verdicts(judges[language], schema, [site]):
        _right(cell, found)
        assert measure.numbers(found) == results[measure.key(cell)], measure.key(cell)


@pytest.mark.slow
@pytest.mark.parametrize(("language", "schema", "site", "slug"), SLOW)
def test_queries_of_slow_engines_answer_what_scan_says(
    judges: dict[str, Judge], language: str, schema: str, site: str, slug: str
) -> None:
    asked, rule = judges[language], rule_named(slug)
    found = verdict(
        asked, schema, rule, sites()[site], exported(asked.target, language, sites()[site]).queries
    )
    cell = (language, schema, slug, site)
    _right(cell, found)
    assert measure.numbers(found) == measure.load()[language]["own"][measure.key(cell)]


def _right(cell: tuple[str, ...], found: Any) -> None:
    names = [[cases()[number].name for number in several] for several in (found.lost, found.noise)]
    assert found.ok, f"{cell}: lost {names[0]}, noise {names[1]}, {found.invalid}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_correlation_relates_events_in_order(language: str) -> None:
    asked = queries(language)
    assert asked
    wrong = [
        (one.schema, case.note)
        for one in asked
        for case in series()
        if isinstance(case, Series) and alerts(one, case.events) != case.alert
    ]
    assert not wrong


@pytest.mark.skipif(bool(binder_missing()), reason=binder_missing() or "there")
@pytest.mark.parametrize("site", ["none", "suppressions"])
def test_microsofts_binder_accepts_every_query(site: str) -> None:
    content = exported("sentinel", "kusto", sites()[site])
    with Binder() as binder:
        wrong = [(one.rule.slug, found) for one in content.queries for found in binder.check(one.query)]
    assert not wrong


@pytest.mark.skipif(bool(parser_missing()), reason=parser_missing() or "there")
def test_elastics_parser_accepts_short_queries_and_reads_them_alike() -> None:
    asked = ElasticParser(field_types())
    short = [one for one in exported("elastic", "esql", sites()["none"]).queries if len(one.query) < 1500]
    assert short
    for one in short:
        assert asked.check(one.query) == conditions(one.query), one.rule.slug


@pytest.mark.skipif(
    not os.environ.get("IMDSWATCH_CONFORMANCE"), reason="half a minute a query: make conformance"
)
@pytest.mark.skipif(bool(parser_missing()), reason=parser_missing() or "there")
@pytest.mark.parametrize("site", ["none", "VLANs only", "all of it"])
def test_elastics_parser_accepts_every_query_and_reads_it_alike(site: str) -> None:
    asked = ElasticParser(field_types())
    for one in exported("elastic", "esql", sites()[site]).queries:
        assert asked.check(one.query) == conditions(one.query), one.rule.slug


# The site in the SIEM's own place.


@pytest.mark.parametrize("language", [one for one in languages() if one != "aql"])
def test_the_site_in_its_own_place_gives_the_same_answers(judges: dict[str, Judge], language: str) -> None:
    rules = [rule_named(slug) for slug in ("imds-contact", "imds-answered")]
    target = JUDGES[language].target
    content = exported(target, language, sites()["suppressions"], rules)
    files = import_module(TARGETS[target]).tree(content)
    quick = tuple(one for one in content.queries if one.schema in ("asim", "ecs", "cim"))  # conformance: all
    there = getattr(places, target)(files, replace(content, queries=quick))
    for one in quick:
        assert there[one.schema, one.part, one.rule.slug] == judges[language].ask(one), one.path


# The suite can fail.


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_broken_emitter_is_noticed(judges: dict[str, Judge], mutant: Mutant) -> None:
    asked, rule, site = judges[mutant.language], rule_named(mutant.rule), sites()[mutant.site]
    with applied(mutant):
        content = exported(asked.target, mutant.language, site, [rule])
        found = verdict(asked, mutant.schema, rule, site, content.queries)
    assert not found.ok
    own = measure.load()[mutant.language]["own"]
    unbroken = own[measure.key((mutant.language, mutant.schema, mutant.rule, mutant.site))]
    assert unbroken[2:4] == [0, 0]


def test_there_are_enough_mutants() -> None:
    assert len({one.name for one in MUTANTS}) >= 15


# The page.


def test_the_page_is_written_from_the_results() -> None:
    results = measure.load()
    assert page.PAGE.read_text(encoding="utf-8") == page.rendered(results)
    assert measure.RESULTS.read_text(encoding="utf-8") == measure.dumped(results)


def test_the_results_cover_every_cell_and_nothing_is_lost_noise_or_invalid() -> None:
    results = measure.load()
    for language in languages():
        wanted = {
            measure.key((language, schema, rule.slug, site))
            for schema in schemas_of(language)
            for site in measure.sites_of(schema)
            for rule in SIMPLE
        }
        own = results[language]["own"]
        assert set(own) == wanted, language
        assert {name for name, row in own.items() if row[2] or row[3] or row[6]} == set()
        assert sum(row[1] for row in own.values()) > 500


def test_the_stock_figures_are_those_of_this_run(judges: dict[str, Judge]) -> None:
    results = measure.load()["kuery"]["stock"]
    for site in SITES:
        for rule in SIMPLE:
            if applies(rule, site):
                found = stock(judges["kuery"], "ecs", rule, site)
                told = [
                    page.plain(one) if isinstance(one, str) else measure.numbers(one)
                    for one in (found.shipped, found.by_hand)
                ]
                assert told == results[measure.key(("kuery", "ecs", rule.slug, site))]
