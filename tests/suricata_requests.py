"""Requests as clients may spell them, each in a connection of its own: one capture, and what each must raise.

What must be raised says the predicate of `scan` on the same request, which shares no code with Suricata or its rules.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from export_cases import RULES
from imdswatch.event import complete
from imdswatch.scan.predicate import Judge, compile_rules

sys.path.insert(0, str(Path(__file__).parent / "captures"))
import packets

_SERVER = "10.9.9.9"
_ROLE = "/latest/meta-data/iam/security-credentials/app"
_TOKEN, _TTL = "x-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"


@dataclass(frozen=True)
class Asked:
    """One request and its reply; `host` is what the Host header names."""

    target: str
    method: str = "GET"
    host: str = "metadata.corp.example:1338"
    headers: tuple[str, ...] = ()
    status: int = 404

    @property
    def fields(self) -> dict[str, object]:
        """The canonical fields of the exchange, completed."""
        names = ("Host", *(one.partition(":")[0] for one in self.headers))
        where = {"url": self.target} if "://" in self.target else {"uri_path": self.target}
        agent = [one.partition(": ")[2] for one in self.headers if one.lower().startswith("user-agent:")]
        own = {"user_agent": agent[0]} if agent else {}
        return complete(
            {
                "src_ip": "10.1.0.1",
                "dst_ip": _SERVER,
                "dst_port": 1338,
                "method": self.method,
                "req_header": names,
            }
            | {"status": self.status}
            | where
            | own
            | ({} if "url" in where else {"host": self.host})
        )


BOTO = "User-Agent: Boto3/1.44.5 Python/3.11.7"
ENDPOINT = "169.254.169.254"
CASES: dict[str, tuple[Asked, ...]] = {
    name: (Asked(name),)
    for name in (
        # hits
        "/latest/meta-data", "/latest/meta-data/", "/LATEST/Meta-Data/instance-id", "//latest///meta-data//iam",
        "/latest/./meta-data/iam/info", "/x/../latest/meta-data/", "/latest/x/../meta-data/iam/",
        "/%6catest/meta-data/iam", "/%256catest/%256deta-data/iam/", "/latest%2fmeta-data%2fiam%2f",
        "/latest/meta-data?x=1",
        _ROLE, _ROLE.upper(),
        "/1.0/meta-data/iam/info", "/2021-03-23/meta-data/iam/security-credentials/", "/2007-01-19/user-data",
        "/latest/dynamic/instance-identity/document", "/latest/user-data", "/latest/api/token", "/latest/api/token/",
        "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
        # only the bulletin's rule
        "/v2/latest/api/token", "/fetch?u=http%3A%2F%2F169.254.169.254%2Flatest%2Fmeta-data%2F",
        "/latest/meta-database", "/fetch?u=%252Flatest%252Fmeta-data", "/latest/meta-data;x=1",
        # near misses
        "/latest/metadata", "/latest/metadata/iam", "/latestmeta-data/", "/latest/meta_data/", "/1x0/meta-data/", "/",
        "/2021-03-2/meta-data/", "/20210323/meta-data/", "/latest/dynamics", "/latest/user-data2", "/1.1/meta-data/",
        "/api/latest/dynamic/x", "/openstack/latest/meta_data.json", "/metadata/instance", "/latest/../meta-data",
        "/latest/api/tokens", "/computeMetadata/v1/instance", "/%2e%2e/meta-data", "/latest/api/token.json",
    )
}  # fmt: skip
CASES |= {
    "put": (Asked("/latest/api/token", "PUT", headers=(f"{_TTL}: 21600",)),),
    "put, dated": (Asked("/2021-03-23/api/token/", "PUT"),),
    "put, encoded": (Asked("/LATEST/api%2Ftoken", "PUT"),),
    "put, below": (Asked("/latest/api/token/revoke", "PUT"),),
    "put, longer": (Asked("/v2/latest/api/token", "PUT"),),
    "post": (Asked("/latest/api/token", "POST"),),
    "ttl header alone": (Asked("/x", headers=(f"{_TTL.upper()}: 60",)),),
    "token header alone": (Asked("/x", headers=(f"{_TOKEN}: FAKE-TOKEN",)),),
    "token header, Go": (Asked("/x", headers=("X-Aws-Ec2-Metadata-Token: FAKE-TOKEN",)),),
    "header of another": (Asked("/x", headers=("Metadata-Flavor: Google",)),),
    "token in a value": (Asked("/x", headers=(f"X-Note: {_TOKEN}",)),),
    **{
        f"host {host}": (Asked("/x", host=host),)
        for host in (
            ENDPOINT, f"{ENDPOINT}:80", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518",
            "[fd00:ec2::254]", "[FD00:0EC2:0:0:0:0:0:254]:80", "[::ffff:169.254.169.254]", "instance-data",
            "INSTANCE-DATA.ec2.internal", "instance-data.us-east-2.compute.internal", "169.254.169.254.",
            "169.254.169.25", "169.254.169.2540", "169.254.169.123", "169.254.170.2", "[fd00:ec2::23]",
            "x169.254.169.254", "169.254.169.254.nip.io", "instance-data.example.com", "my-instance-data",
            "[fd00:ec2::2540]", "metadata.google.internal",
        )
    },
    "answer by name": (Asked("/", host="instance-data.ec2.internal", status=200),),
    "answer, absolute form": (Asked(f"http://{ENDPOINT}/latest/api/token", "PUT", status=200),),
    "answer, absolute form, decimal": (Asked("http://2852039166/x", status=403),),
    "no answer: 503": (Asked(f"http://{ENDPOINT}/latest/meta-data/", status=503),),
    "no answer: 407": (Asked(f"http://{ENDPOINT}/latest/meta-data/", status=407),),
    "another site": (Asked("http://www.example.com/latest/news", status=200),),
    "custom endpoint, header": (Asked("/latest/api/token", "PUT", headers=(f"{_TTL}: 60",), status=200),),
    "custom endpoint, agent": (Asked("/latest/meta-data/instance-id", headers=(BOTO,), status=200),),
    "custom endpoint, no client": (Asked("/latest/meta-data/instance-id", status=200),),
    "custom endpoint, other path": (Asked("/latest/meta-data/hostname", headers=(BOTO,), status=200),),
    "custom endpoint, get of a token": (Asked("/latest/api/token", headers=(BOTO,), status=200),),
    "proxy, kept open": (
        Asked(f"http://{ENDPOINT}/latest/api/token", "PUT", status=503),
        Asked("http://www.example.com/", status=200),
    ),
    "proxy, kept open, the other way": (
        Asked("http://www.example.com/", status=200),
        Asked(f"http://{ENDPOINT}/latest/api/token", "PUT", status=400),
        Asked("http://www.example.com/x", status=502),
    ),
    "custom endpoint, kept open": (
        Asked("/latest/meta-data/instance-id", status=404),
        Asked("/x", headers=(BOTO,), status=200),
    ),
}  # fmt: skip


def address(number: int) -> str:
    """Return the client of a case."""
    return f"10.1.{number // 200}.{number % 200 + 1}"


def capture() -> bytes:
    """Return a pcap of all cases."""
    frames: list[bytes] = []
    for number, exchanges in enumerate(CASES.values()):
        client = packets.End(address(number), 40000 + number, packets.VICTIM_MAC)
        talk = packets.Talk(client, packets.End(_SERVER, 1338, packets.ROUTER_MAC)).open()
        for one in exchanges:
            host = one.target.split("/")[2] if "://" in one.target else one.host
            talk.say(0, packets.request(one.target, *one.headers, method=one.method, host=host))
            talk.say(1, packets.response("x", f"{one.status} Status"))
        frames += talk.close().frames
    return packets.pcap(packets.timed(frames))


@cache
def _judge() -> Judge:
    return compile_rules([rule for rule in RULES if rule.correlation is None], {})


def expected() -> dict[str, list[str]]:
    """Return the rules of each case."""
    slugs = [rule.slug for rule in RULES if rule.correlation is None]
    out = {}
    for name, exchanges in CASES.items():
        out[name] = sorted({slugs[index] for one in exchanges for index in _judge()(one.fields)})
    return out
