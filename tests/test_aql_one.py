"""The first AQL evaluator on cases from IBM's guide, and its logic against a truth table with NULL."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engines.aql_one import AqlError, Undocumented, run

FILE = Path(__file__).parent / "engines" / "aql_one" / "cases.yml"
CASES: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["cases"]


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Spell a row's values as a reader sees them."""

    def spelled(value: Any) -> Any:
        if value is None:
            return None
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

    return {name: spelled(value) for name, value in row.items() if name != "id"}


def shown(rows: list[dict[str, Any]], like: list[Any] | None) -> list[Any]:
    """Give rows as an expectation gives them: ids, or rows without `id`."""
    return (
        [row["id"] for row in rows]
        if like and not isinstance(like[0], dict)
        else [plain(row) for row in rows]
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_case_of_the_guide(case: dict[str, Any]) -> None:
    context = {key: case[key] for key in ("flows", "columns", "sets", "maps", "now") if key in case}
    events = case.get("events", [])
    if "error" in case:
        with pytest.raises(AqlError, match=case["error"]):
            run(case["query"], events, **context)
    elif case.get("undocumented"):
        likely = shown(run(case["query"], events, **context), case.get("likely"))
        assert likely == case.get("likely", likely)
        with pytest.raises(Undocumented):
            run(case["query"], events, strict=True, **context)
    else:
        rows = run(case["query"], events, strict=True, **context)
        assert shown(rows, case["expect"]) == case["expect"]


def test_every_case_names_its_source_and_its_expectation() -> None:
    assert len(CASES) >= 60
    assert len({case["name"] for case in CASES}) == len(CASES)
    for case in CASES:
        assert case["source"]
        assert sum(key in case for key in ("expect", "error", "undocumented")) == 1


COLUMNS = {"a": "number", "b": "number", "c": "number"}
TABLE = [
    {"id": 9 * x + 3 * y + z, "a": value[x], "b": value[y], "c": value[z]}
    for value in [(0, 1, None)]
    for x in range(3)
    for y in range(3)
    for z in range(3)
]
KNOWN = [row for row in TABLE if None not in row.values()]
trees = st.recursive(
    st.sampled_from("abc"),
    lambda inner: st.one_of(
        st.tuples(st.just("NOT"), inner),
        st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=4)),
    ),
    max_leaves=12,
)
# Truth as numbers, as SQL explains its logic: false 0, unknown 1/2, true 1; AND is the least, OR the greatest.
UNKNOWN = 0.5


def answer(tree: Any, row: dict[str, Any]) -> float:
    if isinstance(tree, str):
        return UNKNOWN if row[tree] is None else float(row[tree])
    if tree[0] == "NOT":
        return 1 - answer(tree[1], row)
    each = [answer(part, row) for part in tree[1]]
    return min(each) if tree[0] == "AND" else max(each)


def written(tree: Any, above: str = "") -> str:
    """Write a tree with only the parentheses that AND before OR asks for."""
    if isinstance(tree, str):
        return f"{tree} = 1"
    if tree[0] == "NOT":
        return f"NOT {written(tree[1], 'NOT')}"
    text = f" {tree[0]} ".join(written(part, tree[0]) for part in tree[1])
    bare = above in ("", tree[0]) or (tree[0] == "AND" and above == "OR")
    return text if bare else f"({text})"


@given(trees)
def test_where_says_what_the_truth_table_says(tree: Any) -> None:
    expected = [row["id"] for row in TABLE if answer(tree, row) == 1]
    rows = run(f"SELECT * FROM events WHERE {written(tree)}", TABLE, columns=COLUMNS)
    assert [row["id"] for row in rows] == expected
    known = run(f"SELECT * FROM events WHERE {written(tree)}", KNOWN, columns=COLUMNS, strict=True)
    assert [row["id"] for row in known] == [row["id"] for row in KNOWN if answer(tree, row) == 1]


@given(st.text(alphabet="SELECTFROMeventsWHERENOTAND abc01='\"()%,.*<>!-", max_size=40))
def test_no_text_brings_anything_but_an_answer_or_an_error(tail: str) -> None:
    with contextlib.suppress(AqlError):
        assert isinstance(run(f"SELECT * FROM events WHERE {tail}", TABLE[:2], columns=COLUMNS), list)


def test_an_error_says_where() -> None:
    with pytest.raises(AqlError) as caught:
        run("SELECT * FROM events WHERE a = 1 LAST 24", TABLE, columns=COLUMNS)
    assert caught.value.position == len("SELECT * FROM events WHERE a = 1 LAST 24")
