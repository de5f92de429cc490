"""The way in for pySigma users: their own rule objects through our emitters.

pySigma and sigma-cli find the backends in the namespace `sigma.backends.imdswatch`, which imports them from here. A
rule needs no pipeline: fields are canonical names or any of their aliases (`data/aliases.yml`).
"""

from __future__ import annotations

from sigma.exceptions import SigmaConfigurationError
from sigma.processing.pipeline import ProcessingPipeline
from sigma.rule import SigmaRule

from imdswatch import rule as r
from imdswatch.errors import ImdswatchError
from imdswatch.schema import load_schemas
from imdswatch.siem.content import Plan
from imdswatch.siem.emitter import CannotSay, Emitter
from imdswatch.siem.export import plan_of, sources_of
from imdswatch.sigma_tree import node_of
from imdswatch.site import Site

_PIPELINE = "imdswatch_fields"


def convert(emitter: Emitter, rule: SigmaRule) -> list[str]:
    """Return the queries of a pySigma rule, one for each part of the emitter's schema that can hold it.

    Raises SigmaConfigurationError where nothing of the rule is left, or the schema does not exist.
    """
    parts = sources_of(emitter.target, load_schemas()).get(emitter.schema)
    if not parts:
        raise SigmaConfigurationError(f"{emitter.target} has no schema {emitter.schema!r}")
    queries, reasons = [], []
    try:
        ours = _rule(rule)
        for source in parts:
            plan = plan_of(emitter, source, ours, Site(), [one for one in parts if one is not source])
            if isinstance(plan, Plan):
                queries.append(emitter.render(plan, source, ours))
            else:
                reasons.append(plan)
    except (ImdswatchError, CannotSay) as error:
        raise SigmaConfigurationError(str(error)) from error
    if not queries:
        raise SigmaConfigurationError("; ".join(dict.fromkeys(reasons)))
    return queries


def _rule(rule: SigmaRule) -> r.Rule:
    conditions = tuple(node_of(condition.parsed, rule.title) for condition in rule.detection.parsed_condition)
    stage = rule.custom_attributes.get("stage", "attempted")
    return r.Rule(
        slug=rule.name or str(rule.id or "rule"),
        title=rule.title,
        id=str(rule.id or ""),
        level=str(rule.level or "medium"),
        stage=str(stage),
        condition=conditions[0] if len(conditions) == 1 else r.Or(conditions),
        text="",
        file=rule.title,
    )


def imdswatch_fields() -> ProcessingPipeline:
    """Return the pipeline that turns aliases into canonical field names, for use with other backends."""
    from sigma.processing.pipeline import ProcessingItem
    from sigma.processing.transformations import FieldMappingTransformation

    names: dict[str | None, str | list[str]] = {}
    names.update(r.aliases().items())
    mapping = FieldMappingTransformation(names)
    return ProcessingPipeline(
        name="imdswatch: aliases to canonical fields",
        priority=10,
        items=[ProcessingItem(mapping, identifier=_PIPELINE)],
    )
