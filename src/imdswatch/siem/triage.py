"""What an alert says to the person who opens it: the same texts in every SIEM, all from the rule. Pure.

ATT&CK names and ids: MITRE ATT&CK Enterprise v17 (attack.mitre.org). Of the tactics of a technique only those that
the impersonation serves are named.
"""

from __future__ import annotations

from dataclasses import dataclass

from imdswatch.rule import Rule
from imdswatch.siem.content import Query

SEVERITIES = ("informational", "low", "medium", "high", "critical")

FIRST_FIELDS = (
    "timestamp", "src_ip", "src_host", "process", "vlan", "src_mac", "dst_ip", "dst_mac", "nat_dst", "host", "url",
    "uri_path", "method", "status", "user_agent", "dns_query", "dns_answer", "action", "sensor",
)  # fmt: skip
"""What a person needs first: who asked, from where, whom, what, whether anything answered, who saw it."""


@dataclass(frozen=True, slots=True)
class Technique:
    """One ATT&CK technique with the tactics (id, name) that it serves here."""

    id: str
    name: str
    tactics: tuple[tuple[str, str], ...]


_CREDENTIALS, _COLLECTION, _ACCESS = (
    ("TA0006", "Credential Access"),
    ("TA0009", "Collection"),
    ("TA0001", "Initial Access"),
)
TECHNIQUES = {
    "T1557": Technique("T1557", "Adversary-in-the-Middle", (_CREDENTIALS, _COLLECTION)),
    "T1552": Technique("T1552", "Unsecured Credentials", (_CREDENTIALS,)),
    "T1552.005": Technique("T1552.005", "Cloud Instance Metadata API", (_CREDENTIALS,)),
    "T1078": Technique("T1078", "Valid Accounts", (_ACCESS,)),
    "T1078.004": Technique("T1078.004", "Cloud Accounts", (_ACCESS,)),
}


def tactics(rule: Rule) -> tuple[tuple[str, str], ...]:
    """Return the tactics (id, name) of a rule's techniques, each once; a technique unknown here gives none."""
    known = [TECHNIQUES[one] for one in rule.attack if one in TECHNIQUES]
    return tuple(dict.fromkeys(tactic for technique in known for tactic in technique.tactics))


def summary(rule: Rule) -> str:
    """Return the description of a rule as one paragraph, with the stage it stands for."""
    return f"{' '.join(rule.description.split())} Stage: {rule.stage}."


def guide(query: Query) -> str:
    """Return the triage guide of an alert as Markdown: what it means, what to do, what it mistakes and cannot see."""
    rule, columns = query.rule, query.source.naming.columns
    look = [column.name for field in FIRST_FIELDS for column in columns.get(field, ())]
    lines = [f"## {rule.title}", "", summary(rule)]
    lines += ["", "### Next steps", "", *([" ".join(rule.remedy.split())] if rule.remedy else [])]
    lines += ["", "### Look first at", "", ", ".join(f"`{name}`" for name in look)]
    lines += _list("False positives", rule.falsepositives)
    lines += _list("Blind spots", (*rule.blind_spots, *(_lost(query))))
    lines += ["", f"Rule {rule.slug} ({rule.id}), ATT&CK {', '.join(rule.attack)}"]
    return "\n".join(lines)


def _lost(query: Query) -> list[str]:
    return [f"not carried here: {loss.clause} ({loss.why})" for loss in query.lost]


def _list(title: str, items: tuple[str, ...]) -> list[str]:
    return ["", f"### {title}", "", *(f"- {item}" for item in items)] if items else []
