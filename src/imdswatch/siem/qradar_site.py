"""The site's lists in QRadar: VLANs and MAC addresses as reference sets, and the queries that read them there.

A reference set holds single values and compares them exactly, so VLANs (type NUM) and MAC addresses (type ALNIC, in
every usual spelling) go there. Networks cannot: what a set does with a subnet is documented nowhere, and a set of type
IP holds no IPv6. They, and the lists of what is on premises (where an empty set would mute everything), stay inside the
query. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from imdswatch.siem import formula as f
from imdswatch.siem.aql import AqlBackend, name_of
from imdswatch.siem.content import Query
from imdswatch.siem.spelling import mac_forms
from imdswatch.siem.splunk_site import key_of
from imdswatch.site import ON_PREMISES, Site

SetValues = tuple[str, tuple[str, ...]]
"""Type of the elements (NUM, ALNIC), and the elements."""


class ReferenceAql(AqlBackend):
    """Writes the same queries with VLANs and MAC addresses of entries taken from reference sets."""

    def numbers(self, atom: f.Atom, values: Sequence[float], guarded: bool) -> str:
        """Take VLANs from the set where an entry gives them."""
        if not atom.label or atom.label.startswith(ON_PREMISES):
            return super().numbers(atom, values, guarded)
        return _contains(atom, name_of(atom.column))

    def macs(self, atom: f.Atom, values: Sequence[str], guarded: bool) -> str:
        """Take MAC addresses from the set where an entry gives them."""
        if not atom.label:
            return super().macs(atom, values, guarded)
        return _contains(atom, name_of(atom.column))


def _contains(atom: f.Atom, subject: str) -> str:
    return f"({name_of(atom.column)} IS NOT NULL AND REFERENCESETCONTAINS('{_set(atom.label)}', {subject}))"


def _set(label: str) -> str:
    return f"imdswatch {key_of(label)}".replace("/", " ")  # a slash in a path of the API is a separator


def reading_sets(query: Query) -> str:
    """Return the query that reads reference sets; it is the same where the site says nothing of them."""
    return ReferenceAql().render(query.plan, query.source, query.rule)


def filter_of(query: Query) -> str:
    """Return the condition alone, for the rule test "when the event matches this AQL filter query"."""
    whole = reading_sets(query)
    return whole[whole.index("\nWHERE ") + len("\nWHERE ") : whole.rindex("\nLAST ")]


def sets_of(site: Site) -> Mapping[str, SetValues]:
    """Return the reference sets of a site by name, in the order of the site file."""
    out: dict[str, SetValues] = {}
    for entry in site.suppressions:
        if entry.vlans:
            out[_set(f"{entry.name}/vlans")] = ("NUM", tuple(str(vlan) for vlan in sorted(entry.vlans)))
        if entry.responder_macs:
            forms = tuple(form for mac in sorted(entry.responder_macs) for form in mac_forms(mac))
            out[_set(f"{entry.name}/responders")] = ("ALNIC", forms)
    return out


def commands(site: Site) -> str:
    """Return a script that makes and fills the sets by QRadar's REST API; running it again changes nothing."""
    lines = [
        "#!/bin/sh",
        "# Makes the reference sets that queries read. QRADAR: the console; SEC: token of an authorized service.",
        "set -eu",
        ': "${QRADAR:?host of the console}" "${SEC:?token of an authorized service}"',
        'call() { curl -sS --fail-with-body -H "SEC: $SEC" -H \'Accept: application/json\' "$@"; echo; }',
    ]
    for name, (kind, values) in sets_of(site).items():
        where = "https://$QRADAR/api/reference_data/sets"
        lines += [
            "",
            f'call -o /dev/null "{where}/{quote(name, safe="")}" || '
            f'call -X POST "{where}?name={quote(name, safe="")}&element_type={kind}"',
            f"call -X POST -H 'Content-Type: application/json' --data '{json.dumps(values)}' "
            f'"{where}/bulk_load/{quote(name, safe="")}"',
        ]
    return "\n".join(lines) + "\n"
