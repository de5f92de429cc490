"""A network where nothing is wrong gives nothing above low, and docs/benign.md says why of everything it does give."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from commandline import scan
from imdswatch.finding import SEVERITY_RANK, Finding
from imdswatch.layouts.result import Header
from imdswatch.read.lines import LineReader
from imdswatch.rule import load_rules
from imdswatch.scan.run import Options, Scan
from imdswatch.schema import load_schemas
from imdswatch.site import Site

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "bench"))

import benign  # noqa: E402  # it lies in bench/, which is no package

pytestmark = pytest.mark.slow  # part of `make test`, not of `make check`

LOW = SEVERITY_RANK["low"]
FAST = 50_000


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    folder = tmp_path_factory.mktemp("benign")
    return folder, benign.write(folder, FAST)


def test_every_class_is_what_the_table_says(lines: tuple[Path, dict[str, list[str]]]) -> None:
    folder, classes = lines
    table = {noise.name: noise for noise in benign.NOISE}
    assert len(table) == len(benign.NOISE)
    made = Counter(name for names in classes.values() for name in names if name)
    assert set(made) == set(table), "a class was never made"
    results = Scan([str(folder)], Options(load_rules(), Site(), load_schemas(), each=True)).results()
    found: Counter[str] = Counter()
    seen: dict[str, set[str]] = {name: set() for name in table}
    wrong: list[str] = []
    for result in results:
        assert isinstance(result, Finding), result
        (evidence,) = result.evidence
        layout = Path(evidence.source).stem
        name = classes[layout][int(evidence.position.partition(" ")[2]) - 1]
        noise = table[name]
        found[name] += 1
        seen[name].update(result.rules)
        if not set(result.rules) <= set(noise.rules) or result.severity != noise.severity:
            wrong.append(
                f"{name} in {layout}: {', '.join(result.rules)}, {result.severity}: {evidence.excerpt}"
            )
    assert not wrong, "\n".join(wrong[::10])
    for noise in benign.NOISE:
        assert found[noise.name] == (made[noise.name] if noise.rules else 0), noise.name
        assert seen[noise.name] == set(noise.rules), f"{noise.name}: the table names rules that never fire"


def test_every_line_is_read_by_its_schema(lines: tuple[Path, dict[str, list[str]]]) -> None:
    folder, classes = lines
    schemas = load_schemas()
    assert len(classes) >= 12
    for layout in classes:
        reader: LineReader = schemas.reader()
        names: Counter[str] = Counter()
        for line in (folder / f"{layout}.log").read_bytes().splitlines()[:400]:
            result = reader.read(line)
            if not isinstance(result, Header):
                names[str(getattr(result, "schema", None))] += 1
        # nginx's combined format is Apache's; a line of no known layout has no schema.
        wanted = {"nginx_combined": "apache_combined", "unknown": "None"}.get(layout, layout)
        assert set(names) == {wanted}, f"{layout}: {names}"


def test_the_same_seed_gives_the_same_lines(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        benign.write(tmp_path / name, 2000)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "benign.md").read_text() == benign.page(), "run `python bench/benign.py --page`"


def test_strangers_are_left_out_where_the_site_says_what_is_on_premises(
    lines: tuple[Path, dict[str, list[str]]], tmp_path: Path
) -> None:
    site = tmp_path / "site.toml"
    site.write_text("[site]\non_premises = ['10.0.0.0/8']\n")
    done = scan(tmp_path, lines[0], "--site", site)
    assert {str(one["victim"]["ip"]).partition(".")[0] for one in done.of("finding") if "victim" in one} == {
        "10"
    }


@pytest.mark.slow
def test_a_million_benign_lines_give_nothing_above_low(tmp_path: Path) -> None:
    folder = tmp_path / "lines"
    folder.mkdir()
    classes = benign.write(folder, 1_000_000)
    headers = sum(not name for names in classes.values() for name in names)
    assert sum(map(len, classes.values())) - headers == 1_000_000
    done = scan(tmp_path, folder, "--fail-on", "answered")
    assert done.code == 0
    assert done.of("skipped") == []
    assert done.of("summary")[0]["records"] == 1_000_000 + headers
    above = [one for one in done.of("finding") if SEVERITY_RANK[one["severity"]] > LOW]
    assert above == []
    counted = Counter(name for names in classes.values() for name in names)
    wanted = sum(counted[noise.name] for noise in benign.NOISE if noise.rules)
    assert sum(one["count"] for one in done.of("finding")) == wanted
