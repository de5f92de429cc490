"""The benchmark to beat: the same rules and events through the stock pySigma backends, in the same run.

Two ways, since they fail differently. *As shipped*: the rule and the pipeline that the backend's package has for that
schema. *By hand*: the bare backend, given all that its pipeline lacks: field names mapped to the columns of our own schema
files (all of them where there are several), a table in front. A field without a column is dropped from rules that are
lists of alternatives (up to stage `requested`), where that only loses; from others it would make alerts of everything,
so they count as refused. The site is written the way the bulletin outlines it: `filter_vlan` and `filter_subnet`, `and not 1 of filter_*`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from sigma.backends.elasticsearch import EqlBackend, ESQLBackend, LuceneBackend
from sigma.backends.kusto import KustoBackend
from sigma.backends.QRadarAQL import QRadarAQLBackend
from sigma.backends.splunk import SplunkBackend
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma.pipelines.azuremonitor import azure_monitor_pipeline
from sigma.pipelines.elasticsearch.zeek import ecs_zeek_beats
from sigma.pipelines.microsoftxdr import microsoft_xdr_pipeline
from sigma.pipelines.QRadarAQL import QRadarAQL_fields_pipeline
from sigma.pipelines.sentinelasim import sentinel_asim_pipeline
from sigma.pipelines.splunk import splunk_cim_data_model
from sigma.processing.conditions import ExcludeFieldCondition
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import DropDetectionItemTransformation, FieldMappingTransformation

from conformance.cells import parts
from conformance.corpus import RANK, sites
from conformance.judges import Invalid, Judge, KueryJudge
from conformance.verdict import Verdict, judge
from imdswatch.finding import STAGE_RANK
from imdswatch.rule import And, Match, Not, Or, Rule
from imdswatch.siem.content import Source

SITES = ("none", "as the bulletin asks")
"""Sites of the comparison; suppression by VLAN and subnet is for rules up to stage `requested` (DESIGN 5)."""
_ANSWERED = STAGE_RANK["answered"]
_FILTER = {
    "filter_vlan": {"vlan": [210, 211]},
    "filter_subnet": {"src_ip|cidr": ["2001:db8:ec2::/48", "10.20.0.0/24"]},
}
_PIPELINES: Mapping[str, Callable[[], Any]] = {
    "asim": sentinel_asim_pipeline,
    "commonsecuritylog": azure_monitor_pipeline,
    "defender": microsoft_xdr_pipeline,
    "ecs": ecs_zeek_beats,
    "events": QRadarAQL_fields_pipeline,
    "flows": QRadarAQL_fields_pipeline,
    "cim": splunk_cim_data_model,
    "cim-tstats": splunk_cim_data_model,
}
"""Schema → the pipeline that the packages ship for it; Zeek and Suricata in Splunk have none."""
_BACKENDS: Mapping[str, Callable[..., Any]] = {
    "kusto": KustoBackend,
    "kuery": LuceneBackend,  # nothing writes Kibana KQL: Lucene's syntax is what stock users paste into Kibana
    "eql": EqlBackend,
    "esql": ESQLBackend,
    "spl": SplunkBackend,
    "aql": QRadarAQLBackend,
}


@dataclass(frozen=True, slots=True)
class Stock:
    """What the stock tools make of one rule on one schema."""

    shipped: Verdict | str
    """What the shipped backend and pipeline answer, or why they refuse it."""
    by_hand: Verdict | str
    """What the hand-mapped query answers, or why even that is refused."""


def stock(asked: Judge, schema: str, rule: Rule, site: str) -> Stock:
    """Return what the stock tools make of a rule."""
    text = written(rule, site)
    shipped = _shipped(asked, schema, rule, site, text)
    answers: list[tuple[Source, Sequence[int] | None]] = []
    why: dict[str, None] = {}
    invalid = ""
    for source in parts(asked.target, schema):
        fields = () if RANK[rule.slug] < _ANSWERED else needed(rule)
        query = _by_hand(asked.language, source, written(rule, SITES[0]), fields)
        if site != SITES[0] and not isinstance(
            query, Exception
        ):  # of some rules nothing but the filter would be left
            query = _by_hand(asked.language, source, text, fields)
        if isinstance(query, Exception):
            why[f"{type(query).__name__}: {query}"] = None
            answers.append((source, None))
            continue
        try:
            answers.append((source, _ask(asked, source, query)))
        except Invalid as error:
            invalid = str(error)
            answers.append((source, None))
    reasons = "; ".join(why)
    if all(answer is None for _, answer in answers):
        return Stock(shipped, Verdict(invalid=invalid) if invalid else reasons)
    return Stock(shipped, judge(rule, sites()[site], asked.target, asked.language, answers))


def written(rule: Rule, site: str) -> str:
    """Return the rule as a user of stock tools would write it for a site."""
    document = yaml.safe_load(rule.text)
    if site != SITES[0]:
        detection = document["detection"]
        condition = detection["condition"]
        whole = " or ".join(f"({one})" for one in (condition if isinstance(condition, list) else [condition]))
        detection.update({**_FILTER, "condition": f"({whole}) and not 1 of filter_*"})
    document.pop("stage", None)
    return yaml.safe_dump(document, sort_keys=False)


def applies(rule: Rule, site: str) -> bool:
    """Say whether the comparison covers a rule on a site."""
    return site == SITES[0] or RANK[rule.slug] < _ANSWERED


def needed(rule: Rule) -> list[str]:
    """Return the fields that a rule asks for."""
    found: dict[str, None] = {}

    def walk(node: Any) -> None:
        match node:
            case And(nodes) | Or(nodes):
                for one in nodes:
                    walk(one)
            case Not(inner):
                walk(inner)
            case Match(name) if name:
                found[name] = None

    walk(rule.condition)
    return list(found)


def _convert(backend: Any, text: str) -> str | Exception:
    try:
        found = backend.convert(SigmaCollection.from_yaml(text))
    except (
        SigmaError,
        NotImplementedError,
        AttributeError,
        TypeError,
        ValueError,
        KeyError,
        IndexError,
    ) as error:
        return error  # stock backends crash on some rules; that is the measurement
    return str(found[0]) if found else SigmaError("nothing comes out")


def _shipped(asked: Judge, schema: str, rule: Rule, site: str, text: str) -> Verdict | str:
    if schema not in _PIPELINES:
        return "no pipeline for this schema"
    found = _convert(_BACKENDS[asked.language](_PIPELINES[schema]()), text)
    if isinstance(found, Exception):
        return f"{type(found).__name__}: {found}"
    try:
        answers = [
            (source, _ask(asked, source, _runnable(asked.language, found, source)))
            for source in parts(asked.target, schema)
        ]
    except Invalid as error:
        return Verdict(invalid=str(error))
    return judge(rule, sites()[site], asked.target, asked.language, answers)


def _runnable(language: str, found: str, source: Source) -> str:
    """Return a converted query on our table, where the backend names another or none."""
    if language == "esql":
        return f"FROM {source.naming.table} | WHERE {found.partition('| where ')[2]}"
    return found


def _by_hand(language: str, source: Source, text: str, fields: Iterable[str]) -> str | Exception:
    columns = source.naming.columns
    lacking = [
        name for name in fields if name not in columns and not (name == "uri_path" and "url" in columns)
    ]
    if lacking:
        return SigmaError(f"no column for {', '.join(lacking)}")
    mapped = {name: [one.name for one in found] for name, found in columns.items()}
    mapping: dict[str, Any] = {name: found[0] if len(found) == 1 else found for name, found in mapped.items()}
    if "uri_path" not in mapping and "url" in mapping:
        mapping["uri_path"] = mapping["url"]
    items = [
        ProcessingItem(
            DropDetectionItemTransformation(),
            field_name_conditions=[ExcludeFieldCondition(fields=list(mapping))],
        ),
        ProcessingItem(FieldMappingTransformation(mapping)),
    ]
    found = _convert(_BACKENDS[language](ProcessingPipeline(items=items)), text)
    if isinstance(found, Exception):
        return found
    table = source.naming.table
    match language:
        case "kusto":
            return f"{table}{'(starttime=ago(75m), endtime=now())' if 'parameters' in source.naming.settings else ''}\n| where {found}"
        case "spl" if source.naming.settings.get("datamodel"):
            return f"| tstats count from {table} where {found} by _time"
        case "spl":
            return f"search {table} ({found})"
    return _runnable(language, found, source)


def _ask(asked: Judge, source: Source, query: str) -> list[int]:
    if isinstance(asked, KueryJudge):
        return asked.dsl({"query_string": {"query": query}})
    return asked.answer(source, query)
