"""Asks one endpoint the whole questionnaire: IMDSv2, then v1, what a real one refuses, other clouds' telling paths.

The only module that questions an address; what came is recorded for `judge`. It keeps no secret: tokens live in the
function that sends them, a body that holds credentials is read by `documents` and let go. At most `_AT_ONCE` questions
are under way at once, each bounded by `Transport`: the whole takes four time-outs at most, two where a listener is
silent, one where nothing takes a connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from imdswatch import documents
from imdswatch.documents import Document
from imdswatch.probe.questions import ROLE, TOKEN, Question, questionnaire
from imdswatch.probe.target import Target
from imdswatch.probe.transport import NEVER_CONNECTED, Failure, Raw, Request, Transport
from imdswatch.redact import redact

_AT_ONCE = 32
_TOKEN_HEADER = "X-aws-ec2-metadata-token"
_TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
_SENDABLE = re.compile(rb"[!-~]{1,4096}\Z")
_SHOWN_HEADERS = (
    "server",
    "location",
    "allow",
    "via",
    "x-squid-error",
    "proxy-authenticate",
    "metadata-flavor",
)
_SHORT = 200
_WORTH_A_SECOND_TRY = frozenset({"no-answer", "silent", "slow", "cut"})
"""Where other questions were answered, these may be chance: a busy host, a lost packet."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one question, without any secret.

    body        kept of identity documents, signatures and telling paths only, and never with a credential in it
    document    what the body says, in words
    whole       False where octets of the body are missing
    """

    failure: Failure | None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    document: Document | None = None
    whole: bool = True

    @property
    def good(self) -> bool:
        """Whether the answer is a success."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Answers:
    """All that one target said, by the name of the question; `local` and `peer` are the ends of the connection."""

    target: Target
    replies: Mapping[str, Reply]
    asked_credentials: bool
    via_proxy: bool = False
    local: str | None = None
    peer: str | None = None


def ask(
    target: Target, transport: Transport, seconds: float, *, credentials: bool, proxied: bool = False
) -> Answers:
    """Question one target and return what it said. `seconds` bounds one exchange."""
    asked = questionnaire()
    first = _exchange(target, asked[TOKEN], transport, seconds)
    replies = {TOKEN: _reply(asked[TOKEN], first)}
    if first.failure not in NEVER_CONNECTED:
        token = _token(first)
        later = [question for question in asked.aws if question.name != TOKEN]
        later += [cloud.question for cloud in asked.clouds if cloud.question is not None]
        if first.failure is not None:
            # Perhaps only the answer to PUT is lost (a hop limit of 1): an SDK now tries v1, and so do we.
            later = [question for question in later if question.method == "GET"]
        replies |= _all(target, later, transport, seconds, token)
        lost = [question for question in later if replies[question.name].failure in _WORTH_A_SECOND_TRY]
        if lost and any(reply.status is not None for reply in replies.values()):
            replies |= _all(target, lost, transport, seconds, token)
        role = _role(replies.get("roles"))
        if role is not None and credentials:
            path = f"{asked['roles'].path}{role}"
            replies |= _all(target, [Question(ROLE, path, token=True)], transport, seconds, token)
    return Answers(target, replies, credentials, proxied, first.local, first.peer)


def _all(
    target: Target, questions: Iterable[Question], transport: Transport, seconds: float, token: str | None
) -> dict[str, Reply]:
    chosen = list(questions)
    with ThreadPoolExecutor(min(_AT_ONCE, len(chosen))) as pool:
        raws = pool.map(lambda question: _exchange(target, question, transport, seconds, token), chosen)
        return {question.name: _reply(question, raw) for question, raw in zip(chosen, raws, strict=True)}


def _exchange(
    target: Target, question: Question, transport: Transport, seconds: float, token: str | None = None
) -> Raw:
    headers = dict(question.headers)
    if question.token and token is not None:
        headers[_TOKEN_HEADER] = token
    return transport.exchange(target, Request(question.method, question.path, headers), seconds)


def _token(raw: Raw) -> str | None:
    """Return the token that was given, if it is one that a client could send."""
    body = raw.body.strip()
    if raw.status is None or not 200 <= raw.status < 300 or not _SENDABLE.match(body):
        return None
    return body.decode("ascii")


def _role(reply: Reply | None) -> str | None:
    if reply is None or reply.document is None or reply.document.kind != "roles":
        return None
    return reply.document.role


def _reply(question: Question, raw: Raw) -> Reply:
    if raw.failure is not None:
        return Reply(raw.failure)
    ttl = raw.headers.get(_TTL_HEADER, "")
    document = documents.read(
        question.path,
        raw.body,
        method=question.method,
        status=raw.status,
        token_ttl=int(ttl) if re.fullmatch("[0-9]{1,6}", ttl, re.ASCII) else None,
        whole=raw.whole,
    )
    secret = question.name in (TOKEN, ROLE) or question.method == "PUT"
    secret = secret or (document is not None and document.kind in ("credentials", "token"))
    return Reply(
        None,
        raw.status,
        {name: redact(raw.headers[name])[:_SHORT] for name in _SHOWN_HEADERS if name in raw.headers},
        b"" if secret else raw.body,
        document,
        raw.whole,
    )
