"""What packets show, as an event in canonical fields with the number of the packet that began it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imdswatch.wire.packet import Packet

BROADCAST = "ff:ff:ff:ff:ff:ff"


@dataclass(frozen=True, slots=True)
class Observed:
    """One event, before `event.complete`; `number` is the packet's number in its capture, which is opaque here."""

    fields: dict[str, Any]
    number: int


def seen_in(packet: Packet, **fields: Any) -> Observed:
    """Return the event that one packet is: its time and place, and the fields given that are known."""
    known = {name: value for name, value in fields.items() if value is not None and value != ()}
    return Observed({**moment(packet), **known}, packet.frame.number)


def sent(packet: Packet) -> dict[str, Any]:
    """Return who sent a packet to whom: the sender is the source of the event."""
    return {
        "src_ip": packet.src,
        "dst_ip": packet.dst,
        "src_port": packet.sport,
        "dst_port": packet.dport,
        "src_mac": packet.src_mac,
        "dst_mac": packet.dst_mac,
        "proto": packet.kind,
    }


def replied(packet: Packet) -> dict[str, Any]:
    """Return who replied to whom: the source of the event is who had asked, the packet's destination."""
    return {
        "src_ip": packet.dst,
        "dst_ip": packet.src,
        "src_port": packet.dport,
        "dst_port": packet.sport,
        "src_mac": packet.dst_mac,
        "dst_mac": packet.src_mac,
        "proto": packet.kind,
    }


def moment(packet: Packet) -> dict[str, Any]:
    """Return when and on which VLANs a packet was seen."""
    found: dict[str, Any] = {}
    if packet.frame.time is not None:
        found["timestamp"] = packet.frame.time
    if packet.vlan:
        found["vlan"] = packet.vlan
    return found
