"""The server name of a ClientHello: hellos by OpenSSL, hellos made by hand, cut and hostile ones."""

from __future__ import annotations

import ssl
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdswatch.wire.tls import is_client_hello, server_name

NAME = "sts.eu-west-1.amazonaws.com"


def by_openssl(name: str | None, *, alpn: bool = False, old: bool = False) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = name is not None
    if alpn:
        context.set_alpn_protocols(["h2", "http/1.1"])
    if old:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    out = ssl.MemoryBIO()
    engine = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        engine.do_handshake()
    return out.read()


def extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2) + len(body).to_bytes(2) + body


def name_list(*names: tuple[int, bytes]) -> bytes:
    body = b"".join(bytes([kind]) + len(name).to_bytes(2) + name for kind, name in names)
    return extension(0, len(body).to_bytes(2) + body)


def hello(*extensions: bytes, session: bytes = b"\x01" * 32, ciphers: bytes = b"\x13\x01\x0a\x0a") -> bytes:
    """Return a ClientHello handshake message (RFC 8446 4.1.2)."""
    body = b"\x03\x03" + b"r" * 32
    body += bytes([len(session)]) + session + len(ciphers).to_bytes(2) + ciphers + b"\x01\x00"
    if extensions:
        joined = b"".join(extensions)
        body += len(joined).to_bytes(2) + joined
    return b"\x01" + len(body).to_bytes(3) + body


def records(message: bytes, *cuts: int) -> bytes:
    parts = [message[a:b] for a, b in zip([0, *cuts], [*cuts, len(message)], strict=True)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in parts)


GREASE = extension(0x0A0A, b"") + extension(0xFAFA, b"\x00")
SNI = name_list((0, NAME.encode()))
ECH = extension(0xFE0D, b"\x00" * 200)
CHANGE_CIPHER = b"\x14\x03\x03\x00\x01\x01"


@pytest.mark.parametrize("alpn", [True, False])
@pytest.mark.parametrize("old", [True, False])
def test_the_name_that_openssl_sends_is_read(alpn: bool, old: bool) -> None:
    octets = by_openssl(NAME, alpn=alpn, old=old)
    assert is_client_hello(octets)
    assert server_name(octets) == NAME
    assert server_name(octets + b"\x17\x03\x03\x00\x05hello") == NAME


def test_a_hello_without_a_name_has_none() -> None:
    assert server_name(by_openssl(None)) is None


CASES = [
    ("plain", records(hello(SNI)), NAME),
    ("after GREASE and others", records(hello(GREASE, extension(16, b"\x00\x03\x02h2"), SNI, GREASE)), NAME),
    (
        "encrypted hello: the outer name",
        records(hello(ECH, name_list((0, b"Outer.Example")))),
        "outer.example",
    ),
    ("no session, no extensions", records(hello(session=b"")), None),
    ("over records", records(hello(GREASE, SNI), 1, 2, 3, 40, 90, 100), NAME),
    ("an empty record between", records(hello(SNI), 5, 5), NAME),
    ("another kind of name first", records(hello(name_list((7, b"x"), (0, b"h.example")))), "h.example"),
    ("only another kind of name", records(hello(name_list((7, b"x")))), None),
    ("an empty name", records(hello(name_list((0, b"")))), None),
    ("an empty list", records(hello(extension(0, b""))), None),
    ("hostile octets", records(hello(name_list((0, b"a\x00\xff\n\\b")))), "a\\x00\\xff\\x0a\\x5cb"),
    ("what comes after is not looked at", records(hello(SNI)) + CHANGE_CIPHER + b"\xff" * 50, NAME),
    ("a server hello", b"\x16\x03\x03\x00\x04\x02\x00\x00\x00", None),
    ("no handshake", b"\x17\x03\x03\x00\x10" + b"x" * 16, None),
    ("HTTP", b"GET / HTTP/1.1\r\n\r\n", None),
    ("nothing", b"", None),
]


@pytest.mark.parametrize(
    ("octets", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_hello_made_by_hand_is_read(octets: bytes, expected: str | None) -> None:
    assert server_name(octets) == expected


@pytest.mark.parametrize(
    ("octets", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_cut_hello_gives_the_name_or_none_never_a_part_of_it(octets: bytes, expected: str | None) -> None:
    found = [server_name(octets[:length]) for length in range(len(octets) + 1)]
    assert set(found) <= {None, expected}
    first = next((length for length, name in enumerate(found) if name), len(octets))
    assert all(name == expected for name in found[first:]), "once there, the name stays"


def test_the_start_of_a_connection_tells_tls() -> None:
    octets = records(hello(SNI))
    assert [is_client_hello(octets[:length]) for length in (0, 5, 6)] == [False, False, True]
    assert not is_client_hello(b"\x16\x03\x03\x00\x04\x02")
    assert not is_client_hello(b"GET / HTTP/1.1")


@given(st.binary(max_size=60), st.integers(0, 250), st.binary(max_size=4))
def test_nothing_makes_it_raise(octets: bytes, place: int, other: bytes) -> None:
    server_name(octets)
    server_name(b"\x16\x03\x01\x00\xff\x01\x00\x00\xf0" + octets)
    good = records(hello(GREASE, SNI, ECH))
    found = server_name(good[:place] + other + good[place + len(other) :])
    assert found is None or found.isascii()


@pytest.mark.parametrize(
    "block", [b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x00\x01\x01", extension(1, b""), b"\x00" * 4]
)
def test_time_is_linear(block: bytes) -> None:
    def cost(count: int) -> float:
        octets = records(hello(SNI))[:80] + block * count
        start = process_time()
        server_name(octets)
        return process_time() - start

    assert cost(40_000) < max(9 * cost(10_000), 0.2)
