"""Splunk: an app with correlation searches, the site as lookup and macros, and a page that says how.

Sources: Splunk Admin Manual (app.conf, savedsearches.conf, macros.conf, transforms.conf, props.conf, default.meta);
keys of Enterprise Security as splunk/contentctl writes them into `savedsearches.conf`. Pure: the same content gives
the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from imdswatch.siem import triage
from imdswatch.siem.content import Content, Query
from imdswatch.siem.kusto import RUNS
from imdswatch.siem.readme import EXPORT_AGAIN, readme
from imdswatch.siem.spl import SplBackend
from imdswatch.siem.splunk_site import LOOKUP, MACROS, as_csv, reading_lookup
from imdswatch.site import ON_PREMISES

LANGUAGES = {"spl": SplBackend}

Stanza = Mapping[str, str]
"""Keys and values of one stanza; a value may have several lines."""

_QUIET = {"attempted": "24h", "requested": "4h"}
"""How long a pair of source and destination stays quiet after an alert; later stages one hour."""
_RISK = {"informational": 10, "low": 20, "medium": 40, "high": 70, "critical": 90}
_HEADER = "imdswatch_token_header"


def tree(content: Content) -> Mapping[str, str]:
    """Return the files of the app."""
    site = content.request.site
    mutes = not site.mutes_nothing
    usual = {SplBackend.usual_schema} if len({query.schema for query in content.queries}) > 1 else None
    searches = {
        _name(query): _search(query, mutes, usual is None or query.schema in usual)
        for query in content.queries
    }
    files = {
        "default/app.conf": _conf(_APP),
        "default/savedsearches.conf": _conf(searches),
        "default/macros.conf": _conf(_macros(mutes)),
        "default/props.conf": _conf(_PROPS),
        "default/transforms.conf": _conf({**_TRANSFORMS, **({LOOKUP: _LOOKUP} if mutes else {})}),
        "metadata/default.meta": _conf(
            {"": {"access": "read : [ * ], write : [ admin, sc_admin ]", "export": "system"}}
        ),
    }
    if mutes:
        files[f"lookups/{LOOKUP}.csv"] = as_csv(site)
    files["README.md"] = readme(
        content,
        enabled=", ".join(
            f"`{name}`" for name in sorted(usual or {query.schema for query in content.queries})
        ),
        tune=_TUNE if mutes else EXPORT_AGAIN,
    )
    return files


_APP: Mapping[str, Stanza] = {
    "install": {"is_configured": "1"},
    "package": {"id": "imdswatch", "check_for_updates": "0"},
    "ui": {"is_visible": "0", "label": "imdswatch: IMDS impersonation"},
    "launcher": {
        "author": "imdswatch",
        "description": "Correlation searches against IMDS impersonation (AWS-2025-021)",
        "version": "1.0.0",
    },
}
_PROPS: Mapping[str, Stanza] = {
    # JSON extraction stops after some thousand characters of an event; the name of one header must not hang on it.
    "bro:http:json": {f"REPORT-{_HEADER}": _HEADER},
    "suricata": {f"REPORT-{_HEADER}": _HEADER},
}
_TRANSFORMS: Mapping[str, Stanza] = {
    _HEADER: {
        "REGEX": '(?i)"(x-aws-ec2-metadata-token(?:-ttl-seconds)?)"',
        "FORMAT": f"{_HEADER}::$1",
        "MV_ADD": "true",
    },
}
_LOOKUP: Stanza = {
    "filename": f"{LOOKUP}.csv",
    "match_type": "CIDR(value)",
    "max_matches": "100",
    "case_sensitive_match": "false",
}


def _macros(mutes: bool) -> Mapping[str, Stanza]:
    out: dict[str, Stanza] = {"imdswatch_indexes": {"definition": "index=*", "iseval": "0"}}
    for name, (arguments, definition) in MACROS.items():
        if mutes or not arguments:
            args = {"args": arguments} if arguments else {}
            out[name] = {**args, "definition": definition, "iseval": "0"}
    return out


def _name(query: Query) -> str:
    part = f" {query.part}" if query.part else ""
    return f"IMDS - {query.rule.slug} - {query.schema}{part} - Rule"


def _search(query: Query, mutes: bool, enabled: bool) -> Stanza:
    """Return a correlation search: schedule, look-back that overlaps it, suppression, and the keys of ES."""
    rule = query.rule
    every, back = RUNS[rule.stage]
    back += query.plan.within // 60
    offset = query.id.int % min(every, 60)
    severity = rule.level
    say = f"{rule.title}: $src$ asked $dest$" if not query.plan.within else f"{rule.title}: $src$"
    risk = [
        {"risk_object_field": field, "risk_object_type": "system", "risk_score": _RISK[rule.level]}
        for field in (("src",) if query.plan.within else ("src", "dest"))
    ]
    drill = {
        "name": "All events of $src$ around the alert",
        "search": f'{query.source.naming.table if "=" in query.source.naming.table else ""} "$src$"',
        "earliest_offset": "3600",
        "latest_offset": "3600",
    }
    return {
        "search": reading_lookup(query),
        "description": _plain(triage.guide(query)),
        "disabled": "0" if enabled else "1",
        "enableSched": "1",
        "cron_schedule": f"{offset} * * * *" if every == 60 else f"{offset}-59/{every} * * * *",
        "dispatch.earliest_time": f"-{back}m@m",
        "dispatch.latest_time": "now",
        "schedule_window": "auto",
        "allow_skew": "10%",
        "realtime_schedule": "0",
        "counttype": "number of events",
        "relation": "greater than",
        "quantity": "0",
        "is_visible": "0",
        "alert.track": "1",
        "alert.digest_mode": "1",
        "alert.severity": str(
            {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}[severity]
        ),
        "alert.suppress": "1",
        "alert.suppress.fields": "src" if query.plan.within else "src,dest",
        "alert.suppress.period": _QUIET.get(rule.stage, "1h"),
        "action.correlationsearch.enabled": "1",
        "action.correlationsearch.label": _name(query),
        "action.correlationsearch.annotations": _json({"mitre_attack": list(rule.attack)}),
        "action.notable": "1",
        "action.notable.param.rule_title": say,
        "action.notable.param.rule_description": f"{triage.summary(rule)} Next: {' '.join(rule.remedy.split())}",
        "action.notable.param.security_domain": "network",
        "action.notable.param.severity": severity,
        "action.notable.param.nes_fields": "src" if query.plan.within else "src,dest",
        "action.notable.param.drilldown_searches": _json([drill]),
        "action.risk": "1",
        "action.risk.param._risk": _json(risk),
        "action.risk.param._risk_message": say,
        "action.risk.param._risk_score": "0",
        "action.risk.param.verbose": "0",
    }


def _plain(guide: str) -> str:
    """Return a guide without marks of headings: a line of a conf file that begins with `#` may be read as a comment."""
    return re.sub(r"(?m)^#+ (.*)$", lambda found: f"{found[1]}:", guide)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _conf(stanzas: Mapping[str, Stanza]) -> str:
    r"""Return a conf file; a line that goes on ends with a backslash (Admin Manual, "Editing a configuration file")."""
    out: list[str] = []
    for name, keys in stanzas.items():
        out.append(f"[{name}]")
        out += [f"{key} = {_value(value)}" for key, value in keys.items()]
        out.append("")
    return "\n".join(out)


def _value(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines()]
    return "\\\n".join(line if not line.endswith("\\") else f"{line} " for line in lines)


_TUNE = f"""\
Values (networks, VLANs, responders, end dates) are rows of the lookup `{LOOKUP}` and hold from the next run on: edit
`lookups/{LOOKUP}.csv`, or use the Lookup Editor. A new `[[suppress]]` entry, or a key that an entry did not have,
needs a new export. Keep the row `none` of each list: with no other row a list mutes nothing, and an empty
`{ON_PREMISES}` list means everywhere. Rules from stage `answered` on are muted only by entries with `responders`."""
