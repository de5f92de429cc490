"""Decoding all packets at once says of each what decoding it alone says, or that somebody should decode it alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import frames as f
from capture_mixes import mix
from imdswatch.wire.columns import REACH, Columns, columns, flow_key
from imdswatch.wire.frame import Frame
from imdswatch.wire.packet import Fragments, Packet, decode

PROTOCOLS = {"tcp": 6, "udp": 17}


def decoded(sent: list[bytes], linktype: int = 1, gap: int = 16) -> tuple[Columns, bytearray]:
    """Return the columns of frames that lie in one buffer, with something between them."""
    buffer, starts, ends = bytearray(), [], []
    for data in sent:
        buffer += b"\xa5" * gap
        starts.append(len(buffer))
        buffer += data
        ends.append(len(buffer))
    buffer += b"\x45" * (2 * REACH)
    return columns(buffer, np.array(starts, np.int64), np.array(ends, np.int64), [(linktype, None)]), buffer


def alone(data: bytes, linktype: int = 1) -> Packet | None:
    packets = decode(Frame(1, None, data, len(data), linktype), Fragments())
    return packets[0] if packets else None


def agrees(sent: list[bytes], linktype: int = 1) -> int:
    """Check every frame that is not odd; return how many these are."""
    found, buffer = decoded(sent, linktype)
    rows = {index: row for row, index in enumerate(found.tcp.tolist())}
    checked = 0
    for index, data in enumerate(sent):
        if found.odd[index]:
            assert index not in rows
            continue
        checked += 1
        packet = alone(data, linktype)
        kind = None if packet is None else packet.kind
        key = int(found.keys[index])
        if packet is None or kind not in PROTOCOLS:
            assert key == 0, data.hex()
            assert index not in rows
            told = (
                packet is not None
                and kind == "icmp"
                and packet.payload[:1] in (b"\x03", b"\x05", b"\x0b", b"\x0c")
            )
            assert found.told[index] or not told
            continue
        assert packet.src is not None
        assert packet.dst is not None
        assert packet.sport is not None
        assert packet.dport is not None
        assert key == flow_key(PROTOCOLS[packet.kind], packet.src, packet.sport, packet.dst, packet.dport)
        if kind == "tcp" and packet.payload:
            row = rows.pop(index)
            assert bytes(buffer[found.starts[row] : found.ends[row]]) == packet.payload
            assert bool(found.cut[row]) == bool(packet.missing)
            assert int.from_bytes(buffer[found.heads[row] + 4 : found.heads[row] + 8]) == packet.seq
        else:
            assert index not in rows
    return checked


@settings(max_examples=150)
@given(st.integers(0, 1 << 40))
def test_what_captures_are_made_of(seed: int) -> None:
    agrees(mix(random.Random(seed)))


@settings(max_examples=150)
@given(st.integers(0, 1 << 40))
def test_frames_with_wrong_octets_and_cut_ones(seed: int) -> None:
    chance = random.Random(seed)
    sent = []
    for data in mix(chance, 4):
        octets = bytearray(data)
        for _ in range(chance.randrange(3)):
            octets[chance.randrange(min(90, len(octets)))] = chance.randrange(256)
        sent.append(
            bytes(octets[: chance.choice((len(octets), len(octets), chance.randrange(len(octets) + 1)))])
        )
    agrees(sent)


@given(
    st.lists(st.binary(max_size=120), min_size=1, max_size=20),
    st.sampled_from([0, 1, 12, 101, 113, 276, 9, 51, 127]),
)
def test_any_octets_on_any_link(sent: list[bytes], linktype: int) -> None:
    agrees(sent, linktype)


LINKS = {
    1: f.ethernet, 12: lambda body, kind=f.IPV4: body, 101: lambda body, kind=f.IPV4: body, 113: f.sll, 276: f.sll2,
    0: lambda body, kind=f.IPV4: b"\x02\0\0\0" + body, 108: lambda body, kind=f.IPV4: b"\0\0\0\x02" + body,
}  # fmt: skip
INNER = {
    "tcp": f.ip4(f.tcp(b"abc")), "udp": f.ip4(f.udp(b"abc"), 17), "tcp6": f.ip6(f.tcp(b"abc")),
    "udp6": f.ip6(f.udp(b"x"), 17),
    "options": f.ip4(f.tcp(b"abc", options=bytes(8)), options=bytes(8)), "padded": f.ip4(f.tcp(b"")) + b"\0" * 6,
    "mapped": f.ip6(f.tcp(b"abc"), src="::ffff:10.0.1.5", dst="::ffff:192.0.2.1"),
}  # fmt: skip


@pytest.mark.parametrize("linktype", LINKS)
@pytest.mark.parametrize("kind", INNER)
def test_common_packets_are_decoded_at_once(kind: str, linktype: int) -> None:
    body = INNER[kind]
    if body[0] >> 4 == 6:
        if linktype in (0, 108):
            return  # the family of IPv6 differs from system to system: decoded alone
        framed = LINKS[linktype](body, f.IPV6)
    else:
        framed = LINKS[linktype](body)
    assert agrees([framed] * 3, linktype) == 3


def test_tunnels_that_span_ports_bring_are_decoded_at_once() -> None:
    inner, whole = f.ip4(f.tcp(b"abc")), f.ethernet(f.ip4(f.tcp(b"abc")))
    carried = [
        f.ip4(f.gre(inner, f.IPV4), 47), f.ip4(f.gre(inner, f.IPV4, True, 7, 9), 47), f.ip4(f.erspan1(whole), 47),
        f.ip4(f.erspan2(whole), 47), f.ip4(f.erspan3(whole), 47), f.ip4(f.erspan3(whole, subheader=True), 47),
        f.ip4(f.udp(f.vxlan(whole), 9, 4789), 17), f.ip4(f.udp(f.geneve(whole, options=bytes(8)), 9, 6081), 17),
        f.ip4(inner, 4), f.ip6(inner, 4), f.ip4(f.ip6(f.tcp(b"abc")), 41), f.ip4(f.gre(whole, f.TEB), 47),
    ]  # fmt: skip
    frames = [f.ethernet(one, f.IPV6 if one[0] >> 4 == 6 else f.IPV4) for one in carried]
    frames += [
        f.ethernet(f.mpls(inner, 16, 17), f.MPLS), f.ethernet(f.pppoe(inner), f.PPPOE),
        f.ethernet(inner, vlans=[(f.VLAN, 7)]), f.ethernet(inner, vlans=[(f.QINQ, 7), (f.VLAN, 8)]),
    ]  # fmt: skip
    assert agrees(frames) == len(frames)
    found, _ = decoded(frames)
    assert len(found.tcp) == len(frames)


def test_both_directions_have_one_key_and_different_sides() -> None:
    talk = f.Talk()
    found, _ = decoded([talk.packet(0, b"a"), talk.packet(1, b"b"), f.Talk(sport=9).packet(0, b"a")])
    assert found.keys[0] == found.keys[1] != found.keys[2]
    assert found.sides[0] != found.sides[1]


def test_what_is_always_of_interest() -> None:
    advertisement = f.ip6(f.icmp(134, 0), 58, "fe80::1", "ff02::1")
    frames = [
        f.ethernet(f.ip4(f.udp(b"x", 67, 68), 17)), f.ethernet(f.ip4(f.udp(b"x", 67, 67), 17)),
        f.ethernet(advertisement, f.IPV6), f.ethernet(f.ip4(f.icmp(3, 1, body=bytes(28)), 1)),
        f.ethernet(f.ip4(f.icmp(5, 1, body=bytes(28)), 1)), f.ethernet(f.ip4(f.icmp(8, 0), 1)),
    ]  # fmt: skip
    found, _ = decoded(frames)
    assert found.told.tolist() == [True] * 5 + [False]
    assert not found.odd.any()


def test_fragments_extension_headers_and_layers_without_end_are_odd() -> None:
    deep = f.ip4(f.tcp(b"abc"))
    for _ in range(20):
        deep = f.ip4(deep, 4)
    frames = [
        f.ethernet(f.ip4(b"x" * 16, 6, more=True)), f.ethernet(f.ip4(b"x" * 16, 6, offset=64)),
        f.ethernet(f.ip6(f.extension(f.tcp(b"abc"), 6), 0), f.IPV6), f.ethernet(deep), f.ethernet(f.ip4(b"", 6)),
        f.snap(f.ip4(f.tcp(b"abc"))), f.ethernet(f.ip4(f.ah(f.tcp(b"abc"), 6), 51)),
    ]  # fmt: skip
    found, _ = decoded(frames)
    assert found.odd.all()
