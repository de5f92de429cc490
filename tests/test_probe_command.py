"""`imdswatch probe` as a command: exit codes, both formats, lists, mistakes, signals, and a namespace of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from answerers import ACCOUNT, STRANGER, Imds, http, low, nothing, silent
from commandline import command, environment
from imdswatch.errors import UsageError
from imdswatch.probe.link import Kernel
from imdswatch.probe.machine import machine
from imdswatch.probe.plan import plan
from imdswatch.probe.run import spread
from imdswatch.probe.target import DEFAULTS, Target, parse, targets
from imdswatch.rule import load_rules
from imdswatch.site import Site
from patience import LONG, until

SITE = f'[accounts]\nexpected = ["{ACCOUNT}"]\n'


def run(*arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    """Run the command with ndjson output against endpoints of its own; never against the default ones."""
    assert "--endpoint" in arguments
    words = command("probe", "--timeout", "60s", *arguments, "--format", "ndjson")
    done = subprocess.run(
        words, capture_output=True, text=True, env=environment(), timeout=4 * LONG, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_nothing_there_is_clean() -> None:
    with nothing() as port:
        code, results, _ = run("--endpoint", f"http://127.0.0.1:{port}")
    assert code == 0
    assert [one["type"] for one in results] == ["verdict", "summary"]
    assert results[0]["verdict"] == "absent"
    assert results[0]["reasons"] == [
        {"slug": "no-connection", "speaks_for": "absent", "text": "no connection: refused"}
    ]


def test_an_impostor_is_a_finding_with_verdict_and_reasons(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE, encoding="utf-8")
    with http(Imds(account=STRANGER, identity={})) as port:
        code, results, _ = run("--endpoint", f"http://127.0.0.1:{port}", "--site", site)
        quiet, _, _ = run(
            "--endpoint", f"http://127.0.0.1:{port}", "--site", site, "--fail-on", "credentials-used"
        )
    assert (code, quiet) == (1, 0)
    (finding,) = [one for one in results if one["type"] == "finding"]
    assert finding["rule"] == "imds-unexpected-account"
    assert finding["verdict"] == "impostor"
    assert "account-unexpected" in [reason["slug"] for reason in finding["reasons"]]
    assert finding["account"]["id"] == STRANGER
    assert finding["evidence"][0]["position"] == "GET /latest/meta-data/iam/security-credentials/app"
    assert "FAKE" not in json.dumps(results).replace(finding["account"]["access_key_id"], "")


def test_what_cannot_be_told_is_skipped() -> None:
    with low(silent) as port:
        code, results, _ = run("--endpoint", f"http://127.0.0.1:{port}", "--timeout", "1s")
    assert code == 3
    (skipped,) = [one for one in results if one["type"] == "skipped"]
    assert skipped["source"] == f"http://127.0.0.1:{port}"
    assert "no answer came" in skipped["reason"]


def test_each_endpoint_of_a_list_has_its_verdict(tmp_path: Path) -> None:
    with http(Imds()) as one, nothing() as other:
        endpoints = tmp_path / "endpoints.txt"
        endpoints.write_text(
            f"# ours\nhttp://127.0.0.1:{one}\n\n127.0.0.1:{other}  # off\n", encoding="utf-8"
        )
        code, results, _ = run("--endpoint", f"@{endpoints}")
    assert code == 0
    told = [one["verdict"] for one in results if one["type"] == "verdict"]
    assert told == ["local-helper", "absent"]


def test_text_says_who_whose_why_and_what_to_do(tmp_path: Path) -> None:
    with http(Imds()) as port:
        words = command("probe", "--endpoint", f"http://127.0.0.1:{port}", "-o", tmp_path / "out.txt")
        code = subprocess.run(words, env=environment(), timeout=4 * LONG, check=False).returncode
    text = (tmp_path / "out.txt").read_text(encoding="utf-8")
    assert code == 0
    assert f"http://127.0.0.1:{port}: local-helper\n" in text
    for piece in ("  answered  127.0.0.1", f"  account   {ACCOUNT}", "  for  ", "  seen  ", "  do  "):
        assert piece in text
    assert "1 local-helper. " in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--endpoint", "https://10.0.0.1"), "is an https endpoint"),
        (("--endpoint", "ftp://10.0.0.1"), "is no endpoint"),
        (("--endpoint", "http://10.0.0.1/\r\nHost: x"), "is no endpoint"),
        (("--endpoint", "http://u:p@10.0.0.1"), "is no endpoint"),
        (("--endpoint", "@/nowhere/list"), "cannot read the list of endpoints"),
        (("--endpoint", "127.0.0.1:1", "--interface", "none0"), "interface `none0` is not up"),
        (("--endpoint", "127.0.0.1:1", "--via-proxy", "x", "--interface", "lo"), "exclude each other"),
        (("--endpoint", "127.0.0.1:1", "--repeat", "soon"), "is no duration"),
    ],
)
def test_a_mistake_is_told(words: tuple[str, ...], message: str) -> None:
    code, results, error = run(*words)
    assert (code, results) == (2, [])
    assert message in error


def test_a_mistake_in_a_list_has_its_line(tmp_path: Path) -> None:
    endpoints = tmp_path / "endpoints.txt"
    endpoints.write_text("10.0.0.1\nhttp://\n", encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        targets([f"@{endpoints}"])
    assert (raised.value.file, raised.value.line) == (str(endpoints), 2)


def test_endpoints_in_all_spellings() -> None:
    assert parse("http://169.254.169.254/") == DEFAULTS[0]
    assert parse("http://[fd00:ec2:0::254]") == DEFAULTS[1]
    assert parse("http://2852039166") == DEFAULTS[0]
    assert parse("10.0.0.5:1338/x/") == Target("10.0.0.5", 1338, "/x")
    assert Target("fd00::5", 81).authority == "[fd00::5]:81"


def test_a_canary_ends_with_a_signal_and_tells_what_it_found() -> None:
    seen: list[str] = []
    with http(Imds(), seen) as port:
        words = command(
            "probe", "--endpoint", f"http://127.0.0.1:{port}", "--repeat", "1s", "--format", "ndjson"
        )
        canary = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment())
        assert canary.stdout is not None
        first, summary = json.loads(canary.stdout.readline()), json.loads(canary.stdout.readline())
        before = len(seen)
        until(lambda: len(seen) > before, "there is no second round")
        canary.send_signal(signal.SIGTERM)
        assert canary.wait(LONG) == 0
        canary.stdout.close()
    assert (first["verdict"], summary["type"]) == ("local-helper", "summary")


def test_an_interrupt_before_the_first_answer_is_no_clean_exit() -> None:
    asked, over = threading.Event(), threading.Event()

    def note(connection: socket.socket) -> None:
        asked.set()
        over.wait(LONG)

    with low(note) as port:
        words = command(
            "probe", "--endpoint", f"http://127.0.0.1:{port}", "--timeout", "60s", "--format", "ndjson"
        )
        asking = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment())
        assert asked.wait(LONG)
        asking.send_signal(signal.SIGTERM)
        over.set()
        out, _ = asking.communicate(timeout=4 * LONG)
    assert asking.returncode == 130
    assert out == ""


# What is read of this host


def test_firmware_tells_ec2(tmp_path: Path) -> None:
    def host(**files: str) -> bool | None:
        shutil.rmtree(tmp_path, ignore_errors=True)
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        return machine(frozenset(), tmp_path).is_amazon

    dmi = "sys__class__dmi__id__"
    assert host(**{f"{dmi}sys_vendor": "Amazon EC2"}) is True
    assert host(**{f"{dmi}sys_vendor": "Amazon EC2 Inc"}) is False
    assert host(
        **{f"{dmi}sys_vendor": "Xen", "sys__hypervisor__uuid": "ec2e1916-9099-7caf-fd21-012345abcdef"}
    )
    assert host(**{f"{dmi}sys_vendor": "Xen", f"{dmi}product_uuid": "45e12aec-dcd1-b213-94ed-012345abcdef"})
    assert host(**{f"{dmi}sys_vendor": "Xen", "sys__hypervisor__uuid": "00000000-0000"}) is False
    assert host(**{f"{dmi}sys_vendor": "Dell Inc."}) is False
    assert host() is None
    host(**{f"{dmi}sys_vendor": "Amazon EC2", f"{dmi}board_asset_tag": "i-0123456789abcdef0"})
    assert machine(frozenset(), tmp_path).instance_id == "i-0123456789abcdef0"
    host(**{f"{dmi}sys_vendor": "Dell Inc.", f"{dmi}board_asset_tag": "i-0123456789abcdef0"})
    assert machine(frozenset(), tmp_path).instance_id is None


def test_without_options_both_endpoints_are_asked_over_every_interface() -> None:
    """Only planned here, never asked."""
    options = {
        "endpoints": (), "interfaces": (), "via_proxy": None, "timeout": 1.0, "no_credentials": False,
    }  # fmt: skip
    planned = plan(options, load_rules(), Site())
    assert set(DEFAULTS) <= set(planned.targets)
    assert not planned.proxied
    named = spread(DEFAULTS, ("lo",), Kernel())
    assert [target.interface for target in named] == ["lo", "lo"]


# In a network of its own: two namespaces, two wires between them, no way out

NETWORK = r"""
set -e
ip link set lo up
mount -t tmpfs tmpfs /run 2>/dev/null || true
ip netns add rogue
ip link add victim0 type veth peer name rogue0 netns rogue
ip addr add 10.99.0.2/24 dev victim0; ip addr add fd99::2/64 dev victim0 nodad; ip link set victim0 up
ip -n rogue link set lo up; ip -n rogue link set rogue0 address 02:00:5e:00:53:01
ip -n rogue addr add 10.99.0.1/24 dev rogue0; ip -n rogue addr add fd99::1/64 dev rogue0 nodad
ip -n rogue link set rogue0 up
ip -n rogue addr add 169.254.169.254/32 dev lo; ip -n rogue addr add fd00:ec2::254/128 dev lo nodad
ip route add 169.254.169.254/32 via 10.99.0.1; ip -6 route add fd00:ec2::254/128 via fd99::1
ip link add victim1 type veth peer name rogue1 netns rogue
ip addr add 10.98.0.2/24 dev victim1; ip link set victim1 up
ip -n rogue link set rogue1 address 02:00:5e:00:53:02; ip -n rogue addr add 10.98.0.1/24 dev rogue1
ip -n rogue link set rogue1 up
ip netns exec rogue "$PYTHON" "$SERVER" &
server=$!
for _ in $(seq 1800); do [ -e "$READY" ] && break; sleep 0.1; done
"$PYTHON" -m imdswatch probe --format ndjson --timeout 30s && code=0 || code=$?
kill $server
exit $code
"""
SERVER = """
import contextlib, pathlib, socket, sys, threading
sys.path[:0] = [{tests!r}, {src!r}]
import answerers
from http.server import ThreadingHTTPServer

class Dual(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    def __init__(self, place, handler):
        super().__init__(("::", 80), handler)

answerers.ThreadingHTTPServer = Dual
with answerers.http(answerers.Imds()):
    pathlib.Path({ready!r}).touch()
    threading.Event().wait()
"""


def test_a_rogue_at_both_addresses_is_found_with_its_mac_and_ttl(tmp_path: Path) -> None:
    """The only test that asks the real addresses: in a namespace of its own, with two segments and no way out."""
    here = Path(__file__).parent
    server, ready = tmp_path / "server.py", tmp_path / "ready"
    server.write_text(
        SERVER.format(tests=str(here), src=str(here.parent / "src"), ready=str(ready)), encoding="utf-8"
    )
    words = ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", NETWORK]
    given = {**environment(), "PYTHON": sys.executable, "SERVER": str(server), "READY": str(ready)}
    if not _namespaces():
        pytest.skip(
            "this kernel gives no user namespaces: the probe's way to the real addresses cannot be shown"
        )
    done = subprocess.run(words, env=given, capture_output=True, text=True, timeout=4 * LONG, check=False)
    assert done.returncode == 1, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    told = {
        " ".join(filter(None, (one["endpoint"], one.get("interface")))): one
        for one in results
        if one["type"] == "verdict"
    }
    second, unreachable = (told.pop(f"{address} victim1") for address in ("169.254.169.254", "fd00:ec2::254"))
    assert set(told) == {"169.254.169.254", "fd00:ec2::254"}
    for one in (*told.values(), second):
        assert one["verdict"] == "impostor", one["reasons"]
        assert one["responder"]["ttl"] == 64
    assert {one["responder"]["mac"] for one in told.values()} == {"02:00:5e:00:53:01"}
    assert {one["responder"]["gateway"] for one in told.values()} == {"10.99.0.1", "fd99::1"}
    assert second["responder"]["mac"] == "02:00:5e:00:53:02"
    assert "gateway" not in second["responder"], "there it is a neighbour"
    assert unreachable["verdict"] == "absent"
    findings = [one for one in results if one["type"] == "finding"]
    assert {one["victim"]["ip"] for one in findings} == {"10.99.0.2", "fd99::2", "10.98.0.2"}
    assert {one["rule"] for one in findings} == {"imds-credentials-served"}


def _namespaces() -> bool:
    with contextlib.suppress(OSError):
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--net", "--mount", "ip", "link"],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0 and os.path.exists("/proc/net/route")
    return False
