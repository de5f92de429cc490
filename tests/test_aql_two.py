"""The second AQL evaluator against the guide's own examples and a truth table.

The cases are data (tests/engines/aql_two/cases.yml), each with the page of IBM's guide that it comes from.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.aql_two import AqlError, Undocumented, run

CASES = yaml.safe_load(
    (Path(__file__).parent / "engines" / "aql_two" / "cases.yml").read_text(encoding="utf-8")
)
NAMES = ("qid", "severity", "relevance")


def plain(row: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in row.items() if name != "id" and value is not None}


def rows_of(case: dict[str, Any], table: str) -> list[dict[str, Any]]:
    held = case.get(table, [])
    return CASES["data"][held] if isinstance(held, str) else held


def answered(case: dict[str, Any], *, strict: bool) -> list[dict[str, Any]]:
    context = {key: case[key] for key in ("sets", "maps", "now") if key in case}
    columns = case.get("columns", {"URL": "text"})
    return run(
        case["query"],
        rows_of(case, "events"),
        flows=rows_of(case, "flows"),
        columns=columns,
        strict=strict,
        **context,
    )


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
def test_the_guide_says_so(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(AqlError) as caught:
            answered(case, strict=False)
        assert case["error"] in str(caught.value)
        return
    if case.get("undocumented"):
        with pytest.raises(Undocumented):
            answered(case, strict=True)
        answered(case, strict=False)  # the first reading answers
        return
    rows = answered(case, strict=True)
    expect = case["expect"]
    if not expect or not isinstance(expect[0], dict):
        ids = [row["id"] for row in rows]
        assert (ids if case.get("ordered") else sorted(ids)) == (
            expect if case.get("ordered") else sorted(expect)
        )
        return
    assert [plain(row) for row in rows] == [plain(row) for row in expect]


def test_every_case_is_named_once_and_has_a_source() -> None:
    names = [case["name"] for case in CASES["cases"]]
    assert len(names) == len(set(names)) >= 60
    assert all(case["source"] for case in CASES["cases"])


Tree = str | tuple[Any, ...]
trees = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.one_of(
        st.tuples(st.just("NOT"), inner), st.tuples(st.sampled_from(("AND", "OR")), inner, inner)
    ),
    max_leaves=8,
)


def written(tree: Tree, outer: int = 0) -> str:
    """Write a tree with only the parentheses that NOT, AND, OR in this order need."""
    if isinstance(tree, str):
        return f"{tree} = 1"
    if tree[0] == "NOT":
        return f"NOT {written(tree[1], 3)}"
    power = {"OR": 1, "AND": 2}[tree[0]]
    text = f"{written(tree[1], power)} {tree[0]} {written(tree[2], power)}"
    return f"({text})" if power < outer else text


def kleene(tree: Tree, row: dict[str, Any]) -> float:
    """False is 0, unknown a half, true 1: NOT is 1-x, AND the least, OR the greatest."""
    if isinstance(tree, str):
        return 0.5 if row.get(tree) is None else float(row[tree] == 1)
    if tree[0] == "NOT":
        return 1 - kleene(tree[1], row)
    return (min if tree[0] == "AND" else max)(kleene(tree[1], row), kleene(tree[2], row))


@given(trees, st.booleans())
@settings(max_examples=40)
def test_where_is_a_truth_table(tree: Tree, with_null: bool) -> None:
    values = (None, 0, 1) if with_null else (0, 1)
    rows = [
        {"id": number, **dict(zip(NAMES, bits, strict=True))}
        for number, bits in enumerate(itertools.product(values, repeat=3))
    ]
    found = run(f"SELECT * FROM events WHERE {written(tree)} LAST 1 DAYS", rows)
    assert [row["id"] for row in found] == [row["id"] for row in rows if kleene(tree, row) == 1]


WORDS = (
    "SELECT FROM WHERE events flows * , ( ) = AND OR NOT IN LIKE 'a' 1 qid username INCIDR COUNT GROUP BY LAST HOURS "
    "LIMIT START '10.0.0.0/8' sourceip MATCHES '(' NULL IS CASE WHEN END \" -- UNION JOIN EXISTS STR - AS x"
)


@given(st.lists(st.sampled_from(WORDS.split(" ")), max_size=14))
@settings(max_examples=150)
def test_any_words_give_rows_or_an_error(words: list[str]) -> None:
    for text in (" ".join(words), "SELECT * FROM events WHERE " + " ".join(words)):
        with contextlib.suppress(AqlError):
            assert isinstance(run(text, [{"id": 1, "qid": 1, "username": "a", "sourceip": "10.0.0.1"}]), list)
