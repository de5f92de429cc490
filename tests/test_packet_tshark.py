"""Every packet of tests/captures is decoded as tshark decodes it: addresses, ports, numbers, tags and lengths.

tshark's reading stands in tests/data (`packet_fields.py` wrote it), so that the test runs without tshark.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import packet_fields
from imdswatch.address import parse
from imdswatch.finding import Skipped
from imdswatch.read.captures import packets_of
from imdswatch.read.sources import Ignored, walk
from imdswatch.read.streams import Stream, open_streams
from imdswatch.wire.frame import Frame
from imdswatch.wire.packet import Fragments, Packet, decode

Row = dict[str, str]
CAPTURES = {packet_fields.name_of(path): path for path in packet_fields.captures()}


@cache
def _readings() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(packet_fields.READING.read_bytes()))
    return found


def frames(path: Path) -> Iterator[Frame | None]:
    """Yield the frames of a capture up to the first damage, and None there: readers go on differently."""
    for source in walk([str(path)]):
        if isinstance(source, Skipped | Ignored):
            continue
        for stream in open_streams(source):
            if not isinstance(stream, Stream):
                continue
            for packets in packets_of(stream):
                if isinstance(packets, Skipped):
                    yield None
                    return
                yield from (packets.frame(index) for index in range(len(packets)))
            if stream.skipped:
                yield None


class Reading(NamedTuple):
    """What both readers say of a packet, as far as they can be compared."""

    kind: str
    src: str | None
    dst: str | None
    ttl: int | None
    macs: tuple[str | None, str | None]
    vlan: tuple[int, ...]
    ports: tuple[int | None, int | None]
    tcp: tuple[int, int, int, int] | None
    length: int | None


def ours(packet: Packet, fragmented: bool) -> Reading:
    size = len(packet.payload) + packet.missing
    return Reading(
        packet.kind, packet.src, packet.dst, packet.ttl, (packet.src_mac, packet.dst_mac), packet.vlan,
        (packet.sport, packet.dport),
        (packet.seq, packet.ack if packet.flags & 16 else 0, packet.flags, size) if packet.kind == "tcp" else None,
        None if packet.kind == "arp" or fragmented else packet.ip_bytes,
    )  # fmt: skip


def theirs(row: Row) -> Reading | None:
    """Read tshark's fields: of several occurrences the one of the innermost packet that no ICMP error quotes."""
    layers = row["frame.protocols"].split(":")
    for error in ("icmp", "icmpv6"):
        if error in layers:
            layers = layers[: layers.index(error) + 1]

    def last(field: str, layer: str) -> str | None:
        values = row[field].split(",") if field in row else []
        count = layers.count(layer)
        return values[min(count, len(values)) - 1] if values and count else None

    network = [place for place, layer in enumerate(layers) if layer in ("ip", "ipv6", "arp")]
    if not network:
        return None
    outside = layers[network[-2] + 1 if len(network) > 1 else 0 : network[-1]]
    inside = "eth" in outside
    src_mac = last("eth.src", "eth") if inside else last("sll.src.eth", "sll") if "sll" in outside else None
    dst_mac = last("eth.dst", "eth") if inside else None
    vlan = tuple(
        int(number, 0)
        for field, layer in (("ieee8021ad.id", "ieee8021ad"), ("vlan.id", "vlan"))
        for number in (row[field].split(",")[-outside.count(layer) :] if outside.count(layer) else ())
    )
    if not vlan and "erspan" in outside and int(row.get("erspan.vlan", "0")):
        vlan = (int(row["erspan.vlan"]),)
    if layers[network[-1]] == "arp":
        macs = row["arp.src.hw_mac"], row["arp.dst.hw_mac"]
        ends = row["arp.src.proto_ipv4"], row["arp.dst.proto_ipv4"]
        return Reading("arp", *ends, None, macs, vlan, (None, None), None, None)
    six = layers[network[-1]] == "ipv6"
    version, ttl, length = ("ipv6", "ipv6.hlim", "ipv6.plen") if six else ("ip", "ip.ttl", "ip.len")
    rest = layers[network[-1] + 1 :]
    kind = next((layer for layer in rest if layer in ("tcp", "udp", "icmp", "icmpv6")), None)
    if kind is None:
        return None
    tcp = None
    if kind == "tcp":
        flags = int(row["tcp.flags"], 0)
        tcp = (
            int(row["tcp.seq_raw"]),
            int(row["tcp.ack_raw"]) if flags & 16 else 0,
            flags,
            int(row["tcp.len"]),
        )
    ports = (
        (last(f"{kind}.srcport", kind), last(f"{kind}.dstport", kind))
        if kind in ("tcp", "udp")
        else (None, None)
    )
    src, dst = last(f"{version}.src", version), last(f"{version}.dst", version)
    return Reading(
        {"icmpv6": "icmp6"}.get(kind, kind), parse(src or ""), parse(dst or ""), int(last(ttl, version) or 0),
        (src_mac, dst_mac), vlan, tuple(int(port) if port else None for port in ports), tcp,
        int(last(length, version) or 0) + (40 if six else 0),
    )  # fmt: skip


@pytest.mark.parametrize("name", CAPTURES)
def test_packets_are_as_tshark_reads_them(name: str) -> None:
    path, reading = CAPTURES[name], _readings().get(name)
    assert reading is not None, "a new capture: run tests/packet_fields.py"
    assert reading["digest"] == packet_fields.digest_of(path), "another capture: run tests/packet_fields.py"
    fragments, damaged = Fragments(), False
    seen: dict[int, Sequence[Packet]] = {}
    for frame in frames(path):
        if frame is None:
            damaged = True
        else:
            seen[frame.number] = decode(frame, fragments)
    for row in reading["packets"]:
        expected = theirs(row)
        number = int(row["frame.number"])
        if damaged and number not in seen:
            return
        packets = seen.get(number, ())  # tshark counts a journal entry of pcapng as a packet
        if expected is None:
            assert [packet.kind for packet in packets] in ([], ["other"]), row
            continue
        assert packets, row
        fragmented = packets[0].ip_bytes > packets[0].frame.length  # tshark shows the last fragment's
        assert ours(packets[0], fragmented) == expected._replace(
            length=None if fragmented else expected.length
        ), row
