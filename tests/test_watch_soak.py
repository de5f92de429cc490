"""Rotation and `kill -9` at random moments: a watch says what one scan says. `make soak` is the long form.

What may go wrong between two system calls is tried one by one, by seed, in `test_watch_races`.
"""

from __future__ import annotations

from pathlib import Path

from watch_soak import soak
from watching import FAST, scanned


def test_what_is_told_is_what_one_scan_says(tmp_path: Path) -> None:
    watch = soak(tmp_path, 8.0, seed=7, lines=30, noise=0, every=0.3, driver=FAST, between=2.5, whole=True)
    truth = scanned(tmp_path, tmp_path / "truth")
    assert len(truth) > 30
    assert watch.told() == truth
    assert watch.skips() == []
    assert watch.kills >= 2
