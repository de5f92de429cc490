"""The client is told from its requests: every head in tests/data/imds-clients.txt came from a real client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imdswatch import clients
from imdswatch.wire.http1 import Conversation, Request

RECORDED = Path(__file__).parent / "data" / "imds-clients.txt"
NAMES = {
    "boto3": "boto3",
    "boto3-1.9": "boto3",
    "auto-boto3": "boto3",
    "awscli1": "AWS CLI",
    "awscli1-sts": "AWS CLI",
    "awscli2": "AWS CLI",
    "aiobotocore": "aiobotocore",
    "boto2": "boto 2, or another program with Python's urllib",
    "crt": "AWS Common Runtime (C, C++, Swift, Python)",
    "smithy-py": "AWS SDK for Python v4",
    "ec2-metadata-py": "a program with Python's urllib3",
    "pyarrow-cpp": "AWS SDK for C++",
    "arrow-ctor": "AWS SDK for C++",
    "obstore-rust": "object_store (Rust)",
    "deltalake-rust": "AWS SDK for Rust",
    "js3-imds": "AWS SDK for JavaScript v3",
    "js3-chain": "AWS SDK for JavaScript v3",
    "js3-sts": "AWS SDK for JavaScript v3",
    "js3-mdsvc": "AWS SDK for JavaScript v3",
    "auto-js": "AWS SDK for JavaScript v3",
    "js2": "AWS SDK for JavaScript v2",
    "go1": "AWS SDK for Go v1",
    "go1-doc": "AWS SDK for Go v1",
    "go2": "AWS SDK for Go v2",
    "ruby3": "AWS SDK for Ruby",
    "s3cmd": "s3cmd",
    "rclone": "rclone",
    "restic": "a Go program (minio-go, restic, agents)",
    "ec2-utils": "ec2-metadata script (curl)",
    "cloudinit": "cloud-init",
    "gcp": "Google auth library",
    "azure": "Azure identity library",
    "azure2": "Azure identity library",
}


def recorded() -> Iterator[tuple[str, list[str]]]:
    """Yield client (section) and the heads it sent."""
    name, heads, head = "", list[str](), list[str]()
    for line in [*RECORDED.read_text(encoding="utf-8").splitlines(), "", "== end"]:
        if line.startswith("#"):
            continue
        if line.startswith("== ") or not line:
            if head:
                heads.append("\r\n".join(head) + "\r\n\r\n")
                head = []
            if line and name:
                yield name, heads
            if line:
                name, heads = line[3:], []
        else:
            head.append(line)


def read(heads: list[str]) -> list[Request]:
    conversation = Conversation()
    exchanges = conversation.feed(0, "".join(heads).encode("latin-1"), None) + conversation.close()
    return [exchange.request for exchange in exchanges if exchange.request is not None]


CASES = [(name, heads) for name, heads in recorded()]


def test_the_recording_has_all_clients() -> None:
    assert {name.partition(" ")[0] for name, _ in CASES} == set(NAMES)
    assert sum(len(heads) for _, heads in CASES) > 100


@pytest.mark.parametrize(("name", "heads"), CASES, ids=[name for name, _ in CASES])
def test_a_real_client_is_told_from_what_it_sends(name: str, heads: list[str]) -> None:
    requests = read(heads)
    assert len(requests) == len(heads)
    assert all(request.complete for request in requests)
    assert clients.kind(requests) == NAMES[name.partition(" ")[0]]


@pytest.mark.parametrize(("name", "heads"), CASES, ids=[name for name, _ in CASES])
def test_one_request_is_enough_where_the_client_has_marks_of_its_own(name: str, heads: list[str]) -> None:
    for head in heads:
        found = clients.kind(read([head]))
        if name.startswith("ec2-utils"):
            assert found in (NAMES["ec2-utils"], "curl")
        elif name == "s3cmd (token-refused)" and "metadata-token" not in head:
            assert found is None, "no mark at all is left of it"
        else:
            assert found == NAMES[name.partition(" ")[0]]


def request(path: str, *headers: tuple[str, str | None]) -> Request:
    return Request("GET", path, "1.1", headers, True, True, 0, None)


def test_ssm_agent_is_told_by_the_set_of_paths() -> None:
    agent = ("User-Agent", "aws-sdk-go/1.44.260 (go1.21; linux; amd64)")
    tree = "/latest/meta-data/"
    asked = [tree + name for name in ("instance-id", "placement/availability-zone", "services/domain/")]
    assert clients.kind([request(path, agent) for path in asked]) == "SSM Agent"
    assert clients.kind([request(path, agent) for path in asked[:2]]) == "AWS SDK for Go v1"


def test_a_curl_is_the_script_only_if_it_asks_what_the_script_asks() -> None:
    curl, ttl = ("User-Agent", "curl/8.5.0"), ("X-aws-ec2-metadata-token-ttl-seconds", "900")
    token = request("/latest/api/token", curl, ttl)
    role = request("/latest/meta-data/iam/security-credentials/fake-role", curl)
    assert clients.kind([token]) == clients.kind([token, role]) == "curl"
    script = [token, request("/latest//meta-data/ramdisk-id", curl)]
    assert clients.kind(script) == "ec2-metadata script (curl)"


def test_who_sends_no_mark_is_unknown() -> None:
    assert clients.kind([]) is None
    assert clients.kind([request("/latest/meta-data/", ("User-Agent", "x"), ("Host", "y"))]) is None
    assert clients.kind([request("/latest/meta-data/", ("Host", "y"))]) is None


def test_a_renamed_go_sdk_is_still_known_by_its_headers() -> None:
    names = ("Host", "User-Agent", "Amz-Sdk-Request", "X-Aws-Ec2-Metadata-Token", "Accept-Encoding")
    assert clients.kind([request("/x", *((name, "mine") for name in names))]) == "AWS SDK for Go v2"


def test_every_entry_says_where_it_comes_from() -> None:
    for entry in clients._table("fingerprints")["clients"]:
        assert set(entry) <= {"name", "user_agent", "headers", "values", "paths", "asked", "source"}
        assert entry["source"]
        assert set(entry) & {"user_agent", "headers", "values"}
