"""Dialogues built octet by octet: what TCP, HTTP and the order of packets can do to a request, and what looks like it.

Pure: `captures` yields names and frames. README.md of this folder says what each shows. Over 300 lines, because it is a
list: one entry for each way in which a request may come.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from packets import (
    ACK,
    CREDENTIALS,
    ENDPOINT,
    FIN,
    KEY_ID,
    OTHER,
    OTHER_MAC,
    PSH,
    ROLE,
    ROLES,
    ROUTER_MAC,
    RST,
    SYN,
    VICTIM,
    VICTIM_MAC,
    End,
    Talk,
    request,
    response,
    udp,
)
from packets import ether as ethernet

LIST, GET = request(ROLES, "User-Agent: derived"), request(ROLE, "User-Agent: derived")
NAMES, KEYS = response("fake-role"), response(CREDENTIALS)
IMDS, IMPOSTOR = End(ENDPOINT, 80, ROUTER_MAC), End("10.20.2.66", 8080, ROUTER_MAC)
PROXY, AWS = End("10.20.1.20", 3128, ROUTER_MAC), End("192.0.2.80", 443, ROUTER_MAC)
SIGNS = "X-aws-ec2-metadata-token: FAKE-IMDS-TOKEN-NOT-REAL"


def asked(
    question: bytes = GET,
    answer: bytes = KEYS,
    server: End = IMDS,
    port: int = 40000,
) -> Talk:
    """Return a whole connection of one question and one answer."""
    return Talk(End(VICTIM, port, VICTIM_MAC), server).open().say(0, question).say(1, answer).close()


def hello(name: str) -> bytes:
    """Return a ClientHello with a server name (RFC 8446 4.1.2, RFC 6066 3)."""
    host = name.encode()
    entry = struct.pack("!HBH", len(host) + 3, 0, len(host)) + host
    extensions = struct.pack("!HH", 0, len(entry)) + entry + struct.pack("!HHBH", 43, 3, 2, 0x0304)
    body = (
        b"\x03\x03"
        + bytes(32)
        + b"\0"
        + struct.pack("!HHH", 2, 0x1301, 0x0100)
        + struct.pack("!H", len(extensions))
        + extensions
    )
    message = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


def tls(name: str, port: int = 40100, client: str = VICTIM, mac: str = VICTIM_MAC, *cuts: int) -> Talk:
    """Return a connection that begins as TLS to a name; the server's alert ends it."""
    talk = Talk(End(client, port, mac), AWS).open().say(0, hello(name), *cuts)
    return talk.say(1, b"\x15\x03\x03\0\x02\x02\x28").close()


def overlapping(first: str, second: str) -> Talk:
    """Return a request whose path is sent twice at the same sequence numbers, with different octets."""
    one, two = (request(path.ljust(len(ROLE), "x"), "User-Agent: derived") for path in (first, second))
    half = len(ROLE) + 4
    talk = Talk().open()
    at = talk.next[0]
    talk.frames += [talk.packet(0, PSH | ACK, half_of[:half], at) for half_of in (one, two)]
    talk.next[0] += half
    return talk.say(0, one[half:]).say(1, KEYS).close()


def shuffled() -> list[bytes]:
    """Return a dialogue whose requests arrive in segments last to first."""
    talk = Talk().open()
    for question, answer in ((LIST, NAMES), (GET, KEYS)):
        start = len(talk.frames)
        talk.say(0, question, 9, 20, 31)
        talk.frames[start:] = talk.frames[start:][::-1]
        talk.say(1, answer, 40)
        talk.frames[-2:] = talk.frames[-2:][::-1]
    return talk.close().frames


def without(talk: Talk, *missing: int) -> list[bytes]:
    """Return the frames but those of these numbers (1-based)."""
    return [frame for number, frame in enumerate(talk.frames, 1) if number not in missing]


def tcp_shapes() -> Iterator[tuple[str, list[bytes]]]:
    """What becomes of octets on their way."""
    whole = Talk().open().say(0, LIST).say(1, NAMES).say(0, GET).say(1, KEYS).close()
    yield "split-2", Talk().open().say(0, LIST, 14).say(1, NAMES).say(0, GET, 14).say(1, KEYS).close().frames
    yield "split-1", Talk().open().say(0, GET, *range(1, len(GET))).say(1, KEYS).close().frames
    yield "out-of-order", shuffled()
    yield "retransmitted", [frame for frame in whole.frames for _ in (0, 1)]
    yield "overlap-innocent-first", overlapping("/images/logo.png?", ROLE).frames
    yield "overlap-innocent-last", overlapping(ROLE, "/images/logo.png?").frames
    cut = Talk().open().say(0, GET, 40).say(1, KEYS).close()
    yield "missing-request-head", without(cut, 4)
    key = KEYS.index(b"AccessKeyId")
    yield "missing-key-id", without(Talk().open().say(0, GET).say(1, KEYS, key - 5, key + 60).close(), 6)
    yield "midstream", whole.frames[3:]
    yield "begins-within-request", cut.frames[4:]
    yield "ends-after-request", whole.frames[:4]
    yield "client-only", whole.frames[0:1] + [f for f in whole.frames[1:] if f[6:12] == whole.frames[0][6:12]]
    yield "server-only", [f for f in whole.frames if f[6:12] != whole.frames[0][6:12]]
    yield "pipelined", Talk().open().say(0, LIST + GET).say(1, NAMES + KEYS).close().frames
    wrapped = Talk(isn=(0xFFFFFFF0, 0xFFFFFFFA)).open().say(0, GET, 30).say(1, KEYS, 30).close()
    yield "sequence-wraps", wrapped.frames
    talk = Talk().open().say(0, GET)
    talk.send(1, FIN | PSH | ACK, KEYS)
    talk.send(0, FIN | ACK)
    talk.send(1, ACK)
    yield "fin-with-data", talk.frames
    talk = Talk()
    talk.send(0, SYN, GET)  # TCP Fast Open, RFC 7413
    talk.send(1, SYN | ACK)
    yield "syn-with-data", talk.say(1, KEYS).close().frames
    talk = Talk().open().say(0, LIST).say(1, NAMES)
    talk.frames.append(talk.packet(0, ACK, b"\0", talk.next[0] - 1))  # keep-alive probe, RFC 1122 4.2.3.6
    talk.frames.append(talk.packet(1, ACK))
    yield "keep-alive-probe", talk.say(0, GET).say(1, KEYS).close().frames
    talk = Talk().open().say(0, GET, 60)
    talk.frames.insert(4, talk.packet(1, RST, b"", talk.next[1] + 70000))  # outside the window, RFC 5961
    yield "reset-out-of-window", talk.say(1, KEYS).close().frames
    other = Talk(End(OTHER, 40000, OTHER_MAC)).open().say(0, GET).say(1, KEYS).close()
    yield (
        "two-victims-interleaved",
        [f for pair in zip(asked().frames, other.frames, strict=True) for f in pair],
    )
    first = asked(request("/", host="www.example.net"), response("hello"), IMPOSTOR)
    again = Talk(End(VICTIM, 40000, VICTIM_MAC), IMPOSTOR, isn=(900000, 950000))
    again.open().say(0, GET).say(1, KEYS).close()
    yield "port-reused", first.frames + again.frames
    talk = Talk().open().say(0, GET)
    talk.send(1, RST | ACK)
    yield "reset-after-request", talk.frames
    talk = Talk()
    talk.send(0, SYN)
    talk.send(1, RST | ACK)
    yield "syn-refused", talk.frames


def http_shapes() -> Iterator[tuple[str, list[bytes]]]:
    """What HTTP allows, and what clients and impostors do all the same."""
    here = "10.20.2.66:8080"
    upper = request(ROLE, "X-AWS-EC2-METADATA-TOKEN: FAKE-IMDS-TOKEN-NOT-REAL", host=here).replace(
        b"Host", b"hOST"
    )
    yield "header-case-custom-endpoint", asked(upper, KEYS, IMPOSTOR).frames
    yield "host-only", asked(GET, KEYS, IMPOSTOR).frames
    yield "host-hexadecimal", asked(request(ROLE, host="0xa9fea9fe"), KEYS, IMPOSTOR).frames
    absolute = request(
        "http://2852039166/latest/meta-data/iam/security-credentials/fake-role", host="2852039166"
    )
    yield "absolute-form-decimal", asked(absolute, KEYS, PROXY).frames
    lying = request(f"http://{ENDPOINT}{ROLE}", host="www.example.net")
    yield "absolute-form-other-host", asked(lying, KEYS, PROXY).frames
    for name, path in (
        ("path-percent", ROLE.replace("latest", "%6Catest").replace("meta-data", "%6deta%2Ddata")),
        ("path-slashes-dots", "/" + ROLE.replace("/iam", "/./x/../iam")),
        ("path-dated", ROLE.replace("latest", "2021-03-23")),
        ("path-first-version", ROLE.replace("latest", "1.0")),
    ):
        yield name, asked(request(path, SIGNS, host=here), KEYS, IMPOSTOR).frames
    folded = request(ROLE, "X-aws-ec2-metadata-token:\r\n FAKE-IMDS-TOKEN-NOT-REAL", host=here)
    yield "header-folded", asked(folded, KEYS, IMPOSTOR).frames
    bare = GET.replace(b"\r\n", b"\n"), KEYS.replace(b"\r\n", b"\n")
    yield "line-feeds-only", asked(*bare).frames
    yield "blank-lines-before", asked(b"\r\n\r\n" + GET).frames
    until_close = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + CREDENTIALS.encode()
    yield "body-until-close", asked(GET.replace(b"1.1", b"1.0"), until_close).frames
    yield "continue-100", asked(GET, b"HTTP/1.1 100 Continue\r\n\r\n" + KEYS).frames
    put = request(
        "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600", "Content-Length: 0", method="PUT"
    )
    yield "token-only", asked(put, response("FAKE-IMDS-TOKEN-NOT-REAL")).frames
    yield "token-unanswered", Talk().open().say(0, put).frames
    yield (
        "head-role",
        asked(GET.replace(b"GET", b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 450\r\n\r\n").frames,
    )
    page = response("<html>log in</html>", kind="text/html")
    yield "portal-custom-endpoint", asked(request(ROLE, SIGNS, host=here), page, IMPOSTOR).frames
    denied = response("<html>who are you</html>", "407 Proxy Authentication Required", kind="text/html")
    yield "proxy-407", asked(request(f"http://{ENDPOINT}{ROLES}"), denied, PROXY).frames
    gateway = response("no route", "502 Bad Gateway")
    yield "proxy-502", asked(request(f"http://{ENDPOINT}{ROLES}"), gateway, PROXY).frames
    tunnel = (
        Talk(server=PROXY)
        .open()
        .say(0, b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80\r\n\r\n")
    )
    refused = response("", "403 Forbidden")
    yield "connect-refused", tunnel.say(1, refused).close().frames


def uses() -> Iterator[tuple[str, list[bytes]]]:
    """What the victim, or somebody else, does afterwards."""
    served = asked().frames
    name = "sts.eu-west-1.amazonaws.com"
    yield "used-tls", served + tls(name).frames
    yield "used-tls-split", served + tls(name, 40100, VICTIM, VICTIM_MAC, 3, 40, 70).frames
    yield "used-before-served", tls(name).frames + served
    yield "used-by-another-host", served + tls(name, 40100, OTHER, OTHER_MAC).frames
    yield "used-lookalike-name", served + tls("sts.amazonaws.com.example.net").frames
    connect = f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n".encode()
    through = Talk(End(VICTIM, 40200, VICTIM_MAC), PROXY).open().say(0, connect)
    through.say(1, b"HTTP/1.1 200 Connection established\r\n\r\n").say(0, hello(name)).close()
    yield "used-through-connect", served + through.frames
    scope = f"Credential={KEY_ID}/20261122/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=FAKE"
    signed = request("/bucket", f"Authorization: AWS4-HMAC-SHA256 {scope}", host="store.example.net:9000")
    store = End("192.0.2.90", 9000, ROUTER_MAC)
    yield (
        "used-signature-elsewhere",
        served + asked(signed, response("no", "403 Forbidden"), store, 40300).frames,
    )


def dns(name: str, kind: int, answer: bytes = b"", ident: int = 7) -> bytes:
    """Return a DNS message (RFC 1035 4): a question, or with `answer` (type, data) its reply."""
    labels = b"".join(bytes((len(part),)) + part.encode() for part in name.split(".")) + b"\0"
    head = struct.pack("!HHHHHH", ident, 0x8180 if answer else 0x0100, 1, bool(answer), 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(answer)) + answer if answer else b""
    return head + labels + struct.pack("!HH", kind, 1) + record


def asks(*questions: tuple[str, int, bytes]) -> list[bytes]:
    """Return lookups at 10.20.1.53 with their replies."""
    out = []
    for number, (name, kind, answer) in enumerate(questions):
        port, mac = 41000 + number, "02:00:00:00:01:53"
        out.append(ethernet(udp(dns(name, kind), VICTIM, port, "10.20.1.53", 53), VICTIM_MAC, mac))
        if answer:
            reply = dns(name, kind, answer)
            out.append(ethernet(udp(reply, "10.20.1.53", 53, VICTIM, port), mac, VICTIM_MAC))
    return out


def names() -> Iterator[tuple[str, list[bytes]]]:
    """Lookups of the endpoint's names, and names that lead to it."""
    yield "dns-instance-data", asks(("instance-data.ec2.internal", 1, bytes((169, 254, 169, 254))))
    yield "dns-name-for-endpoint", asks(("meta.corp.example", 1, bytes((169, 254, 169, 254))))
    v6 = bytes.fromhex("fd000ec2000000000000000000000254")
    yield "dns-name-for-endpoint-ipv6", asks(("meta.corp.example", 28, v6))
    yield "dns-unanswered", asks(("instance-data", 1, b""))


def benign() -> Iterator[tuple[str, list[bytes]]]:
    """What is none of our business, however much it looks like it."""
    www = End("10.20.2.80", 80, ROUTER_MAC)
    text = f"curl http://{ENDPOINT}{ROLE}\nGET {ROLE} HTTP/1.1\r\nHost: {ENDPOINT}\r\n\r\n".encode()

    def web(question: bytes, answer: bytes = response("ok")) -> list[bytes]:
        return asked(question, answer, www).frames

    yield (
        "benign-body-of-page",
        web(request("/howto", host="wiki.example.net"), response(text, kind="text/html")),
    )
    post = request("/paste", f"Content-Length: {len(text)}", method="POST", host="wiki.example.net") + text
    yield "benign-body-of-post", web(post)
    referer = request("/next", f"Referer: http://{ENDPOINT}{ROLES}", host="wiki.example.net")
    yield "benign-referer", web(referer)
    for name, path in (
        ("path", "/latest/metadata/x"),
        ("version", "/meta-data/latest/"),
        ("file", "/latest-meta-data.html"),
    ):
        yield f"benign-lookalike-{name}", web(request(path, host="wiki.example.net"))
    yield "low-in-query", web(request("/fetch?u=/latest/meta-data/", host="wiki.example.net"))
    yield "low-longer-path", web(request("/v2/latest/api/token", host="api.example.net"))
    scan = request(ROLES, "User-Agent: Mozilla/5.0 zgrab/0.x", host="198.51.100.7")
    yield "low-scanner", web(scan, response("<html>welcome</html>", kind="text/html"))
    mail = Talk(server=End("10.20.2.25", 25, ROUTER_MAC)).open().say(1, b"220 mail.example.net ESMTP\r\n")
    mail.say(0, b"EHLO a\r\n").say(1, b"250 mail.example.net\r\n").say(0, b"DATA\r\n").say(
        1, b"354 go on\r\n"
    )
    yield "benign-mail", mail.say(0, text + b"\r\n.\r\n").close().frames
    others = (
        ("169.254.169.253", 53),
        ("169.254.169.123", 123),
        ("169.254.170.2", 80),
        ("169.254.169.250", 1688),
    )
    near = [Talk(server=End(ip, port, ROUTER_MAC)).open().close().frames for ip, port in others]
    yield "benign-other-link-local", [frame for frames in near for frame in frames]
    task = request("/v2/credentials/fake", "User-Agent: Boto3/1.44.5", host="169.254.170.2")
    yield "benign-container-credentials", asked(task, KEYS, End("169.254.170.2", 80, ROUTER_MAC)).frames
    txt = f"v=1 http://{ENDPOINT}{ROLES}".encode()
    pointer = b"\x0dinstance-data\x03ec2\x08internal\0"
    yield (
        "benign-dns",
        asks(
            ("docs.example.net", 16, bytes((len(txt),)) + txt),
            ("254.169.254.169.in-addr.arpa", 12, pointer),
            ("instance-database.corp.example", 1, bytes((10, 20, 2, 9))),
        ),
    )
    flow = (
        struct.pack("!HHIIIIBBH", 5, 1, 1000, 1795309200, 0, 0, 0, 0, 0)
        + bytes((169, 254, 169, 254))
        + bytes(44)
    )
    yield "benign-netflow", [ethernet(udp(flow, VICTIM, 50000, "10.20.2.90", 2055), VICTIM_MAC, ROUTER_MAC)]
    yield "benign-tls-aws", tls("sts.amazonaws.com").frames + tls("s3.amazonaws.com", 40101).frames
    plain: list[Callable[[], list[bytes]]] = [
        lambda: web(
            request("/index.html", host="www.example.net"), response("<html>hello</html>", kind="text/html")
        ),
        lambda: tls("www.example.net").frames,
        lambda: asks(("www.example.net", 1, bytes((192, 0, 2, 1))), ("www.example.net", 28, b"")),
    ]
    yield "benign-plain", [frame for one in plain for frame in one()]


def captures() -> Iterator[tuple[str, list[bytes]]]:
    """Yield names and frames."""
    for part in (tcp_shapes, http_shapes, uses, names, benign):
        yield from part()
