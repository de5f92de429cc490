"""The quick reading of captures finds exactly what the slow, obvious reading of every packet finds.

Random captures (`capture_mixes`), the corpus of tests/captures, and both looks at them; captures are cut into buffers
of every size, as the cut must not matter. IMDSWATCH_CASES sets how many random captures are read (`make conformance`).
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_mixes import mix
from imdswatch.read import captures as reading
from imdswatch.read.sources import Source, walk
from imdswatch.read.streams import Stream, open_streams
from imdswatch.rule import load_rules
from imdswatch.scan import captures, flows
from imdswatch.scan.aggregate import Incident, Incidents, Key
from imdswatch.scan.captures import CaptureScan, CaptureSearch
from imdswatch.scan.judging import FirstLook, SecondLook, Window, served_victims
from imdswatch.scan.text import Look, Outcome
from imdswatch.scan.wiresearch import Search
from imdswatch.site import Site

CASES = int(os.environ.get("IMDSWATCH_CASES", "80"))
FOLDER = Path(__file__).parent / "captures"
CORPUS = sorted(path for path in FOLDER.rglob("*.pcap*") if not path.name.endswith(".json"))
RULES = load_rules()
FIRST = FirstLook(RULES, Site(), Window())
CONDITIONS = [(rule.slug, rule.condition) for rule in FIRST.used]
LATER = [(rule.slug, rule.correlation.base) for rule in RULES if rule.correlation]
EVERYTHING = [("all", next(rule.condition for rule in RULES if rule.slug == "imds-contact"))]


@cache
def _search() -> CaptureSearch:
    return CaptureSearch(CONDITIONS, LATER)


class _Slow(CaptureSearch):
    """No search: every packet is read."""

    def __init__(self) -> None:
        super().__init__(CONDITIONS)
        self.search = None


def capture(sent: Sequence[bytes], linktype: int = 1) -> bytes:
    """Return a pcap capture of these frames, a millisecond apart."""
    out = bytearray(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, linktype))
    for number, data in enumerate(sent):
        out += (
            struct.pack("<IIII", 1_790_000_000 + number // 1000, number % 1000 * 1000, len(data), len(data))
            + data
        )
    return bytes(out)


def _streams(path: Path) -> Iterator[Stream]:
    for source in walk([str(path)]):
        assert isinstance(source, Source)
        for stream in open_streams(source):
            if isinstance(stream, Stream):
                yield stream


def found(path: Path, search: CaptureSearch, look: Look = FIRST) -> tuple[dict[Key, Incident], Outcome]:
    outcome = Outcome(Incidents())
    for stream in _streams(path):
        CaptureScan(search, look, outcome).one(stream)
    return dict(outcome.incidents.items()), outcome


def shown(incidents: dict[Key, Incident]) -> dict[Key, object]:
    return {
        key: (one.count, one.first, one.last, one.responders, sorted(one.sightings, key=repr))
        for key, one in incidents.items()
    }


def _same(path: Path) -> None:
    quick, outcome = found(path, _search())
    slow, everything = found(path, _Slow())
    assert shown(quick) == shown(slow)
    assert (outcome.lines, outcome.skipped) == (everything.lines, everything.skipped)
    _same_later(path, slow, everything.incidents)


def _same_later(path: Path, first: dict[Key, Incident], incidents: Incidents) -> None:
    """Compare the second looks, too, where somebody was served credentials."""
    for index, rule in enumerate(RULES):
        if rule.correlation is None:
            continue
        served = served_victims(incidents, RULES, rule.correlation.timespan)
        if not served:
            continue
        look = SecondLook(RULES, index, Site(), Window(), served)
        quick, _ = found(path, CaptureSearch(CONDITIONS, LATER, tuple(served)), look)
        slow, _ = found(path, _Slow(), look)
        assert shown(quick) == shown(slow)


@settings(max_examples=CASES)
@given(st.integers(0, 1 << 40), st.sampled_from([1, 4, 64, 1024]))
def test_random_captures(tmp_path_factory: pytest.TempPathFactory, seed: int, size: int) -> None:
    chance = random.Random(seed)
    path = tmp_path_factory.mktemp("mix") / "x.pcap"
    path.write_bytes(capture(mix(chance)))
    # The window must hold the capture however small its buffers are: what lies further back is not promised.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flows, "HELD", 10_000)
        patch.setattr(
            captures, "packets_of", lambda stream, held: reading.packets_of(stream, 10_000, size * 4096)
        )
        _same(path)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_the_corpus(path: Path) -> None:
    _same(path)


@pytest.mark.parametrize("word", [b"meta-data ", b"dynamic", b"token "])
def test_a_word_that_stands_everywhere_in_a_packet_is_looked_at_once(
    word: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked = tmp_path / "x.pcap", []
    path.write_bytes(capture([bytes(14) + word * (200_000 // len(word)), bytes(60)]))

    def confirms(search: Search, number: int, packet: bytes | bytearray) -> bool:
        asked.append(number)
        return confirmed(search, number, packet)

    confirmed = Search.confirms
    monkeypatch.setattr(Search, "confirms", confirms)
    assert found(path, _search())[0] == {}
    assert len(asked) == 1
