"""Neighbour discovery is read as RFC 4861 and RFC 4191 lay it out, from octets written by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdswatch.wire import nd

ENDPOINT = "fd000ec2000000000000000000000254"
MAC = "020000006601"
ADVERTISEMENT = bytes.fromhex(f"88 00 0000 60000000 {ENDPOINT} 02 01 {MAC}")
SOLICITATION = bytes.fromhex(f"87 00 0000 00000000 {ENDPOINT} 01 01 {MAC}")


def router(*options: str, lifetime: int = 1800) -> bytes:
    return bytes.fromhex(f"86 00 0000 40 00 {lifetime:04x} 00000000 00000000" + "".join(options))


def prefix(network: str, length: int, valid: int = 86400, flags: int = 0xC0) -> str:
    return f"0304{length:02x}{flags:02x}{valid:08x}0000384000000000{network}"


def route(network: str, length: int, units: int, lifetime: int = 1800) -> str:
    return f"18{units:02x}{length:02x}00{lifetime:08x}{network}"


def test_an_advertisement_names_target_and_mac() -> None:
    assert nd.read(ADVERTISEMENT) == nd.Neighbour(
        advertisement=True, target="fd00:ec2::254", mac="02:00:00:00:66:01", solicited=True, override=True
    )


def test_a_solicitation_names_whom_it_looks_for_and_who_asks() -> None:
    assert nd.read(SOLICITATION) == nd.Neighbour(False, "fd00:ec2::254", "02:00:00:00:66:01")


def test_the_source_option_is_not_the_targets() -> None:
    found = nd.read(ADVERTISEMENT[:24] + bytes.fromhex(f"0101{MAC}"))
    assert isinstance(found, nd.Neighbour)
    assert found.mac is None


def test_a_router_announces_prefixes_and_routes() -> None:
    message = router(
        f"0101{MAC}",
        prefix("fd000ec2000000000000000000000000", 64),
        route("fd000ec200000000", 32, 2),
        route(ENDPOINT, 128, 3),
        route("", 0, 1),
        "0501000000000578",  # MTU
    )
    assert nd.read(message) == nd.Router(
        1800, ("fd00:ec2::/64", "fd00:ec2::/32", "fd00:ec2::254/128", "::/0"), "02:00:00:00:66:01"
    )


def test_host_bits_are_cut_off() -> None:
    found = nd.read(router(prefix(ENDPOINT, 64)))
    assert isinstance(found, nd.Router)
    assert found.networks == ("fd00:ec2::/64",)


@pytest.mark.parametrize(
    "option",
    [
        prefix("fd000ec2000000000000000000000000", 64, valid=0),
        route("fd000ec200000000", 64, 2, lifetime=0),
        prefix("fd000ec2000000000000000000000000", 129),
        route("fd000ec200000000", 65, 2),  # longer than its octets say
    ],
    ids=["withdrawn prefix", "withdrawn route", "no such length", "octets missing"],
)
def test_what_offers_nothing_is_left_out(option: str) -> None:
    found = nd.read(router(option))
    assert isinstance(found, nd.Router)
    assert found.networks == ()


def test_options_before_a_damaged_one_are_kept() -> None:
    good = prefix("fd000ec2000000000000000000000000", 64)
    for damage in ("0300", "0304", "03"):
        found = nd.read(router(good, damage))
        assert isinstance(found, nd.Router)
        assert found.networks == ("fd00:ec2::/64",)


def test_a_redirect_names_destination_and_next_hop() -> None:
    gateway = "fe800000000000000000000000000066"
    message = bytes.fromhex(f"89 00 0000 00000000 {gateway} {ENDPOINT}")
    assert nd.redirect(message) == ("fd00:ec2::254", "fe80::66")
    assert nd.redirect(message[:-1]) is None
    assert nd.redirect(ADVERTISEMENT) is None


@pytest.mark.parametrize("message", [ADVERTISEMENT[:23], SOLICITATION[:23], router()[:15], b"", b"\x88"])
def test_a_cut_message_is_none(message: bytes) -> None:
    assert nd.read(message) is None


def test_another_type_or_code_is_none() -> None:
    assert nd.read(b"\x80" + ADVERTISEMENT[1:]) is None
    assert nd.read(ADVERTISEMENT[:1] + b"\x01" + ADVERTISEMENT[2:]) is None


@given(st.sampled_from([133, 134, 135, 136, 137]), st.binary(max_size=256))
def test_any_octets_are_read(kind: int, rest: bytes) -> None:
    nd.read(bytes((kind, 0)) + rest)
    nd.redirect(bytes((kind, 0)) + rest)
