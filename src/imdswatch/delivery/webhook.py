"""A webhook: batches of results as JSON in signed POST requests, after Standard Webhooks.

Source: https://github.com/standard-webhooks/standard-webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`:
`v1,` and the base64 of HMAC-SHA256 over id, timestamp and body). The receiver confirms with any 2xx. The id of a batch
derives from its results, so it is the same when it is sent again; each result has an id of its own as well.

    {"type": "imdswatch.results", "timestamp": "…", "data": [{"id": "…", "kind": "finding", "result": {…}}, …]}

A redirect is not followed (the results would go where nobody asked), bodies of answers are not read, an exchange is
bounded in time however slowly octets come. What the receiver says it will never take (400, 413, 422) is tried in
halves, until the one result that it refuses is found and set aside; any other status is tried again.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import urllib3
from standardwebhooks import Webhook
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Retry

from imdswatch import __version__
from imdswatch.delivery import tls
from imdswatch.delivery.message import Channel, Message, Refused, Undelivered, batch_identity
from imdswatch.delivery.syslog import reason
from imdswatch.delivery.target import FORMATS, Target
from imdswatch.errors import UsageError

_NEVER = frozenset((400, 413, 422))
_BYTES = 1 << 20
"""A batch is cut at so many octets of results: common limits of gateways begin here."""
_LONGEST_WAIT = 3600.0
"""A receiver may ask us to wait (Retry-After), but not for ever."""


def open_channel(target: Target) -> Channel:
    """Return the channel to a webhook; raises UsageError for a secret or certificate that cannot be used."""
    return _Webhook(target)


class _Webhook:
    def __init__(self, target: Target) -> None:
        self.most = target.number("batch", 100, 1, 1000)
        self._seconds = float(target.number("timeout", 30, 1, 600))
        self._target = target
        self._context = tls.context(target) if target.scheme == "https" else None
        target.choice("format", FORMATS)
        self._signer, self._authorization = _signer(target), target.secret("authorization")
        if self._authorization and self._context is None and not _is_here(target.host):
            raise UsageError(f"the authorization for {target.shown} would go over the network as plain text")

    def send(self, batch: Sequence[Message]) -> int:
        batch = _not_too_long(batch)
        while True:
            status, after = self._post(batch)
            if 200 <= status < 300:
                return len(batch)
            if status not in _NEVER:
                raise Undelivered(f"it answered with status {status}", after)
            if len(batch) == 1:
                raise Refused(f"the receiver answered with status {status}", 0)
            batch = batch[: len(batch) // 2]

    def close(self) -> None:
        """Nothing is open between batches."""

    def _post(self, batch: Sequence[Message]) -> tuple[int, float]:
        """Send one request and return the status, and the seconds the receiver wants us to wait."""
        body = _body(batch)
        headers = {
            "content-type": "application/json",
            "user-agent": f"imdswatch/{__version__}",
            "connection": "close",
            "webhook-id": batch_identity(batch),
            "webhook-timestamp": str(int(time.time())),
        }
        if self._signer is not None:
            now = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
            headers["webhook-signature"] = self._signer.sign(headers["webhook-id"], now, body)
        if self._authorization:
            headers["authorization"] = self._authorization
        connection = self._connection()
        try:
            with _bounded(connection, self._seconds):
                connection.request(
                    "POST",
                    self._target.path,
                    body=body.encode("utf-8"),
                    headers=headers,
                    preload_content=False,
                )
                answer = connection.getresponse()
                answer.close()
                return answer.status, _wish(answer)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            inner = error.__cause__ or error.__context__ or error
            raise Undelivered(reason(inner if isinstance(inner, OSError) else _plain(error))) from None
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        target = self._target
        if self._context is None:
            return HTTPConnection(target.host, target.port, timeout=self._seconds)
        return HTTPSConnection(target.host, target.port, timeout=self._seconds, ssl_context=self._context)


def _body(batch: Sequence[Message]) -> str:
    """Return the payload; made of texts, since each result is a JSON document already."""
    oldest = (
        datetime.fromtimestamp(batch[0].at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    )
    data = ",".join(f'{{"id":{json.dumps(one.id)},"kind":"{one.kind}","result":{one.body}}}' for one in batch)
    return f'{{"type":"imdswatch.results","timestamp":"{oldest}","data":[{data}]}}'


def _not_too_long(batch: Sequence[Message]) -> Sequence[Message]:
    size = 0
    for number, one in enumerate(batch):
        size += len(one.body)
        if size > _BYTES and number:
            return batch[:number]
    return batch


def _wish(answer: urllib3.BaseHTTPResponse) -> float:
    """Return what Retry-After asks for, in seconds; urllib3 reads both its forms (RFC 9110 10.2.3)."""
    try:
        asked = Retry().get_retry_after(answer)
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return 0.0
    return min(max(asked or 0.0, 0.0), _LONGEST_WAIT)


def _signer(target: Target) -> Webhook | None:
    """Return what signs, by a secret as Standard Webhooks writes it (`whsec_` and base64), or as it is."""
    secret = target.secret("secret")
    if secret is None:
        return None
    if not secret.startswith("whsec_"):
        return Webhook(secret.encode("utf-8"))
    try:
        return Webhook(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except (binascii.Error, RuntimeError):
        raise UsageError(f"the secret for {target.shown} begins with whsec_, but no base64 follows") from None


@contextmanager
def _bounded(connection: HTTPConnection, seconds: float) -> Iterator[None]:
    """End the connection after so many seconds: a timeout of a socket begins anew with every octet."""

    fired = threading.Event()

    def end() -> None:
        fired.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if fired.is_set():  # what was read until then may look like a whole answer
            raise Undelivered("it did not answer in time")


def _plain(error: Exception) -> Exception:
    """Return an error to be told without its text, which may hold what the receiver said."""
    return TimeoutError() if isinstance(error, urllib3.exceptions.TimeoutError) else error


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
