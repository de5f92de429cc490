"""The site as a Splunk lookup, and the searches that read it there through macros instead of holding it inside.

`lookups/imdswatch_site.csv` holds the values (networks, VLANs, responders) with their last valid day; which keys an
entry has stands in the search. A value that is added, taken out or expires takes effect at the next run; a new entry
needs a new export. The macro `imdswatch_site(list, field)` is a subsearch that becomes `field="value" OR …`, and a
list without values matches nothing. Only for the lists of what is on premises an empty list means everywhere: the
macro `imdswatch_everywhere(list, field)` says so. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from zlib import crc32

from imdswatch import address
from imdswatch.address import Network
from imdswatch.siem import formula as f
from imdswatch.siem.content import Query
from imdswatch.siem.sheet import sheet
from imdswatch.siem.spelling import mac_forms
from imdswatch.siem.spl import SplBackend, network_texts, search_name
from imdswatch.site import ON_PREMISES, Site

LOOKUP = "imdswatch_site"
COLUMNS = ("list", "value", "expires", "reason", "owner")
NOTHING = "none"
"""The value of the row that every list has, so that no list is ever empty; it is no address, VLAN or MAC."""

_ROWS = (
    f'| inputlookup {LOOKUP} | search list="$list$"'
    ' | where isnull(expires) OR expires="" OR now() < strptime(expires." +0000", "%Y-%m-%d %z") + 86400'
)
MACROS: Mapping[str, tuple[str, str]] = {
    # name → arguments, definition
    "imdswatch_site(2)": ("list, field", f'[{_ROWS} | rename value as "$field$" | fields "$field$"]'),
    "imdswatch_everywhere(2)": (
        "list, field",
        f'[{_ROWS} | search NOT value="{NOTHING}" | stats count as values'
        f' | eval "$field$"=if(values=0, "*", "{NOTHING}") | fields "$field$"]',
    ),
    "imdswatch_summaries": ("", "summariesonly=false"),
}


class LookupSpl(SplBackend):
    """Writes the same searches with the site's values taken from the lookup."""

    def inside(self, atom: f.Atom, networks: Sequence[Network], guarded: bool) -> str:
        """Take networks from the lookup; an endpoint among responders means whoever answers, which stays inline."""
        if not atom.label or _endpoints(networks):
            return super().inside(atom, networks, guarded)
        return _listed(atom)

    def numbers(self, atom: f.Atom, values: Sequence[float], guarded: bool) -> str:
        """Take VLANs from the lookup where the site gives them."""
        return _listed(atom) if atom.label else super().numbers(atom, values, guarded)

    def macs(self, atom: f.Atom, values: Sequence[str], guarded: bool) -> str:
        """Take MAC addresses from the lookup where the site gives them."""
        return _listed(atom) if atom.label else super().macs(atom, values, guarded)


def _endpoints(networks: Sequence[Network]) -> bool:
    return all(str(net.network_address) in address.ENDPOINTS and net.num_addresses == 1 for net in networks)


def _listed(atom: f.Atom) -> str:
    key, name = key_of(atom.label), search_name(atom.column).strip('"')
    found = f'`imdswatch_site("{key}", "{name}")`'
    if not atom.label.startswith(ON_PREMISES):
        return f"({found})"
    return f'({found} OR `imdswatch_everywhere("{key}", "{name}")`)'


def key_of(label: str) -> str:
    """Return how a list is called in the lookup: its label, without what a macro or a search would read as its own."""
    plain = re.sub(r"[^\w ./-]", "_", label)
    return plain if plain == label else f"{plain} {crc32(label.encode()):08x}"


def reading_lookup(query: Query) -> str:
    """Return the search that reads the site from the lookup; it is the same where the site says nothing of it."""
    plan, source = query.plan, query.source
    bare = replace(plan, mute=f.without_days(plan.mute), first=f.without_days(plan.first))
    settings = {**source.naming.settings, "summaries": "`imdswatch_summaries`"}
    naming = replace(source.naming, settings=settings, table=f"`imdswatch_indexes` {source.naming.table}")
    return LookupSpl().render(bare, replace(source, naming=naming), query.rule)


def rows(site: Site) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the rows of the lookup in the order of the site file; each list begins with the row `none`."""
    found: dict[str, list[tuple[str, str, str, str]]] = {}

    def put(
        key: str, values: Sequence[str], end: str = "", reason: str = "on premises", owner: str = ""
    ) -> None:
        found.setdefault(key, [(NOTHING, "", "keep this row", "")]).extend(
            (value, end, reason, owner) for value in values
        )

    if site.on_premises is not None:
        put(ON_PREMISES, network_texts(site.on_premises.networks))
    if site.on_premises_vlans:
        put("on_premises_vlans", [str(vlan) for vlan in sorted(site.on_premises_vlans)])
    for entry in site.suppressions:
        remarks = (entry.expires.isoformat() if entry.expires else "", entry.reason, entry.owner)
        if entry.vlans:
            put(f"{entry.name}/vlans", [str(vlan) for vlan in sorted(entry.vlans)], *remarks)
        for key, networks in (("sources", entry.sources), ("responders", entry.responder_networks)):
            named = (
                [net for net in networks.networks if not _endpoints([net])] if networks is not None else []
            )
            if named:
                put(f"{entry.name}/{key}", network_texts(named), *remarks)
        if entry.responder_macs:
            forms = [form for mac in sorted(entry.responder_macs) for form in mac_forms(mac)]
            put(f"{entry.name}/responders", forms, *remarks)
    for label, values in found.items():
        for value in values:
            yield (key_of(label), *value)


def as_csv(site: Site) -> str:
    """Return the lookup as CSV."""
    return sheet(COLUMNS, rows(site))
