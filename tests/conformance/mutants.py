"""Broken emitters: each mutant is one mistake that the facts name, put into the running program and taken out again.

The suite must go red for every one of them; `witness` says where (language, schema, site), and a rule or none for all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from imdswatch.siem import emitter, esql, kuery, kusto, mute, plan, spl
from imdswatch.siem import formula as f
from imdswatch.siem.emitter import CannotSay

Change = tuple[object, str, Any]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: what it is, what it changes, where it must be noticed."""

    name: str
    change: Callable[[], Sequence[Change]]
    language: str
    schema: str
    site: str
    rule: str


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """Run with the mistake."""
    changes = list(mutant.change())
    before = [(owner, name, owner.__dict__.get(name, _ABSENT)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


_ABSENT = object()


def _rewritten(owner: Any, name: str, rewrite: Callable[[str], str]) -> Callable[[], Sequence[Change]]:
    """Return the change: the texts that a method gives are rewritten."""

    def change() -> Sequence[Change]:
        old = getattr(owner, name)

        def method(self: Any, *args: Any, **named: Any) -> Any:
            return rewrite(old(self, *args, **named))

        return [(owner, name, method)]

    return change


def _replaced(owner: Any, name: str, value: Any) -> Callable[[], Sequence[Change]]:
    return lambda: [(owner, name, value)]


def _no_parentheses(self: Any, parts: Sequence[f.Formula], word: str, guarded: bool, indent: int) -> str:
    return f" {word} ".join(self.compose(part, guarded, indent) for part in parts)


def _unguarded(owner: Any, name: str) -> Callable[[], Sequence[Change]]:
    """Return the change: a method does not hear that it stands under a negation."""

    def change() -> Sequence[Change]:
        old = getattr(owner, name)
        return [(owner, name, lambda self, atom, values, guarded: old(self, atom, values, False))]

    return change


def _dropped(owner: Any, name: str) -> Callable[[], Sequence[Change]]:
    def refuse(self: Any, *args: Any, **named: Any) -> Any:
        raise CannotSay("broken on purpose")

    return _replaced(owner, name, refuse)


def _without_responders() -> Sequence[Change]:
    """Suppress what was answered by the other keys, whoever answered."""
    return [(mute, "_ANSWERED", 99)]


def _first_vlan_only() -> Sequence[Change]:
    old = plan.Planner.columns

    def columns(self: Any, field: str) -> Any:
        found = old(self, field)
        return found[:1] if field == "vlan" else found

    return [(plan.Planner, "columns", columns)]


def _proxy_errors_are_answers() -> Sequence[Change]:
    return [(plan.Planner, "_any_number", lambda self, field, values: f.FALSE)]


def _no_claims() -> Sequence[Change]:
    old = mute._Mute.__init__

    def start(self: Any, planner: Any) -> None:
        old(self, planner)
        self._claim = f.FALSE

    return [(mute._Mute, "__init__", start)]


def _one_case(text: str) -> str:
    return (
        text.replace("tolower(", "(")
        .replace("=~", "==")
        .replace(" in~ ", " in ")
        .replace("contains ", "contains_cs ")
    )


MUTANTS = (
    Mutant("parentheses dropped", _replaced(emitter.Emitter, "_joined", _no_parentheses), "kusto", "asim", "all of it", "imds-contact"),
    Mutant("ipv4_ function for IPv6", _rewritten(kusto.KustoBackend, "in_ranges", lambda t: t.replace("ipv6_is", "ipv4_is")), "kusto", "asim", "none", "imds-contact"),
    Mutant("IPv6 compared as text", _rewritten(kusto.KustoBackend, "in_ranges", lambda t: re.sub(r"coalesce\(ipv6_is_in_any_range\((\w+), dynamic\((\[.*?\])\)\), false\)", lambda m: f'{m[1]} in ("fd00:ec2::254")', t)), "kusto", "asim", "none", "imds-contact"),
    Mutant("null under not (no coalesce)", _rewritten(kusto.KustoBackend, "in_ranges", lambda t: re.sub(r"coalesce\(((?:[^()]|\([^()]*(?:\([^()]*\))?[^()]*\))*), false\)", r"\1", t)), "kusto", "commonsecuritylog", "all of it", "imds-contact"),
    Mutant("has instead of contains", _rewritten(kusto.KustoBackend, "_patterns", lambda t: t.replace(" contains ", " has ")), "kusto", "commonsecuritylog", "none", "aws-2025-021"),
    Mutant("case-sensitive path", _rewritten(kusto.KustoBackend, "records", lambda lines: [_one_case(one) for one in lines]), "kusto", "asim", "none", "aws-2025-021"),  # type: ignore[arg-type, return-value]
    Mutant("path not decoded", _rewritten(kusto.KustoBackend, "records", lambda lines: [one.replace("url_decode(", "(") for one in lines]), "kusto", "asim", "none", "imds-request"),  # type: ignore[arg-type, return-value]
    Mutant("== on a network", _rewritten(kusto.KustoBackend, "in_ranges", lambda t: re.sub(r"coalesce\(ipv4_is_in_any_range\((\w+), dynamic\((\[.*?\])\)\), false\)", lambda m: f"{m[1]} in ({m[2][1:-1]})", t)), "kusto", "commonsecuritylog", "suppressions", "imds-contact"),
    Mutant("VLAN clause dropped", _dropped(kusto.KustoBackend, "numbers"), "kusto", "asim", "suppressions", "imds-contact"),
    Mutant("responders ignored where answered", _without_responders, "kusto", "asim", "suppressions", "imds-answered"),
    Mutant("only the outer VLAN", _first_vlan_only, "kusto", "asim", "suppressions", "aws-2025-021"),
    Mutant("the proxy's own errors are answers", _proxy_errors_are_answers, "kusto", "asim", "none", "imds-answered"),
    Mutant("the endpoint taken for the victim", _no_claims, "esql", "ecs", "networks", "imds-contact"),
    Mutant("ES|QL: no COALESCE under NOT", _replaced(esql, "_guard", lambda said, guarded: said), "esql", "ecs", "suppressions", "imds-contact"),
    Mutant("ES|QL: LIKE without TO_LOWER", _rewritten(esql.EsqlBackend, "texts", lambda t: t.replace("TO_LOWER", "")), "esql", "ecs", "none", "imds-name-lookup"),
    Mutant("ES|QL: several values as one", _replaced(esql, "_several", lambda column: False), "esql", "ecs", "suppressions", "imds-contact"),
    Mutant("ES|QL: `@` bare in a regular expression", _rewritten(esql.EsqlBackend, "hosts", lambda t: t.replace("[@]", "@").replace("\\@", "@")), "esql", "ecs", "none", "imds-contact"),
    Mutant("KQL: written as it stands in the rule only", _replaced(kuery, "_values", lambda patterns, *more, plain=str: [kuery._value(one.parts) for one in patterns]), "kuery", "ecs", "none", "imds-request"),
    Mutant("KQL: networks in quotes as text", _rewritten(kuery.KueryBackend, "inside", lambda t: t.replace("/", "\\/")), "kuery", "ecs", "networks", "imds-contact"),
    Mutant("SPL: parentheses dropped", _replaced(emitter.Emitter, "_joined", _no_parentheses), "spl", "cim", "suppressions", "imds-contact"),
    Mutant("SPL: IPv6 as text", _rewritten(spl.SplBackend, "inside", lambda t: t.replace("/128", "")), "spl", "cim", "none", "imds-contact"),
)  # fmt: skip
