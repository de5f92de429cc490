"""The seeds of the fuzzer, and every input that once broke a reader, pass: what `make fuzz` found stays found."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from patience import LONG

ROOT = Path(__file__).parent.parent
FUZZ = ROOT / "fuzz"
FOUND = sorted(path for path in (FUZZ / "found").glob("*-*") if path.is_file())
"""`READER-…`, as libFuzzer names them."""


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fuzz_{name}", FUZZ / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def _readers() -> dict[str, Callable[[bytes], None]]:
    readers: dict[str, Callable[[bytes], None]] = _module("readers").READERS
    return readers


READERS = ("capture", "packet", "http", "dhcp", "nd", "dns", "tls", "documents", "dialogue", "ber", "signed")


@pytest.mark.parametrize("name", READERS)
def test_seeds_pass_whole_and_cut(name: str) -> None:
    seeds = sorted((FUZZ / "corpus" / name).iterdir())
    assert seeds, "a reader without seeds learns little"
    for path in seeds:
        data = path.read_bytes()
        _readers()[name](data)
        for end in range(0, len(data), 7):
            _readers()[name](data[:end])


def test_what_once_broke_a_reader_passes() -> None:
    for path in FOUND:
        _readers()[path.name.partition("-")[0]](path.read_bytes())


def test_every_reader_is_fuzzed() -> None:
    assert set(_readers()) == set(READERS) == {path.name for path in (FUZZ / "corpus").iterdir()}
    assert set(_module("run").NAMES) == set(READERS)


def test_the_page_shows_what_was_recorded() -> None:
    results = FUZZ / "results.json"
    kept = json.loads(results.read_text()) if results.exists() else {}
    assert (ROOT / "docs" / "fuzzing.md").read_text(encoding="utf-8") == _module("run").page(kept)


@pytest.mark.slow
def test_a_campaign_prints_executions_edges_and_seed() -> None:
    pytest.importorskip("atheris", reason="Atheris has no wheel for this interpreter or machine")
    words = [sys.executable, FUZZ / "run.py", "tls", "--runs", "20000", "--quiet", "0", "--seed", "7"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LONG, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.fullmatch(
        r"tls: (\d+) executions, (\d+) edges, \d+ features, seed 7, .* no new edge in the last \d+ executions\n",
        done.stdout,
    )
    assert found, done.stdout
    assert int(found[1]) >= 20_000
    assert int(found[2]) > 10
