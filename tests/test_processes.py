"""Who asked, on a host that is itself the victim: lines of the tracepoint, joining, /proc, and real connections."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wires
from imdswatch.read.askers import Asker, Askers, Change, Lost, parse
from imdswatch.read.processes import Sockets, asker
from imdswatch.scan.text import Outcome
from imdswatch.watch.processes import ProcessFeed
from patience import until

# As trace_pipe of Linux 6.18 printed them.
BEGINS = (
    "          python-15944   [001] ..... 26922.668791: inet_sock_set_state: family=AF_INET protocol=IPPROTO_TCP "
    "sport=0 dport=40305 saddr=127.0.0.1 daddr=127.0.0.1 saddrv6=::ffff:127.0.0.1 daddrv6=::ffff:127.0.0.1 "
    "oldstate=TCP_CLOSE newstate=TCP_SYN_SENT"
)
KNOWN = (
    BEGINS.replace("sport=0", "sport=60392")
    .replace("=TCP_SYN_SENT", "=TCP_ESTABLISHED")
    .replace("oldstate=TCP_CLOSE", "oldstate=TCP_SYN_SENT")
)
SIX = (
    " my-tool - x-77   [000] .N... 1.5: inet_sock_set_state: family=AF_INET6 protocol=IPPROTO_TCP sport=40112 dport=80 "
    "saddr=0.0.0.0 daddr=0.0.0.0 saddrv6=2001:db8::5 daddrv6=fd00:ec2::254 oldstate=TCP_SYN_SENT newstate=TCP_CLOSE"
)


def test_lines_of_the_tracepoint() -> None:
    assert parse(BEGINS) == Change(15944, "python", True, "127.0.0.1", 0, "127.0.0.1", 40305)
    assert parse(KNOWN) == Change(15944, "python", False, "127.0.0.1", 60392, "127.0.0.1", 40305)
    assert parse(SIX) == Change(77, "my-tool - x", False, "2001:db8::5", 40112, "fd00:ec2::254", 80)
    assert parse("CPU:1 [LOST 1234 EVENTS]") == Lost(1234)
    for other in (
        "",
        "#",
        "x" * 10_000,
        BEGINS[:-20],
        BEGINS.replace("127.0.0.1", "no.address"),
        "a-1 " * 5_000,
    ):
        assert parse(other) is None


def _change(begins: bool = True, sport: int = 0, tid: int = 1) -> Change:
    return Change(tid, "c", begins, "10.0.0.1", sport, "169.254.169.254", 80)


WAY = ("10.0.0.1", 40_000, "169.254.169.254", 80)
ONE, TWO = Asker("/bin/one", 1, "root", "/a"), Asker("/bin/two", 2, "root", "/b")


def test_ports_that_become_known() -> None:
    askers = Askers()
    askers.began(_change(tid=1), ONE, 1.0)
    askers.began(_change(tid=2), TWO, 1.0)
    askers.known(_change(False, 40_000, tid=2))  # in the context of the second
    askers.known(_change(False, 40_001, tid=99))  # in that of an interrupt
    assert askers.of(*WAY, 1.1) == TWO
    assert askers.of("10.0.0.1", 40_001, "169.254.169.254", 80, 99.0) == ONE
    assert askers.of("10.0.0.1", 40_002, "169.254.169.254", 80, 1.1) is None


def test_a_connection_without_answer() -> None:
    askers = Askers()
    askers.began(_change(), ONE, 1.0)
    assert askers.of(*WAY, 1.1) == ONE
    assert askers.of(*WAY, 60.0) is None
    askers.began(_change(), TWO, 1.0)
    both = askers.of(*WAY, 1.1)
    assert both == Asker("/bin/one or /bin/two", None, "root", "")
    assert both.origin == "user root"


def test_what_proc_says() -> None:
    found = asker(os.getpid(), "comm")
    assert found.name == os.path.realpath("/proc/self/exe")
    assert (found.pid, found.user) == (os.getpid(), _name_of(os.geteuid()))
    assert f"pid {os.getpid()}, user " in found.origin
    assert asker(2**22 + 1, "gone") == Asker("gone", 2**22 + 1)


def _name_of(uid: int) -> str:
    return subprocess.run(["id", "-un", str(uid)], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def feed() -> Iterator[ProcessFeed]:
    """A feed, where tracing is allowed."""
    if os.geteuid() != 0:
        pytest.skip("tracing needs root")
    # In a mount namespace of the test's own, since the feed may mount tracefs.
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    feed = ProcessFeed()
    outcome = Outcome()
    feed.read(outcome)
    try:
        if outcome.skipped:
            pytest.skip(f"no tracing here: {outcome.skipped[0].reason}")
        yield feed
    finally:
        feed.close()
        wires.call("setns", home, 0)
        os.close(home)


CLIENT = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
with socket.socket() as s:
    s.connect(("127.0.0.1", int(sys.argv[1])))
    print(s.getsockname()[1], flush=True)
    sys.stdin.read()
"""


def test_a_real_connection(feed: ProcessFeed) -> None:
    """A process of another user, which is gone when it is asked for: it is looked at when it opens the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", CLIENT, str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as client:  # fmt: skip
            assert client.stdin is not None
            assert client.stdout is not None
            sport = int(client.stdout.readline())
            outcome = Outcome()

            def named() -> bool:  # whoever else connects on this machine is seen, too
                feed.read(outcome)
                return feed.of("127.0.0.1", sport, "127.0.0.1", port) is not None

            until(named)
            client.stdin.close()
    found = feed.of("127.0.0.1", sport, "127.0.0.1", port)
    assert found is not None
    assert found.name == os.path.realpath(sys.executable)
    assert (found.pid, found.user) == (client.pid, _name_of(65534))


def test_a_sensor_that_was_killed_leaves_nothing_that_runs(feed: ProcessFeed) -> None:
    """What a dead sensor left is taken away by the next."""
    folder = next(
        path for top in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
        for path in Path(top, "instances").glob(f"imdswatch-{os.getpid()}")
    )  # fmt: skip
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = folder.with_name(f"imdswatch-{dead.pid}")
    left.mkdir()
    ProcessFeed().close()  # the same instance: refused, after the old ones were taken away
    assert not left.exists()
    assert folder.exists()
    feed.close()
    assert not folder.exists()


def test_sockets_that_wait() -> None:
    """Without tracing: a connection to an address that nobody has is found while it waits."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with wires.namespace():
        wires.lay()
        from pyroute2 import IPRoute

        with IPRoute() as net:
            index = net.link_lookup(ifname="in0")[0]
            net.addr("add", index=index, address="10.20.1.10", prefixlen=24)
            net.route("add", dst="169.254.169.254/32", oif=index)
            net.neigh("add", dst="169.254.169.254", lladdr="02:00:00:00:00:01", ifindex=index)
        with socket.socket() as client:
            client.setblocking(False)
            assert client.connect_ex(("169.254.169.254", 80)) == 115  # EINPROGRESS
            ((src, sport, dst, dport, found),) = Sockets(frozenset({"169.254.169.254"})).read()
            assert (src, sport, dst, dport) == (*client.getsockname(), "169.254.169.254", 80)
            assert found.pid == os.getpid()
