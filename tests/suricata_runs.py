"""Runs the exported rules in the real Suricata over every capture, and writes down which rules alerted.

`python tests/suricata_runs.py` writes tests/golden/export/suricata/fired.json: the version of Suricata, the digest of
the rules, and for each capture the slugs that fired, as Suricata is configured by default; `fired_tuned` where it fires
more with the stream settings that the README recommends. It takes a few minutes; `suricata` must be installed.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import zstandard

from export_cases import GOLDEN, content
from imdswatch.siem import tree

CAPTURES = Path(__file__).parent / "captures"
SUFFIXES = (".pcap", ".pcapng", ".gz", ".zst")
RECORD = GOLDEN / "suricata" / "fired.json"
TUNED = ("--set", "stream.midstream=true", "--set", "stream.async-oneside=true")
_PATIENCE = 20  # seconds; a capture usually takes half of one
_SLUG = re.compile(r"imdswatch ([\w-]+) \[")


def names() -> list[str]:
    """Return the captures, relative to their folder."""
    return sorted(str(path.relative_to(CAPTURES)) for path in CAPTURES.rglob("*") if path.suffix in SUFFIXES)


def rules() -> str:
    """Return the rules file without a site."""
    return tree(content("suricata"))["imdswatch.rules"]


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
        try:
            subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            pass  # Suricata 7 never ends on a capture that it cannot read to its end, or at all
        log = folder / "eve.json"
        assert log.exists(), f"Suricata did not start: {' '.join(command)}"
        found = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.endswith("}")]
        return [one for one in found if one["event_type"] == "alert"]


def fired(capture: Path, text: str, arguments: Iterable[str] = ()) -> list[str]:
    """Return the slugs of the rules that alerted."""
    shown = [one["alert"]["signature"] for one in alerts(capture, text, arguments)]
    return sorted({found[1] for one in shown if (found := _SLUG.match(one))})


def wanted(name: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the rules that must fire, and those that may: what the expectation of a capture leaves open."""
    found = json.loads((CAPTURES / f"{name}.expected.json").read_text("utf-8"))["findings"]
    must = frozenset(slug for one in found for slug in one.get("rules", ()))
    for one in found:
        if isinstance(one["rule"], str):
            must |= {one["rule"]}
    may = {slug for one in found if "rules" not in one for slug in _SLUGS_OPEN}
    return must, frozenset(must | may)


_SLUGS_OPEN = (
    "aws-2025-021", "imds-answered", "imds-contact", "imds-credential-request", "imds-credentials-served", "imds-request",
    "imds-route-offered", "imds-token-request",
)  # fmt: skip


def record(text: str) -> Mapping[str, Any]:
    """Run everything, and return what is to be written down."""
    out: dict[str, Any] = {}
    for name in names():
        usual = fired(CAPTURES / name, text)
        out[name] = {"fired": usual}
        if wanted(name)[0] - set(usual):
            tuned = fired(CAPTURES / name, text, TUNED)
            if tuned != usual:
                out[name]["fired_tuned"] = tuned
    return {"suricata": version(), "rules": digest(text), "captures": out}


if __name__ == "__main__":
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps(record(rules()), indent=1) + "\n", encoding="utf-8")
    sys.stderr.write(f"{RECORD}\n")
