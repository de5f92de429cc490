"""The programs imdswatch is measured against: installed by the benchmark itself, in a virtual environment
of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from measure import Command, Failed

HERE = Path(__file__).parent
LITERALS = (
    "169.254.169.254",
    "fd00:ec2::254",
    "/latest/meta-data",
    "/latest/api/token",
    "X-aws-ec2-metadata-token",
)
"""What ripgrep looks for: the strings of the bulletin. It finds these bytes and understands nothing."""


DISPLAY_FILTER = (
    "ip.addr == 169.254.169.254", "ipv6.addr == fd00:ec2::254",
    "arp.dst.proto_ipv4 == 169.254.169.254", "arp.src.proto_ipv4 == 169.254.169.254",
    "icmpv6.nd.na.target_address == fd00:ec2::254", "icmpv6.nd.ns.target_address == fd00:ec2::254",
    "icmpv6.opt.prefix == fd00:ec2::/32", "dhcp.option.type == 121", "dhcp.option.type == 249",
    'dns.qry.name matches "(?i)^instance-data(\\\\.|$)"', "dns.a == 169.254.169.254", "dns.aaaa == fd00:ec2::254",
    'http.request.uri matches "(?i)/(latest|1\\\\.0|20..-..-..)/+(meta-data|user-data|dynamic|api/+token)"',
    'http.host matches "(?i)^(169\\\\.254\\\\.169\\\\.254|\\\\[?fd00:ec2::254|instance-data)"',
    'http.request.line matches "(?i)^x-aws-ec2-metadata-token"',
)  # fmt: skip
"""What comes nearest to the rule pack in Wireshark's language (packets, not incidents; it knows no dialogue)."""


@dataclass(frozen=True, slots=True)
class Peers:
    """Command lines of the peers."""

    bin: Path

    def ripgrep(self, path: Path) -> Command:
        """Count the lines with any of the literals; exit code 1 is none."""
        words = [str(self.bin / "rg"), "--no-config", "-c", "-i", "-F"]
        return Command([*words, *(word for text in LITERALS for word in ("-e", text)), str(path)], (0, 1))

    def duckdb(self, path: Path) -> Command:
        """Count the records with the bulletin's predicate."""
        return self._python("ndjson_duckdb.py", path)

    def sigma(self, path: Path) -> Command:
        """Count the records that the bulletin's Sigma rule finds."""
        return self._python("sigma_zargunlite.py", path)

    def unpack(self, path: Path) -> Command:
        """Unpack only."""
        return self._python("unpack.py", path)

    def tshark(self, path: Path) -> Command:
        """Show the packets that the equivalent display filter finds: the bulletin's addresses, requests and names."""
        return Command([_installed("tshark"), "-r", str(path), "-Y", " or ".join(DISPLAY_FILTER)])

    def tcpdump(self, path: Path) -> Command:
        """Show the packets of one address: it looks at no payload."""
        return Command([_installed("tcpdump"), "-r", str(path), "host 169.254.169.254"])

    def script(self, name: str, path: Path) -> Command:
        """Run one of the scripts on a path."""
        return self._python(name, path)

    def _python(self, script: str, path: Path) -> Command:
        return Command([str(self.bin / "python"), str(HERE / "peer_scripts" / script), str(path)])

    def versions(self) -> str:
        """Say which releases of the peers are measured."""
        wanted = (HERE / "peer_scripts" / "requirements.txt").read_text().splitlines()
        return ", ".join(line.replace("==", " ") for line in wanted if line and not line.startswith("#"))


def _installed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise Failed(f"{program} is not installed; Debian and Ubuntu have it as the package `{program}`")
    return found


def install(folder: Path) -> Peers:
    """Make the virtual environment unless it is there with the same requirements; return the peers."""
    wanted, stamp = HERE / "peer_scripts" / "requirements.txt", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        print("installing the peers …", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--only-binary", ":all:", "--requirement", str(wanted)], check=True)
        stamp.write_text(wanted.read_text())
    return Peers(folder / "bin")
