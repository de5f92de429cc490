"""Delivery to a file: rotated, whole lines only, and never to what is no plain file."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from deliveries import message
from imdswatch.delivery import channel_to
from imdswatch.delivery.message import Undelivered
from imdswatch.delivery.target import read_target
from imdswatch.errors import UsageError


def test_a_file_is_rotated_and_keeps_so_many(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    channel = channel_to(read_target(f"file://{file}?rotate=400&keep=3"))
    for number in range(40):
        assert channel.send([message(number)]) == 1
    channel.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"out.ndjson{end}" for end in ("", ".1", ".2", ".3")
    ]
    numbers = [
        json.loads(line)["number"]
        for end in (".3", ".2", ".1", "")
        for line in (tmp_path / f"out.ndjson{end}").read_text(encoding="utf-8").splitlines()
    ]
    assert numbers == list(range(numbers[0], 40))
    assert all(path.stat().st_size <= 400 for path in tmp_path.iterdir())
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_torn_line_is_cut_off_before_the_next_is_written(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    file.write_text('{"number": 1}\n{"numb', encoding="utf-8")
    channel = channel_to(read_target(f"file://{file}"))
    channel.send([message(2)])
    channel.close()
    assert [json.loads(line)["number"] for line in file.read_text(encoding="utf-8").splitlines()] == [1, 2]


def test_a_file_that_others_move_away_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    channel = channel_to(read_target(f"file://{file}"))
    channel.send([message(1)])
    file.rename(tmp_path / "moved")
    channel.send([message(2)])
    channel.close()
    assert json.loads(file.read_text(encoding="utf-8"))["number"] == 2


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    one, two = (channel_to(read_target(f"file://{tmp_path / 'out'}")) for _ in range(2))
    one.send([message(1)])
    with pytest.raises(Undelivered, match="another process"):
        two.send([message(2)])
    one.close()
    assert two.send([message(2)]) == 1
    two.close()


def test_a_full_disk_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "out.ndjson"
    channel = channel_to(read_target(f"file://{file}"))
    channel.send([message(1)])
    write = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) <= 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data[:20])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(Undelivered, match="no space left"):
            channel.send([message(2)])
    assert len(file.read_text(encoding="utf-8").splitlines()) == 1
    assert channel.send([message(2)]) == 1
    channel.close()
    assert [json.loads(line)["number"] for line in file.read_text(encoding="utf-8").splitlines()] == [1, 2]


def test_only_a_plain_file_is_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    for name in ("fifo", "", "../../../../../../dev/null"):
        with pytest.raises(UsageError, match="plain file"):
            channel_to(read_target(f"file://{tmp_path / name}"))
    with pytest.raises(Undelivered):
        channel_to(read_target(f"file://{tmp_path / 'link'}")).send([message(1)])
    assert not (tmp_path / "victim").exists()
