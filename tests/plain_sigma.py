"""A second, plain interpreter of the rule pack and of a site, as an oracle for the fast ones.

It walks pySigma's own condition tree one event at a time and shares nothing with `imdswatch.scan.predicate`
but the parsing of addresses and paths, so either can show an error of the other. It knows only what the pack
uses and asserts on the rest. Pure after loading the pack, which happens at import.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from sigma.collection import SigmaCollection
from sigma.conditions import ConditionAND, ConditionIdentifier, ConditionNOT, ConditionOR, ConditionSelector
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaRuleLocation
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaRule
from sigma.types import (
    CompareOperators,
    Placeholder,
    SigmaBool,
    SigmaCompareExpression,
    SigmaExists,
    SigmaFieldReference,
    SigmaNumber,
    SigmaString,
    SpecialChars,
)

from imdswatch import address, urlpath
from imdswatch.event import FIELDS, Kind, complete, endpoint, victim_ip

PACK = Path(__file__).parents[1] / "src" / "imdswatch" / "data" / "rules"
STAGE_OF = {  # DESIGN 4
    "aws-2025-021": "requested",
    "imds-contact": "attempted",
    "imds-request": "requested",
    "imds-token-request": "requested",
    "imds-credential-request": "requested",
    "imds-answered": "answered",
    "imds-credentials-served": "credentials-served",
    "imds-unexpected-account": "credentials-served",
    "imds-name-lookup": "attempted",
    "imds-l2-claim": "answered",
    "imds-route-offered": "answered",
    "imds-redirected": "answered",
    "imds-credentials-used": "credentials-used",
}
SLUGS = sorted(STAGE_OF)
ALIASES = {"request_headers": "req_header"}  # of the bulletin's outline
TODAY = date(2026, 11, 22)

Event = Mapping[str, Any]
Site = Mapping[str, Any]


def load() -> SigmaCollection:
    """Load the pack as one collection; the correlation refers to a rule of another file."""
    files = [
        SigmaCollection.from_yaml(
            (PACK / f"{slug}.yml").read_text(encoding="utf-8"),
            source=SigmaRuleLocation(PACK / f"{slug}.yml"),
            resolve_references=False,
        )
        for slug in SLUGS
    ]
    return SigmaCollection.merge(files)


COLLECTION = load()


def of_file(slug: str) -> list[SigmaRule | SigmaCorrelationRule]:
    found = [r for r in COLLECTION.rules if r.source is not None and r.source.path.stem == slug]
    return sorted(found, key=lambda rule: isinstance(rule, SigmaCorrelationRule))


def plain_rule(slug: str) -> SigmaRule:
    rule = of_file(slug)[0]
    assert isinstance(rule, SigmaRule)
    return rule


def completed(event: Event) -> dict[str, Any]:
    assert set(event) <= set(FIELDS), f"not canonical: {set(event) - set(FIELDS)}"
    for name, value in event.items():
        assert isinstance(value, list) == FIELDS[name].many, name
    return complete({name: tuple(v) if isinstance(v, list) else v for name, v in event.items()})


def glob_of(value: SigmaString) -> str:
    """Return the pattern in fnmatch's spelling, lower case."""
    out = ""
    for part in value.s:
        if part is SpecialChars.WILDCARD_MULTI:
            out += "*"
        elif part is SpecialChars.WILDCARD_SINGLE:
            out += "?"
        else:
            assert isinstance(part, str)
            out += re.sub(r"([*?[])", r"[\1]", part.lower())
    return out


def as_text(kind: Kind, value: Any) -> str:
    if kind is Kind.URL:
        return urlpath.normal_url(value)
    if kind is Kind.PATH:
        return urlpath.normal_path(value)
    if kind is Kind.HOST:
        return address.parse_host(value) or address.split_port(value)[0].lower().rstrip(".")
    if kind is Kind.ADDRESS:
        return address.parse(value) or value
    return str(value).lower()


def equals(kind: Kind, value: Any, wanted: SigmaString) -> bool:
    pattern = glob_of(wanted)
    if kind in (Kind.ADDRESS, Kind.HOST):
        pattern = (address.parse(pattern) if "*" not in pattern else None) or pattern
    found = as_text(kind, value)
    if kind is Kind.NAME:  # a final dot says nothing
        found, pattern = found.rstrip("."), pattern.removesuffix(".") if pattern[-2:] != "*." else pattern
    return fnmatch.fnmatchcase(found, pattern)


def compare(found: Any, wanted: SigmaCompareExpression) -> bool:
    operator: Callable[[Any, Any], bool] = {
        CompareOperators.LT: lambda a, b: a < b,
        CompareOperators.GTE: lambda a, b: a >= b,
    }[wanted.op]
    return operator(found, wanted.number.number)


def one_value(name: str, wanted: Any, event: Event, site: Site) -> bool:
    found = event.get(name)
    if isinstance(wanted, SigmaExists):
        return (found is not None) == bool(wanted)
    if found is None:
        return False
    kind = FIELDS[name].kind
    values = found if FIELDS[name].many else (found,)
    if isinstance(wanted, SigmaFieldReference):
        return bool(found == event.get(wanted.field))
    if isinstance(wanted, SigmaCompareExpression):
        return any(compare(value, wanted) for value in values)
    if isinstance(wanted, SigmaNumber):
        return any(value == wanted.number for value in values)
    if isinstance(wanted, SigmaBool):
        return any(value is wanted.boolean for value in values)
    assert isinstance(wanted, SigmaString), type(wanted)
    if wanted.contains_placeholder():
        assert wanted.s == [Placeholder("imds_expected_accounts")]
        return any(value in expected_accounts(site) for value in values)
    return any(equals(kind, value, wanted) for value in values)


def expected_accounts(site: Site) -> list[str]:
    return list(site.get("accounts", {}).get("expected", ()))


def item_holds(item: SigmaDetectionItem | SigmaDetection, event: Event, site: Site) -> bool:
    if isinstance(item, SigmaDetection):
        results = [item_holds(inner, event, site) for inner in item.detection_items]
        return all(results) if item.item_linking is ConditionAND else any(results)
    assert item.field is not None
    assert item.value_linking is ConditionOR
    name = ALIASES.get(item.field, item.field)
    return any(one_value(name, wanted, event, site) for wanted in item.value)


def holds(rule: SigmaRule, event: Event, site: Site, without: str = "") -> bool:
    """Judge a completed event; the block `without` counts as never true."""
    if not expected_accounts(site) and any(placeholders(rule)):
        return False

    def block(name: str) -> bool:
        return name != without and item_holds(rule.detection.detections[name], event, site)

    def walk(node: Any) -> bool:
        if isinstance(node, ConditionIdentifier):
            return block(node.identifier)
        if isinstance(node, ConditionSelector):
            names = [one.identifier for one in node.resolve_referenced_detections(rule.detection)]
            assert names, f"`{node.pattern}` names no block"
            return (all if node.cond_class is ConditionAND else any)(block(name) for name in names)
        if isinstance(node, ConditionNOT):
            return not walk(node.args[0])
        assert isinstance(node, ConditionAND | ConditionOR)
        return (all if isinstance(node, ConditionAND) else any)(walk(arg) for arg in node.args)

    (condition,) = rule.detection.parsed_condition
    return walk(condition.parse(False))


def items(rule: SigmaRule) -> Iterator[SigmaDetectionItem]:
    for detection in rule.detection.detections.values():
        for item in detection.detection_items:
            assert isinstance(item, SigmaDetectionItem)
            yield item


def placeholders(rule: SigmaRule) -> Iterator[bool]:
    for item in items(rule):
        yield from (v.contains_placeholder() for v in item.value if isinstance(v, SigmaString))


def fires(slug: str, case: Mapping[str, Any], site: Site, without: str = "") -> Event | None:
    """Return the completed event on which the rule fires (of a series the one that began it), or None."""
    if slug != "imds-credentials-used":
        event = completed(case["event"])
        return event if holds(plain_rule(slug), event, site, without) else None
    base, correlation = of_file(slug)
    assert isinstance(base, SigmaRule)
    assert isinstance(correlation, SigmaCorrelationRule)
    events = [completed(event) for event in case["events"]]
    assert [e["timestamp"] for e in events] == sorted(e["timestamp"] for e in events)
    for index, first in enumerate(events):
        if holds(plain_rule("imds-credentials-served"), first, site):
            for later in events[index + 1 :]:
                near = later["timestamp"] - first["timestamp"] <= correlation.timespan.seconds
                same, signer = later["src_ip"] == first["src_ip"], later.get("signing_key_id")
                if signer is not None and "access_key_id" in first:
                    same = signer == first["access_key_id"]
                elif signer is not None:
                    later = {name: value for name, value in later.items() if name != "signing_key_id"}
                if near and same and holds(base, later, site, without):
                    return first
    return None


def within(text: str | None, networks: list[str]) -> bool:
    if text is None:
        return False
    found = ipaddress.ip_address(text)
    return any(found in address.network(n) for n in networks)


def victim_address(event: Event) -> str | None:
    source = victim_ip(event)
    return None if within(source, ["169.254.0.0/16", "fe80::/10", "0.0.0.0/32", "::/128"]) else source


def names_responder(event: Event, texts: list[str]) -> bool:
    is_reply = event.get("src_ip") in address.ENDPOINTS or "nd_target" in event or "offered_route" in event
    macs = {event.get("src_mac" if is_reply else "dst_mac")}
    found = [event.get("src_ip" if is_reply else "dst_ip"), event.get("nat_dst")]
    if found[0] is None:  # a log that names the other side by what the client asked for only
        found[0] = address.parse_host(endpoint(event) or "")
    for text in texts:
        if text.replace("-", ":").lower() in macs:
            return True
        if text in address.ENDPOINTS and text in (*found, endpoint(event)):
            return True  # whoever answers there
        if "/" in text or address.parse(text):
            networks = [n for n in found if n is not None and n not in address.ENDPOINTS]
            if any(within(n, [text]) for n in networks):
                return True
    return False


def left_out_by(slug: str, event: Event, site: Site) -> str | None:
    late = STAGE_OF[slug] not in ("attempted", "requested")
    source, vlans = victim_address(event), set(event.get("vlan", ()))
    own = site.get("site", {})
    ranges, ids = own.get("on_premises"), own.get("on_premises_vlans")
    # docs/decisions/0005: the network list alone says that a source is elsewhere, VLAN or not.
    elsewhere = source is not None and not within(source, ranges) if ranges else ids and vlans
    if elsewhere and not (ids and vlans & set(ids)):
        return "on_premises"
    for entry in site.get("suppress", ()):
        if (
            ("rules" not in entry or slug in entry["rules"])
            and ("vlans" not in entry or vlans & set(entry["vlans"]))
            and ("sources" not in entry or within(source, entry["sources"]))
            and (not late or names_responder(event, entry.get("responders", [])))
            and ("expires" not in entry or entry["expires"] >= TODAY)
        ):
            return str(entry["name"])
    return None
