"""A simulated Instance Metadata Service: a request becomes the response that EC2's service gives.

`Service.answer` sends nothing and reads no clock: the time comes with the request. What is served is made up, and the
credentials say that they are fake. Status codes and headers: EC2 User Guide ("Use the Instance Metadata Service") and
dumps of real answers (a 401 of Server EC2ws: HTTP/1.0, Content-Length 343; user data: HTTP/1.0). No dump shows a real
403 or 404: their pages here have the form of the 401's.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from imdswatch.lab.config import Config
from imdswatch.lab.tree import START, Tree

TOKEN, TTL = "x-aws-ec2-metadata-token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
LONGEST = 21600
"""Seconds that a token lives at most."""
_MOST_TOKENS = 4096
_PAGE = (
    '<?xml version="1.0" encoding="iso-8859-1"?>\n'
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"\n'
    '\t"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n'
    '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">\n'
    " <head>\n  <title>{0}</title>\n </head>\n <body>\n  <h1>{0}</h1>\n </body>\n</html>\n"
)
_REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Not Allowed",
    417: "Expectation Failed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are lower case. `close`: the client wants no further one on this connection."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """One response. `hop_limit`: the IP TTL that it leaves with (0: as usual); `token`: what was thought of one."""

    status: int
    head: bytes
    body: bytes
    close: bool
    hop_limit: int = 0
    token: str = "none"

    def octets(self, method: str = "GET") -> bytes:
        """Return what goes over the wire."""
        return self.head if method == "HEAD" else self.head + self.body


class Service:
    """One instance's metadata service; it remembers its tokens (the last few thousand) and nothing else."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._tokens: OrderedDict[str, float] = OrderedDict()
        self._tree = Tree(config)

    def answer(self, request: Request, now: float) -> Response:
        """Return the response to a request at a time (epoch seconds)."""
        path = _path(request.target)
        token, left = self._state(request.headers.get(TOKEN), now)

        def reply(status: int, body: bytes | None = None, **more: Any) -> Response:
            return self._reply(request, now, status, body, token, **more)

        if not self.config.enabled:
            return reply(403)
        if path[-2:] == ["api", "token"] and len(path) == 3:
            return self._token(request, path[0], now, reply)
        if request.method not in ("GET", "HEAD"):
            return reply(405, b"", headers={"Allow": "GET, HEAD"})
        if token != "none" and "x-forwarded-for" in request.headers:
            return reply(403)
        if not (self.config.v1 if token == "none" else self.config.v2 and token == "valid"):
            return reply(401)
        body = self._tree.document("/".join(path), now)
        if body is None:
            return reply(404)
        remaining = {TTL: str(left)} if token == "valid" else {}
        if path[1:] == ["user-data"]:
            kinds = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
            return reply(200, body, headers=kinds | remaining, version="1.0")
        modified = {"Last-Modified": formatdate(START, usegmt=True)}
        return reply(200, body, headers={"Accept-Ranges": "none", **modified, **remaining})

    def _state(self, given: str | None, now: float) -> tuple[str, int]:
        """Return what is thought of a token, and the seconds that it still has."""
        if given is None:
            return "none", 0
        if given not in self._tokens:
            return "invalid", 0
        left = int(self._tokens[given] - now)
        return ("valid", left) if left > 0 else ("expired", 0)

    def _token(self, request: Request, version: str, now: float, reply: Callable[..., Response]) -> Response:
        if not self.config.v2:
            return reply(404)
        if request.method != "PUT":
            return reply(405, b"", headers={"Allow": "OPTIONS, PUT"}, close=True)
        if version != "latest" or "x-forwarded-for" in request.headers:
            return reply(403)
        if "expect" in request.headers:
            return reply(417)
        wanted = request.headers.get(TTL.lower(), "")
        if not re.fullmatch(r"[0-9]{1,5}", wanted, re.ASCII) or not 1 <= int(wanted) <= LONGEST:
            return reply(400)
        token = "AQAAAFAKE" + base64.urlsafe_b64encode(secrets.token_bytes(34)).decode()[:45] + "=="
        self._tokens[token] = now + int(wanted)
        if len(self._tokens) > _MOST_TOKENS:
            self._tokens.popitem(last=False)
        return reply(200, token.encode(), headers={TTL: wanted}, hop_limit=self.config.hop_limit)

    def _reply(
        self,
        request: Request,
        now: float,
        status: int,
        body: bytes | None,
        token: str,
        headers: Mapping[str, str] | None = None,
        version: str = "1.1",
        close: bool = False,
        hop_limit: int = 0,
    ) -> Response:
        kind = {"Content-Type": "text/plain"}
        if body is None:
            body = _PAGE.format(f"{status} - {_REASONS[status]}").encode()
            kind, version = {"Content-Type": "text/html"}, "1.0"
        close = close or request.close or version == "1.0" or not self.config.keep_alive
        lines = {
            **kind,
            **(headers or {}),
            "Content-Length": str(len(body)),
            "Date": formatdate(now, usegmt=True),
            "Server": "EC2ws",
            "Connection": "close" if close else "keep-alive",
        }
        head = f"HTTP/{version} {status} {_REASONS[status]}\r\n" + "".join(
            f"{name}: {text}\r\n" for name, text in lines.items()
        )
        return Response(status, f"{head}\r\n".encode(), body, close, hop_limit, token)


def _path(target: str) -> list[str]:
    """Return the segments of a path, however often slashes stand between them; a proxy's absolute form is one, too."""
    path = re.sub(r"\A[a-z]+://[^/?#]*", "", target, flags=re.IGNORECASE).partition("?")[0].partition("#")[0]
    return [segment for segment in path.split("/") if segment]
