"""The inventory of real clients is complete; what `make clients` installs is pinned, hashed and bound to no host."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from imdswatch.account import account_of
from imdswatch.lab.clients import BUILT_IN, Client, Command, Missing, command, inventory, version_command

LOCKED = Path(__file__).parent / "clients"
MAIN = ("credentials", "metadata", "other-cloud")
"""Each client has one of these: what it does when it is simply used."""


@pytest.mark.parametrize("client", inventory().values(), ids=lambda client: client.id)
def test_a_client_says_what_it_can_do(client: Client) -> None:
    assert client.run in (BUILT_IN, "python", "aws", "node", "debian")
    assert client.version or client.run == BUILT_IN
    assert set(client.operations) & set(MAIN)
    assert set(client.imds) <= {1, 2}
    for text in (str(what) for what in client.operations.values()):
        for key in re.findall(r"A[KS]IA[A-Z0-9]{16}", text):
            assert account_of(key) == "000000000000"


@pytest.mark.parametrize("name", ["python", "aws"])
def test_python_locks_pin_everything_with_hashes_and_name_no_host(name: str) -> None:
    text = (LOCKED / f"{name}.lock").read_text(encoding="utf-8")
    wanted = re.findall(r"(?m)^[\w-]+", (LOCKED / f"{name}.in").read_text(encoding="utf-8"))
    pinned = re.findall(r"(?m)^([\w.-]+)==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", text)
    assert wanted
    assert set(wanted) <= set(pinned)
    assert len(pinned) == len(re.findall(r"(?m)^\S+==", text))
    assert "://" not in text


def test_the_npm_lock_has_an_integrity_for_every_package_and_names_no_host() -> None:
    packages = json.loads((LOCKED / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    wanted = json.loads((LOCKED / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert {f"node_modules/{name}" for name in wanted} <= set(packages)
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or package["integrity"].startswith("sha512-"), name


def test_commands_come_from_the_folder_of_clients(tmp_path: Path) -> None:
    boto3 = inventory()["boto3"]
    assert isinstance(command(boto3, "credentials", tmp_path), Missing)
    interpreter = tmp_path / "python" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.symlink_to(sys.executable)
    found = command(boto3, "credentials", tmp_path)
    assert isinstance(found, Command)
    assert found.words[:3] == (str(interpreter), "-I", "-c")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    alone = command(inventory()["awscli1"], "credentials", tmp_path)
    assert isinstance(alone, Command)
    assert alone.words == (str(tmp_path / "bin" / "python"), "-I", "-m", "awscli", "configure", "list")


def test_debian_packages_may_lie_unpacked(tmp_path: Path) -> None:
    program = tmp_path / "debian" / "usr" / "bin" / "ec2-metadata"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    found = command(inventory()["ec2-metadata-script"], "metadata", tmp_path)
    assert isinstance(found, Command)
    assert found.words == (str(program), "--instance-id")
    assert found.environment["PATH"].split(os.pathsep)[0] == str(program.parent)


def test_what_is_not_there_is_missing_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for client in inventory().values():
        if client.run in ("python", "aws", "node"):
            found = version_command(client, tmp_path)
            assert isinstance(found, Missing), client.id
            assert "no `" in found.why
    nowhere = Client("x", "X", "debian", {"credentials": ("no-such-program",)})
    assert command(nowhere, "credentials", None) == Missing("no `no-such-program` on PATH")
    assert command(nowhere, "identity", None) == Missing("X has no operation `identity`")
