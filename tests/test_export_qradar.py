"""IBM QRadar content: AQL with one reading, read alike by two evaluators and `scan`; rules, sets, golden tree."""

from __future__ import annotations

import json
import re
import time
from functools import cache
from typing import Any

import pytest

from conformance.corpus import NOW, cases, sites, wanted
from engines.aql_one import run as first
from engines.aql_two import run as second
from export_cases import SLUGS, content, query, same_as_golden, site
from imdswatch.event import complete
from imdswatch.layouts.result import Record
from imdswatch.schema import load_schemas
from imdswatch.siem import tree
from imdswatch.siem.content import Query, Source
from imdswatch.siem.qradar_site import filter_of, reading_sets, sets_of
from imdswatch.site import Site
from qradar_events import event, names, properties

WHERE = {"anywhere": Site(), "all of it": sites()["all of it"]}
ALL = [
    (f"{one.rule.slug}-{one.schema}-{name}", one, where)
    for name, where in WHERE.items()
    for one in content("qradar", where).queries
]
STRINGS = re.compile(r"'(?:[^']|'')*'")


@cache
def events(schema: str) -> tuple[tuple[dict[str, Any], dict[str, Any]], ...]:
    """Return a third of the corpus as QRadar would hold it, and what `scan` reads in it (conformance asks all)."""
    found = load_schemas()
    [naming] = [one for one in found[schema].siem if one.target == "qradar"]
    source = Source(found[schema], naming)
    reader = found.reader(only=schema)
    out = []
    for case in cases()[::3]:
        lines = source.schema.write(case.fields)
        if not lines:
            continue
        one = event(json.loads(lines[-1]), source)
        result = reader.read(json.dumps({k: v for k, v in one.items() if v is not None}).encode())
        assert isinstance(result, Record)
        out.append(({**one, "id": len(out)}, complete(dict(result.fields))))
    assert len(out) > 70
    return tuple(out)


def answers(run: Any, text: str, one: Query, where: Site) -> set[int]:
    rows = [row for row, _ in events(one.source.schema.name)]
    flows, logs = (rows, []) if one.schema == "flows" else ([], rows)
    sets = {name: list(values) for name, (_, values) in sets_of(where).items()}
    told = {"columns": properties(one.source), "maps": names(one.source), "sets": sets, "now": NOW}
    return {row["id"] for row in run(text, logs, flows=flows, **told)}


@pytest.mark.parametrize(("one", "where"), [pair for _, *pair in ALL], ids=[name for name, *_ in ALL])
def test_both_evaluators_find_what_scan_finds_in_the_same_record(one: Query, where: Site) -> None:
    rows = events(one.source.schema.name)
    expected = {row["id"] for row, fields in rows if wanted(one.rule, where, fields)}
    assert answers(first, one.query, one, where) == expected
    assert answers(second, one.query, one, where) == expected


def test_reference_sets_give_the_same_answers_as_the_query_by_itself() -> None:
    where = sites()["all of it"]
    for one in content("qradar", where, None, "imds-answered", "imds-contact").queries:
        text = reading_sets(one)
        assert "REFERENCESETCONTAINS" in text
        assert answers(first, text, one, where) == answers(first, one.query, one, where)
        assert answers(second, text, one, where) == answers(second, one.query, one, where)


def test_no_answer_hangs_on_a_place_that_the_guide_leaves_open() -> None:
    where = site()
    for schema in ("events", "flows"):
        one = query(content("qradar", where), "imds-contact", schema)
        some = [row for row, _ in events(one.source.schema.name)][::3]
        told = {"columns": properties(one.source), "maps": names(one.source), "now": NOW, "strict": True}
        for run in (first, second):
            logs, flows = ([], some) if schema == "flows" else (some, [])
            assert run(one.query, logs, flows=flows, **told)


@pytest.mark.parametrize("one", [one for _, one, _ in ALL], ids=[name for name, *_ in ALL])
def test_only_constructs_with_one_reading(one: Query) -> None:
    code = STRINGS.sub("''", one.query)
    assert not re.search(r"\bCOALESCE\b|\bBETWEEN\b|!=", code)
    assert code.count("(") == code.count(")")
    for operator, text in re.findall(r"\b(I?MATCHES) '((?:[^']|'')*)'", one.query):
        assert re.match(r"(\(\?s\))?\^.*\$\Z", text), f"{operator} of a part of a value is open"
        assert "\\" not in text
    for net, column in re.findall(r"INCIDR\('([^']*)', (\w+)\)", one.query):
        assert (":" in net) == column.endswith("v6"), "the other family"
    for text in re.findall(r"I?LIKE '((?:[^']|'')*)'", one.query):
        assert not re.search(r"[_\\]|.%.", text), "no documented escape"
    for asked in re.findall(r"NOT ((?:INCIDR|REFERENCESET\w+)\(.*|\w+ I?(?:LIKE|MATCHES).*)", code):
        before = one.query[: one.query.index("NOT INCIDR")] if asked.startswith("INCIDR") else ""
        assert before.rstrip().endswith("AND"), f"NULL under NOT: {asked}"
    assert re.search(r"\nLAST \d+ MINUTES\Z", one.query)
    assert "SELECT *" not in one.query


def test_the_golden_tree() -> None:
    same_as_golden("qradar", content("qradar", site(), None, "imds-contact", "imds-answered"))


def test_every_rule_is_told_step_by_step_with_its_guide() -> None:
    found = content("qradar", site())
    files = tree(found)
    for one in found.queries:
        text = files[f"rules/{one.schema}/{one.rule.slug}.md"]
        assert filter_of(one) in text
        for said in (
            "AQL filter query",
            "Response limiter",
            "### Next steps",
            "### False positives",
            "ATT&CK",
        ):
            assert said in text
        assert files[one.path] == reading_sets(one) + "\n"
    asked = {(one.rule.slug, one.schema) for one in found.queries}
    refused = {(one.rule.slug, one.schema) for one in found.not_applicable}
    assert not asked & refused
    assert asked | refused == {(slug, schema) for slug in SLUGS for schema in ("events", "flows")}


def test_the_page_names_every_custom_property_that_a_query_asks_for() -> None:
    files = tree(content("qradar"))
    asked = {
        name
        for path, text in files.items()
        if path.endswith(".aql")
        for name in re.findall(r'"([^"]+)"', text)
    }
    assert asked >= {"URL", "VLAN ID", "IMDS Token Header", "http host"}
    for name in asked - {"CATEGORYNAME", "LOGSOURCENAME"}:
        assert f"`{name}`" in files["README.md"], name
    assert "reference-data/create.sh" not in files
    assert "reference" not in files["README.md"].partition("## Not carried")[0].lower()


def test_the_script_makes_and_fills_every_set_that_a_query_reads() -> None:
    files = tree(content("qradar", site()))
    script = files["reference-data/create.sh"]
    asked = {name for text in files.values() for name in re.findall(r"REFERENCESETCONTAINS\('([^']*)'", text)}
    assert asked == {"imdswatch openstack-lab vlans", "imdswatch openstack-lab responders"}
    for name in asked:
        assert f"bulk_load/{name.replace(' ', '%20')}" in script
    assert '\'["210", "211"]\'' in script
    assert "fa16.3e00.0001" in script


def test_a_name_in_the_site_file_cannot_leave_its_place() -> None:
    where = site('[[suppress]]\nname = "x\' $(id) `id` \\""\nvlans = [7]\n')
    files = tree(content("qradar", where))
    assert "$(id)" not in files["reference-data/create.sh"]
    assert "`" not in files["reference-data/create.sh"]
    [name] = sets_of(where)
    assert "'" not in name


def test_export_is_quick_and_the_same_again() -> None:
    begun = time.process_time()
    one = tree(content("qradar", site()))
    assert time.process_time() - begun < 10
    assert tree(content("qradar", site())) == one
