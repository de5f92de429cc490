"""`imdswatch harden` on roots of several kinds: what it shows, what it does, and that a revert leaves no trace."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from commandline import Done, run
from host_roots import IP, NFT, ROOTS, make, print_of

DISABLED = "AWS_EC2_METADATA_DISABLED=true"
WANTED = {
    "debian": {
        "/etc/environment": "change",
        "/etc/profile.d/imdswatch.sh": "create",
        "/etc/systemd/system.conf.d/imdswatch.conf": "create",
        "/etc/systemd/user.conf.d/imdswatch.conf": "create",
        "/etc/imdswatch/block.nft": "create",
        "/etc/systemd/system/imdswatch-block.service": "create",
        "/etc/systemd/system/sysinit.target.wants/imdswatch-block.service": "link",
    },
    "rhel": {
        "/etc/environment": "change",
        "/etc/profile.d/imdswatch.sh": "create",
        "/etc/systemd/system.conf.d/imdswatch.conf": "create",
        "/etc/systemd/user.conf.d/imdswatch.conf": "create",
        "/etc/cloud/cloud.cfg.d/zz-imdswatch.cfg": "create",
        "/etc/profile.d/proxy.sh": "change",
        "/etc/systemd/system/imdswatch-block.service": "create",
        "/etc/systemd/system/sysinit.target.wants/imdswatch-block.service": "link",
    },
    "alpine": {
        "/etc/profile.d/imdswatch.sh": "create",
        "/etc/local.d/imdswatch.start": "create",
        "/etc/runlevels/default/local": "link",
    },
    "container": {"/etc/profile.d/imdswatch.sh": "create"},
    "ssm": {
        "/etc/environment": "create",
        "/etc/systemd/system.conf.d/imdswatch.conf": "create",
        "/etc/systemd/user.conf.d/imdswatch.conf": "create",
        "/etc/amazon/ssm/amazon-ssm-agent.json": "change",
        "/etc/systemd/system/amazon-ssm-agent.service.d/proxy.conf": "change",
        "/etc/imdswatch/block.nft": "create",
        "/etc/systemd/system/imdswatch-block.service": "create",
        "/etc/systemd/system/sysinit.target.wants/imdswatch-block.service": "link",
    },
}


def harden(tmp_path: Path, *words: object, form: str = "ndjson") -> Done:
    return run(tmp_path, "harden", "--root", tmp_path / "root", *words, "--format", form)


def edits(done: Done) -> dict[str, dict[str, Any]]:
    return {one["path"]: one for one in done.of("edit")}


@pytest.mark.parametrize("kind", ROOTS)
def test_a_root_is_shown_hardened_and_taken_back(kind: str, tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS[kind])
    before = print_of(root, folders_too=True)

    shown = harden(tmp_path)
    assert shown.code == 1
    assert {path: one["action"] for path, one in edits(shown).items()} == WANTED[kind]
    assert print_of(root, folders_too=True) == before, "without --apply nothing is touched"

    applied = harden(tmp_path, "--apply")
    assert applied.code == 0
    assert edits(applied).keys() == WANTED[kind].keys()
    after = print_of(root)
    changed = {f"/{path}" for path in after if after[path] != before.get(path)}
    assert WANTED[kind].keys() <= changed

    for word in ((), ("--apply",)):
        again = harden(tmp_path, *word)
        assert (again.code, again.of("edit")) == (0, [])
    assert print_of(root) == after, "a second --apply changes nothing"

    for _ in range(2):
        assert harden(tmp_path, "--revert").code == 0
        assert print_of(root, folders_too=True) == before


def test_what_stands_after_apply_is_what_the_facts_ask_for(tmp_path: Path) -> None:
    for kind in ("rhel", "ssm"):
        (tmp_path / kind).mkdir()
        make(tmp_path / kind / "root", ROOTS[kind])
        assert harden(tmp_path / kind, "--apply").code == 0
    rhel, ssm = tmp_path / "rhel/root/etc", tmp_path / "ssm/root/etc"
    assert (rhel / "environment").read_text() == f"{DISABLED}\nAWS_EC2_METADATA_V1_DISABLED=true\n"
    assert f"export {DISABLED}\n" in (rhel / "profile.d/imdswatch.sh").read_text()
    assert (
        f"\n[Manager]\nDefaultEnvironment={DISABLED} "
        in (rhel / "systemd/system.conf.d/imdswatch.conf").read_text()
    )
    assert (rhel / "profile.d/proxy.sh").read_text() == (
        'export http_proxy="http://proxy.example:3128"\n'
        'export no_proxy="localhost,.example,169.254.169.254,fd00:ec2::254,[fd00:ec2::254]"\n'
    )
    cloud = (rhel / "cloud/cloud.cfg.d/zz-imdswatch.cfg").read_text()
    assert "\ndatasource_list: [ NoCloud, None ]\n" in cloud
    assert cloud.endswith("datasource:\n  Ec2:\n    strict_id: true\n")
    unit = (rhel / "systemd/system/imdswatch-block.service").read_text()
    assert "\nExecStart=/usr/sbin/ip route replace unreachable 169.254.169.254/32\n" in unit
    # Tabs, order and the keys that we do not know stay.
    assert (ssm / "amazon/ssm/amazon-ssm-agent.json").read_text() == (
        '{\n\t"Identity": {"ConsumptionOrder": ["OnPrem"]},\n\t"Profile": {"KeyAutoRotateDays": 0},\n\t"Mds": {}\n}\n'
    )
    assert (ssm / "systemd/system/amazon-ssm-agent.service.d/proxy.conf").read_text() == (
        '[Service]\nEnvironment="http_proxy=http://10.0.0.9:3128" '
        '"no_proxy=localhost,169.254.169.254,fd00:ec2::254,[fd00:ec2::254]"\n'
    )


def test_modes_are_kept_and_the_journal_is_for_its_owner_only(tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["debian"])
    (root / "etc/environment").chmod(0o640)
    assert harden(tmp_path, "--apply").code == 0
    assert (root / "etc/environment").stat().st_mode & 0o7777 == 0o640
    assert (root / "etc/profile.d/imdswatch.sh").stat().st_mode & 0o7777 == 0o644
    folder = root / "var/lib/imdswatch/harden"
    assert folder.stat().st_mode & 0o7777 == 0o700
    assert [(one.name, one.stat().st_mode & 0o7777) for one in folder.iterdir()] == [("0001.done", 0o600)]


def test_only_and_skip_and_block_choose(tmp_path: Path) -> None:
    make(tmp_path / "root", ROOTS["ssm"] | {"/usr/sbin/ip": ""})
    only = edits(harden(tmp_path, "--only", "ssm-on-premises-identity"))
    assert only.keys() == {"/etc/amazon/ssm/amazon-ssm-agent.json"}
    alias = edits(harden(tmp_path, "--only", "disable-for-services", "--only", "no-proxy"))
    assert {slug for one in alias.values() for slug in one["slugs"]} == {"environment", "no-proxy"}
    skipped = edits(harden(tmp_path, "--skip", "environment", "--skip", "block-endpoint"))
    assert skipped.keys() == {
        "/etc/amazon/ssm/amazon-ssm-agent.json",
        "/etc/systemd/system/amazon-ssm-agent.service.d/proxy.conf",
    }
    unit = "/etc/systemd/system/imdswatch-block.service"
    routes = edits(harden(tmp_path, "--block", "routes", "--only", "block-endpoint"))
    assert "route replace unreachable" in routes[unit]["diff"]
    assert harden(tmp_path, "--block", "none", "--only", "block-endpoint").code == 0


def test_the_text_shows_a_diff_and_no_secret(tmp_path: Path) -> None:
    make(
        tmp_path / "root",
        ROOTS["debian"]
        | {"/etc/environment": "DB_PASS=hunter2\nhttp_proxy=http://joe:s3cr3t@proxy:3128\nESC=\x1b[31m\n"},
    )
    done = harden(tmp_path, form="text")
    assert done.code == 1
    assert f"\n+{DISABLED}\n" in done.out
    assert "--- a/etc/environment\n+++ b/etc/environment\n" in done.out
    assert "\n--- /dev/null\n+++ b/etc/imdswatch/block.nft\n" in done.out
    assert "hunter2" not in done.out
    assert "s3cr3t" not in done.out
    assert "\x1b" not in done.out
    assert done.out.rstrip().split("\n")[-1].startswith("7 to change; looked at ")
    assert "hunter2" not in json.dumps(harden(tmp_path).results)


def test_the_text_says_what_still_asks_and_why_that_is_by_hand(tmp_path: Path) -> None:
    service = "  {}:\n    image: amazon/aws-cli\n"
    compose = "services:\n" + "".join(service.format(f"s{at}") for at in range(9))
    make(tmp_path / "root", ROOTS["debian"] | {"/srv/app/compose.yml": compose})
    done = harden(tmp_path, "--apply", form="text")
    assert done.code == 1
    lines = done.out[done.out.index("STILL ASKS") :].splitlines()
    assert lines[0] == (
        "STILL ASKS  Set AWS_EC2_METADATA_DISABLED=true in /srv/app/compose.yml, and create the container anew"
    )
    assert lines[1].startswith("  by hand, because a container keeps the environment")
    assert lines[2].count("any-sdk (container s") == 6
    assert lines[2].endswith("; and 3 more")
    assert "1 by hand" in lines[-1]
    (left,) = harden(tmp_path).of("left")
    assert len(left["cells"]) == 9


def test_on_ec2_it_only_shows(tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["debian"] | {"/sys/class/dmi/id/sys_vendor": "Amazon EC2\n"})
    before = print_of(root)
    shown = harden(tmp_path)
    assert shown.code == 1
    assert any("EC2 instance" in note["text"] for note in shown.of("note"))
    refused = harden(tmp_path, "--apply")
    assert refused.code == 2
    assert "this is an EC2 instance" in refused.err
    assert print_of(root) == before
    assert harden(tmp_path, "--apply", "--force").code == 0
    assert harden(tmp_path, "--revert").code == 0
    assert print_of(root) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--apply", "--revert"), "exclude each other"),
        (("--revert", "--only", "no-proxy"), "takes back everything"),
        (("--only", "magic"), "there is no remedy 'magic'"),
        (("--only", "cloudwatch-on-premises"), "is for a person's hands"),
        (("--apply", "-o", "/dev/null/x"), "cannot write the output"),
        (("--block", "routes"), "needs the program `ip`"),
    ],
)
def test_a_mistake_is_told(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    make(tmp_path / "root", {"/usr/lib/systemd/systemd": "", "/etc/": ""})
    done = harden(tmp_path, *words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.skipif(
    not all(map(os.path.exists, ("/usr/bin/systemd-analyze", NFT, IP))),
    reason="needs systemd, nftables and iproute2",
)
@pytest.mark.parametrize("block", ["nft", "routes"])
def test_systemd_finds_nothing_wrong_with_the_unit(block: str, tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["debian"])
    assert harden(tmp_path, "--apply", "--block", block).code == 0
    unit = root / "etc/systemd/system/imdswatch-block.service"
    words = ["systemd-analyze", "verify", "--man=no", unit]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_folders_and_masked_units_are_passed_over(tmp_path: Path) -> None:
    folders = {
        "/etc/default/grub.d/": "",
        "/etc/sysconfig/network-scripts/ifcfg": "",
        "/etc/profile.d/x.sh/": "",
    }
    masked = {"/etc/systemd/system/masked.service": "-> /dev/null"}
    root = make(tmp_path / "root", ROOTS["debian"] | folders | masked)
    (root / "dev").mkdir()
    os.mkfifo(root / "dev/null")  # as little a file as the device is
    done = harden(tmp_path, "--apply")
    assert (done.code, done.skips) == (0, {})


def test_two_runs_are_taken_back_in_turn(tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["ssm"] | {"/etc/environment": "http_proxy=http://p:1\n"})
    before = print_of(root, folders_too=True)
    for words in (("--only", "environment"), ("--only", "no-proxy"), ()):
        assert harden(tmp_path, "--apply", *words).code == 0
    assert sorted(os.listdir(root / "var/lib/imdswatch/harden")) == ["0001.done", "0002.done", "0003.done"]
    assert harden(tmp_path, "--revert").code == 0
    assert print_of(root, folders_too=True) == before
