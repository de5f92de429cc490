"""What audit, harden and lab judge as OCSF 1.6.0: a Compliance Finding (class 2003) for each thing.

Source: https://schema.ocsf.io/1.6.0/classes/compliance_finding. A tool that asks is no detection: nothing has happened.
Pure but for the time of writing. The exact line stands in `unmapped`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from imdswatch.report import clock, escape, ndjson, typed
from imdswatch.report.statement import Said, Statement

_STATUSES = {0: "Unknown", 1: "Pass", 2: "Warning", 3: "Fail"}
_SEVERITIES = {1: "Informational", 2: "Low", 3: "Medium"}
_JUDGED = {"unknown": (0, 2), "pass": (1, 1), "warning": (2, 2), "fail": (3, 3)}
"""What a statement comes to, as the status of a compliance, and how severe that is: nothing has happened yet."""


def compliance_finding(statement: Statement, told: Said, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a statement that judges as a Compliance Finding: what is asked for is what the bulletin asks for."""
    status, severity = _JUDGED[told.result]
    host = typed.text(statement.host)
    document = {
        "activity_id": 1,
        "activity_name": "Create",
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2003,
        "class_name": "Compliance Finding",
        "type_uid": 200301,
        "severity_id": severity,
        "severity": _SEVERITIES[severity],
        "status_id": 1,
        "status": "New",
        "time": typed.milliseconds(clock.now()),
        "message": escape.encodable(f"{told.about}: {told.state}"),
        "metadata": metadata,
        "finding_info": {
            "uid": _identity(statement, told),
            "title": escape.encodable(told.about) or "unknown",
            "types": [statement.kind],
        },
        "compliance": typed.without_empty(
            {
                "control": escape.encodable(told.about),
                "standards": ["AWS-2025-021"],
                "status_id": status,
                "status": _STATUSES[status],
                "status_details": [one for one in map(escape.encodable, (told.state, told.why)) if one],
            }
        ),
        "resources": [{"name": host, "type": "Host", "hostname": host}] if host else None,
        "remediation": {"desc": escape.encodable(told.change)} if told.change else None,
        "unmapped": ndjson.known(statement.values),
    }
    return typed.without_empty(document)


def _identity(statement: Statement, told: Said) -> str:
    """Return what stays the same of one thing on one host, however it stands."""
    name = "\x00".join((statement.kind, statement.host, told.about))
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
