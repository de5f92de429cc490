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

BULLETIN = frozenset({"aws-2025-021", "aws-2025-021-portable"})
"""The bulletin's rule, and the same with the field names of many vendors, as `export sigma` names it."""

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


# There are few different verdicts, and one is kept with each of many events: equal ones are one object.
_verdict = lru_cache(maxsize=1 << 10)(Verdict)


class Verdicts:
    """Says what the rules of one pack, where they match, show together; remembers what depends on the rules alone."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._known: dict[tuple[int, ...], tuple[int, int, bool, bool]] = {}

    def of(self, matched: tuple[int, ...], fields: Mapping[str, Any]) -> Verdict:
        """Return the verdict on a completed event that these rules (indices, none suppressed) match."""
        rules = self._rules
        stage, rule, depends, alone = self._known.get(matched) or self._highest(matched)
        if depends and not shows_request(fields):
            rest = tuple(index for index in matched if rules[index].slug not in BULLETIN)
            stage, rule, _, _ = self._highest(rest) if rest else (_ATTEMPTED, rule, False, True)
        confidence = _confidence(stage, alone, fields)
        return _verdict(stage, _severity(stage, fields), confidence, rule, _cause(stage, fields))

    def _highest(self, matched: tuple[int, ...]) -> tuple[int, int, bool, bool]:
        """Return the highest stage, the rule that gives it, and whether that hangs on the event showing a request.

        Also whether the bulletin's rule matched alone.
        Of several rules of one stage the most telling gives the finding its name, never the bulletin's if another can.
        """
        rules = self._rules
        stage, rule = -1, matched[0]
        for index in matched:
            rank = STAGE_RANK[rules[index].stage]
            if rank > stage or (rank == stage and _telling(rules[index]) > _telling(rules[rule])):
                stage, rule = rank, index
        alone = all(rules[index].slug in BULLETIN for index in matched)
        found = stage, rule, stage == _REQUESTED and rules[rule].slug in BULLETIN, alone
        self._known[matched] = found
        return found


def _telling(rule: Rule) -> tuple[bool, int, str]:
    """Return how much a rule's name tells: a graver level first, then the slug, so that it is always the same."""
    return rule.slug not in BULLETIN, SEVERITY_RANK.get(rule.level, 0), rule.slug


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
    if stage == _REQUESTED and _wants_credentials(path, fields) and _by_aws_client(fields):
        return _MEDIUM
    return _LOW


@lru_cache(maxsize=1 << 12)
def _credential_path(path: str) -> bool:
    parts = path.strip("/").split("/")
    if len(parts) < 2 or not (parts[0] == "latest" or parts[0][:1].isdigit()):
        return False
    return parts[1:3] in (["api", "token"], ["meta-data", "iam"], ["meta-data", "identity-credentials"])


def _wants_credentials(path: str, fields: Mapping[str, Any]) -> bool:
    if any("token-ttl-seconds" in name.lower() for name in fields.get("req_header") or ()):
        return True
    return _credential_path(path)


def _by_aws_client(fields: Mapping[str, Any]) -> bool:
    """Say whether an AWS tool may have asked: of the endpoint, or recognisably. Scanners ask web servers all day."""
    return endpoint(fields) in address.ENDPOINTS or clients.is_aws_client(fields)


def _confidence(stage: int, bulletin_only: bool, fields: Mapping[str, Any]) -> int:
    if bulletin_only or "payload" in fields:
        return CONFIDENCE_RANK["low"]
    if stage == _SERVED and fields.get("access_key_id") is None:
        return CONFIDENCE_RANK["medium"]
    # Only packets show a step of the dialogue: the protocol itself was seen.
    return CONFIDENCE_RANK["high" if stage >= _ANSWERED or "step" in fields else "medium"]


def _other_cloud(fields: Mapping[str, Any]) -> bool:
    return clients.other_cloud(fields) is not None and endpoint(fields) in address.ENDPOINTS


def _cause(stage: int, fields: Mapping[str, Any]) -> str:
    if _other_cloud(fields):
        return "cloud-application"
    if stage >= _ANSWERED:
        return "impersonation"
    if clients.detector(fields) is not None:
        return "cloud-application"
    return "misconfiguration" if fields.get("answered") is False else "unknown"
