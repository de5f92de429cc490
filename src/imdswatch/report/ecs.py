"""Elastic Common Schema 9.4.0, one JSON document a line, ready for the bulk interface of Elasticsearch or a shipper.

Source: https://www.elastic.co/docs/reference/ecs. docs/formats.md says where each member of `imdswatch/1` goes,
docs/decisions/0028 why. In short:

- A finding is `event.kind: alert`; a suppressed one, where it is shown, is `event` and tagged `suppressed`.
- What could not be looked at is `pipeline_error`; a verdict of `probe`, and what audit, harden and lab say, is `state`,
  with `event.outcome` for how it stands; the summary, last of all, is
  `metric`: a file without it was cut short.
- Fields of ECS hold only values of their type (`typed`), since Elasticsearch refuses a document for one that does not
  fit. `imdswatch.*`, the one field set that is no ECS, holds the exact values as `imdswatch/1` has them; map it as
  `flattened`.
- `@timestamp` is when it was last seen; where no record had a time, the time of writing, and there is no `event.end`.

Lines come in the order of the results; nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TextIO

import orjson

from imdswatch import __version__
from imdswatch.finding import SEVERITY_RANK, Finding, Skipped, Summary
from imdswatch.report import attack, clock, escape, ndjson, typed
from imdswatch.report.statement import Statement, said
from imdswatch.verdict import Verdict

VERSION = "9.4.0"

_OWN = (
    "stage", "severity", "confidence", "count", "cause", "rules", "victim", "responder", "responders", "request",
    "account", "evidence", "suppressed_by", "remedy", "fingerprint", "verdict", "reasons",
)  # fmt: skip
_SEVERITIES = (1, 21, 47, 73, 99)
"""Kibana's numbers for low to critical (its detection engine's default mapping), and 1 for informational."""
_OUTCOMES = {"pass": "success", "fail": "failure", "warning": "success", "unknown": "unknown"}
_LONGEST = 1024
"""`ignore_above` of ECS keywords: what is longer is not indexed, so it stands in `imdswatch.*` only."""


class Sink:
    """Writes a line as soon as it is given a result."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write nothing yet."""
        self._handle, self._show_suppressed = handle, show_suppressed

    def finding(self, finding: Finding) -> None:
        """Write a finding; a suppressed one only if suppressed findings are shown."""
        if finding.suppressed_by is None or self._show_suppressed:
            self._write(finding_document(finding))

    def skipped(self, skipped: Skipped) -> None:
        """Write what could not be looked at."""
        reason = typed.text(skipped.reason) or "unknown"
        document = _document(
            "pipeline_error", "skipped", f"could not look at {skipped.source}: {skipped.reason}"
        )
        error = {"message": reason, "type": "skipped"}
        path = _keyword(skipped.source)
        self._write(
            document
            | {"error": error, "imdswatch": _payload(ndjson.skipped_document(skipped))}
            | ({"log": {"file": {"path": path}}} if path else {})
        )

    def verdict(self, verdict: Verdict) -> None:
        """Write what stands at one endpoint; an impostor's finding says the rest."""
        document = _document("state", "verdict", f"{verdict.endpoint}: {verdict.verdict}")
        self._write(document | {"imdswatch": _payload(ndjson.verdict_document(verdict))})

    def statement(self, statement: Statement) -> None:
        """Write what audit, harden or lab say of one thing."""
        told = said(statement)
        what = " ".join(filter(None, (told.about, told.state)))
        document = _document("state", statement.kind, f"{what}: {told.why}" if told.why else what)
        document["event"] |= typed.without_empty(
            {
                "category": ["configuration"],
                "type": ["change"] if told.state in ("applied", "reverted") else ["info"],
                "action": _keyword(told.state),
                "outcome": _OUTCOMES.get(told.result),
                "reason": _keyword(told.why),
            }
        )
        host = _texts(name=statement.host, hostname=statement.host)
        self._write(
            document
            | typed.without_empty({"host": host, "related": {"hosts": [host["name"]]} if host else {}})
            | {"imdswatch": _payload(ndjson.known(statement.values))}
        )

    def close(self, summary: Summary) -> None:
        """Write what was looked at."""
        message = f"looked at {summary.sources} sources, {summary.records} records"
        self._write(
            _document("metric", "summary", message)
            | {"imdswatch": _payload(ndjson.summary_document(summary))}
        )

    def _write(self, document: Mapping[str, object]) -> None:
        self._handle.write(escape.json_line(orjson.dumps(document).decode()) + "\n")


def finding_document(finding: Finding) -> dict[str, Any]:
    """Return one finding as an ECS document: plain JSON values."""
    exact = ndjson.finding_document(finding)
    suppressed = finding.suppressed_by is not None
    victim, responder, request = finding.victim, finding.responder, finding.request
    source, destination = _side(victim), _side(typed.asked(responder, request))
    who = source.get("address") or source.get("mac") or "unknown host"
    document = _document("event" if suppressed else "alert", "finding", f"{finding.title}: {who}")
    seen = clock.iso(finding.last_seen)
    document["@timestamp"] = seen or document["@timestamp"]
    document["event"] |= typed.without_empty(
        {
            # `info` is the one type that ECS expects in each of these categories.
            "category": ["intrusion_detection", "network", *(["web"] if request else [])],
            "type": ["info"],
            "action": _keyword(finding.stage),
            "severity": _SEVERITIES[SEVERITY_RANK[finding.severity]],
            "start": clock.iso(finding.first_seen),
            "end": seen,
        }
    )
    document |= typed.without_empty(
        {
            "tags": ["suppressed"] if suppressed else None,
            "rule": _texts(id=finding.rule, name=finding.title, ruleset="imdswatch"),
            "threat": _threat(finding.attack),
            "source": source,
            "destination": destination,
            "network": _network(finding),
            "http": _http(request),
            "url": _url(request),
            "user_agent": _texts(original=victim.get("user_agent")),
            "process": _process(victim.get("process")),
            "cloud": _cloud(finding.account),
            "related": _related(finding),
            "imdswatch": {name: exact[name] for name in _OWN if exact.get(name) is not None},
        }
    )
    return document


def _document(kind: str, dataset: str, message: str) -> dict[str, Any]:
    now = clock.iso(clock.now())
    return {
        "@timestamp": now,
        "ecs": {"version": VERSION},
        "message": escape.encodable(message),
        "event": {
            "kind": kind,
            "module": "imdswatch",
            "provider": "imdswatch",
            "dataset": f"imdswatch.{dataset}",
            "created": now,
        },
        "observer": {"product": "imdswatch", "vendor": "imdswatch", "version": __version__, "type": "ids"},
    }


def _payload(document: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in document.items() if name not in ("format", "type")}


def _keyword(value: object) -> str | None:
    known = typed.text(value)
    return known if known and len(known) <= _LONGEST else None


def _texts(**values: object) -> dict[str, str]:
    return {name: text for name, value in values.items() if (text := _keyword(value))}


def _side(values: Mapping[str, object]) -> dict[str, Any]:
    """Return one end of the exchange; MAC addresses as ECS spells them (RFC 7042: capitals and hyphens)."""
    address, host = typed.ip(values.get("ip")), _keyword(values.get("host"))
    mac, nat = typed.mac(values.get("mac")), typed.ip(values.get("nat_ip"))
    return typed.without_empty(
        {
            "address": address or _keyword(values.get("ip")) or host,
            "ip": address,
            "mac": mac.upper().replace(":", "-") if mac else None,
            "port": typed.port(values.get("port")),
            "domain": host,
            "nat": {"ip": nat} if nat else None,
        }
    )


def _network(finding: Finding) -> dict[str, Any]:
    tags = finding.victim.get("vlan")
    outer = tags[0] if isinstance(tags, list | tuple) and tags else tags
    address = typed.ip(finding.victim.get("ip")) or typed.ip(finding.responder.get("ip"))
    return typed.without_empty(
        {
            "vlan": {"id": str(outer)} if typed.integer(outer) is not None else None,
            "type": None if address is None else "ipv6" if ":" in address else "ipv4",
            "protocol": "http" if finding.request else None,
        }
    )


def _http(request: Mapping[str, object]) -> dict[str, Any]:
    return typed.without_empty(
        {
            "request": _texts(method=request.get("method")),
            "response": typed.without_empty({"status_code": typed.integer(request.get("status"), 999)}),
        }
    )


def _url(request: Mapping[str, object]) -> dict[str, str]:
    path, mark, query = (_keyword(request.get("path")) or "").partition("?")
    return _texts(domain=request.get("host"), path=path, query=query, original=f"{path}{mark}{query}")


def _process(value: object) -> dict[str, str]:
    known = _keyword(value) or ""
    where = {"executable": known} if "/" in known or "\\" in known else {}
    return where | _texts(name=known.replace("\\", "/").rpartition("/")[2])


def _cloud(account: Mapping[str, object]) -> dict[str, Any]:
    id = _keyword(account.get("id"))
    return {"provider": "aws", "account": {"id": id}} if id else {}


def _threat(ids: tuple[str, ...]) -> dict[str, Any]:
    techniques, tactics = attack.techniques(ids), attack.tactics(ids)
    if not techniques:
        return {}
    above = dict.fromkeys((t.parent, t.parent_name) if t.parent else (t.id, t.name) for t in techniques)
    below = [(technique.id, technique.name) for technique in techniques if technique.parent]
    technique = _ids_and_names(above) | typed.without_empty({"subtechnique": _ids_and_names(below)})
    return typed.without_empty(
        {"framework": "MITRE ATT&CK", "tactic": _ids_and_names(tactics), "technique": technique}
    )


def _ids_and_names(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    pairs = list(pairs)
    ids = [id for one, _ in pairs if (id := _keyword(one))]
    return typed.without_empty({"id": ids, "name": [name for _, name in pairs if name]})


def _related(finding: Finding) -> dict[str, list[str]]:
    everybody = (finding.victim, finding.responder, *finding.responders)
    everybody = (*everybody, typed.asked(finding.responder, finding.request))
    addresses = [typed.ip(who.get(key)) for who in everybody for key in ("ip", "nat_ip", "gateway")]
    hosts = [_keyword(name) for name in (finding.victim.get("host"), finding.request.get("host"))]
    return typed.without_empty(
        {
            "ip": list(dict.fromkeys(filter(None, addresses))),
            "hosts": list(dict.fromkeys(filter(None, hosts))),
        }
    )
