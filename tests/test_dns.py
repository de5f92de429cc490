"""DNS messages: each made by hand after RFC 1035, whole, cut, compressed, hostile."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imdswatch.wire.dns import MAX_RECORDS, Dns, messages, read

A, CNAME, PTR, TXT, AAAA, OPT = 1, 5, 12, 16, 28, 41


def name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\x00"


def question(text: str | bytes, kind: int = A, group: int = 1) -> bytes:
    return (text if isinstance(text, bytes) else name(text)) + kind.to_bytes(2) + group.to_bytes(2)


def record(owner: str | bytes, kind: int, data: bytes, group: int = 1) -> bytes:
    encoded = owner if isinstance(owner, bytes) else name(owner)
    return encoded + kind.to_bytes(2) + group.to_bytes(2) + b"\x00\x00\x00\x3c" + len(data).to_bytes(2) + data


def message(
    questions: list[bytes],
    answers: Sequence[bytes] = (),
    *,
    flags: int = 0x0100,
    more: bytes = b"",
    extra: int = 0,
) -> bytes:
    counts = b"".join(number.to_bytes(2) for number in (len(questions), len(answers), 0, extra))
    return b"\x12\x34" + flags.to_bytes(2) + counts + b"".join([*questions, *answers]) + more


ANSWER = 0x8180
EDNS = b"\x00" + OPT.to_bytes(2) + b"\x10\x00" + b"\x00" * 4 + b"\x00\x0c" + b"\x00\x0a\x00\x08cookie!!"
V4 = IPv4Address("169.254.169.254").packed
V6 = IPv6Address("fd00:ec2::254").packed
BACK = b"\xc0\x0c"  # to the first question's name

CASES = [
    (
        "a query",
        message([question("instance-data.ec2.internal")]),
        Dns(0x1234, False, 0, ("instance-data.ec2.internal",)),
    ),
    (
        "a query with EDNS and mixed case",
        message([question("InStAnCe-dAtA.eC2.Internal", AAAA)], more=EDNS, extra=1),
        Dns(0x1234, False, 0, ("instance-data.ec2.internal",)),
    ),
    (
        "an answer",
        message([question("h.example")], [record(BACK, A, V4), record("H.example", AAAA, V6)], flags=ANSWER),
        Dns(0x1234, True, 0, ("h.example",), ("169.254.169.254", "fd00:ec2::254"), ("h.example", "h.example")),
    ),
    (
        "an alias, and others passed over",
        message(
            [question("h.example")],
            [
                record(BACK, CNAME, b"\x04real" + b"\xc0\x0e"),
                record(b"\xc0\x27", TXT, b"\x03abc"),
                record(b"\xc0\x27", A, V4),
            ],
            flags=ANSWER,
            more=EDNS,
            extra=1,
        ),
        Dns(0x1234, True, 0, ("h.example",), ("real.example", "169.254.169.254"), ("h.example", "real.example")),
    ),
    (
        "a pointer record",
        message(
            [question("254.169.254.169.in-addr.arpa", PTR)],
            [record(BACK, PTR, name("rogue.example"))],
            flags=ANSWER,
        ),
        Dns(0x1234, True, 0, ("254.169.254.169.in-addr.arpa",), ("rogue.example",), ("254.169.254.169.in-addr.arpa",)),
    ),
    (
        "an IPv4 address inside IPv6",
        message([question("h")], [record(BACK, AAAA, IPv6Address("::ffff:169.254.169.254").packed)], flags=ANSWER),
        Dns(0x1234, True, 0, ("h",), ("169.254.169.254",), ("h",)),
    ),
    ("no such name", message([question("h.example")], flags=0x8183), Dns(0x1234, True, 3, ("h.example",))),
    ("truncated by the server", message([question("h")], flags=0x8380), Dns(0x1234, True, 0, ("h",), complete=False)),
    ("the root", message([question(".", 2)]), Dns(0x1234, False, 0, ("",))),
    (
        "mDNS: two questions, unicast wanted",
        message([question("a.local", A, 0x8001), question("_x._tcp.local", PTR, 0x8001)], flags=0),
        Dns(0x1234, False, 0, ("a.local", "_x._tcp.local")),
    ),
    (
        "mDNS: an answer without question, cache flush",
        message([], [record("a.local", A, V4, 0x8001)], flags=0x8400),
        Dns(0x1234, True, 0, (), ("169.254.169.254",), ("a.local",)),
    ),
    (
        "hostile octets in labels",
        message([question(b"\x06a.b\\\x00\xff\x02c \x00")]),
        Dns(0x1234, False, 0, ("a\\046b\\092\\000\\255.c\\032",)),
    ),
    (
        "another class says nothing",
        message([question("h", A, 3)], [record(BACK, A, V4, 3)], flags=ANSWER),
        Dns(0x1234, True, 0, ("h",)),
    ),
    (
        "an address of a wrong length says nothing",
        message([question("h")], [record(BACK, A, b"\x01" * 5), record(BACK, AAAA, V4)], flags=ANSWER),
        Dns(0x1234, True, 0, ("h",)),
    ),
    (
        "more answers counted than there are",
        message([question("h")], [record(BACK, A, V4)], flags=ANSWER)
        .replace(b"\x00\x01\x00\x01\x00\x00", b"\x00\x01\x00\x09\x00\x00", 1),
        Dns(0x1234, True, 0, ("h",), ("169.254.169.254",), ("h",), complete=False),
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("octets", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_message_is_read(octets: bytes, expected: Dns) -> None:
    assert read(octets) == expected
    assert read(octets + b"trailing") is not None


@pytest.mark.parametrize(
    ("octets", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_cut_message_tells_what_stands_whole(octets: bytes, expected: Dns) -> None:
    for length in range(len(octets)):
        found = read(octets[:length])
        if found is not None:
            assert found.queries == expected.queries
            assert found.answers == expected.answers[: len(found.answers)]
            assert found.names == expected.names[: len(found.names)]
            assert found.answers == expected.answers or not found.complete


def test_the_compression_example_of_rfc_1035() -> None:
    # 4.1.4: F.ISI.ARPA at 20, FOO.F.ISI.ARPA at 40, ARPA at 64, the root at 92; here as four questions
    octets = bytearray(b"\x00\x01\x01\x00\x00\x04\x00\x00\x00\x00\x00\x00")
    names = []
    for text in (b"\x01F\x03ISI\x04ARPA\x00", b"\x03FOO\xc0\x0c", b"\xc0\x12", b"\x00"):
        octets += text + b"\x00\x01\x00\x01"
        names.append(text)
    found = read(bytes(octets))
    assert found is not None
    assert found.queries == ("f.isi.arpa", "foo.f.isi.arpa", "arpa", "")


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x00" * 11,
        b"\x00" * 12,  # nothing asked, nothing answered
        message([question(b"\xc0\x0c")]),  # a name that points at itself
        message([question(b"\x01a\xc0\x0c")]),  # a loop
        message([question(b"\xc0\x0e\x00")]),  # forward
        message([question(b"\xc0\xff")]),  # outside
        message([question(b"\x41a\x00")]),  # a reserved kind of label
        message([question(b"\x3fa\x00")]),  # a label longer than the message
        message([question(b"".join(b"\x3f" + b"a" * 63 for _ in range(4)) + b"\x00")]),  # 256 octets
        message([question("h")], flags=0x2800),  # an update, not a query
        message([question("h")])[:-1],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 40,
    ],
)
def test_what_is_no_lookup_is_none(octets: bytes) -> None:
    assert read(octets) is None


def test_the_name_a_message_is_about() -> None:
    query = read(message([question("a"), question("b")]))
    answer = read(message([], [record("c.local", A, V4)], flags=ANSWER))
    assert (query and query.query, answer and answer.query) == ("a", "c.local")


def test_messages_over_tcp_have_a_length_before_them() -> None:
    octets = [case[1] for case in CASES[:3]]
    stream = b"".join(len(part).to_bytes(2) + part for part in octets)
    assert list(messages(stream)) == octets
    assert list(messages(stream[:-3])) == [*octets[:2], octets[2][:-3]]
    assert list(messages(stream[: len(octets[0]) + 2])) == octets[:1]
    for short in (b"", b"\x00", b"\x00\x05", b"\x00\x00"):
        assert list(messages(short)) == []
    assert list(messages(b"\x00\x00\x00\x01x")) == [b"", b"x"]


LABELS = st.lists(st.text("abcXYZ019-_", min_size=1, max_size=10), min_size=1, max_size=5).map(".".join)


@given(
    LABELS,
    st.lists(
        st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6).filter(lambda a: not a.ipv4_mapped)), max_size=5
    ),
)
def test_every_name_and_address_comes_back(asked: str, addresses: list[IPv4Address | IPv6Address]) -> None:
    answers = [record(BACK, A if address.version == 4 else AAAA, address.packed) for address in addresses]
    found = read(message([question(asked)], answers, flags=ANSWER))
    assert found is not None
    assert found.query == asked.lower()
    assert found.answers == tuple(str(address) for address in addresses)


@given(st.binary(max_size=80), st.integers(0, 120), st.binary(max_size=4))
def test_nothing_makes_it_raise(octets: bytes, place: int, other: bytes) -> None:
    list(messages(octets))
    good = CASES[3][1]
    for candidate in (octets, good[:12] + octets, good[:place] + other + good[place + len(other) :]):
        found = read(candidate)
        if found is not None:
            repr(found).encode("ascii")
            assert len(found.answers) <= MAX_RECORDS


def test_hostile_compression_costs_little() -> None:
    # 126 labels of one octet, and then records that all point at the first of them
    long = b"\x01a" * 126 + b"\x00"
    answers = [record(BACK, PTR, BACK) for _ in range(5000)]
    octets = message([question(long)], answers, flags=ANSWER)
    start = process_time()
    found = read(octets)
    assert process_time() - start < 2
    assert found is not None
    assert (len(found.answers), found.complete) == (MAX_RECORDS, False)
