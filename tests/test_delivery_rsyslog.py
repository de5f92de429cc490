"""What we send is what rsyslog reads, the daemon of most Linux machines: TCP, TLS and UDP, hostile values too."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from imdswatch.delivery import channel_to
from imdswatch.delivery.message import Message
from imdswatch.delivery.target import read_target
from patience import until
from receivers import make_certificates

DAEMON = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
TLS = next(Path("/usr/lib").glob("*/rsyslog/lmnsd_ossl.so"), None)
pytestmark = pytest.mark.skipif(not Path(DAEMON).exists(), reason="rsyslog is not installed here")
HOSTILE = 'a\n<13>1 - - - - - - forged\x00\x1b[2J\u202e"]\\ \u2028 é 😀'


class Rsyslog(NamedTuple):
    """A running daemon: its ports, and the file that it writes a JSON object a message to."""

    tcp: int
    tls: int
    udp: int
    authority: Path
    file: Path

    def messages(self, number: int) -> list[dict[str, str]]:
        def lines() -> list[str]:
            return self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []

        until(lambda: len(lines()) >= number)
        return [json.loads(line) for line in lines()]


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[Rsyslog]:
    certificates = make_certificates(tmp_path)
    ports = []
    with ExitStack() as held:
        for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM):
            free = held.enter_context(socket.socket(socket.AF_INET, kind))
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    made = Rsyslog(*ports, certificates.authority, tmp_path / "messages")
    driver = 'StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"' if TLS else ""
    fields = {
        "data": "structured-data",
        "kind": "msgid",
        "severity": "syslogseverity",
        "app": "app-name",
        "text": "msg",
    }
    properties = 'constant(value=",") '.join(
        f'property(outname="{name}" name="{field}" format="jsonf")' for name, field in fields.items()
    )
    (tmp_path / "conf").write_text(
        f"""global(workDirectory="{tmp_path}" maxMessageSize="64k"
               defaultNetstreamDriverCAFile="{certificates.authority}"
               defaultNetstreamDriverCertFile="{certificates.server}"
               defaultNetstreamDriverKeyFile="{certificates.server}")
        module(load="imptcp") module(load="imudp") module(load="imtcp" {driver})
        template(name="json" type="list") {{ constant(value="{{") {properties} constant(value="}}\\n") }}
        ruleset(name="keep") {{ action(type="omfile" file="{made.file}" template="json") }}
        input(type="imptcp" port="{made.tcp}" ruleset="keep")
        input(type="imtcp" port="{made.tls}" ruleset="keep")
        input(type="imudp" port="{made.udp}" ruleset="keep")
        """,
        encoding="utf-8",
    )
    with subprocess.Popen([DAEMON, "-n", "-f", tmp_path / "conf", "-i", tmp_path / "pid"]) as daemon:
        try:
            until(lambda: all(map(open_to_all, (made.tcp, made.tls, made.udp))), "rsyslog does not begin")
            yield made
        finally:
            daemon.kill()


def open_to_all(port: int) -> bool:
    """Say whether the kernel has a socket at a port, of TCP or UDP: what is sent to one over UDP is not lost."""
    tables = "".join(Path("/proc/net", name).read_text(encoding="ascii") for name in ("tcp", "udp"))
    return f" 00000000:{port:04X} 00000000:0000 " in tables


@pytest.mark.parametrize("transport", ["tcp", "tls", "udp"])
def test_rsyslog_reads_each_message_once_and_whole(transport: str, rsyslog: Rsyslog) -> None:
    if transport == "tls" and TLS is None:
        pytest.skip("rsyslog-openssl is not installed here")
    target = {
        "tcp": f"syslog+tcp://127.0.0.1:{rsyslog.tcp}",
        "tls": f"syslog+tls://localhost:{rsyslog.tls}?ca={rsyslog.authority}&confirm=strict",
        "udp": f"syslog+udp://127.0.0.1:{rsyslog.udp}",
    }[transport]
    batch = [
        Message(
            f"id-{number}",
            "finding",
            1795309200.25,
            json.dumps({"number": number, "title": HOSTILE}, ensure_ascii=number % 2 == 0),
            (("rule", HOSTILE), ("severity", "critical")),
        )
        for number in range(50)
    ]
    assert channel_to(read_target(target)).send(batch) == 50
    got = rsyslog.messages(50)
    assert [json.loads(one["text"])["number"] for one in got] == list(range(50))
    assert {json.loads(one["text"])["title"] for one in got} == {HOSTILE}
    assert {(one["kind"], one["severity"], one["app"]) for one in got} == {("finding", "2", "imdswatch")}
    assert all(f'id="id-{number}"' in one["data"] for number, one in enumerate(got))
