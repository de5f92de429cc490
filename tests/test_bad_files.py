"""Whatever the file system holds, also while it is read: findings are kept, what was not read is told with its reason.

As in `test_bad_input`, no case may show a trace or take more than 300 MB.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from bad_lines import CLEAN, FOUND, SKIPPED, Log, hit, miss
from commandline import run, scan
from patience import LONG

pytestmark = pytest.mark.slow  # part of `make test`, not of `make check`


# --- the file system --------------------------------------------------------------------------------------------------


def test_an_empty_file_and_dev_null_are_clean(tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, log(b""), "/dev/null")
    assert (done.code, done.skips, done.of("finding")) == (CLEAN, {}, [])
    assert done.of("summary")[0]["sources"] == 2


def test_a_folder_of_nothing_is_clean(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert scan(tmp_path, tmp_path / "empty").code == CLEAN


def test_what_does_not_exist_is_skipped(tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, tmp_path / "nowhere", log(miss(1)))
    assert done.code == SKIPPED
    assert "does not exist" in done.skips["nowhere:"]
    assert scan(tmp_path, tmp_path / "nowhere", log(hit(1))).code == FOUND


def _write_later(path: Path, data: bytes) -> threading.Thread:
    def work() -> None:
        with path.open("wb") as pipe:
            pipe.write(data)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_named_pipe_is_read_if_named(jobs: int, tmp_path: Path, log: Log) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = _write_later(pipe, miss(1) + hit(2))
    done = scan(tmp_path, pipe, log(hit(3)), "--jobs", jobs)
    writer.join(LONG)
    assert (done.code, done.places, done.skips) == (FOUND, {"pipe:line 2", "x.log:line 1"}, {})


def test_a_named_pipe_met_in_a_folder_is_skipped(tmp_path: Path, log: Log) -> None:
    log(hit(1), "in/x.log")
    os.mkfifo(tmp_path / "in" / "pipe")
    done = scan(tmp_path, tmp_path / "in")
    assert (done.code, done.places) == (FOUND, {"x.log:line 1"})
    assert "named pipe" in done.skips["pipe:"]


def test_standard_input_that_is_closed_is_told(tmp_path: Path, log: Log) -> None:
    closed = "import os; os.close(0)"
    done = scan(tmp_path, "-", log(hit(1)), driver=closed)
    assert (done.code, done.places) == (FOUND, {"x.log:line 1"})
    assert done.skips == {"-:byte 0": "cannot be read: bad file descriptor"}


def test_a_file_whose_size_the_kernel_does_not_say_is_read(tmp_path: Path) -> None:
    done = scan(tmp_path, "/proc/self/status")
    assert (done.code, done.skips) == (CLEAN, {})
    assert done.of("summary")[0]["bytes"] > 100


def test_a_directory_loop_is_cut_and_told(tmp_path: Path, log: Log) -> None:
    log(hit(1), "in/deeper/x.log")
    (tmp_path / "in" / "deeper" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "self").symlink_to("self")
    (tmp_path / "in" / "nothing").symlink_to("gone")
    done = scan(tmp_path, tmp_path / "in")
    assert (done.code, done.places) == (FOUND, {"x.log:line 1"})
    assert done.of("finding")[0]["count"] == 1
    assert "loop" in done.skips["up:"]
    assert set(done.skips) == {"up:", "self:", "nothing:"}


def test_a_socket_and_a_device_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(tmp_path / "in", os.O_RDONLY)
        one.bind(f"/proc/self/fd/{here}/s")
        os.close(here)
        done = scan(tmp_path, tmp_path / "in", "/dev/zero")
    assert done.code == SKIPPED
    assert set(done.skips) == {"s:", "zero:"}


# Root may read everything: without its capabilities it is subject to the permission bits like anyone (capset(2)).
_POWERLESS = """
import ctypes
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
assert ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()) == 0
"""


def test_no_permission(tmp_path: Path, log: Log) -> None:
    log(hit(1), "in/x.log")
    log(hit(2), "in/secret.log").chmod(0)
    log(hit(3), "in/folder/x.log")
    (tmp_path / "in" / "folder").chmod(0)
    try:
        done = scan(tmp_path, tmp_path / "in", driver=_POWERLESS)
        alone = scan(tmp_path, tmp_path / "in" / "secret.log", driver=_POWERLESS)
    finally:
        (tmp_path / "in" / "folder").chmod(stat.S_IRWXU)
    assert (done.code, done.places) == (FOUND, {"x.log:line 1"})
    assert {place: reason for place, reason in done.skips.items() if "permission denied" in reason}.keys() == {
        "secret.log:", "folder:",
    }  # fmt: skip
    assert alone.code == SKIPPED


def test_unknown_binary_is_skipped_if_named_and_ignored_if_met(tmp_path: Path, log: Log) -> None:
    binary = log(b"\xfa\x80\xf8\xff" + os.urandom(5000), "in/thing")
    named, met = scan(tmp_path, binary), scan(tmp_path, tmp_path / "in")
    assert (named.code, list(named.skips)) == (SKIPPED, ["thing:"])
    assert (met.code, met.skips, met.of("summary")[0]["ignored"]) == (CLEAN, {}, 1)


def test_a_file_name_of_any_bytes(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/in"
    os.mkdir(folder)
    with open(folder + b"/\xff\x1b[31m\n.log", "wb") as out:
        out.write(hit(1))
    for form in ("ndjson", "csv", "text"):
        done = run(tmp_path, "scan", tmp_path / "in", "--format", form)
        assert done.code == FOUND
        assert "\x1b" not in done.out + done.err
        assert "[31m" in done.out


# --- files that change while they are read: the first read of the file makes the change -------------------------------

_ON_FIRST_READ = """
import os
real, done = os.readv, []
def readv(fd, buffers):
    if not done and os.readlink(f"/proc/self/fd/{fd}").endswith("moving.log"):
        done.append(1)
        path = os.readlink(f"/proc/self/fd/{fd}")
        CHANGE
    return real(fd, buffers)
os.readv = readv
"""


def _changing(change: str) -> str:
    return _ON_FIRST_READ.replace("CHANGE", change)


def test_a_file_that_grows_is_read_as_long_as_it_was(tmp_path: Path, log: Log) -> None:
    path = log(miss(1) * 50_000 + hit(1), "moving.log")
    grow = f"out = open(path, 'ab'); out.write({hit(2)!r} * 1000); out.close()"
    done = scan(tmp_path, path, driver=_changing(grow))
    assert path.read_bytes().endswith(hit(2)), "the file was not changed while it was read"
    assert (done.code, done.skips) == (FOUND, {})
    assert done.places == {"moving.log:line 50001"}


def test_a_file_that_shrinks_is_told(tmp_path: Path, log: Log) -> None:
    path = log(hit(1) + miss(1) * 50_000, "moving.log")
    done = scan(tmp_path, path, driver=_changing("os.truncate(path, 100_000)"))
    assert (done.code, done.places) == (FOUND, {"moving.log:line 1"})
    ((place, reason),) = done.skips.items()
    assert place.startswith("moving.log:byte ")
    assert "became shorter while it was read" in reason


def test_a_file_that_vanishes_while_read_is_still_read(tmp_path: Path, log: Log) -> None:
    path = log(miss(1) * 50_000 + hit(1), "moving.log")
    done = scan(tmp_path, path, driver=_changing("os.unlink(path)"))
    assert not path.exists()
    assert (done.code, done.places, done.skips) == (FOUND, {"moving.log:line 50001"}, {})


def test_a_file_that_vanishes_before_its_turn_is_told(tmp_path: Path, log: Log) -> None:
    pipe, later = tmp_path / "pipe", log(hit(2), "later.log")
    os.mkfifo(pipe)

    def work() -> None:
        with pipe.open("wb") as out:  # opens when the scan has come to the pipe, which is named first
            later.unlink()
            out.write(hit(1))

    threading.Thread(target=work, daemon=True).start()
    done = scan(tmp_path, pipe, later)
    assert (done.code, done.places) == (FOUND, {"pipe:line 1"})
    assert "does not exist (any more)" in done.skips["later.log:"]
