"""`kill -9` of a sensor under a flood: what it did not see, it says it did not. `make soak` is the long form."""

from __future__ import annotations

from pathlib import Path

import wires
from interface_soak import soak

pytestmark = wires.NEEDS_ROOT


def test_what_is_not_found_happened_in_a_span_that_was_told(tmp_path: Path) -> None:
    with wires.namespace():
        wires.lay()
        seen = soak(tmp_path, 100_000, 20_000, kills=2, between=2.0)
    assert seen.kills >= 2
    assert len(seen.spans) >= 2
    assert seen.untold == []
    assert seen.found  # and it does look in between
    assert len(seen.found) + sum(one.victim not in seen.found for one in seen.passed) == len(seen.passed) + 1
