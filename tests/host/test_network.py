"""What stops a host from asking: firewall rules as text and as nft says them, routes as the kernel has them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from imdswatch.host import rules
from imdswatch.host.network import ENDPOINTS
from imdswatch.host.running import listeners
from imdswatch.host.tree import open_tree

FOUR, SIX = ENDPOINTS
SOURCES = Path(__file__).parents[2] / "src"
OUT = "type filter hook output priority 0; policy accept;"


def nft(*lines: str, more: str = "") -> str:
    body = "\n".join(lines)
    return f"table inet f {{\n{more}\nchain o {{\n{OUT}\n{body}\n}}\n}}\n"


# The rule set, and which endpoints a host with it can still reach; what nft itself makes of each is compared below.
RULESETS = {
    "drop": (nft(f"ip daddr {FOUR} drop", f"ip6 daddr {SIX} drop"), {FOUR, SIX}),
    "reject": (nft(f"ip daddr {FOUR} counter reject with icmp type admin-prohibited"), {FOUR}),
    "network": (nft("ip daddr 169.254.0.0/16 drop"), {FOUR}),
    "set": (nft(f"ip daddr {{ 10.0.0.1, {FOUR} }} drop"), {FOUR}),
    "port": (nft(f"ip daddr {FOUR} tcp dport 80 reject with tcp reset"), {FOUR}),
    "other port": (nft(f"ip daddr {FOUR} tcp dport 443 drop"), set[str]()),
    "accepted before": (nft(f"ip daddr {FOUR} accept", f"ip daddr {FOUR} drop"), set[str]()),
    "other address accepted before": (nft("ip daddr 10.0.0.1 accept", f"ip daddr {FOUR} drop"), {FOUR}),
    "for one user": (nft(f"meta skuid 1000 ip daddr {FOUR} drop"), set[str]()),
    "jump": (nft(f"ip daddr {FOUR} jump r", more="chain r {\ncounter\ndrop\n}"), {FOUR}),
    "jump that returns": (nft(f"ip daddr {FOUR} jump r", more="chain r {\nreturn\ndrop\n}"), set[str]()),
    "everything": (nft("drop"), {FOUR, SIX}),
    "input": (nft(f"ip daddr {FOUR} drop").replace("hook output", "hook input"), set[str]()),
    "not that address": (nft(f"ip daddr != {FOUR} drop"), set[str]()),
    "udp": (nft(f"ip daddr {FOUR} meta l4proto udp drop"), set[str]()),
}


def stopped(chains: list[rules.Chain]) -> set[str]:
    return {address for address, _ in rules.verdicts(chains, tuple(ENDPOINTS))}


@pytest.mark.parametrize("name", RULESETS)
def test_rules_in_a_file(name: str) -> None:
    text, expected = RULESETS[name]
    assert stopped(rules.of_nft(text)) == expected


def test_the_block_of_harden_is_one() -> None:
    data = yaml.safe_load((SOURCES / "imdswatch/data/host/hardening.yml").read_text(encoding="utf-8"))
    steps = data["remedies"]["block-endpoint"]["files"]
    texts = [step["text"] for step in steps if step["path"].endswith(".nft")]
    assert texts
    assert all(stopped(rules.of_nft(text)) == {FOUR, SIX} for text in texts)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-A OUTPUT -d 169.254.169.254/32 -j DROP", {FOUR}),
        (
            "-A OUTPUT -d 169.254.169.254/32 -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset",
            {FOUR},
        ),
        ("-A OUTPUT -d 169.254.0.0/16 -m comment --comment imds -j DROP", {FOUR}),
        ("-A OUTPUT -d 169.254.169.254/32 -m owner --uid-owner 33 -j DROP", set()),
        ("-A OUTPUT ! -d 169.254.169.254/32 -j DROP", set()),
        ("-A INPUT -d 169.254.169.254/32 -j DROP", set()),
        (":B - [0:0]\n-A OUTPUT -j B\n-A B -d 169.254.169.254/32 -j DROP", {FOUR}),
        ("-A OUTPUT -j ACCEPT\n-A OUTPUT -d 169.254.169.254/32 -j DROP", set()),
    ],
)
def test_rules_of_iptables(line: str, expected: set[str]) -> None:
    text = f"*filter\n:OUTPUT ACCEPT [0:0]\n{line}\nCOMMIT\n"
    assert stopped(rules.of_iptables(text, "ip")) == expected


# In a namespace of its own: the real nft, the real kernel


def _can_isolate() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
    )


needs_namespace = pytest.mark.skipif(not _can_isolate(), reason="no right to make a network namespace")


def inside(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_namespace
@pytest.mark.skipif(shutil.which("nft") is None, reason="no nft here")
def test_rules_as_nft_says_them() -> None:
    texts = {name: text for name, (text, _) in RULESETS.items()}
    code = (
        "import json, subprocess, sys\n"
        f"texts = {texts!r}\nsaid = {{}}\n"
        "for name, text in texts.items():\n"
        "    subprocess.run(['nft', 'flush', 'ruleset'], check=True)\n"
        "    subprocess.run(['nft', '-f', '-'], input=text, text=True, check=True)\n"
        "    said[name] = subprocess.check_output(['nft', '-j', 'list', 'ruleset'], text=True)\n"
        "print(json.dumps(said))\n"
    )
    said = json.loads(inside(code))
    assert {name: stopped(rules.of_json(json.loads(text))) for name, text in said.items()} == {
        name: expected for name, (_, expected) in RULESETS.items()
    }


@needs_namespace
def test_routes_as_the_kernel_has_them(tmp_path: Path) -> None:
    code = f"""
import json
from pathlib import Path
from pyroute2 import IPRoute
from imdswatch.host.running import running
from imdswatch.host.tree import Tree
from imdswatch.host.folder import FolderStore
tree = Tree(FolderStore(Path({str(tmp_path)!r})), name="empty", live=True)
def now():
    found = running(tree)
    blocks = sorted(block.family for block in found.blocks)
    return [blocks, len(found.on_link), len(found.neighbours), len(found.listeners)]
said = [now()]
with IPRoute() as kernel:
    kernel.link("set", index=1, state="up")
    kernel.link("add", ifname="a0", kind="veth", peer="a1")
    a0, a1 = (kernel.link_lookup(ifname=name)[0] for name in ("a0", "a1"))
    for link in (a0, a1):
        kernel.link("set", index=link, state="up")
    kernel.addr("add", index=a0, address="10.9.0.1", prefixlen=24)
    kernel.route("add", dst="default", gateway="10.9.0.2")
    said.append(now())
    kernel.route("add", dst="169.254.0.0/16", oif=a0)
    said.append(now())
    kernel.neigh("add", dst="169.254.169.254", lladdr="02:00:00:00:00:66", ifindex=a0, state=0x80)
    said.append(now())
    kernel.route("add", dst="169.254.169.254/32", type="unreachable")
    kernel.route("add", dst="fd00:ec2::254/128", type="blackhole")
    said.append(now())
    kernel.addr("add", index=1, address="169.254.169.254", prefixlen=32)
    said.append(now())
print(json.dumps(said))
"""
    assert json.loads(inside(code)) == [
        [[], 0, 0, 0],  # no route at all
        [[], 0, 0, 0],  # by way of a gateway
        [[], 1, 0, 0],  # a neighbour
        [[], 1, 1, 0],  # somebody answered for it
        [[4, 6], 0, 1, 0],
        [[6], 0, 1, 1],  # this host itself
    ]


@pytest.mark.skipif(
    sys.byteorder != "little", reason="the kernel writes addresses in the order of its machine"
)
def test_lines_of_listening_sockets(tmp_path: Path) -> None:
    head = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    )
    line = " 0: {} 00000000:0000 {} 00000000:00000000 00:00000000 00000000 0 0 {} 1 0000 100 0\n"
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/tcp").write_text(
        head
        + line.format("FEA9FEA9:0050", "0A", 100)
        + line.format("FEA9FEA9:0051", "01", 101)  # a connection
        + line.format("0100007F:0050", "0A", 102)  # elsewhere
        + "torn"
    )
    (tmp_path / "proc/net/tcp6").write_text(
        head
        + line.format("C20E00FD000000000000000054020000:0050", "0A", 103)
        + line.format("0000000000000000FFFF0000FEA9FEA9:1F90", "0A", 104)  # IPv4 in IPv6
        + line.format("XYZ:1F90", "0A", 105)
    )
    nobody = "of a process that is not shown"
    assert [(one.path, one.value) for one in listeners(open_tree(tmp_path))] == [
        ("/proc/net/tcp", f"169.254.169.254:80 {nobody}"),
        ("/proc/net/tcp6", f"[fd00:ec2::254]:80 {nobody}"),
        ("/proc/net/tcp6", f"169.254.169.254:8080 {nobody}"),
    ]


@needs_namespace
def test_sockets_that_listen_are_told_with_their_process() -> None:
    code = """
import os, socket
from pathlib import Path
from pyroute2 import IPRoute
from imdswatch.host.running import listeners
from imdswatch.host.tree import open_tree
with IPRoute() as kernel:
    kernel.link("set", index=1, state="up")
    kernel.addr("add", index=1, address="169.254.169.254", prefixlen=32)
    kernel.addr("add", index=1, address="fd00:ec2::254", prefixlen=128, flags=2)  # IFA_F_NODAD: at once
with socket.create_server(("169.254.169.254", 80)), socket.create_server(("fd00:ec2::254", 81), family=10):
    for one in listeners(open_tree(Path("/"))):
        print(one.shown.replace(str(os.getpid()), "PID"))
"""
    four, six = inside(code).splitlines()
    assert re.fullmatch(r"listener=«169\.254\.169\.254:80 python[\d.]* \(PID\)»", four)
    assert re.fullmatch(r"listener=«\[fd00:ec2::254\]:81 python[\d.]* \(PID\)»", six)
