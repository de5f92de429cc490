"""Elastic Security: detection rules as NDJSON for import, the site as exception lists, and a page that says how.

Field names of rules: elastic/detection-rules, `detection_rules/rule.py` (data model), and Kibana's rule schemas;
exception lists and items: Kibana, `kbn-securitysolution-io-ts-list-types`. One file holds the rules and their
exceptions, as Kibana's own export does. Pure: the same content gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imdswatch.siem import formula as f
from imdswatch.siem import triage
from imdswatch.siem.content import Content, Query, stable_id
from imdswatch.siem.eql import EqlBackend
from imdswatch.siem.esql import EsqlBackend
from imdswatch.siem.exceptions import list_id, lists_of
from imdswatch.siem.kuery import KueryBackend
from imdswatch.siem.kusto import RUNS
from imdswatch.siem.readme import EXPORT_AGAIN, readme

LANGUAGES = {"kuery": KueryBackend, "eql": EqlBackend, "esql": EsqlBackend}

_SEVERITY = {"informational": "low", "low": "low", "medium": "medium", "high": "high", "critical": "critical"}
_RISK = {"informational": 12, "low": 21, "medium": 47, "high": 73, "critical": 99}
"""The risk scores that Elastic's own rules use for these severities; informational below all."""
_TYPES = {"kuery": "query", "eql": "eql", "esql": "esql"}
_INTEGRATIONS = (
    ("zeek", ">=2.0.0"),
    ("suricata", ">=2.0.0"),
    ("network_traffic", ">=1.0.0"),
    ("panw", ">=3.0.0"),
    ("fortinet_fortigate", ">=1.0.0"),
    ("squid", ">=0.1.0"),
)
_SUPPRESS_BY = ("source.ip", "destination.ip")
_EMITTERS = {"kuery": KueryBackend(), "eql": EqlBackend(), "esql": EsqlBackend()}


def tree(content: Content) -> Mapping[str, str]:
    """Return the files of the tree."""
    site = content.request.site
    lines: dict[str, list[dict[str, Any]]] = {}
    exceptions: dict[str, list[dict[str, Any]]] = {}
    for query in content.queries:
        lists = lists_of(query)
        lines.setdefault(query.path, []).append(_rule(query, bool(lists)))
        exceptions.setdefault(query.path, []).extend(lists)
    files = {
        path: "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in (*rules, *exceptions[path]))
        for path, rules in lines.items()
    }
    files["README.md"] = readme(
        content,
        tune=EXPORT_AGAIN if site.mutes_nothing else _TUNE,
        remove="" if site.mutes_nothing else ", and the exception lists `imdswatch-…`",
    )
    return files


def _rule(query: Query, excepted: bool) -> dict[str, Any]:
    rule = query.rule
    if excepted:  # the exception items keep the end dates, whatever the language can ask
        kept = tuple(loss for loss in query.lost if not loss.clause.startswith("site: expires"))
        query = replace(query, plan=replace(query.plan, lost=kept))
    every, back = RUNS[rule.stage]
    back += query.plan.within // 60
    out: dict[str, Any] = {
        "rule_id": str(query.id),
        "name": f"IMDS impersonation: {rule.title}",
        "description": triage.summary(rule),
        "author": ["imdswatch"],
        "license": "Apache-2.0",
        "version": 1,
        "enabled": True,
        "type": _TYPES[query.language],
        "language": query.language,
        "query": _text(query),
        **({} if query.language == "esql" else {"index": query.source.naming.table.split(", ")}),
        "severity": _SEVERITY[rule.level],
        "risk_score": _RISK[rule.level],
        "interval": f"{every}m",
        "from": f"now-{back}m",
        "to": "now",
        "max_signals": 1000,
        "timestamp_override": "event.ingested",
        "tags": [
            "Domain: Network",
            "Use Case: Threat Detection",
            "AWS-2025-021",
            f"IMDS stage: {rule.stage}",
        ],
        "threat": _threat(query),
        "false_positives": list(rule.falsepositives),
        "references": list(rule.references),
        "note": triage.guide(query),
        "setup": _setup(query),
        "investigation_fields": {"field_names": _first(query)},
        "required_fields": _required(query),
        "related_integrations": [{"package": name, "version": version} for name, version in _INTEGRATIONS],
        "exceptions_list": [_reference(query)] if excepted else [],
    }
    if not query.plan.within:  # a sequence cannot be suppressed by fields of one event
        out["alert_suppression"] = {
            "group_by": list(_SUPPRESS_BY),
            "duration": {"value": 1, "unit": "h"},
            "missing_fields_strategy": "doNotSuppress",
        }
    return out


def _text(query: Query) -> str:
    """Return the query without the site, which the exception list holds; of a sequence the first event keeps it."""
    emitter, plan = _EMITTERS[query.language], query.plan
    if plan.within:
        return query.query
    return emitter.frame(emitter.compose(plan.where), query.source, query.rule, plan)


def _reference(query: Query) -> dict[str, str]:
    name = list_id(query)
    return {
        "id": str(stable_id("elastic", name)),
        "list_id": name,
        "type": "detection",
        "namespace_type": "single",
    }


def _threat(query: Query) -> list[dict[str, Any]]:
    out = []
    for tactic, title in triage.tactics(query.rule):
        techniques: dict[str, dict[str, Any]] = {}
        for one in query.rule.attack:
            known = triage.TECHNIQUES.get(one)
            if known is None or (tactic, title) not in known.tactics:
                continue
            parent = triage.TECHNIQUES[one.partition(".")[0]]
            entry = techniques.setdefault(parent.id, _technique(parent.id, parent.name))
            if one != parent.id:
                entry.setdefault("subtechnique", []).append(_technique(known.id, known.name))
        out.append(
            {
                "framework": "MITRE ATT&CK",
                "tactic": {
                    "id": tactic,
                    "name": title,
                    "reference": f"https://attack.mitre.org/tactics/{tactic}/",
                },
                "technique": list(techniques.values()),
            }
        )
    return out


def _technique(number: str, name: str) -> dict[str, Any]:
    return {
        "id": number,
        "name": name,
        "reference": f"https://attack.mitre.org/techniques/{number.replace('.', '/')}/",
    }


def _first(query: Query) -> list[str]:
    columns = query.source.naming.columns
    return [
        column.name
        for field in triage.FIRST_FIELDS
        if field != "timestamp"
        for column in columns.get(field, ())[:1]
    ]


def _required(query: Query) -> list[dict[str, Any]]:
    asked = {
        atom.column.name: atom.column.type
        for atom in (*f.atoms(query.plan.first), *f.atoms(query.plan.where))
    }
    return [
        {"name": name, "type": kind.removesuffix("[]"), "ecs": not name.startswith("zeek.")}
        for name, kind in sorted(asked.items())
    ]


def _setup(query: Query) -> str:
    """Return what the data must bring for the rule to see all it can."""
    asked = {atom.column.name for atom in (*f.atoms(query.plan.first), *f.atoms(query.plan.where))}
    needs = [
        f"- {text}"
        for field, text in query.source.schema.needs.items()
        if any(column.name in asked for column in query.source.naming.columns.get(field, ()))
    ]
    lines = ["## Setup", "", "Network or proxy logs in ECS (Zeek, Suricata, Packetbeat, firewalls, proxies)."]
    return "\n".join([*lines, *(["", "Logged only with:", "", *needs] if needs else [])])


_TUNE = """\
Each rule has its exception list `imdswatch-SLUG` in the same file, one item an alternative: change networks, VLANs,
responders and end dates there. Rules from stage `answered` on are muted only by entries with `responders`."""
