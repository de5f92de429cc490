"""`make_capture` writes the capture of the benchmark: seeded, so that everyone measures the same bytes.

What a span port of an office sees: TLS and other bulk transfers in packets of 60 to 1514 octets, plain HTTP with
responses that are packed, DNS, QUIC, SSH. One packet in `EVERY` begins an incident, each of another victim, in many
shapes: unanswered, answered over IPv4 and IPv6, through a proxy, behind a DNAT with the request in two segments, by
name. Beside the file lies `<name>.truth.json`: the victims, and how far each incident went.

Guarantees: the same seed and number of packets give the same bytes; a file that is there already with the same recipe
is not written again; memory stays below 200 MB; 600 MB take seconds. Nothing here is real: addresses are private or
reserved for documentation, keys are visibly fake.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path

RECIPE = 2
SEED = 20251008
EVERY = 10_000
PACKETS = 800_000
START = 1_795_309_301
_VARIANTS = 8
_MSS = 1448
_V4, _V6 = bytes([169, 254, 169, 254]), bytes.fromhex("fd000ec2000000000000000000000254")
_GATEWAY, _IMPOSTOR = bytes.fromhex("020000000001"), bytes.fromhex("02000000beef")
_DOCUMENT = (
    b'{"Code":"Success","LastUpdated":"2026-11-22T01:00:00Z","Type":"AWS-HMAC","AccessKeyId":"ASIAFAKEFAKEFAKEFAKE",'
    b'"SecretAccessKey":"fake","Token":"fake","Expiration":"2026-11-22T07:00:00Z"}'
)
_ROLE = b"/latest/meta-data/iam/security-credentials/role"

Hit = tuple[str, str, list[int]]
"""The victim of an incident, how far it went, and the numbers of its packets."""


def make_capture(path: Path, packets: int = PACKETS) -> Path:
    """Write a capture of so many packets, and its truth."""
    note = _note(path)
    recipe = {"recipe": RECIPE, "seed": SEED, "packets": packets}
    if path.exists() and note.exists():
        known = json.loads(note.read_text())
        if known["recipe"] == recipe and known["bytes"] == path.stat().st_size:
            return path
    hits: list[Hit] = []
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for octets, hit in _blocks(packets // EVERY):
            out.write(octets)
            hits.append(hit)
    note.write_text(json.dumps({"recipe": recipe, "bytes": path.stat().st_size, "hits": hits}))
    return path


def found(path: Path, findings: Path) -> tuple[int, int, bool]:
    """Return how many findings there are and how many were planted, and whether they are the same.

    Victim and stage must be equal, the evidence one of the packets of the incident, and nothing skipped.
    """
    planted = {(hit[0], hit[1]): hit[2] for hit in json.loads(_note(path).read_text())["hits"]}
    count, right = 0, True
    with findings.open("rb") as source:
        for document in map(json.loads, source):
            right = right and document["type"] != "skipped"
            if document["type"] == "finding":
                count += 1
                packets = planted.get((document["victim"]["ip"], document["stage"]), [])
                shown = [int(one["position"].removeprefix("packet ")) for one in document["evidence"]]
                right = right and bool(shown) and set(shown) <= set(packets)
    return count, len(planted), right and count == len(planted)


def dialogue(victim: bytes) -> Iterator[bytes]:
    """Yield the frames of one dialogue, up to the one that serves credentials."""
    tcp = _Tcp(victim, 40_000, _V4, 80, _IMPOSTOR)
    yield from tcp.opened()
    yield from tcp.sent(0, b"GET " + _ROLE + b" HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(_DOCUMENT)
    yield from tcp.sent(1, head + _DOCUMENT)


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".truth.json")


def _blocks(count: int) -> Iterator[tuple[bytes, Hit]]:
    chance = random.Random(SEED)
    pool = chance.randbytes(1 << 20)
    templates = [_benign(chance, pool) for _ in range(min(_VARIANTS, count))]
    for number in range(count):
        frames = list(templates[number] if number < len(templates) else chance.choice(templates))
        incident, victim, stage = _incident(number)
        place = chance.randrange(EVERY // 4)
        places = range(place, place + 7 * len(incident), 7)
        for index, frame in zip(places, incident, strict=True):
            frames[index] = frame
        out = bytearray()
        subnet = number % 250 + 1
        for index, frame in enumerate(frames):
            when = number * EVERY + index
            out += struct.pack("<IIII", START + when // 10_000, when % 10_000 * 100, len(frame), len(frame))
            at = len(out)
            out += frame
            if frame[12:14] == b"\x08\x00":  # another client in every block, so that flows begin and end
                for octet in (26, 30):
                    if frame[octet : octet + 2] == b"\x0a\x07":
                        out[at + octet + 2] = subnet
                        out[at + octet + 1] = 7 + number // 250
        yield bytes(out), (victim, stage, [number * EVERY + index + 1 for index in places])


def _benign(chance: random.Random, pool: bytes) -> list[bytes]:
    """Return the frames of one block: many conversations, interleaved."""
    kinds = (_tls, _tls, _tls, _http, _http, _dns, _dns, _dns, _dns, _quic, _ssh)
    under_way: list[Iterator[bytes]] = []
    frames: list[bytes] = []
    client = 0
    while len(frames) < EVERY:
        while len(under_way) < 24:
            client += 1
            kind = chance.choice(kinds)
            under_way.append(kind(chance, pool, bytes([10, 7, 0, client % 250 + 1]), 20_000 + client))
        chosen = chance.choice(under_way)
        for _ in range(chance.randrange(1, 6)):
            frame = next(chosen, None)
            if frame is None:
                under_way.remove(chosen)
                break
            frames.append(frame)
    return frames[:EVERY]


def _ethernet(kind: int, away: bool, mac: bytes = _GATEWAY, client: bytes = b"") -> bytes:
    host = b"\x02\x00\x00\x00" + client[-2:]
    return (mac + host if away else host + mac) + kind.to_bytes(2)


def _ip(src: bytes, dst: bytes, protocol: int, body: bytes, *, away: bool, mac: bytes = _GATEWAY) -> bytes:
    client = src if away else dst
    if len(src) == 16:
        header = struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + src + dst
        return _ethernet(0x86DD, away, mac, client) + header + body
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, protocol, 0) + src + dst
    return (_ethernet(0x0800, away, mac, client) + header + body).ljust(60, b"\x00")


class _Tcp:
    """One connection being written: sequence numbers, nothing lost."""

    def __init__(
        self, client: bytes, sport: int, server: bytes, dport: int, mac: bytes = _GATEWAY, stamps: bool = True
    ) -> None:
        self._ends, self._mac = ((client, sport), (server, dport)), mac
        self._next = [sport * 7919, dport * 104_729 + sport]
        self._options = bytes.fromhex("0101080a0000100000002000") if stamps else b""

    def packet(self, side: int, flags: int, payload: bytes = b"") -> bytes:
        (src, sport), (dst, dport) = self._ends[side], self._ends[1 - side]
        seq, ack = self._next[side] & 0xFFFFFFFF, self._next[1 - side] & 0xFFFFFFFF
        size = 20 + len(self._options)
        header = struct.pack(
            ">HHIIBBHHH", sport, dport, seq, ack if flags & 16 else 0, size << 2, flags, 502, 0, 0
        )
        self._next[side] += len(payload) + (flags & 3 != 0)
        return _ip(src, dst, 6, header + self._options + payload, away=side == 0, mac=self._mac)

    def opened(self) -> Iterator[bytes]:
        yield self.packet(0, 2)
        yield self.packet(1, 18)
        yield self.packet(0, 16)

    def sent(self, side: int, octets: bytes, step: int = _MSS) -> Iterator[bytes]:
        for count, start in enumerate(range(0, len(octets), step)):
            yield self.packet(side, 24, octets[start : start + step])
            if count % 2:
                yield self.packet(1 - side, 16)

    def closed(self) -> Iterator[bytes]:
        yield self.packet(0, 17)
        yield self.packet(1, 17)
        yield self.packet(0, 16)


def _some(chance: random.Random, pool: bytes, size: int) -> bytes:
    start = chance.randrange(len(pool) - size)
    return pool[start : start + size]


def _server(chance: random.Random) -> bytes:
    return bytes([198, 51, 100, chance.randrange(1, 250)])


def _tls(chance: random.Random, pool: bytes, client: bytes, port: int) -> Iterator[bytes]:
    tcp = _Tcp(client, port, _server(chance), 443)
    yield from tcp.opened()
    name = f"host{port}.example.net".encode()
    sni = struct.pack(">HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    body = (
        b"\x03\x03"
        + _some(chance, pool, 32)
        + b"\x20"
        + _some(chance, pool, 32)
        + b"\x00\x02\x13\x01\x01\x00"
    )
    body += struct.pack(">H", len(sni) + 204) + sni + b"\x00\x15" + struct.pack(">H", 200) + bytes(200)
    hello = b"\x01" + len(body).to_bytes(3) + body
    yield from tcp.sent(0, b"\x16\x03\x01" + struct.pack(">H", len(hello)) + hello)
    yield from tcp.sent(1, b"\x16\x03\x03\x0f\xa0" + _some(chance, pool, 4000))
    for _ in range(chance.randrange(1, 6)):
        yield from tcp.sent(0, b"\x17\x03\x03\x02\x00" + _some(chance, pool, 512))
        size = int(chance.paretovariate(1.1) * 4000)
        while size > 0:
            record = min(size, 16_000)
            yield from tcp.sent(1, b"\x17\x03\x03" + struct.pack(">H", record) + _some(chance, pool, record))
            size -= record
    yield from tcp.closed()


def _http(chance: random.Random, pool: bytes, client: bytes, port: int) -> Iterator[bytes]:
    tcp = _Tcp(client, port, _server(chance), 80)
    yield from tcp.opened()
    for number in range(chance.randrange(1, 5)):
        head = (
            f"{'POST' if number == 3 else 'GET'} /assets/{port}/page-{number}.html?v={chance.random()} HTTP/1.1\r\n"
            f"Host: www{port % 50}.example.net\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101\r\n"
            "Accept: text/html,application/xhtml+xml\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
        ).encode()
        form = b"name=value&other=thing" if number == 3 else b""
        length = f"Content-Length: {len(form)}\r\n".encode() if form else b""
        cookie = b"Cookie: session=" + b"c" * (2000 if chance.random() < 0.01 else 40) + b"\r\n"
        yield from tcp.sent(0, head + length + cookie + b"\r\n" + form)
        body = _some(chance, pool, min(200_000, int(chance.paretovariate(1.2) * 3000)))
        answer = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}"
        yield from tcp.sent(1, answer.encode() + b"\r\nServer: nginx\r\n\r\n" + body)
    yield from tcp.closed()


def _datagram(src: bytes, sport: int, dst: bytes, dport: int, payload: bytes, *, away: bool) -> bytes:
    return _ip(src, dst, 17, struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload, away=away)


def _question(name: str) -> bytes:
    return (
        b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\x00\x00\x01\x00\x01"
    )


def _dns(chance: random.Random, pool: bytes, client: bytes, port: int) -> Iterator[bytes]:
    resolver, asked = bytes([10, 0, 0, 53]), _question(f"host{port}.example.net")
    number = struct.pack(">H", port)
    query = number + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + asked
    answer = (
        number
        + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
        + asked
        + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10"
    )
    yield _datagram(client, port, resolver, 53, query, away=True)
    yield _datagram(resolver, 53, client, port, answer + b"\x00\x04" + _server(chance), away=False)


def _quic(chance: random.Random, pool: bytes, client: bytes, port: int) -> Iterator[bytes]:
    server = _server(chance)
    for _ in range(chance.randrange(10, 60)):
        away = chance.random() < 0.2
        payload = b"\x40" + _some(chance, pool, 40 if away else chance.choice((1200, 1252, 1350)))
        ends = ((client, port), (server, 443))
        (src, sport), (dst, dport) = ends if away else ends[::-1]
        yield _datagram(src, sport, dst, dport, payload, away=away)


def _ssh(chance: random.Random, pool: bytes, client: bytes, port: int) -> Iterator[bytes]:
    tcp = _Tcp(client, port, bytes([10, 0, 0, 22]), 22)
    yield from tcp.opened()
    yield from tcp.sent(0, b"SSH-2.0-OpenSSH_9.2p1\r\n")
    yield from tcp.sent(1, b"SSH-2.0-OpenSSH_9.2p1\r\n")
    for _ in range(chance.randrange(5, 40)):
        yield from tcp.sent(chance.randrange(2), _some(chance, pool, chance.choice((36, 44, 52, 100, 620))))


def _incident(number: int) -> tuple[list[bytes], str, str]:
    """Return the frames of one incident, its victim and its stage."""
    victim = bytes([10, 200 + number // 60_000, number // 250 % 250, number % 250 + 1])
    text = ".".join(map(str, victim))
    kind = number % 6
    token = (
        b"PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\n"
        b"User-Agent: Boto3/1.34.0\r\nContent-Length: 0\r\n\r\n"
    )
    asked = b" HTTP/1.1\r\nHost: 169.254.169.254\r\nUser-Agent: Boto3/1.34.0\r\nX-aws-ec2-metadata-token: fake\r\n\r\n"
    document = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(_DOCUMENT)
    if kind == 0:  # nobody answers
        tcp = _Tcp(victim, 40_000, _V4, 80)
        return [tcp.packet(0, 2)], text, "attempted"
    if kind == 1:  # by name
        query = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + _question("instance-data.ec2.internal")
        return [_datagram(victim, 40_000, bytes([10, 0, 0, 53]), 53, query, away=True)], text, "attempted"
    if kind == 2:  # the whole dialogue
        tcp = _Tcp(victim, 40_000, _V4, 80, _IMPOSTOR)
        frames = [*tcp.opened(), *tcp.sent(0, token)]
        frames += tcp.sent(1, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake")
        frames += [*tcp.sent(0, b"GET " + _ROLE + asked), *tcp.sent(1, document + _DOCUMENT), *tcp.closed()]
        return frames, text, "credentials-served"
    if kind == 3:  # IPv6
        source = bytes.fromhex("fd120000000000000000000000") + victim[1:]
        tcp = _Tcp(source, 40_000, _V6, 80, _IMPOSTOR)
        answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        host = f"fd12::{victim[1]:x}:{victim[2] << 8 | victim[3]:x}"
        return [*tcp.opened(), *tcp.sent(0, token), *tcp.sent(1, answer), *tcp.closed()], host, "answered"
    if kind == 4:  # through a proxy, which refuses
        tcp = _Tcp(victim, 40_000, bytes([10, 0, 0, 80]), 3128)
        line = token.replace(b" /latest", b" http://169.254.169.254/latest")
        answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
        return [*tcp.opened(), *tcp.sent(0, line), *tcp.sent(1, answer), *tcp.closed()], text, "requested"
    tcp = _Tcp(victim, 40_000, bytes([10, 66, 66, 66]), 8080)  # behind a DNAT, the path in two segments
    line = b"GET " + _ROLE + asked.replace(b"169.254.169.254", b"metadata.example.net")
    frames = [*tcp.opened(), tcp.packet(0, 24, line[:14]), tcp.packet(0, 24, line[14:])]
    return [*frames, *tcp.sent(1, document + _DOCUMENT), *tcp.closed()], text, "credentials-served"
