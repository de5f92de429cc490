"""What one event shows: its stage, severity, confidence and cause (DESIGN 3), from the rules that match it.

Pure. A rule carries the stage that it can prove; two things temper it here. The bulletin's rule joins addresses and
requests, so its stage is what the event shows: `attempted` where only the address matched. And what it alone sees, in
a look-alike path or a query, is of low confidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from imdswatch import address, clients, urlpath
from imdswatch.event import endpoint
from imdswatch.finding import CONFIDENCE_RANK, SEVERITY_RANK, STAGE_RANK
from imdswatch.rule import Rule

BULLETIN = "aws-2025-021"

_ATTEMPTED, _REQUESTED, _ANSWERED, _SERVED, _USED = range(5)
_BULLETIN_PATHS = ("/latest/meta-data", "/latest/api/token")
_BULLETIN_HEADER = "x-aws-ec2-metadata-token"
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH, _CRITICAL = range(5)
assert STAGE_RANK["answered"] == _ANSWERED
assert SEVERITY_RANK["critical"] == _CRITICAL


class Verdict(NamedTuple):
    """Ranks of an event within STAGES, SEVERITIES and CONFIDENCES, the rule that gives the stage, and the cause."""

    stage: int
    severity: int
    confidence: int
    rule: int
    cause: str


def judge_event(rules: Sequence[Rule], matched: Sequence[int], fields: Mapping[str, Any]) -> Verdict:
    """Return what the matched rules (indices into `rules`, none suppressed) say of one event together."""
    stage, rule = -1, matched[0]
    for index in matched:
        rank = STAGE_RANK[rules[index].stage]
        if rank == _REQUESTED and rules[index].slug == BULLETIN and not shows_request(fields):
            rank = _ATTEMPTED
        if rank > stage or (rank == stage and rules[rule].slug == BULLETIN):
            stage, rule = rank, index
    cloud = _other_cloud(fields)
    severity = _severity(stage, fields)
    confidence = _confidence(stage, rules, matched, fields)
    return Verdict(stage, severity, confidence, rule, _cause(stage, fields, cloud))


def shows_request(fields: Mapping[str, Any]) -> bool:
    """Say whether the record shows what the bulletin's rule calls an IMDS request: its paths or its header."""
    url = fields.get("url")
    if url is not None and any(path in urlpath.normal_url(url) for path in _BULLETIN_PATHS):
        return True
    return any(_BULLETIN_HEADER in name.lower() for name in fields.get("req_header") or ())


def _severity(stage: int, fields: Mapping[str, Any]) -> int:
    if stage >= _SERVED:
        return _CRITICAL
    if stage == _ANSWERED:
        return _HIGH
    path = urlpath.normal_path(fields.get("uri_path") or "")
    if "/iam/" not in path and clients.detector(fields) is not None:
        return _INFORMATIONAL
    if stage == _REQUESTED and _wants_credentials(path, fields):
        return _MEDIUM
    return _LOW


@lru_cache(maxsize=1 << 14)
def _credential_path(path: str) -> bool:
    parts = path.strip("/").split("/")
    if len(parts) < 2 or not (parts[0] == "latest" or parts[0][:1].isdigit()):
        return False
    return parts[1:3] in (["api", "token"], ["meta-data", "iam"], ["meta-data", "identity-credentials"])


def _wants_credentials(path: str, fields: Mapping[str, Any]) -> bool:
    if any("token-ttl-seconds" in name.lower() for name in fields.get("req_header") or ()):
        return True
    return _credential_path(path)


def _confidence(stage: int, rules: Sequence[Rule], matched: Sequence[int], fields: Mapping[str, Any]) -> int:
    if "payload" in fields:
        return CONFIDENCE_RANK["low"]
    if len(matched) == 1 and rules[matched[0]].slug == BULLETIN:
        return CONFIDENCE_RANK["low"]
    if stage == _SERVED and fields.get("access_key_id") is None:
        return CONFIDENCE_RANK["medium"]
    return CONFIDENCE_RANK["high" if stage >= _ANSWERED else "medium"]


def _other_cloud(fields: Mapping[str, Any]) -> bool:
    return clients.other_cloud(fields) is not None and endpoint(fields) in address.ENDPOINTS


def _cause(stage: int, fields: Mapping[str, Any], cloud: bool) -> str:
    if cloud:
        return "cloud-application"
    if stage >= _ANSWERED:
        return "impersonation"
    if clients.detector(fields) is not None:
        return "cloud-application"
    return "misconfiguration" if fields.get("answered") is False else "unknown"
