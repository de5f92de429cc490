"""The sections of the benchmark about tables: one program's Parquet against others on the same events.

The events are those of `generate`, written once more as Parquet by DuckDB (zstd, sorted by time as they come), and once
more in ten folders named for a time. Size is that of the lines, so that ratios compare the same events. Peers that need
an environment of their own are measured where it is (`make spark`, `make conformance`), else the row says so.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import checks
import generate
from generate import GB, MB
from measure import Command, Cost, best_of, cost
from table import Row

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache"
COPIES = 10
"""Hard links of the table that stand for a lake: the arithmetic of docs/scale.md goes on from there."""
Scan = Callable[..., Command]


def rows(scan: Scan, peers: Any, lines: Path, out: Path, found: Path) -> Iterator[Row]:
    """Yield what tables cost; `scan(path, *options)` is the command that scans a path."""
    table = _table(lines, out)
    size = lines.stat().st_size
    costs = best_of(
        {
            "ours": scan(table),
            "lines": scan(lines),
            "condition": _same_condition(scan, lines, table),
            "duckdb": peers.duckdb(lines),
            "by hand": peers.script("parquet_duckdb.py", table),
        }
    )
    ours = costs["ours"]
    _run(scan(table))  # the last to write the findings that are checked
    yield from _checked(lines, found)
    told = f"{_cpu(ours)}, {table.stat().st_size // MB} MB of Parquet"
    what = f"CPU of scan, the events of {size / GB:.1f} GB NDJSON as Parquet"
    yield _ratio(what, told, "DuckDB, NDJSON, the same condition", costs["condition"], ours, 1 / 2.5)
    yield _ratio(
        "the same against", _cpu(ours), "DuckDB, NDJSON, the bulletin by hand", costs["duckdb"], ours, None
    )
    yield _ratio(
        "the same against", _cpu(ours), "DuckDB by hand, the same Parquet", costs["by hand"], ours, None
    )
    yield _ratio(
        "the same against", _cpu(ours), "imdswatch, the same events as NDJSON", costs["lines"], ours, None
    )
    yield from _scaled(scan, lines, table, out)
    yield from _pruned(scan, out, found)
    yield from _others(ours, lines, table)


def _checked(lines: Path, found: Path) -> Iterator[Row]:
    text = found.read_text().replace('"position":"row ', '"position":"line ')
    found.write_text(text)
    result = checks.findings(found, generate.truth(lines))
    yield Row(
        "found in the table", result.found, result.planted, result.figure, "all, no other", result.right
    )


def hundred(scan: Scan, lines: Path, out: Path) -> Iterator[Row]:
    """A hundred times the lines, and a hundred times the table: throughput must stay, memory must not grow."""
    for path in (lines, _table(lines, out)):
        folder = _links(path, 100, out)
        one, many = best_of({"one": scan(path)})["one"], _run(scan(folder))
        growth = many.cpu / 100 / one.cpu
        what = f"CPU for each GB, 100 times {path.name} ({100 * lines.stat().st_size / GB:.0f} GB of lines)"
        told, against = _cpu(many), f"one: {_cpu(one)}"
        yield Row(what, told, against, f"{growth:.2f}x", "at most 1.2x", growth <= 1.2)
        told, ratio = f"{many.memory // MB} MB", many.memory / one.memory
        against = f"one: {one.memory // MB} MB"
        yield Row("peak memory of that", told, against, f"{ratio:.2f}x", "at most 1.2x", ratio <= 1.2)


def _same_condition(scan: Scan, lines: Path, table: Path) -> Command:
    """Return DuckDB on one thread with the very condition that the scan of the table asks, on the lines."""
    script = HERE / "peer_scripts" / "ndjson_condition.py"
    return Command([sys.executable, str(script), str(lines), str(table)], env=scan(table).env)


def _links(path: Path, copies: int, out: Path) -> Path:
    """Return a folder with so many hard links of a file: work grows, what is found does not."""
    folder = out / f"{copies}-{path.name}"
    folder.mkdir(exist_ok=True)
    for number in range(copies):
        link = folder / f"part-{number:03}{path.suffix}"
        if not link.exists():
            os.link(path, link)
    return folder


def _scaled(scan: Scan, lines: Path, table: Path, out: Path) -> Iterator[Row]:
    """Ten times the table: memory should not grow, and what it takes to start counts for less."""
    size = lines.stat().st_size
    folder = _links(table, COPIES, out)
    one, many = best_of({"one": scan(table)})["one"], _run(scan(folder))
    theirs = _run(_same_condition(scan, _links(lines, COPIES, out) / "*", table))
    growth = (many.cpu / COPIES) / one.cpu
    against = f"one: {_cpu(one)}, {one.memory // MB} MB"
    what = f"CPU for each GB, {COPIES} times the table ({COPIES * size / GB:.0f} GB of lines)"
    yield Row(
        what,
        f"{_cpu(many)}, {many.memory // MB} MB",
        against,
        f"{growth:.2f}x",
        "at most 1.2x",
        growth <= 1.2,
    )
    what = f"CPU of scan, {COPIES} times the table"
    yield _ratio(what, _cpu(many), "DuckDB, NDJSON, the same condition", theirs, many, 1 / 2.5)
    memory = many.memory / one.memory
    told = f"{many.memory // MB} MB"
    yield Row("peak memory of that", told, against, f"{memory:.2f}x", "at most 1.2x", memory <= 1.2)
    rate = COPIES * size / many.cpu / GB
    yield Row("throughput, tables", _cpu(many), "", f"{rate:.2f} GB of lines per CPU second", "", None)


def _pruned(scan: Scan, out: Path, found: Path) -> Iterator[Row]:
    """One folder of several, by its name."""
    parts = sorted((out / "hours").glob("day=*/hour=*/part.parquet"))
    total = sum(part.stat().st_size for part in parts)
    asked = parts[len(parts) // 2]
    day, hour = (folder.partition("=")[2] for folder in asked.parts[-3:-1])
    whole = _run(scan(out / "hours"))
    some = _run(scan(out / "hours", "--since", f"{day}T{hour}:00:00Z", "--until", f"{day}T{hour}:59:59Z"))
    read = json.loads(found.read_text().splitlines()[-1])["bytes"]
    what = f"bytes of {len(parts)} folders, one hour by --since and --until"
    told, against = f"{read / MB:.1f} MB, {_cpu(some)}", f"all: {total / MB:.1f} MB, {_cpu(whole)}"
    yield Row(what, told, against, f"{read / total:.2f}", "the one folder", read == asked.stat().st_size)


def _others(ours: Cost, lines: Path, table: Path) -> Iterator[Row]:
    """Programs with environments of their own, on the same events."""
    scripts = HERE / "peer_scripts"
    asked = (
        ("chDB, Parquet by hand", CACHE / "chdb", "parquet_chdb.py", table, "make bench-peers"),
        ("Spark SQL, Parquet by hand", CACHE / "spark", "parquet_spark.py", table, "make spark"),
        (
            "Tenzir's sigma operator, NDJSON",
            CACHE / "references",
            "sigma_tenzir.py",
            lines,
            "make conformance",
        ),
    )
    for label, environment, script, path, how in asked:
        python = environment / "bin" / "python"
        if not python.exists():
            yield Row(f"CPU of {label}", "", f"not installed: {how}", "", "", None)
            continue
        theirs = cost([str(python), str(scripts / script), str(path)])
        count = theirs.output.split()[-1] if theirs.output.split() else "?"
        told = f"{label}: {_cpu(theirs)}, {count} found"
        yield Row("CPU of scan, Parquet", _cpu(ours), told, f"{ours.cpu / theirs.cpu:.2f}x", "", None)


def _table(lines: Path, out: Path) -> Path:
    table = out / f"{lines.stem}.parquet"
    if not table.exists():
        script = HERE / "peer_scripts" / "make_tables.py"
        shutil.rmtree(out / "hours", ignore_errors=True)
        cost([sys.executable, str(script), str(lines), str(table), str(out / "hours")])
    return table


def _run(command: Command) -> Cost:
    return cost(command.words, codes=command.codes, env=command.env)


def _cpu(spent: Cost) -> str:
    return f"{spent.cpu:.2f} s CPU, {spent.wall:.2f} s wall"


def _ratio(what: str, ours: str, label: str, theirs: Cost, mine: Cost, bar: float | None) -> Row:
    ratio = mine.cpu / theirs.cpu
    told = "" if bar is None else f"at most {bar:.2g}x"
    return Row(
        what, ours, f"{label}: {_cpu(theirs)}", f"{ratio:.2f}x", told, None if bar is None else ratio <= bar
    )
