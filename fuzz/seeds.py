"""Makes the seeds of the fuzzer anew, in corpus/READER/: `seeds.py`. They come from tests/captures.

Small, few, and each with something that the others do not have. The same octets every time.
"""

from __future__ import annotations

import base64
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "captures"))

import derive_carriers  # noqa: E402
import derive_claims  # noqa: E402
import derive_containers  # noqa: E402
import derive_streams  # noqa: E402
import packets  # noqa: E402
from readers import LINKTYPES, MAGICS  # noqa: E402

FAMOUS = (
    "split-2",
    "overlap-innocent-first",
    "reset-out-of-window",
    "used-through-connect",
    "dns-instance-data",
)
HEADER_TOKEN = "X-aws-ec2-metadata-token: FAKE-TOKEN-NOT-REAL"


def pieces(*parts: tuple[int, bytes]) -> bytes:
    """Put octets together as `readers.pieces` takes them apart."""
    return b"".join(struct.pack("!BH", choice, len(octets)) + octets for choice, octets in parts)


def ethernet(frames: Sequence[bytes]) -> bytes:
    """Return Ethernet frames as pieces."""
    return pieces(*((0, frame) for frame in frames))


def captures() -> Iterator[tuple[str, bytes]]:
    """Containers of two frames."""
    two = packets.timed(dict(derive_claims.captures())["arp-reply"])
    for name, data in derive_containers.captures(two):
        if name.startswith("container") and name.endswith(("pcap", "pcapng")):
            yield name, chosen(data)
    small = packets.pcap(two)
    yield "damaged.pcap", chosen(small + bytes(range(64, 104)) + small[24:])


def chosen(data: bytes) -> bytes:
    """Put an octet of choice in the place of the first four."""
    return bytes((MAGICS.index(data[:4]),)) + data[4:]


def carried() -> Iterator[tuple[str, bytes]]:
    """One SYN in every envelope, and connections."""
    talk = packets.Talk().open()
    frame = talk.frames[0]
    for name, envelope in derive_carriers.IN_ETHERNET.items():
        yield name, ethernet([envelope(frame)])
    for name, link, octets in (
        ("sll", 113, derive_carriers.sll(frame)),
        ("sll2", 276, derive_carriers.sll2(frame)),
        ("raw", 101, frame[14:]),
        ("null", 0, struct.pack("<I", 2) + frame[14:]),
    ):
        yield name, pieces((LINKTYPES.index(link), octets))
    asked = derive_streams.asked().frames
    yield "fragments", ethernet([one for f in asked[3:5] for one in derive_carriers.fragments(f, 64, 7)])
    six = packets.inet(asked[0][34:], 6, packets.VICTIM6, packets.ENDPOINT6, at=16)
    v6 = packets.ether(six)
    yield "fragments-ipv6", ethernet(derive_carriers.fragments(v6, 8, 7, (-1,)))
    yield "extensions", ethernet([derive_carriers.extended(v6)])
    yield from dialogues(("split-2", "overlap-innocent-first", "sequence-wraps", "out-of-order"))


def dialogues(names: Sequence[str] = FAMOUS) -> Iterator[tuple[str, bytes]]:
    """Whole derived captures, as frames."""
    found = dict(derive_streams.captures()) | dict(derive_claims.captures())
    for name in names:
        yield name, ethernet(found[name])


def conversations() -> Iterator[tuple[str, bytes]]:
    """HTTP, by direction."""
    get, answer = packets.request(packets.ROLE, HEADER_TOKEN), packets.response(packets.CREDENTIALS)
    yield "one", pieces((0, get), (1, answer))
    yield "pipelined", pieces((0, get + get), (1, answer + answer))
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n"
    yield "chunked", pieces((0, get), (1, chunked))
    yield "close", pieces((0, get), (1, b"HTTP/1.0 200 OK\r\n\r\n" + packets.CREDENTIALS.encode()))
    gap = b"x" * 20
    yield (
        "gap",
        pieces((0, get[:30]), (0x80, gap), (0, get[51:]), (1, answer[:60]), (0x81, gap), (1, answer[81:])),
    )
    put = (
        packets.request("/latest/api/token", "Content-Length: 3", "Expect: 100-continue", method="PUT")
        + b"abc"
    )
    yield "continue", pieces((0, put), (1, b"HTTP/1.1 100 Continue\r\n\r\n" + packets.response("t")))
    connect = b"CONNECT sts.amazonaws.com:443 HTTP/1.1\r\n\r\n"
    yield "tunnel", pieces((0, connect), (1, b"HTTP/1.1 200 OK\r\n\r\n"), (0, b"\x16\x03\x01"))
    yield (
        "folded",
        pieces((0, b"\r\nGET http://a/b HTTP/1.1\nHost: a\n X: y\r\nA:\r\n b\r\n\r\n"), (1, answer)),
    )


def leases() -> Iterator[tuple[str, bytes]]:
    """DHCP messages."""
    for name, frames in derive_claims.leases():
        yield name, frames[0][42:]


def segment() -> Iterator[tuple[str, bytes]]:
    """ICMPv6, ICMP and ARP messages."""
    for name, frames in (*derive_claims.neighbours(), *derive_claims.errors()):
        frame = frames[-1]
        yield name, frame[54:] if frame[12:14] == b"\x86\xdd" else frame[34:]
    for name, frames in derive_claims.arps():
        yield name, frames[-1][14:]


def lookups() -> Iterator[tuple[str, bytes]]:
    """DNS messages; one as TCP carries it."""
    for name, frames in derive_streams.names():
        yield name, frames[-1][42:]
    message = derive_streams.dns("a.example.net", 5, b"\x04host\xc0\x0c")
    yield "alias", message
    yield "stream", struct.pack("!H", len(message)) + message + b"\0\x40"


def hellos() -> Iterator[tuple[str, bytes]]:
    """ClientHello, whole, cut, and in two records."""
    whole = derive_streams.hello("sts.amazonaws.com")
    yield "whole", whole
    yield "cut", whole[:-10]
    cut = 40
    records = (whole[5:cut], whole[cut:])
    yield "records", b"".join(b"\x16\x03\x01" + struct.pack("!H", len(one)) + one for one in records)


def bodies() -> Iterator[tuple[str, bytes]]:
    """Documents after the path that was asked."""
    role = packets.ROLE.encode()
    yield "credentials", role + b"\n" + packets.CREDENTIALS.encode()
    yield (
        "extended",
        role + b"\n" + packets.CREDENTIALS.replace('"Code"', '"AccountId": "123456789012", "Code"').encode(),
    )
    yield "refusal", role + b'\n{"Code": "AssumeRoleUnauthorizedAccess", "Message": "no"}'
    yield "roles", packets.ROLES.encode() + b"\nfake-role\nother"
    arn = b"arn:aws:iam::123456789012:instance-profile/fake-role"
    yield "info", b'/latest/meta-data/iam/info\n{"Code": "Success", "InstanceProfileArn": "' + arn + b'"}'
    identity = b'{"accountId": "123456789012", "instanceId": "i-0", "region": "us-east-1"}'
    yield "identity", b"/latest/dynamic/instance-identity/document\n" + identity
    yield "token", b"/latest/api/token\nFAKE-TOKEN-NOT-REAL=="
    yield "user-data", b"/2021-03-23/user-data\n#!/bin/sh\n"


def messages() -> Iterator[tuple[str, bytes]]:
    """PKCS#7 messages: AWS's of three years, and one that is cut."""
    folder = HERE.parent / "tests" / "data" / "identity"
    for path in sorted([*folder.glob("*/rsa2048.b64"), *folder.glob("*/pkcs7.b64")]):
        yield path.parent.name, base64.b64decode(b"".join(path.read_bytes().split()))
    yield "lengths", bytes.fromhex("308030840000000100248004020102000000000000")


SEEDS = {
    "capture": captures,
    "packet": carried,
    "http": conversations,
    "dhcp": leases,
    "nd": segment,
    "dns": lookups,
    "tls": hellos,
    "documents": bodies,
    "dialogue": dialogues,
    "ber": messages,
    "signed": messages,
}


def main() -> None:
    """Write all seeds."""
    for reader, seeds in SEEDS.items():
        folder = HERE / "corpus" / reader
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
