"""`imdswatch lab serve`, asked by http.client and by hand: what EC2's service answers, octet by octet.

Expectations are those of the EC2 User Guide and of dumps of real answers, not of the simulator. Real clients, too, but
only in `test_lab_run.py`: none is started in the machine's own network namespace.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from imdswatch.account import account_of
from imdswatch.lab.config import ACCOUNTS, Config, load
from imdswatch.lab.imds import Request, Service
from imdswatch.lab.server import parse
from imdswatch.probe.questions import Question, questionnaire
from patience import LONG

ROOT = Path(__file__).parent.parent
TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
ROLES = "/latest/meta-data/iam/security-credentials/"


class Served:
    """A running `lab serve --json`."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        place = urlsplit(url)
        assert place.hostname
        assert place.port
        self.host, self.port = place.hostname, place.port

    def ask(self, method: str, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=LONG)
        try:
            connection.request(
                method, path, headers={name.replace("_", "-"): text for name, text in headers.items()}
            )
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def token(self, seconds: int = 60) -> str:
        response, body = self.ask("PUT", "/latest/api/token", **{TTL: str(seconds)})
        assert response.status == 200
        return body.decode()

    def raw(self, octets: bytes) -> bytes:
        with socket.create_connection((self.host, self.port), LONG) as client:
            client.sendall(octets)
            client.shutdown(socket.SHUT_WR)
            found = b""
            while more := client.recv(65536):
                found += more
            return found


@contextmanager
def serving(*words: str, ends: int = 0) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, "-m", "imdswatch", "lab", "serve", "--port", "0", "--json", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield Served(process, json.loads(line)["url"])
    finally:
        process.terminate()
        code = process.wait(LONG)
        process.stdout.close()
        assert code == ends


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as one:
        yield one


def test_a_token_is_given_for_its_time_and_repeats_it(served: Served) -> None:
    response, body = served.ask("PUT", "/latest/api/token", **{TTL: "21600"})
    assert (response.status, response.reason, response.version) == (200, "OK", 11)
    assert re.fullmatch(rb"AQAAA[\w-]{49}==", body)
    assert response.headers[TTL] == "21600"
    assert response.headers["Content-Type"] == "text/plain"
    assert response.headers["Server"] == "EC2ws"
    assert response.headers["Content-Length"] == "56"


@pytest.mark.parametrize("ttl", [None, "", "0", "21601", "-1", "1.5", "x", "٣", "99999999999999999999"])
def test_a_wrong_time_is_a_bad_request(served: Served, ttl: str | None) -> None:
    headers = {} if ttl is None else {TTL: ttl.encode("utf-8").decode("latin-1")}
    assert served.ask("PUT", "/latest/api/token", **headers)[0].status == 400


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("PUT", "/2021-03-23/api/token", {TTL: "60"}, 403),
        ("PUT", "/latest/api/token", {TTL: "60", "X-Forwarded-For": "192.0.2.1"}, 403),
        ("PUT", "/latest/api/token", {TTL: "60", "Expect": "100-continue"}, 417),
        ("GET", "/latest/meta-data/", {TOKEN: "AQAAAFAKE"}, 401),
        ("GET", "/latest/meta-data/nothing-here", {}, 404),
        ("GET", "/2099-01-01/meta-data/", {}, 404),
        ("GET", "/latest/user-data", {}, 404),
        ("POST", "/latest/meta-data/", {}, 405),
        ("GET", "/computeMetadata/v1/", {}, 404),
    ],
)
def test_status_codes(served: Served, method: str, path: str, headers: dict[str, str], status: int) -> None:
    assert served.ask(method, path, **headers)[0].status == status


@pytest.mark.parametrize(
    "question", [one for one in questionnaire().aws if one.status], ids=lambda one: one.name
)
def test_it_answers_what_probe_expects_of_the_real_service(served: Served, question: Question) -> None:
    headers = {**question.headers, **({TOKEN: served.token()} if question.token else {})}
    assert served.ask(question.method, question.path, **headers)[0].status in question.status


def test_a_token_through_a_proxy_is_refused(served: Served) -> None:
    token = served.token()
    assert (
        served.ask("GET", "/latest/meta-data/", **{TOKEN: token, "X-Forwarded-For": "192.0.2.1"})[0].status
        == 403
    )
    assert served.ask("GET", "/latest/meta-data/", **{TOKEN: token})[0].status == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_the_token_path_knows_only_put(served: Served, method: str) -> None:
    octets = served.raw(f"{method} /latest/api/token HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = octets.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 Not Allowed\r\n")
    assert b"\r\nAllow: OPTIONS, PUT\r\n" in head
    assert b"\r\nContent-Length: 0\r\n" in head
    assert head.endswith(b"\r\nConnection: close")
    assert not body


def test_metadata_has_the_headers_of_the_dump(served: Served) -> None:
    octets = served.raw(b"GET /latest/meta-data/placement/region HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n")
    lines = octets.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert [line.partition(":")[0] for line in lines[1 : lines.index("")]] == [
        "Content-Type", "Accept-Ranges", "Last-Modified", "Content-Length", "Date", "Server", "Connection",
    ]  # fmt: skip
    assert lines[1:3] == ["Content-Type: text/plain", "Accept-Ranges: none"]
    assert lines[-1] == "us-east-1"


def test_unauthorized_is_the_page_of_the_dump() -> None:
    with serving("--no-v1") as strict:
        octets = strict.raw(b"GET /latest/meta-data/ HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = octets.partition(b"\r\n\r\n")
        assert head.startswith(
            b"HTTP/1.0 401 Unauthorized\r\nContent-Type: text/html\r\nContent-Length: 343\r\n"
        )
        assert len(body) == 343
        assert body.startswith(b'<?xml version="1.0" encoding="iso-8859-1"?>')
        assert b"<title>401 - Unauthorized</title>" in body
        assert strict.ask("GET", "/latest/meta-data/", **{TOKEN: strict.token()})[0].status == 200


def test_user_data_is_as_in_the_dump(tmp_path: Path) -> None:
    (tmp_path / "cloud.cfg").write_text("#cloud-config\n", encoding="utf-8")
    with serving("--user-data", str(tmp_path / "cloud.cfg")) as one:
        response, body = one.ask("GET", "/latest/user-data", **{TOKEN: one.token(60)})
        assert response.version == 10
        assert body == b"#cloud-config\n"
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["Accept-Ranges"] == "bytes"
        assert 0 < int(response.headers[TTL]) <= 60
        assert one.ask("GET", "/latest/")[1] == b"dynamic\nmeta-data\nuser-data"


def test_a_token_ends() -> None:
    service, config = Service(Config()), Config()
    got = service.answer(Request("PUT", "/latest/api/token", {TTL.lower(): "10"}), 1000.0)
    assert got.hop_limit == config.hop_limit == 1
    asked = Request("GET", "/latest/meta-data/", {TOKEN.lower(): got.body.decode()})
    assert service.answer(asked, 1008.9).status == 200
    late = service.answer(asked, 1010.0)
    assert (late.status, late.token) == (401, "expired")


def test_credentials_are_fake_and_say_whose_they_are(served: Served) -> None:
    response, role = served.ask("GET", ROLES)
    assert (response.status, role) == (200, b"fake-role")
    for path in (
        ROLES,
        "/latest/meta-data/iam/security-credentials-extended/",
        "//latest/meta-data/iam//security-credentials/",
    ):
        found = json.loads(served.ask("GET", path + role.decode())[1])
        assert (found["Code"], found["Type"]) == ("Success", "AWS-HMAC")
        assert account_of(found["AccessKeyId"]) == "123456789012"
        assert "FAKE" in found["AccessKeyId"]
        assert found["SecretAccessKey"].startswith("FAKE")
        assert found["Token"].startswith("FAKE")
        assert found.get("AccountId") == ("123456789012" if "extended" in path else None)
        left = datetime.fromisoformat(found["Expiration"]) - datetime.now(UTC)
        assert 0 < left.total_seconds() <= 21600
    assert served.ask("GET", ROLES + "another-role")[0].status == 404
    arn = json.loads(served.ask("GET", "/latest/meta-data/iam/info")[1])["InstanceProfileArn"]
    assert arn == "arn:aws:iam::123456789012:instance-profile/fake-role"


@pytest.mark.parametrize("account", ACCOUNTS)
def test_every_key_id_tells_its_account(account: str) -> None:
    key = Config(account=account).access_key_id
    assert re.fullmatch(r"ASIA[A-Z2-7]{16}", key)
    assert account_of(key) == account


def test_credentials_are_renewed_and_may_be_expired() -> None:
    from imdswatch.lab.tree import credentials

    def of(now: float, lifetime: int) -> tuple[float, float]:
        found = json.loads(credentials(Config(lifetime=lifetime), now))
        return tuple(
            datetime.fromisoformat(found[name]).timestamp() for name in ("LastUpdated", "Expiration")
        )  # type: ignore[return-value]

    for second in range(0, 4000, 7):
        now = 1_800_000_000.0 + second
        begun, ends = of(now, 900)
        assert begun <= now < ends - 299
        assert ends - begun == 900
    assert of(1_800_000_000.0, -60)[1] == 1_800_000_000.0 - 60


def test_folders_list_what_lies_below_with_and_without_a_slash(served: Served) -> None:
    assert served.ask("GET", "/")[1].decode().split("\n")[0] == "1.0"
    assert served.ask("GET", "/")[1].decode().split("\n")[-1] == "latest"
    for slash in ("", "/"):
        names = served.ask("GET", f"/latest/meta-data{slash}")[1].decode().split("\n")
        assert {"instance-id", "placement/", "iam/", "network/", "services/"} <= set(names)
        assert names == sorted(names)
        assert served.ask("GET", f"/latest/meta-data/iam{slash}")[1] == b"info\nsecurity-credentials/"
    for version in served.ask("GET", "/")[1].decode().split("\n"):
        assert served.ask("GET", f"/{version}/meta-data/placement/availability-zone")[1] == b"us-east-1a"


def test_every_path_that_a_listing_names_is_there(served: Served) -> None:
    todo, seen = ["/latest/meta-data/", "/latest/dynamic/"], 0
    while todo:
        path = todo.pop()
        response, body = served.ask("GET", path)
        assert response.status == 200, path
        seen += 1
        if path.endswith("/") and not path.endswith("credentials/"):
            todo += [path + name for name in body.decode().split("\n")]
    assert seen > 35


def test_the_signed_document_is_the_published_one() -> None:
    published = Path(__file__).parent / "data" / "identity" / "npm-2026-apse2"
    service = Service(Config(identity="signed"))

    def get(path: str) -> bytes:
        return service.answer(Request("GET", path), 0).body

    for path, file in (
        ("document", "document.json"),
        ("signature", "signature.b64"),
        ("rsa2048", "rsa2048.b64"),
    ):
        assert get(f"/latest/dynamic/instance-identity/{path}") == (published / file).read_bytes()
    assert get("/latest/meta-data/instance-id") == b"i-0c5541936caf78c12"
    assert get("/latest/meta-data/placement/region") == b"ap-southeast-2"
    generated = json.loads(
        Service(Config()).answer(Request("GET", "/latest/dynamic/instance-identity/document"), 0).body
    )
    assert generated["accountId"] == "123456789012"


def test_it_is_configured_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "imds.toml"
    file.write_text(
        'v2 = false\nrole = ""\nregion = "eu-central-1"\n[paths]\n"meta-data/tags/instance/Name" = "web-1"\n'
        '"meta-data/mac" = ""\n',
        encoding="utf-8",
    )
    with serving("--config", str(file), "--account", "000000000000") as one:
        assert one.ask("PUT", "/latest/api/token", **{TTL: "60"})[0].status == 404
        assert one.ask("GET", ROLES)[0].status == 404
        assert one.ask("GET", "/latest/meta-data/placement/region")[1] == b"eu-central-1"
        assert one.ask("GET", "/latest/meta-data/tags/instance/Name")[1] == b"web-1"
        assert one.ask("GET", "/latest/meta-data/mac")[0].status == 404
        assert b'"000000000000"' in one.ask("GET", "/latest/dynamic/instance-identity/document")[1]


def test_the_configuration_in_the_documentation_is_one() -> None:
    page = (ROOT / "docs" / "lab.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(block)
        file.flush()
        assert load(Path(file.name)) == Config(v1=False, paths={"meta-data/tags/instance/Name": "web-1"})


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("\nv3 = true\n", 2, "there is no key `v3`"),
        ("v1 = 1\n", 1, "`v1` must be bool"),
        ("hop_limit = true\n", 1, "`hop_limit` must be int"),
        ("hop_limit = 65\n", 1, "`hop_limit` must be from 1 to 64"),
        ('account = "029608264753"\n', 1, "`account` must be one of 123456789012, 000000000000"),
        ('v1 = true\nrole = "a\\r\\nb"\n', 2, "`role` has characters"),
        ('[paths]\n"../x" = "y"\n', 1, "`../x` is no path"),
        ("[paths]\nx = 1\n", 1, "`paths` must be a table"),
        ("v1 =\n", 1, "no TOML"),
    ],
)
def test_a_wrong_configuration_is_told_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    file = tmp_path / "imds.toml"
    file.write_text(text, encoding="utf-8")
    code, error = run("--config", str(file))
    assert code == 2
    assert says in error
    assert f"{file}:{line}" in error


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "::", "192.0.2.2", "169.254.169.254", "::ffff:192.0.2.2", "localhost"]
)
def test_it_serves_on_loopback_only(address: str) -> None:
    code, error = run("--bind", address)
    assert code == 2
    assert "will not serve" in error or "is no IP address" in error


def test_a_port_in_use_is_told(served: Served) -> None:
    code, error = run("--port", str(served.port))
    assert (code, "cannot listen at 127.0.0.1" in error) == (2, True)


def test_ipv6_loopback_will_do() -> None:
    with serving("--bind", "::1") as one:
        assert one.host == "::1"
        assert one.ask("GET", "/latest/meta-data/placement/region")[1] == b"us-east-1"


@pytest.mark.parametrize(
    "octets",
    [b"\r\n\r\n", b"\x16\x03\x01\x02\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nbroken\r\n\r\n", b"G" * 200_000,
     b"PUT /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_request_ends_the_connection_and_nothing_else(served: Served, octets: bytes) -> None:
    try:
        found = served.raw(octets)
    except OSError:  # it hung up while we wrote
        found = b""
    assert found == b"" or found.startswith(b"HTTP/1.0 400 ")
    assert served.ask("GET", "/")[0].status == 200


def test_any_octets_are_parsed_or_refused() -> None:
    assert parse(b"GET /\xff HTTP/1.1\r\nUser-Agent: \xe9") is not None
    assert parse(b"") is None


def test_requests_of_many_are_printed_without_their_tokens(tmp_path: Path) -> None:
    began = time.time()
    with serving() as one:
        token = one.token()
        connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=LONG)
        connection.request("GET", ROLES, headers={TOKEN: token, "User-Agent": "Boto3/1.44 \x1b[31m"})
        connection.getresponse().read()
        connection.close()
        assert one.process.stdout is not None
        lines = [one.process.stdout.readline() for _ in range(2)]
    heard: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [(entry["method"], entry["target"], entry["status"], entry["token"]) for entry in heard] == [
        ("PUT", "/latest/api/token", 200, "none"),
        ("GET", ROLES, 200, "valid"),
    ]
    assert heard[1]["user_agent"].startswith("Boto3/1.44")
    assert began <= heard[1]["time"] <= time.time()
    assert token not in "".join(lines)
    assert "\x1b" not in "".join(lines)


def test_keep_alive_answers_all_on_one_connection() -> None:
    with serving("--keep-alive") as one:
        asked = b"GET /latest/meta-data/placement/region HTTP/1.1\r\nHost: x\r\n\r\n"
        octets = one.raw(
            asked + b"HEAD / HTTP/1.1\r\n\r\n" + asked[:-2] + b"Connection: close\r\n\r\n" + asked
        )
        assert octets.count(b"HTTP/1.1 200 OK") == 3
        assert octets.count(b"Connection: keep-alive") == 2


def test_a_reader_that_goes_away_ends_it() -> None:
    with serving(ends=128 + signal.SIGPIPE) as one:
        assert one.process.stdout is not None
        one.process.stdout.close()
        with suppress(OSError, http.client.HTTPException):
            one.ask("GET", "/")
        one.process.wait(LONG)


def run(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "imdswatch", "lab", "serve", *words],
        capture_output=True, text=True, timeout=LONG, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    return done.returncode, done.stderr
