"""Judges a formula over one record of a SIEM in plain Python: what every emitter's text has to mean.

An oracle of its own for the planner: it knows columns and tests, not rules. Paths, hosts and addresses are compared by
`imdswatch.urlpath` and `imdswatch.address`, as `scan` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from imdswatch import address, urlpath
from imdswatch.rule import Text, Wild
from imdswatch.siem import formula as f

TODAY = date(2026, 11, 22)


def flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            out.update(flat(value, f"{prefix}{name}."))
        else:
            out[prefix + name] = value
    return out


def holds(formula: f.Formula, record: Mapping[str, Any]) -> bool:
    match formula:
        case f.All(parts):
            return all(holds(part, record) for part in parts)
        case f.AnyOf(parts):
            return any(holds(part, record) for part in parts)
        case f.No(part):
            return not holds(part, record)
        case f.Const(value):
            return value
    assert isinstance(formula, f.Atom)
    if isinstance(formula.test, f.Until):
        return formula.test.day >= TODAY
    return any(_test(formula, value, record) for value in _values(formula, record))


def _values(atom: f.Atom, record: Mapping[str, Any]) -> Iterator[Any]:
    value = record.get(atom.column.name)
    for one in value if isinstance(value, list) else [value]:
        if one is None or one == "":
            continue
        if atom.take:
            one = getattr(urlpath.split(str(one)), atom.take)
            if not one:
                continue
        yield one


def _test(atom: f.Atom, value: Any, record: Mapping[str, Any]) -> bool:
    text = str(value)
    match atom.test:
        case f.Present():
            return True
        case f.AnAddress():
            return address.parse(text) is not None
        case f.Inside(networks):
            return text in address.Networks(list(networks))
        case f.Texts(patterns):
            return any(_matches(p, text if p.cased else text.lower()) for p in patterns)
        case f.Paths(patterns):
            return any(_matches(p, urlpath.normal_path(text)) for p in patterns)
        case f.Urls(patterns):
            return any(_matches(p, urlpath.normal_url(text)) for p in patterns)
        case f.Hosts(addresses, names):
            found = address.parse_host(text)
            name = address.split_port(text)[0].rstrip(".").lower()
            return found in addresses or (found is None and any(_matches(p, name) for p in names))
        case f.Macs(values):
            digits = re.sub(r"[^0-9a-f]", "", text.lower())
            return digits in {mac.replace(":", "") for mac in values}
        case f.Numbers(numbers):
            return text.isdigit() and int(text) in numbers
        case f.Ordered(op, bound):
            number = float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else None
            compared = {"<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}[op]
            return number is not None and bool(getattr(number, compared)(bound))
        case f.Excess(packets, destination):
            count = record.get(packets.name)
            six = destination is not None and ":" in str(record.get(destination.name, ""))
            return count is not None and int(text) > int(count) * (80 if six else 60)
        case f.Same(other):
            return text.lower() == str(record.get(other.name, "")).lower()
        case f.Flag(wanted):
            return value is wanted
    raise AssertionError(atom)


def _matches(pattern: Text, text: str) -> bool:
    regex = ""
    for part in pattern.parts:
        if isinstance(part, Wild):
            regex += ".*" if part is Wild.ANY else "."
        else:
            regex += re.escape(part if pattern.cased else part.lower())
    return re.fullmatch(regex, text, re.DOTALL) is not None
