"""What is fuzzed: one function for each reader of octets that somebody else may have written.

A function takes any octets, gives them to its reader and asserts what must hold of the answer: nothing is raised, the
answer does not depend on how octets were cut, no secret is in it, what is kept is bounded. Each is deterministic.
How octets stand for several packets or segments is said at `pieces`, so that a fuzzer can learn it and seeds can be
made (`seeds.py`). tests/test_fuzz_regressions.py calls the same functions without a fuzzer.
"""

from __future__ import annotations

import base64
import contextlib
import io
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

from imdswatch import documents
from imdswatch.probe import ber, certificates, identity
from imdswatch.read.captures import packets_of
from imdswatch.read.dialogues import Dialogues
from imdswatch.read.packets import LONGEST, Packets
from imdswatch.read.reader import Budget
from imdswatch.read.streams import Stream
from imdswatch.wire import arp, dhcp, dns, icmp, nd, tls
from imdswatch.wire.frame import Frame
from imdswatch.wire.http1 import Conversation, Exchange
from imdswatch.wire.packet import Fragments, decode, flush
from imdswatch.wire.tcp import Data, Gap, Tcp

LINKTYPES = (1, 113, 276, 101, 0, 108, 9, 228, 229, 105, 12, 127)
MAGICS = tuple(
    bytes.fromhex(text)
    for text in ("d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d", "34cdb2a1", "a1b2cd34", "0a0d0d0a")
)
"""pcap in its six forms, and pcapng: nothing else is ever given to this reader."""
_GAP, _CUTS = 0x80, 8
_TOKEN = b"FAKE-TOKEN-NOT-REAL"
_SECRET = re.compile(rb'"(?:SecretAccessKey|Token)"\s*:\s*"(FAKE[!#-\[\]-~]{12,})"')

_VECTOR = Path(__file__).parent.parent / "tests" / "data" / "identity" / "npm-2026-apse2"
DOCUMENT = (_VECTOR / "document.json").read_bytes()
MESSAGE = base64.b64decode(b"".join((_VECTOR / "rsa2048.b64").read_bytes().split()))
"""A document that AWS signed, and its rsa2048."""


def pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield octets as pieces: one octet of choice, two of length (big-endian), then so many; the last may be short."""
    at = 0
    while at + 3 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 3])
        yield data[at], data[at + 3 : at + 3 + size]
        at += 3 + size


def frames(data: bytes) -> Iterator[Frame]:
    """Yield pieces as frames: the choice is the link type (low four bits) and how much was cut off (high four)."""
    for number, (choice, octets) in enumerate(pieces(data), 1):
        link = LINKTYPES[(choice & 15) % len(LINKTYPES)]
        yield Frame(number, number / 100, octets, len(octets) + (choice >> 4) * 7, link)


def _captured(data: bytes, size: int) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    stream = Stream("fuzz", io.BytesIO(data), 0.0, Budget(), capture=True)
    for part in packets_of(stream, size=size):
        if isinstance(part, Packets):
            for index in range(len(part)):
                frame = part.frame(index)
                found.append((frame.number, frame.data))
        else:
            word, number = part.position.split(" ")
            assert word == "byte", part
            assert 0 <= int(number) <= len(data), part
            assert part.reason
    return found


def capture(data: bytes) -> None:
    """Containers: the first octet chooses one of `MAGICS`, which stands for the first four of the file."""
    data = MAGICS[data[0] % len(MAGICS)] + data[1:] if data else b""
    if len(data) < 4:
        return
    found = _captured(data, 2 * LONGEST)
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    assert all(octets in data for _, octets in found)


def packet(data: bytes) -> None:
    """Link layers, tunnels, IP, fragments, TCP."""
    fragments, tcp = Fragments(1 << 16), Tcp(connections=8, octets=1 << 16)
    given = 0
    for frame in frames(data):
        given += len(frame.data)
        for one in decode(frame, fragments):
            assert len(one.payload) <= given
            if one.kind == "tcp":
                _streams(tcp.push(one))
    for one in flush(fragments):
        if one.kind == "tcp":
            _streams(tcp.push(one))
    _streams(tcp.end())


def _streams(events: list[Any]) -> None:
    for event in events:
        if isinstance(event, Data):
            assert event.octets
            assert event.direction in (0, 1)
        elif isinstance(event, Gap):
            assert event.length > 0


def dialogue(data: bytes) -> None:
    """From frames to events: everything together."""
    dialogues = Dialogues()
    for frame in frames(data):
        for seen in dialogues.push(frame):
            assert 1 <= seen.number <= frame.number
    dialogues.end()


def _conversation(parts: Iterable[tuple[int, bytes]]) -> list[Exchange]:
    talk = Conversation(from_start=True)
    told: list[Exchange] = []
    for choice, octets in parts:
        side = choice & 1
        told += talk.gap(side, len(octets) + 1) if choice & _GAP else talk.feed(side, octets, None)
    return told + talk.close()


def _joined(parts: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield the parts in the fewest segments: those of one direction that follow each other are one."""
    for choice, group in groupby(parts, lambda part: part[0] & (_GAP | 1)):
        together = list(group)
        yield from together if choice & _GAP else [(choice, b"".join(octets for _, octets in together))]


def _cut(parts: list[tuple[int, bytes]], seed: int) -> Iterator[tuple[int, bytes]]:
    """Yield the parts cut in up to `_CUTS` places more that the seed chooses; for one seed in 256, between all octets.

    Few, because every segment costs; the fuzzer comes by so often that any place gets its turn.
    """
    end = sum(len(octets) for _, octets in parts)
    single = seed % 256 == 0
    places = () if single else sorted({crc32(b"%d" % number, seed) % (end + 1) for number in range(_CUTS)})
    begin = 0
    for choice, octets in parts:
        if choice & _GAP:
            yield choice, octets
        elif single:
            yield from ((choice, octets[at : at + 1]) for at in range(len(octets)))
        else:
            inside = [place - begin for place in places if begin < place < begin + len(octets)]
            for first, last in pairwise((0, *inside, len(octets))):
                yield choice, octets[first:last]
        begin += len(octets)


def http(data: bytes) -> None:
    """HTTP/1 of both directions: bit 0 of the choice is the direction, bit 7 a gap of so many octets."""
    parts = list(pieces(data))
    whole = _conversation(_joined(parts))
    assert whole == _conversation(_cut(parts, crc32(data)))
    if _TOKEN not in data:
        return
    sent = b"\0".join(_sent(parts, side) for side in (0, 1))
    if sent.count(_TOKEN) == sent.count(b"\nX-aws-ec2-metadata-token: %b\r\n" % _TOKEN):
        shown = map(repr, whole)
        assert all(_TOKEN.decode() not in one for one in shown if "X-aws-ec2-metadata-token" in one)


def _sent(parts: list[tuple[int, bytes]], side: int) -> bytes:
    """Return what one side sent, with an octet that no header holds in place of each gap."""
    return b"".join(b"\0" if choice & _GAP else octets for choice, octets in parts if choice & 1 == side)


def dhcp_reply(data: bytes) -> None:
    """DHCP: options 121 and 249, wherever they hide."""
    dhcp.read(data)


def neighbour(data: bytes) -> None:
    """ICMPv6 neighbour discovery and router advertisements, ICMP errors and redirects, ARP."""
    nd.read(data)
    nd.redirect(data)
    for v6 in (False, True):
        icmp.read(data, v6=v6)
    arp.read(data)


def lookup(data: bytes) -> None:
    """DNS over UDP, and over TCP."""
    dns.read(data)
    for message in dns.messages(data):
        assert message in data
        dns.read(message)


def hello(data: bytes) -> None:
    """TLS: the server name of a ClientHello, also one that is cut."""
    name = tls.server_name(data)
    tls.is_client_hello(data[:6])
    assert name is None or name.isprintable()


def document(data: bytes) -> None:
    """Bodies of the metadata service: the first line is the path that was asked; all is there if the length is even."""
    path, _, body = data.partition(b"\n")
    found = documents.read(path.decode("latin-1"), body, whole=len(data) % 2 == 0)
    secrets = _SECRET.findall(body)
    shown = repr(found).encode() if secrets else b""
    assert all(body.count(one) > 1 or one in path or one not in shown for one in secrets)


def ber_value(data: bytes) -> None:
    """BER values: what is read says every octet of the message, so writing it again gives the message."""
    try:
        value = ber.read(data)
    except ber.Malformed:
        return
    assert _written(value) == data
    for read in (ber.octet_string, ber.integer):
        with contextlib.suppress(ber.Malformed):
            read(value)


def _written(value: ber.Value) -> bytes:
    body = b"".join(map(_written, value.inner)) if value.tag & 0x20 else value.octets
    if not value.closed:
        return bytes([value.tag, 0x80]) + body + b"\0\0"
    if len(body) < 0x80:
        return bytes([value.tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8)
    return bytes([value.tag, 0x80 | len(length)]) + length + body


def signed(data: bytes) -> None:
    """PKCS#7 messages of an instance identity document: none but the genuine one verifies."""
    try:
        value = ber.read(data)
    except ber.Malformed:
        return
    assert value.end == len(data)
    result = identity.verify("rsa2048", DOCUMENT, base64.b64encode(data), certificates.bundle())
    assert (result.flaw is None) == (data == MESSAGE), result


READERS: dict[str, Callable[[bytes], None]] = {
    "capture": capture,
    "packet": packet,
    "http": http,
    "dhcp": dhcp_reply,
    "nd": neighbour,
    "dns": lookup,
    "tls": hello,
    "documents": document,
    "dialogue": dialogue,
    "ber": ber_value,
    "signed": signed,
}
