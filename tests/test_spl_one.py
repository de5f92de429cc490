"""The first SPL evaluator on cases from Splunk's manuals, and its logic against a plain truth table."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engines.spl_one import SplError, Undocumented, run

FILE = Path(__file__).parent / "engines" / "spl_one" / "cases.yml"
CASES: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["cases"]


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Spell a row's values as a reader sees them."""

    def spelled(value: Any) -> Any:
        if isinstance(value, list):
            return [spelled(item) for item in value]
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
def test_a_case_of_the_manual(case: dict[str, Any]) -> None:
    context = {key: case[key] for key in ("macros", "lookups", "now") if key in case}
    if "error" in case:
        with pytest.raises(SplError, match=case["error"]):
            run(case["query"], case["events"], **context)
    elif case.get("undocumented"):
        likely = shown(run(case["query"], case["events"], **context), case.get("likely"))
        assert likely == case.get("likely", likely)
        with pytest.raises(Undocumented):
            run(case["query"], case["events"], strict=True, **context)
    else:
        rows = run(case["query"], case["events"], strict=True, **context)
        assert shown(rows, case["expect"]) == case["expect"]


def test_every_case_names_its_source_and_its_expectation() -> None:
    assert len(CASES) >= 60
    assert len({case["name"] for case in CASES}) == len(CASES)
    for case in CASES:
        assert case["source"]
        assert sum(key in case for key in ("expect", "error", "undocumented")) == 1


TABLE = [
    {"id": number, **{f: ("1" if number >> at & 1 else "0") for at, f in enumerate("abcd")}}
    for number in range(16)
]
atoms = st.sampled_from("abcd")
trees = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(st.just("NOT"), inner),
        st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=4)),
    ),
    max_leaves=12,
)


def answer(tree: Any, row: dict[str, Any]) -> bool:
    if isinstance(tree, str):
        return row[tree] == "1"
    if tree[0] == "NOT":
        return not answer(tree[1], row)
    each = [answer(part, row) for part in tree[1]]
    return all(each) if tree[0] == "AND" else any(each)


def written(tree: Any, tight: str, above: str = "") -> str:
    """Write a tree with only the parentheses that the order of evaluation asks for; `tight` binds first."""
    if isinstance(tree, str):
        return f"{tree}=1"
    if tree[0] == "NOT":
        inner = written(tree[1], tight, "NOT")
        return f"NOT {inner}"
    own = tree[0]
    text = f" {own} ".join(written(part, tight, own) for part in tree[1])
    bare = above in ("", own) or (own == tight and above not in ("NOT", own))
    return text if bare else f"({text})"


@given(trees)
def test_search_says_what_the_truth_table_says(tree: Any) -> None:
    expected = [row["id"] for row in TABLE if answer(tree, row)]
    query = written(tree, "OR")
    assert [row["id"] for row in run(query, TABLE, strict=True)] == expected
    assert [row["id"] for row in run(query.replace(" AND ", " "), TABLE)] == expected


@given(trees)
def test_where_says_what_the_truth_table_says(tree: Any) -> None:
    expected = [row["id"] for row in TABLE if answer(tree, row)]
    assert [
        row["id"] for row in run(f"| search * | where {written(tree, 'AND')}", TABLE, strict=True)
    ] == expected


@given(st.text(alphabet='ab=!*()[]|"`\\ \n\tORANDNOTIN,.<>1', max_size=40))
def test_no_text_brings_anything_but_an_answer_or_an_error(query: str) -> None:
    with contextlib.suppress(SplError):
        assert isinstance(run(query, TABLE[:2]), list)


def test_an_error_says_where() -> None:
    with pytest.raises(SplError) as caught:
        run("a=1 (b=2", TABLE)
    assert caught.value.position == len("a=1 (b=2")
