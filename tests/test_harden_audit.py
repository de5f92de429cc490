"""What `imdswatch harden` does is what `imdswatch audit` asks for, on the audit's own roots.

Two programs with no code in common but the reading of a tree look at the same files: one edits, the other is asked
after, and must name nothing that the first can close.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from imdswatch.cli.invoke import invoke
from imdswatch.host.catalogue import catalogue

HERE = Path(__file__).parent / "host"
sys.path.insert(0, str(HERE))
from rooting import build  # noqa: E402  the audit's tests keep it beside their cases

CASES = sorted((HERE / "roots").glob("*.yml"))
CLOSES = {change for remedy in catalogue().remedies.values() for change in remedy.closes}
_CONTAINER = "the environment of a container is its own; it is made anew, not edited"
_SHELLS = "without PAM only a shell gets the variable: what is started without one asks"
_INVENTORY = "inventory asks whatever the order says: only the block stops it"
LEFT = {
    ("alpine", "session"): _SHELLS,
    ("containers", "container old"): _CONTAINER,
    ("debian-maybe", "session"): "a shell computes the value; a note says so",
    ("pam-without-environment", "session"): _SHELLS,
    ("pods", "container backup/fetch"): _CONTAINER,
    ("pods", "container ship"): _CONTAINER,
    ("ssm-broken-configuration", "host"): "what is no JSON is not edited; it is skipped",
    ("ssm-hybrid", "host"): _INVENTORY,
    ("ssm-order-only", "host"): _INVENTORY,
    ("ssm-taken-over", "host"): _INVENTORY,
    ("sudo-keeps", "session"): _SHELLS,
    ("sudo-keeps", "sudo by bea"): "sudoers takes it out of what is kept, and includes no folder",
    ("user-services", "session"): _SHELLS,
}
"""Cells that stay without the block, and why; with it only those of containers and of what is computed do."""
LEFT_WITH_BLOCK = {"containers", "debian-maybe", "pods"}


def cells(root: Path) -> list[dict[str, Any]]:
    out = root.parent / "audit.ndjson"
    invoke(["audit", "--root", str(root), "--format", "ndjson", "-o", str(out)])
    found = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return [
        one
        for one in found
        if one["type"] == "cell"
        and one["state"] != "protected"
        and one.get("change", {}).get("slug") in CLOSES
    ]


def harden(root: Path, *words: str) -> int:
    return invoke(["harden", "--root", str(root), "--apply", "--force", *words, "-o", os.devnull])


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_after_harden_the_audit_asks_for_nothing_that_it_makes(path: Path, tmp_path: Path) -> None:
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    if case.get("base", "debian") == "none" and "/etc/passwd" not in case["files"]:
        pytest.skip("harden edits Linux hosts; for others it prints what to do")
    root = tmp_path / "root"
    root.mkdir()
    build(case, root)
    for program in ("usr/lib/systemd/systemd", "usr/sbin/nft"):
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        (root / program).touch()
    assert harden(root, "--skip", "block-endpoint") in (0, 1, 3)
    left = {(path.stem, one["context"]) for one in cells(root) if one["change"]["slug"] != "block-endpoint"}
    assert left <= LEFT.keys()
    assert harden(root) in (0, 1, 3)
    assert {path.stem for _ in cells(root)} <= LEFT_WITH_BLOCK
