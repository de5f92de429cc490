"""What the three Elastic languages share: how ECS columns are typed, and what none of them says alike. Pure."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

from imdswatch.address import Network
from imdswatch.rule import Rule
from imdswatch.schema import Column
from imdswatch.siem import formula as f
from imdswatch.siem.content import Source
from imdswatch.siem.emitter import CannotSay, Emitter
from imdswatch.siem.spelling import v4_of, v6_of

V4 = ("0.0.0.0/1", "128.0.0.0/1")
"""All of IPv4; what a length of 0 does is documented nowhere."""

STEPS = (*range(1, 17), 20, 24, 32, 48, 64, 128)
"""Numbers of packets for which octets are compared with headers where the language does not multiply columns."""

STEPS_CAVEAT = (
    "octets against headers are compared in steps, as the language does not multiply columns: exact up to "
    f"{STEPS[15]} packets, and above only where the octets exceed the headers of the next step"
)


def written(networks: Sequence[Network]) -> list[str]:
    """Return networks as Elasticsearch reads them on a field of type `ip`: a mapped address is IPv4 there already."""
    six = [text.removesuffix("/128") for text in v6_of(networks, mapped=False)]
    return [*v4_of(networks), *six]


def with_length(text: str) -> str:
    """Return a network or an address as a network."""
    return text if "/" in text else f"{text}/{128 if ':' in text else 32}"


def is_ip(column: Column) -> bool:
    """Say whether the column holds addresses as addresses."""
    return column.type.removesuffix("[]") == "ip"


def is_number(column: Column) -> bool:
    """Say whether the column holds numbers."""
    return column.type.removesuffix("[]") == "long"


def steps(per: int) -> Iterator[tuple[int, int]]:
    """Yield (packets at most, octets more than) for headers of `per` octets."""
    for packets in STEPS:
        yield packets, packets * per


class ElasticEmitter(Emitter):
    """Writes formulas in a language of Elastic's detection rules, over ECS."""

    target = "elastic"
    usual_schema = "ecs"
    group_expression = "({expr})"
    str_quote = '"'
    escape_char = "\\"

    @abstractmethod
    def within(self, column: Column, values: Sequence[str], guarded: bool) -> str:
        """Say that a column of type `ip` holds one of the addresses, or one inside one of the networks."""

    def path(self, source: Source, rule: Rule) -> str:
        """Return the file that is imported: it holds all rules of a schema in one language."""
        return f"{source.naming.schema}/{self.language}/rules.ndjson"

    def inside(self, atom: f.Atom, networks: Sequence[Network], guarded: bool) -> str:
        """Compare addresses as addresses."""
        if not is_ip(atom.column):
            raise CannotSay("networks are compared on fields of type ip only")
        return self.within(atom.column, written(networks), guarded)

    def an_address(self, atom: f.Atom, guarded: bool) -> str:
        """A field of type `ip` holds nothing else."""
        return self.present(atom)
