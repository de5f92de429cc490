"""Lines of Zeek's http.log as JSON: ordinary ones, and ones that use IMDS in every spelling a log may have.

Field names and order are those of zeek/zeek 015b935 scripts/base/protocols/http/main.zeek, with
`policy/protocols/http/header-names` loaded. Pure. Nothing here is real: addresses
are private, reserved for documentation, or the endpoint itself.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

START = 1795309200  # 2026-11-22, the day of the first measurement

_AGENTS = [
    "curl/8.5.0",
    "Debian APT-HTTP/1.3 (2.6.1)",
    "Microsoft-Delivery-Optimization/10.1",
    "Microsoft NCSI",
    "python-requests/2.31.0",
    "Go-http-client/1.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Prometheus/2.53.0",
    "Boto3/1.34.84 md/Botocore#1.34.84",
]
_NAMES = [
    "deb.example.org",
    "www.example.com",
    "intranet.example.net",
    "ocsp.example.org",
    "cdn.example.net",
    "10.3.0.9",
]
_PATHS = [
    "/",
    "/debian/dists/bookworm/InRelease",
    "/api/v1/query?query=up%%7Bjob%%3D%%22node%%22%%7D&time=17953{n}",
    "/assets/app-{n}.js",
    "/news/{n}",
    "/docs/v2.{n}/index.html",
    "/search?q=instance+type&page={n}",
    "/MFEwTzBNMEswSTAJBgUrDgMCGgUABBQ{n}",
    "/files/{n}?P1=179531{n}&P2=404&P4=a%%2bb%%3d",
    "/repository/{n}/maven-metadata.xml",
]
_NEAR = [
    "/latest/news/{n}",
    "/docs/2021-03-23/index.html",
    "/v2/{n}/manifests/latest",
    "/computeMetadata/v2/{n}",
]
"""Ordinary requests that begin like a search pattern, and that the byte search must let go."""
_NEAR_EVERY = 50
_LOOKALIKES = [
    "/r?to=http%%253A%%252F%%252Fwww%%252Eexample%%252Ecom",
    "/a/%%2e%%2e/b%%5Fc",
    "/x?next=/latest/api%%2Dtokens",
]
"""Ordinary requests that the byte search hands to the parser: they encode what needs no encoding."""
_LOOKALIKE_EVERY = 2000
_MIMES = ["text/html", "text/json", "text/plain", "image/png"]
_HEADERS = ['"HOST","ACCEPT"', '"HOST","ACCEPT","USER-AGENT","RANGE"', '"HOST"', '"HOST","USER-AGENT"']


@dataclass(frozen=True, slots=True)
class Hit:
    """One line that must be found: how it is spelled, who asked, and the stage that this line alone shows."""

    line: int
    kind: str
    victim: str
    stage: str


def line(
    client: str,
    server: str,
    host: str,
    uri: str,
    *,
    method: str = "GET",
    port: int = 80,
    agent: str = "curl/8.5.0",
    status: int | None = 200,
    length: int = 512,
    mime: str = "text/plain",
    headers: str = '"HOST","USER-AGENT"',
    slots: tuple[str, str] = ("%d", "%06x"),
    tail: str = "Q4tR8vLmZ",
) -> str:
    """Return one http.log line without line feed; `slots` are filled in with time and connection number."""
    reply = (
        "" if status is None else f',"status_code":{status},"status_msg":"{"OK" if status < 300 else "-"}"'
    )
    kind = f',"resp_mime_types":["{mime}"]' if status is not None and length else ""
    return (
        f'{{"ts":{slots[0]}.25,"uid":"C{slots[1]}{tail}","id.orig_h":"{client}",'
        f'"id.orig_p":{40000 + len(uri) * 7},'
        f'"id.resp_h":"{server}","id.resp_p":{port},"trans_depth":1,"method":"{method}","host":"{host}",'
        f'"uri":"{uri}","version":"1.1","user_agent":"{agent}","request_body_len":0,'
        f'"response_body_len":{length if status is not None else 0}{reply},"tags":[]{kind},'
        f'"client_header_names":[{headers}]}}'
    )


def benign(chance: random.Random) -> str:
    """Return a template line of ordinary traffic."""
    number = str(chance.randrange(10**5, 10**6))
    server = f"{chance.choice(('192.0.2', '198.51.100', '203.0.113'))}.{chance.randrange(1, 255)}"
    kind = chance.randrange(_LOOKALIKE_EVERY)
    paths = _LOOKALIKES if kind == 0 else _PATHS if kind % _NEAR_EVERY else _NEAR
    uri = chance.choice(paths).replace("{n}", number)
    status = chance.choices((200, 304, 404, 206, 301), (80, 8, 5, 4, 3))[0]
    return line(
        f"10.{chance.randrange(1, 5)}.{chance.randrange(256)}.{chance.randrange(1, 255)}",
        server,
        chance.choice(_NAMES),
        uri,
        agent=chance.choices(_AGENTS, (9, 5, 5, 3, 5, 5, 4, 5, 4))[0],
        status=status,
        length=chance.randrange(10**6) if status == 200 else 0,
        mime=chance.choice(_MIMES),
        headers=chance.choice(_HEADERS),
        tail="".join(chance.choices("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghkmnopqrstuvwxyz23456789", k=9)),
    )


V4, V6 = "169.254.169.254", "fd00:ec2::254"
_TTL = '"HOST","USER-AGENT","X-AWS-EC2-METADATA-TOKEN-TTL-SECONDS"'
TOKEN = '"HOST","USER-AGENT","X-AWS-EC2-METADATA-TOKEN"'
_ROLE = "/latest/meta-data/iam/security-credentials/web-server"
_PROXY = "10.9.0.8"

# Name → (stage of this line alone, line). `c` is the client, the rest names the connection.
_KINDS: dict[str, tuple[str, Callable[..., str]]] = {
    "token PUT": (
        "answered",
        lambda c, **k: line(
            c, V4, V4, "/latest/api/token", method="PUT", agent=_AGENTS[8], headers=_TTL, **k
        ),
    ),
    "role": (
        "credentials-served",
        lambda c, **k: line(c, V4, V4, _ROLE, agent=_AGENTS[8], headers=TOKEN, **k),
    ),
    "unanswered": ("requested", lambda c, **k: line(c, V4, V4, "/latest/meta-data/", status=None, **k)),
    "refused by the proxy": (
        "requested",
        lambda c, **k: line(
            c, _PROXY, V4, f"http://{V4}/latest/api/token", method="PUT", port=3128, status=503, **k
        ),
    ),
    "decimal host": (
        "answered",
        lambda c, **k: line(
            c, _PROXY, "2852039166", "http://2852039166/latest/meta-data/instance-id", port=3128, **k
        ),
    ),
    "percent-encoded path": (
        "requested",
        lambda c, **k: line(c, "10.9.0.80", "ssrf.example.net", "/%6catest/%6Deta-data/hostname", **k),
    ),
    "IPv6": (
        "answered",
        lambda c, **k: line(
            c.replace("10.", "fd12:3456::", 1).replace(".", ":"), V6, f"[{V6}]", "/latest/user-data", **k
        ),
    ),
    "absolute form": (
        "answered",
        lambda c, **k: line(
            c, _PROXY, V4, f"http://{V4}/latest/dynamic/instance-identity/document", port=3128, **k
        ),
    ),
    "only the address": ("answered", lambda c, **k: line(c, V4, "-", "/", status=404, length=9, **k)),
    "dated tree": ("answered", lambda c, **k: line(c, V4, V4, "/2021-03-23/meta-data/ami-id", **k)),
    "slashes and case": ("answered", lambda c, **k: line(c, V4, V4, "//Latest//./Meta-Data/mac", **k)),
    "custom endpoint": (
        "answered",
        lambda c, **k: line(
            c, "10.9.0.81", "mds.example.net", "/latest/meta-data/instance-id", port=8080, headers=TOKEN, **k
        ),
    ),
}


def victim(number: int) -> str:
    """Return the address of victim `number`: distinct up to 16 million."""
    return f"10.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def hit(number: int, when: int, session: int) -> tuple[Hit, bytes]:
    """Return hit `number` (its line still unknown) and its text."""
    kind = list(_KINDS)[number % len(_KINDS)]
    stage, make = _KINDS[kind]
    text = make(victim(number), slots=(str(when), f"{session:06x}"))
    client = json.loads(text)["id.orig_h"]
    return Hit(0, kind, client, stage), text.encode()
