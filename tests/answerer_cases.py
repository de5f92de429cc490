"""What stands where, and what it is: each simulated answerer with the host that asks it and the verdict it deserves.

The table in docs/probe-verdicts.md is made of `CASES`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from answerers import (
    ACCOUNT,
    GENUINE,
    LOCAL,
    ON_AZURE,
    ON_DELL,
    ON_EC2,
    ON_UNKNOWN,
    ON_XEN,
    REMOTE,
    STRANGER,
    Imds,
    Pages,
    continues,
    drip,
    endless,
    endless_head,
    garbage,
    hasty,
    http,
    key_id,
    low,
    many_chunks,
    nothing,
    silent,
    tls,
)
from imdswatch.probe.link import Link
from imdswatch.probe.machine import Machine


@dataclass(frozen=True)
class Case:
    """An answerer, the host that asks it, and the verdict with its decisive reason."""

    what: str
    serve: Callable[[], contextlib.AbstractContextManager[int]]
    verdict: str
    reason: str
    machine: Machine = ON_DELL
    link: Link = REMOTE
    expected: tuple[str, ...] = ()
    cloud: str = ""
    ends: bool = True
    """False where only the probe's time-out ends it."""


def _document(**changes: str) -> dict[str, bytes]:
    found = json.loads((GENUINE / "document.json").read_bytes()) | changes
    return {**Imds().identity, "document": json.dumps(found, indent=2).encode()}


AZURE = Pages(
    {"/metadata/instance": b'{"compute":{"location":"westeurope","vmId":"x"}}'},
    {"Metadata": "true"},
    otherwise=400,
    put=400,
)
GOOGLE = Pages(
    {"/computeMetadata/v1/": b"instance/\nproject/\n"},
    {"Metadata-Flavor": "Google"},
    {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"},
)
ORACLE = Pages(
    {"/opc/v2/instance/": b'{"availabilityDomain":"x","compartmentId":"ocid1"}'},
    {"Authorization": "Bearer Oracle"},
)
OPENSTACK = Pages(
    {
        "/openstack/latest/meta_data.json": b'{"uuid": "83679162-1378-4288-a2d4-70e13ec132aa"}',
        "/latest/meta-data/": b"ami-id\ninstance-id",
        "/latest/meta-data/instance-id": b"i-0000045a",
    }
)
HELPER = Imds(role="rolesanywhere", identity={}, extra={"/latest/meta-data/instance-id": b""})
MOTO = Imds(v1=True, identity={}, refusals=False, instance="", ttl_header=False, key="ASIAQAAAAAAAGMKEM7X5")

CASES = (
    Case("nothing", nothing, "absent", "no-connection"),
    Case("the real service, IMDSv2 only, on its instance", lambda: http(Imds()), "genuine", "signed", ON_EC2),
    Case(
        "the real service, IMDSv1 allowed, on its instance",
        lambda: http(Imds(v1=True)),
        "genuine",
        "v1-allowed",
        ON_EC2,
    ),
    Case(
        "the real service without a role, on its instance",
        lambda: http(Imds(role=None)),
        "genuine",
        "signed",
        ON_EC2,
    ),
    Case(
        "the real service, on a Xen instance", lambda: http(Imds()), "genuine", "private-ip-is-ours", ON_XEN
    ),
    Case("IMDSv1 only, elsewhere", lambda: http(Imds(v1=True, v2=False)), "impostor", "dmi-not-amazon"),
    Case(
        "the real service behind a hop limit",
        lambda: http(Imds(hop_limit=True)),
        "undecided",
        "no-imds",
        ON_EC2,
        ends=False,
    ),
    Case(
        "relay of a genuine document and its credentials", lambda: http(Imds()), "impostor", "dmi-not-amazon"
    ),
    Case(
        "the same relay, firmware unknown",
        lambda: http(Imds()),
        "impostor",
        "private-ip-is-not-ours",
        ON_UNKNOWN,
    ),
    Case(
        "the same relay, on another EC2 instance",
        lambda: http(Imds()),
        "impostor",
        "instance-is-another",
        replace(ON_EC2, dmi={**ON_EC2.dmi, "board_asset_tag": "i-0123456789abcdef0"}),
    ),
    Case(
        "the instance's own document with a stranger's credentials",
        lambda: http(Imds(account=STRANGER)),
        "impostor",
        "accounts-disagree",
        ON_EC2,
    ),
    Case(
        "a forged account in the document",
        lambda: http(Imds(account=STRANGER, identity=_document(accountId=STRANGER))),
        "impostor",
        "signature-flaw",
        ON_EC2,
    ),
    Case(
        "credentials without any document", lambda: http(Imds(identity={})), "impostor", "no-document", ON_EC2
    ),
    Case(
        "a token without its TTL header",
        lambda: http(Imds(ttl_header=False)),
        "impostor",
        "token-without-ttl",
        ON_EC2,
    ),
    Case(
        "a long-lived key",
        lambda: http(Imds(key=key_id(ACCOUNT, "AKIA"))),
        "impostor",
        "long-lived-key",
        ON_EC2,
    ),
    Case(
        "credentials, firmware unknown, no document",
        lambda: http(Imds(identity={})),
        "impostor",
        "no-document",
        ON_UNKNOWN,
    ),
    Case(
        "OpenStack's paths before AWS credentials",
        lambda: http(Imds(v1=True, extra=OPENSTACK.pages)),
        "impostor",
        "dmi-not-amazon",
    ),
    Case("a silent listener", lambda: low(silent), "undecided", "silent", ends=False),
    Case("a listener that hangs up", lambda: low(hasty), "undecided", "not-http"),
    Case("slow-loris", lambda: low(drip), "undecided", "not-http", ends=False),
    Case("an endless body", lambda: low(endless), "undecided", "no-imds"),
    Case("an endless head", lambda: low(endless_head), "undecided", "not-http"),
    Case("100 Continue without end", lambda: low(continues), "undecided", "not-http"),
    Case("a chunk of 256 MiB", lambda: low(many_chunks), "undecided", "no-imds"),
    Case("TLS", lambda: low(tls), "undecided", "not-http"),
    Case("garbage", lambda: low(garbage), "undecided", "not-http"),
    Case(
        "a redirect to elsewhere",
        lambda: http(Pages({}, headers={"Location": "http://192.0.2.7/"}, otherwise=302, put=302)),
        "undecided",
        "redirects",
    ),
    Case(
        "a captive portal: the same page for all",
        lambda: http(Pages({}, anything=b'<html><a href="/login">Log in</a></html>')),
        "undecided",
        "no-imds",
    ),
    Case(
        "IMDS switched off on its instance: 403",
        lambda: http(Pages({}, otherwise=403, put=403)),
        "undecided",
        "no-imds",
        ON_EC2,
    ),
    Case("like Azure, on Azure", lambda: http(AZURE), "other-cloud", "cloud-dmi", ON_AZURE, cloud="Azure"),
    Case("like Google Cloud", lambda: http(GOOGLE), "other-cloud", "cloud-path", cloud="Google Cloud"),
    Case("like Oracle Cloud", lambda: http(ORACLE), "other-cloud", "cloud-path", cloud="Oracle Cloud"),
    Case("like OpenStack", lambda: http(OPENSTACK), "other-cloud", "ec2-compatible", cloud="OpenStack"),
    Case(
        "like aws_signing_helper serve, on this host",
        lambda: http(HELPER),
        "local-helper",
        "listener-is-local",
        link=LOCAL,
    ),
    Case(
        "like moto's server, on this host",
        lambda: http(MOTO),
        "local-helper",
        "listener-is-local",
        link=LOCAL,
    ),
    Case(
        "on this host, but with credentials of an account that the site does not list",
        lambda: http(Imds(account=STRANGER, identity={})),
        "impostor",
        "account-unexpected",
        link=LOCAL,
        expected=(ACCOUNT,),
    ),
)
