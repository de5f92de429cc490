"""The site as a Sentinel watchlist, and the queries that read it there instead of holding it inside.

The watchlist holds the values (networks, VLANs, responders); which keys an entry has stands in the query. A value
that is added, taken out or expires takes effect at once; a new entry needs a new export. A watchlist that is missing or
empty mutes nothing: no suppression holds, and an empty on-premises list means everywhere.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from imdswatch.address import Network
from imdswatch.rule import Rule
from imdswatch.siem import formula as f
from imdswatch.siem.content import Plan, Query, Source
from imdswatch.siem.kusto import KustoBackend
from imdswatch.siem.sheet import sheet
from imdswatch.siem.spelling import v4_of, v6_of
from imdswatch.site import ON_PREMISES, Site

ALIAS = "imdswatch_site"
COLUMNS = ("List", "Family", "Value", "Expires", "Reason", "Owner")


class WatchlistKusto(KustoBackend):
    """Writes the same queries with the site's values taken from the watchlist."""

    def inside(self, atom: f.Atom, networks: Sequence[Network], guarded: bool) -> str:
        """Take networks from the watchlist where the site gives them."""
        if not atom.label:
            return super().inside(atom, networks, guarded)
        four, six = _name(atom.label, "ipv4"), _name(atom.label, "ipv6")
        column = atom.column.name
        found = [
            f"coalesce(ipv4_is_in_any_range({column}, {four}), false)",
            f"coalesce(ipv6_is_in_any_range({column}, {six}), false)",
        ]
        if atom.label == ON_PREMISES:
            found.append(f"(array_length({four}) == 0 and array_length({six}) == 0)")
        return f"({' or '.join(found)})"

    def numbers(self, atom: f.Atom, values: Sequence[float], guarded: bool) -> str:
        """Take VLANs from the watchlist where the site gives them."""
        if not atom.label:
            return super().numbers(atom, values, guarded)
        vlans = _name(atom.label, "vlan")
        found = f"tostring(toint({atom.column.name})) in ({vlans})"
        return f"({found} or array_length({vlans}) == 0)" if atom.label == "on_premises_vlans" else found

    def macs(self, atom: f.Atom, values: Sequence[str], guarded: bool) -> str:
        """Take MAC addresses from the watchlist where the site gives them."""
        if not atom.label:
            return super().macs(atom, values, guarded)
        digits = f'tolower(replace_regex({atom.column.name}, @"[^0-9a-fA-F]", ""))'
        return f"{digits} in ({_name(atom.label, 'mac')})"

    def frame(self, condition: str, source: Source, rule: Rule, plan: Plan) -> str:
        """Put the lists in front of the query."""
        return _with_lists(super().frame(condition, source, rule, plan), plan)

    def sequence(self, source: Source, rule: Rule, plan: Plan) -> str:
        """Put the lists in front of the query."""
        return _with_lists(super().sequence(source, rule, plan), plan)


def reading_watchlist(query: Query) -> str:
    """Return the query that reads the site from the watchlist; it is the same where the site says nothing of it."""
    plan = query.plan
    bare = replace(plan, mute=f.without_days(plan.mute), first=f.without_days(plan.first))
    return WatchlistKusto().render(bare, query.source, query.rule)


def _with_lists(query: str, plan: Plan) -> str:
    wanted: dict[tuple[str, str], None] = {}
    for atom in (*f.atoms(plan.first), *f.atoms(plan.mute)):
        if atom.label:
            match atom.test:
                case f.Inside():
                    wanted.update({(atom.label, "ipv4"): None, (atom.label, "ipv6"): None})
                case f.Numbers():
                    wanted[(atom.label, "vlan")] = None
                case f.Macs():
                    wanted[(atom.label, "mac")] = None
    if not wanted:
        return query
    title, lookback, rest = query.split("\n", 2)
    lines = [
        title,
        lookback,
        f"let imds_site = _GetWatchlist('{ALIAS}')",
        "    | where isempty(Expires) or now() < todatetime(Expires) + 1d;",
    ]
    for label, family in wanted:
        value = (
            'tolower(replace_regex(tostring(Value), @"[^0-9a-fA-F]", ""))'
            if family == "mac"
            else "tostring(Value)"
        )
        quoted = label.replace("\\", "\\\\").replace("'", "\\'")
        lines.append(
            f"let {_name(label, family)} = toscalar(imds_site | where List == '{quoted}' and Family == '{family}'"
            f" | summarize make_list({value}));"
        )
    return "\n".join([*lines, rest])


def _name(label: str, family: str) -> str:
    """Return the `let` name of a list: letters of its label, and a number that keeps two labels apart."""
    plain = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")
    return f"imds_{plain}_{sum(map(ord, label)) % 1000}_{family}"


def rows(site: Site) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield the rows of the watchlist in the order of the site file."""
    if site.on_premises is not None:
        for family, value in _networks(site.on_premises.networks):
            yield ON_PREMISES, family, value, "", "on premises", ""
    for vlan in sorted(site.on_premises_vlans):
        yield "on_premises_vlans", "vlan", str(vlan), "", "on premises", ""
    for entry in site.suppressions:
        end = entry.expires.isoformat() if entry.expires else ""
        lists: list[tuple[str, str, str]] = [("vlans", "vlan", str(vlan)) for vlan in sorted(entry.vlans)]
        for key, networks in (("sources", entry.sources), ("responders", entry.responder_networks)):
            if networks is not None:
                lists += [(key, *pair) for pair in _networks(networks.networks)]
        lists += [("responders", "mac", mac) for mac in sorted(entry.responder_macs)]
        for key, family, value in lists:
            yield f"{entry.name}/{key}", family, value, end, entry.reason, entry.owner


def _networks(networks: Sequence[Network]) -> list[tuple[str, str]]:
    return [("ipv4", text) for text in v4_of(networks)] + [("ipv6", text) for text in v6_of(networks)]


def as_csv(site: Site) -> str:
    """Return the watchlist as CSV."""
    return sheet(COLUMNS, rows(site))
