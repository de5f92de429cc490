"""The cells of the result table: what each rule on each schema of a target gave, on all sites or some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module

from conformance.corpus import RULES, SIMPLE, TODAY, sites
from conformance.judges import JUDGES, Invalid, Judge
from conformance.records import schemas, sources
from conformance.verdict import Verdict, judge
from imdswatch.rule import Rule
from imdswatch.siem import TARGETS
from imdswatch.siem.content import Content, Query, Request, Source
from imdswatch.siem.export import export_of
from imdswatch.site import Site

Cell = tuple[str, str, str, str]
"""Language, schema, rule, site."""


def exported(target: str, language: str, site: Site, rules: Sequence[Rule] = RULES) -> Content:
    """Return what `export` makes of a target in one language."""
    request = Request(tuple(rules), site, schemas(), TODAY, None, language)
    return export_of(target, import_module(TARGETS[target]), request)


def languages() -> list[str]:
    """Return the languages of the targets that exist."""
    return [language for language, made in JUDGES.items() if made.target in TARGETS]


def schemas_of(language: str) -> list[str]:
    """Return the schemas of a language's target."""
    return list(dict.fromkeys(one.naming.schema for one in sources(JUDGES[language].target)))


def parts(target: str, schema: str) -> list[Source]:
    """Return the parts of a schema."""
    return [one for one in sources(target) if one.naming.schema == schema]


def verdicts(
    asked: Judge, schema: str, site_names: Iterable[str] = (), rules: Sequence[Rule] = SIMPLE
) -> Iterator[tuple[Cell, Verdict]]:
    """Yield the verdicts on every rule for every site."""
    for name in site_names or sites():
        site = sites()[name]
        queries = exported(asked.target, asked.language, site).queries
        for rule in rules:
            yield (asked.language, schema, rule.slug, name), verdict(asked, schema, rule, site, queries)


def verdict(asked: Judge, schema: str, rule: Rule, site: Site, queries: Sequence[Query]) -> Verdict:
    """Return the verdict on one rule: the queries of all parts of the schema."""
    answers = []
    invalid = ""
    for source in parts(asked.target, schema):
        mine = [one for one in queries if one.rule.slug == rule.slug and one.source == source]
        try:
            answers.append((source, asked.ask(mine[0]) if mine else None))
        except Invalid as error:
            invalid = str(error)
    if invalid:
        return Verdict(invalid=invalid)
    return judge(rule, site, asked.target, asked.language, answers)


def summed(found: Iterable[tuple[Cell, Verdict]]) -> Mapping[tuple[str, str, str], dict[str, int]]:
    """Return the sums over all sites: (language, schema, rule) → what became of the events."""
    out: dict[tuple[str, str, str], dict[str, int]] = {}
    for (language, schema, rule, _), one in found:
        row = out.setdefault((language, schema, rule), dict.fromkeys(COLUMNS, 0))
        row["matched"] += len(one.matched)
        row["lost"] += len(one.lost)
        row["noise"] += len(one.noise)
        row["not carried"] += len(one.not_carried)
        row["blurred"] += len(one.blurred)
        row["invalid"] += bool(one.invalid)
    return out


COLUMNS = ("matched", "lost", "noise", "not carried", "blurred", "invalid")
