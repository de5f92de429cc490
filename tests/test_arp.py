"""ARP is read as RFC 826 lays it out, from octets written by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdswatch.wire import arp

REPLY = bytes.fromhex(
    "0001 0800 06 04 0002"  # Ethernet, IPv4, lengths, reply
    "020000006601 a9fea9fe"  # sender: 169.254.169.254
    "020000000105 0a000105"  # target: 10.0.1.5
)


def test_a_reply() -> None:
    assert arp.read(REPLY) == arp.Arp(
        "reply", "02:00:00:00:66:01", "169.254.169.254", "02:00:00:00:01:05", "10.0.1.5"
    )


def test_padding_means_nothing() -> None:
    assert arp.read(REPLY + b"\xff" * 18) == arp.read(REPLY)


@pytest.mark.parametrize(
    ("sender", "target", "announces"),
    [
        ("a9fea9fe", "a9fea9fe", True),
        ("a9fea9fe", "0a000105", False),
        ("00000000", "a9fea9fe", False),  # a probe, RFC 5227 1.1
        ("00000000", "00000000", False),
    ],
)
def test_who_speaks_of_its_own_address_announces(sender: str, target: str, announces: bool) -> None:
    body = bytes.fromhex(f"0001080006040001020000006601{sender}000000000000{target}")
    found = arp.read(body)
    assert found is not None
    assert found.operation == "request"
    assert found.announces is announces


@pytest.mark.parametrize(
    ("at", "octets"),
    [(2, "86dd"), (4, "08"), (5, "10"), (6, "0003"), (6, "0008")],
    ids=["protocol", "hardware length", "protocol length", "reverse", "inverse"],
)
def test_what_is_no_arp_for_ipv4_is_none(at: int, octets: str) -> None:
    changed = bytearray(REPLY)
    changed[at : at + len(octets) // 2] = bytes.fromhex(octets)
    assert arp.read(bytes(changed)) is None


def test_any_cut_is_none() -> None:
    assert [size for size in range(len(REPLY)) if arp.read(REPLY[:size]) is not None] == []


@given(st.binary(max_size=64))
def test_any_octets_are_read(body: bytes) -> None:
    arp.read(body)
