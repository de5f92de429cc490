"""Secrets are cut from texts before anything is shown: tokens, secret keys, signatures. Key ids stay.

Events have no field for a secret (`imdswatch.event`), but a URL, a user agent or an unparsed line can carry one.
`redact` is applied to every text of a Finding. It over-redacts: a lost detail is an inconvenience, a leaked token
an incident.
"""

from __future__ import annotations

import re

MARK = "[redacted]"

_NAMED = re.compile(
    # name = value, "name": "value", name: value, {"name":"…token","value":"…"}; the name says that a secret follows
    r"(?i)(?P<name>(?:secret|token|password|passwd|signature|credential|authorization|api[-_]?key|session[-_]?key)"
    r"[\w-]*(?P<quote>\\*[\"'])?\s*(?:=|%3d|:|,\s*\\*[\"']?value\\*[\"']?\s*:)\s*\\*[\"']?)"
    r"(?P<value>(?:bearer\s+|basic\s+)?[^\s\"'&,;}\]\\]{6,})"
)
_SHAPED = re.compile(
    r"AQAAA[A-Za-z0-9_\-]{20,}={0,2}"  # IMDSv2 token (facts B1)
    r"|(?:IQoJ|FwoG|FQoG|AQoD)[A-Za-z0-9+/%=_\-]{40,}"  # STS session tokens
    r"|(?<![A-Za-z0-9+/=])(?=[A-Za-z0-9+/]*[a-z])(?=[A-Za-z0-9+/]*[A-Z0-9])[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/])"
    # the 40 characters of a secret access key
    r"|(?<![A-Za-z0-9+/_\-])[A-Za-z0-9+/_\-]{100,}={0,2}"  # anything longer is no name and no path segment
)
_STATUS_WORDS = re.compile(r"(?i)[\w-]*-ttl-seconds\W*[0-9]{1,6}\Z")


def redact(text: str) -> str:
    """Return the text with every secret in it replaced by a mark; the rest is unchanged."""
    if len(text) < 12:
        return text
    return _SHAPED.sub(MARK, _NAMED.sub(_cut, text))


def _cut(match: re.Match[str]) -> str:
    if _STATUS_WORDS.match(match[0]):
        return match[0]
    return match["name"] + MARK
