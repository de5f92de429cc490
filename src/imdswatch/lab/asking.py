"""The victim that needs nothing installed: an HTTP client of the standard library that asks as AWS's SDKs do.

`ask` sends from the namespace that the calling thread is in; who calls it has made sure that it is one of ours. It
obeys the same environment as the SDKs: AWS_EC2_METADATA_DISABLED, the endpoint and its mode, http_proxy.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from imdswatch.lab.network import ENDPOINT, ENDPOINT6, HOSTS

AGENT = "imdswatch-lab/1"
_PATIENCE = 3.0  # seconds; SDKs wait for one, and then tell a busy machine from a silent endpoint no more
_CREDENTIALS = "/latest/meta-data/iam/security-credentials/"
_PLAIN = {
    "region": "/latest/meta-data/placement/region",
    "identity": "/latest/dynamic/instance-identity/document",
}
_CLOUDS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("/metadata/instance?api-version=2021-02-01", {"Metadata": "true"}),
    ("/computeMetadata/v1/instance/?recursive=true", {"Metadata-Flavor": "Google"}),
    ("/openstack/latest/meta_data.json", {}),
    ("/opc/v2/instance/", {"Authorization": "Bearer Oracle"}),
    ("/metadata/v1.json", {}),
    ("/hetzner/v1/metadata", {}),
)
_LOOKALIKES: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("GET", "/docs/imds.html", {}),
    ("GET", "/search?q=169.254.169.254", {}),
    ("GET", "/", {"Referer": "http://wiki/latest-meta-data-explained"}),
    ("GET", "/latest/metadata/list", {}),
    ("GET", "/v2/latest-api-token", {}),
    ("POST", "/notes", {"Content-Type": "text/plain"}),
    ("GET", "/", {"User-Agent": "Boto3/1.44.5 Python/3.11 Botocore/1.44.5"}),
)
_NOTE = b"curl -X PUT http://169.254.169.254/latest/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 60'\n"


def ask(operation: str, environment: Mapping[str, str]) -> str:
    """Do one thing as a client would, and return in a few words what came of it."""
    if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return "asks nobody: AWS_EC2_METADATA_DISABLED"
    if operation == "lookalikes":
        return _all((method, path, headers) for method, path, headers in _LOOKALIKES)
    mode = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower()
    url = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or (
        f"http://[{ENDPOINT6}]" if mode == "ipv6" else f"http://{ENDPOINT}"
    )
    try:
        with _Connection(url, environment.get("http_proxy", "")) as connection:
            if operation == "other-cloud":
                return ", ".join(str(connection.ask("GET", path, headers)[0]) for path, headers in _CLOUDS)
            return _aws(connection, operation)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {str(error) or type(error).__name__}"


class _Connection:
    """A connection to a server, or to a proxy for it; a new one wherever the server closed the last."""

    def __init__(self, url: str, proxy: str) -> None:
        self._url, self._host = url, urlsplit(url).netloc
        place = urlsplit(proxy or url)
        self._absolute = bool(proxy)
        self._client = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=_PATIENCE)

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Return status and body."""
        target = self._url + path if self._absolute else path
        more = {"Host": self._host, "User-Agent": AGENT, **(headers or {})}
        self._client.request(method, target, body, more)
        response = self._client.getresponse()
        return response.status, response.read(1 << 20)


def _aws(connection: _Connection, operation: str) -> str:
    headers: dict[str, str] = {}
    if operation != "v1":
        status, body = connection.ask(
            "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
        )
        if status == 200:
            headers = {"X-aws-ec2-metadata-token": body.decode("latin-1")}
        elif status == 400:
            return "the token was refused with 400"
    if operation == "instance":
        connection.ask("GET", _PLAIN["identity"], headers)
    if operation in _PLAIN:
        status, body = connection.ask("GET", _PLAIN[operation], headers)
        return f"status {status}, {len(body)} bytes"
    status, body = connection.ask("GET", _CREDENTIALS, headers)
    if status != 200:
        return f"no role: status {status}"
    role = body.decode("latin-1").split("\n")[0]
    status, body = connection.ask("GET", _CREDENTIALS + role, headers)
    try:
        return f"took credentials {json.loads(body)['AccessKeyId']}"
    except (ValueError, KeyError, TypeError):
        return f"no credentials: status {status}"


def _all(requests: Iterable[tuple[str, str, Mapping[str, str]]]) -> str:
    return ", ".join(_intranet(requests))


def _intranet(requests: Iterable[tuple[str, str, Mapping[str, str]]]) -> Iterator[str]:
    for method, path, headers in requests:
        with _Connection(f"http://{HOSTS['rogue'].ip}:8080", "") as connection:
            body = _NOTE if method == "POST" else None
            yield str(connection.ask(method, path, headers, body)[0])
