"""The answer does not depend on how the work was done.

One random corpus (records of every schema in many spellings, noise between them, odd line ends) is scanned in every
way there is: processes, parts, block sizes, order of paths, compression, memory limits. Findings are compared whole:
fingerprints, counts, stages, rules, evidence with source and position.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import zstandard

from imdswatch.finding import Finding, Skipped
from imdswatch.layouts.result import Header
from imdswatch.read import blocks as blocks_module
from imdswatch.rule import load_rules
from imdswatch.scan import run, work
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.hints import Hints
from imdswatch.scan.prefilter import build
from imdswatch.scan.run import Options, Scan
from imdswatch.schema import load_schemas
from imdswatch.site import Site, parse_site
from spellings import records

pytestmark = pytest.mark.slow  # part of `make test`, not of `make check`

SEED = 4711
LINES = 6000
SCHEMAS = load_schemas()
RULES = load_rules()
SITE = parse_site(
    '[site]\non_premises = ["10.16.0.0/12", "fd12:3456::/32"]\n[[suppress]]\nname = "lab"\nvlans = [42]\n'
    'sources = ["10.20.0.0/14"]\nresponders = ["10.20.2.66"]\n',
    "site.toml",
    [rule.slug for rule in RULES],
    date(2026, 11, 22),
)


BLIND = build([(r.slug, r.condition) for r in RULES if r.correlation is None], Hints(SCHEMAS)).blind


def corpus(seed: int, lines: int) -> bytes:
    """Return a file of mixed records.

    Those that need header lines are left to `headed`, those of layouts that hide values from the search to `hidden`:
    see the test that is expected to fail below.
    """
    rng = Random(seed)
    source = records(SCHEMAS, rng, each=10)
    out: list[bytes] = []
    while len(out) < lines:
        template, raw = next(source)
        raw = raw.replace(
            b"10.20.1.", b"10.%d.1." % rng.randrange(18, 42)
        )  # more victims than templates have
        draw = rng.random()
        if draw < 0.3:
            out.append(b"nothing to see here, move along " + b"x" * rng.randrange(200))
        elif draw < 0.33:
            out.append(b"")
        elif not template.header and template.schema not in BLIND:
            out.append(raw + (b"\r" if draw > 0.95 else b""))
    return b"\n".join(out)  # no line end at the end


def hidden(seed: int, name: str) -> bytes:
    """Return a file of one layout that hides values from the search."""
    source = records(SCHEMAS, Random(seed), each=20)
    found = (raw for template, raw in source if template.schema == name and raw[:1] == b"{")
    return b"\n".join(next(found) for _ in range(400)) + b"\n"


def headed(seed: int) -> bytes:
    """Return a file with column headers that change on the way."""
    rng = Random(seed)
    out: list[bytes] = []
    source = records(SCHEMAS, rng, each=3)
    while len(out) < 1500:
        template, raw = next(source)
        if template.header:
            out += [*template.header, raw, raw]
    return b"\n".join(out) + b"\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs")
    (path / "mixed.log").write_bytes(corpus(SEED, LINES))
    (path / "second.log").write_bytes(corpus(SEED + 1, LINES // 4))
    (path / "headed.log").write_bytes(headed(SEED + 2))
    (path / "hidden.log").write_bytes(hidden(SEED + 3, "zscaler_web"))
    return path


def findings(paths: list[Path | str], site: Site = SITE, **options: Any) -> list[dict[str, Any]]:
    scan = Scan([str(path) for path in paths], Options(RULES, site, SCHEMAS, **options))
    results = list(scan.results())
    assert all(isinstance(found, (Finding, Skipped)) for found in results)
    return sorted((asdict(one) for one in results if isinstance(one, Finding)), key=repr)


def files(folder: Path) -> list[Path | str]:
    return [folder / "headed.log", folder / "hidden.log", folder / "mixed.log", folder / "second.log"]


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[dict[str, Any]]:
    found = findings(files(folder))
    assert len(found) > 500
    assert {one["stage"] for one in found} >= {"attempted", "requested", "answered", "credentials-served"}
    assert {one["suppressed_by"] for one in found} == {None, "lab", "on_premises"}
    return found


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one == other


@pytest.mark.parametrize("part", [3_000, 50_000, 400_000])
def test_processes_and_parts(
    folder: Path, expected: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(work, "PART", part)
    monkeypatch.setattr(run, "SMALL", 1_000)
    same(findings(files(folder), jobs=2), expected)


def test_processes_over_files(folder: Path, expected: list[dict[str, Any]]) -> None:
    same(findings(files(folder), jobs=3), expected)


@pytest.mark.parametrize("size", [8 << 10, 10_007, 64 << 10, 3 << 20])
def test_block_sizes(
    folder: Path, expected: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(work, "blocks", partial(blocks_module.blocks, size=size, max_record=1 << 20))
    same(findings(files(folder)), expected)


def test_order_of_paths(folder: Path, expected: list[dict[str, Any]]) -> None:
    same(findings(list(reversed(files(folder)))), expected)
    same(findings([folder]), expected)


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_little_memory(
    folder: Path, expected: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Incidents that are written out and merged are the same."""
    for module in (run, work):
        monkeypatch.setattr(module, "Incidents", partial(Incidents, limit))
    same(findings(files(folder)), expected)
    same(findings(files(folder), jobs=2), expected)


def test_each_event_counts_once(folder: Path, expected: list[dict[str, Any]]) -> None:
    def totals(found: list[dict[str, Any]]) -> dict[tuple[Any, ...], Counter[str]]:
        out: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
        for one in found:
            key = (one["fingerprint"], one["suppressed_by"])
            out[key].update(one["rules"])
            out[key]["events"] += one["count"]
        return out

    each = findings(files(folder), each=True)
    assert all(one["count"] == 1 and set(one["rules"].values()) == {1} for one in each)
    assert totals(each) == totals(expected)
    same(findings(files(folder), each=True, jobs=2), each)


def pack_tar(data: bytes, mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        info = tarfile.TarInfo("mixed.log")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def pack_zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mixed.log", data)
    return out.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "two gzip members": lambda data: gzip.compress(data[:9999]) + gzip.compress(data[9999:]),
    "zstd": zstandard.ZstdCompressor().compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": pack_zip,
    "tar": partial(pack_tar, mode="w"),
    "tar.gz": partial(pack_tar, mode="w:gz"),
    "tar.xz": partial(pack_tar, mode="w:xz"),
    "gzip of zstd": lambda data: gzip.compress(zstandard.ZstdCompressor().compress(data)),
    "UTF-8 mark": lambda data: b"\xef\xbb\xbf" + data,
}


def nameless(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        ({**one, "evidence": [(e["position"], e["excerpt"]) for e in one["evidence"]]} for one in found),
        key=repr,
    )


@pytest.mark.parametrize("how", PACKED)
def test_compression(folder: Path, tmp_path: Path, how: str) -> None:
    data = (folder / "second.log").read_bytes()
    packed = tmp_path / "packed"
    packed.write_bytes(PACKED[how](data))
    wanted = nameless(findings([folder / "second.log"]))
    assert wanted
    same(nameless(findings([packed])), wanted)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_encoding(folder: Path, tmp_path: Path, encoding: str) -> None:
    text = "\n".join(
        line.decode() for line in (folder / "second.log").read_bytes().split(b"\n") if line.isascii()
    )
    (tmp_path / "plain").write_text(text, newline="")
    (tmp_path / "wide").write_bytes(text.encode(encoding))
    wanted = nameless(findings([tmp_path / "plain"]))
    assert wanted
    same(nameless(findings([tmp_path / "wide"])), wanted)


@pytest.mark.parametrize("name", ["mixed.log", "headed.log"])
def test_line_numbers_are_those_of_sed(folder: Path, tmp_path: Path, name: str) -> None:
    """A line that sed prints for the position of a finding gives that finding when it is alone in a file."""
    log = folder / name
    each = findings([log], each=True)
    positions = [int(one["evidence"][0]["position"].removeprefix("line ")) for one in each]
    script = "".join(f"{number}p;" for number in sorted(set(positions)))
    shown = subprocess.run(["sed", "-n", script, str(log)], stdout=subprocess.PIPE, check=True).stdout
    printed = dict(zip(sorted(set(positions)), shown.removesuffix(b"\n").split(b"\n"), strict=True))
    lines = log.read_bytes().split(b"\n")
    reader = SCHEMAS.reader()
    headers = {line for line in set(lines) if isinstance(reader.read(line), Header)}
    rng = Random(1)
    for one, number in rng.sample(list(zip(each, positions, strict=True)), 60):
        header = next((lines[at] for at in range(number - 2, -1, -1) if lines[at] in headers), b"")
        if b"cs(X-aws-ec2" in header:
            continue  # told by the column's name alone: see test_a_column_that_names_the_token
        alone = tmp_path / f"{number}.log"
        alone.write_bytes(header + b"\n" + printed[number])
        found = [f for f in findings([alone], each=True) if f["suppressed_by"] == one["suppressed_by"]]
        assert [(f["fingerprint"], f["rules"], f["stage"]) for f in found] == [
            (one["fingerprint"], one["rules"], one["stage"])
        ]


def test_a_file_given_twice_is_scanned_twice(folder: Path) -> None:
    once = findings([folder / "second.log"])
    twice = findings([folder / "second.log", folder / "second.log"])
    assert sum(one["count"] for one in twice) == 2 * sum(one["count"] for one in once)
    assert {one["fingerprint"] for one in twice} == {one["fingerprint"] for one in once}


# Whether a layout that hides values is parsed whole is decided by the head of a file or part, and by what the search
# touches on the way. A file that mixes such a layout with others can lose a record, and how it is cut has a say in it.
@pytest.mark.xfail(
    reason="the head of a part decides whether a layout that hides values is parsed whole", strict=True
)
def test_a_hidden_value_far_down_in_a_foreign_file(tmp_path: Path) -> None:
    """A token header that the log only shows as a captured value (Apache %{…}i), after much of another layout."""
    noise = (
        b'{"ts":1795309323.0,"uid":"C1","id.orig_h":"10.20.1.9","id.resp_h":"10.9.9.9","conn_state":"SF"}\n'
    )
    record = (
        b'10.20.1.9 - - [22/Nov/2026:01:02:03 +0000] "GET /x HTTP/1.1" 404 5 "-" "curl/8" "shop.example"'
        b' "FAKE" "-" 10.20.2.66:80\n'
    )
    (tmp_path / "first.log").write_bytes(record)
    (tmp_path / "late.log").write_bytes(noise * 2000 + record)
    assert findings([tmp_path / "first.log"], Site())
    assert findings([tmp_path / "late.log"], Site())


def test_positions_follow_what_stands_before(folder: Path, tmp_path: Path) -> None:
    data = (folder / "second.log").read_bytes()
    shifted = tmp_path / "second.log"
    shifted.write_bytes(b"\n" * 37 + data)
    before, after = findings([folder / "second.log"], each=True), findings([shifted], each=True)

    def moved(one: dict[str, Any], by: int) -> tuple[Any, ...]:
        number = int(one["evidence"][0]["position"].removeprefix("line "))
        return number + by, one["fingerprint"], one["stage"], sorted(one["rules"])

    assert sorted(moved(one, 37) for one in before) == sorted(moved(one, 0) for one in after)


def test_a_finding_is_a_value(folder: Path) -> None:
    """Iterating a second scan gives equal findings: nothing is kept between runs."""
    options = Options(RULES, SITE, SCHEMAS)
    one, two = (list(Scan([str(folder / "second.log")], options).results()) for _ in range(2))
    assert one == two
    assert [replace(f, title="x") for f in one if isinstance(f, Finding)] != one


COLUMNS = (
    b"#Fields: date time c-ip r-ip cs-method cs-host cs-uri-path sc-status cs(X-aws-ec2-metadata-token)\n"
    b"2026-11-22 23:45:24 10.20.1.9 10.20.2.66 GET shop.example /logo.png 404 1\n"
)
"""Only the name of a column says that there was a token."""


@pytest.mark.parametrize("before", [b"", b"10.20.1.9 GET /logo.png\n" * 5000])
def test_a_column_that_names_the_token(tmp_path: Path, before: bytes) -> None:
    (tmp_path / "elff.log").write_bytes(before + COLUMNS)
    [found] = findings([tmp_path / "elff.log"])
    assert found["evidence"][0]["position"] == f"line {before.count(10) + 2}"
