"""ICMP errors and redirects are read as RFC 792, 1812, 4443 and 4861 lay them out, from octets written by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdswatch.wire import icmp

QUOTED = b"\x45" + bytes(27)


@pytest.mark.parametrize(
    ("kind", "code", "prohibited"),
    [
        (3, 0, False), (3, 1, False), (3, 3, False), (3, 9, True), (3, 10, True), (3, 13, True),
        (11, 0, False), (12, 0, False),
    ],
)  # fmt: skip
def test_errors(kind: int, code: int, prohibited: bool) -> None:
    assert icmp.read(bytes((kind, code)) + bytes(6) + QUOTED, v6=False) == icmp.Refused(prohibited, QUOTED)


@pytest.mark.parametrize(
    ("kind", "code", "prohibited"),
    [(1, 0, False), (1, 1, True), (1, 3, False), (1, 5, True), (1, 6, True), (3, 0, False), (4, 1, False)],
)
def test_errors_of_ipv6(kind: int, code: int, prohibited: bool) -> None:
    assert icmp.read(bytes((kind, code)) + bytes(6) + QUOTED, v6=True) == icmp.Refused(prohibited, QUOTED)


@pytest.mark.parametrize("kind", [0, 3, 8, 13])
def test_what_refuses_nothing_is_none(kind: int) -> None:
    # 3/4: fragmentation needed, the packet arrives when it is smaller
    assert icmp.read(bytes((kind, 4)) + bytes(6) + QUOTED, v6=False) is None


@pytest.mark.parametrize("kind", [2, 128, 129, 134, 135, 136])
def test_what_refuses_nothing_in_ipv6_is_none(kind: int) -> None:
    assert icmp.read(bytes((kind, 0)) + bytes(6) + QUOTED, v6=True) is None


def test_a_redirect() -> None:
    message = bytes((5, 1, 0, 0, 10, 0, 1, 66)) + QUOTED
    assert icmp.read(message, v6=False) == icmp.Redirected(None, "10.0.1.66", QUOTED)
    assert icmp.read(bytes((5, 4)) + message[2:], v6=False) is None


def test_a_redirect_of_ipv6() -> None:
    gateway, endpoint = "fe800000000000000000000000000066", "fd000ec2000000000000000000000254"
    packet = b"\x60" + bytes(47)
    message = bytes.fromhex(f"89 00 0000 00000000 {gateway} {endpoint} 02 01 020000006601 04 07 000000000000")
    found = icmp.read(message + packet, v6=True)
    assert found == icmp.Redirected("fd00:ec2::254", "fe80::66", packet)
    assert icmp.read(message[:40], v6=True) == icmp.Redirected("fd00:ec2::254", "fe80::66", b"")


def test_the_other_family_is_not_read() -> None:
    assert icmp.read(bytes((5, 1, 0, 0, 10, 0, 1, 66)) + QUOTED, v6=True) is None
    assert icmp.read(bytes((137, 0)) + bytes(60), v6=False) is None


@given(st.binary(max_size=128), st.booleans())
def test_any_octets_are_read(octets: bytes, v6: bool) -> None:
    icmp.read(octets, v6=v6)
