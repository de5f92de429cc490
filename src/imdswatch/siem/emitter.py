"""The Emitter: writes a formula in one query language; every language is a subclass.

An Emitter is a pySigma `TextQueryBackend`, so that pySigma users can convert rules of their own with it; field names
are the canonical ones and their aliases, columns come from the schema. What a subclass provides is one method a typed
test (`formula`), each written with constructs that have one reading on the target, and the frame of a whole query.
A test that the language cannot say raises `CannotSay`; the planner then drops the clause and tells why.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, ClassVar

from sigma.conversion.base import TextQueryBackend
from sigma.exceptions import SigmaConfigurationError
from sigma.processing.pipeline import ProcessingPipeline
from sigma.rule import SigmaRule

from imdswatch.address import Network
from imdswatch.rule import Rule, Text
from imdswatch.schema import Column
from imdswatch.siem import formula as f
from imdswatch.siem.content import Plan, Source

_WIDTH = 100


class CannotSay(Exception):
    """The language has no way to say this with one reading; the text says why, for a person."""


class Emitter(TextQueryBackend):
    """Writes formulas in one language; stateless but for the schema that pySigma users choose."""

    language: ClassVar[str]
    """The word of DESIGN 6: spl, aql, kusto, kuery, eql, esql, sigma, suricata."""
    target: ClassVar[str]
    usual_schema: ClassVar[str]
    default_format = "default"
    requires_pipeline = False

    def __init__(
        self,
        processing_pipeline: ProcessingPipeline | None = None,
        collect_errors: bool = False,
        schema: str = "",
        **options: Any,
    ) -> None:
        super().__init__(processing_pipeline, collect_errors, **options)
        self.schema = schema or self.usual_schema

    # One method a test; `guarded` stands under a negation, where the text must be false and not null for a missing
    # column. Each returns text that binds tighter than `and`.

    @abstractmethod
    def inside(self, atom: f.Atom, networks: Sequence[Network], guarded: bool) -> str:
        """Say that the column holds an address inside one of the networks."""

    @abstractmethod
    def an_address(self, atom: f.Atom, guarded: bool) -> str:
        """Say that the column holds an address."""

    @abstractmethod
    def texts(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Say that the text matches one of the patterns."""

    @abstractmethod
    def paths(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Say that the path, decoded and resolved, matches one of the patterns."""

    @abstractmethod
    def urls(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Say that the URL, decoded, matches one of the patterns."""

    @abstractmethod
    def hosts(self, atom: f.Atom, addresses: Sequence[str], names: Sequence[Text], guarded: bool) -> str:
        """Say that the host is one of the addresses or names."""

    @abstractmethod
    def macs(self, atom: f.Atom, values: Sequence[str], guarded: bool) -> str:
        """Say that the column holds one of the MAC addresses."""

    @abstractmethod
    def numbers(self, atom: f.Atom, values: Sequence[float], guarded: bool) -> str:
        """Say that the number is one of the values."""

    @abstractmethod
    def ordered(self, atom: f.Atom, op: str, value: float, guarded: bool) -> str:
        """Say that the number compares to the value."""

    @abstractmethod
    def flag(self, atom: f.Atom, value: bool, guarded: bool) -> str:
        """Say that the column is true or false."""

    @abstractmethod
    def present(self, atom: f.Atom) -> str:
        """Say that the record has the column, and that it is not empty."""

    def found(self, atom: f.Atom, pattern: str, flags: int, guarded: bool) -> str:
        """Say that the regular expression is found; languages differ in regular expressions, so usually refused."""
        raise CannotSay(f"a regular expression of a rule has no certain meaning in {self.language}")

    def same(self, atom: f.Atom, other: Column, guarded: bool) -> str:
        """Say that two columns are equal."""
        raise CannotSay(f"{self.language} does not compare two columns")

    def excess(self, atom: f.Atom, packets: Column, destination: Column | None, guarded: bool) -> str:
        """Say that there are more octets than the headers of the packets."""
        raise CannotSay(f"{self.language} does not calculate with columns")

    def until(self, day: date) -> str:
        """Say that the day of the run is no later."""
        raise CannotSay(f"{self.language} cannot ask what day it is: export again when the entry has run out")

    @abstractmethod
    def path(self, source: Source, rule: Rule) -> str:
        """Return where the query of a rule stands in the deployable tree."""

    @abstractmethod
    def frame(self, condition: str, source: Source, rule: Rule, plan: Plan) -> str:
        """Return the whole query around a condition."""

    def sequence(self, source: Source, rule: Rule, plan: Plan) -> str:
        """Return the whole query of a correlation: `plan.first`, then within `plan.within` seconds `plan.where`."""
        raise CannotSay(f"{self.language} does not relate one event to an earlier one")

    def caveat(self, atom: f.Atom) -> str:
        """Return what the text of a test does not cover, for a person; empty where it covers all."""
        return ""

    # What the subclasses share.

    def render(self, plan: Plan, source: Source, rule: Rule) -> str:
        """Return the query of a plan: the rule's condition, and not what the site leaves out."""
        plan = replace(plan, mute=self._dated(plan.mute), first=self._dated(plan.first))
        if plan.within:
            return self.sequence(source, rule, plan)
        return self.frame(self.compose(f.all_of([plan.where, f.negated(plan.mute)])), source, rule, plan)

    def _dated(self, formula: f.Formula) -> f.Formula:
        """Return the formula without end dates if the language cannot ask for them (expired ones are gone already)."""
        try:
            self.until(date.max - timedelta(days=1))
        except CannotSay:
            return f.without_days(formula)
        return formula

    def leaf(self, atom: f.Atom, guarded: bool = False) -> str:
        """Return the text of one test; raises CannotSay."""
        match atom.test:
            case f.Inside(networks):
                return self.inside(atom, networks, guarded)
            case f.AnAddress():
                return self.an_address(atom, guarded)
            case f.Texts(patterns):
                return self.texts(atom, patterns, guarded)
            case f.Paths(patterns):
                return self.paths(atom, patterns, guarded)
            case f.Urls(patterns):
                return self.urls(atom, patterns, guarded)
            case f.Hosts(addresses, names):
                return self.hosts(atom, addresses, names, guarded)
            case f.Macs(values):
                return self.macs(atom, values, guarded)
            case f.Numbers(numbers):
                return self.numbers(atom, numbers, guarded)
            case f.Ordered(op, value):
                return self.ordered(atom, op, value, guarded)
            case f.Flag(value):
                return self.flag(atom, value, guarded)
            case f.Present():
                return self.present(atom)
            case f.Found(pattern, flags):
                return self.found(atom, pattern, flags, guarded)
            case f.Same(other):
                return self.same(atom, other, guarded)
            case f.Excess(packets, destination):
                return self.excess(atom, packets, destination, guarded)
            case f.Until(day):
                return self.until(day)
        raise AssertionError(atom)

    def compose(self, formula: f.Formula, guarded: bool = False, indent: int = 0) -> str:
        """Return the text of a formula, every `and` and `or` in parentheses; long ones on several lines."""
        match formula:
            case f.Atom():
                return self.leaf(formula, guarded)
            case f.No(part):
                return self.negation(self.compose(part, True, indent))
            case f.All(parts):
                return self._joined(parts, str(self.and_token), guarded, indent)
            case f.AnyOf(parts):
                return self._joined(parts, str(self.or_token), guarded, indent)
        raise AssertionError("a constant is no query")

    def negation(self, text: str) -> str:
        """Return the negation of a text."""
        inner = text if text.startswith("(") else f"({text})"
        return f"{self.not_token} {inner}"

    def _joined(self, parts: Sequence[f.Formula], word: str, guarded: bool, indent: int) -> str:
        texts = [self.compose(part, guarded, indent + 2) for part in parts]
        line = f" {word} ".join(texts)
        if len(line) + indent <= _WIDTH and "\n" not in line:
            return f"({line})"
        gap = "\n" + " " * (indent + 2)
        return f"({gap}" + f"{gap}{word} ".join(texts) + "\n" + " " * indent + ")"

    # pySigma's way in: each part of the schema gives one query of the rule.

    def convert_rule(
        self, rule: SigmaRule, output_format: str | None = None, callback: Any = None
    ) -> list[Any]:
        """Convert a rule of pySigma's; one query for each part of the schema that can hold it."""
        from imdswatch.siem.plugin import convert

        self.init_processing_pipeline(output_format)
        self.last_processing_pipeline.apply(rule)
        try:
            queries = convert(self, rule)
        except SigmaConfigurationError as error:
            if not self.collect_errors:
                raise
            self.errors.append((rule, error))
            return []
        rule.set_conversion_result(queries)
        return queries


def spelled(pattern: Text) -> bool:
    """Say whether a pattern on a path or URL names a spelling, which then is compared as logged (scan/predicate.py)."""
    whole = "".join(part for part in pattern.parts if isinstance(part, str))
    return any(mark in whole for mark in ("%", "//", "/."))
