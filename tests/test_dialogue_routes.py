"""The ways in which an impostor gets the traffic (routes, translation, proxies), and what follows from it."""

from __future__ import annotations

import struct

import pytest

from dialogue_cases import (
    KEY,
    ROLES,
    TOKEN_HEADERS,
    credentials,
    events_of,
    finding_of,
    findings_of,
    observed_of,
    request,
    response,
)
from frames import (
    ACK,
    ENDPOINT,
    IPV6,
    PSH,
    ROUTER_MAC,
    SYN,
    VICTIM,
    VICTIM_MAC,
    Talk,
    ethernet,
    frames,
    icmp,
    ip4,
    ip6,
    udp,
)
from test_dhcp import ACK as DHCP_ACK
from test_dhcp import HOST_ROUTE, SERVER, message, option
from test_nd import prefix, router

LIST = request("GET", ROLES, "X-aws-ec2-metadata-token: AQAAAFAKE")
ROLE = request("GET", ROLES + "app", "X-aws-ec2-metadata-token: AQAAAFAKE")
TOKEN = request("PUT", "/latest/api/token", *TOKEN_HEADERS)
ROGUE_MAC = "02:00:00:00:66:01"
BROADCAST = "ff:ff:ff:ff:ff:ff"


def dhcp(
    body: bytes, src: str = "10.0.1.66", dst: str = "255.255.255.255", ports: tuple[int, int] = (67, 68)
) -> bytes:
    return ethernet(ip4(udp(body, *ports), 17, src, dst), src=ROGUE_MAC, dst=BROADCAST)


# Routes


def test_a_dhcp_route_names_server_client_and_next_hop() -> None:
    found = finding_of(frames([dhcp(message(DHCP_ACK, SERVER, option(121, HOST_ROUTE)))]))
    assert (found.stage, found.rule, found.severity) == ("answered", "imds-route-offered", "high")
    assert found.victim == {"ip": "10.0.1.5", "mac": "02:00:00:00:01:05"}
    assert found.responder == {"ip": "10.0.1.66", "mac": ROGUE_MAC, "gateway": "10.0.1.66"}


@pytest.mark.parametrize(
    "octets", ["00 0a000101", "01 00 0a000101 01 80 0a000101", "20 a9fea9fd 0a000101", "08 0a 0a000101", ""]
)
def test_a_default_route_and_other_routes_are_no_offer(octets: str) -> None:
    assert findings_of(frames([dhcp(message(DHCP_ACK, SERVER, option(121, bytes.fromhex(octets))))])) == []


@pytest.mark.parametrize("kind", [1, 3, 6])
def test_only_offers_and_acknowledgements_route(kind: int) -> None:
    body = message(option(53, bytes((kind,))), option(121, HOST_ROUTE), op=1 if kind < 6 else 2)
    assert findings_of(frames([dhcp(body)])) == []


def test_a_relayed_reply_names_the_server_not_the_relay() -> None:
    body = message(DHCP_ACK, option(54, bytes((10, 9, 9, 9))), option(249, HOST_ROUTE), giaddr="0a000101")
    for dst, ports in (("10.0.1.1", (67, 67)), ("10.0.1.5", (67, 68))):
        found = finding_of(frames([dhcp(body, "10.0.1.1", dst, ports)]))
        assert found.victim["ip"] == "10.0.1.5"
        assert found.responder == {"ip": "10.9.9.9", "gateway": "10.0.1.66"}


def test_a_sender_that_names_another_server_is_told_itself() -> None:
    body = message(DHCP_ACK, option(54, bytes((10, 0, 1, 1))), option(121, HOST_ROUTE))
    assert finding_of(frames([dhcp(body)])).responder["ip"] == "10.0.1.66"


def test_a_client_without_an_address_is_known_by_its_card() -> None:
    found = finding_of(frames([dhcp(message(DHCP_ACK, option(121, HOST_ROUTE), yiaddr="00000000"))]))
    assert found.victim == {"mac": "02:00:00:00:01:05"}


@pytest.mark.parametrize(
    ("option", "network"),
    [
        (prefix("fd000ec2000000000000000000000000", 64), "fd00:ec2::/64"),
        ("1802200000000708fd000ec200000000", "fd00:ec2::/32"),
        ("1803800000000708fd000ec2000000000000000000000254", "fd00:ec2::254/128"),
    ],
)
def test_a_router_advertisement_names_its_sender_and_no_victim(option: str, network: str) -> None:
    advert = ethernet(
        ip6(router(option), 58, "fe80::66", "ff02::1", 255), IPV6, ROGUE_MAC, "33:33:00:00:00:01"
    )
    found = finding_of(frames([advert]))
    assert (found.stage, found.rule, found.victim) == ("answered", "imds-route-offered", {})
    assert found.responder == {"ip": "fe80::66", "mac": ROGUE_MAC}
    assert network in found.evidence[0].excerpt


def test_other_prefixes_are_no_offer() -> None:
    sent = router(prefix("fd123456000000000000000000000000", 64), "1801000000000708")
    advert = ethernet(ip6(sent, 58, "fe80::1", "ff02::1", 255), IPV6, ROUTER_MAC)
    assert observed_of(frames([advert])) == []


def test_a_redirect_is_an_offer_of_its_sender() -> None:
    quoted = ip4(bytes(8), 6)
    redirect = ethernet(
        ip4(icmp(5, 1, bytes((10, 0, 1, 66)), quoted), 1, "10.0.1.1", VICTIM), src=ROUTER_MAC, dst=VICTIM_MAC
    )
    found = finding_of(frames([redirect]))
    assert (found.stage, found.rule, found.victim["ip"]) == ("answered", "imds-route-offered", VICTIM)
    assert found.responder == {"ip": "10.0.1.1", "mac": ROUTER_MAC, "gateway": "10.0.1.66"}


def test_a_redirect_of_ipv6_is_an_offer_of_its_sender() -> None:
    gateway, endpoint = "fe800000000000000000000000000066", "fd000ec2000000000000000000000254"
    body = bytes.fromhex(f"89 00 0000 00000000 {gateway} {endpoint}")
    redirect = ethernet(ip6(body, 58, "fe80::1", "2001:db8::5", 255), IPV6, ROUTER_MAC, VICTIM_MAC)
    found = finding_of(frames([redirect]))
    assert (found.rule, found.victim["ip"], found.responder["gateway"]) == (
        "imds-route-offered", "2001:db8::5", "fe80::66",
    )  # fmt: skip


# Translation


def both_sides(outer: Talk, inner: Talk, order: int = 0) -> list[bytes]:
    """Interleave as a router passes packets on: requests outside first, answers inside first."""
    out: list[bytes] = []
    for one, other in zip(outer.sent, inner.sent, strict=True):
        from_client = one[6:12] == bytes.fromhex(outer.client_mac.replace(":", ""))
        out += [one, other] if from_client != bool(order) else [other, one]
    return out


def asked(talk: Talk) -> Talk:
    return talk.handshake().ask(TOKEN, response("AQAAAFAKE")).ask(ROLE, response(credentials())).close()


@pytest.mark.parametrize("order", [0, 1])
def test_the_machine_behind_a_translation_is_named(order: int) -> None:
    outer = asked(Talk(server_mac=ROUTER_MAC, server_ttl=63))
    inner = asked(
        Talk(
            server="10.20.2.66",
            dport=8080,
            client_mac="02:00:00:00:02:01",
            server_mac=ROGUE_MAC,
            server_ttl=64,
        )
    )
    found = finding_of(frames(both_sides(outer, inner, order)))
    assert (found.stage, found.victim["ip"], found.rules["imds-redirected"] >= 1) == (
        "credentials-served", VICTIM, True,
    )  # fmt: skip
    assert found.responder["nat_ip"] == "10.20.2.66"
    assert ROGUE_MAC in {found.responder["mac"], *(one["mac"] for one in found.responders)}
    assert found.rules["imds-credentials-served"] == 1, "the other side is not counted again"


def test_a_translation_of_both_addresses_is_told_by_the_octets() -> None:
    outer = asked(Talk(server_mac=ROUTER_MAC))
    inner = asked(
        Talk(
            client="10.20.2.1",
            sport=61000,
            client_isn=77,
            server="10.20.2.66",
            dport=8080,
            server_mac=ROGUE_MAC,
        )
    )
    found = finding_of(frames(both_sides(outer, inner)))
    assert (found.victim["ip"], found.responder["nat_ip"]) == (VICTIM, "10.20.2.66")


def test_the_same_request_much_later_is_no_translation() -> None:
    outer, later = (
        asked(Talk()),
        asked(Talk(client="10.0.7.7", sport=50000, client_isn=9, server="10.20.2.66")),
    )
    sent = [*frames(outer.sent), *(one for one in frames(later.sent))]
    moved = [one if n < len(outer.sent) else _at(one, one.time + 60, n + 1) for n, one in enumerate(sent)]
    victims = {one.victim["ip"] for one in findings_of(moved)}
    assert victims == {VICTIM, "10.0.7.7"}
    assert not any("nat_dst" in event and event["dst_ip"] == ENDPOINT for event in events_of(moved))


def _at(one, time, number):  # type: ignore[no-untyped-def]
    return type(one)(number, time, one.data, one.length, one.linktype)


def test_seen_inside_alone_the_host_header_still_tells() -> None:
    found = finding_of(asked(Talk(server="10.20.2.66", dport=8080, server_mac=ROGUE_MAC)).frames())
    assert (found.stage, found.responder["ip"], found.responder["nat_ip"], found.responder["mac"]) == (
        "credentials-served", ENDPOINT, "10.20.2.66", ROGUE_MAC,
    )  # fmt: skip


# Proxies and tunnels


def test_absolute_form_through_a_proxy() -> None:
    proxy = Talk(server="10.0.1.20", dport=3128).handshake()
    proxy.ask(TOKEN.replace(b"/latest", b"http://169.254.169.254/latest", 1), response("AQAAAFAKE"))
    proxy.ask(ROLE.replace(b"/latest", b"http://169.254.169.254/latest", 1), response(credentials())).close()
    found = finding_of(proxy.frames())
    assert (found.stage, found.responder["ip"], found.responder["nat_ip"]) == (
        "credentials-served", ENDPOINT, "10.0.1.20",
    )  # fmt: skip


CONNECT = request("CONNECT", "169.254.169.254:80", host="169.254.169.254:80")
OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def test_http_in_a_tunnel() -> None:
    talk = Talk(server="10.0.1.20", dport=3128).handshake().ask(CONNECT, OPENED)
    talk.ask(TOKEN, response("AQAAAFAKE")).ask(ROLE, response(credentials())).close()
    found = finding_of(talk.frames())
    assert (found.stage, found.count) == ("credentials-served", 3)


@pytest.mark.parametrize(
    ("reply", "through", "stage"),
    [
        (OPENED, b"\x16\x03\x03\x00\x02\x02\x00", "answered"),
        (OPENED, b"", "attempted"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\noops", b"", "attempted"),
    ],
)
def test_a_tunnel_to_the_endpoint(reply: bytes, through: bytes, stage: str) -> None:
    """The success is the proxy's; only what comes through the tunnel is an answer."""
    talk = Talk(server="10.0.1.20", dport=3128).handshake().ask(CONNECT.replace(b":80", b":443"), reply)
    if through:
        talk.send(0, client_hello("x.example"), ACK | PSH).send(1, through, ACK | PSH).send(0)
    talk.close()
    assert finding_of(talk.frames()).stage == stage


@pytest.mark.parametrize("status", [407, 502, 503, 504])
def test_a_proxy_that_says_so_made_the_reply_itself(status: int) -> None:
    asked_for = TOKEN.replace(b"/latest", b"http://169.254.169.254/latest", 1)
    talk = Talk(server="10.0.1.20", dport=3128).handshake().ask(asked_for, response("", status)).close()
    (event,) = events_of(talk.frames())
    assert (event["reply_by"], event["answered"]) == ("proxy", False)


def test_tls_to_the_endpoint_is_answered_by_what_it_says_back() -> None:
    talk = (
        Talk(dport=443)
        .handshake()
        .ask(client_hello("169.254.169.254.example"), b"\x16\x03\x03\x00\x00")
        .close()
    )
    found = finding_of(talk.frames())
    assert (found.stage, found.count) == ("answered", 1)
    assert "TLS 169.254.169.254.example" in found.evidence[0].excerpt


# Names


def test_a_lookup_and_its_answer_are_one_event() -> None:
    query = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\x0dinstance-data\x00\x00\x01\x00\x01"
    answer = (
        struct.pack(">HHHHHH", 7, 0x8180, 1, 1, 0, 0) + query[12:] + b"\xc0\x0c\x00\x01\x00\x01" + bytes(4)
    )
    answer += b"\x00\x04" + bytes((169, 254, 169, 254))
    asks = ethernet(ip4(udp(query), 17, VICTIM, "10.0.1.53"))
    says = ethernet(ip4(udp(answer, 53, 40112), 17, "10.0.1.53", VICTIM))
    (event,) = events_of(frames([asks, asks, says, says]))
    assert event["dns_answer"] == ("169.254.169.254",)
    found = finding_of(frames([asks, asks, says, says]))
    assert (found.rule, found.stage, found.victim["ip"], found.count) == (
        "imds-name-lookup", "attempted", VICTIM, 1,
    )  # fmt: skip
    assert finding_of(frames([asks])).count == 1
    assert finding_of(frames([says])).victim["ip"] == VICTIM
    assert [one.number for one in observed_of(frames([asks, asks], step=60))] == [1, 2]


# Use


def client_hello(name: str) -> bytes:
    host = name.encode()
    names = struct.pack(">HBH", len(host) + 3, 0, len(host)) + host
    extensions = struct.pack(">HH", 0, len(names)) + names
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += struct.pack(">H", len(extensions)) + extensions
    hello = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack(">H", len(hello)) + hello


def after(served: Talk, *others: Talk) -> list:  # type: ignore[type-arg]
    return frames([data for talk in (served, *others) for data in talk.sent])


def tls(name: str, client: str = VICTIM, piece: int = 1448, sport: int = 41000) -> Talk:
    talk = Talk(client=client, server="198.51.100.7", sport=sport, dport=443).handshake()
    return talk.ask(client_hello(name), b"\x16\x03\x03\x00\x02\x02\x00", piece).close()


def signed(key: str, client: str = VICTIM, host: str = "s3.corp.example") -> Talk:
    scope = f"Credential={key}/20261122/us-east-1/s3/aws4_request"
    header = f"Authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"
    asked = request("GET", "/bucket", header, host=host)
    return (
        Talk(client=client, server="198.51.100.8", sport=41001).handshake().ask(asked, response("x")).close()
    )


@pytest.mark.parametrize("piece", [1448, 1])
@pytest.mark.parametrize(
    "name",
    ["sts.amazonaws.com", "sts.amazonaws.com.", "ec2.cn-north-1.amazonaws.com.cn", "s3.us-east-1.api.aws"],
)
def test_contact_with_aws_after_credentials_is_use(name: str, piece: int) -> None:
    found = finding_of(after(asked(Talk()), tls(name, piece=piece)))
    assert (found.stage, found.rule) == ("credentials-used", "imds-credentials-used")
    assert found.account["access_key_id"] == KEY


def test_contact_before_or_of_others_or_with_others_is_no_use() -> None:
    assert finding_of(after(tls("sts.amazonaws.com"), asked(Talk()))).stage == "credentials-served"
    assert (
        finding_of(after(asked(Talk()), tls("sts.amazonaws.com", "10.0.1.6"))).stage == "credentials-served"
    )
    assert finding_of(after(asked(Talk()), tls("example.com"))).stage == "credentials-served"


def test_the_step_of_use_is_known_in_one_pass() -> None:
    events = events_of(after(tls("sts.amazonaws.com"), asked(Talk()), tls("sts.amazonaws.com", sport=41009)))
    assert [str(one.get("step")) for one in events if "tls_sni" in one] == ["None", "use"]


@pytest.mark.parametrize("name", ["sts.amazonaws.com", "sts.amazonaws.com."])
@pytest.mark.parametrize("hello", ["sts.amazonaws.com", "sts.amazonaws.com."])
def test_a_tunnel_to_aws_is_use(name: str, hello: str) -> None:
    proxy = Talk(server="10.0.1.20", sport=41003, dport=3128).handshake()
    proxy.ask(request("CONNECT", f"{name}:443", host=f"{name}:443"), OPENED)
    proxy.ask(client_hello(hello), b"\x16\x03\x03\x00\x02\x02\x00").close()
    found = finding_of(after(asked(Talk()), proxy))
    assert (found.stage, found.rules["imds-credentials-used"]) == ("credentials-used", 1)


def test_a_served_key_id_that_signs_is_use_wherever_it_goes() -> None:
    found = finding_of(after(asked(Talk()), signed(KEY)))
    assert found.stage == "credentials-used"
    assert f"signed with {KEY}" in " ".join(one.excerpt for one in found.evidence)
    assert "Signature" not in repr(found)


def test_another_host_that_signs_with_the_served_key_id_is_found() -> None:
    used, served = findings_of(after(asked(Talk()), signed(KEY, "10.0.1.6")))
    if used.stage != "credentials-used":
        used, served = served, used
    assert (used.stage, used.victim["ip"], used.account["access_key_id"]) == (
        "credentials-used",
        "10.0.1.6",
        KEY,
    )
    assert (served.stage, served.victim["ip"]) == ("credentials-served", VICTIM)


def test_a_signature_with_a_key_of_its_own_is_no_use() -> None:
    own = signed("AKIAQAAAAAAAOWNFAKEX", host="sts.amazonaws.com")
    assert finding_of(after(asked(Talk()), own)).stage == "credentials-served"


def test_a_handshake_with_aws_alone_is_no_event() -> None:
    assert observed_of(Talk(server="198.51.100.7", dport=443).send(0, flags=SYN).frames()) == []
