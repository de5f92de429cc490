"""`imdswatch harden` killed with SIGKILL before every single call that changes the tree, and half way through writes.

A child process runs the real command with the writing functions of `os` counted; at the chosen one it kills itself.
Whatever is left behind, a revert must bring the root back to the bit, and another apply must reach the same end.
"""

from __future__ import annotations

import ast
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from host_roots import ROOTS, make, print_of
from imdswatch.cli.invoke import invoke

WRITERS = (
    "chmod", "chown", "fchmod", "fchown", "fsync", "link", "mkdir", "open", "rename", "rmdir", "setxattr", "symlink",
    "unlink", "utime", "write",
)  # fmt: skip
READERS = {
    "close", "fdopen", "fsdecode", "fsencode", "fstat", "geteuid", "getegid", "getxattr", "listdir", "listxattr",
    "readlink", "stat",
}  # fmt: skip
FILES = ROOTS["ssm"] | {
    "/etc/environment": "http_proxy=http://p:3128\n",
    "/etc/profile.d/proxy.sh": "export no_proxy=localhost\n",
    "/etc/cloud/cloud.cfg": "datasource_list: [ Ec2 ]\n",
}


def run(root: Path, *words: str) -> int:
    """Run the command in this process, quietly, and return its exit code."""
    return invoke(["harden", "--root", str(root), *words, "-o", os.devnull])


def killed(root: Path, at: int, *words: str, torn: bool = False, by: int = signal.SIGKILL) -> bool:
    """Run the command in a child that kills itself before its call number `at`; say whether it came to that."""
    child = os.fork()
    if child == 0:
        calls = count()

        def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*given: Any, **named: Any) -> Any:
                if (name != "open" or given[1] & os.O_CREAT) and next(calls) == at:
                    if torn and name == "write":
                        real(given[0], given[1][: len(given[1]) // 2])
                    os.kill(os.getpid(), by)
                return real(*given, **named)

            return call

        for name in WRITERS:
            setattr(os, name, counted(name, getattr(os, name)))
        os._exit(run(root, *words))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    if os.waitstatus_to_exitcode(status) == 128 + signal.SIGINT:
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """Gives the same root anew each time."""
    # A killed process loses nothing that it wrote, so durability is not at stake here; it has a test of its own.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    # In memory, where there is such a place: the same calls, and hundreds of roots in a moment.
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path))
    pattern = make(folder / "pattern", FILES)
    (pattern / "etc/environment").chmod(0o640)
    root = folder / "root"

    def again() -> Path:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(pattern, root, symlinks=True)
        return root

    yield again
    shutil.rmtree(folder)


def test_all_that_writes_is_counted() -> None:
    folder = Path(__file__).parents[1] / "src/imdswatch/host"
    used = {
        node.func.attr
        for path in (folder / "place.py", folder / "journal.py", folder / "transaction.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "os"
    }
    assert used <= {*WRITERS, *READERS}
    assert {"rename", "write", "fsync", "open", "mkdir", "rmdir", "unlink", "symlink"} <= used


def test_killed_while_applying_then_reverted(fresh: Callable[[], Path]) -> None:
    before = print_of(fresh())
    for at in count():
        root = fresh()
        if not killed(root, at, "--apply", torn=True):
            break
        assert run(root, "--revert") == 0, at
        assert print_of(root) == before, at
    assert at > 80, "all of it was gone through"


@pytest.mark.slow
def test_killed_while_applying_then_applied_again(fresh: Callable[[], Path]) -> None:
    before = print_of(fresh())
    root = fresh()
    assert run(root, "--apply") == 0
    whole = _contents(root)
    for at in count(0, 3):
        root = fresh()
        if not killed(root, at, "--apply"):
            break
        assert run(root) in (0, 1), at
        assert run(root, "--apply") == 0, at
        assert _contents(root) == whole, at
        assert run(root, "--revert") == 0, at
        assert print_of(root) == before, at


def test_killed_while_reverting(fresh: Callable[[], Path]) -> None:
    before = print_of(fresh())
    for at in count():
        root = fresh()
        assert run(root, "--apply", "--skip", "block-endpoint") == 0
        assert run(root, "--apply") == 0
        if not killed(root, at, "--revert"):
            break
        assert run(root, "--revert") == 0, at
        assert print_of(root) == before, at
    assert at > 60, "all of it was gone through"


@pytest.mark.slow
def test_killed_while_applying_and_again_while_reverting(fresh: Callable[[], Path]) -> None:
    before = print_of(fresh())
    for at in count(3, 11):
        for then in count(at % 3, 9):
            root = fresh()
            if not killed(root, at, "--apply"):
                return
            if not killed(root, then, "--revert"):
                break
            assert run(root, "--revert") == 0, (at, then)
            assert print_of(root) == before, (at, then)


def _contents(root: Path) -> dict[str, object]:
    """Return names and contents without times: what two runs at different moments must agree in."""
    return {
        path: state[:4] if "/harden/" not in path else state[:3] for path, state in print_of(root).items()
    }


def test_terminated_it_puts_everything_back_by_itself(fresh: Callable[[], Path]) -> None:
    before = print_of(fresh())
    for at in count(0, 2):
        root = fresh()
        if not killed(root, at, "--apply", by=signal.SIGTERM):
            break
        after = print_of(root)
        assert after == before or "var/lib/imdswatch/harden/0001.done" in after, at
    assert at > 80, "all of it was gone through"


def test_a_power_cut_loses_nothing_that_a_revert_needs(
    fresh: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is renamed before its content is durable, and no file is touched before the journal is."""
    root, calls = fresh(), []

    def noted(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*given: Any, **named: Any) -> Any:
            done = real(*given, **named)
            target = given[1] if name in ("rename", "symlink") else given[0]
            where = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else str(target)
            calls.append((name, os.path.relpath(where, root) if where.startswith("/") else where))
            return done

        return call

    for name in ("write", "fsync", "rename", "symlink"):
        monkeypatch.setattr(os, name, noted(name))
    assert run(root, "--apply") == 0
    journal = calls.index(("rename", "lib")) if ("rename", "lib") in calls else calls.index(("rename", "var"))
    assert calls[journal + 1][0] == "fsync"
    assert not any("environment" in path for _, path in calls[:journal])
    for at, (name, path) in enumerate(calls):
        if name == "write":
            assert ("fsync", path) in calls[at:], f"{path} is made durable"
        if name == "rename":
            assert calls[at + 1][0] == "fsync", f"the folder of {path} is made durable"
            assert calls[at - 1][0] in ("fsync", "symlink"), f"{path} was durable before"
