"""From a judgement to what people read: the verdict with who answered and what to do, a Finding, or a Skipped.

Pure. An impostor is a finding, and so is a genuine service whose account the site does not list; what could not be
told is skipped. Texts are redacted where reasons are made and where documents are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from imdswatch import address, vendor
from imdswatch.finding import STAGE_RANK, Evidence, Finding, Skipped, fingerprint
from imdswatch.probe.ask import Answers
from imdswatch.probe.judge import Judgement
from imdswatch.probe.link import Link
from imdswatch.probe.machine import Machine
from imdswatch.probe.questions import ROLE, TOKEN, questionnaire
from imdswatch.redact import redact
from imdswatch.rule import Rule
from imdswatch.site import Site
from imdswatch.verdict import Verdict

_SEVERITY = {"answered": "high", "credentials-served": "critical"}
_SHOWN_AS_EVIDENCE = (ROLE, "roles", "document", "profile", "instance-id", TOKEN)
_MOST_EVIDENCE = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """All that is known of one target: what it said, how it is reached, and how that was judged."""

    answers: Answers
    link: Link
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one target comes to."""

    verdict: Verdict
    finding: Finding | None = None
    skipped: Skipped | None = None


def outcome(asked: Asked, machine: Machine, rules: Sequence[Rule], site: Site, when: float) -> Outcome:
    """Return what people read of one target; `when` it was asked, in seconds since 1970."""
    verdict = _verdict(asked)
    finding = skipped = None
    if verdict.verdict == "impostor" or (
        verdict.verdict == "genuine" and asked.judgement.has("account-unexpected")
    ):
        finding = _finding(asked, verdict, machine, {rule.slug: rule for rule in rules}, site, when)
    elif verdict.verdict == "undecided" or asked.judgement.has("incomplete"):
        why = "; ".join(reason.text for reason in verdict.reasons if reason.speaks_for == "undecided")
        skipped = Skipped(
            verdict.endpoint, verdict.interface, f"{verdict.verdict}: {why or 'the reasons balance'}"
        )
    return Outcome(verdict, finding, skipped)


def _verdict(asked: Asked) -> Verdict:
    judgement, link = asked.judgement, asked.link
    heard = asked.answers.peer is not None or judgement.has("neighbour-claims")
    responder = _responder(asked) if heard and judgement.verdict != "absent" else {}
    key = judgement.verdict
    if key == "genuine" and judgement.has("account-unexpected"):
        key = "unexpected"
    if key == "impostor" and link.is_local:
        key = "impostor-here"
    return Verdict(
        endpoint=asked.answers.target.name,
        interface=asked.answers.target.interface or "",
        verdict=judgement.verdict,
        reasons=judgement.reasons,
        cloud=judgement.cloud,
        responder=responder,
        account=judgement.account,
        advice=_advice().get(key, "").format(who=_who(responder, link)),
        notes=link.notes,
    )


@cache
def _advice() -> Mapping[str, str]:
    text = files("imdswatch").joinpath("data/imds/advice.yml").read_text(encoding="utf-8")
    advice: dict[str, str] = yaml.safe_load(text)
    return advice


def _responder(asked: Asked) -> dict[str, object]:
    link = asked.link
    mac = link.heard_mac or link.mac
    peer = asked.answers.peer or asked.answers.target.host
    return {
        name: value
        for name, value in (
            ("ip", peer),
            ("mac", mac),
            ("ttl", link.ttl),
            ("vendor", vendor.of(mac) if mac else None),
            ("gateway", link.gateway),
        )
        if value not in (None, "")
    }


def _who(responder: Mapping[str, object], link: Link) -> str:
    parts = [
        f"{name} {responder[key]}"
        for name, key in (("address", "ip"), ("MAC", "mac"), ("made by", "vendor"), ("next hop", "gateway"))
        if key in responder
    ]
    if link.interface:
        parts.append(f"on {link.interface}" + (f", VLAN {link.vlan}" if link.vlan is not None else ""))
    return ", ".join(parts) or "unknown"


def _finding(
    asked: Asked, verdict: Verdict, machine: Machine, rules: Mapping[str, Rule], site: Site, when: float
) -> Finding:
    answers, link = asked.answers, asked.link
    served = asked.judgement.has("serves-credentials")
    slugs = ["imds-answered"]
    if served:
        slugs.append("imds-credentials-served")
    if asked.judgement.has("account-unexpected") and (served or verdict.verdict == "genuine"):
        slugs.append("imds-unexpected-account")
    rule = rules[slugs[-1]]
    local = answers.local or link.source
    victim: dict[str, object] = {}
    if address.names_a_host(local or None):
        victim["ip"] = local
    if link.vlan is not None:
        victim["vlan"] = [link.vlan]
    if machine.host:
        victim["host"] = machine.host
    mac = verdict.responder.get("mac")
    fields = {
        "src_ip": victim.get("ip"),
        "dst_ip": answers.peer,
        "dst_mac": mac,
        "host": answers.target.host,
        "vlan": victim.get("vlan") or [],
    }
    return Finding(
        rule=rule.slug,
        rules=dict.fromkeys(slugs, 1),
        title=rule.title,
        stage=rule.stage,
        severity=_SEVERITY[rule.stage],
        confidence="high",
        first_seen=when,
        last_seen=when,
        count=1,
        victim=victim,
        responder=verdict.responder,
        responders=(),
        request=_request(answers),
        account=verdict.account,
        evidence=_evidence(answers),
        cause="impersonation" if verdict.verdict == "impostor" else "unknown",
        attack=tuple(rule.attack),
        suppressed_by=site.suppressed_by(
            rule.slug, STAGE_RANK[rule.stage], {k: v for k, v in fields.items() if v}
        ),
        remedy=verdict.advice,
        fingerprint=fingerprint(str(victim.get("ip", "")) or machine.host, verdict.endpoint),
        verdict=verdict.verdict,
        reasons=verdict.reasons,
    )


def _path(answers: Answers, name: str) -> str:
    if name == ROLE:
        listed = answers.replies["roles"].document
        return questionnaire()["roles"].path + (listed.role or "" if listed is not None else "")
    return questionnaire()[name].path


def _request(answers: Answers) -> dict[str, object]:
    for name in _SHOWN_AS_EVIDENCE:
        reply = answers.replies.get(name)
        if reply is not None and reply.document is not None:
            method = "PUT" if name == TOKEN else "GET"
            return {
                "method": method,
                "host": answers.target.authority,
                "path": _path(answers, name),
                "status": reply.status,
            }
    return {}


def _evidence(answers: Answers) -> tuple[Evidence, ...]:
    found = []
    for name in _SHOWN_AS_EVIDENCE:
        reply = answers.replies.get(name)
        if reply is None or reply.document is None:
            continue
        document = reply.document
        said = [
            document.kind,
            document.access_key_id,
            document.account_id,
            document.instance_id,
            document.region,
        ]
        excerpt = redact(f"{reply.status} " + " ".join(filter(None, said)))
        method = "PUT" if name == TOKEN else "GET"
        found.append(Evidence(answers.target.name, f"{method} {_path(answers, name)}", excerpt))
    return tuple(found[:_MOST_EVIDENCE])
