"""What is left of root after a sensor gave up what it does not need; each case in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wires
from imdswatch.watch import privileges
from imdswatch.watch.state import is_ours

TOOL = """
import json, os, socket, sys
from imdswatch.errors import UsageError
from imdswatch.watch.privileges import CAP_NET_RAW, CAP_SYS_PTRACE, drop
try:
    drop(sys.argv[1] or None, frozenset(map(int, sys.argv[2].split(","))))
except UsageError as error:
    print(json.dumps(str(error)))
    sys.exit()
def tried(what):
    try:
        what()
    except OSError as error:
        return error.strerror
    return "works"
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "uids": status["Uid"].split(), "groups": status["Groups"].split(), "new": status["NoNewPrivs"].strip(),
    **{name: int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")},
    "packets": tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()),
    "shadow": tried(lambda: open("/etc/shadow").close()),
    "back": tried(lambda: os.setuid(0)),
    "port": tried(lambda: socket.socket().bind(("127.0.0.1", 1))),
}))
"""
NET_RAW, PTRACE = 1 << 13, 1 << 19


def left(user: str, keep: str = "13", *before: str) -> dict[str, object]:
    done = subprocess.run(
        [*before, sys.executable, "-c", TOOL, user, keep],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, object] = json.loads(done.stdout)
    return found


@wires.NEEDS_ROOT
def test_as_another_user() -> None:
    found = left("nobody")
    assert found["uids"] == ["65534"] * 4
    assert "0" not in found["groups"]
    assert [found[name] for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")] == [
        NET_RAW, NET_RAW, 0, NET_RAW, 0,
    ]  # fmt: skip
    assert found["new"] == "1"
    assert found["packets"] == "works"
    assert found["shadow"] == "Permission denied"
    assert found["back"] == "Operation not permitted"


@wires.NEEDS_ROOT
def test_who_stays_root_has_no_power_of_it() -> None:
    found = left("", "13,19")
    assert found["CapEff"] == found["CapPrm"] == found["CapBnd"] == NET_RAW | PTRACE
    assert found["packets"] == "works"
    assert found["port"] == "Permission denied"


def test_a_user_that_does_not_exist() -> None:
    assert str(left("nobody-of-this-name")).startswith("there is no user nobody-of-this-name")


@wires.NEEDS_ROOT
def test_without_root_there_is_nothing_to_give() -> None:
    """An ordinary user keeps nothing, and cannot become another."""
    before = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    readable = subprocess.run(
        [*before, sys.executable, "-c", "import imdswatch"], env=env, capture_output=True, check=False
    )
    if readable.returncode:
        pytest.skip("another user cannot run this interpreter")
    assert left("", "13", *before)["CapEff"] == 0
    assert str(left("root", "13", *before)).startswith("cannot become user root")


def test_root_becomes_who_called_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    for uid, called, becomes in (
        (0, "1000", "1000"),
        (0, "0", "nobody"),
        (0, "x", "nobody"),
        (7, "1000", None),
    ):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        monkeypatch.setenv("SUDO_UID", called)
        assert privileges.somebody() == becomes


def test_only_a_state_is_handed_over(tmp_path: Path) -> None:
    """A folder that holds anything else is somebody's: `--state /root` gives nothing away."""
    private, other, open_to_all = tmp_path / "private", tmp_path / "other", tmp_path / "open"
    for folder in (private, other, open_to_all):
        folder.mkdir(mode=0o700)
        (folder / "state.sqlite").touch()
    (other / "diary.txt").touch()
    open_to_all.chmod(0o755)
    assert [is_ours(folder) for folder in (private, other, open_to_all, tmp_path / "none")] == [
        True, False, False, False,
    ]  # fmt: skip


@wires.NEEDS_ROOT
def test_what_has_another_name_keeps_its_owner(tmp_path: Path) -> None:
    """Who had the state before may have linked to what is root's."""
    folder, secret = tmp_path / "state", tmp_path / "shadow"
    folder.mkdir(mode=0o700)
    secret.touch()
    (folder / "state.sqlite").touch()
    os.link(secret, folder / "state.sqlite-wal")
    privileges.hand_over(folder, "nobody")
    assert [path.stat().st_uid for path in (folder, folder / "state.sqlite", secret)] == [65_534, 65_534, 0]
    (folder / "state.sqlite-wal").unlink()
    (folder / "state.sqlite-link").symlink_to(secret)
    privileges.hand_over(folder, "nobody")
    assert secret.stat().st_uid == 0
    privileges.hand_over(tmp_path / "new" / "state", "nobody")
    assert (tmp_path / "new" / "state").stat().st_uid == 65_534
    assert (tmp_path / "new").stat().st_uid == 0


@wires.NEEDS_ROOT
def test_what_is_in_the_way_of_another_user(tmp_path: Path) -> None:
    def hindrance(user: str, state: Path, *written: Path, read: tuple[Path, ...] = ()) -> str:
        return privileges.hindrance(user, own=state, written=written, read=read)

    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o005:
            folder.chmod(0o755)
    assert hindrance("nobody-of-this-name", tmp_path) == "cannot be: there is no user nobody-of-this-name"
    assert (os.geteuid(), os.getegid()) == (0, 0)
    found = hindrance("nobody", tmp_path / "state")
    if found:
        assert found == "cannot read the modules of this program"
        pytest.skip("another user cannot run this interpreter")
    (tmp_path / "secret").write_text("")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "shut").mkdir(mode=0o700)
    assert hindrance("nobody", tmp_path / "shut" / "state") == f"cannot write to {tmp_path}/shut/state"
    assert hindrance("nobody", tmp_path / "state", tmp_path / "out") == f"cannot write to {tmp_path}/out"
    assert (
        hindrance("nobody", tmp_path / "state", read=(tmp_path / "secret",))
        == f"cannot read {tmp_path}/secret"
    )
