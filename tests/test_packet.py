"""Frames in every wrapping come down to the same packet; whatever cannot be read makes no noise and no harm.

Longer than most, as two tables list every link type and every tunnel.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import frames as f
from imdswatch.wire import links
from imdswatch.wire.frame import Frame
from imdswatch.wire.packet import Fragments, Packet, decode, decode_ip

GET = b"GET /latest/meta-data/ HTTP/1.1\r\n"
INNER4 = f.ip4(f.tcp(GET, seq=77, ack=99), ttl=61)
INNER6 = f.ip6(f.tcp(GET, seq=77, ack=99), ttl=61)
MIRRORED = f.ethernet(INNER4, src="02:aa:00:00:00:01", dst="02:aa:00:00:00:02")
TAGGED = f.ethernet(INNER4, src="02:aa:00:00:00:01", dst="02:aa:00:00:00:02", vlans=[(0x8100, 42)])
PPTP = struct.pack(">HHHHI", 0x3001, 0x880B, 4 + len(INNER4), 33, 1)


def read(frame: Frame) -> tuple[Packet, ...]:
    return tuple(decode(frame, Fragments()))


def one(frame: Frame) -> Packet:
    (packet,) = read(frame)
    return packet


def outer(payload: bytes, protocol: int, **more: int) -> bytes:
    return f.ip4(payload, protocol, "192.0.2.1", "192.0.2.2", ttl=250, **more)


def over_udp(payload: bytes, port: int) -> Frame:
    return f.frame(f.ethernet(outer(f.udp(payload, 50000, port), 17)))


# The link types: what comes down must be the same packet, and only Ethernet and Linux cooked name the sender's MAC.
LINKS: dict[str, tuple[Frame, str | None]] = {
    "ethernet": (f.frame(f.ethernet(INNER4)), f.VICTIM_MAC),
    "ethernet v6": (f.frame(f.ethernet(INNER6, f.IPV6)), f.VICTIM_MAC),
    "802.3 snap": (f.frame(f.snap(INNER4)), f.VICTIM_MAC),
    "802.3 llc ip": (
        f.frame(f.ethernet(b"\x06\x06\x03" + INNER4, 3 + len(INNER4))),
        f.VICTIM_MAC,
    ),
    "sll": (f.frame(f.sll(INNER4), linktype=113), f.VICTIM_MAC),
    "sll tunnel device": (f.frame(f.sll(INNER4, hardware=65534), linktype=113), None),
    "sll tagged": (f.frame(f.sll(struct.pack(">HH", 0, f.IPV4) + INNER4, f.VLAN), linktype=113), f.VICTIM_MAC),
    "sll2": (f.frame(f.sll2(INNER6, f.IPV6), linktype=276), f.VICTIM_MAC),
    "raw 12": (f.frame(INNER4, linktype=12), None),
    "raw 14": (f.frame(INNER6, linktype=14), None),
    "raw 101": (f.frame(INNER4, linktype=101), None),
    "raw ipv4": (f.frame(INNER4, linktype=228), None),
    "raw ipv6": (f.frame(INNER6, linktype=229), None),
    "null little": (f.frame(b"\x02\0\0\0" + INNER4, linktype=0), None),
    "null big": (f.frame(b"\0\0\0\x02" + INNER4, linktype=0), None),
    "null darwin v6": (f.frame(b"\x1e\0\0\0" + INNER6, linktype=0), None),
    "null freebsd v6": (f.frame(b"\0\0\0\x1c" + INNER6, linktype=0), None),
    "loop openbsd v6": (f.frame(b"\0\0\0\x18" + INNER6, linktype=108), None),
    "ppp": (f.frame(b"\xff\x03\x00\x21" + INNER4, linktype=9), None),
    "ppp without address": (f.frame(b"\x00\x57" + INNER6, linktype=9), None),
    "ppp compressed protocol": (f.frame(b"\x21" + INNER4, linktype=9), None),
    "ppp hdlc": (f.frame(b"\xff\x03\x00\x57" + INNER6, linktype=50), None),
    "cisco hdlc": (f.frame(b"\x0f\x00\x08\x00" + INNER4, linktype=104), None),
    "vn-tag": (f.frame(f.ethernet(struct.pack(">IH", 0x80010002, f.IPV4) + INNER4, 0x8926)), f.VICTIM_MAC),
    "e-tag": (f.frame(f.ethernet(struct.pack(">IHH", 0, 0, f.IPV4) + INNER4, 0x893F)), f.VICTIM_MAC),
    "cisco metadata": (f.frame(f.ethernet(struct.pack(">BBHHH", 1, 1, 1, 5, f.IPV4) + INNER4, 0x8909)), f.VICTIM_MAC),
}  # fmt: skip


@pytest.mark.parametrize("case", LINKS)
def test_every_link_leads_to_the_packet(case: str) -> None:
    frame, mac = LINKS[case]
    packet = one(frame)
    assert (packet.kind, packet.sport, packet.dport) == ("tcp", 40112, 80)
    assert (packet.seq, packet.ack, packet.flags, packet.ttl) == (77, 99, f.ACK | f.PSH, 61)
    assert (packet.src, packet.dst) in ((f.VICTIM, f.ENDPOINT), (f.VICTIM6, f.ENDPOINT6))
    assert packet.payload == GET
    assert packet.missing == 0
    assert packet.src_mac == mac
    assert packet.tunnels == ()


# The tunnels; what they carry keeps its own MACs and TTL, and VLAN where it has one.
TUNNELS: dict[str, tuple[Frame, tuple[str, ...], tuple[int, ...], bool]] = {
    "gre ip": (f.frame(f.ethernet(outer(f.gre(INNER4, f.IPV4), 47))), ("gre",), (), False),
    "gre v6": (f.frame(f.ethernet(outer(f.gre(INNER6, f.IPV6), 47))), ("gre",), (), False),
    "gre all fields": (
        f.frame(f.ethernet(outer(f.gre(INNER4, f.IPV4, True, 5, 6), 47))), ("gre:5",), (), False,
    ),
    "gretap": (f.frame(f.ethernet(outer(f.gre(TAGGED, f.TEB, key=3), 47))), ("gre:3",), (42,), True),
    "gre over v6": (
        f.frame(f.ethernet(f.ip6(f.gre(MIRRORED, f.TEB), 47, "2001:db8::1", "2001:db8::2"), f.IPV6)),
        ("gre",), (), True,
    ),
    "gre mpls": (f.frame(f.ethernet(outer(f.gre(f.mpls(INNER4, 16), f.MPLS), 47))), ("gre", "mpls:16"), (), False),
    "erspan 1": (f.frame(f.ethernet(outer(f.erspan1(MIRRORED), 47))), ("erspan",), (), True),
    "erspan 2": (f.frame(f.ethernet(outer(f.erspan2(MIRRORED, 9), 47))), ("erspan:9",), (), True),
    "erspan 2 vlan": (f.frame(f.ethernet(outer(f.erspan2(MIRRORED, 9, 210), 47))), ("erspan:9",), (210,), True),
    "erspan 2 tagged": (f.frame(f.ethernet(outer(f.erspan2(TAGGED, 9, 210), 47))), ("erspan:9",), (42,), True),
    "erspan 3": (f.frame(f.ethernet(outer(f.erspan3(MIRRORED, 9, 210), 47))), ("erspan:9",), (210,), True),
    "erspan 3 subheader": (
        f.frame(f.ethernet(outer(f.erspan3(MIRRORED, 9, subheader=True), 47))), ("erspan:9",), (), True,
    ),
    "erspan 3 ip": (f.frame(f.ethernet(outer(f.erspan3(INNER6, 9, frame_type=2), 47))), ("erspan:9",), (), False),
    "vxlan": (over_udp(f.vxlan(MIRRORED), 4789), ("vxlan:7",), (), True),
    "vxlan before iana": (over_udp(f.vxlan(TAGGED, 0xABCDEF), 8472), ("vxlan:11259375",), (42,), True),
    "vxlan gpe ip": (over_udp(struct.pack(">II", 0x0C000001, 7 << 8) + INNER4, 4790), ("vxlan:7",), (), False),
    "geneve": (over_udp(f.geneve(MIRRORED), 6081), ("geneve:7",), (), True),
    "geneve options": (over_udp(f.geneve(MIRRORED, options=bytes(12)), 6081), ("geneve:7",), (), True),
    "geneve ip": (over_udp(f.geneve(INNER4, protocol=f.IPV4), 6081), ("geneve:7",), (), False),
    "mpls": (f.frame(f.ethernet(f.mpls(INNER4, 16, 17), f.MPLS)), ("mpls:16/17",), (), False),
    "mpls v6": (f.frame(f.ethernet(f.mpls(INNER6, 2), f.MPLS)), ("mpls:2",), (), False),
    "pseudowire": (f.frame(f.ethernet(f.mpls(bytes(4) + MIRRORED, 16), f.MPLS)), ("mpls:16",), (), True),
    "pseudowire without control word": (f.frame(f.ethernet(f.mpls(MIRRORED, 16), f.MPLS)), ("mpls:16",), (), True),
    "pseudowire to a mac like an ip version": (
        f.frame(f.ethernet(f.mpls(b"\x42" + f.ethernet(INNER4)[1:], 16), f.MPLS)), ("mpls:16",), (), False,
    ),
    "ip in ip": (f.frame(f.ethernet(outer(INNER4, 4))), ("ipv4",), (), False),
    "6in4": (f.frame(f.ethernet(outer(INNER6, 41))), ("ipv6",), (), False),
    "4in6": (f.frame(f.ethernet(f.ip6(INNER4, 4), f.IPV6)), ("ipv4",), (), False),
    "6in6": (f.frame(f.ethernet(f.ip6(INNER6, 41), f.IPV6)), ("ipv6",), (), False),
    "etherip": (f.frame(f.ethernet(outer(b"\x30\x00" + MIRRORED, 97))), ("etherip",), (), True),
    "pppoe": (f.frame(f.ethernet(f.pppoe(INNER4), f.PPPOE)), ("pppoe:9",), (), False),
    "pppoe v6": (f.frame(f.ethernet(f.pppoe(INNER6, 9, 0x57), f.PPPOE)), ("pppoe:9",), (), False),
    "pptp": (
        f.frame(f.ethernet(outer(PPTP + b"\xff\x03\x00\x21" + INNER4, 47))),
        ("pptp:33",), (), False,
    ),
    "wccp": (f.frame(f.ethernet(outer(f.gre(bytes(4) + INNER4, 0x883E), 47))), ("wccp",), (), False),
    "vxlan in erspan": (
        f.frame(f.ethernet(outer(f.erspan2(f.ethernet(outer(f.udp(f.vxlan(TAGGED), 5, 4789), 17))), 47))),
        ("erspan:7", "vxlan:7"), (42,), True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TUNNELS)
def test_every_tunnel_leads_to_the_packet_inside(case: str) -> None:
    frame, tunnels, vlan, bridged = TUNNELS[case]
    packet = one(frame)
    assert (packet.kind, packet.sport, packet.dport, packet.ttl) == ("tcp", 40112, 80, 61)
    assert (packet.src, packet.dst) in ((f.VICTIM, f.ENDPOINT), (f.VICTIM6, f.ENDPOINT6))
    assert packet.payload == GET
    assert packet.ip_bytes == len(INNER6 if ":" in (packet.dst or "") else INNER4)
    assert packet.tunnels == tunnels
    assert packet.vlan == vlan
    if "mac like" in case:
        assert packet.dst_mac == "42" + f.RESPONDER_MAC[2:]
        return
    macs: tuple[str | None, str | None] = (
        None,
        None,
    )  # those of a tunnel over IP are its ends', not the packet's
    if bridged:
        macs = "02:aa:00:00:00:01", "02:aa:00:00:00:02"
    elif tunnels[0].partition(":")[0] in ("mpls", "pppoe"):
        macs = f.VICTIM_MAC, f.RESPONDER_MAC
    assert (packet.src_mac, packet.dst_mac) == macs


def test_vlans_are_told_outer_first_and_a_priority_is_no_vlan() -> None:
    tags = [(0x88A8, 100), (0x8100, 0xE000 | 42)]
    assert one(f.frame(f.ethernet(INNER4, vlans=tags))).vlan == (100, 42)
    assert one(f.frame(f.ethernet(INNER4, vlans=[(0x9100, 7), (0x8100, 8)]))).vlan == (7, 8)
    assert one(f.frame(f.ethernet(INNER4, vlans=[(0x8100, 0xA000)]))).vlan == ()
    tagged = f.ethernet(outer(f.udp(f.vxlan(MIRRORED), 5, 4789), 17), vlans=[(0x8100, 3)])
    assert one(f.frame(tagged)).vlan == ()  # the tunnel's, not the victim's
    assert one(f.frame(f.ethernet(f.mpls(INNER4, 16), f.MPLS, vlans=[(0x8100, 3)]))).vlan == (3,)
    inner_tagged = f.ethernet(outer(f.udp(f.vxlan(TAGGED), 5, 4789), 17), vlans=[(0x8100, 3)])
    assert one(f.frame(inner_tagged)).vlan == (42,)
    assert read(f.frame(f.ethernet(INNER4, vlans=[(0x8100, n) for n in range(1, 20)]))) == ()


def test_a_tunnel_that_cannot_be_read_is_its_own_packet() -> None:
    packet = one(over_udp(b"\0\0\0\0no vxlan at all", 4789))
    assert (packet.kind, packet.dst, packet.dport, packet.payload) == (
        "udp",
        "192.0.2.2",
        4789,
        b"\0\0\0\0no vxlan at all",
    )
    packet = one(f.frame(f.ethernet(outer(f.gre(b"\x01\x02", 0x1234), 47))))
    assert (packet.kind, packet.dst, packet.payload) == ("other", "192.0.2.2", b"")


def test_tunnels_in_tunnels_have_a_bottom() -> None:
    data = INNER4
    for _ in range(8):
        data = outer(data, 4)
    assert one(f.frame(data, linktype=101)).tunnels == ("ipv4",) * 8
    packet = one(f.frame(outer(data, 4), linktype=101))
    assert (packet.kind, packet.dst) == ("other", "192.0.2.2")
    for _ in range(2000):
        data = outer(data, 4)
    assert one(f.frame(data, linktype=101)).kind == "other"


def test_padding_is_no_payload_and_options_are_no_payload() -> None:
    assert one(f.frame(f.ethernet(f.ip4(f.tcp(b""))))).payload == b""
    assert one(f.frame(f.ethernet(f.ip4(f.tcp(b"x"))))).payload == b"x"
    assert one(f.frame(f.ethernet(f.ip6(f.tcp(b"xy")), f.IPV6) + b"trailer")).payload == b"xy"
    options = f.ip4(f.tcp(b"xy", options=bytes(12)), options=b"\x94\x04\0\0")
    packet = one(f.frame(f.ethernet(options)))
    assert (packet.payload, packet.ip_bytes) == (b"xy", 24 + 32 + 2)
    assert one(f.frame(f.ethernet(f.ip4(f.udp(b"abc", length=9), 17)))).payload == b"a"
    assert one(f.frame(f.ethernet(f.ip4(f.udp(b"abc", length=8), 17)))).payload == b""
    assert one(f.frame(f.ethernet(f.ip4(f.udp(b"a" * 30, length=0), 17)))).payload == b"a" * 30


def test_a_total_length_of_zero_takes_the_frame() -> None:
    packet = one(f.frame(f.ethernet(f.ip4(f.tcp(b"x" * 5000), total=0))))
    assert (len(packet.payload), packet.missing, packet.ip_bytes) == (5000, 0, 5040)
    packet = one(f.frame(f.ethernet(f.ip6(f.tcp(b"x" * 5000), length=0), f.IPV6)))
    assert (len(packet.payload), packet.ip_bytes) == (5000, 5060)
    jumbo = struct.pack(">BBBBI", 6, 0, 0xC2, 4, 5028) + f.tcp(b"x" * 5000)
    assert len(one(f.frame(f.ethernet(f.ip6(jumbo, 0, length=0), f.IPV6))).payload) == 5000


def test_what_the_snapshot_length_cut_is_counted() -> None:
    data = f.ethernet(f.ip4(f.tcp(GET, options=bytes(12))))
    whole = len(data)
    for kept in range(whole):
        packets = read(f.frame(data[:kept], length=whole))
        if kept < 14 + 20:
            assert packets == ()
        elif kept < 14 + 20 + 14:
            assert (packets[0].kind, packets[0].dst) == ("other", f.ENDPOINT)
            assert packets[0].dport == (80 if kept >= 14 + 20 + 4 else None)
        else:
            assert (packets[0].kind, packets[0].seq) == ("tcp", 1000)
            assert len(packets[0].payload) == max(0, kept - 66)
            assert len(packets[0].payload) + packets[0].missing == len(GET)


@pytest.mark.parametrize(
    "chain",
    [
        lambda rest: (0, f.extension(rest, 6)),
        lambda rest: (60, f.extension(rest, 6, 24)),
        lambda rest: (43, f.extension(f.extension(rest, 6), 0)),  # hop-by-hop need not come first to be read
        lambda rest: (51, f.ah(rest, 6)),
        lambda rest: (44, f.fragment6(rest, 6)),  # atomic
        lambda rest: (0, f.extension(f.extension(f.ah(f.fragment6(f.extension(rest, 6), 60), 44), 51), 43)),
        lambda rest: (135, f.extension(rest, 6)),
    ],
)
def test_ipv6_extension_headers_are_passed_over(chain: Callable[[bytes], tuple[int, bytes]]) -> None:
    protocol, data = chain(f.tcp(GET))
    packet = one(f.frame(f.ethernet(f.ip6(data, protocol), f.IPV6)))
    assert (packet.kind, packet.dport, packet.payload) == ("tcp", 80, GET)


def test_extension_headers_without_end_are_given_up() -> None:
    data, protocol = f.tcp(GET), 6
    for _ in range(17):
        data, protocol = f.extension(data, protocol), 60
    assert one(f.frame(f.ethernet(f.ip6(data, protocol), f.IPV6))).kind == "other"
    atomic, protocol = f.tcp(GET), 6
    for _ in range(5000):
        atomic, protocol = f.fragment6(atomic, protocol), 44
    assert one(f.frame(f.ip6(atomic, protocol), linktype=229)).kind == "other"


def test_addresses_have_one_spelling() -> None:
    mapped = one(f.frame(f.ethernet(f.ip6(f.tcp(), dst="::ffff:169.254.169.254"), f.IPV6)))
    assert mapped.dst == f.ENDPOINT
    assert one(f.frame(f.ethernet(f.ip6(f.tcp(), dst="64:ff9b::a9fe:a9fe"), f.IPV6))).dst == f.ENDPOINT
    assert one(f.frame(f.ethernet(f.ip6(f.tcp(), dst="2002:a9fe:a9fe::"), f.IPV6))).dst == f.ENDPOINT
    assert one(f.frame(f.ethernet(f.ip6(f.tcp(), dst="64:ff9b::808:808"), f.IPV6))).dst == "64:ff9b::808:808"
    assert one(f.frame(f.ethernet(f.ip6(f.tcp(), dst="fd00:0ec2:0:0:0:0:0:254"), f.IPV6))).dst == f.ENDPOINT6


def test_arp_icmp_and_udp() -> None:
    body = f.arp(2, (f.RESPONDER_MAC, f.ENDPOINT), (f.VICTIM_MAC, f.VICTIM))
    packet = one(f.frame(f.ethernet(body, f.ARP, src="02:99:00:00:00:99", vlans=[(0x8100, 4)])))
    assert packet[1:8] == ("arp", f.ENDPOINT, f.VICTIM, f.RESPONDER_MAC, f.VICTIM_MAC, (4,), None)
    assert packet.payload == body
    assert read(f.frame(f.ethernet(body[:27], f.ARP, pad=False))) == ()
    assert read(f.frame(f.ethernet(b"\0\x06" + body[2:], f.ARP))) != ()  # the hardware may be another
    assert read(f.frame(f.ethernet(body[:4] + b"\x08" + body[5:], f.ARP))) == ()  # its addresses may not
    message = f.icmp(3, 13, body=f.ip4(f.tcp(flags=f.SYN))[:28])
    packet = one(f.frame(f.ethernet(f.ip4(message, 1, "10.0.1.1", f.VICTIM))))
    assert (packet.kind, packet.payload) == ("icmp", message)
    packet = one(f.frame(f.ethernet(f.ip6(f.icmp(136, 0, bytes(20)), 58), f.IPV6)))
    assert (packet.kind, packet.payload[0]) == ("icmp6", 136)
    packet = one(f.frame(f.ethernet(f.ip4(f.udp(b"query"), 17))))
    assert (packet.kind, packet.dport, packet.payload, packet.flags) == ("udp", 53, b"query", 0)


def test_the_packet_that_an_icmp_error_quotes() -> None:
    quoted = decode_ip(f.ip4(f.tcp(flags=f.SYN, seq=4_000_000_000), ttl=3)[:28])
    assert quoted is not None
    assert quoted[:7] == ("tcp", f.VICTIM, f.ENDPOINT, 3, 40112, 80, 4_000_000_000)
    quoted = decode_ip(f.ip6(f.extension(f.udp(b"q"), 17), 0))
    assert quoted is not None
    assert quoted[:7] == ("udp", f.VICTIM6, f.ENDPOINT6, 64, 40112, 53, None)
    quoted = decode_ip(f.ip4(f.tcp(), offset=1480))
    assert quoted is not None
    assert (quoted.kind, quoted.sport) == ("other", None)
    quoted = decode_ip(f.ip6(f.fragment6(f.tcp(seq=9), 6, more=True), 44))
    assert quoted is not None
    assert (quoted.kind, quoted.dport, quoted.seq) == ("tcp", 80, 9)
    for size in range(20):
        assert decode_ip(f.ip4(f.tcp())[:size]) is None
    assert decode_ip(b"\x10" * 60) is None


@pytest.mark.parametrize(
    "damaged",
    [
        f.ip4(f.tcp())[:19],
        b"\x44" + f.ip4(f.tcp())[1:],  # header length 16
        b"\x55" + f.ip4(f.tcp())[1:],  # version 5
        f.ip4(f.tcp(), total=19),
        f.ip6(f.tcp())[:39],
    ],
)  # fmt: skip
def test_a_damaged_ip_header_is_no_packet(damaged: bytes) -> None:
    assert read(f.frame(f.ethernet(damaged, f.IPV6 if damaged[0] >> 4 == 6 else f.IPV4, pad=False))) == ()


def test_a_damaged_transport_header_leaves_the_addresses() -> None:
    segment = bytearray(f.tcp(b"x"))
    for offset in (0x40, 0xF0):  # 16 octets of header, and more than there are
        segment[12] = offset
        packet = one(f.frame(f.ethernet(f.ip4(bytes(segment)))))
        assert (packet.kind, packet.src, packet.dst, packet.dport, packet.payload) == (
            "other",
            f.VICTIM,
            f.ENDPOINT,
            80,
            b"",
        )
    assert one(f.frame(f.ethernet(f.ip4(b"abc", 17)))).kind == "other"


def test_a_length_beyond_the_frame_counts_as_cut() -> None:
    packet = one(f.frame(f.ethernet(f.ip4(f.tcp(b"x" * 50), total=200))))
    assert (len(packet.payload), packet.missing) == (50, 110)


def test_link_types_are_named_and_unknown_ones_told_apart() -> None:
    assert links.name(1) == "ETHERNET"
    assert links.name(105) == "IEEE802_11"
    assert links.name(4711) == "unknown"
    assert read(f.frame(INNER4, linktype=105)) == ()
    assert 105 not in links.LINKTYPES


SEEDS = [frame for frame, _ in LINKS.values()] + [case[0] for case in TUNNELS.values()]


@given(st.binary(max_size=200), st.sampled_from(sorted(links.LINKTYPES)), st.integers(0, 400))
def test_random_octets_do_no_harm(data: bytes, linktype: int, more: int) -> None:
    for packet in read(Frame(1, None, data, len(data) + more, linktype)):
        assert packet.missing >= 0
        assert len(packet.payload) <= len(data)


@given(st.sampled_from(SEEDS), st.integers(0, 1 << 32))
def test_changed_octets_do_no_harm(seed: Frame, number: int) -> None:
    dice = random.Random(number)
    data = bytearray(seed.data)
    for _ in range(dice.randrange(1, 6)):
        data[dice.randrange(len(data))] = dice.choice((0, 1, 0x45, 0x60, 0xFF, dice.randrange(256)))
    kept = bytes(data[: dice.randrange(len(data) + 1)]) if dice.random() < 0.3 else bytes(data)
    fragments = Fragments()
    for packet in decode(Frame(1, 0.0, kept, len(data), seed.linktype), fragments):
        assert packet.missing >= 0
        assert packet.kind in ("tcp", "udp", "icmp", "icmp6", "arp", "other")
    decode_ip(kept)
