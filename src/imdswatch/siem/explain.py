"""Content as text for a terminal, or as ndjson: the queries, why there is none, and what became of each clause.

Pure. Text is made of our own rules and schemas or of files that the user gave; hidden characters are left to the
command line's handle, as in the queries themselves they could matter.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from importlib import import_module

from imdswatch.schema import Schemas
from imdswatch.siem import TARGETS
from imdswatch.siem.content import Content, Document, NotApplicable, Query, as_object
from imdswatch.siem.export import sources_of

_WIDTH = 100


def show_list(target: str, schemas: Schemas) -> str:
    """Return the schemas of a target with their parts, and its languages."""
    module = import_module(TARGETS[target])
    languages = module.LANGUAGES
    lines = [f"{name}: {what}" for name, what in getattr(module, "SCHEMAS", {}).items()]
    for name, parts in sources_of(target, schemas).items():
        for source in parts:
            part = f" ({source.naming.part})" if source.naming.part else ""
            lines.append(f"{name}{part}: {source.schema.title}; {source.naming.table}")
    return "\n".join([*lines, f"languages: {', '.join(languages)}"])


def show_content(content: Content, form: str, *, explain: bool) -> str:
    """Return all answers in one of the formats `text` and `ndjson`."""
    if form == "ndjson":
        answers: list[Query | Document | NotApplicable] = [*content.queries, *content.documents]
        answers += content.not_applicable
        return "".join(json.dumps(as_object(one), ensure_ascii=False) + "\n" for one in answers)
    lines: list[str] = []
    for query in content.queries:
        lines += [*(_explained(query) if explain else _shown(query)), ""]
    for document in content.documents:
        lines += [*_shown(document), ""]
    lines += [line for one in content.not_applicable for line in _nothing(one)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _title(query: Query | Document) -> str:
    part = f" ({query.part})" if query.part else ""
    return (
        f"# {query.rule.slug} [{query.rule.stage}] on {query.target} {query.schema}{part}, {query.language}"
    )


def _shown(query: Query | Document) -> Iterator[str]:
    yield _title(query)
    for loss in query.lost:
        yield from _wrapped(f"not carried: {loss.clause}: {loss.why}")
    yield query.query


def _explained(query: Query) -> Iterator[str]:
    yield _title(query)
    yield from _wrapped(f"{query.rule.title}. {' '.join(query.rule.description.split())}")
    yield ""
    yield query.query
    yield ""
    for clause in query.plan.clauses:
        yield from _wrapped(f"{clause.text}   <- {query.rule.file}, {clause.origin}")
        if clause.query:
            yield from (f"#       {line}" for line in clause.query.splitlines())
        else:
            why = [loss.why for loss in query.lost if loss.clause == clause.text]
            yield from _wrapped(f"    not in this query: {why[0] if why else 'another part carries it'}")
    for loss in query.lost:
        if loss.clause not in {clause.text for clause in query.plan.clauses if not clause.query}:
            yield from _wrapped(f"not carried: {loss.clause}: {loss.why}")
    for field, switch in query.source.schema.needs.items():
        if field in query.source.naming.columns:
            yield from _wrapped(f"{field} is there only with: {switch}")


def _nothing(answer: NotApplicable) -> list[str]:
    return _wrapped(f"{answer.rule.slug} on {answer.target} {answer.schema}: not applicable: {answer.why}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)
