"""The site in Suricata's own words: address groups in the header of a rule, and flowbits where both sides count.

Up to stage `requested` a site leaves out sources: a group on the victim's side of the header. From `answered` on an
entry needs its responders, too; a rule's header cannot say "not both", so a silent rule for each entry marks the flow,
and the alerts ask for the mark. A rule of Suricata's that passes traffic would hide it from every other rule, and
`suppress` asks one side only. VLANs and MAC addresses cannot be asked; such an entry never holds. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from imdswatch.address import Network
from imdswatch.finding import STAGE_RANK
from imdswatch.rule import Rule
from imdswatch.siem.spelling import NOT_A_HOST, v4_of, v6_of
from imdswatch.site import Site, Suppression

_ANSWERED = STAGE_RANK["answered"]
_TO_MANY = (ip_network("255.255.255.255/32"), ip_network("224.0.0.0/4"), ip_network("ff00::/8"))
UNKNOWN = (*NOT_A_HOST, *_TO_MANY)
"""Addresses that tell nothing about the host: a packet from or to them is never left out for its source."""
ON_PREMISES, NO_HOST = "IMDS_ON_PREMISES", "IMDS_NO_HOST"


def group(networks: Iterable[Network], *, mapped: bool = False) -> str:
    """Return an address group of Suricata's."""
    nets = tuple(networks)
    texts = (*v4_of(nets), *(text.removesuffix("/128") for text in v6_of(nets, mapped=mapped)))
    return texts[0] if len(texts) == 1 else f"[{','.join(texts)}]"


@dataclass(frozen=True, slots=True)
class Entry:
    """A suppression as far as addresses say it: sources None is any, responders None is not asked."""

    name: str
    variable: str
    sources: tuple[Network, ...] | None
    responders: tuple[Network, ...]
    about: str
    rules: frozenset[str]

    @property
    def bit(self) -> str:
        """The flowbit that its silent rule sets."""
        return f"imdswatch.site.{re.sub(r'[^A-Za-z0-9_-]', '_', self.name)}"


class Groups:
    """The address groups of a site; `named` writes them as variables, which `variables` defines."""

    def __init__(self, site: Site, *, named: bool) -> None:
        self._named = named
        self.on_premises = site.on_premises.networks if site.on_premises is not None else None
        self.entries = tuple(_entries(site))
        self.variables = dict(self._variables())

    def _variables(self) -> Iterator[tuple[str, str]]:
        if self.on_premises is not None:
            yield ON_PREMISES, group(self.on_premises)
            yield NO_HOST, group(UNKNOWN)
        for entry in self.entries:
            if entry.sources is not None:
                yield f"{entry.variable}_SOURCES", group(entry.sources)
            if entry.responders:
                yield f"{entry.variable}_RESPONDERS", group(entry.responders)

    def _text(self, name: str) -> str:
        return f"${name}" if self._named else self.variables[name]

    def victim(self, rule: Rule) -> str:
        """Return the group of the victim's side for a rule: who alerts."""
        wanted = []
        if self.on_premises is not None:
            wanted += [self._text(ON_PREMISES), self._text(NO_HOST)]
        if STAGE_RANK[rule.stage] < _ANSWERED:
            for entry in self._for(rule):
                if entry.sources is not None:
                    wanted.append(f"!{self._text(f'{entry.variable}_SOURCES')}")
        return "any" if not wanted else wanted[0] if len(wanted) == 1 else f"[{','.join(wanted)}]"

    def marks(self, rule: Rule) -> list[Entry]:
        """Return the entries whose silent rules mark the flows that this rule leaves out."""
        if STAGE_RANK[rule.stage] < _ANSWERED:
            return []
        return [entry for entry in self._for(rule) if entry.responders]

    def header(self, entry: Entry) -> str:
        """Return the header of an entry's silent rule: a packet of the responder's to the victim."""
        sources = "any" if entry.sources is None else self._text(f"{entry.variable}_SOURCES")
        return f"ip {self._text(f'{entry.variable}_RESPONDERS')} any -> {sources} any"

    def _for(self, rule: Rule) -> list[Entry]:
        return [entry for entry in self.entries if not entry.rules or rule.slug in entry.rules]


def _entries(site: Site) -> Iterator[Entry]:
    names: set[str] = set()
    for one in site.suppressions:
        if one.vlans:
            continue  # Suricata 7 cannot ask, so the entry never holds; told by the planner
        sources = None if one.sources is None else without(one.sources.networks, NOT_A_HOST)
        if sources == ():
            continue
        responders = one.responder_networks.networks if one.responder_networks is not None else ()
        stem = "IMDS_" + re.sub(r"[^A-Z0-9]", "_", one.name.upper())
        number = sum(name.startswith(stem) for name in names)
        names.add(f"{stem}_{number}" if number else stem)
        yield Entry(
            one.name,
            f"{stem}_{number}" if number else stem,
            sources,
            _whoever(one, tuple(responders)),
            _about(one),
            one.rules,
        )


def _whoever(entry: Suppression, networks: tuple[Network, ...]) -> tuple[Network, ...]:
    """Return the responders: an endpoint only where it is named by itself (`imdswatch.site`)."""
    own = [net for net in networks if net.num_addresses == 1]
    endpoints = [
        ip_network(text)
        for text in ("169.254.169.254", "fd00:ec2::254")
        if text not in entry.responder_endpoints
    ]
    return (*own, *without([net for net in networks if net not in own], endpoints))


def _about(entry: Suppression) -> str:
    until = f", until {entry.expires}" if entry.expires else ""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", f"{entry.reason or entry.name}{until}")


def without(networks: Sequence[Network], holes: Sequence[Network]) -> tuple[Network, ...]:
    """Return the networks without the holes in them."""
    rest = list(networks)
    for hole in holes:
        rest = [part for net in rest for part in _minus(net, hole)]
    return tuple(rest)


def _minus(net: Network, hole: Network) -> list[Network]:
    if isinstance(net, IPv4Network) and isinstance(hole, IPv4Network) and net.overlaps(hole):
        return [] if net.subnet_of(hole) else sorted(net.address_exclude(hole))
    if isinstance(net, IPv6Network) and isinstance(hole, IPv6Network) and net.overlaps(hole):
        return [] if net.subnet_of(hole) else sorted(net.address_exclude(hole))
    return [net]
