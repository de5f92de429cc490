"""One HTTP exchange as canonical fields: what was asked, what came back, and what it is in an IMDS dialogue.

Pure. Names of request headers are kept, values only where a field has a place for them; of a body only what
`documents` reads.
"""

from __future__ import annotations

import re
from typing import Any

from imdswatch import account, documents, proxies, urlpath
from imdswatch.address import ENDPOINTS
from imdswatch.event import endpoint
from imdswatch.read.steps import Step
from imdswatch.wire.http1 import Exchange, Request, Response
from imdswatch.wire.packet import Packet

_TREE = re.compile(r"/(?:latest|1\.0|20..-..-..)/(?:meta-data|user-data|dynamic|api/token)(?:/|\Z)")
_TOKEN = re.compile(r"/(?:latest|1\.0|20..-..-..)/api/token/?\Z")
_ROLE = re.compile(r"/(?:iam/security-credentials(?:-extended)?|ec2/security-credentials)/[^/]+\Z")
_HEADER = "aws-ec2-metadata-token"
_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".on.aws")
_CLAIM = {
    "access-key-id": "access-key-id",
    "account-id": "document",
    "profile-arn": "iam-info",
    "identity-document": "identity-document",
}


def request_fields(request: Request) -> dict[str, Any]:
    """Return what was asked. An absolute or authority target is the URL; the host asked is what it names."""
    found: dict[str, Any] = {"method": request.method}
    target = request.target
    if target.startswith("/") or target == "*":
        found["uri_path"] = target
    else:
        found["url"] = target
    for name, value in (
        ("host", request.host),
        ("user_agent", request.header("user-agent")),
        ("req_header", tuple(name for name, _ in request.headers)),
        ("signing_key_id", request.signing_key_id),
    ):
        if value:
            found[name] = value
    return found


def is_imds(fields: dict[str, Any]) -> bool:
    """Say whether an exchange is part of an IMDS dialogue, by address, host, path or header.

    Only then is its body's document told: a key id that some other service hands out is no incident of ours. The fast
    path selects connections by the same marks, so whatever is told beyond single exchanges hangs on this.
    """
    if endpoint(fields) in ENDPOINTS or any(
        _HEADER in name.lower() for name in fields.get("req_header") or ()
    ):
        return True
    return _TREE.search(path_of(fields)) is not None


def path_of(fields: dict[str, Any]) -> str:
    """Return the normal path that was asked; empty if none was."""
    path = fields.get("uri_path")
    if path is None:
        path = urlpath.split(fields.get("url", "")).path
    return urlpath.normal_path(path.partition("?")[0])


def response_fields(response: Response, request: Request | None) -> dict[str, Any]:
    """Return what came back, without the document."""
    found: dict[str, Any] = {"resp_bytes": response.body_length}
    if response.status is not None:
        found["status"] = response.status
    else:
        found["answered"] = True  # HTTP/0.9, or the head was lost: something did reply
    if response.mime:
        found["resp_mime"] = response.mime
    proxied = request is not None and not request.target.startswith(("/", "*"))
    if proxies.made_by_proxy(response.status, response.headers, proxied=proxied):
        found["reply_by"] = "proxy"
    return found


def document_fields(response: Response, *, unbroken: bool) -> dict[str, Any]:
    """Return what the body says; `unbroken` says that no octet of the connection is missing."""
    document = response.document
    if document is None:
        seen = unbroken and response.whole and response.body_length
        return {"resp_document": "other"} if seen else {}
    found: dict[str, Any] = {"resp_document": document.kind}
    if document.code is not None:
        found["response_code"] = document.code
    claims = claims_of(document)
    if claims:
        found["account_claim"] = claims
    if document.kind != "credentials":
        return found
    number = document.account_id or (
        account.account_of(document.access_key_id) if document.access_key_id else None
    )
    for name, value in (
        ("access_key_id", document.access_key_id),
        ("account_id", number),
        ("role", document.role),
        ("expiration", document.expiration),
    ):
        if value is not None:
            found[name] = value
    return found


def claims_of(document: documents.Document) -> tuple[str, ...]:
    """Return the accounts that a document names, as `source:account`; a source that cannot tell names none."""
    return tuple(
        f"{_CLAIM[claim.part]}:{claim.account}" for claim in documents.claims([document]) if claim.account
    )


def step_of(fields: dict[str, Any]) -> Step:
    """Return what an IMDS exchange is in its dialogue; a step counts as made only when it was answered with success."""
    if fields.get("method") == "CONNECT":
        return Step.CONNECT
    status, document = fields.get("status"), fields.get("resp_document")
    if status is None or not 200 <= status < 300:
        return Step.REQUEST
    path = path_of(fields)
    if document == "credentials":
        return Step.CREDENTIALS if fields.get("response_code") in (None, "Success") else Step.REQUEST
    if document == "roles":
        return Step.ROLES
    if document == "token" or (document is None and _TOKEN.search(path)):
        return Step.TOKEN
    if document is None and _ROLE.search(path) and fields.get("resp_bytes"):
        return Step.CREDENTIALS  # the body was not to be seen
    return Step.REQUEST


def names_aws(name: str | None) -> bool:
    """Say whether a host name is one of AWS's API endpoints (AWS General Reference, service endpoints)."""
    return name is not None and name.partition(":")[0].rstrip(".").lower().endswith(_AWS)


def answerer(first: Packet) -> dict[str, Any]:
    """Return who sent the first packet of a response: on one connection another host may answer than accepted it."""
    known = {"dst_mac": first.src_mac, "ttl": first.ttl}
    return {name: value for name, value in known.items() if value is not None}


def first_packet(exchange: Exchange) -> Any:
    """Return the mark of the exchange: what was given with the first octet of the request, else of the response."""
    message = exchange.request or exchange.response
    return None if message is None else message.mark
