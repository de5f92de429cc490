"""Writes what tshark reads in the captures of this folder, NAME.tshark.json beside each: `label.py [CAPTURE…]`.

One line for each packet that tells something about an IMDS incident, with the fields that are there. These readings
support the expectations written by hand in NAME.expected.json; the test compares the two, and runs no tshark itself.
Made with TShark 4.0.17 (Debian 12).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SUFFIXES = {".pcap", ".pcapng", ".gz", ".zst"}
FIELDS = (
    "frame.number", "eth.src", "eth.dst", "sll.src.eth", "vlan.id", "ieee8021ad.id", "erspan.vlan",
    "ip.src", "ip.dst", "ipv6.src", "ipv6.dst",
    "tcp.srcport", "tcp.dstport", "tcp.flags.str", "http.request.method", "http.request.uri", "http.host",
    "http.response.code", "http.content_type", "arp.opcode", "arp.src.hw_mac", "arp.src.proto_ipv4",
    "arp.dst.hw_mac", "arp.dst.proto_ipv4", "icmp.type", "icmp.redir_gw", "icmpv6.type",
    "icmpv6.nd.ns.target_address", "icmpv6.nd.na.target_address", "icmpv6.rd.na.destination_address",
    "icmpv6.opt.prefix", "icmpv6.opt.prefix.length", "dhcp.option.dhcp", "dhcp.ip.your", "dhcp.ip.client",
    "dhcp.hw.mac_addr", "dhcp.option.classless_static_route", "dns.qry.name", "dns.a", "dns.aaaa",
    "tls.handshake.extensions_server_name", "_ws.malformed",
)  # fmt: skip
TELLING = (
    "http or arp or icmp or dhcp or dns or tls.handshake.type == 1 or tcp.flags.syn == 1 or tcp.flags.reset == 1 "
    "or (icmpv6.type >= 134 and icmpv6.type <= 137)"
)
HTTP_PORTS = (1338, 3129, 8000, 9000)
"""Ports where tshark would not look for HTTP by itself."""


def captures() -> Iterator[Path]:
    """Yield every capture of the folder."""
    for path in sorted(HERE.rglob("*")):
        if path.suffix in SUFFIXES:
            yield path


def label_of(capture: Path) -> Path:
    """Return where the reading of a capture stands."""
    return capture.with_name(f"{capture.name}.tshark.json")


def command(capture: Path) -> list[str]:
    """Return the command line; the same for every capture."""
    words = [
        "tshark",
        "-n",
        "-r",
        str(capture),
        "-T",
        "json",
        "-Y",
        TELLING,
        "-o",
        "tcp.reassemble_out_of_order:TRUE",
    ]
    for port in HTTP_PORTS:
        words += ["-d", f"tcp.port=={port},http"]
    for field in FIELDS:
        words += ["-e", field]
    return words


def reading(capture: Path) -> list[dict[str, Any]]:
    """Return the fields of each telling packet: text where there is one value, else a list."""
    done = subprocess.run(command(capture), capture_output=True, text=True, check=False)
    rows = []
    for packet in json.loads(done.stdout or "[]"):
        layers = packet["_source"]["layers"]
        row = {name: layers[name] for name in FIELDS if name in layers}
        flags = row.pop("tcp.flags.str", None)
        if flags:
            row["tcp.flags.str"] = [flag.replace("·", "") for flag in flags]
        rows.append({name: values[0] if len(values) == 1 else values for name, values in row.items()})
    return rows


def main(names: Iterable[str]) -> None:
    """Write the readings."""
    for capture in [Path(name) for name in names] or captures():
        lines = [json.dumps(row, ensure_ascii=False) for row in reading(capture)]
        label_of(capture).write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
