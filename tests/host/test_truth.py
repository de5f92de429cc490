"""The audit says what real clients did in each situation: against the record, and against a few that run now."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import truth

CLIENTS = Path(os.environ.get("IMDSWATCH_CLIENTS", truth.HERE.parents[1] / ".cache" / "clients"))
# One of each kind of value, profile, proxy and endpoint; the whole table is `make truth`.
FEW = (
    *("nothing-set", "switch-true", "switch-1", "switch-in-quotes", "keys-and-region", "profile-missing"),
    *("mode-auto", "proxy", "endpoint-on-loopback", "source-is-imds-and-switch"),
)
QUICK = ("botocore", "js-3", "js-2")


@pytest.mark.parametrize("name", truth.situations())
def test_audit_says_what_was_recorded(name: str) -> None:
    cells = truth.audited(name)
    seen = truth.recorded()["asked"][name]
    wrong = {
        tool: (cells[tool].state, cells[tool].why, request)
        for tool, request in seen.items()
        if not truth.agrees(name, cells[tool], bool(request))
    }
    assert not wrong


def test_the_record_is_wide_enough_and_the_page_is_made_of_it() -> None:
    record = truth.recorded()
    assert len(record["asked"]) >= 40
    assert len(record["versions"]) >= 10
    both = [request for seen in record["asked"].values() for request in seen.values()]
    assert min(both.count(""), len(both) - both.count("")) > len(both) // 5  # neither answer is the rule
    assert truth.PAGE.read_text(encoding="utf-8") == truth.page(record)


def _can_isolate() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run(
            ["unshare", "--net", "--mount", "true"], capture_output=True, check=False
        ).returncode
        == 0
    )


@pytest.mark.slow
@pytest.mark.skipif(
    not (CLIENTS / "stamp").exists(), reason="no AWS clients here: make clients installs them"
)
@pytest.mark.skipif(not _can_isolate(), reason="no right to make a network namespace")
def test_clients_of_today_do_what_the_audit_says() -> None:
    seen = truth.observed(CLIENTS, FEW, QUICK)
    assert len(seen) >= len(FEW) * 2
    wrong = {
        key: (truth.audited(key[0])[key[1]].state, got["asked"][:2], got["said"])
        for key, got in seen.items()
        if not truth.agrees(key[0], truth.audited(key[0])[key[1]], bool(got["asked"]))
    }
    assert not wrong
