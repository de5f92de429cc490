"""The second SPL evaluator against the manuals' own examples, a truth table, and an old parser's trees.

The cases are data (tests/engines/spl_two/cases.yml), each with the manual page that it comes from.
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

from engines.spl_two import SplError, Undocumented, run

CASES = yaml.safe_load(
    (Path(__file__).parent / "engines" / "spl_two" / "cases.yml").read_text(encoding="utf-8")
)
NAMES = ("a", "b", "c")
ROWS = [
    {"id": number, **{name: "1" if bit else "0" for name, bit in zip(NAMES, bits, strict=True)}}
    for number, bits in enumerate(itertools.product((False, True), repeat=3))
]


def plain(row: dict[str, Any], shown: Any = ()) -> dict[str, Any]:
    """Write a row for comparing: numbers as text, one value of a list as the value, nothing hidden or null."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        if value in (None, []) or (name in ("id", "_raw", "_time") and name not in shown):
            continue
        items = [
            f"{item:g}"
            if isinstance(item, float) and item < 1e5
            else str(int(item) if isinstance(item, float) else item)
            for item in (value if isinstance(value, list) else [value])
        ]
        out[name] = items if len(items) > 1 else items[0]
    return out


def context(case: dict[str, Any]) -> dict[str, Any]:
    return {key: case[key] for key in ("macros", "lookups", "now") if key in case}


def events(case: dict[str, Any]) -> list[dict[str, Any]]:
    return CASES["data"][case["events"]] if isinstance(case["events"], str) else case["events"]


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
def test_the_manuals_say_so(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(SplError) as caught:
            run(case["query"], events(case), **context(case))
        assert case["error"] in str(caught.value)
        return
    if case.get("undocumented"):
        with pytest.raises(Undocumented):
            run(case["query"], events(case), strict=True, **context(case))
        run(case["query"], events(case), **context(case))  # the first reading answers
        return
    rows = run(case["query"], events(case), strict=True, **context(case))
    expect = case["expect"]
    if not expect or not isinstance(expect[0], dict):
        ids = [row["id"] for row in rows]
        assert (ids if case.get("ordered") else sorted(ids, key=str)) == (
            expect if case.get("ordered") else sorted(expect, key=str)
        )
        return
    shown = {name for row in expect for name in row}
    assert [plain(row, shown) for row in rows] == [plain(row, shown) for row in expect]


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


def truth(tree: Tree, row: dict[str, Any]) -> bool:
    if isinstance(tree, str):
        return row[tree] == "1"
    if tree[0] == "NOT":
        return not truth(tree[1], row)
    left, right = truth(tree[1], row), truth(tree[2], row)
    return (left and right) if tree[0] == "AND" else (left or right)


def written(tree: Tree, powers: dict[str, int], outer: int = 0, implied: bool = False) -> str:
    """Write a tree with only the parentheses that the order of operators needs."""
    if isinstance(tree, str):
        return f"{tree}=1"
    if tree[0] == "NOT":
        return f"NOT {written(tree[1], powers, 9, implied)}"
    power = powers[tree[0]]
    word = " " if implied and tree[0] == "AND" else f" {tree[0]} "
    text = written(tree[1], powers, power, implied) + word + written(tree[2], powers, power, implied)
    return f"({text})" if power < outer else text


@given(trees, st.booleans())
def test_search_is_a_truth_table_with_or_before_and(tree: Tree, implied: bool) -> None:
    query = written(tree, {"OR": 2, "AND": 1}, implied=implied)
    assert [row["id"] for row in run(query, ROWS)] == [row["id"] for row in ROWS if truth(tree, row)]


@given(trees)
def test_where_is_a_truth_table_with_and_before_or(tree: Tree) -> None:
    query = "* | where " + written(tree, {"OR": 1, "AND": 2})
    assert [row["id"] for row in run(query, ROWS)] == [row["id"] for row in ROWS if truth(tree, row)]


@given(trees)
def test_where_with_missing_fields_follows_kleene(tree: Tree) -> None:
    rows = [
        {
            "id": number,
            **{name: value for name, value in zip(NAMES, values, strict=True) if value is not None},
        }
        for number, values in enumerate(itertools.product((None, "0", "1"), repeat=3))
    ]

    def kleene(part: Tree, row: dict[str, Any]) -> float:
        """False is 0, unknown a half, true 1: NOT is 1-x, AND the least, OR the greatest."""
        if isinstance(part, str):
            return 0.5 if part not in row else float(row[part] == "1")
        if part[0] == "NOT":
            return 1 - kleene(part[1], row)
        return (min if part[0] == "AND" else max)(kleene(part[1], row), kleene(part[2], row))

    query = "* | where " + written(tree, {"OR": 1, "AND": 2})
    assert [row["id"] for row in run(query, rows)] == [row["id"] for row in rows if kleene(tree, row) == 1]


WORDS = (
    'a b = != < 1 "x" * ( ) , AND OR NOT IN | [ ] search where eval stats count by values rex field regex fields - '
    "table rename AS bin span lookup inputlookup dedup sort head tstats from datamodel Network_Traffic Web mvexpand "
    'makemv delim fillnull value makeresults earliest -1d@d latest TERM CASE `m` ``` match ( "(" ) if case . + / max'
)


@given(
    st.one_of(st.lists(st.sampled_from(WORDS.split(" ")), max_size=16).map(" ".join), st.text(max_size=30))
)
@settings(max_examples=600)
def test_any_text_gives_rows_or_an_error(text: str) -> None:
    for query in (text, "* | " + text, "| " + text):
        with contextlib.suppress(SplError):
            assert isinstance(run(query, ROWS, macros={"m": "a=1"}), list)


def test_the_events_are_not_changed() -> None:
    before = [dict(row) for row in ROWS]
    run('* | eval a="9", d=1 | rename b AS e | stats count by a', ROWS)
    assert before == ROWS
