"""Writes what tshark reads in every packet of tests/captures, into tests/data/packet-fields.json.gz.

    python tests/packet_fields.py

Run it when a capture is new or other; the test tells. Made with TShark 4.0.17 (Debian 12), `-n -T fields` with every
occurrence of a field, since tunnels repeat them. The test compares, and runs no tshark itself.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
CAPTURES = HERE / "captures"
READING = HERE / "data" / "packet-fields.json.gz"
FIELDS = (
    "frame.number", "frame.protocols", "eth.src", "eth.dst", "sll.src.eth", "vlan.id", "ieee8021ad.id", "erspan.vlan",
    "ip.src", "ip.dst", "ip.ttl", "ip.len", "ipv6.src", "ipv6.dst", "ipv6.hlim", "ipv6.plen",
    "tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.len",
    "udp.srcport", "udp.dstport", "udp.length", "icmp.type", "icmpv6.type",
    "arp.src.hw_mac", "arp.src.proto_ipv4", "arp.dst.hw_mac", "arp.dst.proto_ipv4",
)  # fmt: skip


def captures() -> Iterator[Path]:
    """Yield every capture of the folder."""
    for path in sorted(CAPTURES.rglob("*")):
        if path.suffix in (".pcap", ".pcapng", ".gz", ".zst"):
            yield path


def name_of(capture: Path) -> str:
    return str(capture.relative_to(CAPTURES))


def digest_of(capture: Path) -> str:
    return hashlib.sha256(capture.read_bytes()).hexdigest()[:16]


def reading(capture: Path) -> list[dict[str, str]]:
    """Return the fields that are there of every packet, several values with a comma between them."""
    words = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-E", "occurrence=a"]
    words += [word for field in FIELDS for word in ("-e", field)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    rows = [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in done.stdout.splitlines()]
    return [{name: value for name, value in row.items() if value} for row in rows]


def main() -> None:
    """Write the readings."""
    found = {name_of(path): {"digest": digest_of(path), "packets": reading(path)} for path in captures()}
    text = json.dumps(found, indent=0, sort_keys=True)
    READING.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
