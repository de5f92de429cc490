"""`imdswatch probe --via-proxy` through a real Squid on loopback: what it says of itself is no endpoint's answer."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from answerers import STRANGER, Imds, http, nothing
from commandline import command, environment
from patience import LONG, until

SQUID = shutil.which("squid", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(SQUID is None, reason="no Squid here (Debian package squid)")

CONFIGURATION = """\
http_port 127.0.0.1:{port}
acl imds dstdomain 127.0.0.1
http_access {access} imds
http_access deny all
cache deny all
access_log none
cache_log {folder}/cache.log
pid_filename {folder}/squid.pid
coredump_dir {folder}
pinger_enable off
netdb_filename none
shutdown_lifetime 0 seconds
forwarded_for {forwarded}
visible_hostname proxy.test
"""


@contextmanager
def squid(folder: Path, access: str = "allow", forwarded: str = "delete") -> Iterator[str]:
    """Run Squid in the foreground; it may reach loopback only. Yields its URL. `forwarded`: X-Forwarded-For."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.chmod(0o777)  # started by root, Squid works as another user
    (folder / "squid.conf").write_text(
        CONFIGURATION.format(port=port, access=access, folder=folder, forwarded=forwarded), encoding="utf-8"
    )
    assert SQUID is not None
    running = subprocess.Popen(
        [SQUID, "-N", "-f", folder / "squid.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:

        def answers() -> bool:
            assert running.poll() is None, (folder / "cache.log").read_text(encoding="utf-8")[-2000:]
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", port)) == 0

        until(answers, "Squid does not begin")
        yield f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


def verdict(proxy: str, port: int) -> tuple[int, dict[str, Any]]:
    words = command(
        "probe", "--endpoint", f"http://127.0.0.1:{port}", "--via-proxy", proxy, "--timeout", "60s",
        "--format", "ndjson",
    )  # fmt: skip
    done = subprocess.run(
        words, capture_output=True, text=True, env=environment(), timeout=4 * LONG, check=False
    )
    assert "Traceback" not in done.stderr
    (found,) = [one for one in map(json.loads, done.stdout.splitlines()) if one["type"] == "verdict"]
    return done.returncode, found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # Squid's own user must be able to pass the folders above.
    for above in (tmp_path, *tmp_path.parents[:3]):
        if os.access(above, os.W_OK) and above.owner() == Path.home().owner():
            above.chmod(above.stat().st_mode | 0o011)
    return tmp_path


def test_an_impostor_behind_the_proxy_is_one(folder: Path) -> None:
    with http(Imds(account=STRANGER, identity={})) as port, squid(folder) as proxy:
        code, found = verdict(proxy, port)
    assert (code, found["verdict"]) == (1, "impostor")
    assert found["account"]["id"] == STRANGER


def test_an_imds_that_refuses_forwarded_requests_gives_nothing_away(folder: Path) -> None:
    # As Squid is shipped it adds X-Forwarded-For; a real IMDS answers that with 403, so no client gets credentials.
    with http(Imds(account=STRANGER, identity={})) as port, squid(folder, forwarded="on") as proxy:
        code, found = verdict(proxy, port)
    assert (code, found["verdict"]) == (3, "undecided")
    assert "account" not in found
    assert "no-token" in [reason["slug"] for reason in found["reasons"]]


def test_nothing_behind_the_proxy_is_nothing(folder: Path) -> None:
    with nothing() as port, squid(folder) as proxy:
        code, found = verdict(proxy, port)
    assert (code, found["verdict"]) == (0, "absent")


def test_a_proxy_that_refuses_is_no_answer(folder: Path) -> None:
    with http(Imds(account=STRANGER, identity={})) as port, squid(folder, "deny") as proxy:
        code, found = verdict(proxy, port)
    assert (code, found["verdict"]) == (0, "absent")
