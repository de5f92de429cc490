"""A sensor on an interface finds what a scan finds of the same frames: every capture of the corpus, played again.

Played are captures of whole Ethernet frames. A scan reads them with the times at which they were played, and what they
serve lasts longer than any of it: the outcome is the same on every day. With the kernel's filter some things cannot be
seen (docs/sensor.md): `SEEN_LESS` names the captures and how far a filtered sensor follows them; of all others it must
find the same.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import wires
from imdswatch.finding import STAGES
from imdswatch.rule import load_rules
from imdswatch.scan.aggregate import Incident, Incidents, Key
from imdswatch.scan.captures import CaptureScan, CaptureSearch
from imdswatch.scan.text import Outcome
from imdswatch.scan.work import Options
from imdswatch.schema import load_schemas
from imdswatch.site import Site
from imdswatch.watch.judgement import Judgement
from imdswatch.watch.live import LiveFeed
from imdswatch.wire.frame import Frame
from patience import until
from test_capture_paths import CORPUS, FOLDER, _streams
from test_capture_paths import capture as capture_of

pytestmark = wires.NEEDS_ROOT
RULES = tuple(load_rules())
SCHEMAS = load_schemas()
CORPUS_OF_ALL = os.environ.get("IMDSWATCH_CORPUS") == "all"

_PROXIES = (
    "absolute-form-decimal", "absolute-form-other-host", "aiobotocore-proxy", "awscli-proxy", "awscli1-proxy",
    "boto3-proxy", "boto3-proxy-squid", "curl-proxy", "deltalake-rust-proxy", "e1-proxy-absolute-form", "go1-proxy",
    "go2-proxy", "rclone-proxy",
)  # fmt: skip
_ELSEWHERE = (
    "header-case-custom-endpoint", "header-folded", "host-hexadecimal", "host-only", "path-dated", "path-first-version",
    "path-slashes-dots", "port-reused", "portal-custom-endpoint",
)  # fmt: skip
ELSEWHERE = {
    *_PROXIES, *_ELSEWHERE, "custom-endpoint-boto3", "custom-endpoint-js3", "dnat-rogue-side", "curl-connect-tunnel",
}  # fmt: skip
"""Where the answer comes from another address than the endpoint's, and the filter has to know it by its words."""
SEEN_LESS: dict[str, str] = {
    # Through a proxy that sent every header line as a segment of its own.
    "lab/clients/go1-proxy": "answered", "recorded/awscli-proxy": "answered",
    # Words that the filter does not look for: percent-encoded, in the query, further back in the path.
    "derived/path-percent": "", "derived/low-in-query": "", "derived/low-longer-path": "",
    # The answer to a lookup of some other name.
    "derived/dns-name-for-endpoint": "", "derived/dns-name-for-endpoint-ipv6": "",
    # The filter learns of the victim when its packets are read, and all are sent before the first is read.
    "derived/used-signature-elsewhere": "credentials-served", "derived/used-through-connect": "credentials-served",
    "derived/used-tls": "credentials-served", "derived/used-tls-split": "credentials-served",
    "recorded/onlink-arp-used": "credentials-served", "recorded/used-sigv4-http": "credentials-served",
    "recorded/used-tls-awscli": "credentials-served",
}  # fmt: skip
_EXPIRES = re.compile(rb'("Expiration" *: *")\d{4}')


def judgement() -> Judgement:
    return Judgement(Options(RULES, Site(), SCHEMAS))


def lasting(frame: Frame) -> Frame:
    """Return a frame whose credentials have not run out: those recorded lasted six hours, and it is played today."""
    return replace(frame, data=_EXPIRES.sub(rb"\g<1>2999", frame.data))


def highest(found: dict[Key, object]) -> str:
    return max((one[0] for one in found.values() if isinstance(one, tuple)), key=STAGES.index, default="")


def shown(incidents: Incidents) -> dict[Key, object]:
    """What must not depend on whether a scan or a sensor saw the packets."""
    return {key: _shown(incident) for key, incident in incidents.items()}


def _shown(incident: Incident) -> object:
    rules = {RULES[index].slug for seen in incident.sightings for index in seen.combo}
    stage = max(sighting.verdict.stage for sighting in incident.sightings)
    return STAGES[stage], sorted(rules), sorted(incident.responders or ()), sorted(incident.told or ())


def scanned(path: Path) -> dict[Key, object]:
    """Scan as `scan` does: once, and again for what was done with served credentials."""
    judged, outcome, again = judgement(), Outcome(), None
    while again != judged.victims:
        again, outcome = judged.victims, Outcome()
        for stream in _streams(path):
            CaptureScan(
                CaptureSearch(judged.conditions, judged.later, tuple(again) or None), judged, outcome
            ).one(stream)
    return shown(outcome.incidents)


def _at(now: float, frames: list[Frame]) -> bytes:
    """Return a capture that ends now and has a microsecond between its packets, as they are played."""
    octets = bytearray(capture_of([frame.data for frame in frames]))
    at = 24
    for number, frame in enumerate(frames):
        when = now - (len(frames) - number) * 1e-6
        struct.pack_into("<II", octets, at, int(when), int(when % 1 * 1e6))
        at += 16 + len(frame.data)
    return bytes(octets)


def name(path: Path) -> str:
    return str(path.relative_to(FOLDER).with_suffix(""))


def ethernet() -> Iterator[Path]:
    """A twelfth of the corpus, and all of it with IMDSWATCH_CORPUS=all; what is seen less is always played."""
    for number, path in enumerate(CORPUS):
        if not (CORPUS_OF_ALL or not number % 12 or path.stem in ELSEWHERE or name(path) in SEEN_LESS):
            continue
        try:
            frames = wires.pcap(path)
        except ValueError:
            continue
        if all(14 < len(frame.data) == frame.length for frame in frames):
            yield path


@pytest.fixture(scope="module")
def cable() -> Iterator[None]:
    with wires.namespace():
        wires.lay()
        yield


def played(frames: list[Frame]) -> tuple[dict[Key, object], dict[Key, object]]:
    """Return what sensors find that take every packet, and those of the kernel's filter."""
    feeds = [
        LiveFeed(judgement(), "out0", everything=everything, octets=1 << 20) for everything in (True, False)
    ]
    outcomes = [Outcome(), Outcome()]
    try:
        wires.send(frames)

        def all_read(feed: LiveFeed, outcome: Outcome, count: int) -> bool:
            feed.read(outcome)
            return feed.counts().records == count

        until(lambda: all_read(feeds[0], outcomes[0], len(frames)))
        assert feeds[1]._live._ring is not None
        passed = feeds[1]._live._ring.lost().packets  # it hands over what passed in its own time
        until(lambda: all_read(feeds[1], outcomes[1], passed))
        for feed, outcome in zip(feeds, outcomes, strict=True):
            feed.finish(outcome)
            assert not outcome.skipped
    finally:
        for feed in feeds:
            feed.close()
    return shown(outcomes[0].incidents), shown(outcomes[1].incidents)


@pytest.mark.parametrize("path", list(ethernet()), ids=lambda path: str(path.relative_to(FOLDER)))
def test_played_again(cable: None, tmp_path: Path, path: Path) -> None:
    frames = [lasting(frame) for frame in wires.pcap(path)]
    now = tmp_path / "now.pcap"
    now.write_bytes(_at(time.time(), frames))
    expected = scanned(now)
    unfiltered, filtered = played(frames)
    assert unfiltered == expected
    less = SEEN_LESS.get(name(path))
    if less is None:
        assert filtered == expected
    else:
        assert filtered != expected, "it is seen as well as anything: take it off the list"
        assert highest(filtered) == less
