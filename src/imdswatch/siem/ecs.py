"""What the three Elastic languages share: how ECS columns are typed, and what none of them says alike. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imdswatch.address import Network
from imdswatch.schema import Column
from imdswatch.siem.spelling import v4_of, v6_of

V4 = ("0.0.0.0/1", "128.0.0.0/1")
"""All of IPv4; what a length of 0 does is documented nowhere."""

STEPS = (*range(1, 17), 20, 24, 32, 48, 64, 128)
"""Numbers of packets for which octets are compared with headers where the language does not multiply columns."""

STEPS_CAVEAT = (
    "octets against headers are compared in steps, as the language does not multiply columns: exact up to "
    f"{STEPS[15]} packets, and above only where the octets exceed the headers of the next step"
)


def networks(nets: Sequence[Network]) -> list[str]:
    """Return networks as Elasticsearch reads them on a field of type `ip`: a mapped address is IPv4 there already."""
    six = [text.removesuffix("/128") for text in v6_of(nets, mapped=False)]
    return [*v4_of(nets), *six]


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
