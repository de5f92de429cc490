"""Writes docs/conformance.md from `results.json`, `allowed.yml`, the mutants and the list of engines. Pure but for reading those."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.corpus import SIMPLE, cases, sites
from conformance.judges import ENGINES, JUDGES
from conformance.losses import listed
from conformance.mutants import MUTANTS
from conformance.stock import SITES

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
NAMES = {
    "kusto": "Microsoft Sentinel (Kusto)",
    "kuery": "Elastic, Kibana KQL",
    "eql": "Elastic, EQL",
    "esql": "Elastic, ES|QL",
    "spl": "Splunk (SPL)",
    "aql": "IBM QRadar (AQL)",
}
_HEAD = """\
# Conformance: do the exported queries mean what the rules mean?

`make conformance` measures all of it and writes this page; `make test` measures a fixed part anew, with the same engines, and
fails where a figure differs. The figures are those of the commit that holds this page.

{events} events of [the corpus](../tests/conformance/corpus.yml) (every spelling of the endpoint and of its paths, near misses,
missing, empty and several-valued fields, VLANs, translation, answers and refusals, responders, names) are written as
records of each schema by `Schema.write`. Each query that `export` makes, for {sites} sites, runs on the engine
below, and its answer is compared, event by event, with what `scan` says of the **original** event:

- **matched**: an alert, as it must be. **lost**: no alert where there must be one. **noise**: an alert where there must be none.
- **not carried**: an alert that this schema cannot give, because it has no column for what would show it; only what
  [allowed.yml](../tests/conformance/allowed.yml) names, with its source, counts so. It stays in the sum.
- **blurred**: an alert on an event that this schema cannot tell from one that must alert (a VLAN that is to be muted where
  there is no VLAN column); also only as far as `allowed.yml` says so.
- **invalid**: the engine refuses the query, or its documentation leaves the answer open.

Beside it the benchmark: the same rules and events through the stock pySigma backends in the same run. *as shipped*: with the
pipeline their packages have for the schema. *by hand*: the bare backend, given our column names, a table, and the
suppression as the bulletin outlines it, in two sites (`{stock_sites}`).

## Which engine judged

| language | engine |
|---|---|
"""


def plain(text: str) -> str:
    """Return an error as one short line without the text of the query."""
    line = " ".join(text.split())
    return re.sub(r"\(while converting.*", "", line)[:90].strip()


def rendered(results: Mapping[str, Any]) -> str:
    """Return the page."""
    out = [
        _HEAD.format(events=len(cases()), sites=len(sites()), stock_sites="`, `".join(SITES)).rstrip("\n"),
        *(f"| {_cell(NAMES[one])} | {_cell(ENGINES[one])} |" for one in NAMES if one in results),
        "",
        "Nothing here ran on Splunk, QRadar, Sentinel or Elasticsearch themselves: none can be had off line.",
        "",
        "## Summary",
        "",
        "| language | matched | lost | noise | invalid | not carried | blurred | stock by hand: lost | noise | refused or invalid |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        *(_summary(one, results[one]) for one in NAMES if one in results),
        "",
    ]
    for language in NAMES:
        if language in results:
            out += _language(language, results[language])
    out += ["## What is not carried, and why", "", *_losses(), "", "## The suite can fail", "", *_mutants()]
    return "\n".join(out) + "\n"


def _summed(rows: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)] if rows else [0] * 7


def _summary(language: str, found: Mapping[str, Any]) -> str:
    _, matched, lost, noise, missing, blurred, invalid = _summed(list(found["own"].values()))
    by_hand = [value for _, value in found["stock"].values()]
    good = [value for value in by_hand if isinstance(value, list) and not value[6]]
    other = _summed(good)
    refused = len(by_hand) - len(good)
    cells = (
        matched,
        lost,
        noise,
        invalid,
        missing,
        blurred,
        other[2],
        other[3],
        f"{refused} of {len(by_hand)}",
    )
    return f"| {_cell(NAMES[language])} | {' | '.join(map(str, cells))} |"


def _language(language: str, found: Mapping[str, Any]) -> list[str]:
    out = []
    versions = ", ".join(f"{name} {number}" for name, number in sorted(found["versions"].items()))
    for schema in dict.fromkeys(name.split(" | ")[1] for name in found["own"]):
        of_sites = {name.split(" | ")[3] for name in found["own"] if name.split(" | ")[1] == schema}
        out += [
            f"## {NAMES[language]}: `{JUDGES[language].target} --schema {schema}`",
            "",
            f"{len(of_sites)} sites; {versions}.",
            "",
            "| rule | matched | lost | noise | invalid | not carried | blurred | stock by hand: matched / lost / noise | ours there | stock as shipped |",
            "|---|--:|--:|--:|--:|--:|--:|---|---|---|",
        ]
        for rule in SIMPLE:
            rows = {
                name.split(" | ")[3]: row
                for name, row in found["own"].items()
                if name.split(" | ")[1:3] == [schema, rule.slug]
            }
            _, matched, lost, noise, missing, blurred, invalid = _summed(list(rows.values()))
            if not matched and not lost and not noise and not invalid and not missing:
                continue
            mine = _summed([rows[site] for site in SITES if site in rows])
            shipped, by_hand = _stock(language, schema, rule.slug, found["stock"])
            ours = f"{mine[1]} / {mine[2]} / {mine[3]}"
            cells = (matched, lost, noise, invalid, missing, blurred, by_hand, ours, shipped)
            out.append(f"| {rule.slug} | {' | '.join(map(str, cells))} |")
        out.append("")
    return out


def _stock(language: str, schema: str, rule: str, found: Mapping[str, Any]) -> tuple[str, str]:
    rows = [found[name] for site in SITES if (name := " | ".join((language, schema, rule, site))) in found]
    shipped, by_hand = ([row[place] for row in rows] for place in (0, 1))
    return _told(shipped), _told(by_hand)


def _told(values: Sequence[Any]) -> str:
    numbers = [value for value in values if isinstance(value, list)]
    refused = [value for value in values if not isinstance(value, list)]
    if not numbers:
        return f"refused: {_cell(refused[0])}"
    sums = _summed([value for value in numbers if not value[6]])
    invalid = sum(value[6] for value in numbers)
    more = [f"invalid on {invalid} of {len(values)} sites"] if invalid else []
    more += [f"refused on {len(refused)} of {len(values)} sites"] if refused else []
    said = [] if invalid == len(numbers) else [f"{sums[1]} / {sums[2]} / {sums[3]}"]
    return "; ".join([*said, *more])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _losses() -> list[str]:
    out = ["| place | what | why | source |", "|---|---|---|---|"]
    return out + [
        f"| {place} | {what} | {_cell(why)} | {_cell(source)} |" for place, what, why, source in listed()
    ]


def _mutants() -> list[str]:
    return [
        "Each of these mistakes is put into an emitter while the suite runs; a test asserts that it goes red every time:",
        "",
        *(f"- {one.name} (seen at {NAMES[one.language]}, {one.schema}, {one.rule})" for one in MUTANTS),
    ]
