"""A machine for commands of the documentation that need root, a network, archives or receivers; it goes when they end.

    python doc_machine.py JOBS.json RESULTS.json

It runs in the lab's enclosure: processes, mounts and network of its own, without a way out. Its root is a tmpfs where
only the programs are those of the host; logs, archives, a mounted image, configuration and names stand there as the
pages call them. At the metadata addresses our simulator answers, one hop away; `eth1` is a span port; receivers take
what is delivered. Whatever a page says to write, it is written here and nowhere else.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import host_roots
import table_files
import wires
from doc_commands import ROOT, environment, install, lines_of, terminal
from imdswatch.lab import kernel
from imdswatch.lab.config import Config
from imdswatch.lab.enclosure import WORK, Namespace, Unavailable, enter
from imdswatch.lab.imds import Service
from imdswatch.lab.network import ENDPOINT, ENDPOINT6
from imdswatch.lab.server import Server, listen
from patience import LONG, asleep, until
from receivers import make_certificates, read_all, stream, webhook
from watch_soak import zeek_header, zeek_line
from watching import squid

HOME = Path("/home/tester")
"""Where the commands are run: the folder that stands for a clone."""
_ROLE = "/latest/meta-data/iam/security-credentials/FAKE-role"
_DMI = {"sys_vendor": "Dell Inc.", "product_name": "PowerEdge R740", "board_vendor": "Dell Inc."}
_USERS = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\nimdswatch:x:471:471::/nowhere:/bin/sh\n"


def main(jobs: Path, results: Path) -> None:
    """Run all jobs in their order, and write what came of each; says `cannot` and why where there can be no machine."""
    wanted, privileged = json.loads(jobs.read_text(encoding="utf-8")), os.geteuid() == 0
    with results.open("w", encoding="utf-8") as out:
        try:
            entered = enter()
        except Unavailable as error:
            out.write(json.dumps({"cannot": str(error)}) + "\n")
            return
        if isinstance(entered, int):
            raise SystemExit(entered)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(machine())
            except OSError as error:
                if privileged:
                    raise
                # Not everything may be mounted by a user in namespaces of their own.
                out.write(json.dumps({"cannot": str(error)}) + "\n")
                return
            for job in wanted:
                out.write(json.dumps({**job, **play(job)}) + "\n")
                out.flush()
            os._exit(0)  # threads of receivers need no goodbye


@contextlib.contextmanager
def machine() -> Iterator[None]:
    """Become a machine: its network, its root, who answers and who receives."""
    with contextlib.ExitStack() as stack:
        _network(stack)
        root = WORK / "machine"
        root.mkdir()
        kernel.mount("tmpfs", str(root))
        _furnish(root)
        os.chroot(root)
        os.chdir(HOME)
        _receivers(stack)
        ended = threading.Event()
        stack.callback(ended.set)
        threading.Thread(target=_life, args=(ended,), daemon=True).start()
        yield


def _network(stack: contextlib.ExitStack) -> None:
    from pyroute2 import IPRoute

    rogue = Namespace("rogue")
    stack.callback(rogue.close)
    with IPRoute() as net:
        net.link("set", index=1, state="up")
        net.link("add", ifname="eth0", kind="veth", peer={"ifname": "eth0", "net_ns_fd": rogue.descriptor})
        net.link("add", ifname="eth1", kind="veth", peer={"ifname": "mirror"})
        rogue.ip.link("set", index=rogue.index("eth0"), address="02:00:5e:00:53:01", state="up")
        for name in ("eth1", "mirror"):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1", encoding="ascii")
        numbers = {name: net.link_lookup(ifname=name)[0] for name in ("eth0", "eth1", "mirror")}
        for number in numbers.values():
            net.link("set", index=number, state="up")
        for ip, here, ours, theirs in (
            (net, numbers["eth0"], "10.99.0.2", "fd99::2"),
            (rogue.ip, rogue.index("eth0"), "10.99.0.1", "fd99::1"),
        ):
            ip.addr("add", index=here, address=ours, prefixlen=24)
            ip.addr("add", index=here, address=theirs, prefixlen=64, flags=2)  # nodad
        for address, bits, gateway in ((ENDPOINT, 32, "10.99.0.1"), (ENDPOINT6, 128, "fd99::1")):
            rogue.ip.addr("add", index=1, address=address, prefixlen=bits, flags=2)
            net.route("add", dst=f"{address}/{bits}", gateway=gateway)
    with rogue:
        sockets = [listen(address, 80, rogue) for address in (ENDPOINT, ENDPOINT6)]
    service = Service(Config(hop_limit=64, keep_alive=True, identity="signed", role="app"))
    stack.callback(Server(service, sockets, lambda _: None).close)


def _furnish(root: Path) -> None:
    """Programs are the host's, read where they are; everything else is the machine's own."""
    os.umask(0o022)
    programs = {Path(sys.prefix), Path(sys.base_prefix), ROOT, *_packages()}
    for path in sorted({Path("/usr"), *programs}):
        if path.is_dir() and not any(above in programs or above == Path("/usr") for above in path.parents):
            (root / path.relative_to("/")).mkdir(parents=True)
            kernel.bind(str(path), str(root / path.relative_to("/")))
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            (root / name).symlink_to(os.readlink(Path("/", name)))
    for name in ("dev", "proc", "run", "tmp", "var/lib", "var/log", "etc/imdswatch", "etc/ssl", "root"):
        (root / name).mkdir(parents=True, exist_ok=True)
    kernel.bind("/dev", str(root / "dev"))
    kernel.bind("/dev/pts", str(root / "dev/pts"))
    kernel.mount("proc", str(root / "proc"))
    (root / "tmp").chmod(0o1777)
    for name in ("ld.so.cache", "alternatives", "java-17-openjdk", "protocols", "services", "nsswitch.conf"):
        if (there := Path("/etc", name)).is_dir():
            shutil.copytree(there, root / "etc" / name, symlinks=True)
        elif there.exists():
            shutil.copy(there, root / "etc" / name)
    host_roots.make(root, _files())
    (root / "etc/imdswatch/hook.key").chmod(0o600)
    _archives(root)
    home = root / HOME.relative_to("/")
    home.mkdir(parents=True, exist_ok=True)
    install(home)
    for name in ("site.toml", "docs", "examples", "deploy"):
        source = ROOT / "docs" / name if name == "site.toml" else ROOT / name
        (home / name).symlink_to(source)
    if (clients := ROOT / ".cache" / "clients").is_dir():
        (home / ".cache").mkdir()
        (home / ".cache" / "clients").symlink_to(clients)
    for name in ("usr/bin/imdswatch", "bin/logger"):
        program = home / ".bin" / Path(name).name
        if not program.exists():
            program.write_text('#!/bin/sh\necho "$@" >> /var/log/auth.log\n', encoding="utf-8")
            program.chmod(0o755)


def _packages() -> set[Path]:
    return {Path(found) for found in sys.path if Path(found).is_dir() and Path(found).parts[1:2] != ("usr",)}


def _files() -> Mapping[str, str | bytes]:
    return {
        "/etc/passwd": _USERS,
        "/etc/group": "root:x:0:\nnogroup:x:65534:\nimdswatch:x:471:\n",
        "/etc/hosts": "127.0.0.1 localhost siem.example hooks.example cluster\n",
        "/etc/resolv.conf": "nameserver 127.0.0.1\n",
        "/etc/timezone": "Etc/UTC\n",
        "/etc/localtime": "-> /usr/share/zoneinfo/Etc/UTC",
        "/etc/environment": 'PATH="/usr/local/sbin:/usr/bin"\nAWS_EC2_METADATA_DISABLED=1\n',
        "/etc/pam.d/common-session": "session required pam_env.so\n",
        "/etc/profile.d/": "",
        "/etc/systemd/system/": "",
        "/etc/imdswatch/site.toml": (ROOT / "docs/site.toml").read_bytes(),
        "/etc/imdswatch/hook.key": "whsec_RkFLRS1zZWNyZXQtb2YtdGhlLXRlc3Q=\n",
        "/var/log/imdswatch/": "",
        "/var/lib/imdswatch/": "",
        "/var/log/squid/access.log": squid(1.79e9, "10.0.7.1", "/latest/meta-data/"),
        "/var/log/zeek/http.log": zeek_header(1) + zeek_line(random.Random(1), 1),
        "/opt/zeek/logs/http.log": zeek_header(2),
        "/srv/captures/segment.pcap": (ROOT / "examples/segment.pcap").read_bytes(),
        "/home/tester/.config/fish/completions/": "",
        "/home/tester/incident.pcap": (ROOT / "tests/captures/recorded/onlink-arp-used.pcap").read_bytes(),
        "/home/tester/.aws/config": "[default]\nregion = eu-west-1\n",
        **{f"/sys/class/dmi/id/{name}": f"{text}\n" for name, text in _DMI.items()},
    }


def _archives(root: Path) -> None:
    """Years of logs, an image of another host, tables."""
    for year, source in ((2024, "10.0.0.4"), (2025, "10.0.0.5"), (2026, "10.0.0.6")):
        folder = root / "archive" / str(year)
        folder.mkdir(parents=True)
        when = time.mktime((year, 6, 1, 0, 0, 0, 0, 0, 0))
        (folder / "access.log").write_bytes(squid(when, source, _ROLE))
    botocore = {
        "/usr/lib/python3/dist-packages/botocore-1.44.5.dist-info/METADATA": "",
        "/etc/passwd": _USERS,
    }
    host_roots.make(root / "mnt/image", {**host_roots.ROOTS["debian"], **botocore})
    records = [
        {
            "ts": 1_793_750_400.0 + 86_400 * day,
            "id.orig_h": f"10.0.0.{day}", "id.resp_h": ENDPOINT, "id.resp_p": 80, "method": "GET",
            "host": ENDPOINT, "uri": _ROLE, "status_code": 200, "uid": f"C{day}", "user_agent": "Boto3/1.44.5",
        }
        for day in range(1, 9)
    ]  # fmt: skip
    for name in (
        "mnt/lake/http.parquet",
        "home/tester/flows.parquet",
        "home/tester/security-lake/http.parquet",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        table_files.parquet(root / name, records)
    for day, record in enumerate(records, 1):
        place = root / f"home/tester/lake/date=2026-11-{day:02}"
        place.mkdir(parents=True)
        table_files.parquet(place / "http.parquet", [record])


def _receivers(stack: contextlib.ExitStack) -> None:
    """A syslog receiver over TLS and a webhook, both of the test's authority, which the machine trusts."""
    folder = Path("/etc/ssl/test")
    folder.mkdir()
    certificates = make_certificates(folder, "siem.example", "hooks.example")
    shutil.copy(certificates.authority, "/etc/ssl/siem.pem")
    context = certificates.server_context()

    def take(connection: Any) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            read_all(secure)
            secure.unwrap()

    stack.enter_context(stream(take, port=6514))
    stack.enter_context(webhook(lambda _: (204, {}), certificates.server_context(), port=443))


def _life(ended: threading.Event) -> None:
    """What goes on here while commands run: somebody asks through the proxy, and on the mirrored segment."""
    packets = wires.pcap(ROOT / "tests/captures/recorded/curl-v2.pcap")
    while not ended.wait(0.2):
        with Path("/var/log/squid/access.log").open("ab") as log:
            log.write(squid(time.time(), "10.0.7.2", _ROLE))
        wires.send(packets, "mirror")


def play(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run one command line in a terminal; one that does not end by itself is ended when it has shown `until`."""
    shows = job.get("until", "")
    if shows or "beside" in job:  # as on a machine where it never ran: what was told is not told again
        Path(HOME, shows.rpartition(": ")[0] or "nothing").unlink(missing_ok=True)
        for state in Path("/var/lib/imdswatch").glob("state.sqlite*"):
            state.unlink()
    beside = [Running(line) for line in job.get("beside", ())]
    try:
        for one in beside:
            if "ready" in job:
                one.read(job["ready"])
        running = Running(job["line"])
        running.read(shows, job.get("asks", False))
        if shows:
            running.end()
        code, told = running.process.wait(), {}
        if "after" in job:
            after = Running(job["after"])
            after.read()
            running.shown += after.shown
            told = {"holds": after.process.wait()}
        return {"code": code, "shown": lines_of(running.shown), **told}
    finally:
        for one in beside:
            one.end()


class Running:
    """A command line that runs in a terminal, as leader of its own session."""

    def __init__(self, line: str) -> None:
        self.shown = b""
        self._terminal, theirs = terminal()
        more = {"HOME": str(HOME), "TMPDIR": "/tmp", "SSL_CERT_FILE": "/etc/ssl/siem.pem", "SHELL": "/bin/sh"}
        self.process = subprocess.Popen(
            ["bash", "-c", line], cwd=HOME, env=environment(HOME, more), stdin=subprocess.DEVNULL,
            stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def read(self, wanted: str = "", asks: bool = False) -> None:
        """Read what it shows to its end, or until a text stands there: `FILE: text` in a file."""
        end = time.monotonic() + LONG
        place, _, text = wanted.rpartition(": ")
        while time.monotonic() < end:
            if wanted and text.encode() in (_content(place) if place else self.shown):
                return
            if asks and b"listening" in self.shown:
                asks = False
                _ask()
            if not select.select([self._terminal], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(self._terminal, 1 << 16)
            except OSError:
                data = b""  # Linux says EIO where the other side is closed
            if not data:
                return
            self.shown += data
        self.shown += b"\n(never ended)"
        os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """End it as a person or systemd would, and read the rest."""
        until(lambda: asleep(self.process.pid))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.read()
        self.process.wait()
        os.close(self._terminal)


def _content(place: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(HOME, place).read_bytes()
    return b""


def _ask() -> None:
    """Ask `lab serve` on loopback as boto3 begins to."""
    connection = http.client.HTTPConnection("127.0.0.1", 1338, timeout=LONG)
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60", "User-Agent": "Boto3/1.44.5 Python/3.11"}
    connection.request("PUT", "/latest/api/token", headers=headers)
    connection.getresponse().read()
    connection.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
