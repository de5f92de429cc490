"""A table that is text gives the findings of the same records as lines of JSON, however it is cut, quoted or separated.

Oracles: Python's csv module (what the rows are), and the scan of the same records as lines (what they mean).
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import table_files
from imdswatch.finding import Finding, Skipped
from imdswatch.layouts.result import Malformed
from imdswatch.read.blocks import Block, blocks
from imdswatch.read.rows import LONGEST, Frame, Named, frames, named_columns
from imdswatch.rule import load_rules
from imdswatch.scan.detect import detect
from imdswatch.schema import load_schemas
from test_tables import SAMPLES, objects, scanned, schemas

HEADER = ("name", "user agent", "id.resp_h")
Cells = st.lists(st.text(st.sampled_from('a"\n\r,;%/\t é'), max_size=8), min_size=3, max_size=3)


class Bytes:
    """Octets as a stream that `blocks` reads from."""

    origin = 0

    def __init__(self, data: bytes, most: int) -> None:
        self._data, self._most = io.BytesIO(data), most

    def readinto(self, buffer: memoryview) -> int:
        return self._data.readinto(buffer[: self._most])


def rows_of(data: bytes, named: Named, size: int = 64, most: int = 7) -> Iterator[bytes]:
    """Yield the rows of a text that is read in pieces."""
    for found in frames(blocks(Bytes(data, most), size, max_record=1 << 16, overlap=8), named):
        assert isinstance(found, Frame)
        for begin, end in found.rows():
            yield found.data[begin:end]


def written(rows: Iterable[Iterable[str]], separator: str, quoting: int) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerows(rows)
    return out.getvalue().encode()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(Cells, min_size=1, max_size=12),
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.integers(1, 90),
)
def test_rows_are_those_that_the_csv_module_reads(
    rows: list[list[str]], separator: str, quoting: int, most: int
) -> None:
    data = written([HEADER, *rows], separator, quoting)
    named = named_columns(data)
    assert named == Named(separator, HEADER)
    found = [named.record(row) for row in rows_of(data, named, most=most)]
    expected = [
        {
            name: cell.rstrip("\r\n") if name == HEADER[-1] and cell.isspace() else cell
            for name, cell in pairs
            if cell
        }
        for pairs in (zip(HEADER, row, strict=True) for row in [HEADER, *rows])
    ]
    if not any(
        "\r" in row[-1] for row in rows
    ):  # the writer does not quote it everywhere, and it ends lines as well
        assert found == expected


def test_every_octet_is_in_one_frame_whatever_it_is() -> None:
    chance = Random(20261122)
    named = Named(",", HEADER)
    for _ in range(600):
        data = bytes(chance.choices(b'",\n\nab"', k=chance.randrange(200)))
        assert b"".join(rows_of(data, named, most=chance.randrange(1, 60))) == data


@pytest.mark.parametrize(
    "head",
    [
        b"a,b,c",  # no line
        b"one, two\nthree",
        b"a,b,a\n",
        b"1,2,3\n",
        b"a,,c\n",
        b"2026-11-22 01:00:00, hello, world\n",
        b"x" * 20_000 + b",b,c\n",
        b"\xff\xfe,b,c\n",
        b'"a,b,c\n',
        b"a,b," + b"c" * 300 + b"\n",
    ],
)
def test_a_first_line_that_names_no_columns(head: bytes) -> None:
    assert named_columns(head) is None


def as_csv(path: Path, items: list[dict[str, object]], **options: str) -> Path:
    """Write records as an export does: dotted names, lists as texts, a value that is missing is empty."""
    flat = [_dotted(item) for item in items]
    names = list(dict.fromkeys(name for item in flat for name in item))
    separator = options.get("separator", ",")
    data = written(
        [names, *([item.get(name, "") for name in names] for item in flat)], separator, csv.QUOTE_MINIMAL
    )
    if options.get("lead"):
        data = options["lead"].encode() + data
    path.write_bytes(data.replace(b"\n", options.get("end", "\n").encode()))
    return path


def _dotted(record: object, lead: str = "") -> dict[str, str]:
    out: dict[str, str] = {}
    assert isinstance(record, dict)
    for key, value in record.items():
        if isinstance(value, dict):
            out.update(_dotted(value, f"{lead}{key}."))
        elif value is not None and not isinstance(value, list):
            out[lead + key] = json.dumps(value) if not isinstance(value, str) else value
    return out


def found_in(path: Path) -> set[tuple[str, str, str, str]]:
    found, _ = scanned(path)
    assert not [one for one in found if isinstance(one, Skipped)]
    return {
        (one.fingerprint, one.rule, one.stage, one.evidence[0].position)
        for one in found
        if isinstance(one, Finding)
    }


def shifted(found: set[tuple[str, str, str, str]]) -> set[tuple[str, str, str, str]]:
    """Return findings of lines as those of a file with a header before them."""
    return {(*one[:3], f"line {int(one[3].split()[1]) + 1}") for one in found}


@pytest.mark.parametrize(
    ("separator", "lead", "end"),
    [(",", "", "\n"), (";", "\ufeff", "\r\n"), ("\t", "", "\n"), ("|", "", "\n")],
)
@pytest.mark.parametrize(
    "name", ["ecs/http", "zeek_http/served", "zeek_conn/contact", "ocsf_4001/contact", "ocsf_4002/http"]
)
def test_an_export_gives_what_its_records_give(
    name: str, separator: str, lead: str, end: str, tmp_path: Path
) -> None:
    path = SAMPLES / f"{name}.log"
    if not path.exists():
        path = next(one for one in sorted(path.parent.glob("*.log")) if objects(one))
    items = [json.loads(json.dumps(item), parse_float=str) for item in objects(path)]
    items = [{k: v for k, v in item.items() if not isinstance(v, list)} for item in items]
    lines = found_in(table_files.ndjson(tmp_path / "a.ndjson", items))
    assert lines
    made = as_csv(tmp_path / "a", items, separator=separator, lead=lead, end=end)
    assert found_in(made) == shifted(lines)


def test_flow_logs_as_athena_exports_them(tmp_path: Path) -> None:
    names = (
        "version,account_id,interface_id,srcaddr,dstaddr,srcport,dstport,protocol,start,end,action,log_status"
    )
    row = "2,123456789012,eni-1,10.0.0.5,169.254.169.254,40112,80,6,1795309200,1795309260,ACCEPT,OK"
    (tmp_path / "a.csv").write_text(f"{names}\n{row}\n")
    found, _ = scanned(tmp_path / "a.csv")
    (one,) = [one for one in found if isinstance(one, Finding)]
    assert (one.rule, one.confidence, one.victim["ip"]) == ("imds-contact", "medium", "10.0.0.5")
    table = [dict(zip(names.split(","), row.split(","), strict=True))]
    found, _ = scanned(table_files.parquet(tmp_path / "a.parquet", table))
    assert [one.victim["ip"] for one in found if isinstance(one, Finding)] == ["10.0.0.5"]


OWN = """
name: own
title: The table of a house
origin: documentation
version: "1"
references: ["written for this test"]
layer: http
vantage: proxy
priority: 50
layout: {kind: json}
recognise: {keys: [quelle, ziel, pfad]}
fields:
  timestamp: zeit
  src_ip: quelle
  dst_ip: ziel
  uri_path: pfad
  status: {from: antwort, as: int}
"""


def test_a_schema_of_ones_own_makes_any_table_known(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "own.yml").write_text(OWN)
    text = (
        "Zeit;Quelle;Ziel;Pfad;Antwort\n2026-11-22T01:00:00Z;10.0.0.5;169.254.169.254;/latest/api/token;200\n"
    )
    (tmp_path / "a.csv").write_text(text)
    row = dict(zip(*(line.split(";") for line in text.splitlines()), strict=True))
    table = table_files.parquet(tmp_path / "a.parquet", [row])
    for path in (tmp_path / "a.csv", table):
        found, _ = scanned(path, schemas=load_schemas(tmp_path / "own"))
        assert [(one.victim["ip"], one.stage) for one in found if isinstance(one, Finding)] == [
            ("10.0.0.5", "answered")
        ]


def test_a_row_inside_a_quoted_field_is_no_row(tmp_path: Path) -> None:
    """Whoever chooses a user agent may write rows into it; lines are counted as an editor counts them."""
    forged = "x\n1,10.9.9.9,169.254.169.254,/latest/meta-data/,y\nz"
    rows = [
        ["ts", "id.orig_h", "id.resp_h", "uri", "user_agent"],
        ["1795309200.5", "10.0.0.1", "192.0.2.1", "/", forged],
        ["1795309201.5", "10.0.0.2", "169.254.169.254", "/latest/api/token", 'five " inches'],
    ]
    (tmp_path / "a.csv").write_bytes(written(rows, ",", csv.QUOTE_MINIMAL))
    found, summary = scanned(tmp_path / "a.csv")
    told = [(one.victim["ip"], one.evidence[0].position) for one in found if isinstance(one, Finding)]
    assert told == [("10.0.0.2", "line 5")]
    assert summary.records == 5


def test_a_row_that_does_not_fit_its_header_is_told_and_searched(tmp_path: Path) -> None:
    text = "ts,id.orig_h,id.resp_h,uri\n1795309200.5,10.0.0.1,169.254.169.254,/latest/api/token,more\n,,,\n"
    (tmp_path / "a.csv").write_text(text)
    found, _ = scanned(tmp_path / "a.csv")
    assert [one.reason for one in found if isinstance(one, Skipped)] == ["5 columns where the header names 4"]
    assert [one.confidence for one in found if isinstance(one, Finding)] == ["low"]


def test_a_line_of_another_layout_among_rows_is_read_as_what_it_is(tmp_path: Path) -> None:
    served = objects(SAMPLES / "zeek_http" / "served.log")[0]
    text = "ts,id.orig_h,id.resp_h,uri\n" + "1795309200.5,10.0.0.1,192.0.2.1,/\n" * 90
    (tmp_path / "a.csv").write_text(text + json.dumps(served) + "\n")
    found, _ = scanned(tmp_path / "a.csv")
    assert [one.evidence[0].position for one in found if isinstance(one, Finding)] == ["line 92"]
    assert {one.stage for one in found if isinstance(one, Finding)} == {"credentials-served"}


def test_a_quote_that_never_ends_hides_nothing(tmp_path: Path) -> None:
    """What follows an open quote is told row by row, in linear time, however long the text is."""
    row = b"1795309200.5,10.0.0.1,192.0.2.1,/\n"
    text = b'ts,id.orig_h,id.resp_h,uri\n1795309200.5,10.0.0.1,192.0.2.1,"/\n' + row * (
        3 * LONGEST // len(row)
    )
    text += b"1795309200.5,10.0.0.7,169.254.169.254,/latest/api/token\n"
    (tmp_path / "a.csv").write_bytes(text)
    began = time.process_time()
    found, summary = scanned(tmp_path / "a.csv")
    assert [one.victim["ip"] for one in found if isinstance(one, Finding)] == ["10.0.0.7"]
    assert summary.records == text.count(b"\n")
    assert time.process_time() - began < 20


def test_frames_of_open_quotes_take_linear_time() -> None:
    named = Named(",", HEADER)
    for line in (b'a,"""b,c\n', b'"', b'a,"b\n', b'"",""""\n', b',"\n'):
        data = line * (1_000_000 // len(line))
        block = Block(bytearray(data), len(data), 0, False, True)
        began = time.process_time()
        assert b"".join(one.data for one in frames([block], named) if isinstance(one, Frame)) == data
        assert time.process_time() - began < 10


def test_what_a_table_is_can_be_asked(tmp_path: Path) -> None:
    items = objects(SAMPLES / "zeek_http" / "served.log")
    seen = detect(str(as_csv(tmp_path / "a.csv", items)), schemas(), load_rules())
    assert [(one.schema.name, one.records) for one in seen.schemas] == [("zeek_http", len(items))]


def test_lines_that_a_schema_knows_are_no_table(tmp_path: Path) -> None:
    """nfdump's CSV has a header and a schema of its own, which counts first."""
    for path in sorted((SAMPLES / "nfdump_csv").glob("*.log")):
        seen = detect(str(path), schemas(), load_rules())
        assert [one.schema.name for one in seen.schemas] == ["nfdump_csv"]


def test_malformed_is_a_value() -> None:
    assert isinstance(Named(",", HEADER).record(b'"a,b,c\n'), Malformed)
