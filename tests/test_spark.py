"""One corpus, five ways: lines, tables, the plain predicate, Sail with four workers, classic Spark with two.

The first three are compared wherever the tests run. A cluster needs its own environment: `make sail` (part of CI) has
Sail, `make spark` classic Spark; elsewhere those tests say that they are skipped.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

import clusters
import plain_sigma
import table_files
from imdswatch import __version__
from imdswatch.event import endpoint, victim_ip, victim_mac
from imdswatch.finding import fingerprint
from imdswatch.layouts.json import Json
from imdswatch.layouts.result import Record
from imdswatch.read.sources import Source, walk
from imdswatch.rule import load_rules
from imdswatch.scan import spark
from imdswatch.scan.work import Options, Task
from imdswatch.schema import load_schemas
from imdswatch.site import Site
from patience import LONG
from spellings import records

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "tests" / "schemas" / "zeek_http"
SEED = 20261122
SCHEMAS = ("zeek_http", "suricata_http", "ocsf_4002", "ecs", "zeek_conn", "suricata_dns")
ROWS = 120
Told = dict[tuple[str, str], set[str]]
"""(fingerprint, place) → the rules that matched there."""


@dataclass(frozen=True)
class Corpus:
    """The same records as lines and as tables, besides real logs and a capture of examples/."""

    lines: Path
    tables: Path
    others: Path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    made = Corpus(folder / "lines", folder / "tables", ROOT / "examples")
    made.lines.mkdir()
    made.tables.mkdir()
    schemas = load_schemas()
    assert all(any(isinstance(base.form.layout, Json) for base in schemas[name].bases) for name in SCHEMAS)
    kept: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
    reader = schemas.reader()
    for template, raw in records(schemas, Random(SEED)):
        items = kept.get(template.schema)
        if items is None or len(items) >= ROWS:
            if all(len(one) >= ROWS for one in kept.values()):
                break
            continue
        try:
            value = json.loads(raw)
            json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, UnicodeEncodeError):
            continue
        found = reader.read_object(value) if isinstance(value, dict) else None
        if isinstance(found, Record) and found.schema == template.schema:
            items.append(value)
    for name, items in kept.items():
        group = next(table_files.by_columns(items))
        table_files.ndjson(made.lines / f"{name}.x", group)
        table_files.parquet(made.tables / f"{name}.x", group)
    return made


def plain(corpus: Corpus) -> Told:
    """Judge every record by the plain predicate, which knows no search, no table and no cluster."""
    told: Told = {}
    for name in SCHEMAS:
        reader = load_schemas().reader()
        for number, line in enumerate((corpus.lines / f"{name}.x").read_bytes().splitlines(), 1):
            found = reader.read(line)
            assert isinstance(found, Record)
            fields = plain_sigma.complete(found.fields)
            rules = {
                slug
                for slug in plain_sigma.SLUGS
                if slug != "imds-credentials-used"
                and plain_sigma.holds(plain_sigma.plain_rule(slug), fields, {})
            }
            if rules:
                victim = victim_ip(fields) or victim_mac(fields) or fields.get("src_host") or ""
                told[fingerprint(victim, endpoint(fields) or ""), f"{name}.x {number}"] = rules
    return told


def run(paths: list[Path], *options: str, env: Any = None) -> tuple[int, list[dict[str, Any]]]:
    """Run the command line; return its exit code and what it wrote."""
    words = [
        sys.executable,
        "-m",
        "imdswatch",
        "scan",
        *map(str, paths),
        "--format",
        "ndjson",
        "-q",
        *options,
    ]
    env = {**(env or os.environ), "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=4 * LONG, check=False)
    assert done.returncode in (0, 1, 3), done.stderr[-3000:]
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def told_of(results: list[dict[str, Any]]) -> Told:
    told: Told = {}
    for one in results:
        assert one["type"] != "skipped", one
        if one["type"] == "finding":
            (evidence,) = one["evidence"]
            place = f"{Path(evidence['source']).name} {evidence['position'].split()[1]}"
            told[one["fingerprint"], place] = set(one["rules"])
    return told


def whole(results: list[dict[str, Any]]) -> list[str]:
    """Return every finding, and what was counted, but for the time it took."""
    return sorted(
        json.dumps({k: v for k, v in one.items() if k != "seconds"}, sort_keys=True) for one in results
    )


def test_lines_tables_and_the_plain_predicate_agree(corpus: Corpus) -> None:
    expected = plain(corpus)
    assert len(expected) > ROWS
    assert told_of(run([corpus.lines], "--each")[1]) == expected
    assert told_of(run([corpus.tables], "--each")[1]) == expected


def test_no_two_threads_have_the_same_worker() -> None:
    """Sail's workers are threads of one process, and a search keeps what it found in the worker."""
    options = Options(rules=load_rules(), site=Site(), schemas=load_schemas())
    spec = pickle.dumps((__version__, sys.version_info[:2], options, None))
    with spark.worker_of(spec) as one, spark.worker_of(spec) as other:
        assert one is not other
    with spark.worker_of(spec) as again, spark.worker_of(spec) as more:
        assert {id(again), id(more)} == {id(one), id(other)}


def test_a_relative_path_means_the_same_on_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executors of classic Spark run in folders of their own; what is reported is the path as it was given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.log").write_text("")
    (source,) = (one for one in walk(["a.log"]) if isinstance(one, Source))
    sent = spark.anywhere(Task((source,), 0, 5, 9)).sources[0]
    assert (sent.name, sent.path) == ("a.log", str(tmp_path / "a.log"))


def needs_sail() -> None:
    if not clusters.has_sail():
        pytest.skip("Sail is not installed here: `make sail` runs this")


def needs_classic() -> None:
    if not clusters.has_classic():
        pytest.skip("classic Spark is not installed here: `make spark` runs this")


@pytest.fixture(scope="module")
def sail() -> Iterator[clusters.Running]:
    needs_sail()
    with clusters.sail() as running:
        yield running


@pytest.fixture(scope="module")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clusters.Running]:
    needs_classic()
    with clusters.classic(tmp_path_factory.mktemp("spark")) as running:
        yield running


def same_there(corpus: Corpus, running: clusters.Running) -> None:
    paths = [corpus.lines, corpus.tables, corpus.others]
    for each in ((), ("--each",)):
        code, here = run(paths, *each)
        assert (code, len(here) > 20) == (1, True)
        there = run(paths, *each, "--engine", "spark", *running.options, env=running.env)
        assert (there[0], whole(there[1])) == (code, whole(here))
    expected = plain(corpus)
    for path in (corpus.lines, corpus.tables):
        found = run([path], "--each", "--engine", "spark", *running.options, env=running.env)[1]
        assert told_of(found) == expected


def test_sail_with_four_workers_finds_the_same(corpus: Corpus, sail: clusters.Running) -> None:
    same_there(corpus, sail)


def test_classic_spark_with_two_workers_finds_the_same(corpus: Corpus, classic: clusters.Running) -> None:
    same_there(corpus, classic)


FILES, HITS = 12, 20_000


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs that take seconds: every line matters; each has a victim of its own, so that none can be missed unseen."""
    folder = tmp_path_factory.mktemp("slow")
    for number in range(FILES):
        head = '{"ts":%d.0,"id.orig_h":"10.0.0.' + str(number) + '","id.resp_h":"169.254.169.254",'
        tail = '"method":"GET","uri":"/latest/meta-data/","status_code":200}\n'
        with (folder / f"{number}.log").open("w") as log:
            log.writelines(head % (1_795_309_200 + second) + tail for second in range(HITS))
    return folder


def killed_at_work(
    slow: Path, running: clusters.Running, victim: subprocess.Popen[bytes]
) -> tuple[int, list[Any], str]:
    """Kill a process of the cluster, and all that it started, when it reads the logs; return what the scan said."""
    words = [
        sys.executable,
        "-m",
        "imdswatch",
        "scan",
        str(slow),
        "--format",
        "ndjson",
        "-q",
        "--engine",
        "spark",
    ]
    env = {**running.env, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "ignore"}
    scan = subprocess.Popen(
        [*words, *running.options], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(scan.communicate)
        while not said.done() and not any(clusters.reads(one.pid, slow) for one in running.processes):
            time.sleep(0.02)
        clusters.kill(victim.pid)
        out, err = said.result(timeout=280)
    return scan.returncode, [json.loads(line) for line in out.splitlines()], err.decode()


def nothing_is_silent(slow: Path, code: int, results: list[Any], err: str) -> bool:
    """Assert that the answer is whole, or that all of it that is missing is named; say whether it was whole."""
    if code == 2:  # it died before the first job
        assert "there is no answer from the cluster" in err
        return False
    lost = {Path(one["source"]).name for one in results if one["type"] == "skipped"}
    assert all("the cluster" in one["reason"] for one in results if one["type"] == "skipped")
    found = {one["victim"]["ip"]: one["count"] for one in results if one["type"] == "finding"}
    assert found == {f"10.0.0.{n}": HITS for n in range(FILES) if f"{n}.log" not in lost}, err[-2000:]
    assert code == (1 if found else 3)
    return not lost


def test_parts_of_one_file_are_done_by_workers_at_once(tmp_path: Path, sail: clusters.Running) -> None:
    """Several parts of several files at the same time, each with few lines that matter: all are found."""
    far = b'{"ts":1.0,"id.orig_h":"10.0.0.1","id.resp_h":"192.0.2.1","method":"GET","uri":"/"}\n' * 20_000
    near = '{"ts":1.0,"id.orig_h":"10.1.0.%d","id.resp_h":"169.254.169.254","method":"GET","uri":"/latest/user-data"}\n'
    for number in range(40):
        (tmp_path / f"{number}.log").write_bytes(far + (near % number).encode() + far)
    code, found = run([tmp_path], "--engine", "spark", *sail.options, env=sail.env)
    assert code == 1
    assert {one["victim"]["ip"] for one in found if one["type"] == "finding"} == {
        f"10.1.0.{n}" for n in range(40)
    }
    assert not [one for one in found if one["type"] == "skipped"]


def test_a_cluster_that_dies_is_told_for_every_source(slow: Path) -> None:
    """Sail's four workers live in one process: what came back is kept, the rest is skipped by name."""
    needs_sail()
    with clusters.sail() as running:
        nothing_is_silent(slow, *killed_at_work(slow, running, running.processes[0]))


def test_a_worker_that_dies_changes_nothing(slow: Path, tmp_path: Path) -> None:
    """Classic Spark gives what a killed worker had to the other one: the answer is whole."""
    needs_classic()
    with clusters.classic(tmp_path) as running:
        assert nothing_is_silent(slow, *killed_at_work(slow, running, running.processes[-1]))


def test_a_master_that_dies_changes_nothing_or_is_told(slow: Path, tmp_path: Path) -> None:
    needs_classic()
    with clusters.classic(tmp_path) as running:
        nothing_is_silent(slow, *killed_at_work(slow, running, running.processes[0]))


def test_no_cluster_is_an_error_at_once() -> None:
    needs_sail()
    words = [sys.executable, "-m", "imdswatch", "scan", str(ROOT / "examples"), "--engine", "spark"]
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONWARNINGS": "ignore",
        "SPARK_CONNECT_RETRY_MAX": "0",
    }
    words += ["--remote", "sc://127.0.0.1:9"]
    done = subprocess.run(words, env=env, capture_output=True, timeout=LONG, check=False)
    assert done.returncode == 2
    assert b"there is no answer from the cluster" in done.stderr


def test_a_stream_finds_new_files_once(tmp_path: Path) -> None:
    """The job of docs/ over a folder that grows, ended and started again: each event once, as the scan finds it."""
    needs_classic()
    folder = tmp_path / "in"
    folder.mkdir()

    def streamed() -> Told:
        words = [sys.executable, str(ROOT / "docs" / "stream.py"), str(folder), str(tmp_path / "out")]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYSPARK_PYTHON": sys.executable}
        env["PYSPARK_SUBMIT_ARGS"] = "--master local[1] --conf spark.ui.enabled=false pyspark-shell"
        done = subprocess.run(
            [*words, str(tmp_path / "state"), "--once"],
            env=env,
            capture_output=True,
            timeout=4 * LONG,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        lines = [line for part in (tmp_path / "out").glob("part-*") for line in part.read_text().splitlines()]
        found = told_of([json.loads(line) for line in lines])
        assert len(found) == len(lines), "an event came twice"
        return found

    def looked_at_once() -> Told:
        found = told_of(run([folder], "--each")[1])
        return {place: rules for place, rules in found.items() if rules != {"imds-credentials-used"}}

    # Records as the tool writes them: a column that holds an object here and a text there is text to Spark.
    lines = [line for path in sorted(SAMPLES.glob("*.log")) for line in path.read_text().splitlines()]
    items = [value for line in lines if line.startswith("{") and isinstance(value := json.loads(line), dict)]
    assert len(items) > 5
    table_files.parquet(folder / "one.parquet", items)
    first = streamed()
    assert first
    assert first == looked_at_once()
    shutil.copy(folder / "one.parquet", folder / "two.parquet")
    assert streamed() == looked_at_once()
    assert len(streamed()) == 2 * len(first)
