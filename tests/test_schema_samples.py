"""Every sample line of tests/schemas reads exactly as its hand-written expectation says.

All schemas are loaded, so a sample also proves that no other schema claims its lines.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from imdswatch.layouts.result import Record
from imdswatch.read.records import looks_multiline_json
from imdswatch.read.unwrap import objects
from imdswatch.schema import load_schemas

FOLDER = Path(__file__).parent / "schemas"
CASES = sorted(FOLDER.glob("*/*.expected.json"))
# Samples were made on 22 November 2026; lines without a year belong to that year.
FILE_TIME = datetime(2026, 12, 31, tzinfo=UTC).timestamp()


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _same(read: dict[str, Any], expected: dict[str, Any]) -> bool:
    times = [abs(read.get(name, -1.0) - expected[name]) < 1e-6 for name in ("timestamp", "expiration") if name in expected]
    read, expected = (
        {name: value for name, value in fields.items() if name not in ("timestamp", "expiration") or name not in expected}
        for fields in (read, expected)
    ) if all(times) else (read, expected)
    read = {name: value for name, value in read.items() if name not in ("timestamp", "expiration") or not all(times)}
    return all(times) and read == expected


@pytest.mark.parametrize("path", CASES, ids=[f"{path.parent.name}/{path.name.split('.')[0]}" for path in CASES])
def test_reads_as_expected(path: Path) -> None:
    log = path.with_name(path.name.replace(".expected.json", ".log")).read_bytes()
    expected = {entry["line"]: entry["event"] for entry in json.loads(path.read_text())}
    reader = load_schemas().reader(UTC, FILE_TIME)
    wrong: list[str] = []
    if looks_multiline_json(log[:65536]):
        results = dict(enumerate(map(reader.read_object, objects(orjson.loads(log))), 1))
    else:
        results = {number: reader.read(line) for number, line in enumerate(log.split(b"\n"), 1) if line.strip()}
    for number, result in results.items():
        if number not in expected:
            if isinstance(result, Record) and result.schema == path.parent.name:
                wrong.append(f"line {number}: not expected, read {result}")
            continue
        event = expected.pop(number)
        if not isinstance(result, Record):
            wrong.append(f"line {number}: {result}")
        elif result.schema != path.parent.name:
            wrong.append(f"line {number}: claimed by {result.schema}")
        elif not _same(_plain(result.fields), event):
            got = _plain(result.fields)
            names = [name for name in {**got, **event} if got.get(name) != event.get(name)]
            wrong.append(f"line {number}: " + "; ".join(f"{n}: {got.get(n)!r} not {event.get(n)!r}" for n in names))
    wrong += [f"line {number}: no record" for number in expected]
    assert not wrong, "\n".join(wrong)
