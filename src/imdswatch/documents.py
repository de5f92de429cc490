"""What the body of a metadata response says, without any secret in it.

`read` tells credential documents, instance identity documents and the rest apart by their content first and by the
path asked second, since an impostor need not keep to the paths. Pure; it never raises, whatever the octets are; linear
in their number. Of a body that is cut, everything that still stands whole is read. Session tokens, IMDSv2 tokens and
secret keys are passed over: no value, no representation and no exception holds them.
Sources: EC2 User Guide (instance metadata categories, instance identity documents), SDK reference guide (IMDS).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import unquote

from imdswatch import account, urlpath
from imdswatch.redact import redact

Kind = Literal["credentials", "refusal", "roles", "profile", "identity", "token", "user-data", "metadata"]

_ROLE_PATH = re.compile(
    r"/(?:iam/security-credentials(?:-extended)?|identity-credentials/ec2/security-credentials)(?:/+([^/]+))?/*\Z"
)
_TREE = re.compile(r"/(?:latest|1\.0|20\d\d-\d\d-\d\d)/(meta-data|user-data|dynamic|api/token)(?:/|\Z)")
_ROLE = re.compile(r"[\w+=,.@-]{1,128}\Z", re.ASCII)  # IAM: RoleName, InstanceProfileName
_KEY_ID = re.compile(
    r"\w[\w-]{2,127}\Z", re.ASCII
)  # IAM: AccessKeyId is [\w]{16,128}; an impostor's may be shorter
_ACCOUNT = re.compile(r"[0-9]{12}\Z")
_WORD = re.compile(r"[\w.:-]{1,64}\Z", re.ASCII)
_TOKEN = re.compile(
    rb"[!-;=-~][!-~]{0,4095}\Z"
)  # one word, and no markup: a captive portal answers a PUT, too
_PROFILE = re.compile(
    r"arn:[\w-]{1,32}:(?:iam|sts)::([0-9]{12}):[\w-]{1,32}/(?:[\w+=,.@-]{1,512}/)*([\w+=,.@-]{1,128})\Z"
)
_MOST_ROLES = 16
_WANTED = (
    "AccessKeyId SecretAccessKey AccountId Code Expiration InstanceProfileArn RoleArn"
    " instanceId region privateIp pendingTime"
)
_NAMES = {name.lower(): name for name in _WANTED.split()}
_MEMBER = re.compile(
    # a member of an object that is cut somewhere: its name and its whole value, wherever they stand
    rf'(?ai)"({"|".join(_NAMES)})"\s{{0,64}}:\s{{0,64}}(?:"([^"\\\x00-\x1f]{{1,2048}})"|([0-9]{{1,32}})(?=[\s,}}]))'
)
_ESCAPE = re.compile(r"\\u00([2-7][0-9a-fA-F])|\\(/)")


@dataclass(frozen=True, slots=True)
class Document:
    """One response body in words; what it did not say is None.

    kind            credentials: a key id with a secret · refusal: a `Code` instead of them · roles: the list of role
                    names · profile: iam/info · identity: the instance identity document · token: an IMDSv2 token ·
                    user-data and metadata: any other body on such a path
    account_id      what the document itself says, never worked out from the key id (`claims` does that)
    token_ttl       seconds, from the response header
    whole           False where octets of the body are missing, so that more may have stood there
    """

    kind: Kind
    access_key_id: str | None = None
    account_id: str | None = None
    role: str | None = None
    roles: tuple[str, ...] = ()
    code: str | None = None
    expiration: float | None = None
    token_ttl: int | None = None
    profile_arn: str | None = None
    instance_id: str | None = None
    region: str | None = None
    private_ip: str | None = None
    pending_time: float | None = None
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Claim:
    """The account that one part of a document names; None where that part cannot tell (a key id of the old format)."""

    part: Literal["access-key-id", "account-id", "profile-arn", "identity-document"]
    account: str | None


def read(
    path: str | None,
    body: bytes,
    *,
    method: str = "GET",
    status: int | None = 200,
    token_ttl: int | None = None,
    whole: bool = True,
) -> Document | None:
    """Return what a body says, or None if it says nothing of the kinds above.

    `path` is the path asked, None if unknown. Credentials, profiles and identity documents are found on any path and
    with any status; the plain texts only on their path with a 2xx. `whole` False: octets of the body are missing.
    """
    if not body:
        return None
    normal = "" if path is None else urlpath.normal_path(path.partition("?")[0])
    asked = _ROLE_PATH.search(normal)
    members = _members(body, whole)
    role = _role_of(path) if asked and asked[1] else None
    if members and (found := _by_members(members, asked is not None, role, whole)) is not None:
        return found
    if status is not None and not 200 <= status < 300:
        return None
    tree = _TREE.search(normal)
    if tree is None and not asked:
        return None
    if tree is not None and tree[1] == "api/token":
        if method != "PUT" or not _TOKEN.match(body.strip()):
            return None
        return Document("token", token_ttl=token_ttl, whole=whole)
    if asked and not asked[1]:
        roles = _roles(body)
        return Document("roles", roles=roles, role=roles[0], whole=whole) if roles else None
    if asked:
        return None
    return Document("user-data" if tree is not None and tree[1] == "user-data" else "metadata", whole=whole)


def claims(documents: Iterable[Document]) -> tuple[Claim, ...]:
    """Return which account each part of the documents names, each different claim once, in order.

    Two known accounts among them mean that somebody forged at least one: a genuine instance has one account.
    """
    found: dict[Claim, None] = {}
    for document in documents:
        if document.access_key_id is not None:
            found[Claim("access-key-id", account.account_of(document.access_key_id))] = None
        if document.profile_arn is not None and (arn := _PROFILE.match(document.profile_arn)):
            found[Claim("profile-arn", arn[1])] = None
        if document.account_id is not None and document.kind == "identity":
            found[Claim("identity-document", document.account_id)] = None
        elif document.account_id is not None and document.kind == "credentials":
            found[Claim("account-id", document.account_id)] = None
    return tuple(found)


def _by_members(members: dict[str, str], asked: bool, role: str | None, whole: bool) -> Document | None:
    get = members.get
    arn = next(
        (text for name in ("InstanceProfileArn", "RoleArn") if _PROFILE.match(text := get(name, ""))), None
    )
    number = _shown(_ACCOUNT, get("AccountId"))
    code = _shown(_WORD, get("Code"))
    key, secret = "AccessKeyId" in members, "SecretAccessKey" in members
    rest = asked and not members.keys().isdisjoint(("AccountId", "Expiration"))
    if (key and (secret or asked)) or (not whole and (key or secret or rest)):
        return Document(
            "credentials",
            access_key_id=_shown(_KEY_ID, get("AccessKeyId")),
            account_id=number,
            role=role,
            code=code,
            expiration=_time(get("Expiration")),
            profile_arn=arn,
            whole=whole,
        )
    if "InstanceProfileArn" in members and arn is not None:
        return Document("profile", role=arn.rpartition("/")[2], code=code, profile_arn=arn, whole=whole)
    if number is not None and "instanceId" in members:
        return Document(
            "identity",
            account_id=number,
            instance_id=_shown(_WORD, get("instanceId")),
            region=_shown(_WORD, get("region")),
            private_ip=_shown(_WORD, get("privateIp")),
            pending_time=_time(get("pendingTime")),
            whole=whole,
        )
    if asked and code is not None and code != "Success":
        return Document("refusal", role=role, code=code, whole=whole)
    return None


def _members(body: bytes, whole: bool) -> dict[str, str]:
    """Return the wanted members of a JSON object as text; empty if the body is no object or has none of them.

    Names are compared without case as Go's decoder does, an exact one first. Of members that stand twice the last
    one counts, as for every client known.
    """
    encoding = json.detect_encoding(body)
    text = body.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    if whole and not text.startswith("{"):
        return {}
    folded = text.lower()
    if "\\u" not in folded and not any(f'"{name}"' in folded for name in _NAMES):
        return {}
    try:
        # Numbers stay texts: neither a huge one nor NaN is worth an error.
        found = json.loads(text, parse_int=str, parse_float=str, parse_constant=str) if whole else None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        pairs = [(name, value) for name, value in found.items() if isinstance(value, str)]
    else:
        plain = _ESCAPE.sub(_unescape, text)
        pairs = [(match[1], match[2] or match[3]) for match in _MEMBER.finditer(plain)]
    folded_first = sorted(pairs, key=lambda pair: pair[0] in _NAMES.values())
    return {_NAMES[name.lower()]: value for name, value in folded_first if name.lower() in _NAMES}


def _unescape(match: re.Match[str]) -> str:
    if match[2]:
        return "/"
    character = chr(int(match[1], 16))
    return match[0] if character in '"\\' else character


def _shown(shape: re.Pattern[str], text: str | None) -> str | None:
    """Return a text that has the shape of what it claims to be and does not look like a secret in a wrong place."""
    if text is None or not shape.match(text) or redact(text) != text:
        return None
    return text


def _role_of(path: str | None) -> str | None:
    """Return the last segment of a path as it was asked: role names have case, the normal path has none."""
    segments = unquote(urlpath.split(path or "").path).rstrip("/").rpartition("/")
    return redact(segments[2]) if _ROLE.match(segments[2]) else None


def _roles(body: bytes) -> tuple[str, ...]:
    lines = body[: 256 * _MOST_ROLES].decode("ascii", "replace").split()
    if not lines or len(lines) > _MOST_ROLES or not all(_ROLE.match(line) for line in lines):
        return ()
    return tuple(redact(line) for line in lines)


def _time(text: str | None) -> float | None:
    if text is None or len(text) > 40:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
