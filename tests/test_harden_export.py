"""`imdswatch harden --export`: each form held to its own grammar, and scripts run until `harden` has nothing to add."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from commandline import run
from host_namespace import NEEDED, apart, harden
from host_roots import make, print_of
from imdswatch.host.catalogue import catalogue, chosen
from imdswatch.host.export import EXPORTS, export

ANSIBLE = os.environ.get("IMDSWATCH_ANSIBLE", "")
SHELLCHECK = Path(sys.executable).parent / "shellcheck"
FILES = {
    "/pam.d/": "",
    "/environment": "PATH=/usr/bin\nAWS_EC2_METADATA_DISABLED=1",
    "/profile.d/proxy.sh": "export http_proxy=http://proxy:3128\nexport no_proxy='localhost,.example'\n",
    "/profile.d/old.sh": "export AWS_EC2_METADATA_DISABLED=TRUE # yes\n",
    "/amazon/ssm/amazon-ssm-agent.json": '{"Profile": {"ShareCreds": true}, "Identity": {"Ec2SystemInfo": "x"}}',
    "/cloud/cloud.cfg": "users: []\n",
    "/systemd/system/": "",
}


def content(form: str, *only: str, block: str | None = None) -> str:
    known = catalogue()
    return export(form, known, chosen(known, only, ()), block)


@pytest.mark.parametrize("form", EXPORTS)
def test_the_command_prints_it(form: str, tmp_path: Path) -> None:
    done = run(tmp_path, "harden", "--export", form)
    assert done.code == 0
    assert done.out == content(form)
    assert done.out.isascii()
    assert "AWS-2025-021" in done.out
    less = run(tmp_path, "harden", "--export", form, "--skip", "environment", "--block", "none")
    assert "AWS_EC2_METADATA_DISABLED" not in less.out
    assert not re.search(r"unreachable|daddr|RA4|block\.nft", less.out)
    assert run(tmp_path, "harden", "--export", form, "--apply").code == 2


# Ansible


def tasks(text: str) -> list[dict[str, Any]]:
    found = yaml.safe_load(text)
    assert isinstance(found, list)
    return found


def test_ansible_tasks_are_builtin_and_named() -> None:
    keywords = {"name", "when", "loop", "loop_control", "register", "failed_when"}
    for block in ("nft", "routes", "none"):
        text = content("ansible", block=block)
        assert text.startswith("---\n")
        for task in tasks(text):
            (module,) = task.keys() - keywords
            assert module.startswith("ansible.builtin.")
            assert task["name"]
    copies = {
        task["ansible.builtin.copy"]["dest"]: task["ansible.builtin.copy"]["content"]
        for task in tasks(content("ansible"))
        if "ansible.builtin.copy" in task
    }
    assert (
        "DefaultEnvironment=AWS_EC2_METADATA_DISABLED=true"
        in copies["/etc/systemd/system.conf.d/imdswatch.conf"]
    )
    assert copies["/etc/imdswatch/block.nft"].count("\n") == 21, "a block scalar keeps its lines"
    for path, text in copies.items():
        assert path.endswith("amazon-ssm-agent.json") or not re.search(r"\{[{%#]", text), (
            "no template by accident"
        )


@pytest.mark.skipif(
    not ANSIBLE, reason="set IMDSWATCH_ANSIBLE to an ansible-playbook to try the tasks for real"
)
@pytest.mark.usefixtures("in_namespaces")
def test_ansible_does_what_harden_wants(tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    body = "".join(f"    {line}\n" for line in content("ansible").replace("---\n", "").splitlines())
    play.write_text(f"- hosts: localhost\n  connection: local\n  gather_facts: true\n  tasks:\n{body}")
    words = [ANSIBLE, "-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}", str(play)]
    assert subprocess.run([*words, "--syntax-check"], check=False).returncode == 0
    make(tmp_path / "etc", FILES)
    make(tmp_path / "lib", {"/dpkg/": ""})

    def play_it() -> object:
        variables = {
            **os.environ,
            "ANSIBLE_LOCAL_TEMP": f"{tmp_path}/local",
            "ANSIBLE_REMOTE_TEMP": f"{tmp_path}/remote",
        }
        first = subprocess.run(words, env=variables, capture_output=True, text=True, check=False).stdout
        return [first, harden("--skip", "block-endpoint")]

    got = apart(tmp_path, play_it)
    assert isinstance(got, list)
    assert got[1][0] == 0, got[0] + got[1][1]


# Shell


def test_the_script_is_plain_posix(tmp_path: Path) -> None:
    for block in ("nft", "routes", "none"):
        script = tmp_path / "harden.sh"
        script.write_text(content("shell", block=block))
        shells = [found for name in ("sh", "dash", "bash", "busybox") if (found := shutil.which(name))]
        assert shells
        for shell in shells:
            words = [shell, "sh"] if shell.endswith("busybox") else [shell]
            assert subprocess.run([*words, "-n", script], check=False).returncode == 0
        checked = subprocess.run(
            [SHELLCHECK, "-s", "sh", script], capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stdout) == (0, "")


def test_the_script_stops_on_ec2() -> None:
    script = content("shell")
    assert "= 'Amazon EC2' ] && [ \"${1:-}\" != --force ]; then" in script
    stop = script.index("exit 2")
    assert not re.search(r"^(put|assign|correct|bypass|for)\b(?!\(\))", script[:stop], re.MULTILINE)


@pytest.fixture
def in_namespaces(request: pytest.FixtureRequest) -> None:
    """Skip where a test of namespaces cannot run."""
    for mark in NEEDED:
        if mark.args[0]:
            pytest.skip(mark.kwargs["reason"])


@pytest.mark.usefixtures("in_namespaces")
@pytest.mark.parametrize("block", ["nft", "routes"])
def test_after_the_script_harden_has_nothing_to_add(block: str, tmp_path: Path) -> None:
    make(tmp_path / "etc", FILES)
    make(tmp_path / "lib", {"/dpkg/": ""})
    script = tmp_path / "harden.sh"
    script.write_text(content("shell", block=block))

    def play() -> object:
        before = harden("--block", block)
        runs = []
        for _ in range(2):
            done = subprocess.run(["sh", script], capture_output=True, text=True, check=False)
            runs.append([done.returncode, done.stderr, str(print_of(tmp_path / "etc"))])
        return [before, runs, harden("--block", block)]

    got = apart(tmp_path, play)
    assert isinstance(got, list)
    before, (first, second), after = got
    assert before[0] == 1
    assert first[:2] == [0, ""]
    assert second[:2] == [0, ""]
    assert after[0] == 0, after[1]
    assert "nothing to change" in after[1]
    etc = tmp_path / "etc"
    assert not [name for name in os.listdir(etc) if "imdswatch-new" in name]
    assert (etc / "environment").read_text() == (
        "PATH=/usr/bin\nAWS_EC2_METADATA_DISABLED=true\nAWS_EC2_METADATA_V1_DISABLED=true\n"
    )
    assert (
        (etc / "profile.d/proxy.sh")
        .read_text()
        .endswith('no_proxy="localhost,.example,169.254.169.254,fd00:ec2::254,[fd00:ec2::254]"\n')
    )


# Docker and Windows


def test_dockerfile_lines_are_one_instruction_and_comments() -> None:
    text = content("dockerfile")
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [line for line in joined.splitlines() if not line.startswith("#")]
    assert lines == ["ENV AWS_EC2_METADATA_DISABLED=true AWS_EC2_METADATA_V1_DISABLED=true"]


def test_registry_file_keeps_its_format() -> None:
    text = content("windows-registry")
    assert text.startswith("Windows Registry Editor Version 5.00\r\n\r\n")
    assert "\n" not in text.replace("\r\n", "")
    keys: dict[str, dict[str, str]] = {}
    here = ""
    for line in text.split("\r\n")[1:]:
        if line.startswith("["):
            here = line[1:-1]
        elif line and not line.startswith(";"):
            found = re.fullmatch(r'"((?:[^"\\]|\\.)+)"="((?:[^"\\]|\\.)*)"', line)
            assert found is not None, line
            keys.setdefault(here, {})[found[1]] = found[2]
    machine = "HKEY_LOCAL_MACHINE\\"
    assert keys[machine + r"SYSTEM\CurrentControlSet\Control\Session Manager\Environment"] == {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EC2_METADATA_V1_DISABLED": "true",
    }
    (rule,) = keys[machine + r"SOFTWARE\Policies\Microsoft\WindowsFirewall\FirewallRules"].values()
    parts = rule.split("|")
    assert (parts[0], parts[-1]) == ("v2.10", "")
    assert dict(part.split("=", 1) for part in parts[1:-1])["RA4"] == "169.254.169.254"
    assert dict(part.split("=", 1) for part in parts[1:-1])["RA6"] == "fd00:ec2::254"


def test_group_policy_script_sets_policies_and_preferences() -> None:
    text = content("windows-gpo")
    assert text.count("{") == text.count("}")
    assert all(line.count("'") % 2 == 0 for line in text.splitlines() if not line.startswith("#"))
    calls = re.findall(r"^(Set-GP\w+) -Name \$Name (.*) \| Out-Null$", text, re.MULTILINE)
    assert [name for name, _ in calls] == ["Set-GPPrefRegistryValue"] * 2 + ["Set-GPRegistryValue"]
    assert all("-Context Computer -Action Update" in rest for name, rest in calls if "Pref" in name)
    assert all(
        re.search(r"-Key 'HKLM\\[^']+' -ValueName '[^']+' -Type String -Value '[^']+'", rest)
        for _, rest in calls
    )
