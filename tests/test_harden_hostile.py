"""`imdswatch harden` where it cannot do what it should: links, folders, rights, other people's edits, damaged journals.

Nothing may be half done: an error leaves the root as it was, to the bit; a revert leaves alone what others changed.
Longer than most, because each of these situations needs its own setting up.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commandline import Done, run
from host_roots import ROOTS, make, print_of
from imdswatch.cli.invoke import invoke
from imdswatch.host.place import Place

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do to a file what this test does")
IMMUTABLE, GET_FLAGS, SET_FLAGS = 0x10, 0x80086601, 0x40086602


def harden(tmp_path: Path, *words: object) -> Done:
    return run(tmp_path, "harden", "--root", tmp_path / "root", *words, "--format", "ndjson")


def left(done: Done) -> dict[str, str]:
    return {one["path"]: one["reason"] for one in done.of("edit") if one["state"] == "left-alone"}


def quiet(root: Path, *words: str) -> int:
    return invoke(["harden", "--root", str(root), *words, "-o", os.devnull])


def in_child(what: Callable[[], int]) -> int:
    """Do something in a process of its own, and return its exit code."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = what()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"/etc/environment": "-> /etc/other", "/etc/other": "A=b\n"}, "is a symbolic link to /etc/other"),
        ({"/etc/environment": "-> /nowhere"}, "is a symbolic link to /nowhere"),
        ({"/etc/profile.d/imdswatch.sh": "-> ../../../../../etc/hostname"}, "is a symbolic link"),
        ({"/etc/environment/x": ""}, "is a folder"),
    ],
)
def test_what_is_no_file_is_left_and_told(files: dict[str, str], reason: str, tmp_path: Path) -> None:
    base = {name: text for name, text in ROOTS["debian"].items() if not any(one in name for one in files)}
    base.pop("/etc/environment", None)
    root = make(tmp_path / "root", base | files)
    before = print_of(root)
    shown = harden(tmp_path)
    assert shown.code == 1
    assert any(reason in one for one in shown.skips.values())
    applied = harden(tmp_path, "--apply")
    assert applied.code == 3, "the rest is done, and that one was not is told"
    assert applied.skips == shown.skips, "the plan has said so before"
    assert [one["path"] for one in applied.of("edit")] == [one["path"] for one in shown.of("edit")]
    assert (root / "etc/systemd/system.conf.d/imdswatch.conf").exists()
    again = harden(tmp_path)
    assert (again.code, again.of("edit"), again.skips) == (3, [], shown.skips)
    assert harden(tmp_path, "--revert").code == 0
    assert print_of(root) == before


@pytest.mark.parametrize(
    "path",
    [
        "/etc/imdswatch/block.nft",
        "/etc/systemd/system/imdswatch-block.service",
        "/etc/systemd/system/sysinit.target.wants/imdswatch-block.service",
    ],
)
def test_the_block_is_made_whole_or_not_at_all(path: str, tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["debian"] | {path: "-> /nowhere"})
    before = print_of(root)
    done = harden(tmp_path, "--apply")
    assert done.code == 3
    assert not [one for one in done.of("edit") if "block-endpoint" in one["slugs"]]
    assert f"cannot be made while {path} is in the way" in done.skips["the network block:"]
    assert "true" in (root / "etc/environment").read_text()
    assert harden(tmp_path, "--revert").code == 0
    assert print_of(root) == before


def test_a_hard_link_is_not_parted(tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["debian"])
    os.link(root / "etc/environment", root / "etc/twin")
    before = print_of(root)
    done = harden(tmp_path, "--apply")
    assert done.code == 3
    assert "has 2 names (hard links)" in done.skips["environment:"]
    assert (root / "etc/environment").samefile(root / "etc/twin")
    assert harden(tmp_path, "--revert").code == 0
    assert print_of(root) == before


def test_odd_files_among_many_are_skipped_and_the_rest_is_done(tmp_path: Path) -> None:
    root = make(
        tmp_path / "root",
        ROOTS["debian"]
        | {
            "/etc/profile.d/long.sh": "x" * (5 << 20),
            "/etc/profile.d/link.sh": "-> /etc/dotfile",
            "/etc/dotfile": "export AWS_EC2_METADATA_DISABLED=1\n",
            "/etc/profile.d/loop.sh": "-> loop.sh",
            "/etc/amazon/ssm/amazon-ssm-agent.json": '{"Identity": ',
        },
    )
    os.mkfifo(root / "etc/profile.d/pipe.sh")
    before = print_of(root)
    done = harden(tmp_path, "--apply")
    assert done.code == 3
    skips = done.skips
    assert "is no regular file" in skips["pipe.sh:"]
    assert "is longer than" in skips["long.sh:"]
    assert "is a symbolic link to /etc/dotfile" in skips["link.sh:"]
    assert "lead in a circle" in skips["loop.sh:"]
    assert "cannot be edited" in skips["amazon-ssm-agent.json:"]
    assert "AWS_EC2_METADATA_DISABLED=true" in (root / "etc/environment").read_text()
    assert harden(tmp_path, "--revert").code == 0
    assert print_of(root) == before


def test_links_never_lead_out_of_the_root(tmp_path: Path) -> None:
    outside = make(tmp_path / "outside", {"/profile.d/": "", "/environment": "A=b\n"})
    print_outside = print_of(outside)
    root = make(
        tmp_path / "root",
        {
            "/usr/lib/systemd/systemd": "",
            "/etc": f"-> {outside}",
            f"{outside}/profile.d/": "",
            f"{outside}/environment": "",
        },
    )
    before = print_of(root)
    assert harden(tmp_path, "--apply").code == 0
    inside = root / str(outside).lstrip("/")
    assert "true" in (inside / "environment").read_text(), "an absolute link begins at the root, as in chroot"
    assert print_of(outside) == print_outside
    assert harden(tmp_path, "--revert").code == 0
    assert print_of(root) == before


@pytest.mark.parametrize(
    "home", ["x", "/nope/../y", "..", "/", "/home/../etc", "/home/ghost", "//z", "/a\tb"]
)
def test_an_odd_home_is_no_way_out_and_can_be_taken_back(home: str, tmp_path: Path) -> None:
    outside = print_of(make(tmp_path / "y", {"/.profile": "unset AWS_EC2_METADATA_DISABLED\n"}))
    root = make(
        tmp_path / "root",
        {
            "/etc/passwd": f"a:x:1000:1000::{home}:/bin/sh\nb:x:1001:1001::/srv/b:/usr/bin/fish\n",
            "/etc/pam.d/login": "session required pam_unix.so\n",
            "/.profile": "unset AWS_EC2_METADATA_DISABLED\n",
            "/srv/b/": "",
            "/x/.profile": "export AWS_EC2_METADATA_DISABLED=0\n",
        },
    )
    before = print_of(root, folders_too=True)
    done = harden(tmp_path, "--apply")
    assert done.code == 0
    assert "set -gx AWS_EC2_METADATA_DISABLED true" in (root / "srv/b/.config/fish/config.fish").read_text()
    assert not (root / "home").exists(), "nobody's home is made"
    assert harden(tmp_path, "--revert").code == 0
    assert print_of(root, folders_too=True) == before
    assert print_of(tmp_path / "y") == outside


# Rights


@ROOT_ONLY
def test_an_immutable_file_stops_it_before_anything_stays(tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["ssm"])
    before = print_of(root)
    file = root / "etc/amazon/ssm/amazon-ssm-agent.json"
    descriptor = os.open(file, os.O_RDONLY)
    flags = array.array("i", [0])
    try:
        try:
            fcntl.ioctl(descriptor, GET_FLAGS, flags)
            fcntl.ioctl(descriptor, SET_FLAGS, array.array("i", [flags[0] | IMMUTABLE]))
        except OSError:
            pytest.skip("this file system has no immutable files")
        done = harden(tmp_path, "--apply")
        assert done.code == 2
        assert "operation not permitted" in done.err
        assert "/etc/amazon/ssm/amazon-ssm-agent.json" in done.err
        assert "lsattr" in done.err
        assert print_of(root) == before
    finally:
        fcntl.ioctl(descriptor, SET_FLAGS, flags)
        os.close(descriptor)
    assert harden(tmp_path, "--apply").code == 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@ROOT_ONLY
@pytest.mark.parametrize("where", ["etc", "etc/profile.d", "var"])
def test_without_rights_nothing_stays(where: str, open_folder: Path) -> None:
    root = make(open_folder / "root", ROOTS["debian"] | {"/var/lib/": ""})
    for folder, folders, files in os.walk(open_folder):
        for name in ["", *folders, *files]:
            os.chown(os.path.join(folder, name), 65534, 65534)
    os.chown(root / where, 0, 0)
    os.chown(open_folder, 0, 0)
    before = print_of(root)

    def child() -> int:
        quiet(root)  # imports what a user without rights may not read
        os.setgroups([])
        os.setegid(65534)
        os.seteuid(65534)
        return quiet(root, "--apply")

    expected = 0 if where == "var" else 2  # the journal goes below var/lib
    assert in_child(child) == expected
    if expected:
        assert print_of(root) == before


@ROOT_ONLY
def test_a_read_only_file_system_is_told(tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["debian"])
    before = print_of(root)

    def child() -> int:
        if ctypes.CDLL(None).unshare(0x00020000) != 0:  # CLONE_NEWNS
            return 98
        for words in (["--make-rprivate", "/"], ["--bind", root, root], ["-o", "remount,ro,bind", root]):
            if subprocess.run(["mount", *words], check=False, capture_output=True).returncode != 0:
                return 98
        return quiet(root, "--apply")

    code = in_child(child)
    if code == 98:
        pytest.skip("this sandbox allows no mounts of its own")
    assert code == 2
    assert print_of(root) == before


# Somebody else


def test_what_somebody_else_changed_is_left_alone(tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["debian"])
    before = print_of(root)
    assert harden(tmp_path, "--apply").code == 0
    theirs = root / "etc/environment"
    theirs.write_text(theirs.read_text() + "EDITOR=vi\n")
    (root / "etc/profile.d/imdswatch.sh").chmod(0o600)
    reverted = harden(tmp_path, "--revert")
    assert reverted.code == 3
    assert left(reverted).keys() == {"/etc/environment", "/etc/profile.d/imdswatch.sh"}
    assert all("changed by somebody else" in reason for reason in left(reverted).values())
    assert theirs.read_text().endswith("EDITOR=vi\n")
    assert not (root / "etc/systemd/system/imdswatch-block.service").exists()
    forced = harden(tmp_path, "--revert", "--force")
    assert forced.code == 0
    assert print_of(root) == before


def test_their_own_revert_by_hand_is_fine(tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["debian"])
    assert harden(tmp_path, "--apply").code == 0
    (root / "etc/environment").write_text(ROOTS["debian"]["/etc/environment"])
    (root / "etc/profile.d/imdswatch.sh").unlink()
    shutil.rmtree(root / "etc/imdswatch")
    assert harden(tmp_path, "--revert").code == 0
    assert not (root / "var").exists()
    assert not (root / "etc/systemd/system.conf.d").exists()


def test_folders_of_ours_that_others_use_stay(tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["debian"])
    assert harden(tmp_path, "--apply").code == 0
    (root / "etc/systemd/system.conf.d/theirs.conf").write_text("[Manager]\n")
    (root / "var/lib/theirs").mkdir()
    reverted = harden(tmp_path, "--revert")
    assert reverted.code == 3
    assert left(reverted).keys() == {"/etc/systemd/system.conf.d"}
    assert os.listdir(root / "etc/systemd/system.conf.d") == ["theirs.conf"]
    assert os.listdir(root / "var/lib") == ["theirs"]
    assert harden(tmp_path, "--revert").code == 0, "there is nothing left to take back"


def test_an_edit_at_the_very_moment_undoes_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path / "root", ROOTS["debian"])
    before = print_of(root)
    real = Place.put

    def put(self: Place, path: str, *rest: object) -> None:
        if path == "/etc/systemd/system/imdswatch-block.service":
            (root / "etc/systemd/system/imdswatch-block.service").write_text("theirs\n")
        real(self, path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Place, "put", put)
    assert quiet(root, "--apply") == 2
    monkeypatch.undo()
    assert (root / "etc/systemd/system/imdswatch-block.service").read_text() == "theirs\n"
    (root / "etc/systemd/system/imdswatch-block.service").unlink()
    assert quiet(root, "--revert") == 0
    assert print_of(root) == before


def test_a_line_end_in_a_name_does_not_break_the_diff(tmp_path: Path) -> None:
    odd = b"/etc/profile.d/\xff\n\x1b[31m.sh"
    root = make(tmp_path / "root", {"/etc/profile.d/": ""})
    (root / os.fsdecode(odd).lstrip("/")).write_text("export AWS_EC2_METADATA_DISABLED=0\n")
    before = print_of(root)
    done = run(tmp_path, "harden", "--root", root, "--apply", "-q")
    assert done.code == 0
    assert "\n--- a/etc/profile.d/\\udcff\\n\\x1b[31m.sh\n+++ b" in done.out
    assert harden(tmp_path, "--revert").code == 0
    assert print_of(root) == before


def test_one_run_at_a_time(tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["debian"])
    descriptor = os.open(root, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        done = harden(tmp_path, "--apply")
    finally:
        os.close(descriptor)
    assert done.code == 2
    assert "another run" in done.err


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("=/etc/environment", "=/etc/../../environment"),
        lambda text: text.replace("imdswatch-harden/1", "imdswatch-harden/2"),
        lambda text: "[" * 100_000,
        lambda text: "",
    ],
)
def test_a_damaged_journal_touches_nothing(damage: Callable[[str], str], tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["debian"])
    assert harden(tmp_path, "--apply").code == 0
    journal = root / "var/lib/imdswatch/harden/0001.done"
    journal.write_text(damage(journal.read_text()))
    before = print_of(root)
    for word in ("--revert", "--apply"):
        done = harden(tmp_path, word)
        assert done.code == 2
        assert "the journal is damaged" in done.err
    assert print_of(root) == before


def test_extended_attributes_come_back(tmp_path: Path) -> None:
    root = make(tmp_path / "root", ROOTS["debian"])
    try:
        os.setxattr(root / "etc/environment", "user.note", b"\x00kept")
    except OSError:
        pytest.skip("this file system has no extended attributes of users")
    before = print_of(root)
    assert harden(tmp_path, "--apply").code == 0
    assert os.getxattr(root / "etc/environment", "user.note") == b"\x00kept"
    assert harden(tmp_path, "--revert").code == 0
    assert print_of(root) == before
