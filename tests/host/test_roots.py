"""Every root in roots/ has the matrix that was written for it by hand, from the facts and not from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from rooting import build

from imdswatch.finding import Skipped
from imdswatch.host.audit import audit
from imdswatch.matrix import Cell, Check, Subject

ROOTS = sorted((Path(__file__).parent / "roots").glob("*.yml"))


def said(cell: Cell) -> str:
    change = f" [{cell.change.slug} {cell.change.path}".rstrip() + "]" if cell.change else ""
    return f"{cell.state}{change}"


@pytest.mark.parametrize("path", ROOTS, ids=lambda path: path.stem)
def test_root(path: Path, tmp_path: Path) -> None:
    case: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    build(case, tmp_path)
    results = list(audit(tmp_path, case.get("user", "")))
    found = {f"{c.tool} / {c.context} / {c.user}": said(c) for c in results if isinstance(c, Cell)}
    assert found == case["expect"]
    checks = {
        c.slug: f"{c.level}" + (f" [{c.change.slug} {c.change.path}".rstrip() + "]" if c.change else "")
        for c in results
        if isinstance(c, Check) and (c.slug != "no-network-block" or c.slug in case.get("checks", {}))
    }
    assert checks == case.get("checks", {})
    assert {s.source: s.reason for s in results if isinstance(s, Skipped)} == case.get("skipped", {})
    (subject,) = [s for s in results if isinstance(s, Subject)]
    assert subject.machine == case.get("machine", "unknown")
    shown = "\n".join(
        f"{c.why} {getattr(c, 'when', '')} "
        + " ".join(f"{e.source}:{e.position} {e.excerpt}" for e in c.evidence)
        for c in results
        if isinstance(c, Cell | Check)
    )
    for text in case.get("shows", ()):
        assert text in shown, shown
    assert "FAKE" not in shown


def test_there_are_enough_roots() -> None:
    assert len(ROOTS) >= 25
