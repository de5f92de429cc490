"""Measures everything and writes `results.json`, and from it docs/conformance.md.

`python tests/conformance/measure.py [LANGUAGE …]` measures these languages anew and keeps the rest. Exit code 1 if a cell
has lost, noise or invalid. `results.json` holds numbers only and no time or machine, so the same state gives the same bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from conformance import page  # noqa: E402
from conformance.cells import Cell, languages, schemas_of, verdicts  # noqa: E402
from conformance.corpus import SIMPLE, sites  # noqa: E402
from conformance.judges import JUDGES, AqlJudge, Judge, KustoJudge, SplJudge  # noqa: E402
from conformance.stock import SITES, applies, stock  # noqa: E402
from conformance.verdict import Verdict  # noqa: E402

RESULTS = Path(__file__).parent / "results.json"
_SLOW = {"cim-tstats", "events", "flows"}
_FEWER = ("none", "VLANs only", "suppressions", "as the bulletin asks", "all of it")
"""Sites for schemas whose evaluators see events one by one, or try every reading on a database."""
_PACKAGES = {
    "kusto": ("duckdb-kql", "duckdb", "mini-racer"),
    "kuery": ("kibana-ql", "osmem-server"),
    "eql": ("eql",),
    "esql": ("antlr4-python3-runtime",),
    "spl": (),
    "aql": ("sqlglot", "duckdb"),
}
_STOCK = {
    "kusto": "pysigma-backend-kusto",
    "kuery": "pysigma-backend-elasticsearch",
    "eql": "pysigma-backend-elasticsearch",
    "esql": "pysigma-backend-elasticsearch",
    "spl": "pysigma-backend-splunk",
    "aql": "pysigma-backend-qradar-community",
}


def sites_of(schema: str) -> Sequence[str]:
    """Return the sites on which a schema is measured."""
    return _FEWER if schema in _SLOW else tuple(sites())


def numbers(found: Verdict) -> list[int]:
    """Return a verdict as numbers: wanted, matched, lost, noise, not carried, blurred, invalid."""
    lists = (found.matched, found.lost, found.noise, found.not_carried, found.blurred)
    return [found.wanted, *map(len, lists), int(bool(found.invalid))]


def key(cell: Cell) -> str:
    """Return the name of a cell."""
    return " | ".join(cell)


def measured(language: str) -> dict[str, Any]:
    """Return the results of one language: our own cells, those of the stock tools, versions."""
    own: dict[str, list[int]] = {}
    with _careful(language) as asked:
        for schema in schemas_of(language):
            for cell, found in verdicts(asked, schema, sites_of(schema)):
                own[key(cell)] = numbers(found)
                if not found.ok:
                    _tell(cell, found)
    other: dict[str, Any] = {}
    with _generous(language) as asked:
        for schema in schemas_of(language):
            for site in SITES:
                for rule in SIMPLE:
                    if applies(rule, site):
                        one = stock(asked, schema, rule, site)
                        other[key((language, schema, rule.slug, site))] = [
                            page.plain(found) if isinstance(found, str) else numbers(found)
                            for found in (one.shipped, one.by_hand)
                        ]
    packages = (*_PACKAGES[language], _STOCK[language], "pysigma")
    return {"own": own, "stock": other, "versions": {name: version(name) for name in packages}}


def _careful(language: str) -> Judge:
    return KustoJudge(every_reading=True) if language == "kusto" else JUDGES[language]()


def _generous(language: str) -> Judge:
    """Return the judge for the stock tools: what the documentation leaves open is read in their favour."""
    return {"spl": lambda: SplJudge(strict=False), "aql": lambda: AqlJudge(strict=False)}.get(
        language, JUDGES[language]
    )()


def _tell(cell: Cell, found: Verdict) -> None:
    from conformance.corpus import cases

    def names(several: Iterable[int]) -> str:
        return ", ".join(cases()[number].name for number in several)

    print(f"{key(cell)}: lost [{names(found.lost)}] noise [{names(found.noise)}] {found.invalid}", flush=True)


def load() -> dict[str, Any]:
    """Return the results as they were written."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return found


def write(results: Mapping[str, Any]) -> None:
    """Write the results, one cell a line, and the page."""
    RESULTS.write_text(dumped(results), encoding="utf-8")
    page.PAGE.write_text(page.rendered(results), encoding="utf-8")


def dumped(results: Mapping[str, Any]) -> str:
    """Return the results as text: sorted, one cell a line, so that a change can be read."""
    out = ["{"]
    for number, (language, one) in enumerate(sorted(results.items())):
        out.append(f" {json.dumps(language)}: {{")
        for place, part in enumerate(("own", "stock", "versions")):
            rows = [
                f"   {json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(one[part].items())
            ]
            out.append(f'  "{part}": {{\n' + ",\n".join(rows) + "\n  }" + ("," if place < 2 else ""))
        out.append(" }" + ("," if number < len(results) - 1 else ""))
    return "\n".join([*out, "}", ""])


def main(wanted: Sequence[str]) -> int:
    """Measure, write, and say whether anything is wrong."""
    for language in wanted or languages():
        found = measured(language)
        results = {**load(), language: found}
        write(results)
    return int(any(row[2] or row[3] or row[6] for one in results.values() for row in one["own"].values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
