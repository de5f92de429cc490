"""OCSF 1.6.0, one JSON object a line: findings as Detection Finding (class 2004), the run as Scan Activity (6007).

Source: https://schema.ocsf.io/1.6.0/classes/detection_finding and .../scan_activity. docs/formats.md says where each
member of `imdswatch/1` goes, docs/decisions/0028 why. In short:

- A suppressed finding, where it is shown, has status Suppressed and is no alert.
- What could not be looked at is a Scan Activity with activity Error and status Failure; what a run went through is the
  Scan Activity Completed at the end, so a file without it was cut short. A verdict of `probe` is a Completed one, too.
- What audit, harden and lab judge is a Compliance Finding (class 2003); the rest of what they say a Scan Activity.
- Typed fields hold only values of their type (`typed`); `unmapped` holds the exact ones as `imdswatch/1` has them.
- `time` is when it was last seen. Where no record had a time it is the time of writing, as OCSF has it ("or the finding
  creation time"), and `finding_info` then names no time.

Lines come in the order of the results; nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import orjson

from imdswatch import __version__
from imdswatch.finding import CONFIDENCE_RANK, SEVERITY_RANK, Evidence, Finding, Skipped, Summary
from imdswatch.report import attack, clock, escape, ndjson, typed
from imdswatch.report.ocsf_compliance import compliance_finding
from imdswatch.report.statement import Statement, said
from imdswatch.verdict import Verdict

VERSION = "1.6.0"

_UNMAPPED = (
    "stage", "cause", "rules", "victim", "responder", "responders", "request", "account", "verdict", "reasons",
)  # fmt: skip
_METHODS = frozenset(("OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH"))
_IP, _MAC, _HOSTNAME, _PROCESS, _AGENT, _ACCOUNT, _CREDENTIAL = 2, 3, 1, 9, 16, 35, 19
_SCAN_COMPLETED, _SCAN_ERROR = 2, 6


class Sink:
    """Writes a line as soon as it is given a result."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing yet."""
        self._handle, self._show_suppressed = handle, show_suppressed

    def finding(self, finding: Finding) -> None:
        """Write a finding; a suppressed one only if suppressed findings are shown."""
        if finding.suppressed_by is None or self._show_suppressed:
            self._write(detection_finding(finding))

    def skipped(self, skipped: Skipped) -> None:
        """Write what could not be looked at."""
        document = ndjson.skipped_document(skipped)
        where = ", ".join(part for part in (skipped.source, skipped.position) if part)
        self._write(
            _scan(_SCAN_ERROR, severity=3)
            | {
                "status_id": 2,
                "status": "Failure",
                "status_detail": document.get("reason", "unknown"),
                "message": escape.encodable(f"could not look at {where}: {skipped.reason}"),
                "num_skipped_items": 1,
                "unmapped": document,
            }
        )

    def verdict(self, verdict: Verdict) -> None:
        """Write what stands at one endpoint; an impostor's finding says the rest."""
        self._write(
            _scan(_SCAN_COMPLETED)
            | {
                "status_id": 1,
                "status": "Success",
                "num_detections": int(verdict.verdict == "impostor"),
                "message": escape.encodable(f"{verdict.endpoint}: {verdict.verdict}"),
                "unmapped": ndjson.verdict_document(verdict),
            }
        )

    def statement(self, statement: Statement) -> None:
        """Write what audit, harden or lab say of one thing."""
        told = said(statement)
        if told.result:
            self._write(compliance_finding(statement, told, _metadata(cloud=False)))
            return
        self._write(
            _scan(_SCAN_COMPLETED)
            | {
                "status_id": 1,
                "status": "Success",
                "message": escape.encodable(f"{told.about}: {told.why}"),
                "unmapped": ndjson.known(statement.values),
            }
        )

    def close(self, summary: Summary) -> None:
        """Write what was looked at."""
        document = ndjson.summary_document(summary)
        seconds: Any = document.get("seconds", 0)
        self._write(
            _scan(_SCAN_COMPLETED)
            | {
                "status_id": 1,
                "status": "Success",
                "duration": typed.integer(round(seconds * 1000)) or 0,
                "message": f"looked at {summary.sources} sources, {summary.records} records",
                "num_detections": typed.integer(summary.findings) or 0,
                "num_files": typed.integer(summary.sources) or 0,
                "num_skipped_items": typed.integer(summary.skipped) or 0,
                "num_trusted_items": typed.integer(summary.suppressed) or 0,
                "unmapped": document,
            }
        )

    def _write(self, document: Mapping[str, object]) -> None:
        self._handle.write(escape.json_line(orjson.dumps(document).decode()) + "\n")


def detection_finding(finding: Finding) -> dict[str, Any]:
    """Return one finding as a Detection Finding: plain JSON values that validate against VERSION."""
    exact = ndjson.finding_document(finding)
    suppressed = finding.suppressed_by is not None
    source, answerer = _source(finding), _answerer(finding)
    seen = typed.milliseconds(finding.last_seen)
    document = {
        "activity_id": 1,
        "activity_name": "Create",
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "type_uid": 200401,
        "severity_id": SEVERITY_RANK[finding.severity] + 1,
        "severity": finding.severity.capitalize(),
        "confidence_id": CONFIDENCE_RANK[finding.confidence] + 1,
        "confidence": finding.confidence.capitalize(),
        "status_id": 3 if suppressed else 1,
        "status": "Suppressed" if suppressed else "New",
        "status_detail": f"suppressed by {escape.encodable(finding.suppressed_by or '')}"
        if suppressed
        else None,
        "is_alert": not suppressed,
        "time": typed.milliseconds(clock.now()) if seen is None else seen,
        "start_time": typed.milliseconds(finding.first_seen),
        "end_time": seen,
        "count": typed.integer(finding.count, (1 << 31) - 1),
        "message": _message(finding),
        "metadata": _metadata(bool(finding.account)),
        "finding_info": _information(finding),
        "evidences": [*_exchange(finding, source, answerer), *map(_place, finding.evidence)],
        "observables": list(_observables(finding, source, answerer)),
        "resources": [_resource(source)] if source else None,
        "remediation": {"desc": exact["remedy"]} if finding.remedy else None,
        "cloud": _cloud(finding.account) if finding.account else None,
        "unmapped": {name: exact[name] for name in _UNMAPPED if name in exact},
    }
    return typed.without_empty(document)


def _scan(activity: int, severity: int = 1) -> dict[str, Any]:
    return {
        "activity_id": activity,
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": 6007,
        "class_name": "Scan Activity",
        "type_uid": 600700 + activity,
        "severity_id": severity,
        "time": typed.milliseconds(clock.now()),
        "metadata": _metadata(cloud=False),
        "scan": {"name": "imdswatch", "type_id": 1},
    }


def _metadata(cloud: bool) -> dict[str, Any]:
    product = {"name": "imdswatch", "vendor_name": "imdswatch", "version": __version__}
    return {"version": VERSION, "product": product} | ({"profiles": ["cloud"]} if cloud else {})


def _message(finding: Finding) -> str:
    who = (
        finding.victim.get("ip") or finding.victim.get("host") or finding.victim.get("mac") or "unknown host"
    )
    return escape.encodable(f"{finding.title}: {who}")


def _information(finding: Finding) -> dict[str, Any]:
    others = [rule for rule in finding.rules if rule and rule != finding.rule]
    information = {
        "uid": typed.text(finding.fingerprint) or "unknown",
        "title": typed.text(finding.title),
        "types": [part for part in map(typed.text, (finding.stage, finding.cause)) if part],
        "first_seen_time": typed.milliseconds(finding.first_seen),
        "last_seen_time": typed.milliseconds(finding.last_seen),
        "analytic": _analytic(finding.rule) if finding.rule else None,
        "related_analytics": [_analytic(rule) for rule in others],
        "attacks": list(_attacks(finding.attack)),
        "data_sources": list(
            dict.fromkeys(filter(None, (typed.text(one.source) for one in finding.evidence)))
        ),
    }
    return typed.without_empty(information)


def _analytic(rule: str) -> dict[str, Any]:
    return {"uid": escape.encodable(rule), "name": escape.encodable(rule), "type_id": 1, "type": "Rule"}


def _attacks(ids: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield an attack for each technique and tactic: OCSF has one tactic in each since 1.1."""
    for technique in attack.techniques(map(escape.encodable, ids)):
        named = typed.without_empty({"uid": technique.id, "name": technique.name})
        what = {"technique": named}
        if technique.parent:
            above = typed.without_empty({"uid": technique.parent, "name": technique.parent_name})
            what = {"technique": above, "sub_technique": named}
        for tactic in technique.tactics or (None,):
            found = {"tactic": {"uid": tactic.id, "name": tactic.name}} if tactic else {}
            yield what | found | {"version": attack.version()}


def _endpoint(values: Mapping[str, object]) -> dict[str, Any]:
    """Return what identifies a machine; empty where nothing does, since an endpoint without a name is invalid."""
    address, mac = typed.ip(values.get("ip")), typed.mac(values.get("mac"))
    name = typed.text(values.get("host"))
    if address is None:
        name = name or typed.text(values.get("ip"))
    who = typed.without_empty({"ip": address, "hostname": name, "mac": mac})
    if mac and not (address or name):
        who["uid"] = mac
    return who


def _source(finding: Finding) -> dict[str, Any]:
    who = _endpoint(finding.victim)
    tags = finding.victim.get("vlan")
    tag = tags[0] if isinstance(tags, list | tuple) and tags else tags
    rest = {
        "port": typed.port(finding.victim.get("port")),
        "vlan_uid": None if typed.integer(tag) is None else str(tag),
    }
    return who | typed.without_empty(rest) if who else {}


def _answerer(finding: Finding) -> dict[str, Any]:
    other = typed.asked(finding.responder, finding.request)
    who = typed.without_empty(_endpoint(other) | {"port": typed.port(other.get("port"))})
    if "port" in who and len(who) == 1:
        return {}
    nat = typed.ip(finding.responder.get("nat_ip"))
    # OCSF on proxy_endpoint: "information pertaining to network address translation (NAT)".
    return who | ({"proxy_endpoint": {"ip": nat}} if nat else {}) if who else {}


def _exchange(
    finding: Finding, source: Mapping[str, Any], answerer: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield who spoke with whom, and what was asked, if anything of that is known."""
    request, agent = finding.request, typed.text(finding.victim.get("user_agent"))
    method, path = typed.text(request.get("method")), typed.text(request.get("path"))
    url = typed.without_empty({"path": path, "hostname": typed.text(request.get("host"))}) if path else None
    status = typed.integer(request.get("status"), 999)
    process = typed.text(finding.victim.get("process"))
    exchange = {
        "src_endpoint": source,
        "dst_endpoint": answerer,
        "http_request": typed.without_empty(
            {"http_method": method if method in _METHODS else None, "url": url, "user_agent": agent}
        ),
        "http_response": {"code": status} if status is not None else None,
        "actor": {"app_name": process} if process else None,  # a `process` would need its pid
    }
    if source or answerer or process:
        yield typed.without_empty(exchange)


def _place(evidence: Evidence) -> dict[str, Any]:
    values = {"source": evidence.source, "position": evidence.position, "excerpt": evidence.excerpt}
    data = {name: escape.encodable(value) for name, value in values.items() if value}
    name = ", ".join(data[key] for key in ("source", "position") if key in data)
    return typed.without_empty({"name": name}) | {"data": data}


def _resource(source: Mapping[str, Any]) -> dict[str, Any]:
    name = source.get("hostname") or source.get("ip") or source.get("uid")
    known = {key: source[key] for key in ("hostname", "ip") if key in source}
    return {"name": name, "type": "Host", "role_id": 3, "role": "Affected"} | known


def _cloud(account: Mapping[str, object]) -> dict[str, Any]:
    uid, role = typed.text(account.get("id")), typed.text(account.get("role"))
    if not uid:
        return {"provider": "AWS"}
    labels = {"labels": [f"role:{role}"]} if role else {}
    return {"provider": "AWS", "account": {"uid": uid, "type_id": 10, "type": "AWS Account"} | labels}


def _observables(
    finding: Finding, source: Mapping[str, Any], answerer: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield what a search starts from, each with the attribute it stands in."""
    exchange = "evidences[0]"
    for side, who in (("src_endpoint", source), ("dst_endpoint", answerer)):
        for key, kind in (("ip", _IP), ("mac", _MAC), ("hostname", _HOSTNAME)):
            if key in who:
                yield {"name": f"{exchange}.{side}.{key}", "type_id": kind, "value": who[key]}
    if "proxy_endpoint" in answerer:
        value = answerer["proxy_endpoint"]["ip"]
        yield {"name": f"{exchange}.dst_endpoint.proxy_endpoint.ip", "type_id": _IP, "value": value}
    rest = (
        (f"{exchange}.actor.app_name", _PROCESS, finding.victim.get("process")),
        (f"{exchange}.http_request.user_agent", _AGENT, finding.victim.get("user_agent")),
        ("cloud.account.uid", _ACCOUNT, finding.account.get("id")),
        ("unmapped.account.access_key_id", _CREDENTIAL, finding.account.get("access_key_id")),
    )
    for name, kind, value in rest:
        if known := typed.text(value):
            yield {"name": name, "type_id": kind, "value": known}
