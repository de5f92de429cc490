"""A fixed set of findings, one of every sort a sink must show well; `written` runs a sink over results."""

from __future__ import annotations

import io
from dataclasses import replace

from imdswatch.finding import Evidence, Finding, Skipped, Summary, fingerprint
from imdswatch.report import open_sink

ASK_NOBODY = (
    "Nobody answered, so nothing was lost. Tell the AWS tools on this host not to ask: set "
    "AWS_EC2_METADATA_DISABLED=true or give them credentials; `imdswatch harden` does it."
)
FIND_IMPOSTOR = (
    "Find the machine that answers: look its MAC address up in the switches' tables, or follow the NAT rule. "
    "Cut it off, then see what else it answered to."
)


def make(asker: str | None = "10.0.1.5", endpoint: str = "169.254.169.254", **changes: object) -> Finding:
    finding = Finding(
        rule="imds-contact",
        rules={"imds-contact": 1},
        title="A host contacts the instance metadata endpoint",
        stage="attempted",
        severity="low",
        confidence="medium",
        first_seen=1795309200.0,
        last_seen=1795309200.0,
        count=1,
        victim={"ip": asker} if asker else {},
        responder={"ip": endpoint},
        responders=(),
        request={},
        account={},
        evidence=(Evidence("conn.log", "line 9", f"{asker or '-'} → {endpoint}:80 S0"),),
        cause="misconfiguration",
        attack=("T1557",),
        suppressed_by=None,
        remedy=ASK_NOBODY,
        fingerprint=fingerprint(asker, endpoint),
    )
    return replace(finding, **changes)  # type: ignore[arg-type]


def findings() -> list[Finding]:
    """Return one finding of every sort a sink must show well, mildest first."""
    return [
        make("10.0.3.77", count=9_007_199_254_740_993, last_seen=1795395599.5, confidence="high"),
        make(
            None,
            rule="imds-name-lookup",
            title="A host looks up the name of the endpoint",
            first_seen=None,
            last_seen=None,
        ),
        make("10.20.0.4", suppressed_by="openstack-lab"),
        make("10.20.0.5", suppressed_by="openstack-lab", stage="requested"),
        make("198.51.100.7", suppressed_by="on_premises"),
        make(
            "2001:db8:85a3:8d3:1319:8a2e:370:7348",
            "fd00:ec2::254",
            rule="imds-token-request",
            rules={"imds-contact": 4, "imds-token-request": 2},
            title="A host asks for an IMDSv2 token",
            stage="requested",
            severity="medium",
            count=6,
            victim={
                "ip": "2001:db8:85a3:8d3:1319:8a2e:370:7348",
                "vlan": (120, 30),
                "user_agent": "aws-sdk-go/1.44.0 (go1.20; linux; amd64)",
                "process": "/usr/bin/amazon-ssm-agent",
            },
            request={"method": "PUT", "host": "[fd00:ec2::254]", "path": "/latest/api/token"},
        ),
        make(
            "10.0.2.9",
            "10.9.8.7:1338",
            rule="imds-answered",
            rules={"imds-answered": 12, "imds-request": 12},
            title="Something answered at the endpoint",
            stage="answered",
            severity="high",
            confidence="high",
            count=12,
            responder={"ip": "10.9.8.7", "mac": "02:00:00:00:09:87", "ttl": 63},
            responders=({"mac": "02:00:00:00:09:88"},),
            request={
                "method": "GET",
                "host": "10.9.8.7:1338",
                "path": "/latest/meta-data/instance-id",
                "status": 404,
            },
            evidence=tuple(
                Evidence("/var/log/zeek/2026-11-22/http.log.gz", f"line {n}", "") for n in range(812, 824)
            ),
            cause="impersonation",
            remedy=FIND_IMPOSTOR,
        ),
        make(
            "10.66.6.6",
            rule="imds-answered",
            title="Something answered \x1b[31mat the endpoint",
            stage="answered",
            severity="high",
            victim={
                "ip": "10.66.6.6",
                "host": "\x1b]0;owned\x07[bold red]evil\u202egnp.exe\r\n[/]",
                "user_agent": "=cmd|' /C calc'!A0,\"quoted\",\n\ttail",
            },
            request={
                "method": "GET",
                "path": "/latest/meta-data/%1b[2J\x9b2J/[link=https://example.com]x[/link]/" + "A" * 90,
                "status": 200,
            },
            evidence=(
                Evidence(
                    "logs/\udc80\u200b.json", "line 3", '{"uri":"\x1b[2J\udfff","x":"' + "B" * 600 + '"}'
                ),
            ),
            remedy=FIND_IMPOSTOR,
        ),
        make(
            rule="imds-unexpected-account",
            rules={"imds-contact": 3, "imds-credentials-served": 1, "imds-unexpected-account": 1},
            title="Credentials of an unexpected account were served",
            stage="credentials-served",
            severity="critical",
            confidence="high",
            last_seen=1795309204.25,
            count=3,
            victim={
                "ip": "10.0.1.5",
                "mac": "02:00:00:00:01:05",
                "port": 40112,
                "vlan": (210,),
                "host": "build-7.corp.example",
                "user_agent": "Boto3/1.34.0 Botocore/1.34.0",
                "client": "boto3",
            },
            responder={
                "ip": "169.254.169.254",
                "mac": "00:0c:29:00:66:01",
                "nat_ip": "10.9.9.9",
                "ttl": 64,
                "vendor": "VMware, Inc.",
                "gateway": "10.0.1.66",
            },
            request={
                "method": "GET",
                "host": "169.254.169.254",
                "path": "/latest/meta-data/iam/security-credentials/role",
                "status": 200,
            },
            account={
                "id": "029608264753",
                "expected": False,
                "from": "access-key-id",
                "access_key_id": "ASIAQNZGEXAMPLEAAAAA",
                "role": "role",
                "claims": {"access-key-id": "029608264753", "identity-document": "111122223333"},
                "forged": True,
            },
            evidence=(
                Evidence(
                    "span.pcap", "packet 41", '{"Code":"Success","AccessKeyId":"ASIAQNZGEXAMPLEAAAAA",…}'
                ),
                Evidence("http.log", "line 812", "GET /latest/meta-data/iam/security-credentials/role 200"),
            ),
            cause="impersonation",
            attack=("T1552.005", "T1557"),
            remedy="Take the host off the network. Its AWS tools may have worked in account "
            "029608264753, which is not yours: treat what they uploaded as disclosed.\n" + FIND_IMPOSTOR,
        ),
    ]


SKIPPED = [
    Skipped("x.pcap", "byte 8812", "capture is cut short in packet 41"),
    Skipped("logs/\x1b[1mold\n.gz", "", "not a gzip file"),
]
SUMMARY = Summary(
    sources=12,
    bytes=1_234_567_890,
    records=48_211,
    findings=6,
    suppressed=3,
    skipped=2,
    ignored=3,
    seconds=3.42,
    notes=("rule my-rule has no literal: every record was parsed",),
)


def written(
    format: str,
    findings: list[Finding],
    skipped: list[Skipped] | None = None,
    summary: Summary = SUMMARY,
    *,
    color: bool = False,
    show_suppressed: bool = False,
    width: int | None = None,
) -> str:
    handle = io.StringIO(newline="")
    sink = open_sink(format, handle, color=color, show_suppressed=show_suppressed, width=width)
    for finding in findings:
        sink.finding(finding)
    for place in skipped or []:
        sink.skipped(place)
    sink.close(summary)
    return handle.getvalue()
