"""The real scan gives every sample record its hand-written stage, alone in a file and in company.

`test_schema_samples.py` shows that the records read as expected; here prefilter, rules and grouping are in between.
A record whose stage is null must give nothing at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from imdswatch.event import complete
from imdswatch.finding import STAGE_RANK, Finding, fingerprint
from imdswatch.layouts.result import Header, Record
from imdswatch.read.records import looks_multiline_json
from imdswatch.rule import Node, load_rules
from imdswatch.scan import run
from imdswatch.scan.aggregate import key_of
from imdswatch.scan.hints import Hints
from imdswatch.scan.prefilter import Prefilter, build
from imdswatch.scan.run import Options, Scan
from imdswatch.schema import Schemas, load_schemas
from imdswatch.site import Site
from test_schema_samples import CASES, FILE_TIME, SAME_TEXT, _records

pytestmark = pytest.mark.slow  # part of `make test`, not of `make check`

NAMES = [f"{path.parent.name}/{path.name.split('.')[0]}" for path in CASES]


@dataclass(frozen=True)
class Alone:
    """One record as a file of its own: the header lines before it, then the record on line `line`."""

    name: str
    text: bytes
    line: int
    stage: str | None
    fields: dict[str, Any]


@cache
def _schemas() -> Schemas:
    return load_schemas()


@cache
def _options(each: bool) -> Options:
    return Options(load_rules(), Site(), _schemas(), each=each)


@pytest.fixture(autouse=True)
def _compile_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use one search database for all scans of the same rules: compiling it takes longer than a sample."""
    monkeypatch.setattr(
        run, "build", lambda conditions, hints, watch=(): _built(tuple(conditions), tuple(watch))
    )


@cache
def _built(conditions: tuple[tuple[str, Node], ...], watch: tuple[str, ...]) -> Prefilter:
    return build(conditions, Hints(_schemas()), watch)


def _log_of(path: Path) -> bytes:
    return path.with_name(path.name.replace(".expected.json", ".log")).read_bytes()


def _expected(path: Path) -> dict[int, dict[str, Any]]:
    return {entry["line"]: entry for entry in json.loads(path.read_text())}


def _alone(path: Path) -> Iterator[Alone]:
    log, expected = _log_of(path), _expected(path)
    reader = _schemas().reader(year_not_after=FILE_TIME)
    framed = looks_multiline_json(log[:65536])
    headers: list[bytes] = []
    for number, text in _records(log):
        if not framed and isinstance(reader.read(text), Header):
            headers.append(text)
        elif number in expected:
            entry = expected[number]
            stem = f"{path.parent.name}.{path.name.split('.')[0]}.{number}"
            body = b"\n".join([*headers, text]) + b"\n"
            yield Alone(stem, body, len(headers) + 1, entry["stage"], entry["event"])


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    os.utime(path, (FILE_TIME, FILE_TIME))


def _scan(*paths: Path, each: bool = False) -> list[Finding]:
    scan = Scan([str(path) for path in paths], _options(each))
    results = list(scan.results())
    skipped = [result for result in results if not isinstance(result, Finding)]
    assert not skipped, f"a sample is not wholly read: {skipped[:3]}"
    return [result for result in results if isinstance(result, Finding)]


def test_each_record_alone_gives_its_stage(tmp_path: Path) -> None:
    records = {record.name: record for path in CASES for record in _alone(path)}
    assert len(records) > 1000, "the samples have shrunk, or are no longer found"
    for record in records.values():
        _write(tmp_path / record.name, record.text)
    stages: dict[str, list[tuple[str, str]]] = {}
    for finding in _scan(tmp_path, each=True):
        # A second look judges a record against others; alone in its file it has none.
        if finding.stage != "credentials-used":
            for evidence in finding.evidence:
                stages.setdefault(Path(evidence.source).name, []).append((finding.stage, evidence.position))
    wrong = []
    for name, record in records.items():
        # A JSON document of several lines counts lines to its beginning, and so does ours.
        wanted = [] if record.stage is None else [(record.stage, f"line {record.line}")]
        if stages.get(name, []) != wanted:
            wrong.append(f"{name}: {stages.get(name, [])} not {wanted}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", CASES, ids=NAMES)
def test_each_record_alone_is_recognised(path: Path) -> None:
    wrong = []
    for record in _alone(path):
        reader = _schemas().reader(year_not_after=FILE_TIME)
        if looks_multiline_json(record.text):
            result = reader.read(record.text)
        else:
            result = [reader.read(line) for line in record.text.splitlines(keepends=True)][-1]
        if not isinstance(result, Record) or result.schema not in (
            path.parent.name,
            SAME_TEXT.get(path.parent.name),
        ):
            wrong.append(f"{record.name}: {result}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", CASES, ids=NAMES)
def test_whole_file_gives_the_highest_stage_of_each_incident(path: Path, tmp_path: Path) -> None:
    wanted: dict[str, str] = {}
    lines: dict[str, int] = {}
    for record in _expected(path).values():
        if record["stage"] is None:
            continue
        event = {n: tuple(v) if isinstance(v, list) else v for n, v in record["event"].items()}
        victim, asked, _ = key_of(complete(event), None)
        mark = fingerprint(victim or None, asked or None)
        lines[mark] = lines.get(mark, 0) + 1
        wanted[mark] = max(wanted.get(mark, "attempted"), record["stage"], key=STAGE_RANK.__getitem__)
    _write(tmp_path / "log", _log_of(path))
    found = _scan(tmp_path / "log")
    # credentials-used is no stage of one record: a victim's later talk with AWS raises the incident it belongs to.
    raised = {one.fingerprint for one in found if one.stage == "credentials-used"}
    assert all(wanted[mark] == "credentials-served" for mark in raised)
    got = {
        one.fingerprint: wanted[one.fingerprint] if one.fingerprint in raised else one.stage for one in found
    }
    assert len(found) == len(got), "one incident, two findings"
    assert got == wanted
    assert {one.fingerprint: one.count for one in found if one.fingerprint not in raised} == {
        mark: count for mark, count in lines.items() if mark not in raised
    }
