"""Makes the content of a target: every rule on every schema of it, as queries or as reasons why there is none.

Pure and in a fixed order (schemas by name, parts network before web, rules by slug), so that the same request gives
the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imdswatch.errors import UsageError
from imdswatch.rule import Rule
from imdswatch.schema import Schemas
from imdswatch.siem import formula as f
from imdswatch.siem.content import Content, NotApplicable, Plan, Query, Request, Source
from imdswatch.siem.emitter import CannotSay, Emitter
from imdswatch.siem.mute import muted
from imdswatch.siem.plan import Planner
from imdswatch.site import Site

_TOO_WIDE = "what is left of the rule would match every record"
ALL_MUTED = "the site file suppresses this rule for everything: an entry names neither VLAN nor source"
_NO_ACCOUNTS = "the site file lists no accounts under [accounts] expected"


def sources_of(target: str, schemas: Schemas) -> dict[str, tuple[Source, ...]]:
    """Return the schemas of a target by the name that `--schema` knows, each with its parts."""
    found: dict[str, list[Source]] = {}
    for name in schemas.names:
        for naming in schemas[name].siem:
            if naming.target == target:
                found.setdefault(naming.schema, []).append(Source(schemas[name], naming))
    return {
        name: tuple(sorted(parts, key=lambda one: one.naming.part)) for name, parts in sorted(found.items())
    }


def export_of(target: str, module: Any, request: Request) -> Content:
    """Return the content of a target's module in the language asked for; raises UsageError, SchemaError."""
    languages: Mapping[str, type[Emitter]] = module.LANGUAGES
    language = request.language or next(iter(languages))
    if language not in languages:
        raise UsageError(f"{target} has no language `{language}`", help=f"one of: {', '.join(languages)}")
    if not hasattr(module, "build"):
        return build(target, languages[language](), request)
    if request.schema not in (None, *module.SCHEMAS):
        raise UsageError(
            f"{target} has no schema `{request.schema}`", help=f"one of: {', '.join(module.SCHEMAS)}"
        )
    own: Content = module.build(request)
    return own


def build(target: str, emitter: Emitter, request: Request) -> Content:
    """Return the content of a target in one language; raises UsageError for a schema that it does not have."""
    sources = sources_of(target, request.schemas)
    if request.schema is not None:
        if request.schema not in sources:
            raise UsageError(
                f"{target} has no schema `{request.schema}`", help=f"one of: {', '.join(sources)}"
            )
        sources = {request.schema: sources[request.schema]}
    queries: list[Query] = []
    nothing: list[NotApplicable] = []
    for name, parts in sources.items():
        for rule in request.rules:
            found, why = _rule(target, emitter, rule, parts, request)
            queries += found
            if not found:
                nothing.append(NotApplicable(target, name, rule, why))
    return Content(target, request, tuple(queries), tuple(nothing))


def _rule(
    target: str, emitter: Emitter, rule: Rule, parts: Sequence[Source], request: Request
) -> tuple[list[Query], str]:
    found: list[Query] = []
    reasons: dict[str, None] = {}
    for source in parts:
        siblings = [one for one in parts if one is not source]
        plan = plan_of(emitter, source, rule, request.site, siblings, request.rules)
        if isinstance(plan, str):
            reasons[plan] = None
            continue
        try:
            query = emitter.render(plan, source, rule)
        except CannotSay as reason:
            reasons[str(reason)] = None
            continue
        found.append(Query(target, source, emitter.language, rule, query, emitter.path(source, rule), plan))
    return found, "; ".join(reasons)


def plan_of(
    emitter: Emitter,
    source: Source,
    rule: Rule,
    site: Site,
    siblings: Sequence[Source] = (),
    rules: Sequence[Rule] = (),
) -> Plan | str:
    """Return the plan of a rule on a source, or the reason why nothing can be asked."""
    if rule.placeholders and not all(site.values.get(name) for name in rule.placeholders):
        return _NO_ACCOUNTS
    planner = Planner(emitter, source, rule, siblings, site.values)
    look = rule.correlation
    where = planner.condition(rule.condition if look is None else look.base)
    if isinstance(where, f.Const):
        return _TOO_WIDE if where.value else _reason(where)
    mute = muted(planner, site)
    if isinstance(mute, f.Const) and mute.value:
        return ALL_MUTED
    own = Plan(where, mute, tuple(planner.lost), tuple(planner.clauses))
    if look is None:
        return own
    before = [plan_of(emitter, source, one, site, (), rules) for one in rules if one.slug in look.after]
    plans = [plan for plan in before if isinstance(plan, Plan)]
    if not plans:
        return f"{', '.join(look.after)} cannot be asked here, which must come before: {'; '.join(map(str, before))}"
    # A second look is suppressed where the event before it is; what comes after says nothing of the responder.
    first = f.all_of([f.any_of([plan.where for plan in plans]), f.negated(mute)])
    lost = tuple(dict.fromkeys(loss for plan in (own, *plans) for loss in plan.lost))
    clauses = tuple(clause for plan in (*plans, own) for clause in plan.clauses)
    return Plan(where, f.FALSE, lost, clauses, first, look.timespan)


def _reason(never: f.Const) -> str:
    return "; ".join(dict.fromkeys(loss.why for loss in never.why))
