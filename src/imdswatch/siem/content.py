"""What `export` is asked and what it answers, whatever the target: queries, or why there is none.

Frozen values without I/O. A target module turns `Content` into the files of its deployable tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from uuid import NAMESPACE_URL, UUID, uuid5

from imdswatch.rule import Rule
from imdswatch.schema import Naming, Schema, Schemas
from imdswatch.siem.formula import TRUE, Formula, Loss
from imdswatch.site import Site

_IDS = uuid5(NAMESPACE_URL, "urn:imdswatch:export")


@dataclass(frozen=True, slots=True)
class Request:
    """What shall be exported: which rules, for which network, with which schema (None: all) and language (None: the
    target's usual one)."""

    rules: tuple[Rule, ...]
    site: Site
    schemas: Schemas
    as_of: date
    schema: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One place where records lie: a schema and how this SIEM names its fields."""

    schema: Schema
    naming: Naming


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of a rule or of the site: where it stands, and what became of it in the query."""

    text: str
    origin: str
    """`line N` of the rule's file, `site` for the site file."""
    query: str
    """Its text in the query; empty where it is lost."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The meaning of one query: what must hold (`where`) and what the site leaves out (`mute`, to be negated).

    `first` is the earlier event of a correlation, which came at most `within` seconds before, from the same `by`.
    """

    where: Formula
    mute: Formula
    lost: tuple[Loss, ...]
    clauses: tuple[Clause, ...]
    first: Formula = TRUE
    within: int = 0


@dataclass(frozen=True, slots=True)
class Query:
    """One query of one rule in one language: self-contained, the site inline."""

    target: str
    source: Source
    language: str
    rule: Rule
    query: str
    path: str
    """Where the query stands in the deployable tree."""
    plan: Plan

    @property
    def schema(self) -> str:
        """The name that `--schema` knows."""
        return self.source.naming.schema

    @property
    def part(self) -> str:
        """`network`, `web`, or empty."""
        return self.source.naming.part

    @property
    def lost(self) -> tuple[Loss, ...]:
        """What the query does not carry."""
        return self.plan.lost

    @property
    def id(self) -> UUID:
        """An id that stays the same as long as rule, target, schema, part and language do."""
        return stable_id(self.target, self.schema, self.part, self.language, self.rule.slug)


@dataclass(frozen=True, slots=True)
class Document:
    """What one rule became where content is no query over a SIEM's columns: a Sigma rule, a sensor's rule.

    It answers to the same names as `Query`.
    """

    target: str
    schema: str
    language: str
    rule: Rule
    query: str
    path: str
    lost: tuple[Loss, ...] = ()
    part: str = ""


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """A rule of which nothing can be asked of a schema, and why."""

    target: str
    schema: str
    rule: Rule
    why: str


@dataclass(frozen=True, slots=True)
class Content:
    """All answers of one target, in the order of schemas, rules and parts; and what they were made from."""

    target: str
    request: Request
    queries: tuple[Query, ...]
    not_applicable: tuple[NotApplicable, ...]
    documents: tuple[Document, ...] = ()


def stable_id(*parts: str) -> UUID:
    """Return the id of a thing that is named by these parts (UUID version 5, RFC 9562)."""
    return uuid5(_IDS, "/".join(parts))


def as_object(answer: Query | Document | NotApplicable) -> Mapping[str, object]:
    """Return the ndjson object of an answer (DESIGN 6)."""
    if isinstance(answer, NotApplicable):
        return {
            "target": answer.target,
            "schema": answer.schema,
            "rule": answer.rule.slug,
            "not_applicable": answer.why,
        }
    part = {"part": answer.part} if answer.part else {}
    return {
        "target": answer.target,
        "schema": answer.schema,
        "language": answer.language,
        "rule": answer.rule.slug,
        "stage": answer.rule.stage,
        **part,
        "query": answer.query,
        "path": answer.path,
        "not_carried": [{"clause": loss.clause, "why": loss.why} for loss in answer.lost],
    }
