"""What the kernel of the running host does between it and the endpoints: routes, neighbours, sockets, firewall rules.

Only for a live host. Nothing is sent: the kernel is asked by netlink which way it would take; the rules come from
`nft -j list ruleset` and `iptables-save`, where these are installed. What may not be asked is a Skipped.
"""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Iterator
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
    return Network(tuple(blocks.values()), tuple(on_link), tuple(local), tuple(neighbours))


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
