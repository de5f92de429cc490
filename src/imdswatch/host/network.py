"""What the files of a host will set up between it and the endpoints: blocks, and routes that make them neighbours.

For a tree that is not running; `running` asks the kernel of a live host. A service counts only where it is enabled.
Sources: nftables.service and Debian's iptables-persistent (which files they load), systemd.network(5), interfaces(5),
RHEL's ifup-eth (zeroconf), Debian's avahi-autoipd.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imdswatch.host import rules, syntax
from imdswatch.host.facts import Block, Network
from imdswatch.host.setting import Setting
from imdswatch.host.tree import Tree

ENDPOINTS = {"169.254.169.254": 4, "fd00:ec2::254": 6}
_SAVED = (
    ("/etc/iptables/rules.v4", "ip"),
    ("/etc/iptables/rules.v6", "ip6"),
    ("/etc/sysconfig/iptables", "ip"),
    ("/etc/sysconfig/ip6tables", "ip6"),
)
_UNITS = "/etc/systemd/system"
_ROUTE = re.compile(
    r"\broute\s+(?:add|replace)\s+(?:blackhole|unreachable|prohibit)\s+(169\.254\.169\.254|fd00:ec2::254)(?:/\d+)?\b"
)
_INCLUDE = re.compile(r"(?m)^\s*include\s+\"([^\"]+)\"")


def network(tree: Tree) -> Network:
    """Return what the files below a root set up."""
    found: dict[int, Block] = {}
    for setting, address in (*_of_rules(tree), *_of_routes(tree)):
        found.setdefault(ENDPOINTS[address], Block(ENDPOINTS[address], setting))
    return Network(blocks=tuple(found.values()), on_link=tuple(_on_link(tree)))


def _enabled(tree: Tree) -> dict[str, str]:
    """Return the text of each service that systemd starts, by the path of its file."""
    found = {}
    for folder in tree.listdir(_UNITS):
        if folder.endswith((".wants", ".requires")):
            for name in tree.listdir(f"{_UNITS}/{folder}"):
                path = tree.resolve(f"{_UNITS}/{folder}/{name}") or tree.resolve(f"{_UNITS}/{name}")
                if path is not None and name.endswith(".service"):
                    found[path] = tree.read_text(path) or ""
    return found


def _of_rules(tree: Tree) -> Iterator[tuple[Setting, str]]:
    services = _enabled(tree)
    files = []
    for text in services.values():
        for _, _, key, value in syntax.unit_lines(text):
            if key == "ExecStart":
                files += re.findall(r"\bnft\s+-f\s+(/\S+)", value)
    if any(path.endswith("/nftables.service") for path in services):
        files += ["/etc/nftables.conf", "/etc/sysconfig/nftables.conf"]
    for path in dict.fromkeys(files):
        text = tree.read_text(path) or ""
        texts = [(path, text), *((one, tree.read_text(one) or "") for one in _INCLUDE.findall(text))]
        for where, said in texts:
            for address, chain in rules.verdicts(rules.of_nft(said), tuple(ENDPOINTS)):
                yield _setting(f"nftables {chain.table} {chain.name}", where, said, address), address
    for path, family in _SAVED:
        text = tree.read_text(path) or ""
        for address, _ in rules.verdicts(rules.of_iptables(text, family), tuple(ENDPOINTS)):
            yield _setting("iptables OUTPUT", path, text, address), address


def _of_routes(tree: Tree) -> Iterator[tuple[Setting, str]]:
    interfaces = "/etc/network/interfaces"
    texts = dict(_enabled(tree))
    for path in (interfaces, *(f"{interfaces}.d/{name}" for name in tree.listdir(f"{interfaces}.d"))):
        texts[path] = tree.read_text(path) or ""
    for path, text in texts.items():
        for match in _ROUTE.finditer(text):
            yield (
                Setting("unreachable route", match[1], path, text.count("\n", 0, match.start()) + 1),
                match[1],
            )
    for folder in ("/etc/systemd/network", "/usr/lib/systemd/network"):
        for name in tree.listdir(folder):
            if name.endswith(".network"):
                yield from _of_networkd(tree, f"{folder}/{name}")


def _of_networkd(tree: Tree, path: str) -> Iterator[tuple[Setting, str]]:
    given: dict[str, str] = {}
    for number, section, key, value in syntax.unit_lines(tree.read_text(path) or ""):
        if section == "Route":
            if key in given:
                given = {}
            given[key] = value
            address = given.get("Destination", "").partition("/")[0]
            if address in ENDPOINTS and given.get("Type") in ("unreachable", "blackhole", "prohibit"):
                yield Setting("unreachable route", address, path, number), address


def _on_link(tree: Tree) -> Iterator[Setting]:
    """Yield what will make the link-local network a neighbour on some interface."""
    if tree.is_file("/etc/network/if-up.d/avahi-autoipd"):
        yield Setting("route 169.254.0.0/16", "avahi-autoipd", "/etc/network/if-up.d/avahi-autoipd")
    if tree.is_file("/etc/sysconfig/network-scripts/ifup-eth"):
        text = tree.read_text("/etc/sysconfig/network") or ""
        if not re.search(r"(?mi)^\s*NOZEROCONF=\S+", text):
            yield Setting("NOZEROCONF", "", "/etc/sysconfig/network")
    interfaces = "/etc/network/interfaces"
    for path in (interfaces, *(f"{interfaces}.d/{name}" for name in tree.listdir(f"{interfaces}.d"))):
        text = tree.read_text(path) or ""
        for match in re.finditer(r"\broute\s+add\s+(?:-net\s+)?169\.254\.0\.0", text):
            yield Setting("route 169.254.0.0/16", "", path, text.count("\n", 0, match.start()) + 1)


def _setting(name: str, path: str, text: str, address: str) -> Setting:
    line = next((number for number, said in enumerate(text.splitlines(), 1) if address in said), 0)
    return Setting(name, address, path, line)
