"""What audit says asks, harden closes or names: on every root, as the plan says before and the audit says after.

The audit that is asked after is the command's, of the tree as it stands; the plan's word comes from a tree that nobody
has made. A revert brings back every root of them to the bit, with the times of its folders.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rooting import build

sys.path.insert(0, str(Path(__file__).parents[1]))
from host_roots import print_of
from imdswatch.cli.invoke import invoke
from imdswatch.host.audit import audit
from imdswatch.matrix import ASKS, Cell

CASES = sorted((Path(__file__).parent / "roots").glob("*.yml"))
BY_HAND = {
    "containers": {"any-sdk (container old / root)"},
    "pods": {"any-sdk (container backup/fetch / root)"},
}
"""What asks on roots that have all that harden needs; on no other of them anything does."""


def asking(root: Path) -> set[str]:
    cells = [one for one in audit(root) if isinstance(one, Cell)]
    return {f"{cell.tool} ({cell.context} / {cell.user})" for cell in cells if cell.state == ASKS}


class Done:
    """What a run of harden said."""

    def __init__(self, root: Path, *words: str) -> None:
        out = root.parent / "said.ndjson"
        self.code = invoke(["harden", "--root", str(root), *words, "--format", "ndjson", "-o", str(out)])
        results = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        self.edits = [one["path"] for one in results if one["type"] == "edit"]
        self.skipped = [one["source"] for one in results if one["type"] == "skipped"]
        left = [one for one in results if one["type"] == "left"]
        assert all(one["reason"] and one["text"] for one in left)
        self.told = {cell for one in left for cell in one["cells"]}


@pytest.mark.parametrize("block", [True, False], ids=["block", "no-block"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_nothing_asks_that_harden_has_not_named(path: Path, block: bool, tmp_path: Path) -> None:
    case: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    root = tmp_path / "root"
    root.mkdir()
    build(case, root)
    linux = case.get("base", "debian") != "none" or "/etc/passwd" in case["files"]
    if block and linux:  # what harden needs to see for a network block
        for sign in ("usr/lib/systemd/systemd", "usr/sbin/nft"):
            (root / sign).parent.mkdir(parents=True, exist_ok=True)
            (root / sign).touch()
    before, asked = print_of(root, folders_too=True), asking(root)
    ec2 = case.get("machine") == "ec2"

    shown = Done(root)
    assert shown.code == (1 if shown.edits or shown.told else 3 if shown.skipped else 0)
    assert shown.told <= asked or ec2
    assert not asked or shown.code == 1, "what asks is a finding of harden, too"
    applied = Done(root, "--apply", *(["--force"] if ec2 else []))
    assert applied.told == shown.told, "the plan knows what will be left"
    assert asking(root) == applied.told
    if block and linux:
        assert applied.told == BY_HAND.get(path.stem, set())
    assert applied.code == (1 if applied.told else 3 if applied.skipped else 0)
    again = Done(root)
    assert (again.edits, again.told, again.code) == ([], applied.told, applied.code)
    assert Done(root, "--revert").code == 0
    assert print_of(root, folders_too=True) == before
