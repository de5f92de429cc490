"""What can be done on the network before a victim asks: the words of the `steps` in `data/lab/scenarios.yml`.

Each move takes the `Play` and the step's own values; `MOVES` names them all. What a move opens is closed with the play.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from imdswatch.lab import bystanders, frames
from imdswatch.lab.config import Config
from imdswatch.lab.enclosure import WORK, Enclosure, Namespace
from imdswatch.lab.imds import Service
from imdswatch.lab.network import ENDPOINT, ENDPOINT6, HOSTS, Network, add_address
from imdswatch.lab.server import Heard, Server, listen

_TABLES = """table ip lab {{
  chain before {{
    type nat hook prerouting priority -100; policy accept;
    ip daddr {endpoint} tcp dport 80 dnat to {target}
  }}
}}
"""
_PACKAGES = {"ip": "iproute2", "nft": "nftables"}


class CannotPlay(Exception):
    """A scenario needs what this machine has not; the text says what."""


@dataclass(slots=True)
class Play:
    """One performance under way."""

    enclosure: Enclosure
    network: Network
    environment: dict[str, str] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    ends: list[Callable[[], None]] = field(default_factory=list)

    def close(self) -> None:
        """Close whatever the moves opened."""
        for end in reversed(self.ends):
            end()


def serve(
    play: Play, at: str, addresses: tuple[str, ...] = (ENDPOINT, ENDPOINT6), port: int = 80, **config: Any
) -> None:
    """Let a host own addresses and serve a simulated IMDS there."""
    own(play, at, addresses)
    space = play.network[at]
    with space:
        sockets = [listen(address, port, space) for address in addresses]
    # A rogue several hops away needs a longer life for its packets than EC2's service, which is never routed.
    server = Server(
        Service(Config(**{"hop_limit": 64, "keep_alive": True, **config})), sockets, play.heard.append
    )
    play.ends.append(server.close)


def own(play: Play, at: str, addresses: tuple[str, ...] = (ENDPOINT, ENDPOINT6)) -> None:
    """Let a host own addresses: it answers ARP and neighbour solicitations for them."""
    space = play.network[at]
    have = {address.get_attr("IFA_ADDRESS") for address in space.ip.get_addr()}
    for address in addresses:
        if address not in have:
            add_address(space, "eth0", address, _bits(address))


def route(play: Play, via: str) -> None:
    """Have the router send the endpoints to the rogue, drop what is for them, or refuse it."""
    ip = play.network["router"].ip
    for endpoint, gateway in ((ENDPOINT, HOSTS["rogue"].ip), (ENDPOINT6, HOSTS["rogue"].ip6)):
        target = f"{endpoint}/{_bits(endpoint)}"
        if via == "rogue":
            ip.route("add", dst=target, gateway=gateway)
        else:
            ip.route("add", dst=target, type={"nowhere": "blackhole", "refusal": "prohibit"}[via])


def on_link(play: Play) -> None:
    """Give the victim the routes that make the endpoints neighbours: zeroconf's, and the like for IPv6."""
    victim = play.network["victim"]
    index = victim.index("eth0")
    victim.ip.route("add", dst="169.254.0.0/16", oif=index, scope="link")
    victim.ip.route("add", dst="fd00:ec2::/64", oif=index)


def announce(play: Play, at: str) -> None:
    """Say unasked, twice, that the endpoint is at a host's MAC."""
    for _ in range(2):
        _send(play.network[at], frames.announcement(ENDPOINT, HOSTS[at].mac))


def lease(play: Play, at: str) -> None:
    """Let a host be a DHCP server that offers a route to the endpoint, and the victim take it."""
    words = {
        "client": HOSTS["victim"].mac,
        "server_ip": HOSTS[at].ip,
        "server_mac": HOSTS[at].mac,
        "offered": HOSTS["victim"].ip,
        "route": (f"{ENDPOINT}/32", HOSTS[at].ip),
    }
    for kind, sender in (
        (frames.DISCOVER, "victim"),
        (frames.OFFER, at),
        (frames.REQUEST, "victim"),
        (frames.ACK, at),
    ):
        _send(play.network[sender], frames.dhcp(kind, **words))  # type: ignore[arg-type]
        time.sleep(0.01)  # the order in which they are seen is that of a dialogue
    play.network["victim"].ip.route("add", dst=f"{ENDPOINT}/32", gateway=HOSTS[at].ip)


def advertise(play: Play, at: str) -> None:
    """Let a host advertise a prefix that makes fd00:ec2::254 a neighbour; the victim's kernel takes it, or not."""
    _send(play.network[at], frames.advertisement(HOSTS[at].mac, "fd00:ec2::/64"))
    time.sleep(0.05)
    routes = play.network["victim"].ip.get_routes(family=socket.AF_INET6)
    if not any(route.get_attr("RTA_DST") == "fd00:ec2::" for route in routes):
        raise CannotPlay("this kernel takes no router advertisement")


def translate(play: Play, to: str, port: int) -> None:
    """Have the router rewrite the endpoint to another address and port (nftables)."""
    program = _program("nft")
    process = play.enclosure.start(
        play.network["router"], [program, "-f", "-"], environment={}, stdin=subprocess.PIPE
    )
    out, _ = process.communicate(
        _TABLES.format(endpoint=ENDPOINT, target=f"{HOSTS[to].ip}:{port}").encode(), timeout=10
    )
    if process.returncode:
        raise CannotPlay(f"nft: {out.decode('utf-8', 'replace').strip().splitlines()[0]}")


def proxy(play: Play, at: str, port: int) -> None:
    """Run a forward proxy at a host, and have the victim's environment name it."""
    space = play.network[at]
    with space:
        play.ends.append(bystanders.proxy(space, HOSTS[at].ip, port))
    url = f"http://{HOSTS[at].ip}:{port}"
    play.environment |= {"http_proxy": url, "HTTP_PROXY": url}


def page(play: Play, at: str, port: int) -> None:
    """Run an intranet page at a host."""
    space = play.network[at]
    with space:
        play.ends.append(bystanders.page(space, HOSTS[at].ip, port))


def set_environment(play: Play, **values: str) -> None:
    """Put variables into the environment of the victim."""
    play.environment |= values


def forget(play: Play, name: str) -> None:
    """Take a variable out of the environment of the victim."""
    play.environment.pop(name, None)


def harden(play: Play, block: str) -> None:
    """Do to the victim what `imdswatch harden` does to a host: its variables, and what its unit runs at boot.

    The program itself writes them, below a root of our own; nothing on this machine is changed. `block`: routes or nft.
    """
    program = _program({"routes": "ip", "nft": "nft"}[block])
    root = WORK / f"host-{time.monotonic_ns()}"
    for name in (
        "etc/environment",
        "usr/lib/systemd/systemd",
        program.lstrip("/"),
    ):  # what harden knows a host by
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch(mode=0o755)
    words = ["harden", "--root", str(root), "--apply", "--force", "--block", block]
    done = subprocess.run([sys.executable, "-m", "imdswatch", *words], capture_output=True, check=False)
    unit = root / "etc/systemd/system/imdswatch-block.service"
    if done.returncode or not unit.exists():
        raise CannotPlay(
            f"imdswatch harden ended with {done.returncode}: {done.stderr.decode('utf-8', 'replace').strip()}"
        )
    for line in (root / "etc/environment").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        play.environment[name] = value
    for line in unit.read_text(encoding="utf-8").splitlines():
        key, _, run = line.partition("=")
        if key == "ExecStart":
            run = run.replace("/etc/imdswatch/", f"{root}/etc/imdswatch/")
            process = play.enclosure.start(play.network["victim"], ["/bin/sh", "-c", run], environment={})
            out, _ = process.communicate(timeout=10)
            if process.returncode:
                raise CannotPlay(f"{run}: {out.decode('utf-8', 'replace').strip()}")


MOVES: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "serve": serve,
        "own": own,
        "route": route,
        "on-link": on_link,
        "announce": announce,
        "lease": lease,
        "advertise": advertise,
        "translate": translate,
        "proxy": proxy,
        "page": page,
        "environment": set_environment,
        "forget": forget,
        "harden": harden,
    }
)


def _program(name: str) -> str:
    """Return where a program of the system is; an ordinary user's PATH may lack the folders for root."""
    found = shutil.which(
        name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    )
    if found is None:
        raise CannotPlay(f"there is no `{name}` (Debian: {_PACKAGES[name]})")
    return found


def _send(space: Namespace, frame: bytes) -> None:
    with space, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.bind(("eth0", 0))
        sender.send(frame)


def _bits(address: str) -> int:
    return 128 if ":" in address else 32
