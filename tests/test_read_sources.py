"""`walk` names what there is to read, never blocks, never raises."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imdswatch.finding import Skipped
from imdswatch.read.sources import Ignored, Source, walk
from imdswatch.read.streams import Stream, open_streams
from patience import LONG


@pytest.fixture(autouse=True)
def _no_blocking() -> Iterator[None]:
    """Whatever blocks is ended by an alarm, so that a regression is a failure and no hang."""

    def stop(*_: object) -> None:
        raise TimeoutError("blocked")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(int(LONG))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def names(paths: list[str]) -> list[str]:
    return [
        item.name if isinstance(item, Source) else f"{item.source}: {item.reason}" for item in walk(paths)
    ]


def drain(source: Source) -> tuple[bytes, list[Skipped | Ignored]]:
    data, others = b"", list[Skipped | Ignored]()
    for item in open_streams(source):
        if isinstance(item, Stream):
            buffer = bytearray(65536)
            while count := item.readinto(buffer):
                data += buffer[:count]
        else:
            others.append(item)
    return data, others


def test_order_is_by_name_and_a_path_given_twice_is_read_twice(tmp_path: Path) -> None:
    for name in ("b/z", "b/a", "a", "c", "b.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n")
    top = str(tmp_path)
    wanted = [f"{top}/{name}" for name in ("a", "b/a", "b/z", "b.log", "c")]
    assert names([top]) == wanted
    assert names([top, f"{top}/a", f"{top}/a"]) == [*wanted, f"{top}/a", f"{top}/a"]


def test_named_and_met(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    file.write_text("x\n")
    os.utime(file, (1, 7))
    assert list(walk([str(file)])) == [Source(str(file), str(file), True, 7.0)]
    assert list(walk([str(tmp_path)])) == [Source(str(file), str(file), False, 7.0)]
    assert list(walk(["-"])) == [Source("-", None, True, None)]


def test_directory_loop_is_cut_and_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/x").write_text("x\n")
    (tmp_path / "a/b/up").symlink_to("..")
    (tmp_path / "a/b/self").symlink_to(".")
    (tmp_path / "other").symlink_to("a")
    (tmp_path / "round").symlink_to("round")
    loop = "is a directory loop: it leads back to a folder it lies in"
    assert names([str(tmp_path)]) == [
        f"{tmp_path}/a/b/self: {loop}",
        f"{tmp_path}/a/b/up: {loop}",
        f"{tmp_path}/a/x",
        f"{tmp_path}/other/b/self: {loop}",
        f"{tmp_path}/other/b/up: {loop}",
        f"{tmp_path}/other/x",
        f"{tmp_path}/round: too many levels of symbolic links",
    ]


def test_a_tree_deeper_than_the_recursion_limit(tmp_path: Path) -> None:
    before, levels = Path.cwd(), sys.getrecursionlimit() + 200
    os.chdir(tmp_path)
    try:
        for _ in range(levels):
            os.mkdir("d")
            os.chdir("d")
        Path("deep").write_text("x\n")
        found = names([str(tmp_path)])
        os.unlink("deep")
        for _ in range(levels):  # or pytest's own cleaning up would run into the limit
            os.chdir("..")
            os.rmdir("d")
    finally:
        os.chdir(before)
    assert len(found) == 1
    assert found[0].endswith("/deep")


def test_pipe_met_in_a_folder_is_skipped_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reason = "is a named pipe; name it on the command line to read it"
    assert list(walk([str(tmp_path)])) == [Skipped(f"{tmp_path}/pipe", "", reason)]


def test_pipe_that_was_named_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"one\ntwo\n" * 50_000,))
    writer.start()
    (source,) = walk([str(pipe)])
    assert isinstance(source, Source)
    assert drain(source) == (b"one\ntwo\n" * 50_000, [])
    writer.join()


def test_file_that_became_a_pipe_does_not_block(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    file.write_text("x\n")
    (source,) = walk([str(tmp_path)])
    assert isinstance(source, Source)
    file.unlink()
    os.mkfifo(file)
    assert drain(source) == (b"", [Skipped(str(file), "", "is no file any more")])


def test_socket_device_null_and_dangling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
        Path("zero").symlink_to("/dev/zero")
        Path("gone").symlink_to("nowhere")
        assert names(["."]) == [
            "./gone: is a symbolic link to nothing",
            "./sock: is a socket, not a file",
            "./zero: is a device, not a file",
        ]
        assert names(["/dev/zero", "sock", "nosuch", "nul\0"]) == [
            "/dev/zero: is a device, not a file",
            "sock: is a socket, not a file",
            "nosuch: does not exist (any more)",
            "nul\0: is no possible file name",
        ]
    (null,) = walk(["/dev/null"])
    assert isinstance(null, Source)
    assert drain(null) == (b"", [])


def test_name_that_is_no_utf8_is_shown_safely_and_opened_exactly(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9\x1b.log"
    with open(path, "wb") as file:
        file.write(b"hello\n")
    (source,) = walk([str(tmp_path)])
    assert isinstance(source, Source)
    assert source.name == f"{tmp_path}/caf\\xe9\x1b.log"
    source.name.encode()
    assert drain(source)[0] == b"hello\n"


def test_vanished_file(tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    file.write_text("x\n")
    (source,) = walk([str(file)])
    assert isinstance(source, Source)
    file.unlink()
    assert drain(source) == (b"", [Skipped(str(file), "", "does not exist (any more)")])


_AS_NOBODY = """
import os, sys
sys.path[:0] = sys.argv[2].split(os.pathsep)
from imdswatch.read.sources import Source, walk
from imdswatch.read.streams import open_streams
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
for item in walk([sys.argv[1]]):
    for found in open_streams(item) if isinstance(item, Source) else [item]:
        print(os.path.basename(found.source), found.reason)
"""


def test_no_permission(tmp_path: Path) -> None:
    """Root may read anything, so the walk happens in a process that has dropped to nobody."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 1:
            folder.chmod(folder.stat().st_mode | 0o055)
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut/x").write_text("x\n")
    (tmp_path / "secret").write_text("x\n")
    (tmp_path / "secret").chmod(0)
    (tmp_path / "shut").chmod(0)
    run = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(tmp_path), os.pathsep.join(sys.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    (tmp_path / "shut").chmod(0o700)
    assert run.stdout.splitlines() == ["secret permission denied", "shut permission denied"], run.stderr
