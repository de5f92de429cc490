"""What audit says asks, harden closes: on roots where it has a remedy for all of it, nothing is left that asks."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from rooting import build

import commandline
from imdswatch.host.audit import audit
from imdswatch.matrix import ASKS, Cell

ROOTS = Path(__file__).parent / "roots"
CLOSED = (
    *("debian-value-one", "debian-windows-line-ends", "debian-disabled-in-environment", "defaults-mode-auto"),
    *("rhel-unit-with-drop-in", "ssm-not-registered", "cloud-init-only-ec2", "zeroconf"),
)


def asking(root: Path) -> list[tuple[str, str, str, str]]:
    cells = [one for one in audit(root) if isinstance(one, Cell)]
    return [(cell.tool, cell.context, cell.user, cell.why) for cell in cells if cell.state == ASKS]


@pytest.mark.parametrize("name", CLOSED)
def test_nothing_asks_after_harden(name: str, tmp_path: Path) -> None:
    case = yaml.safe_load((ROOTS / f"{name}.yml").read_text(encoding="utf-8"))
    root = tmp_path / "root"
    build(case, root)
    for sign in ("usr/lib/systemd/systemd", "usr/sbin/nft"):  # what harden needs to see for a network block
        (root / sign).parent.mkdir(parents=True, exist_ok=True)
        (root / sign).touch()
    assert asking(root)
    assert commandline.run(tmp_path, "harden", "--root", root, "--apply").code in (0, 3)
    assert asking(root) == []
