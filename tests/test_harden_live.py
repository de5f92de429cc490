"""`imdswatch harden --apply` on a live root, in namespaces of its own: real clients send nothing, and do again after.

What leaves is counted by AF_PACKET on the only interface: every frame with one of the two addresses in it, ARP and
neighbour discovery included. There is no way out (host_namespace.py). `make clients` brings boto3 and more; http.client
of Python and curl are asked everywhere.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from host_namespace import NEEDED, apart, harden
from host_roots import make, print_of

CLIENTS = Path(os.environ.get("IMDSWATCH_CLIENTS", Path(__file__).parents[1] / ".cache/clients"))
ADDRESSES = (socket.inet_aton("169.254.169.254"), socket.inet_pton(socket.AF_INET6, "fd00:ec2::254"))
HTTP = """
import http.client, sys
for host in ("169.254.169.254", "[fd00:ec2::254]"):
    try:
        http.client.HTTPConnection(host, timeout=0.3).request("GET", "/latest/meta-data/")
    except OSError as error:
        print(error)
"""
BOTO = "import boto3; print(boto3.Session().get_credentials())"
NODE = (
    "require('@aws-sdk/credential-provider-node').defaultProvider({timeout: 300})()"
    ".catch((error) => console.log(error.message))"
)

pytestmark = NEEDED


def clients() -> dict[str, list[str]]:
    """Return the command lines of clients that ask a metadata service, by name."""
    found = {"http.client": [sys.executable, "-c", HTTP]}
    if curl := shutil.which("curl"):
        both = ("http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest/meta-data/")
        found["curl"] = [curl, "-g", "-s", "-S", "--max-time", "0.5", *both]
    if (CLIENTS / "python/bin/python").exists():
        found["boto3"] = [str(CLIENTS / "python/bin/python"), "-c", BOTO]
    if (CLIENTS / "node/node_modules/@aws-sdk/credential-provider-node").exists() and shutil.which("node"):
        found["JS v3"] = ["node", "-e", NODE]
    return found


def sent(words: Sequence[str], login: bool = False) -> int:
    """Run a client and return how many frames with one of the addresses left meanwhile."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as tap:
        tap.bind(("v0", 3))
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": "/nowhere",
            "AWS_METADATA_SERVICE_TIMEOUT": "1",  # whole seconds only
            "NODE_PATH": str(CLIENTS / "node/node_modules"),
        }
        line = ["sh", "-lc", 'exec "$@"', "sh", *words] if login else words
        subprocess.run(line, env=variables, timeout=60, capture_output=True, check=False)
        tap.settimeout(0.1)
        count = 0
        try:
            while True:
                frame, (_, _, kind, *_) = tap.recvfrom(1 << 16)
                count += kind == 4 and any(address in frame for address in ADDRESSES)  # PACKET_OUTGOING
        except TimeoutError:
            return count


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(
        tmp_path / "etc",
        {
            "/profile.d/": "",
            "/systemd/system/": "",
            "/profile": "for one in /etc/profile.d/*.sh; do test ! -r $one || . $one; done\n",
        },
    )
    make(tmp_path / "lib", {"/dpkg/": ""})
    return tmp_path


@pytest.mark.parametrize("block", ["nft", "routes"])
def test_with_the_block_nothing_leaves(block: str, root: Path) -> None:
    before = print_of(root / "etc"), print_of(root / "lib")

    def play() -> object:
        first = {name: sent(words) for name, words in clients().items()}
        shown = harden("--block", block, "--only", "block-endpoint")
        applied = harden("--block", block, "--only", "block-endpoint", "--apply")
        begun = time.monotonic()
        blocked = {name: sent(words) for name, words in clients().items()}
        seconds = time.monotonic() - begun
        rules = subprocess.run(
            ["nft", "-j", "list", "ruleset"], capture_output=True, text=True, check=True
        ).stdout
        again = harden("--block", block, "--only", "block-endpoint", "--apply")
        flushed = []
        if block == "nft":
            subprocess.run(["nft", "flush", "ruleset"], check=True)
            flushed = [
                harden("--block", block, "--only", "block-endpoint", *word) for word in ((), ("--apply",))
            ]
            flushed.append((sent(clients()["http.client"]), ""))
        reverted = harden("--revert")
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        return {
            "first": first,
            "shown": shown,
            "applied": applied,
            "blocked": blocked,
            "seconds": seconds,
            "rules": rules,
            "again": again,
            "flushed": flushed,
            "reverted": reverted,
            "tables": tables,
            "then": {name: sent(words) for name, words in clients().items()},
        }

    got = apart(root, play)
    assert isinstance(got, dict)
    assert all(count > 0 for count in got["first"].values()), got["first"]
    code, text = got["shown"]
    assert code == 1
    making = (
        "nft -f /etc/imdswatch/block.nft" if block == "nft" else "route replace unreachable fd00:ec2::254/128"
    )
    assert re.search(rf"\nrun: /\S+ (?:-6 )?{making}\n|\nrun: /\S*{making}\n", text), text
    assert got["applied"][0] == 0, got["applied"]
    assert got["blocked"] == dict.fromkeys(got["first"], 0)
    if block == "nft":
        counted = [
            expression["counter"]["packets"]
            for rule in json.loads(got["rules"])["nftables"]
            for expression in rule.get("rule", {}).get("expr", ())
            if "counter" in expression
        ]
        assert sum(counted) > 0, "the clients did ask"
        assert [code for code, _ in got["flushed"]] == [1, 0, 0], got["flushed"]
    assert got["again"][0] == 0
    assert "nothing to change" in got["again"][1]
    assert got["reverted"][0] == 0, got["reverted"]
    assert "imdswatch" not in got["tables"]
    assert all(count > 0 for count in got["then"].values()), got["then"]
    assert (print_of(root / "etc"), print_of(root / "lib")) == before


def test_with_the_variable_clients_that_heed_it_send_nothing(root: Path) -> None:
    heeding = {name: words for name, words in clients().items() if name in ("boto3", "JS v3")}
    if not heeding:
        pytest.skip("needs boto3 or the JavaScript SDK: `make clients` installs them")

    def play() -> object:
        first = {name: sent(words, login=True) for name, words in heeding.items()}
        applied = harden("--apply", "--skip", "block-endpoint")
        then = {name: sent(words, login=True) for name, words in heeding.items()}
        reverted = harden("--revert")
        return [
            first,
            applied,
            then,
            reverted,
            {name: sent(words, login=True) for name, words in heeding.items()},
        ]

    got = apart(root, play)
    assert isinstance(got, list)
    first, applied, then, reverted, last = got
    assert all(first.values()), first
    assert (applied[0], reverted[0]) == (0, 0)
    assert then == dict.fromkeys(heeding, 0)
    assert all(last.values()), last


def test_a_block_that_fails_leaves_nothing(root: Path) -> None:
    before = print_of(root / "etc"), print_of(root / "lib")

    def play() -> object:
        ctypes.CDLL(None).prctl(
            24, 12, 0, 0, 0
        )  # PR_CAPBSET_DROP CAP_NET_ADMIN: nft may not work in what we start
        return harden("--block", "nft", "--apply")

    got = apart(root, play)
    assert isinstance(got, list)
    assert got[0] == 2
    assert "nft -f /etc/imdswatch/block.nft` failed" in got[1]
    assert (print_of(root / "etc"), print_of(root / "lib")) == before


def test_who_may_not_see_the_rules_still_sees_the_files(root: Path) -> None:
    def play() -> object:
        applied = harden("--block", "nft", "--apply")
        ctypes.CDLL(None).prctl(24, 12, 0, 0, 0)  # PR_CAPBSET_DROP CAP_NET_ADMIN
        return [applied, harden("--block", "nft", "--format", "ndjson")]

    got = apart(root, play)
    assert isinstance(got, list)
    (applied, _), (shown, text) = got
    assert (applied, shown) == (0, 3)
    assert '"source":"the network block"' in text


SYSTEMCTL = """#!/bin/sh
# As much of systemctl as harden needs: says what it was asked, and runs the commands of the unit.
echo "$*" >> {log}
unit=/etc/systemd/system/$2
case $1 in
    restart) line='^ExecStart=' ;;
    stop) line='^ExecStop=' ;;
    *) exit 0 ;;
esac
test -f "$unit" || exit 5
grep "$line" "$unit" | sed -e "s/$line-*//" > {log}.lines
sh -e {log}.lines
"""


@pytest.mark.skipif(not os.path.exists("/usr/bin/systemctl"), reason="there is no systemctl to stand in for")
@pytest.mark.parametrize("block", ["nft", "routes"])
def test_where_systemd_runs_its_unit_makes_the_block(block: str, root: Path) -> None:
    before = print_of(root / "etc")
    log = root / "log"
    (root / "systemctl").write_text(SYSTEMCTL.format(log=log), encoding="utf-8")
    (root / "systemctl").chmod(0o755)

    def play() -> object:
        os.makedirs("/run/systemd/system")
        subprocess.run(["mount", "--bind", root / "systemctl", "/usr/bin/systemctl"], check=True)
        asking = clients()["http.client"]
        got = [harden("--apply", "--block", block), sent(asking), harden("--apply", "--block", block)]
        return [*got, harden("--revert"), sent(asking)]

    got = apart(root, play)
    assert isinstance(got, list)
    applied, during, again, reverted, after = got
    assert (applied[0], again[0], reverted[0]) == (0, 0, 0), got
    assert (during, after > 0) == (0, True)
    unit = "imdswatch-block.service"
    assert log.read_text().splitlines() == [
        "daemon-reload",
        f"restart {unit}",
        f"stop {unit}",
        "daemon-reload",
    ]
    assert print_of(root / "etc") == before
