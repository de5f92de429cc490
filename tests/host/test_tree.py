"""A tree never leads out of its root, never opens what is no file, and tells what it could not read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pytest

from imdswatch.errors import UsageError
from imdswatch.host.tree import Kind, Meta, Tree, open_tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("outside\n")
    root = tmp_path / "root"
    (root / "etc/deep").mkdir(parents=True)
    (root / "etc/environment").write_text("A=1\n")
    return root


def reasons(tree: Tree) -> dict[str, str]:
    return {skipped.source: skipped.reason for skipped in tree.skipped}


@pytest.mark.parametrize(
    ("target", "reads"),
    [
        ("environment", "A=1\n"),
        ("/etc/environment", "A=1\n"),  # absolute: below the root, not of this machine
        ("../../../../../etc/environment", "A=1\n"),
        ("../../secret", None),
        ("/../secret", None),
        ("deep/../environment", "A=1\n"),
        ("missing/../environment", None),
        ("environment/../environment", None),  # a file is no folder
    ],
)
def test_a_link_leads_to_what_it_would_inside_of_the_root(root: Path, target: str, reads: str | None) -> None:
    (root / "etc/link").symlink_to(target)
    tree = open_tree(root)
    assert tree.read_text("/etc/link") == reads
    assert not tree.skipped


def test_links_to_folders_are_followed_and_circles_are_told(root: Path) -> None:
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/os-release").write_text("ID=debian\n")
    (root / "lib").symlink_to("usr/lib")
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("/a")
    tree = open_tree(root)
    assert tree.resolve("/lib/os-release") == "/usr/lib/os-release"
    assert tree.listdir("/lib") == ("os-release",)
    assert tree.read_bytes("/a") is None
    assert reasons(tree) == {"/a": "symbolic links lead in a circle"}


def test_a_name_that_becomes_a_link_while_it_is_read_leads_nowhere(root: Path) -> None:
    """The race of a mounted disk whose owner is hostile: resolved as a file, opened as a link."""
    tree = open_tree(root)
    assert tree.resolve("/etc/environment") == "/etc/environment"
    (root / "etc/environment").unlink()
    (root / "etc/environment").symlink_to(root.parent / "secret")
    assert tree.read_bytes("/etc/environment") is None
    assert "/etc/environment" in reasons(tree)
    tree = open_tree(root)
    assert tree.listdir("/etc") == ("deep", "environment")
    (root / "etc").rename(root / "was")
    (root / "etc").symlink_to(root.parent)
    assert tree.read_bytes("/etc/secret") is None


def test_fifos_and_devices_are_not_opened(root: Path) -> None:
    os.mkfifo(root / "etc/fifo")
    tree = open_tree(root)
    assert tree.read_bytes("/etc/fifo") is None
    meta = tree.meta("/etc/fifo")
    assert meta is not None
    assert meta.kind is Kind.OTHER
    assert reasons(tree) == {"/etc/fifo": "is no regular file"}


class Closed:
    """A store that refuses, as a kernel refuses another user's files; root may read them all."""

    def look(self, path: str) -> Meta | None:
        if path.startswith("/etc/deep/"):
            raise PermissionError(13, "Permission denied")
        return Meta(Kind.FOLDER if path in ("/etc", "/etc/deep") else Kind.FILE, 0, 0, 0, 0)

    def names(self, path: str) -> list[tuple[str, Kind]]:
        raise PermissionError(13, "Permission denied")

    def open(self, path: str) -> BinaryIO:
        raise PermissionError(13, "Permission denied")


def test_what_may_not_be_read_is_told_once() -> None:
    tree = Tree(Closed(), name="closed")
    for _ in range(2):
        assert tree.read_bytes("/etc/closed") is None
        assert tree.listdir("/etc/deep") == ()
        assert tree.read_bytes("/etc/deep/x") is None
    assert [(skipped.source, skipped.reason) for skipped in tree.skipped] == [
        ("/etc/closed", "permission denied"),
        ("/etc/deep", "permission denied"),
        ("/etc/deep/x", "permission denied"),
    ]


def test_a_long_file_is_read_up_to_its_last_whole_line(root: Path) -> None:
    (root / "etc/long").write_text("one\ntwo\nthree\n")
    tree = open_tree(root)
    assert tree.read_text("/etc/long", 10) == "one\ntwo\n"
    assert reasons(tree) == {"/etc/long": "is longer than 10 bytes; the rest is not judged"}
    assert tree.read_text("/etc/environment", 4) == "A=1\n"


def test_a_walk_follows_no_link_and_leaves_out_what_it_is_told(root: Path) -> None:
    (root / "etc/loop").symlink_to("/")
    (root / "srv/app/node_modules/x").mkdir(parents=True)
    (root / "proc/1").mkdir(parents=True)
    tree = open_tree(root)
    walked = [folder.path for folder in tree.walk("/", prune={"/proc"}, names={"node_modules"})]
    assert walked == ["/", "/etc", "/etc/deep", "/srv", "/srv/app"]


def test_names_of_windows_are_found_in_any_case(root: Path) -> None:
    (root / "ProgramData/Amazon").mkdir(parents=True)
    assert open_tree(root).spelled("/programdata/AMAZON") == "/ProgramData/Amazon"
    assert open_tree(root).spelled("/ProgramData/Azure") is None


def test_text_is_decoded_by_its_mark(root: Path) -> None:
    (root / "sixteen").write_bytes("A=é\r\n".encode("utf-16"))
    (root / "eight").write_bytes(b"\xef\xbb\xbfA=\xff\n")
    tree = open_tree(root)
    assert tree.read_text("/sixteen") == "A=é\r\n"
    for form in ("utf-16-le", "utf-16-be"):  # a tool that writes no mark
        (root / form).write_bytes("Ab=é\r\n".encode(form))
        assert tree.read_text(f"/{form}") == "Ab=é\r\n"
    assert tree.read_text("/eight") == "A=�\n"


@pytest.mark.parametrize("name", ["absent", "etc/environment"])
def test_a_root_that_is_none_is_wrong_usage(root: Path, name: str) -> None:
    with pytest.raises(UsageError):
        open_tree(root / name)
