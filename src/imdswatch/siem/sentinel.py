"""Microsoft Sentinel: analytics rules as YAML and as ARM templates, the site as a watchlist, and a page that says how.

Sources: Azure-Sentinel repository, `Solutions/*/Analytic Rules/*.yaml` (keys as observed); Microsoft, ARM reference of
Microsoft.SecurityInsights/alertRules and /watchlists, API version 2023-02-01. Pure: the same content gives the same
bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from imdswatch.siem import triage
from imdswatch.siem.content import Content, Query, stable_id
from imdswatch.siem.kusto import RUNS, KustoBackend
from imdswatch.siem.readme import EXPORT_AGAIN, readme
from imdswatch.siem.watchlist import ALIAS, as_csv, reading_watchlist
from imdswatch.site import ON_PREMISES

LANGUAGES = {"kusto": KustoBackend}

API = "2023-02-01"
_SEVERITY = {
    "informational": "Informational",
    "low": "Low",
    "medium": "Medium",
    "high": "High",
    "critical": "High",
}
_ASIM = {"network": "ASimNetworkSession", "web": "ASimWebSession"}
_CONNECTORS = {
    "commonsecuritylog": {"connectorId": "CefAma", "dataTypes": ["CommonSecurityLog"]},
    "defender": {"connectorId": "MicrosoftThreatProtection", "dataTypes": ["DeviceNetworkEvents"]},
}
_ENTITIES = (
    # canonical field, entity type, identifier
    ("src_ip", "IP", "Address"),
    ("dst_ip", "IP", "Address"),
    ("src_host", "Host", "HostName"),
    ("url", "URL", "Url"),
    ("nat_dst", "IP", "Address"),
)
_DETAILS = {
    # name in the alert → canonical field
    "Victim": "src_ip",
    "VictimHost": "src_host",
    "Process": "process",
    "Destination": "dst_ip",
    "TranslatedTo": "nat_dst",
    "ResponderMac": "dst_mac",
    "Vlan": "vlan",
    "Host": "host",
    "Url": "url",
    "Method": "method",
    "Status": "status",
    "UserAgent": "user_agent",
    "Sensor": "sensor",
}


def tree(content: Content) -> Mapping[str, str]:
    """Return the files of the tree."""
    site = content.request.site
    mutes = not site.mutes_nothing
    files: dict[str, str] = {}
    templates: dict[str, list[dict[str, Any]]] = {}
    for query in content.queries:
        text = reading_watchlist(query) if mutes else query.query
        rule = _rule(query, text)
        files[query.path] = _yaml(rule)
        templates.setdefault(query.schema, []).append(_resource(query, rule))
    for schema, resources in templates.items():
        files[f"arm/{schema}.json"] = _json(_template(resources))
    if mutes:
        table = as_csv(site)
        files[f"watchlist/{ALIAS}.csv"] = table
        files[f"watchlist/{ALIAS}.json"] = _json(_template([_watchlist(table)]))
    files["README.md"] = _readme(content, mutes)
    return files


def _rule(query: Query, text: str) -> dict[str, Any]:
    """Return an analytics rule as the Azure-Sentinel repository writes it."""
    rule, naming = query.rule, query.source.naming
    every, back = RUNS[rule.stage]
    back += query.plan.within // 60
    entities = [
        {
            "entityType": kind,
            "fieldMappings": [{"identifier": key, "columnName": naming.columns[field][0].name}],
        }
        for field, kind, key in _ENTITIES
        if field in naming.columns
    ]
    details = {
        name: naming.columns[field][0].name for name, field in _DETAILS.items() if field in naming.columns
    }
    victim = naming.columns["src_ip"][0].name
    part = f" ({query.part})" if query.part else ""
    connector = _CONNECTORS.get(query.schema)
    out: dict[str, Any] = {
        "id": str(query.id),
        "name": f"IMDS impersonation: {rule.title}{part}",
        "description": triage.guide(query),
        "severity": _SEVERITY[rule.level],
        "status": "Available",
        "requiredDataConnectors": [connector] if connector else [],
        "queryFrequency": _span(every),
        "queryPeriod": _span(back),
        "triggerOperator": "gt",
        "triggerThreshold": 0,
        "tactics": [name.replace(" ", "") for _, name in triage.tactics(rule)],
        "relevantTechniques": sorted({technique.partition(".")[0] for technique in rule.attack}),
        "query": text,
        "entityMappings": entities,
        "customDetails": details,
        "alertDetailsOverride": {
            "alertDisplayNameFormat": f"{rule.title}: {{{{{victim}}}}}",
            "alertDescriptionFormat": f"{triage.summary(rule)} Next: {' '.join(rule.remedy.split())}",
        },
        "eventGroupingSettings": {"aggregationKind": "SingleAlert"},
        "incidentConfiguration": {
            "createIncident": True,
            "groupingConfiguration": {
                "enabled": True,
                "reopenClosedIncident": False,
                "lookbackDuration": "1d",
                "matchingMethod": "Selected",
                "groupByEntities": ["IP"],
                "groupByAlertDetails": [],
                "groupByCustomDetails": [],
            },
        },
        "version": "1.0.0",
        "kind": "Scheduled",
    }
    if query.part in _ASIM:
        out["tags"] = [{"Schema": _ASIM[query.part], "SchemaVersion": "0.2.7"}]
    return out


def _span(minutes: int) -> str:
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def _resource(query: Query, rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ARM resource of an analytics rule: other names, other durations, the same meaning."""
    grouping = {**rule["incidentConfiguration"]["groupingConfiguration"], "lookbackDuration": "P1D"}
    return {
        "type": "Microsoft.OperationalInsights/workspaces/providers/alertRules",
        "name": f"[concat(parameters('workspace'), '/Microsoft.SecurityInsights/{rule['id']}')]",
        "apiVersion": API,
        "kind": "Scheduled",
        "location": "[parameters('location')]",
        "properties": {
            "displayName": rule["name"],
            "description": rule["description"],
            "severity": rule["severity"],
            "enabled": True,
            "query": rule["query"],
            "queryFrequency": f"PT{rule['queryFrequency'].upper()}",
            "queryPeriod": f"PT{rule['queryPeriod'].upper()}",
            "triggerOperator": "GreaterThan",
            "triggerThreshold": rule["triggerThreshold"],
            "suppressionDuration": "PT5H",
            "suppressionEnabled": False,
            "tactics": rule["tactics"],
            "techniques": rule["relevantTechniques"],
            "entityMappings": rule["entityMappings"],
            "customDetails": rule["customDetails"],
            "alertDetailsOverride": rule["alertDetailsOverride"],
            "eventGroupingSettings": rule["eventGroupingSettings"],
            "incidentConfiguration": {"createIncident": True, "groupingConfiguration": grouping},
        },
    }


def _watchlist(table: str) -> dict[str, Any]:
    return {
        "type": "Microsoft.OperationalInsights/workspaces/providers/watchlists",
        "name": f"[concat(parameters('workspace'), '/Microsoft.SecurityInsights/{ALIAS}')]",
        "apiVersion": API,
        "properties": {
            "watchlistId": str(stable_id("sentinel", "watchlist")),
            "displayName": "imdswatch: this network",
            "watchlistAlias": ALIAS,
            "provider": "imdswatch",
            "source": f"{ALIAS}.csv",
            "sourceType": "Local file",
            "itemsSearchKey": "List",
            "contentType": "text/csv",
            "numberOfLinesToSkip": 0,
            "rawContent": table,
        },
    }


def _template(resources: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "workspace": {
                "type": "string",
                "metadata": {"description": "Name of the Log Analytics workspace with Sentinel"},
            },
            "location": {"type": "string", "defaultValue": "[resourceGroup().location]"},
        },
        "resources": resources,
    }


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and everything in the order given."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write repeated values again: anchors are hard to read."""
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _block)


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _readme(content: Content, mutes: bool) -> str:
    install = _INSTALL if mutes else _INSTALL.partition("- The site")[0]
    return readme(
        content,
        install=install,
        tune=_TUNE if mutes else EXPORT_AGAIN,
        remove=f", and the watchlist `{ALIAS}`" if mutes else "",
    )


_INSTALL = f"""\
- Rules: `az deployment group create -g GROUP --template-file arm/asim.json --parameters workspace=WORKSPACE` (likewise
  the other templates of `arm/`), or paste a query of `analytics-rules/`.
- The site, before the rules, as they read it: deploy `watchlist/{ALIAS}.json` the same way, or upload
  `watchlist/{ALIAS}.csv` as a watchlist with the alias `{ALIAS}` and the search key `List`.
"""
_TUNE = f"""\
Values (networks, VLANs, responders, end dates) are changed in the watchlist `{ALIAS}` and hold at once; a new
`[[suppress]]` entry, or a key that an entry did not have, needs a new export. An empty or missing watchlist mutes
nothing, and an empty `{ON_PREMISES}` list means everywhere. Rules from stage `answered` on are muted only by entries
with `responders`."""
