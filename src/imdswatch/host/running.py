"""What the kernel of the running host does between it and the endpoints: routes, neighbours, sockets, firewall rules.

Only for a live host. Nothing is sent: the kernel is asked by netlink which way it would take; the rules come from
`nft -j list ruleset` and `iptables-save`, where these are installed. What may not be asked is a Skipped.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from imdswatch.host import rules
from imdswatch.host.facts import Block, Network
from imdswatch.host.network import ENDPOINTS
from imdswatch.host.setting import Setting
from imdswatch.host.tree import Tree

_REFUSED = (errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.ENETUNREACH)
_SBIN = ("/usr/sbin", "/sbin", "/usr/bin")
_SECONDS = 20
_LARGEST = 64 << 20


def running(tree: Tree) -> Network:
    """Return what stands in the kernel of this host."""
    blocks: dict[int, Block] = {}
    for family, setting in _of_rules(tree):
        blocks.setdefault(family, Block(family, setting))
    on_link: list[Setting] = []
    local: list[Setting] = []
    neighbours: list[Setting] = []
    try:
        from pyroute2 import IPRoute  # type: ignore[import-untyped]  # late: slow to import
        from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

        with IPRoute() as kernel:
            for address, family in ENDPOINTS.items():
                try:
                    (route,) = list(kernel.route("get", dst=address))[:1] or (None,)
                except NetlinkError as error:
                    if error.code in _REFUSED and error.code != errno.ENETUNREACH:
                        blocks.setdefault(
                            family, Block(family, Setting("unreachable route", address, "(routes)"))
                        )
                    continue
                _way(route, address, on_link, local)
            for address in ENDPOINTS:
                neighbours += _neighbours(kernel, address)
    except (OSError, ImportError, ValueError) as error:
        tree.skip("(routes)", f"could not be asked: {type(error).__name__}")
    return Network(tuple(blocks.values()), tuple(on_link), (*local, *listeners(tree)), tuple(neighbours))


def listeners(tree: Tree) -> Iterator[Setting]:
    """Yield the TCP sockets of this host that listen at an endpoint, with the process that has each (proc(5))."""
    found: dict[str, tuple[str, str]] = {}
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in (tree.read_text(path, 64 << 20) or "").splitlines()[1:]:
            words = line.split()
            if len(words) > 9 and words[3] == "0A":  # TCP_LISTEN
                address, _, port = words[1].rpartition(":")
                where = _address(address)
                if where in ENDPOINTS:
                    shown = f"[{where}]" if ":" in where else where
                    found[words[9]] = (f"{shown}:{int(port, 16)}", path)
    owners = _owners(tree, set(found)) if found else {}
    for inode, (shown, path) in found.items():
        yield Setting("listener", f"{shown} {owners.get(inode, 'of a process that is not shown')}", path)


def _address(words: str) -> str:
    """Return an address as the kernel writes it in /proc/net: words of four bytes in the order of this machine."""
    try:
        data = bytes.fromhex(words)
        ordered = b"".join(
            data[at : at + 4][:: -1 if sys.byteorder == "little" else 1] for at in range(0, len(data), 4)
        )
        address = ip_address(ordered)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)


def _owners(tree: Tree, inodes: set[str]) -> dict[str, str]:
    """Return the process that holds each socket, as far as this user may see; a process that ends is left out."""
    found: dict[str, str] = {}
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    for pid in (name for name in tree.listdir("/proc") if name.isdigit()):
        told = len(tree.skipped)
        for descriptor in tree.listdir(f"/proc/{pid}/fd"):
            target = tree.link(f"/proc/{pid}/fd/{descriptor}")
            if target in wanted:
                name = (tree.read_text(f"/proc/{pid}/comm") or "").strip()
                found.setdefault(wanted[target], f"{name} ({pid})")
        del tree.skipped[told:]  # other users' processes: their sockets are told without a name
    return found


def _way(route: Any, address: str, on_link: list[Setting], local: list[Setting]) -> None:
    if route is None:
        return
    if route["type"] == 2:  # RTN_LOCAL
        local.append(Setting("local address", address, "(routes)"))
    elif route["type"] == 1 and route.get_attr("RTA_GATEWAY") is None and route.get_attr("RTA_VIA") is None:
        on_link.append(Setting("route", address, "(routes)"))


def _neighbours(kernel: Any, address: str) -> Iterator[Setting]:
    family = 10 if ":" in address else 2
    for entry in kernel.get_neighbours(family):
        mac = entry.get_attr("NDA_LLADDR")
        if entry.get_attr("NDA_DST") == address and mac and not entry["state"] & 0x20:  # NUD_FAILED
            yield Setting("neighbour", str(mac), "(neighbours)")


def _of_rules(tree: Tree) -> Iterator[tuple[int, Setting]]:
    said = _output(tree, "nft", "-j", "list", "ruleset")
    if said:
        try:
            chains = rules.of_json(json.loads(said))
        except (ValueError, RecursionError):
            tree.skip("(nft)", "printed what is no JSON")
            chains = []
        for address, chain in rules.verdicts(chains, tuple(ENDPOINTS)):
            yield (
                ENDPOINTS[address],
                Setting(f"nftables {chain.table} {chain.name}", address, "(nft list ruleset)"),
            )
    for program, family in (("iptables-legacy-save", "ip"), ("ip6tables-legacy-save", "ip6")):
        said = _output(tree, program)
        for address, _ in rules.verdicts(rules.of_iptables(said, family), tuple(ENDPOINTS)):
            yield ENDPOINTS[address], Setting("iptables OUTPUT", address, f"({program})")


def _output(tree: Tree, program: str, *arguments: str) -> str:
    """Return what a program of this host prints, "" where it is not installed; told where it fails."""
    path = next((f"{folder}/{program}" for folder in _SBIN if tree.is_file(f"{folder}/{program}")), None)
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, *arguments], capture_output=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        tree.skip(f"({program})", f"could not be asked: {type(error).__name__}")
        return ""
    if done.returncode:
        tree.skip(f"({program})", "could not be asked; are you root?")
        return ""
    return done.stdout[:_LARGEST].decode("utf-8", "replace")
