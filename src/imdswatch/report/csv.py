"""CSV for spreadsheets and databases, after RFC 4180: a header row, then one row a result, CR LF ends.

`COLUMNS` is the stable list; new columns are only ever added at the end. Column `type` says what a row is:

- `finding`: `source`, `position`, `excerpt` are the first evidence; `evidence_count` is how many there are.
- `skipped`: only `source`, `position` and `reason`.
- `verdict`: what probe says of one endpoint; `reason` has why, `remedy` what to do.
- `cell`, `check` and `audit` (its counts), `edit`, `command`, `note`, `performance`: what audit, harden and lab say.
  What it is about is the `title`, how it stands the `state` (and `result`: pass, warning, fail, unknown), why the
  `reason`, what closes it the `remedy`.
- `summary`: always the last row (a file without it was cut short); `reason` has what was looked at as
  `name=number` parted by spaces, then notes, each after `; `.

A column `victim_ip` is `victim.ip` of the ndjson form. Lists are parted by spaces, unknown is an empty
cell. Hidden characters are spelled out, and what a spreadsheet would compute gets a leading apostrophe
(`escape.cell`), so ndjson is the form to compute with. Spreadsheets drop leading zeros of `account_id`
unless told that the column is text. Rows are written as they come; nothing is kept.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import TextIO

from imdswatch.finding import Finding, Skipped, Summary
from imdswatch.report import clock, escape
from imdswatch.report.statement import Statement, said
from imdswatch.verdict import Verdict

COLUMNS = (
    "type",
    "stage",
    "severity",
    "confidence",
    "rule",
    "title",
    "first_seen",
    "last_seen",
    "count",
    "victim_ip",
    "victim_mac",
    "victim_port",
    "victim_vlan",
    "victim_host",
    "victim_process",
    "victim_user_agent",
    "responder_ip",
    "responder_mac",
    "responder_nat_ip",
    "responder_ttl",
    "responders",
    "request_method",
    "request_host",
    "request_path",
    "request_status",
    "account_id",
    "account_expected",
    "account_from",
    "account_access_key_id",
    "account_role",
    "source",
    "position",
    "excerpt",
    "evidence_count",
    "cause",
    "attack",
    "rules",
    "suppressed_by",
    "remedy",
    "fingerprint",
    "reason",
    "victim_client",
    "responder_vendor",
    "responder_gateway",
    "account_claims",
    "account_forged",
    "host",
    "state",
    "result",
    "endpoint",
    "interface",
    "verdict",
)
_PARTS = ("victim", "responder", "request", "account")


class Sink:
    """Writes the header row at once, then a row as soon as it is given a result."""

    def __init__(self, handle: TextIO, *, color: bool, show_suppressed: bool, width: int | None) -> None:
        """Write the header row."""
        self._rows, self._show_suppressed = csv.writer(handle, lineterminator="\r\n"), show_suppressed
        self._rows.writerow(COLUMNS)

    def finding(self, finding: Finding) -> None:
        """Write a finding; a suppressed one only if suppressed findings are shown."""
        if finding.suppressed_by is None or self._show_suppressed:
            self._write(_finding_row(finding))

    def skipped(self, skipped: Skipped) -> None:
        """Write what could not be looked at."""
        self._write(
            {
                "type": "skipped",
                "source": skipped.source,
                "position": skipped.position,
                "reason": skipped.reason,
            }
        )

    def verdict(self, verdict: Verdict) -> None:
        """Write what stands at one endpoint."""
        row: dict[str, object] = {
            "type": "verdict",
            "endpoint": verdict.endpoint,
            "interface": verdict.interface,
            "verdict": f"other-cloud {verdict.cloud}" if verdict.cloud else verdict.verdict,
            "reason": "; ".join(reason.text for reason in verdict.reasons),
            "remedy": verdict.advice,
        }
        for part in ("responder", "account"):
            values: Mapping[str, object] = getattr(verdict, part)
            row |= {f"{part}_{key}": value for key, value in values.items()}
        self._write(row)

    def statement(self, statement: Statement) -> None:
        """Write what audit, harden or lab say."""
        told = said(statement)
        self._write(
            {
                "type": "audit" if statement.kind == "summary" else statement.kind,
                "host": statement.host,
                "title": told.about,
                "state": told.state,
                "result": told.result,
                "reason": told.why,
                "remedy": told.change,
                "source": told.source,
                "position": told.position,
                "excerpt": told.excerpt,
            }
        )

    def close(self, summary: Summary) -> None:
        """Write the summary row."""
        names = ("sources", "bytes", "records", "findings", "suppressed", "skipped", "ignored")
        numbers = " ".join(f"{name}={getattr(summary, name)}" for name in names)
        reason = "; ".join([f"{numbers} seconds={summary.seconds:.3f}", *summary.notes])
        self._write({"type": "summary", "reason": reason})

    def _write(self, row: Mapping[str, object]) -> None:
        self._rows.writerow([escape.cell(_text(row.get(name))) for name in COLUMNS])


def _finding_row(finding: Finding) -> dict[str, object]:
    row: dict[str, object] = {
        "type": "finding",
        "stage": finding.stage,
        "severity": finding.severity,
        "confidence": finding.confidence,
        "rule": finding.rule,
        "title": finding.title,
        "first_seen": clock.iso(finding.first_seen),
        "last_seen": clock.iso(finding.last_seen),
        "count": finding.count,
        "responders": "; ".join(_text(other) for other in finding.responders),
        "evidence_count": len(finding.evidence),
        "cause": finding.cause,
        "attack": finding.attack,
        "rules": finding.rules,
        "suppressed_by": finding.suppressed_by,
        "remedy": finding.remedy,
        "fingerprint": finding.fingerprint,
    }
    for part in _PARTS:
        values: Mapping[str, object] = getattr(finding, part)
        row |= {f"{part}_{key}": value for key, value in values.items()}
    if finding.evidence:
        first = finding.evidence[0]
        row |= {"source": first.source, "position": first.position, "excerpt": first.excerpt}
    return row


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    return str(value)
