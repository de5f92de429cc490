"""`imdswatch harden --apply` on a live root, in namespaces of its own: real clients send nothing, and do again after.

What leaves is counted by AF_PACKET on the only interface: every frame with one of the two addresses in it, ARP and
neighbour discovery included. There is no way out (host_namespace.py). Python's http.client and curl are asked
everywhere, and all clients of the lab by `make lab`, which names their folder in IMDSWATCH_CLIENTS.
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
from collections.abc import Iterable
from pathlib import Path

import pytest

from host_namespace import NEEDED, apart, harden
from host_roots import make, print_of
from imdswatch.lab.clients import Command, command, inventory
from patience import LONG

CLIENTS = Path(os.environ.get("IMDSWATCH_CLIENTS", os.devnull))
ADDRESSES = (socket.inet_aton("169.254.169.254"), socket.inet_pton(socket.AF_INET6, "fd00:ec2::254"))
HTTP = """
import http.client, sys
for host in ("169.254.169.254", "[fd00:ec2::254]"):
    try:
        http.client.HTTPConnection(host, timeout=0.3).request("GET", "/latest/meta-data/")
    except OSError as error:
        print(error)
"""
pytestmark = NEEDED


def clients(heeding: bool = False) -> dict[str, Command]:
    """Return how clients are made to ask for credentials, by name; `heeding`: those that the variable stops."""
    found = {}
    if not heeding:
        found["http.client"] = Command((sys.executable, "-c", HTTP))
        if curl := shutil.which("curl"):
            both = ("http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest/meta-data/")
            found["curl"] = Command((curl, "-g", "-s", "-S", "--max-time", "0.5", *both))
    for client in inventory().values() if CLIENTS.is_dir() else ():
        asking = command(client, "credentials", CLIENTS)
        if isinstance(asking, Command) and Path(asking.words[0]).exists() and client.obeys | (not heeding):
            found[client.name] = asking
    return found


def start(asking: Command, login: bool = False) -> subprocess.Popen[bytes]:
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": "/nowhere",
        "AWS_METADATA_SERVICE_TIMEOUT": "1",
        **asking.environment,
    }
    line = ["sh", "-lc", 'exec "$@"', "sh", *asking.words] if login else asking.words
    out = subprocess.DEVNULL
    return subprocess.Popen(line, cwd=asking.folder, env=variables, stdin=out, stdout=out, stderr=out)


def leaving(tap: socket.socket) -> int:
    """Return how many frames with one of the addresses in them have left by now."""
    count = 0
    tap.settimeout(0.1)
    try:
        while True:
            frame, (_, _, kind, *_) = tap.recvfrom(1 << 16)
            count += kind == 4 and any(address in frame for address in ADDRESSES)  # PACKET_OUTGOING
    except TimeoutError:
        return count


def tap() -> socket.socket:
    ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    ear.bind(("v0", 3))
    return ear


def asks(asking: Command, login: bool = False) -> bool:
    """Say whether a client sends anything to one of the addresses; it is ended as soon as it does."""
    with tap() as ear, start(asking, login) as client:
        until, count = time.monotonic() + LONG, 0
        while not count and time.monotonic() < until:
            ended = client.poll() is not None
            count = leaving(ear)
            if ended:
                break
        client.kill()
    return count > 0


def sent(all_of_them: Iterable[Command], login: bool = False) -> int:
    """Run clients side by side, each to its end; return how many frames left meanwhile."""
    with tap() as ear:
        running = [start(asking, login) for asking in all_of_them]
        until, count = time.monotonic() + LONG, 0
        while any(client.poll() is None for client in running) and time.monotonic() < until:
            count += leaving(ear)
        for client in running:
            client.kill()
            client.wait()
        return count + leaving(ear)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    profile = "for one in /etc/profile.d/*.sh; do test ! -r $one || . $one; done\n"
    make(
        tmp_path / "etc", {"/profile.d/": "", "/systemd/system/": "", "/profile": profile, "/ssl/certs/": ""}
    )
    make(tmp_path / "lib", {"/dpkg/": ""})
    trusted = Path("/etc/ssl/certs/ca-certificates.crt")  # some clients do not even begin without one
    if trusted.exists():
        shutil.copy(trusted, tmp_path / "etc/ssl/certs")
    return tmp_path


@pytest.mark.parametrize("block", ["nft", "routes"])
def test_with_the_block_nothing_leaves(block: str, root: Path) -> None:
    before = print_of(root / "etc"), print_of(root / "lib")

    def play() -> object:
        first = {name: asks(asking) for name, asking in clients().items()}
        shown = harden("--block", block, "--only", "block-endpoint")
        applied = harden("--block", block, "--only", "block-endpoint", "--apply")
        begun = time.monotonic()
        blocked = sent(clients().values())
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
            flushed.append((sent([clients()["http.client"]]), ""))
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
            "then": {name: asks(asking) for name, asking in clients().items()},
        }

    got = apart(root, play)
    assert isinstance(got, dict)
    assert all(got["first"].values()), got["first"]
    code, text = got["shown"]
    assert code == 1
    making = (
        "nft -f /etc/imdswatch/block.nft" if block == "nft" else "route replace unreachable fd00:ec2::254/128"
    )
    assert re.search(rf"\nrun: /\S+ (?:-6 )?{making}\n|\nrun: /\S*{making}\n", text), text
    assert got["applied"][0] == 0, got["applied"]
    assert got["blocked"] == 0
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
    assert all(got["then"].values()), got["then"]
    assert (print_of(root / "etc"), print_of(root / "lib")) == before


def test_with_the_variable_clients_that_heed_it_send_nothing(root: Path) -> None:
    heeding = clients(heeding=True)
    if not heeding:
        pytest.skip("needs AWS clients: `make lab` installs and names them")

    def play() -> object:
        first = {name: asks(asking, login=True) for name, asking in heeding.items()}
        applied = harden("--apply", "--skip", "block-endpoint")
        then = {name: sent([asking], login=True) for name, asking in heeding.items()}
        reverted = harden("--revert")
        last = {name: asks(asking, login=True) for name, asking in heeding.items()}
        return [first, applied, then, reverted, last]

    got = apart(root, play)
    assert isinstance(got, list)
    first, applied, then, reverted, last = got
    assert all(first.values()), first
    assert (applied[0], reverted[0]) == (0, 0)
    assert then == dict.fromkeys(heeding, 0)
    assert last == first


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
        got = [harden("--apply", "--block", block), sent([asking]), harden("--apply", "--block", block)]
        return [*got, harden("--revert"), sent([asking])]

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
