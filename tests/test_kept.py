"""What is kept beside the bytecode changes no answer: it is used only if it is ours, whole, and of these files."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from imdswatch import kept, rule, schema
from imdswatch.schema import Schemas

LINES = (
    b'{"ts":1763773200.0,"uid":"C1","id.orig_h":"10.0.1.5","id.resp_h":"169.254.169.254","method":"GET","uri":"/"}',
    b"1763773200.000     12 10.0.1.5 TCP_MISS/200 512 GET http://169.254.169.254/ - HIER_DIRECT/1.2.3.4 text/plain",
)


class Reading:
    """Something that is read from a file, and how often it was."""

    def __init__(self, folder: Path) -> None:
        self.path, self.times = folder / "data.yml", 0
        self.path.write_text("one")

    def __call__(self) -> str:
        """Return it as another process would: nothing is in memory."""
        kept._LOADED.clear()
        return kept.kept("thing", [self.path], self._read)

    def _read(self) -> str:
        self.times += 1
        return self.path.read_text()


@pytest.fixture
def reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reading:
    monkeypatch.setattr(kept, "_place", lambda name: str(tmp_path / "cache" / name))
    monkeypatch.setattr(kept, "_LOADED", {})
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return Reading(tmp_path)


def place(reading: Reading) -> Path:
    return reading.path.parent / "cache" / "thing"


def test_what_was_kept_is_not_read_again(reading: Reading) -> None:
    assert [reading(), reading(), reading()] == ["one"] * 3
    assert reading.times == 1
    assert [one.name for one in place(reading).parent.iterdir()] == ["thing"]  # and no draft is left


def test_a_file_that_changed_is_read_again_whatever_its_times_say(reading: Reading) -> None:
    reading()
    before = reading.path.stat()
    reading.path.write_text("two")
    os.utime(reading.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [reading(), reading()] == ["two"] * 2
    assert reading.times == 2


def test_what_another_release_kept_is_not_used(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    reading()
    monkeypatch.setattr(kept, "_program", lambda: b"another")
    reading()
    assert reading.times == 2


@pytest.mark.parametrize("at", [0, 31, 40, 70, -1])
def test_a_damaged_octet_anywhere_has_it_read_again(reading: Reading, at: int) -> None:
    reading()
    content = bytearray(place(reading).read_bytes())
    content[at] ^= 1
    place(reading).write_bytes(content)
    assert [reading(), reading()] == ["one"] * 2
    assert reading.times == 2


@pytest.mark.parametrize("size", [0, 10, 64, 65])
def test_a_file_that_was_cut_short_is_read_again(reading: Reading, size: int) -> None:
    reading()
    os.truncate(place(reading), size)
    assert [reading(), reading()] == ["one"] * 2
    assert reading.times == 2


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_what_others_may_write_is_never_loaded(reading: Reading, mode: int) -> None:
    reading()
    place(reading).chmod(mode)
    assert reading() == "one"
    assert reading.times == 2
    assert not place(reading).stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)  # replaced by a file of our own


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_what_somebody_else_made_is_never_loaded(reading: Reading) -> None:
    reading()
    os.chown(place(reading), 65534, 65534)
    assert reading() == "one"
    assert reading.times == 2


@pytest.mark.parametrize("what", ["link", "fifo", "folder"])
def test_what_is_no_file_is_never_loaded(reading: Reading, what: str) -> None:
    reading()
    content = place(reading).rename(place(reading).with_name("elsewhere"))
    if what == "link":
        place(reading).symlink_to(content)
    elif what == "fifo":
        os.mkfifo(place(reading), 0o600)
    else:
        place(reading).mkdir()
    assert reading() == "one"
    assert reading.times == 2


def test_nothing_is_written_where_python_writes_no_bytecode(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert [reading(), reading()] == ["one"] * 2
    assert not place(reading).parent.exists()


def test_a_place_that_cannot_be_written_is_no_error(reading: Reading) -> None:
    place(reading).parent.write_text("a file, where the folder should be")
    assert [reading(), reading()] == ["one"] * 2
    assert reading.times == 2


def test_one_process_gets_one_object_until_the_file_changes(tmp_path: Path, reading: Reading) -> None:
    def read() -> list[str]:
        return [reading.path.read_text()]

    first = kept.kept("list", [reading.path], read)
    assert kept.kept("list", [reading.path], read) is first
    reading.path.write_text("two")
    assert kept.kept("list", [reading.path], read) == ["two"]


def test_rules_and_schemas_are_the_same_kept_and_read(reading: Reading) -> None:
    # The first call keeps, the second loads, and both are compared with what is read from the texts.
    read = tuple(rule.parse_rule(one.slug, one.text, one.file) for one in rule.load_rules())
    by_name = {path.stem: schema.load_schema(path) for path in schema.BUILT_IN.glob("*.yml")}
    list(map(Schemas(by_name.values()).reader().read, LINES))  # what use adds to a schema must not be kept
    for _ in range(2):
        kept._LOADED.clear()
        assert rule.load_rules() == read
        assert dict(schema.load_schemas()) == by_name
    assert {one.name for one in place(reading).parent.iterdir()} == {"rules", "schemas"}
