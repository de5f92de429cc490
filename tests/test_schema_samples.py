"""Every sample line of tests/schemas reads exactly as its hand-written expectation says.

All schemas are loaded, so a sample also proves that no other schema claims its lines.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imdswatch.finding import Skipped
from imdswatch.layouts.result import Record
from imdswatch.read.blocks import Block
from imdswatch.read.records import json_objects, looks_multiline_json
from imdswatch.schema import load_schemas

FOLDER = Path(__file__).parent / "schemas"
CASES = sorted(FOLDER.glob("*/*.expected.json"))
# Samples were made on 22 November 2026; lines without a year belong to that year.
FILE_TIME = datetime(2026, 12, 31, tzinfo=UTC).timestamp()

# nginx's `combined` is Apache's, letter by letter; both schemas read the same Event (see the README of the sample).
SAME_TEXT = {"nginx_combined": "apache_combined"}


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _wrong(read: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Name what differs; times may differ by a microsecond, which is what a float of that size can tell."""
    wrong: list[str] = []
    for name in {**read, **expected}:
        got, wanted = read.get(name), expected.get(name)
        if isinstance(got, float) and isinstance(wanted, (int, float)) and abs(got - wanted) < 1e-6:
            continue
        if got != wanted or isinstance(got, bool) != isinstance(wanted, bool):
            wrong.append(f"{name}: {got!r} not {wanted!r}")
    return wrong


def _records(log: bytes) -> list[tuple[int, bytes]]:
    if not looks_multiline_json(log[:65536]):
        return [(number, line) for number, line in enumerate(log.split(b"\n"), 1) if line.strip()]
    framed = json_objects([Block(bytearray(log), len(log), 0, overlong=False, last=True)])
    return [(line, text) for text, line in (item for item in framed if not isinstance(item, Skipped))]


@pytest.mark.parametrize(
    "path", CASES, ids=[f"{path.parent.name}/{path.name.split('.')[0]}" for path in CASES]
)
def test_reads_as_expected(path: Path) -> None:
    log = path.with_name(path.name.replace(".expected.json", ".log")).read_bytes()
    expected = {entry["line"]: entry["event"] for entry in json.loads(path.read_text())}
    reader = load_schemas().reader(UTC, FILE_TIME)
    wrong: list[str] = []
    for number, line in _records(log):
        result = reader.read(line)
        if number not in expected:
            if isinstance(result, Record) and result.schema == path.parent.name:
                wrong.append(f"line {number}: not expected, read {result}")
            continue
        event = expected.pop(number)
        if not isinstance(result, Record):
            wrong.append(f"line {number}: {result}")
        elif result.schema not in (path.parent.name, SAME_TEXT.get(path.parent.name)):
            wrong.append(f"line {number}: claimed by {result.schema}")
        elif differences := _wrong(_plain(result.fields), event):
            wrong.append(f"line {number}: {'; '.join(differences)}")
    wrong += [f"line {number}: no record" for number in expected]
    assert not wrong, "\n".join(wrong)
