"""Every capture of tests/captures gives exactly the findings that were written down for it by hand.

What a finding must be stands in `NAME.expected.json`; tests/captures/README.md explains the files. It was written down
from the circumstances of the recording and from tshark's reading, never from what imdswatch said; that it agrees with
tshark is held here, too.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import zstandard

import commandline
from imdswatch.finding import Finding, fingerprint
from imdswatch.report.ndjson import finding_document
from imdswatch.rule import Node, load_rules
from imdswatch.scan import run
from imdswatch.scan.hints import Hints
from imdswatch.scan.prefilter import Prefilter, build
from imdswatch.scan.run import Options, Scan
from imdswatch.schema import Schemas, load_schemas
from imdswatch.site import Site

FOLDER = Path(__file__).parent / "captures"
EXPECTED = sorted(FOLDER.rglob("*.expected.json"))
CAPTURES = [path.with_name(path.name.removesuffix(".expected.json")) for path in EXPECTED]
NAMES = [str(path.relative_to(FOLDER)) for path in CAPTURES]
SUFFIXES = (".pcap", ".pcapng", ".gz", ".zst")
HELD = ("victim", "responder", "request", "account")
"""Parts of a finding of which the expectation names some keys; the others are compared whole."""


@cache
def _schemas() -> Schemas:
    return load_schemas()


@cache
def _options() -> Options:
    return Options(load_rules(), Site(), _schemas())


@pytest.fixture(autouse=True)
def _compile_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use one search database for all scans of the same rules: compiling it takes longer than a capture."""
    monkeypatch.setattr(
        run, "build", lambda conditions, hints, watch=(): _built(tuple(conditions), tuple(watch))
    )


@cache
def _built(conditions: tuple[tuple[str, Node], ...], watch: tuple[str, ...]) -> Prefilter:
    return build(conditions, Hints(_schemas()), watch)


def _scan(path: Path) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Return the findings as ndjson shows them, and position and reason of what was skipped."""
    results = list(Scan([str(path)], _options()).results())
    found = [json.loads(json.dumps(finding_document(one))) for one in results if isinstance(one, Finding)]
    return found, [(one.position, one.reason) for one in results if not isinstance(one, Finding)]


def _wanted(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_name(f"{path.name}.expected.json").read_text("utf-8"))
    return found


def _mark(wanted: dict[str, Any]) -> str:
    victim = wanted["victim"]
    return fingerprint(victim.get("ip") or victim.get("mac"), wanted["endpoint"])


def _differences(wanted: dict[str, Any], got: dict[str, Any]) -> Iterator[str]:
    """Yield what a finding has other than wanted: null is absent, {"any": […]} one of these, {"has": …} a part."""
    for name, value in wanted.items():
        if name == "endpoint":
            continue
        if name == "evidence":
            shown = got["evidence"][0]["position"]
            if shown != value:
                yield f"first evidence is {shown}, not {value}"
        elif name == "rules":
            extra, missing = sorted(set(got["rules"]) - set(value)), sorted(set(value) - set(got["rules"]))
            if extra or missing:
                yield f"rules: too many {extra}, missing {missing}"
        elif name in HELD and value is not None:
            part = got.get(name, {})
            for key, one in value.items():
                if not _fits(one, part.get(key)):
                    yield f"{name}.{key} is {part.get(key)!r}, not {one!r}"
        elif not _fits(value, got.get(name)):
            yield f"{name} is {got.get(name)!r}, not {value!r}"


def _fits(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, dict):
        return (
            wanted["has"] in (got or "") if "has" in wanted else any(_fits(one, got) for one in wanted["any"])
        )
    return bool(wanted == got)


def _skips(wanted: Any, got: list[tuple[str, str]]) -> Iterator[str]:
    """Yield what was skipped other than wanted: a list of byte ranges, "some" or "any"."""
    if wanted == "any":
        return
    if wanted == "some":
        if not got:
            yield "nothing was skipped"
        return
    if len(got) != len(wanted):
        yield f"skipped {got}, not {len(wanted)} places"
        return
    for one, (position, reason) in zip(wanted, got, strict=True):
        word, _, number = position.partition(" ")
        low, high = one["byte"]
        if word != "byte" or not low <= int(number) <= high:
            yield f"skipped at {position!r} ({reason}), not at byte {low} to {high}"


@pytest.mark.parametrize("path", CAPTURES, ids=NAMES)
def test_capture_gives_what_was_written_down(path: Path) -> None:
    wanted = _wanted(path)
    findings, skipped = _scan(path)
    marks = {one["fingerprint"]: one for one in findings}
    wrong: list[str] = list(_skips(wanted["skipped"], skipped))
    for one in wanted["findings"]:
        got = marks.pop(_mark(one), None)
        about = f"{one['victim'].get('ip') or 'unknown victim'} asking {one['endpoint']}"
        if got is None:
            wrong.append(f"{about}: no finding, wanted {one['stage']}")
        else:
            wrong += [f"{about}: {text}" for text in _differences(one, got)]
    for extra in marks.values():
        who, what = extra.get("victim"), extra.get("request")
        wrong.append(f"a finding too many: {extra['stage']} {extra['rule']} of {who} {what}")
    assert not wrong, f"{wanted['truth']}\n" + "\n".join(wrong)


def test_every_capture_says_what_it_must_give_and_what_tshark_reads() -> None:
    found = [path for path in FOLDER.rglob("*") if path.suffix in SUFFIXES]
    assert sorted(found) == sorted(CAPTURES)
    assert len(CAPTURES) > 300
    for path in CAPTURES:
        assert path.with_name(f"{path.name}.tshark.json").exists(), path.name
        wanted = _wanted(path)
        assert wanted["truth"], path.name
        if path.name.startswith("benign"):
            assert not wanted["findings"]


def test_the_derived_captures_are_what_the_script_makes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, FOLDER / "derive.py", tmp_path], check=True)
    made = {path.name: path for path in tmp_path.iterdir()}
    kept = {path.name: path for path in (FOLDER / "derived").iterdir() if path.suffix in SUFFIXES}
    assert made.keys() == kept.keys()
    for name, path in made.items():
        assert _unpacked(path) == _unpacked(kept[name]), name


def _unpacked(path: Path) -> bytes:
    """Return a file without compression, which differs from library to library."""
    data = path.read_bytes()
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=1 << 20)
    return gzip.decompress(data) if path.suffix == ".gz" and "cut" not in path.name else data


# What was written down agrees with tshark


def _texts(value: Any) -> list[str]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _reading(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.with_name(f"{path.name}.tshark.json").read_text("utf-8"))
    return rows


@pytest.mark.parametrize("path", CAPTURES, ids=NAMES)
def test_what_was_written_down_agrees_with_tshark(path: Path) -> None:
    if path.name.startswith("damaged"):
        return  # tshark stops where the damage begins
    rows = _reading(path)
    seen = {text for row in rows for name in row for text in _texts(row[name]) if name != "frame.number"}
    # Whatever tshark could not join (both readings of an overlap, a gap) stands in README.md; addresses it always sees.
    for wanted in _wanted(path)["findings"]:
        victim, answers = wanted["victim"], wanted.get("responder") or {}
        for value in (victim.get("ip"), victim.get("mac"), answers.get("mac"), answers.get("nat_ip")):
            assert value is None or value in seen, f"tshark sees no {value}"
        for vlan in victim.get("vlan") or ():
            assert str(vlan) in seen, f"tshark sees no VLAN {vlan}"
    if path.name.startswith("benign"):
        assert not [row for row in rows if "169.254.169.254" in _texts(row.get("ip.dst"))]


def _requests(path: Path) -> Iterator[tuple[str, str]]:
    for row in _reading(path):
        for uri in _texts(row.get("http.request.uri")):
            yield row["frame.number"], uri


SPLIT = {
    "split-1", "split-2", "sequence-wraps", "reset-out-of-window", "blank-lines-before", "boto3-proxy-outside",
}  # fmt: skip
"""Captures in which tshark numbers a request by its last segment, or not at all, where we number it by its first."""


@pytest.mark.parametrize("path", CAPTURES, ids=NAMES)
def test_the_packet_of_a_request_is_the_one_that_tshark_names(path: Path) -> None:
    if path.name.split(".")[0] in SPLIT:
        return
    requests = list(_requests(path))
    for wanted in _wanted(path)["findings"]:
        evidence, asked = wanted.get("evidence"), (wanted.get("request") or {}).get("path")
        if evidence and asked and wanted["stage"] != "credentials-used":
            number = evidence.removeprefix("packet ")
            assert any(one == number and uri.endswith(asked) for one, uri in requests), f"{evidence}: {asked}"


# The command line


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("recorded/boto3-v2.pcap", 1),
        ("derived/benign-plain.pcap", 0),
        ("derived/damaged-cut-in-packet.pcap", 1),
        ("derived/damaged-cut-in-file-header.pcap", 3),
    ],
)
def test_command_line_tells_by_its_exit_code(name: str, code: int, tmp_path: Path) -> None:
    done = commandline.scan(tmp_path, FOLDER / name)
    assert done.code == code, done.out + done.err
    wanted = _wanted(FOLDER / name)
    assert {one["fingerprint"] for one in done.of("finding")} == set(map(_mark, wanted["findings"]))


def test_a_capture_comes_through_a_pipe(tmp_path: Path) -> None:
    path = FOLDER / "recorded" / "boto3-v2.pcap"
    done = commandline.scan(tmp_path, "-", stdin=path.read_bytes())
    assert done.code == 1, done.out + done.err
    (found,) = done.of("finding")
    (wanted,) = _wanted(path)["findings"]
    assert not list(_differences(wanted, found))


def test_a_tap_for_each_direction_is_one_dialogue_when_merged(tmp_path: Path) -> None:
    whole = FOLDER / "derived" / "split-2.pcap"
    data, at, halves = whole.read_bytes(), 24, {b"\x16": bytearray(), b"\x48": bytearray()}
    for half in halves.values():
        half += data[:24]
    while at < len(data):
        end = at + 16 + int.from_bytes(data[at + 8 : at + 12], "little")
        halves[data[at + 16 + 11 : at + 16 + 12]] += data[at:end]  # the last octet of the sender's MAC
        at = end
    for number, half in enumerate(halves.values()):
        (tmp_path / f"tap-{number}.pcap").write_bytes(half)
    done = commandline.scan(tmp_path, "--merge", tmp_path / "tap-0.pcap", tmp_path / "tap-1.pcap")
    (found,) = done.of("finding")
    (wanted,) = _wanted(whole)["findings"]
    del wanted["evidence"]  # packets are counted in each file
    assert not list(_differences(wanted, found))


def test_no_secret_of_a_capture_is_ever_told(tmp_path: Path) -> None:
    done = commandline.scan(tmp_path, *(FOLDER / part for part in ("recorded", "derived", "lab")))
    for secret in ("NOT-REAL", "NOT/REAL", "NOTREAL", "FAKETOKEN"):
        assert secret not in done.out + done.err
