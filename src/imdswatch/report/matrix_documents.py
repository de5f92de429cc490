"""The objects of an audit in `imdswatch/1`, the stable shape that docs/audit.md describes; every one names its host.

Pure. Fields are absent when unknown or empty. A frozen copy of the shape, not a dump of the nouns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imdswatch.finding import Evidence, Skipped
from imdswatch.matrix import Audited, Cell, Change, Check, Subject

FORMAT = "imdswatch/1"


def cell_document(subject: Subject, cell: Cell) -> Mapping[str, Any]:
    """Return one cell of the matrix."""
    return _filled(
        {
            **_head("cell", subject),
            "tool": cell.tool,
            "version": cell.version,
            "family": cell.family,
            "context": cell.context,
            "user": cell.user,
            "state": cell.state,
            "why": cell.why,
            "when": cell.when,
            "evidence": _places(cell.evidence),
            "change": _change(cell.change),
            "notes": list(cell.notes),
        }
    )


def check_document(subject: Subject, check: Check) -> Mapping[str, Any]:
    """Return one check that is not met."""
    return _filled(
        {
            **_head("check", subject),
            "slug": check.slug,
            "title": check.title,
            "level": check.level,
            "why": check.why,
            "evidence": _places(check.evidence),
            "change": _change(check.change),
        }
    )


def skipped_document(subject: Subject, skipped: Skipped) -> Mapping[str, Any]:
    """Return what could not be looked at."""
    return _filled(
        {
            **_head("skipped", subject),
            "source": skipped.source,
            "position": skipped.position,
            "reason": skipped.reason,
        }
    )


def summary_document(subject: Subject, audited: Audited) -> Mapping[str, Any]:
    """Return the summary; an audit without it was cut short."""
    return {
        **_head("summary", subject),
        "command": "audit",
        "root": subject.root,
        "system": subject.system,
        "machine": subject.machine,
        **({"machine_says": subject.machine_says} if subject.machine_says else {}),
        "states": dict(audited.states),
        "tools": audited.tools,
        "checks": audited.checks,
        "skipped": audited.skipped,
        "seconds": round(audited.seconds, 3),
    }


def _head(kind: str, subject: Subject) -> dict[str, Any]:
    return {"format": FORMAT, "type": kind, "host": subject.host}


def _filled(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in document.items() if value not in ("", [], None)}


def _places(evidence: Sequence[Evidence]) -> list[Mapping[str, Any]]:
    return [
        _filled({"source": one.source, "position": one.position, "excerpt": one.excerpt}) for one in evidence
    ]


def _change(change: Change | None) -> Mapping[str, Any] | None:
    return (
        _filled({"slug": change.slug, "path": change.path, "text": change.text})
        if change is not None
        else None
    )
