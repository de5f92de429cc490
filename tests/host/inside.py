"""Runs inside a network namespace without a way out: a recorder at the endpoints, and real clients one after another.

Reads a list of runs as JSON from standard input, writes what each client sent as JSON to standard output. Refuses to
start where any interface is up, so no client of it can ever reach a real metadata service.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

ADDRESSES = ("169.254.169.254/32", "10.66.0.1/32", "fd00:ec2::254/128")
_UP = 0x01
"""An interface that is up (IFF_UP); in a new namespace none is, not even loopback."""
_NODAD = 0x02
"""No waiting for a duplicate of an IPv6 address (IFA_F_NODAD); IPv4 does not heed it."""
LISTENS = (
    ("169.254.169.254", 80),
    ("fd00:ec2::254", 80),
    ("10.66.0.1", 80),
    ("10.66.0.1", 8080),
    ("10.66.0.1", 3128),
)
KEYS = {
    "Code": "Success",
    "Type": "AWS-HMAC",
    "AccessKeyId": "ASIAQAAAAAAAGMKEM7X5",
    "SecretAccessKey": "FAKEFAKE",
    "Token": "FAKETOKEN",
    "LastUpdated": "2026-01-01T00:00:00Z",
    "Expiration": "2036-01-01T00:00:00Z",
    "AccountId": "000000000000",
}
ANSWERS = (
    (r"/security-credentials(-extended)?/$|/security-credentials(-extended)?$", "role"),
    (r"/security-credentials(-extended)?/role", json.dumps(KEYS)),
    (r"/placement/availability-zone", "eu-west-1a"),
    (r"/placement/region", "eu-west-1"),
    (r"/instance-identity/document", json.dumps({"region": "eu-west-1", "accountId": "000000000000"})),
)


class Recorder:
    """Listens everywhere; `seen` has one entry a request that is meant for a metadata service."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        for address, port in LISTENS:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            server = socket.socket(family, socket.SOCK_STREAM)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((address, port))
            server.listen(64)
            threading.Thread(target=self._serve, args=(server, port), daemon=True).start()

    def _serve(self, server: socket.socket, port: int) -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=self._talk, args=(connection, port), daemon=True).start()

    def _talk(self, connection: socket.socket, port: int) -> None:
        connection.settimeout(10)
        try:
            with connection, connection.makefile("rb") as lines:
                while request := lines.readline().decode("latin-1").strip():
                    while lines.readline().strip():
                        pass
                    method, target = [*request.split(" "), ""][:2]
                    if port != 3128 or re.match(r"http://(169\.254\.169\.254|\[fd00:ec2::254\])", target):
                        self.seen.append(f"{method} {target}")
                    elif method == "CONNECT":
                        return
                    path = re.sub(r"^http://[^/]*", "", target)
                    body = next((text for pattern, text in ANSWERS if re.search(pattern, path)), None)
                    if path == "/latest/api/token":
                        body = "FAKETOKENFAKETOKEN=="
                    status = "404 Not Found" if body is None else "200 OK"
                    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body or '')}\r\n"
                    head += "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\n\r\n"
                    connection.sendall((head + ("" if method == "HEAD" else body or "")).encode())
        except OSError:
            pass


def run(one: dict[str, Any], recorder: Recorder) -> dict[str, Any]:
    """Run one client in one situation; `asked` is what the recorder got meanwhile."""
    home = Path(tempfile.mkdtemp(prefix="truth-"))
    try:
        for name, text in one["home"].items():
            place = home / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text.replace("@", str(home)))
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            **one["needs"],
            **{name: value.replace("@", str(home)) for name, value in one["env"].items()},
        }
        recorder.seen.clear()
        try:
            done = subprocess.run(
                one["words"],
                cwd=one["folder"] or home,
                env=environment,
                capture_output=True,
                timeout=25,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            said = (done.stdout + done.stderr).decode("utf-8", "replace")[-300:]
        except subprocess.TimeoutExpired:
            said = "(ended after 25 s)"
        return {"asked": list(recorder.seen), "said": said}
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main() -> None:
    with IPRoute() as network:
        links = {link.get_attr("IFLA_IFNAME"): link["flags"] & _UP for link in network.get_links()}
        if any(links.values()):  # some kernels give a new namespace tunnels that are down
            sys.exit(f"not in a namespace of its own: {links}")
        lo = network.link_lookup(ifname="lo")[0]
        network.link("set", index=lo, state="up")
        for address in ADDRESSES:
            name, _, length = address.partition("/")
            network.addr("add", index=lo, address=name, prefixlen=int(length), flags=_NODAD)
    runs = json.load(sys.stdin)
    recorder = Recorder()
    json.dump([run(one, recorder) for one in runs], sys.stdout)


if __name__ == "__main__":
    main()
