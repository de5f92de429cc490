"""The Rule: one Sigma 2.1 document over canonical fields, behind a small tree of our own.

pySigma parses the document, its condition and its modifiers; this module turns the result into the frozen nodes
below, which everything else reads (predicate, prefilter, later SQL and SIEM emitters). So the Sigma text is the
source of truth and pySigma's mutable objects never leave this file: it converts in place, and a second use of one
object would see the first one's changes.

Field names may be canonical (`imdswatch.event.FIELDS`) or an alias of `data/aliases.yml` (Sigma taxonomy, vendor
names of the bulletin); nodes hold canonical names only. What cannot be run is refused by name, as a RuleError with
file and line.

Longer than most: the nodes are one vocabulary, and are read together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path

from imdswatch import address
from imdswatch.errors import RuleError
from imdswatch.event import FIELDS
from imdswatch.finding import STAGES
from imdswatch.kept import kept
from imdswatch.sigma_lines import line_of
from imdswatch.yamlfolder import by_stem

BUILT_IN = Path(__file__).parent / "data" / "rules"
ALIASES = Path(__file__).parent / "data" / "aliases.yml"


class Wild(Enum):
    """The wildcards of a Sigma text."""

    ANY = "*"
    ONE = "?"


EXPECTED_ACCOUNTS = "imds_expected_accounts"
"""Placeholder that the site's `[accounts] expected` fills."""


@dataclass(frozen=True, slots=True)
class Text:
    """Field text matches a pattern of literal parts and wildcards; without case unless `cased`."""

    parts: tuple[str | Wild, ...]
    cased: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """Field equals a number."""

    value: float


@dataclass(frozen=True, slots=True)
class Compare:
    """Field compares to a number: `op` is one of < <= > >=."""

    op: str
    value: float


@dataclass(frozen=True, slots=True)
class Bool:
    """Field is true or false."""

    value: bool


@dataclass(frozen=True, slots=True)
class Null:
    """Field is absent or empty."""


@dataclass(frozen=True, slots=True)
class Exists:
    """Field is present (or absent, if `value` is false)."""

    value: bool


@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression is found in the field; `flags` are Python's."""

    pattern: str
    flags: int


@dataclass(frozen=True, slots=True)
class Cidr:
    """Field is an address inside the network."""

    network: str


@dataclass(frozen=True, slots=True)
class FieldRef:
    """Field equals (or starts, ends with) the value of another field of the same event."""

    other: str
    starts: bool = False
    ends: bool = False


@dataclass(frozen=True, slots=True)
class TimePart:
    """A calendar part of the event's time, UTC, equals a number: minute, hour, day, week, month or year."""

    part: str
    value: int


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Field equals one of the values that the site gives under this name; with no values it is never true."""

    name: str


Test = Text | Number | Compare | Bool | Null | Exists | Regex | Cidr | FieldRef | TimePart | Placeholder


@dataclass(frozen=True, slots=True)
class Match:
    """One test on one canonical field; on any text of the event where `field` is None (Sigma keywords)."""

    field: str | None
    test: Test


@dataclass(frozen=True, slots=True)
class And:
    """All of the nodes hold."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of the nodes holds."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The node does not hold; a missing field never makes a node hold, so this is null-safe."""

    node: Node


Node = And | Or | Not | Match


@dataclass(frozen=True, slots=True)
class Correlation:
    """A second look (Sigma correlation, temporal_ordered): events of `base` after a finding of `after`.

    `timespan` is seconds; events count while they have the same victim.
    """

    after: tuple[str, ...]
    base: Node
    timespan: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its slug (file stem), what it says to people, and its condition."""

    slug: str
    title: str
    id: str
    level: str
    stage: str
    condition: Node
    text: str = field(repr=False)
    file: str
    description: str = ""
    remedy: str = ""
    attack: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    blind_spots: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    correlation: Correlation | None = None

    @property
    def fields(self) -> frozenset[str]:
        """The canonical fields that the condition asks for."""
        return frozenset(match.field for match in matches(self.condition) if match.field is not None)

    @property
    def placeholders(self) -> frozenset[str]:
        """The names of site values that the rule cannot do without."""
        return frozenset(m.test.name for m in matches(self.condition) if isinstance(m.test, Placeholder))


def matches(node: Node) -> Iterator[Match]:
    """Yield every test of a condition, in order."""
    match node:
        case Match():
            yield node
        case Not(inner):
            yield from matches(inner)
        case And(nodes) | Or(nodes):
            for child in nodes:
                yield from matches(child)


@cache
def alias_groups() -> Mapping[str, Mapping[str, str]]:
    """Return source of names → alias field name → canonical field name, from data/aliases.yml."""
    import yaml

    text = ALIASES.read_text(encoding="utf-8")
    groups: dict[str, dict[str, str]] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return groups


@cache
def aliases() -> Mapping[str, str]:
    """Return alias field name → canonical field name, of all groups."""
    return {alias: field for group in alias_groups().values() for alias, field in group.items()}


def canonical(name: str) -> str | None:
    """Return the canonical field that a name in a rule means, or None if nobody knows it."""
    return name if name in FIELDS else aliases().get(name)


def load_rules(overlay: Path | None = None) -> tuple[Rule, ...]:
    """Load the built-in pack, overlaid with a folder: same stem replaces, `status: unsupported` disables.

    Rules in subfolders count too. The order is by slug. Raises RuleError on the first invalid document.
    """
    if overlay is None:
        return kept("rules", [ALIASES, *BUILT_IN.glob("*.yml")], lambda: _load(None))
    return _load(overlay)


def _load(overlay: Path | None) -> tuple[Rule, ...]:
    texts: dict[str, tuple[str, str]] = {
        slug: (f"imdswatch/data/rules/{slug}.yml", (BUILT_IN / f"{slug}.yml").read_text(encoding="utf-8"))
        for slug in built_in_slugs()
    }
    if overlay is not None:
        if not overlay.is_dir():
            raise RuleError(
                f"`--rules {overlay}` is no folder", help="give the folder that holds the .yml rules"
            )
        found = by_stem(overlay, RuleError)
        if not found:
            raise RuleError(
                "the folder holds no rules",
                file=str(overlay),
                help="rules are .yml or .yaml files in the folder or below it",
            )
        for slug, path in found.items():
            if path.exists() and not path.is_file():  # a pipe would wait for its writer for ever
                raise RuleError("is no file", file=str(path))
            try:
                texts[slug] = (str(path), path.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                raise RuleError(f"cannot read the rule: {error}", file=str(path)) from error
    rules = [parse_rule(stem, text, file) for stem, (file, text) in sorted(texts.items())]
    return tuple(rule for rule in rules if rule is not None)


def built_in_slugs() -> list[str]:
    """Return the slugs of the pack, those that an overlay disables included."""
    return list(by_stem(BUILT_IN, RuleError))


def parse_rule(slug: str, text: str, file: str) -> Rule | None:
    """Return the Rule that a Sigma text means, or None if its status is `unsupported`; raises RuleError."""
    from imdswatch.sigma_tree import read_documents

    documents = read_documents(text, file)
    main = documents.rules[-1] if documents.correlation is None else None
    meta = documents.meta
    if str(meta.get("status", "")) == "unsupported":
        return None
    stage = str(meta.get("stage", "attempted"))
    if stage not in STAGES:
        raise RuleError(
            f"rule {slug}: stage `{stage}` does not exist",
            file=file,
            line=line_of(text, "stage"),
            help=f"one of {', '.join(STAGES)}",
        )
    correlation = None
    if documents.correlation is not None:
        correlation = Correlation(
            documents.correlation.after, documents.rules[0], documents.correlation.timespan
        )
    return Rule(
        slug=slug,
        title=str(meta["title"]),
        id=str(meta.get("id", "")),
        level=str(meta.get("level", "medium")),
        stage=stage,
        condition=main if main is not None else documents.rules[0],
        text=text,
        file=file,
        description=str(meta.get("description", "")).strip(),
        remedy=str(meta.get("remedy", "")).strip(),
        attack=tuple(
            tag.removeprefix("attack.").upper()
            for tag in meta.get("tags") or ()
            if re.fullmatch(r"attack\.t\d{4}(\.\d{3})?", tag)
        ),
        falsepositives=tuple(str(x) for x in meta.get("falsepositives") or ()),
        blind_spots=tuple(str(x) for x in meta.get("blind_spots") or ()),
        references=tuple(str(x) for x in meta.get("references") or ()),
        correlation=correlation,
    )


def expected_network(text: str) -> str:
    """Return a network in canonical text; raises ValueError."""
    return str(address.network(text))
