"""DHCP replies are read as RFC 2131, 2132, 3396 and 3442 lay them out, from octets written by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdswatch.wire import dhcp
from imdswatch.wire.dhcp import Route

HOST_ROUTE = bytes.fromhex("20 a9fea9fe 0a000142")  # 169.254.169.254/32 by 10.0.1.66


def option(code: int, value: bytes) -> bytes:
    return bytes((code, len(value))) + value


def message(
    *options: bytes,
    op: int = 2,
    ciaddr: str = "00000000",
    yiaddr: str = "0a000105",
    giaddr: str = "00000000",
    sname: bytes = b"",
    file: bytes = b"",
    end: bytes = b"\xff",
) -> bytes:
    head = bytes.fromhex(
        f"{op:02x} 01 06 00 12345678 0000 8000 {ciaddr} {yiaddr} 00000000 {giaddr} 020000000105" + "00" * 10
    )
    return (
        head + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + b"\x63\x82\x53\x63" + b"".join(options) + end
    )


ACK = option(53, b"\x05")
SERVER = option(54, bytes((10, 0, 1, 66)))


def read(*args: bytes, **changes: object) -> dhcp.Dhcp:
    found = dhcp.read(message(*args, **changes))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_reply_with_a_route() -> None:
    assert read(ACK, SERVER, option(121, HOST_ROUTE)) == dhcp.Dhcp(
        reply=True,
        kind="ack",
        transaction=0x12345678,
        client_ip="10.0.1.5",
        client_mac="02:00:00:00:01:05",
        relay=None,
        server="10.0.1.66",
        routes=(Route("169.254.169.254/32", "10.0.1.66"),),
    )


@pytest.mark.parametrize(
    ("octets", "networks"),
    [
        # RFC 3442, "Classless Route Option Format": its own table of encodings
        ("00 0a000101", ["0.0.0.0/0"]),
        ("08 0a 0a000101", ["10.0.0.0/8"]),
        ("18 0a0000 0a000101", ["10.0.0.0/24"]),
        ("10 0a11 0a000101", ["10.17.0.0/16"]),
        ("18 0a1b81 0a000101", ["10.27.129.0/24"]),
        ("19 0a e5 00 80 0a000101", ["10.229.0.128/25"]),
        ("20 0a c6 7a 2f 0a000101", ["10.198.122.47/32"]),
        ("10 a9fe 0a000101 00 0a000101", ["169.254.0.0/16", "0.0.0.0/0"]),
        ("1e a9fea9ff 0a000101", ["169.254.169.252/30"]),  # host bits left in
        ("10 a9fe 0a000101 21 ffffffff ff 0a000101", ["169.254.0.0/16"]),  # a width that cannot be
        ("10 a9fe 0a000101 20 a9fea9fe 0a0001", ["169.254.0.0/16"]),  # cut short
        ("", []),
    ],
)
def test_classless_routes(octets: str, networks: list[str]) -> None:
    value = bytes.fromhex(octets)
    for code in (121, 249):
        assert [route.network for route in read(ACK, option(code, value)).routes] == networks


def test_both_numbers_count_and_the_same_route_once() -> None:
    other = bytes.fromhex("10 a9fe 0a000142")
    found = read(ACK, option(249, HOST_ROUTE + other), option(121, HOST_ROUTE))
    assert [route.network for route in found.routes] == ["169.254.169.254/32", "169.254.0.0/16"]


def test_an_option_in_parts_is_joined() -> None:
    found = read(ACK, option(121, HOST_ROUTE[:3]), option(3, bytes(4)), option(121, HOST_ROUTE[3:]))
    assert found.routes == (Route("169.254.169.254/32", "10.0.1.66"),)


@pytest.mark.parametrize(
    ("overload", "fields"),
    [
        (1, {"file": option(121, HOST_ROUTE) + b"\xff"}),
        (2, {"sname": option(121, HOST_ROUTE) + b"\xff"}),
        (3, {"file": option(121, HOST_ROUTE[:4]), "sname": option(121, HOST_ROUTE[4:])}),
    ],
)
def test_overloaded_fields_hold_options(overload: int, fields: dict[str, bytes]) -> None:
    found = read(option(52, bytes((overload,))), ACK, **fields)
    assert found.routes == (Route("169.254.169.254/32", "10.0.1.66"),)


def test_fields_that_are_not_overloaded_hold_none() -> None:
    assert read(ACK, file=option(121, HOST_ROUTE), sname=option(121, HOST_ROUTE)).routes == ()


def test_routes_by_class_count_where_no_others_are() -> None:
    by_class = bytes.fromhex("a9fea9fe 0a000142 c0a80700 0a000101")
    assert [route.network for route in read(ACK, option(33, by_class)).routes] == [
        "169.254.169.254/32",
        "192.168.7.0/24",
    ]
    assert [r.network for r in read(ACK, option(33, by_class), option(121, bytes(5))).routes] == ["0.0.0.0/0"]


def test_who_is_who_behind_a_relay() -> None:
    found = read(ACK, SERVER, giaddr="0a000201", yiaddr="00000000", ciaddr="0a000207")
    assert (found.relay, found.server, found.client_ip) == ("10.0.2.1", "10.0.1.66", "10.0.2.7")


def test_a_request_is_no_reply() -> None:
    assert not read(option(53, b"\x03"), op=1).reply


def test_padding_and_a_missing_end() -> None:
    found = read(b"\0\0", ACK, b"\0", option(121, HOST_ROUTE), end=b"")
    assert (found.kind, len(found.routes)) == ("ack", 1)


def test_a_last_option_cut_short_is_read_as_far_as_it_goes() -> None:
    whole = message(ACK, option(121, HOST_ROUTE + bytes.fromhex("10a9fe0a000142")), end=b"")
    found = dhcp.read(whole[:-2])
    assert found is not None
    assert [route.network for route in found.routes] == ["169.254.169.254/32"]


def test_other_octets_are_none() -> None:
    whole = message(ACK)
    assert dhcp.read(whole[:239]) is None
    assert dhcp.read(whole.replace(b"\x63\x82\x53\x63", b"\x63\x82\x53\x64")) is None
    assert dhcp.read(b"\x03" + whole[1:]) is None


@given(st.binary(max_size=400))
def test_any_options_are_read(octets: bytes) -> None:
    dhcp.read(message(octets, end=b""))


@given(st.binary(max_size=320))
def test_any_octets_are_read(octets: bytes) -> None:
    dhcp.read(octets)
