"""Does a firewall of this host stop what it sends to an endpoint: nftables as `nft -j` and as files, iptables as saved.

Pure. A packet to port 80 of the endpoint by TCP is followed through the chains of the output hook: the first rule that
is sure to fit decides. A rule with a condition that is not understood never stops it. Sources: nft(8),
libnftables-json(5), iptables-extensions(8).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address
_STOPS = ("drop", "reject")
_CHAINS = 200
"""Chains that a packet is followed through; nft allows sixteen jumps after one another."""
_Key = tuple[str, str, str]
"""Family, table and name of a chain."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what it says in words, whether it fits each endpoint, and what it does."""

    to: tuple[str, ...] | None
    """Destinations it is for, None for all."""
    certain: bool
    """False where it has a condition that is not understood."""
    verdict: str
    """drop, reject, accept, return, `jump NAME`, or "" for none."""


@dataclass(slots=True)
class Chain:
    """One chain; working state of the readers below."""

    family: str
    table: str
    name: str
    hook: str = ""
    rules: list[Rule] = field(default_factory=list)


def stopped(chains: Sequence[Chain], address: str) -> Chain | None:
    """Return the base chain of the output hook that stops a request to an address, None where it goes out."""
    wanted, target = (("ip", "inet") if "." in address else ("ip6", "inet")), ip_address(address)
    by_name = {(chain.family, chain.table, chain.name): chain for chain in chains}
    for chain in chains:
        if (
            chain.hook == "output"
            and chain.family in wanted
            and _decides(chain, by_name, target, {}) == "stop"
        ):
            return chain
    return None


def _decides(chain: Chain, by_name: Mapping[_Key, Chain], target: Address, known: dict[_Key, str]) -> str:
    """Return what a chain does with a packet: stop, accept, or "" to go on; each chain is looked at once."""
    key = (chain.family, chain.table, chain.name)
    if key in known:
        return known[key]
    known[key] = ""  # what a chain that jumps to itself finds; the kernel refuses such rules
    if len(known) > _CHAINS:
        return ""
    for rule in chain.rules:
        if not rule.certain or not (rule.to is None or any(_holds(one, target) for one in rule.to)):
            continue
        found = rule.verdict
        if found.startswith("jump "):
            below = by_name.get((chain.family, chain.table, found[5:]))
            found = _decides(below, by_name, target, known) if below is not None else ""
        if found in (*_STOPS, "stop", "accept", "return"):
            known[key] = "stop" if found in (*_STOPS, "stop") else "accept" if found == "accept" else ""
            return known[key]
    return ""


def _holds(network: str, target: Address) -> bool:
    try:
        return target in ip_network(network, strict=False)
    except (ValueError, TypeError):
        return False


# nft -j list ruleset


def of_json(document: Any) -> list[Chain]:
    """Return the chains of `nft -j list ruleset`; what has another shape is left out."""
    chains: dict[tuple[str, str, str], Chain] = {}
    for entry in document.get("nftables", []) if isinstance(document, dict) else []:
        found = entry.get("chain") or entry.get("rule") if isinstance(entry, dict) else None
        if not isinstance(found, dict):
            continue
        family, table = str(found.get("family")), str(found.get("table"))
        if "chain" in entry:
            name = str(found.get("name"))
            chains[family, table, name] = Chain(family, table, name, str(found.get("hook", "")))
        elif (key := (family, table, str(found.get("chain")))) in chains:
            expressions = found.get("expr")
            chains[key].rules.append(_rule_of_json(expressions if isinstance(expressions, list) else []))
    return list(chains.values())


def _rule_of_json(expressions: Sequence[Any]) -> Rule:
    to: tuple[str, ...] | None = None
    certain, verdict = True, ""
    for expression in expressions:
        if not isinstance(expression, dict) or len(expression) != 1:
            certain = False
            continue
        ((kind, value),) = expression.items()
        if kind == "match":
            destinations = _destinations(value)
            if destinations is not None:
                to = destinations
            elif not _harmless(value):
                certain = False
        elif kind in ("drop", "accept", "return", "reject"):
            verdict = kind
        elif kind in ("jump", "goto") and isinstance(value, dict):
            verdict = f"jump {value.get('target')}"
        elif kind not in ("counter", "log", "comment"):
            certain = False
    return Rule(to, certain, verdict)


def _destinations(match: Any) -> tuple[str, ...] | None:
    if not isinstance(match, dict) or match.get("op") not in ("==", "in"):
        return None
    payload = match.get("left", {}).get("payload", {}) if isinstance(match.get("left"), dict) else {}
    if payload.get("field") != "daddr" or payload.get("protocol") not in ("ip", "ip6"):
        return None
    right = match.get("right")
    items = right.get("set", [right]) if isinstance(right, dict) else [right]
    return tuple(found for item in items if (found := _network(item)))


def _network(item: Any) -> str:
    if isinstance(item, str):
        return item
    prefix = item.get("prefix") if isinstance(item, dict) else None
    return f"{prefix.get('addr')}/{prefix.get('len')}" if isinstance(prefix, dict) else ""


def _harmless(match: Any) -> bool:
    """Say whether a request to the endpoint always meets a condition: it is TCP to port 80."""
    left = match.get("left") if isinstance(match, dict) else None
    right = match.get("right") if isinstance(match, dict) else None
    if not isinstance(left, dict) or match.get("op") != "==":
        return False
    if left.get("meta", {}).get("key") in ("l4proto", "protocol"):
        return right in ("tcp", 6)
    payload = left.get("payload", {})
    if payload.get("field") == "dport":
        return right == 80 or (isinstance(right, dict) and 80 in right.get("set", []))
    return payload.get("field") in ("protocol", "nexthdr") and right in ("tcp", 6)


# Files of nft


_TOKEN = re.compile(r"#[^\n]*|\"[^\"]*\"|[{};\n]|[^\s{};]+")


def of_nft(text: str) -> list[Chain]:
    """Return the chains of a file for `nft -f`; variables and named sets are not followed."""
    chains: list[Chain] = []
    family = table = ""
    chain: Chain | None = None
    words: list[str] = []
    inside = 0
    for token in _TOKEN.findall(text):
        if token.startswith("#"):
            continue
        if token == "{" and words[:1] == ["table"] and len(words) > 1:
            family, table = (words[1], words[2]) if len(words) > 2 else ("ip", words[1])
            words = []
        elif token == "{" and words[:1] == ["chain"] and len(words) > 1:
            chain, words = Chain(family, table, words[1]), []
            chains.append(chain)
        elif token == "{":
            inside += 1
            words.append(token)
        elif token == "}" and inside:
            inside -= 1
            words.append(token)
        elif token == "}" or (token in (";", "\n") and not inside):
            if chain is not None and words:
                _statement(chain, words)
            words = []
            if token == "}":
                chain = None
        elif token != "\n":
            words.append(token)
    return chains


def _statement(chain: Chain, words: list[str]) -> None:
    if words[0] == "type":
        chain.hook = words[words.index("hook") + 1] if "hook" in words[:-1] else ""
        return
    if words[0] == "policy":
        return
    text = " ".join(words)
    to: tuple[str, ...] | None = None
    found = re.match(r"ip6? daddr (?:== )?(\{[^}]*\}|\S+) ?", text)
    if found:
        to = tuple(re.findall(r"[^\s{},]+", found[1]))
        text = text[found.end() :]
    text = re.sub(r"(?:meta l4proto|ip protocol|ip6 nexthdr) (?:tcp|6) ?", "", text)
    text = re.sub(r"tcp dport (?:80|http|\{[^}]*\b(?:80|http)\b[^}]*\}) ?", "", text)
    text = re.sub(
        r"counter(?: packets \d+ bytes \d+)? ?|comment \"[^\"]*\"|log(?: prefix \"[^\"]*\")? ?", "", text
    )
    verdict = re.fullmatch(r"(drop|accept|return|reject)(?: with .*)?|(?:jump|goto) (\S+)", text.strip())
    if verdict is not None:
        chain.rules.append(Rule(to, True, verdict[1] or f"jump {verdict[2]}"))
    elif text.strip():
        chain.rules.append(Rule(to, False, ""))


# iptables-save


def of_iptables(text: str, family: str) -> list[Chain]:
    """Return the chains of the filter table as iptables-save writes them; `family` is ip or ip6."""
    chains: dict[str, Chain] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":") and table == "filter":
            name = line[1:].split(" ", 1)[0]
            chains[name] = Chain(family, "filter", name, "output" if name == "OUTPUT" else "")
        elif line.startswith("-A ") and table == "filter":
            words = line.split()
            if len(words) > 1:
                name = words[1]
                found = chains.setdefault(
                    name, Chain(family, "filter", name, "output" if name == "OUTPUT" else "")
                )
                found.rules.append(_rule_of_iptables(words[2:]))
    return list(chains.values())


def _rule_of_iptables(words: Sequence[str]) -> Rule:
    to: tuple[str, ...] | None = None
    certain, verdict = True, ""
    pairs = iter(words)
    for word in pairs:
        value = next(pairs, "")
        if word in ("-d", "--destination"):
            to = tuple(value.split(","))
        elif word in ("-j", "--jump", "-g", "--goto"):
            verdict = value.lower() if value in ("DROP", "REJECT", "ACCEPT", "RETURN") else f"jump {value}"
            certain = certain and value not in ("LOG", "MARK")
            break
        elif not _plain(word, value):
            certain = False
            if not value.startswith("-"):
                continue
    return Rule(to, certain, verdict)


def _plain(word: str, value: str) -> bool:
    return (
        (word in ("-p", "--protocol") and value in ("tcp", "6"))
        or (word in ("-m", "--match") and value in ("tcp", "comment"))
        or (word in ("--dport", "--destination-port") and value in ("80", "http"))
        or word == "--comment"
    )


def verdicts(chains: Sequence[Chain], addresses: Sequence[str]) -> Iterator[tuple[str, Chain]]:
    """Yield each address that is stopped, with the chain that stops it."""
    for address in addresses:
        chain = stopped(chains, address)
        if chain is not None:
            yield address, chain
