"""Runs the exported rules in the real Suricata, and writes down which rules alerted.

`python tests/suricata_runs.py` writes tests/golden/export/suricata-fired.json: the version of Suricata, the digest of
the rules, and the slugs that fired

- `captures`: for each capture of tests/captures, with Suricata as its package configures it;
- `tuned`: for those that lost something, with the stream settings that the README recommends;
- `requests`: for each case of `suricata_requests`;
- `site`: for some captures, with rules for the site below.

It takes a few minutes; `suricata` must be installed.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Timer
from typing import Any

import zstandard

import suricata_requests
from export_cases import GOLDEN, content, site
from imdswatch.site import Site

CAPTURES = Path(__file__).parent / "captures"
SUFFIXES = (".pcap", ".pcapng", ".gz", ".zst")
RECORD = GOLDEN / "suricata-fired.json"
TUNED = ("--set", "stream.midstream=true", "--set", "stream.async-oneside=true")
SITE = """
[site]
name = "hq"
on_premises = ["10.0.0.0/8", "fd20:1::/32"]
[accounts]
expected = ["123456789012"]
[[suppress]]
name = "openstack-lab"
reason = "OpenStack; metadata"
sources = ["10.20.1.0/24"]
responders = ["10.20.2.66"]
[[suppress]]
name = "v6 lab"
sources = ["fd20:1::/64"]
rules = ["imds-contact", "aws-2025-021"]
expires = 2027-03-31
[[suppress]]
name = "whoever"
sources = ["10.66.0.0/16"]
responders = ["169.254.169.254"]
"""
SITE_CAPTURES = (
    "derived/dhcp-offer-121.pcap",
    "derived/icmp-redirect.pcap",
    "derived/nd-advertisement.pcap",
    "derived/ra-prefix-64.pcap",
    "derived/two-victims-interleaved.pcap",
    "derived/used-tls.pcap",
    "recorded/account-agrees.pcap",
    "recorded/account-old-format.pcap",
    "recorded/account-zeros.pcap",
    "recorded/boto3-proxy.pcap",
    "recorded/boto3-v2.pcap",
    "recorded/boto3-v6.pcap",
    "recorded/custom-endpoint-boto3.pcap",
    "recorded/dnat-rogue-side.pcap",
)
_PATIENCE = 20  # seconds; a capture usually takes half of one
_SLUG = re.compile(r"imdswatch ([\w-]+) \[")


def names() -> list[str]:
    """Return the captures, relative to their folder."""
    return sorted(str(path.relative_to(CAPTURES)) for path in CAPTURES.rglob("*") if path.suffix in SUFFIXES)


def rules(where: Site | None = None) -> str:
    """Return all rules, the site inside them."""
    lines = [line for one in content("suricata", where).documents for line in one.query.splitlines()]
    return "\n".join(dict.fromkeys(lines)) + "\n"


def digest(text: str) -> str:
    """Return what names this text."""
    return hashlib.sha256(text.encode()).hexdigest()


def version() -> str:
    """Return the version of the Suricata that is installed."""
    shown = subprocess.run(["suricata", "-V"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\S+)", shown)
    assert found, shown
    return found[1]


def plain(capture: Path, folder: Path) -> Path:
    """Return the capture, unpacked where it is compressed: Suricata reads pcap and pcapng only."""
    if capture.suffix not in (".gz", ".zst"):
        return capture
    out = folder / capture.stem
    if capture.suffix == ".zst":
        out.write_bytes(
            zstandard.ZstdDecompressor().decompress(capture.read_bytes(), max_output_size=1 << 20)
        )
        return out
    out.write_bytes(zlib.decompressobj(31).decompress(capture.read_bytes()))  # as far as it goes
    return out


def alerts(capture: Path, text: str, arguments: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return the alerts of one capture as Suricata writes them, by the rules in `text` alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "x.rules").write_text(text, encoding="utf-8")
        command = ["suricata", "-r", str(plain(capture, folder)), "-S", str(folder / "x.rules"), "-l", name]
        command += ["-k", "none", "--runmode", "single", *arguments]
        # On a capture that it cannot open, Suricata 7 says so and waits a minute for nothing.
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            patience = Timer(_PATIENCE, process.kill)
            patience.start()
            assert process.stdout is not None
            if any("Failed to init pcap" in line for line in process.stdout):
                process.kill()
            patience.cancel()
        log = folder / "eve.json"
        assert log.exists(), f"Suricata did not start: {' '.join(command)}"
        found = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.endswith("}")]
        return [one for one in found if one["event_type"] == "alert"]


def fired(capture: Path, text: str, arguments: Iterable[str] = ()) -> list[str]:
    """Return the slugs of the rules that alerted."""
    return sorted({slug(one) for one in alerts(capture, text, arguments)})


def slug(alert: Mapping[str, Any]) -> str:
    """Return the rule that an alert belongs to."""
    found = _SLUG.match(alert["alert"]["signature"])
    assert found, alert
    return found[1]


def wanted(name: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the rules that must fire, and those that may: what the expectation of a capture leaves open."""
    found = json.loads((CAPTURES / f"{name}.expected.json").read_text("utf-8"))["findings"]
    must = frozenset(name for one in found for name in one.get("rules", ()))
    for one in found:
        if isinstance(one["rule"], str):
            must |= {one["rule"]}
    may = {name for one in found if "rules" not in one for name in _OPEN}
    return must, frozenset(must | may)


_OPEN = (
    "aws-2025-021", "imds-answered", "imds-contact", "imds-credential-request", "imds-credentials-served",
    "imds-request", "imds-route-offered", "imds-token-request",
)  # fmt: skip


def requests(text: str) -> dict[str, list[str]]:
    """Return what each case of `suricata_requests` raised."""
    found: dict[str, set[str]] = {name: set() for name in suricata_requests.CASES}
    client = {suricata_requests.address(number): name for number, name in enumerate(found)}
    with tempfile.NamedTemporaryFile(suffix=".pcap") as handle:
        handle.write(suricata_requests.capture())
        handle.flush()
        for one in alerts(Path(handle.name), text):
            name = client.get(one["src_ip"]) or client[one["dest_ip"]]
            found[name].add(slug(one))
    return {name: sorted(slugs) for name, slugs in found.items()}


def record() -> Mapping[str, Any]:
    """Run everything, and return what is to be written down."""
    text, for_site = rules(), rules(site(SITE))
    captures = {name: fired(CAPTURES / name, text) for name in names()}
    lost = [name for name, got in captures.items() if wanted(name)[0] - set(got)]
    return {
        "suricata": version(),
        "rules": digest(text),
        "rules_for_site": digest(for_site),
        "captures": captures,
        "tuned": {name: fired(CAPTURES / name, text, TUNED) for name in lost},
        "requests": requests(text),
        "site": {name: fired(CAPTURES / name, for_site) for name in SITE_CAPTURES},
    }


def write() -> None:
    """Write the record."""
    RECORD.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
