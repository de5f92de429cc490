"""What an enclosure is made of, asked from inside: fallbacks, hop limits, the simulator for other tools, and its walls.

Each test is a small program in an enclosure of its own. Frames are held against tshark where it is installed.
"""

from __future__ import annotations

import ast
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from imdswatch.lab import frames
from imdswatch.lab.sensor import HEADER, with_tag
from patience import LONG

ROOT = Path(__file__).parent.parent
CLIENTS = ROOT / ".cache" / "clients"
BEGIN = """
import os, sys
from imdswatch.lab.enclosure import enter, Unavailable
try:
    enclosure = enter()
except Unavailable as error:
    print("cannot", error); sys.exit(0)
if isinstance(enclosure, int):
    sys.exit(enclosure)
from imdswatch.lab.clients import inventory
from imdswatch.lab.network import ENDPOINT, HOSTS, Network
from imdswatch.lab.moves import Play, route, serve
from imdswatch.lab.rehearse import perform
from imdswatch.lab.scenario import scenarios
from imdswatch.lab.asking import ask
"""


def enclosed(code: str) -> list[str]:
    """Run code in an enclosure and return the lines that it prints; skip where there can be none."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(BEGIN + code)
        script.flush()
        done = subprocess.run(
            [sys.executable, script.name], capture_output=True, text=True, timeout=LONG,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
    lines = done.stdout.splitlines()
    if lines and lines[0].startswith("cannot"):
        pytest.skip(f"no namespaces on this machine: {lines[0]}")
    assert done.returncode == 0, done.stdout + done.stderr
    return lines


def test_where_the_kernel_cannot_mirror_the_sensor_sees_as_much() -> None:
    code = """
Network._mirror = lambda self: False
for name in ("routed-rogue", "ipv6"):
    done = perform(enclosure, scenarios()[name], inventory()["probe"], None)
    print(name, done.passed, done.alarms[0].seen)
"""
    assert enclosed(code) == ["routed-rogue True credentials-served", "ipv6 True credentials-served"]


def test_a_hop_limit_of_one_ends_a_tokens_answer_at_the_first_router() -> None:
    code = """
for limit in (1, 2):
    play = Play(enclosure, Network(enclosure))
    serve(play, "rogue", hop_limit=limit)
    route(play, "rogue")
    with play.network["victim"] as victim:
        enclosure.verify(victim)
        said = ask("credentials", {})
    print(limit, [one.status for one in play.heard][:1], said)
    play.close(); enclosure.close()
"""
    assert enclosed(code) == ["1 [200] no answer: timed out", "2 [200] took credentials ASIARZPUZDIKFAKEFAKE"]


def test_default_routes_end_at_a_router_that_has_none() -> None:
    code = """
network = Network(enclosure)
for name, space in network.spaces.items():
    print(name, [one.get_attr("RTA_GATEWAY") for one in space.ip.get_default_routes() if one.get_attr("RTA_GATEWAY")])
"""
    assert enclosed(code) == [
        "switch []",
        "sensor []",
        "victim ['10.20.1.1', 'fd20:1::1']",
        "peer ['10.20.1.1', 'fd20:1::1']",
        "router []",
        "rogue ['10.20.2.1', 'fd20:2::1']",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("client", ["boto3", "js3"])
def test_a_real_client_uses_lab_serve(client: str) -> None:
    """Where a developer would: an endpoint in the environment. In a namespace, as any client in our tests."""
    if not (CLIENTS / "stamp").exists():
        pytest.skip("`make clients` was not run")
    if client == "js3" and not shutil.which("node"):
        pytest.skip("no Node.js on PATH")
    code = f"""
from pathlib import Path
from imdswatch.lab.clients import command
import time
space = enclosure.space("victim")
paths = {{"PATH": os.environ["PATH"], "HOME": "/run", "PYTHONPATH": os.environ["PYTHONPATH"]}}
words = [sys.executable, "-m", "imdswatch", "lab", "serve", "--account", "000000000000", "--json"]
server = enclosure.start(space, words, environment=paths)
print(b"listening" in server.stdout.readline())
found = command(inventory()["{client}"], "credentials", Path("{CLIENTS}"))
url = "http://127.0.0.1:1338"
process = enclosure.start(
    space, found.words, environment={{**paths, "AWS_EC2_METADATA_SERVICE_ENDPOINT": url}}, folder=found.folder)
print(process.communicate()[0].decode().strip())
enclosure.close()
"""
    assert enclosed(code) == ["True", "ASIAQAAAAAAAFAKEFAKE"]


# Who may start a process


def test_only_the_enclosure_starts_clients() -> None:
    """Every use of subprocess or fork in the room, by name: a new one must be looked at."""
    found = set()
    for path in (ROOT / "src/imdswatch/lab").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner, name = node.func.value, node.func.attr
                if isinstance(owner, ast.Name) and (owner.id, name) in (
                    ("subprocess", "Popen"), ("subprocess", "run"), ("os", "fork"), ("os", "system"), ("os", "execv"),
                ):  # fmt: skip
                    found.add((path.stem, name))
    # moves and rehearse run this program itself: `imdswatch harden --root` and `imdswatch scan`
    assert found == {("enclosure", "Popen"), ("enclosure", "fork"), ("moves", "run"), ("rehearse", "run")}


# What is put on the wire


@cache
def tshark() -> str:
    return shutil.which("tshark") or ""


def read(frame: bytes, *fields: str) -> list[str]:
    if not tshark():
        pytest.skip("no tshark on PATH")
    with tempfile.NamedTemporaryFile(suffix=".pcap") as capture:
        capture.write(HEADER + struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame)
        capture.flush()
        words = [word for field in fields for word in ("-e", field)]
        done = subprocess.run(
            [tshark(), "-r", capture.name, "-o", "ip.check_checksum:TRUE", "-T", "fields", *words],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    return done.stdout.rstrip("\n").split("\t")


def test_an_announcement_is_a_gratuitous_arp() -> None:
    frame = frames.announcement("169.254.169.254", "02:00:00:00:01:20")
    assert read(frame, "arp.isgratuitous", "arp.src.proto_ipv4", "arp.src.hw_mac", "eth.dst") == [
        "1", "169.254.169.254", "02:00:00:00:01:20", "ff:ff:ff:ff:ff:ff",
    ]  # fmt: skip


def test_an_offer_carries_option_121() -> None:
    frame = frames.dhcp(
        frames.OFFER, client="02:00:00:00:01:10", server_ip="10.20.1.20", server_mac="02:00:00:00:01:20",
        offered="10.20.1.10", route=("169.254.169.254/32", "10.20.1.20"),
    )  # fmt: skip
    wanted = (
        "dhcp.option.dhcp",
        "dhcp.ip.your",
        "dhcp.hw.mac_addr",
        "ip.checksum.status",
        "dhcp.option.type",
    )
    kind, yours, client, checksum, options = read(frame, *wanted)
    assert (kind, yours, client, checksum) == ("2", "10.20.1.10", "02:00:00:00:01:10", "1")
    assert "121" in options.split(",")
    assert bytes((121, 9, 32, 169, 254, 169, 254, 10, 20, 1, 20)) in frame


def test_an_advertisement_says_on_link_and_no_default_route() -> None:
    frame = frames.advertisement("02:00:00:00:01:20", "fd00:ec2::/64")
    wanted = (
        "icmpv6.type", "icmpv6.nd.ra.router_lifetime", "icmpv6.opt.prefix", "icmpv6.opt.prefix.flag.l",
        "icmpv6.opt.prefix.flag.a", "icmpv6.checksum.status", "ipv6.hlim",
    )  # fmt: skip
    assert read(frame, *wanted) == ["134", "0", "fd00:ec2::", "1", "0", "1", "255"]


@pytest.mark.parametrize(
    ("status", "kind", "tag"),
    [(0x01, 0, b""), (0x11, 0, b"\x81\x00\x00\x2a"), (0x51, 0x88A8, b"\x88\xa8\x00\x2a")],
)
def test_a_tag_that_the_kernel_took_is_put_back(status: int, kind: int, tag: bytes) -> None:
    auxdata = struct.pack("=IIIHHHH", status, 60, 60, 0, 14, 42, kind)
    frame = bytes(range(60))
    assert with_tag(frame, auxdata) == frame[:12] + tag + frame[12:]
