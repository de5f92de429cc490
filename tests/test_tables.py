"""A table gives the findings of the same records as lines: of every sample, in every spelling, nested or flattened.

What is compared with is the scan of the lines, which other tests hold against the plain predicate; row for line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

import table_files
from imdswatch.finding import Finding, Skipped, Summary
from imdswatch.layouts.json import Json
from imdswatch.rule import Node, load_rules
from imdswatch.scan import duck, run, tablerows
from imdswatch.scan.hints import Hints
from imdswatch.scan.judging import Window
from imdswatch.scan.prefilter import Prefilter, build
from imdswatch.scan.run import Options, Scan
from imdswatch.schema import Schemas, load_schemas
from imdswatch.site import Site
from spellings import records

SAMPLES = Path(__file__).parent / "schemas"
SEED = 20261122
CASES = int(os.environ.get("IMDSWATCH_CASES", "9000"))
"""Random records, of which those of schemas of objects are looked at; `make conformance` makes 200 000."""


@pytest.fixture(autouse=True)
def _compile_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All scans here search by the same rules, for which the patterns need to be compiled only once."""

    @cache
    def compiled(conditions: tuple[tuple[str, Node], ...], watch: tuple[Any, ...]) -> Prefilter:
        return build(conditions, Hints(schemas()), watch)

    monkeypatch.setattr(
        run, "build", lambda conditions, hints, watch=(): compiled(tuple(conditions), tuple(watch))
    )


@cache
def schemas() -> Schemas:
    return load_schemas()


def scanned(path: Path, **options: Any) -> tuple[list[Finding | Skipped], Summary]:
    made = {"rules": load_rules(), "site": Site(), "schemas": schemas(), "each": True, **options}
    scan = Scan([str(path)], Options(**made))
    return list(scan.results()), scan.summary


def told(path: Path, **options: Any) -> list[str]:
    """Return the results as texts that do not tell what was read, a file of lines or of rows."""
    out = []
    for one in scanned(path, **options)[0]:
        plain = asdict(one)
        for evidence in plain.get("evidence", ()):
            if plain["confidence"] == "low":  # cut from the raw record: a table spells its times otherwise
                del evidence["excerpt"]
        text = json.dumps(plain, default=str, sort_keys=True)
        out.append(text.replace(str(path), "SOURCE").replace('"line ', '"row '))
    return sorted(out)


def objects(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().split(b"\n")
    found = []
    for line in lines:
        try:
            value = json.loads(line) if line.strip().startswith(b"{") else None
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def same(folder: Path, items: Iterable[table_files.Json], **options: Any) -> int:
    """Assert that lines and rows give the same; return how many findings there were."""
    count = 0
    for number, group in enumerate(table_files.by_columns(items)):
        lines = told(table_files.ndjson(folder / f"{number}.ndjson", group), **options)
        assert told(table_files.parquet(folder / f"{number}.parquet", group), **options) == lines
        count += len(lines)
    return count


OF_JSON = [path for path in sorted(SAMPLES.glob("*/*.log")) if objects(path)]


@pytest.mark.parametrize("path", OF_JSON, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_sample_as_a_table_gives_what_its_lines_give(path: Path, tmp_path: Path) -> None:
    same(tmp_path, objects(path))


def test_every_spelling_in_a_table_is_found(tmp_path: Path) -> None:
    """Random records of every schema of objects, respelled as logs may: what the lines give, the rows give."""
    kept: dict[str, list[dict[str, Any]]] = {}
    names = {s.name for s in schemas().values() if any(isinstance(b.form.layout, Json) for b in s.bases)}
    for (template, raw), _ in zip(records(schemas(), Random(SEED)), range(CASES), strict=False):
        if template.schema in names and len(kept.setdefault(template.schema, [])) < CASES // 100:
            try:
                value = json.loads(raw)
                json.dumps(value, ensure_ascii=False).encode()
            except (ValueError, UnicodeEncodeError):
                continue
            if isinstance(value, dict):
                kept[template.schema].append(value)
    count = 0
    for name, items in kept.items():
        folder = tmp_path / name
        folder.mkdir()
        count += same(folder, items)
    assert len(kept) > 20
    assert count > 600


@pytest.mark.parametrize("name", ["ecs/http", "suricata_http/served", "zeek_http/served", "ocsf_4002/http"])
def test_flattened_names_are_known(name: str, tmp_path: Path) -> None:
    items = objects(SAMPLES / f"{name}.log")
    nested, _ = scanned(table_files.parquet(tmp_path / "n.parquet", items))
    flat, _ = scanned(table_files.parquet(tmp_path / "f.parquet", map(table_files.flattened, items)))
    assert nested
    assert [one.fingerprint for one in flat if isinstance(one, Finding)] == [
        one.fingerprint for one in nested if isinstance(one, Finding)
    ]


def test_an_arrow_stream_and_a_packed_table_are_read(tmp_path: Path) -> None:
    import gzip

    items = objects(SAMPLES / "zeek_http" / "served.log")
    lines = told(table_files.ndjson(tmp_path / "a.ndjson", items))
    assert lines
    assert told(table_files.arrow(tmp_path / "a.arrows", items)) == lines
    table = table_files.parquet(tmp_path / "a.parquet", items)
    packed = tmp_path / "a.parquet.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    assert told(packed) == lines


def test_a_row_of_no_known_layout_is_searched_as_text(tmp_path: Path) -> None:
    items = [
        {"odd": i, "words": "x" if i != 3 else "GET http://169.254.169.254/latest/meta-data/"}
        for i in range(9)
    ]
    assert len(told(table_files.ndjson(tmp_path / "u.ndjson", items))) == 1
    same(tmp_path, items)
    found, summary = scanned(tmp_path / "0.parquet")
    assert [one.evidence[0].position for one in found if isinstance(one, Finding)] == ["row 4"]
    assert summary.records == 9


def test_only_events_within_the_window_count(tmp_path: Path) -> None:
    base = objects(SAMPLES / "zeek_http" / "served.log")[0]
    items = [{**base, "ts": 1.7e9 + 3600 * hour} for hour in range(48)]
    window = Window(1.7e9 + 3600 * 10, 1.7e9 + 3600 * 20)
    assert same(tmp_path, items, window=window) == 11
    as_time = table_files.parquet(tmp_path / "t.parquet", items, select="* REPLACE (to_timestamp(ts) AS ts)")
    assert len(told(as_time, window=window)) == 11


def test_folders_named_for_another_time_are_not_read(tmp_path: Path) -> None:
    base = objects(SAMPLES / "ocsf_4002" / "http.log")[0]
    first = 1795132800  # 2026-11-20
    for day in range(5):
        folder = tmp_path / "region=eu-west-1" / f"eventday=202611{20 + day}"
        folder.mkdir(parents=True)
        table_files.parquet(folder / "part.parquet", [{**base, "time": (first + 86400 * day + 60) * 1000}])
    found, summary = scanned(tmp_path, window=Window(first + 2 * 86400, first + 3 * 86400 - 1))
    part = tmp_path / "region=eu-west-1/eventday=20261122/part.parquet"
    assert [one.evidence[0].source for one in found if isinstance(one, Finding)] == [str(part)]
    assert (summary.sources, summary.bytes) == (1, part.stat().st_size)
    assert any("folders not read: 4," in note for note in summary.notes)


@pytest.mark.parametrize("long", [True, False])
@pytest.mark.parametrize("very_few", [0, 1000])
@pytest.mark.parametrize("hits", [0, 3, 200, 2_000])
def test_no_row_is_lost_however_many_matter(
    hits: int, very_few: int, long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table is asked stretch by stretch, once or twice each, by how many rows of the one before were likely."""
    for name, value in (
        ("_STRETCH", 512), ("_FEW", 8), ("_SPARSE", 64), ("_VERY_FEW", very_few), ("_PIECE", 100)
    ):  # fmt: skip
        monkeypatch.setattr(tablerows, name, value)
    monkeypatch.setattr(duck, "_LONG", 0 if long else 1 << 30)
    chance = Random(hits)
    base = objects(SAMPLES / "zeek_http" / "served.log")[0]
    far = {**base, "id.resp_h": "192.0.2.9", "host": "example.org", "uri": "/", "client_header_names": ["A"]}
    near = {**far, "uri": "/latest/api%2Dtokens"}  # likely, and nothing
    place = set(chance.sample(range(2_000), hits))
    items = [
        base if row in place else near if chance.random() < hits / 8_000 else far for row in range(2_000)
    ]
    found, _ = scanned(table_files.parquet(tmp_path / "t.parquet", items))
    assert {one.evidence[0].position for one in found if isinstance(one, Finding)} == {
        f"row {row + 1}" for row in place
    }


@pytest.mark.parametrize("long", [True, False])
def test_values_of_every_length_are_searched(
    long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty, missing, at the edge of what is searched in one piece, beyond it, and split between two rows."""
    monkeypatch.setattr(tablerows, "_PIECE", 5)
    monkeypatch.setattr(duck, "_LONG", 0 if long else 1 << 30)
    base = objects(SAMPLES / "zeek_http" / "served.log")[0]
    far = {**base, "id.resp_h": "192.0.2.9", "host": "example.org", "client_header_names": ["A"]}
    path = "/latest/meta-data/"
    ends = ["/x" * count + "a" * more + path for count in range(117, 122) for more in range(2)]
    hits = [path, "/" + "y" * 5_000 + path, "/\u00e9\u4e2d\U0001f600" * 9 + path, "/a%2e%2fb" + path, *ends]
    others = [
        None,
        "",
        "/",
        "/latest/meta-",
        "data/",
        "/latest/user",
        "-data",
        "/%6d%6f%72%65",
        "\u212a" * 90,
    ]
    uris = [one for hit in hits for one in (*others, hit)]
    found, _ = scanned(table_files.parquet(tmp_path / "t.parquet", [{**far, "uri": uri} for uri in uris]))
    step = len(others) + 1
    assert sorted(int(one.evidence[0].position.split()[1]) for one in found if isinstance(one, Finding)) == [
        step * place for place in range(1, len(hits) + 1)
    ]


@pytest.mark.parametrize("long", [True, False])
@pytest.mark.parametrize("use", [0, 7, 39, None])
def test_a_table_is_looked_at_again_only_for_what_it_holds(
    use: int | None, long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose credentials were served may have used them in any row, before or after; else nothing is read again."""
    monkeypatch.setattr(tablerows, "_PIECE", 5)
    monkeypatch.setattr(duck, "_LONG", 0 if long else 1 << 30)
    base = objects(SAMPLES / "zeek_http" / "served.log")[0]
    far = {**base, "id.resp_h": "192.0.2.9", "host": "example.org", "uri": "/", "client_header_names": ["A"]}
    items = [{**far, "ts": base["ts"] + row} for row in range(40)]
    items[20] = {**base, "ts": base["ts"] - 1}
    if use is not None:
        items[use]["host"] = "sts.eu-west-1.amazonaws.com"
    looks: list[int] = []
    real = tablerows.TableRows.read

    def read(self: Any, opened: Any, names: Any, span: Any, question: Any) -> Any:
        looks.append(1)
        return real(self, opened, names, span, question)

    monkeypatch.setattr(tablerows.TableRows, "read", read)
    rows = told(table_files.parquet(tmp_path / "t.parquet", items))
    assert rows == told(table_files.ndjson(tmp_path / "t.ndjson", items))
    assert any("imds-credentials-used" in one for one in rows) is (use is not None)
    assert len(looks) == (4 if use is not None else 2)  # of the rows that a schema knows, and of the others


@pytest.mark.parametrize(
    "uri",
    [
        "/%6c%61test/meta-data/",
        "/LATEST/%4DETA%2ddata",
        "/latest/%256deta%252Ddata",
        "/latest/%6%64eta-data",
        "/latest/%%36deta-data",
        "/latest/%25%36%44eta-data",
        "/2016%2d09-02/user%2Ddata",
        "/1%2e0/dyn%61mic/",
    ],
)
def test_a_path_in_any_spelling_is_asked_for(uri: str, tmp_path: Path) -> None:
    base = objects(SAMPLES / "zeek_http" / "served.log")[0]
    far = {**base, "id.resp_h": "192.0.2.9", "host": "example.org", "client_header_names": ["A"]}
    items = [{**far, "uri": "/"}, {**far, "uri": uri}]
    found, _ = scanned(table_files.parquet(tmp_path / "t.parquet", items))
    assert [one.evidence[0].position for one in found if isinstance(one, Finding)] == ["row 2"]


def broken(table: Path, name: str, at: slice, octets: bytes) -> Path:
    data = bytearray(table.read_bytes())
    data[at] = octets
    made = table.with_name(name)
    made.write_bytes(data)
    return made


def skips(path: Path) -> list[tuple[str, str]]:
    found, _ = scanned(path)
    assert not [one for one in found if isinstance(one, Finding)]
    return [(one.position, one.reason) for one in found if isinstance(one, Skipped)]


def page_of(table: Path, column: str, group: int) -> int:
    """Return where in the file the values of a column stand, of one group of rows."""
    import duckdb

    query = "SELECT data_page_offset FROM parquet_metadata(?) WHERE path_in_schema = ? AND row_group_id = ?"
    row = duckdb.execute(query, [str(table), column, group]).fetchone()
    assert row is not None
    return int(row[0])


def test_damage_is_told_and_the_groups_around_it_are_judged(tmp_path: Path) -> None:
    chance = Random(SEED)
    items = [
        {
            "ts": 1.7e9 + row,
            "uid": f"C{chance.random()}",
            "id": {"orig_h": "10.0.0.1", "resp_h": "169.254.169.254" if row in (5, 29_000) else "192.0.2.9"},
            "uri": f"/{chance.random()}",
        }
        for row in range(30_000)
    ]
    table = table_files.parquet(tmp_path / "t.parquet", items, more=", ROW_GROUP_SIZE 2048")
    size = table.stat().st_size
    place = page_of(table, "uri", group=7)
    found, summary = scanned(broken(table, "middle", slice(place, place + 2000), bytes(range(250)) * 8))
    positions = [one.evidence[0].position for one in found if isinstance(one, Finding)]
    assert sorted(positions) == ["row 29001", "row 6"]
    (skipped,) = [one for one in found if isinstance(one, Skipped)]
    first = int(skipped.position.removeprefix("row "))
    assert first % 2048 == 1
    assert skipped.reason.endswith(f"rows {first} to {first + 2047} are not all judged")
    assert summary.records == 30_000
    cut = "is cut short: a Parquet table has its index at its end"
    assert skips(broken(table, "cut", slice(size // 2, size), b"")) == [("", cut)]
    assert skips(broken(table, "index", slice(size - 500, size - 8), bytes(492)))[0][0] == ""


def test_a_page_that_unpacks_to_more_than_the_memory_is_told(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "bomb.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT repeat('A', 300000000) AS a) TO '{path}' (COMPRESSION zstd)")
    assert path.stat().st_size < 20_000
    assert skips(path) == [("row 1", "needs more than 1024 MiB of memory; rows 1 to 1 are not all judged")]


def test_names_of_columns_and_files_are_only_names(tmp_path: Path) -> None:
    names = {"a\"b'c": "x", "file_row_number": "y", "imdswatch row": "z", "t": "169.254.169.254", "": "e"}
    del names[""]
    folder = tmp_path / "eventday=20261122" / "it's [odd]*?"
    folder.mkdir(parents=True)
    made = table_files.parquet(tmp_path / "n.parquet", [names])
    odd = made.rename(folder / "p'*.parquet")
    found, _ = scanned(odd)
    assert [one.evidence[0].position for one in found if isinstance(one, Finding)] == ["row 1"]


def test_a_table_of_thousands_of_columns_is_read(tmp_path: Path) -> None:
    wide = {**{f"c{number}": number for number in range(4_000)}, "last": "169.254.169.254"}
    found, _ = scanned(table_files.parquet(tmp_path / "w.parquet", [wide]))
    assert len(found) == 1


def test_the_engine_reads_nothing_but_the_folder_of_the_table(tmp_path: Path) -> None:
    import duckdb

    from imdswatch.scan.duck import _connect

    connection = _connect(str(tmp_path), 1)
    for query in (
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_csv('http://127.0.0.1:9/x')",
        "INSTALL httpfs",
        "LOAD httpfs",
        f"COPY (SELECT 1) TO '{tmp_path.parent}/out.csv'",
        "SET threads = 8",
        "SET enable_external_access = true",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(query)
    connection.close()
