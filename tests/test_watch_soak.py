"""Rotation and `kill -9` at random moments: nothing is lost, nothing is counted twice. `make soak` is the long form."""

from pathlib import Path

from watch_soak import soak
from watching import FAST, scanned


def test_what_is_told_is_what_one_scan_of_everything_says(tmp_path: Path) -> None:
    watch = soak(tmp_path, 8.0, seed=7, lines=30, noise=0, every=0.3, driver=FAST, between=2.5)
    truth = scanned(tmp_path, tmp_path / "truth")
    assert len(truth) > 30
    assert watch.told() == truth
    assert watch.skips() == []
    assert watch.kills >= 2
