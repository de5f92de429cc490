"""What a site leaves out of a rule's alerts, as a formula: `imdswatch.site` said in columns.

The formula holds exactly where `Site.suppressed_by` names something, as far as the schema carries what it asks for; a
key that the schema does not carry makes its entry never hold, and that is told as a loss. Rules from stage `answered`
on honour only entries whose `responders` match (DESIGN 5). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from imdswatch import address
from imdswatch.address import Network
from imdswatch.finding import STAGE_RANK
from imdswatch.siem import formula as f
from imdswatch.siem.plan import Planner
from imdswatch.siem.spelling import NOT_A_HOST, overlaps, single
from imdswatch.site import ON_PREMISES, Site, Suppression

_ENDPOINTS = tuple(single(text) for text in sorted(address.ENDPOINTS))
_ANYWHERE = tuple(address.network(text) for text in ("0.0.0.0/0", "::/0"))
_EVERYBODY = tuple(address.network(text) for text in ("255.255.255.255/32", "224.0.0.0/8", "ff00::/12"))
"""Destinations of claims that name no victim (`imdswatch.event.victim_ip`)."""
_ANSWERED = STAGE_RANK["answered"]


def muted(planner: Planner, site: Site) -> f.Formula:
    """Return the formula for: the site suppresses this rule for this event."""
    return _Mute(planner).site(site)


class _Mute:
    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        offers = [self._inside("nd_target", _ENDPOINTS), planner.known("offered_route")]
        self._offer = f.any_of(offers)
        self._claim = f.any_of([self._inside("src_ip", _ENDPOINTS), *offers])

    def site(self, site: Site) -> f.Formula:
        parts = []
        if site.on_premises is not None or site.on_premises_vlans:
            parts.append(self._elsewhere(site))
        for entry in site.suppressions:
            if not entry.rules or self._planner.rule.slug in entry.rules:
                parts.append(self._entry(entry))
        return f.any_of(parts)

    # Who asked: the source, or the destination where the endpoint itself is the source (imdswatch.event.victim_ip).

    def _inside(self, field: str, networks: Iterable[Network], label: str = "") -> f.Formula:
        nets = tuple(networks)
        found = [
            self._planner.atom(column, f.Inside(nets), take, label)
            for column, take in self._planner.columns(field)
        ]
        return f.any_of(found)

    def _victim_inside(self, networks: tuple[Network, ...], label: str) -> f.Formula:
        """Return: the victim is known, names a host, and lies inside one of the networks."""

        def host(field: str) -> f.Formula:
            here = self._inside(field, networks, label)
            if overlaps(networks, NOT_A_HOST):
                here = f.all_of([here, f.negated(self._inside(field, NOT_A_HOST))])
            return here

        straight = f.all_of([host("src_ip"), f.negated(self._offer)])
        if overlaps(networks, _ENDPOINTS):
            straight = f.all_of([straight, f.negated(self._inside("src_ip", _ENDPOINTS))])
        asked = f.all_of([self._claim, host("dst_ip")])
        return f.any_of([straight, self._of_one(asked, networks)])

    def _of_one(self, formula: f.Formula, networks: tuple[Network, ...]) -> f.Formula:
        """Return the formula where the destination names one host: not everybody, and not the claimant itself."""
        if overlaps(networks, _EVERYBODY):
            formula = f.all_of([formula, f.negated(self._inside("dst_ip", _EVERYBODY))])
        for one in (
            _ENDPOINTS if self._planner.columns("arp_opcode") else ()
        ):  # only announcements are to oneself
            if overlaps(networks, (one,)):
                itself = f.all_of([self._inside("src_ip", (one,)), self._inside("dst_ip", (one,))])
                formula = f.all_of([formula, f.negated(itself)])
        return formula

    def _elsewhere(self, site: Site) -> f.Formula:
        """Return: source (or VLAN) is known, and in none of the lists."""
        known_vlan: f.Formula = f.FALSE
        if site.on_premises_vlans:
            known_vlan = self._vlans(site.on_premises_vlans, "on_premises_vlans", ON_PREMISES)
        if site.on_premises is None:
            return f.all_of([self._planner.known("vlan"), f.negated(known_vlan)])
        networks = site.on_premises.networks

        def outside(field: str) -> f.Formula:
            columns = self._planner.columns(field)
            known = f.any_of([self._planner.atom(column, f.AnAddress(), take) for column, take in columns])
            inside = [self._inside(field, NOT_A_HOST), self._inside(field, networks, "on_premises")]
            return f.all_of([known, *map(f.negated, inside)])

        victim = f.any_of(
            [
                f.all_of([outside("src_ip"), f.negated(self._claim)]),
                self._of_one(f.all_of([outside("dst_ip"), self._claim]), _ANYWHERE),
            ]
        )
        if isinstance(victim, f.Const):
            self._tell("src_ip", "on_premises", ON_PREMISES)
        return f.all_of([victim, f.negated(known_vlan)])

    def _vlans(self, vlans: Iterable[int], label: str, name: str) -> f.Formula:
        values = tuple(sorted(vlans))
        found = self._planner.test("vlan", f.Numbers(values), "", label)
        if isinstance(found, f.Const):
            self._tell("vlan", "vlans", name)
        return found

    def _tell(self, field: str, key: str, name: str) -> None:
        clause = f"site: {name}" if name == key else f"site: {key} of `{name}`"
        self._planner.loses(clause, self._planner.why(field))

    # One entry.

    def _entry(self, entry: Suppression) -> f.Formula:
        parts: list[f.Formula] = []
        if entry.vlans:
            parts.append(self._vlans(entry.vlans, f"{entry.name}/vlans", entry.name))
        if entry.sources is not None:
            found = self._victim_inside(entry.sources.networks, f"{entry.name}/sources")
            if isinstance(found, f.Const):
                self._tell("src_ip", "sources", entry.name)
            parts.append(found)
        if STAGE_RANK[self._planner.rule.stage] >= _ANSWERED:
            if not entry.names_responders:
                return f.FALSE
            found = self._answerer(entry)
            if isinstance(found, f.Const):
                self._tell("dst_mac" if entry.responder_macs else "nat_dst", "responders", entry.name)
            parts.append(found)
        whole = f.all_of(parts)
        if entry.expires is None or isinstance(whole, f.Const):
            return whole
        return f.all_of([whole, self._until(entry)])

    def _until(self, entry: Suppression) -> f.Formula:
        assert entry.expires is not None
        column = next(iter(self._planner.source.naming.columns["timestamp"]))
        until = f.Until(entry.expires)
        # Told if the language cannot ask; the date stays in the formula, as the SIEM's own place may keep it.
        self._planner.atom(column, until, text=f"site: expires of `{entry.name}`")
        return f.Atom(column, until)

    def _answerer(self, entry: Suppression) -> f.Formula:
        """Return: what names whoever answered is among the responders (`imdswatch.site.answerer_names`)."""
        label = f"{entry.name}/responders"
        found: list[f.Formula] = []
        macs = tuple(sorted(entry.responder_macs))
        if macs:
            mine, theirs = self._macs("dst_mac", macs, label), self._macs("src_mac", macs, label)
            found.append(f.all_of([mine, f.negated(self._claim)]))
            found.append(f.all_of([theirs, self._claim]))
        networks = entry.responder_networks.networks if entry.responder_networks is not None else ()
        named = tuple(single(text) for text in sorted(entry.responder_endpoints))
        private = tuple(net for net in networks if net not in named)
        if private:
            for field, where in (("nat_dst", f.TRUE), ("dst_ip", f.negated(self._claim))):
                here = self._inside(field, private, label)
                if overlaps(private, _ENDPOINTS):
                    here = f.all_of([here, f.negated(self._inside(field, _ENDPOINTS))])
                found.append(f.all_of([here, where]))
        if named:
            asked = self._planner.test(
                "host", f.Hosts(tuple(sorted(entry.responder_endpoints)), ()), "", label
            )
            found += [self._inside(field, named, label) for field in ("dst_ip", "src_ip", "nat_dst")]
            found.append(f.all_of([asked, f.negated(self._inside("dst_ip", _ENDPOINTS))]))
        return f.any_of(found)

    def _macs(self, field: str, macs: tuple[str, ...], label: str) -> f.Formula:
        return self._planner.test(field, f.Macs(macs), "", label)
