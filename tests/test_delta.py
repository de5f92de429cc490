"""Of a Delta table its log says which files are read; where the log cannot be followed, all are, and that is told.

Oracle: what the library that wrote the table says of it (`lakes/delta.json`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from imdswatch.finding import Finding, Skipped
from imdswatch.scan.delta import manifest_of
from test_tables import scanned

LAKES = Path(__file__).parent / "lakes"
SAID = json.loads((LAKES / "delta.json").read_text())
ALL = sorted(path.relative_to(LAKES / "delta") for path in (LAKES / "delta").rglob("*-c000.*.parquet"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LAKES / "delta", tmp_path / "t"))


def commit(table: Path, version: int, *actions: object) -> Path:
    path = table / "_delta_log" / f"{version:020}.json"
    path.write_text("".join(json.dumps(action) + "\n" for action in actions))
    return path


def victims(path: Path) -> list[str]:
    found, _ = scanned(path)
    return sorted(one.victim["ip"] for one in found if isinstance(one, Finding))


def test_only_the_files_of_the_newest_version_are_read(table: Path) -> None:
    assert sorted(manifest_of(str(table)).files or ()) == SAID["files"]
    found, summary = scanned(table)
    assert sorted(one.victim["ip"] for one in found if isinstance(one, Finding)) == SAID["victims"]
    assert not [one for one in found if isinstance(one, Skipped)]
    assert summary.sources == len(SAID["files"])
    assert any("files not read: 3, not in the log of their Delta table" in note for note in summary.notes)


def test_a_checkpoint_stands_for_the_versions_before_it(table: Path) -> None:
    for version in (0, 1):
        (table / "_delta_log" / f"{version:020}.json").unlink()
    assert sorted(manifest_of(str(table)).files or ()) == SAID["files"]


def test_a_table_below_a_folder_is_one_and_what_lies_beside_it_is_read(table: Path) -> None:
    shutil.copytree(table, table.parent / "lake" / "t")
    stray = next((table / "day=2026-11-20").glob("*.parquet"))
    shutil.copy(stray, table.parent / "lake" / "beside.parquet")
    assert victims(table.parent / "lake") == sorted([*SAID["victims"], "10.0.0.1", "10.0.0.2"])


def test_what_is_no_parquet_is_read(table: Path) -> None:
    (table / "day=2026-11-20" / "notes.log").write_text("GET http://169.254.169.254/latest/meta-data/\n")
    assert len(scanned(table)[0]) == len(SAID["victims"]) + 1


def damaged(table: Path) -> None:
    (table / "_delta_log" / f"{4:020}.json").write_text('{"add":')


def gone(table: Path) -> None:
    (table / "_delta_log" / f"{3:020}.json").unlink()


def later(table: Path) -> None:
    commit(table, 6, {"protocol": {"minReaderVersion": 9, "minWriterVersion": 9}})


def feature(table: Path) -> None:
    commit(table, 6, {"protocol": {"minReaderVersion": 3, "readerFeatures": ["columnMapping", "teleport"]}})


def mapped(table: Path) -> None:
    commit(table, 6, {"metaData": {"configuration": {"delta.columnMapping.mode": "name"}}})


def elsewhere(table: Path) -> None:
    commit(table, 6, {"add": {"path": "s3://bucket/part.parquet"}})


def empty(table: Path) -> None:
    for path in (table / "_delta_log").iterdir():
        path.unlink()


def broken_checkpoint(table: Path) -> None:
    path = next((table / "_delta_log").glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:2000])


REASONS: list[tuple[Callable[[Path], None], str]] = [
    (damaged, "is damaged in version 4"),
    (gone, "lacks version 3"),
    (later, "is of a later protocol"),
    (feature, "needs a reader that knows 'teleport'"),
    (mapped, "gives the columns other names than their files do"),
    (elsewhere, "names files outside of its folder"),
    (empty, "holds no version"),
    (broken_checkpoint, "has a checkpoint that is cut short: a Parquet table has its index at its end"),
]


@pytest.mark.parametrize(("change", "reason"), REASONS, ids=[change.__name__ for change, _ in REASONS])
def test_a_log_that_cannot_be_followed_hides_nothing(
    change: Callable[[Path], None], reason: str, table: Path
) -> None:
    change(table)
    found, summary = scanned(table)
    (told,) = [one for one in found if isinstance(one, Skipped)]
    assert told.source == str(table / "_delta_log")
    assert told.reason == f"{reason}: all files beside it are read, dropped ones too"
    assert summary.sources == len(ALL)
    assert {one.victim["ip"] for one in found if isinstance(one, Finding)} == {
        f"10.0.0.{n}" for n in range(1, 6)
    }


def test_rows_that_are_deleted_inside_a_file_are_read_and_that_is_told(table: Path) -> None:
    vector = {"storageType": "u", "pathOrInlineDv": "x", "cardinality": 1}
    commit(table, 6, {"add": {"path": SAID["files"][1], "deletionVector": vector}})
    found, _ = scanned(table)
    assert [one.reason for one in found if isinstance(one, Skipped)] == [
        "drops single rows of 1 files: they are read with them"
    ]
    assert sorted(one.victim["ip"] for one in found if isinstance(one, Finding)) == SAID["victims"]


def test_a_file_that_is_not_there_is_told(table: Path) -> None:
    (table / SAID["files"][1]).unlink()
    found, _ = scanned(table)
    assert [(one.source, one.reason) for one in found if isinstance(one, Skipped)] == [
        (str(table / SAID["files"][1]), "is a file of a Delta table, and not there")
    ]


@pytest.mark.parametrize(
    "name",
    ["v3.metadata.json", "00002-9441e604-b3c2-498a-a45a-6320e8ab9006.metadata.json", "v1.gz.metadata.json"],
)
def test_an_iceberg_table_is_read_whole_and_that_is_told(name: str, table: Path) -> None:
    """Names of the Iceberg table spec; what no list says any more is read, and one line says that it may be."""
    shutil.rmtree(table / "_delta_log")
    (table / "metadata").mkdir()
    (table / "metadata" / "notes.json").write_text("{}")
    before = [one for one in scanned(table.parent)[0] if isinstance(one, Skipped)]
    (table / "metadata" / name).write_bytes(b"{}\n")
    found, _ = scanned(table.parent)
    assert not before
    (told,) = [one for one in found if isinstance(one, Skipped)]
    assert told.source == str(table / "metadata")
    assert told.reason.startswith("is of an Iceberg table, whose lists are not followed: all its data files")
    assert len({one.victim["ip"] for one in found if isinstance(one, Finding)}) > len(SAID["victims"])
