"""Secrets are cut from texts before anything is shown: tokens, secret keys, signatures, cookies. Key ids stay.

Events have no field for a secret (`imdswatch.event`), but a URL, a user agent or an unparsed line can carry one.
`redact` is applied to every text of a Finding. It over-redacts: a lost detail is an inconvenience, a leaked token
an incident. Pure; linear in the length of the text but for the spaces around a name.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache
from itertools import pairwise

MARK = "[redacted]"

_KEY_ID = re.compile(r"(?<![A-Z0-9])A[KS]IA[A-Z2-7]{16}(?![A-Z0-9])")

_QUOTE = r"(?:\\*[\"'])?"
_NAMES = (
    r"secret|token|password|passwd|pwd|passphrase|signature|credential|api[-_]?key|sess(?:ion)?[-_]?(?:key|id)"
    r"|private[-_]?key"
)
_HEADER = re.compile(
    # Authorization and Cookie: all of it up to a line end or a closing quote, whatever scheme or parameters it has
    rf"(?i)(?P<name>(?:authorization|cookie)2?{_QUOTE}\s*(?:=|%3d|:|%3a|,\s*\\*[\"']?value{_QUOTE}\s*:)\s*\\*[\"']?)"
    r"(?P<value>(?:[^\r\n\"'\\]|\\(?![rn\"'\\])|(?<==)\"[^\"\r\n]*\"){2,})"
)
_NAMED = re.compile(
    # name = value, "name": "value", name: value, {"name":"…token","value":"…"}; the name says that a secret follows
    rf"(?i)(?P<name>(?:{_NAMES})[\w-]*{_QUOTE}\s*(?:=|%3d|:|%3a|,\s*\\*[\"']?value{_QUOTE}\s*:)\s*\\*[\"']?)"
    r"(?P<value>(?:(?:bearer|basic)(?:\s+|%20|\+))?(?:\\/|[^\s\"'&,;}\]\\]){4,})"
)
_NAMED_AFTER = re.compile(
    # {"value":"…","name":"…token"}: the order that some header dumps have
    rf"(?i)(?P<name>value{_QUOTE}\s*[:=]\s*\\*[\"'])(?P<value>(?:\\/|[^\"'\\]){{1,8192}})"
    rf"(?=\\*[\"']\s*,\s*\\*[\"']?name{_QUOTE}\s*[:=]\s*\\*[\"']?[\w-]*(?:{_NAMES}|authorization|cookie))"
)
_USERINFO = re.compile(  # of a URL, or of a URL whose scheme was cut off
    r"(?P<name>(?::|%3[aA]|\A)(?:/|%2[fF]|\\/){2})(?P<value>[^\s/\"'<>@?#]{1,512})(?=@|%40)"
)
_SHAPED = re.compile(
    r"AQA[A-Z]A[A-Za-z0-9_\-]{20,}={0,2}"  # IMDSv2 token
    r"|(?:IQoJ|FwoG|FQoG|AQoD)[A-Za-z0-9+/%=_\\\-]{40,}"  # STS session tokens
    r"|(?<![A-Za-z0-9+/_\-])[A-Za-z0-9+/_\-]{100,}={0,2}"  # anything longer is no name and no path segment
    r"|(?P<run>(?:[A-Za-z0-9+/]|\\/|%(?:25)*2[fFbB]){40,})"  # may hold the 40 characters of a secret access key
)
_ESCAPED = re.compile(r"\\/|%(?:25)*2[fFbB]")
_STATUS_WORDS = re.compile(r"(?i)[\w-]*-ttl-seconds\W*[0-9]{1,6}\Z")
_SECRET_KEY = 40
_SECRET_RUN = b"x" * _SECRET_KEY
_LONG = 100
_RESTLESS = 0.4
"""Share of places in a run where the kind of character changes: random base64 has 0.65, words and paths far less."""


_WORDS = (
    "secret",
    "token",
    "pass",
    "pwd",
    "signature",
    "credential",
    "key",
    "sess",
    "authorization",
    "cookie",
)
_MARKS = ("AQA", "IQoJ", "FwoG", "FQoG", "AQoD")
_IN_RUN = (string.ascii_letters + string.digits + "+/\\%").encode()
_RUN = bytes.maketrans(_IN_RUN, b"x" * len(_IN_RUN))
_LONG_RUN = bytes.maketrans(_IN_RUN + b"_-", b"x" * (len(_IN_RUN) + 2))


@lru_cache(maxsize=1 << 12)
def redact(text: str) -> str:
    """Return the text with every secret in it replaced by a mark; the rest is unchanged."""
    if len(text) < 8:
        return text
    if _may_name(text):
        for pattern in (_USERINFO, _HEADER, _NAMED_AFTER, _NAMED):
            text = pattern.sub(_cut, text)
    return _SHAPED.sub(_shape, text) if _may_have_shape(text) else text


def _may_name(text: str) -> bool:
    """Say whether a pattern with a name may match: most texts have no sign of one, and that is found out quickly."""
    if "@" in text or "%40" in text:
        return True
    if not ("=" in text or ":" in text or "," in text or "%" in text):
        return False
    folded = text.lower()
    for word in _WORDS:  # noqa: SIM110  `any` with a generator costs half a microsecond more, and all is redacted
        if word in folded:
            return True
    return False


def _may_have_shape(text: str) -> bool:
    """Say whether `_SHAPED` may match: it has a mark of a token, or a long run of characters."""
    if "Q" in text or "FwoG" in text:  # one of them stands in every mark: two looks for most texts, not five
        for mark in _MARKS:
            if mark in text:
                return True
    if len(text) < _SECRET_KEY:
        return False
    octets = text.encode("ascii", "replace")  # a table of octets is many times faster than one of characters
    if _SECRET_RUN in octets.translate(_RUN):
        return True
    return len(text) >= _LONG and b"x" * _LONG in octets.translate(_LONG_RUN)


def _cut(match: re.Match[str]) -> str:
    if _STATUS_WORDS.match(match[0]):
        return match[0]
    if match["value"] == MARK[:-1]:  # cut before: by another of these patterns, or by whoever wrote the log
        return match[0]
    # A signed request names the key id in the middle of its credentials; that one is for showing.
    return " ".join([match["name"] + MARK, *_KEY_ID.findall(match["value"])])


def _shape(match: re.Match[str]) -> str:
    run = match["run"]
    if run is None:
        return MARK
    plain = _ESCAPED.sub("/", run)
    if len(plain) < _SECRET_KEY:
        return run
    if len(plain) == _SECRET_KEY:
        secret = any(c.islower() for c in plain) and any(c.isupper() or c.isdigit() for c in plain)
    else:
        secret = _restless(plain) or _ends_in_key(plain)
    return MARK if secret else run


def _ends_in_key(run: str) -> bool:
    """Say whether a secret key stands at an end of the run or after a slash in it: paths run into what follows."""
    starts = {0, len(run) - _SECRET_KEY, *(found.end() for found in re.finditer("/", run))}
    keys = (run[start : start + _SECRET_KEY] for start in starts)
    # Without slashes: they are what makes a path look restless.
    return any(len(key) == _SECRET_KEY and _restless(key.replace("/", "")) for key in keys)


def _restless(text: str) -> bool:
    kinds = [0 if c.islower() else 1 if c.isupper() else 2 if c.isdigit() else 3 for c in text]
    return sum(a != b for a, b in pairwise(kinds)) >= _RESTLESS * len(text)
