"""Random captures for the proof that the quick reading finds what the slow one finds: hostile, messy, mostly benign.

`mix(chance)` strings conversations together (IMDS dialogues in every disguise, everyday traffic, and traffic that only
looks like IMDS), cuts their streams anywhere, loses, repeats, rewrites and reorders segments, puts each packet into
tags, tunnels and fragments, and interleaves everything.
"""

from __future__ import annotations

import gzip
import json
import random
import struct
from collections.abc import Callable

import frames as f
from dialogue_cases import ROLES, TOKEN_HEADERS, credentials, request, response

ENDPOINT_HOSTS = (
    "169.254.169.254",
    "[fd00:ec2::254]",
    "2852039166",
    "0xa9.254.169.254",
    "instance-data",
    "169.254.169.254:80",
)
PATHS = (
    ROLES, ROLES + "role", "/latest/api/token", "/latest/user-data", "/latest/dynamic/instance-identity/document",
    "/1.0/meta-data/", "/2021-07-15/meta-data/iam/info", "/latest//meta-data/./iam/", "/%6catest/meta-data/iam/info",
    "/latest/x/../meta-data/instance-id", "/latest%2fmeta-data", "/LATEST/Meta-Data/",
)  # fmt: skip
OTHER_PATHS = (
    "/",
    "/index.html",
    "/latest/releases",
    "/api/v1/token",
    "/a%20b?x=%41",
    "/docs/meta-data.html",
    "/x" * 900,
)
METHODS = ("GET", "GET", "GET", "PUT", "POST", "HEAD", "DELETE", "OPTIONS")

Chance = random.Random


def mix(chance: Chance, conversations: int = 8) -> list[bytes]:
    """Return the Ethernet frames of one random capture."""
    streams = [
        _disguised(chance, chance.choice(_KINDS)(chance)) for _ in range(chance.randrange(1, conversations))
    ]
    out: list[bytes] = []
    while streams:
        stream = chance.choice(streams)
        out += stream[:1]
        del stream[:1]
        streams = [one for one in streams if one]
    return out


# --- what is said -----------------------------------------------------------------------------------------------------


def _headers(chance: Chance, *, imds: bool) -> list[str]:
    found = ["User-Agent: " + chance.choice(("Boto3/1.34.0", "curl/8.1", "Mozilla/5.0", "aws-sdk-go-v2/1.2"))]
    if imds and chance.random() < 0.6:
        found.append(chance.choice(("X-aws-ec2-metadata-token: fake", *TOKEN_HEADERS)))
    if chance.random() < 0.2:
        found.append("Cookie: " + "c" * chance.choice((10, 1500, 3000)))
    chance.shuffle(found)
    return found


def _asked(chance: Chance, *, imds: bool, proxied: bool = False) -> bytes:
    method = chance.choice(METHODS)
    path = chance.choice(PATHS if imds and chance.random() < 0.8 else OTHER_PATHS)
    host = chance.choice(ENDPOINT_HOSTS) if imds and chance.random() < 0.7 else "www.example.net"
    headers = _headers(chance, imds=imds)
    if proxied:
        path = f"http://{host}{path}"
    body = b""
    if method == "POST":
        body = chance.choice(
            (b"a=b", chance.randbytes(40), b"GET /latest/meta-data/ HTTP/1.1\r\n\r\n", b"x" * 3000)
        )
        headers.append(f"Content-Length: {len(body)}")
    octets = request(method, path, *headers, host=host) + body
    if chance.random() < 0.1:
        octets = octets.replace(b"\r\n", b"\n")
    return octets


def _answered(chance: Chance) -> bytes:
    kind = chance.randrange(7)
    if kind == 0:
        return response("", chance.choice((401, 403, 404, 503)))
    if kind == 1:
        return response(credentials())
    if kind == 2:
        return response(gzip.compress(credentials().encode(), mtime=0), 200, "Content-Encoding: gzip")
    if kind == 3:
        return response("role")
    if kind == 4:
        return response(json.dumps({"accountId": "123456789012", "instanceId": "i-0fake"}))
    if kind == 5:
        return response("<html>GET /latest/meta-data/ \n</html>" * 40, mime="text/html")
    return response(chance.randbytes(chance.choice((10, 2000, 9000))), mime="application/octet-stream")


def _http(chance: Chance, talk: f.Talk, *, imds: bool, proxied: bool = False) -> tuple[f.Talk, bytes, bytes]:
    there, back = b"", b""
    for _ in range(chance.randrange(1, 4)):
        there += _asked(chance, imds=imds and chance.random() < 0.8, proxied=proxied)
        back += _answered(chance)
    if chance.random() < 0.1:
        there = chance.randbytes(30) + there
    return talk, there, back


# --- how it travels ---------------------------------------------------------------------------------------------------


def _cut(chance: Chance, octets: bytes) -> list[bytes]:
    """Cut a stream into segments: as a stack would, in octets, or anywhere."""
    how = chance.randrange(5)
    pieces, at = [], 0
    while at < len(octets):
        size = (1448, 1448, 536, chance.randrange(1, 40), chance.choice((1, 2, 3, 5, 9, 200)))[how]
        pieces.append(octets[at : at + size])
        at += size
        if len(pieces) > 60:
            how = 0
    return pieces


def _spoken(chance: Chance, said: tuple[f.Talk, bytes, bytes]) -> list[bytes]:
    """Return the frames of a connection, as a capture that is not perfect holds them."""
    talk, there, back = said
    if chance.random() < 0.8:
        talk.handshake()
    for direction, octets in ((0, there), (1, back)):
        for piece in _cut(chance, octets):
            talk.send(direction, piece, f.ACK | f.PSH)
            if chance.random() < 0.3:
                talk.send(1 - direction)
            if chance.random() < 0.05:  # said twice, the second time perhaps otherwise
                other = piece if chance.random() < 0.6 else bytes(len(piece) // 2) + piece[len(piece) // 2 :]
                talk.sent.append(
                    talk.packet(direction, other, f.ACK | f.PSH, seq=talk.seq[direction] - len(piece))
                )
    if chance.random() < 0.7:
        talk.close()
    elif chance.random() < 0.3:
        talk.send(chance.randrange(2), flags=f.RST | f.ACK)
    out = talk.sent
    if chance.random() < 0.15:
        del out[: chance.randrange(len(out))]
    if chance.random() < 0.15 and len(out) > 3:
        del out[chance.randrange(len(out))]
    if chance.random() < 0.3:
        for _ in range(3):
            place = chance.randrange(len(out))
            out.insert(max(0, place - chance.randrange(4)), out.pop(place))
    return out


def _ends(chance: Chance) -> tuple[str, int]:
    return f"10.0.{chance.randrange(3)}.{chance.randrange(1, 6)}", chance.randrange(40_000, 40_030)


def _endpoint(chance: Chance) -> list[bytes]:
    client, port = _ends(chance)
    if chance.random() < 0.3:
        talk = f.Talk("2001:db8::5", f.ENDPOINT6, port)
    else:
        talk = f.Talk(client, f.ENDPOINT, port)
    if chance.random() < 0.2:
        return [talk.packet(0, flags=f.SYN)] * chance.randrange(1, 4)
    return _spoken(chance, _http(chance, talk, imds=True))


def _elsewhere(chance: Chance) -> list[bytes]:
    client, port = _ends(chance)
    return _spoken(chance, _http(chance, f.Talk(client, "192.0.2.7", port, 8080), imds=True))


def _proxied(chance: Chance) -> list[bytes]:
    client, port = _ends(chance)
    talk = f.Talk(client, "10.0.0.80", port, 3128)
    if chance.random() < 0.3:
        asked = request("CONNECT", "169.254.169.254:80", host="169.254.169.254:80") + _asked(
            chance, imds=True
        )
        return _spoken(chance, (talk, asked, response("", 200) + _answered(chance)))
    return _spoken(chance, _http(chance, talk, imds=chance.random() < 0.7, proxied=True))


def _web(chance: Chance) -> list[bytes]:
    client, port = _ends(chance)
    return _spoken(chance, _http(chance, f.Talk(client, "192.0.2.8", port), imds=False))


def _rewritten(chance: Chance) -> list[bytes]:
    """A harmless request, and over it, in any order, pieces that make another path of it."""
    client, port = _ends(chance)
    talk = f.Talk(client, "192.0.2.7", port, 8080).handshake()
    path = b"/latest/meta-data/iam/info"
    pieces = [
        (0, request("GET", "/" + "x" * (len(path) - 1), *_headers(chance, imds=False), host="example.net"))
    ]
    at = 0
    while at < len(path):
        size = chance.randrange(9, 15)  # longer than what is always taken, shorter than any word
        pieces.append((4 + at, path[at : at + size]))
        at += size
    if chance.random() < 0.5:
        chance.shuffle(pieces)
    start = talk.seq[0]
    talk.sent += [talk.packet(0, piece, f.ACK | f.PSH, seq=start + place) for place, piece in pieces]
    talk.seq[0] += max(len(piece) for _, piece in pieces)
    return talk.send(1, _answered(chance)[:1400], f.ACK | f.PSH).close().sent


def _bulk(chance: Chance) -> list[bytes]:
    client, port = _ends(chance)
    there = chance.choice(
        (b"\x16\x03\x01\x02\x00\x01" + chance.randbytes(600), b"SSH-2.0-x\r\n", b"QUIT\r\n", b"G")
    )
    return _spoken(chance, (f.Talk(client, "192.0.2.9", port, 443), there, chance.randbytes(20_000)))


def _name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\x00"


def _lookup(chance: Chance) -> list[bytes]:
    client, port = _ends(chance)
    name = chance.choice(
        ("instance-data.ec2.internal", "Instance-Data", "www.example.net", "data.example.net")
    )
    question = _name(name) + b"\x00\x01\x00\x01"
    number = struct.pack(">H", chance.randrange(1 << 16))
    answer = chance.choice((bytes([169, 254, 169, 254]), bytes([192, 0, 2, 1])))
    there = number + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + answer
    back = number + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + question + record
    if chance.random() < 0.25:
        framed = [struct.pack(">H", len(one)) + one for one in (there, back)]
        return _spoken(chance, (f.Talk(client, "10.0.0.53", port, 53), framed[0], framed[1]))
    sent = f.ethernet(f.ip4(f.udp(there, port, 53), 17, client, "10.0.0.53"))
    got = f.ethernet(
        f.ip4(f.udp(back, 53, port), 17, "10.0.0.53", client), src=f.RESPONDER_MAC, dst=f.VICTIM_MAC
    )
    return [sent, got][: chance.randrange(1, 3)]


def _segment(chance: Chance) -> list[bytes]:
    client, port = _ends(chance)
    asker = (f.VICTIM_MAC, client)
    target = chance.choice((f.ENDPOINT, "10.0.0.1"))
    kind = chance.randrange(6)
    if kind == 0:
        return [
            f.ethernet(f.arp(1, asker, ("00:00:00:00:00:00", target)), f.ARP, dst="ff:ff:ff:ff:ff:ff"),
            f.ethernet(f.arp(2, (f.RESPONDER_MAC, target), asker), f.ARP, f.RESPONDER_MAC, f.VICTIM_MAC),
        ]
    if kind == 1:  # DHCP with a route to the endpoint, or to the world
        route = chance.choice((bytes([32, 169, 254, 169, 254]), b"\x00")) + bytes([10, 0, 0, 9])
        options = (
            b"\x63\x82\x53\x63\x35\x01\x05\x36\x04\x0a\x00\x00\x01"
            + bytes([121, len(route)])
            + route
            + b"\xff"
        )
        fixed = (
            b"\x02\x01\x06\x00"
            + bytes(12)
            + bytes([10, 0, 1, 5])
            + bytes(8)
            + f.mac(f.VICTIM_MAC)
            + bytes(202)
        )
        return [f.ethernet(f.ip4(f.udp(fixed + options, 67, 68), 17, "10.0.0.1", "10.0.1.5"))]
    if kind == 2:  # a router that offers a prefix
        prefix = bytes.fromhex(chance.choice(("fd000ec2", "20010db8"))) + bytes(12)
        body = b"\x40\x00\x07\x08" + bytes(8) + b"\x03\x04\x40\xc0" + bytes(12) + prefix
        return [f.ethernet(f.ip6(f.icmp(134, 0, body[:4], body[4:]), 58, "fe80::1", "ff02::1"), f.IPV6)]
    quoted = f.ip4(f.tcp(b"", port, 80, flags=f.SYN), 6, client, chance.choice((f.ENDPOINT, "192.0.2.7")))
    if kind == 3:
        return [f.ethernet(f.ip4(f.icmp(3, 13, body=quoted[:28]), 1, "10.0.0.1", client))]
    if kind == 4:
        return [f.ethernet(f.ip4(f.icmp(8, 0, b"\x00\x01\x00\x01", b"ping"), 1, client, target))]
    return [
        f.ethernet(
            f.ip4(
                f.udp(chance.randbytes(900), port, 4500), 17, client, chance.choice((f.ENDPOINT, "192.0.2.7"))
            )
        )
    ]


_KINDS: tuple[Callable[[Chance], list[bytes]], ...] = (
    _endpoint, _endpoint, _elsewhere, _elsewhere, _elsewhere, _proxied, _proxied, _web, _web, _bulk,
    _rewritten, _lookup, _segment,
)  # fmt: skip


# --- what carries it --------------------------------------------------------------------------------------------------


def _disguised(chance: Chance, sent: list[bytes]) -> list[bytes]:
    """Return frames as a span port, a trunk or a network with a small MTU shows them; most stay as they are."""
    how = chance.randrange(14)
    out: list[bytes] = []
    for data in sent:
        ethertype, body = int.from_bytes(data[12:14]), data[14:]
        if how == 0:
            out.append(f.ethernet(body, ethertype, vlans=[(f.VLAN, 42)]))
        elif how == 1:
            out.append(f.ethernet(body, ethertype, vlans=[(f.QINQ, 7), (f.VLAN, 42)]))
        elif how == 2:
            out.append(_outer(f.ip4(f.udp(f.vxlan(data), 50_000, 4789), 17, "192.0.2.1", "192.0.2.2")))
        elif how == 3:
            out.append(_outer(f.ip4(f.erspan2(data), 47, "192.0.2.1", "192.0.2.2")))
        elif how == 4:
            out.append(_outer(f.ip4(f.gre(body, ethertype, key=9), 47, "192.0.2.1", "192.0.2.2")))
        elif how == 5:
            out.append(_outer(f.ip4(f.udp(f.geneve(data), 50_000, 6081), 17, "192.0.2.1", "192.0.2.2")))
        elif how == 6 and ethertype == f.IPV4:
            out.append(f.ethernet(f.mpls(body, 17, 18), f.MPLS))
        elif how == 7 and ethertype == f.IPV4:
            out.append(f.ethernet(f.pppoe(body), f.PPPOE))
        elif how == 8 and ethertype in (f.IPV4, f.IPV6):
            out.append(_outer(f.ip4(body, 4 if ethertype == f.IPV4 else 41, "192.0.2.1", "192.0.2.2")))
        elif how == 9 and ethertype == f.IPV4:
            out += _fragments(chance, data)
        else:
            out.append(data)
    return out


def _outer(packet: bytes) -> bytes:
    return f.ethernet(packet, src=f.ROUTER_MAC, dst="02:00:00:00:00:02")


def _fragments(chance: Chance, data: bytes) -> list[bytes]:
    total = int.from_bytes(data[16:18])
    body, protocol = data[34 : 14 + total], data[23]
    src, dst = ".".join(map(str, data[26:30])), ".".join(map(str, data[30:34]))
    size, ident = chance.choice((8, 64, 512)) if len(body) < 600 else 512, chance.randrange(1 << 16)
    found = [
        f.ethernet(
            f.ip4(body[at : at + size], protocol, src, dst, ident=ident, offset=at, more=at + size < len(body)),
            f.IPV4, _mac(data[6:12]), _mac(data[:6]),
        )
        for at in range(0, len(body), size)
    ]  # fmt: skip
    if chance.random() < 0.5:
        chance.shuffle(found)
    return found


def _mac(octets: bytes) -> str:
    return octets.hex(":")
