"""The site as Kibana exception lists: one list a rule, one item an alternative, its end date as `expire_time`.

An exception item is a conjunction of entries, so the formula of what the site leaves out is written as alternatives of
conjunctions. An entry with operator `excluded` also holds where the field is missing (Kibana writes it as must_not),
just as a negation does in a formula. Networks stand as values of `match_any`: on a field of type `ip` Elasticsearch
reads them as networks. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import product
from typing import Any

from imdswatch.siem import ecs
from imdswatch.siem import formula as f
from imdswatch.siem.content import Query, stable_id
from imdswatch.siem.spelling import host_texts, mac_forms

_Literal = tuple[f.Atom, bool]


def list_id(query: Query) -> str:
    """Return the id of the exception list of a rule."""
    return f"imdswatch-{query.rule.slug}"


def lists_of(query: Query) -> list[dict[str, Any]]:
    """Return the exception list of a rule and its items as Kibana imports them; nothing where nothing is left out."""
    if isinstance(query.plan.mute, f.Const) or query.plan.within:
        return []
    name = list_id(query)
    whole = {
        "id": str(stable_id("elastic", name)),
        "list_id": name,
        "name": f"imdswatch: {query.rule.slug}",
        "description": f"What the site leaves out of: {query.rule.title}",
        "type": "detection",
        "namespace_type": "single",
        "os_types": [],
        "tags": ["imdswatch"],
        "version": 1,
        "immutable": False,
    }
    return [
        whole,
        *(_item(query, number, one) for number, one in enumerate(alternatives(query.plan.mute), 1)),
    ]


def alternatives(formula: f.Formula, holds: bool = True) -> list[tuple[_Literal, ...]]:
    """Return a formula (or its negation) as alternatives of conjunctions, each test once, in a fixed order."""
    match formula:
        case f.Atom():
            return [((formula, holds),)]
        case f.No(part):
            return alternatives(part, not holds)
        case f.All(parts) if holds:
            return _crossed([alternatives(part) for part in parts])
        case f.AnyOf(parts) if not holds:
            return _crossed([alternatives(part, False) for part in parts])
        case f.All(parts) | f.AnyOf(parts):
            return [one for part in parts for one in alternatives(part, holds)]
    return []


def _crossed(lists: Sequence[list[tuple[_Literal, ...]]]) -> list[tuple[_Literal, ...]]:
    found: dict[tuple[_Literal, ...], None] = {}
    for combination in product(*lists):
        literals = tuple(dict.fromkeys(literal for part in combination for literal in part))
        if not any((atom, not holds) in literals for atom, holds in literals):
            found[literals] = None
    return list(found)


def _item(query: Query, number: int, literals: tuple[_Literal, ...]) -> dict[str, Any]:
    labels = list(dict.fromkeys(atom.label.partition("/")[0] for atom, _ in literals if atom.label))
    ends = [atom.test.day for atom, _ in literals if isinstance(atom.test, f.Until)]
    name = list_id(query)
    out: dict[str, Any] = {
        "item_id": str(stable_id("elastic", name, str(number))),
        "list_id": name,
        "name": ", ".join(labels) or "site",
        "description": f"{', '.join(labels) or 'site'}, from the site file",
        "type": "simple",
        "namespace_type": "single",
        "os_types": [],
        "tags": ["imdswatch"],
        "comments": [],
        "entries": [_entry(atom, holds) for atom, holds in literals if not isinstance(atom.test, f.Until)],
    }
    if ends:
        out["expire_time"] = f"{min(ends) + timedelta(days=1)}T00:00:00.000Z"
    return out


def _entry(atom: f.Atom, holds: bool) -> Mapping[str, Any]:
    head = {"field": atom.column.name, "operator": "included" if holds else "excluded"}
    values = _values(atom)
    if values is None:
        return {**head, "type": "exists"}
    return {**head, "type": "match_any", "value": list(dict.fromkeys(values))}


def _values(atom: f.Atom) -> list[str] | None:
    """Return the values of an entry, or None where the test is only whether the field is there."""
    match atom.test:
        case f.Inside(networks):
            return ecs.written(networks)
        case f.Numbers(numbers):
            return [f"{number:g}" for number in numbers]
        case f.Macs(macs):
            return [form for mac in macs for text in mac_forms(mac) for form in (text.upper(), text)]
        case f.Hosts(addresses, names):
            texts = ["".join(map(str, p.parts)) for p in host_texts(addresses, names) if len(p.parts) == 1]
            return [form for text in texts for form in (text, text.upper())]
        case f.Present() | f.AnAddress():
            return None
    raise AssertionError(atom)
