"""The truth table of suppression holds: for the site itself, for a plain interpreter, and for whole scans of logs.

`data/truth-table.yml` says what it is made of; later every SIEM export runs the same rows.
"""

from __future__ import annotations

import tomllib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from imdswatch.event import complete
from imdswatch.finding import STAGE_RANK, Finding
from imdswatch.rule import load_rules
from imdswatch.scan.predicate import compile_rules
from imdswatch.scan.run import Options, Scan
from imdswatch.schema import load_schemas
from imdswatch.site import Site, parse_site
from plain_sigma import completed, fires, left_out_by

TABLE = yaml.safe_load((Path(__file__).parent / "data" / "truth-table.yml").read_text(encoding="utf-8"))
ROWS = TABLE["rows"]
RULES = tuple(rule for rule in load_rules() if rule.correlation is None)
SLUGS = [rule.slug for rule in load_rules()]
STAGES = {rule.slug: rule.stage for rule in RULES}
LOGS = ("ecs", "zeek_conn", "zeek_http", "suricata_flow", "suricata_http", "suricata_arp")
# What a rule or a site asks for: a schema that cannot carry one of these in a row cannot show the row.
ASKED = frozenset(
    {
        "src_ip",
        "dst_ip",
        "vlan",
        "nat_dst",
        "dst_mac",
        "src_mac",
        "host",
        "uri_path",
        "method",
        "status",
        "user_agent",
    }
    | {"arp_opcode", "offered_route"}
)

each_row = pytest.mark.parametrize("row", ROWS, ids=[row["note"] for row in ROWS])


def site_of(name: str) -> Site:
    return parse_site(TABLE["sites"][name], name, SLUGS, TABLE["as_of"])


def event_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row["event"].items()}


def test_the_table_is_whole() -> None:
    assert len(ROWS) >= 60
    assert len({row["note"] for row in ROWS}) == len(ROWS)
    assert {row["site"] for row in ROWS} == set(TABLE["sites"])
    assert all(set(row) == {"note", "site", "event", "expect"} for row in ROWS)
    rules = Counter(slug for row in ROWS for slug in row["expect"])
    assert {STAGES[slug] for slug in rules} == {"attempted", "requested", "answered", "credentials-served"}
    # Every stage is seen suppressed and not suppressed.
    for stage in {STAGES[slug] for slug in rules}:
        answers = {
            bool(muted) for row in ROWS for slug, muted in row["expect"].items() if STAGES[slug] == stage
        }
        assert answers == {True, False}, stage


@each_row
def test_the_site(row: dict[str, Any]) -> None:
    site, fields = site_of(row["site"]), complete(event_of(row))
    matched = [RULES[index].slug for index in compile_rules(RULES, {})(fields)]
    assert {slug: site.suppressed_by(slug, STAGE_RANK[STAGES[slug]], fields) for slug in matched} == row[
        "expect"
    ]


@each_row
def test_a_plain_interpreter(row: dict[str, Any]) -> None:
    """The table was not made to fit the code: another reading of the design gives the same."""
    site = tomllib.loads(TABLE["sites"][row["site"]])
    fields = completed(row["event"])
    found = {slug: left_out_by(slug, fields, site) for slug in STAGES if fires(slug, row, site) is not None}
    assert found == row["expect"]


def logged(name: str) -> dict[str, list[tuple[dict[str, Any], bytes]]]:
    """Return the rows that a schema can carry, as records, by site."""
    schema = load_schemas()[name]
    out: dict[str, list[tuple[dict[str, Any], bytes]]] = defaultdict(list)
    for row in ROWS:
        event = event_of(row)
        lines = schema.write(event)
        if not lines:
            continue
        result = load_schemas().reader().read(lines[-1])
        fields = getattr(result, "fields", {})
        wanted = {field: value for field, value in event.items() if field in ASKED}
        if {field: fields.get(field) for field in wanted} == wanted and ASKED.isdisjoint(
            set(fields) - set(wanted)
        ):
            out[row["site"]].append((row, lines[-1]))
    return out


@pytest.mark.parametrize("name", LOGS)
def test_a_scan_of_logs(name: str, tmp_path: Path) -> None:
    rows = 0
    for site, records in logged(name).items():
        log = tmp_path / f"{site}.json"
        log.write_bytes(b"".join(line + b"\n" for _, line in records))
        options = Options(RULES, site_of(site), load_schemas(), each=True)
        found: dict[int, dict[str, str | None]] = defaultdict(dict)
        for finding in Scan([str(log)], options).results():
            assert isinstance(finding, Finding), finding
            line = int(finding.evidence[0].position.removeprefix("line "))
            for slug, count in finding.rules.items():
                assert count == 1
                assert slug not in found[line]
                found[line][slug] = finding.suppressed_by
        for line, (row, record) in enumerate(records, 1):
            assert found.get(line, {}) == row["expect"], f"{row['note']}: {record!r}"
            rows += 1
    assert rows >= {"ecs": 60, "suricata_arp": 1}.get(name, 15)


def test_every_row_is_in_some_log() -> None:
    shown = {row["note"] for name in LOGS for records in logged(name).values() for row, _ in records}
    hidden = {row["note"] for row in ROWS} - shown
    # No log that the table is written to carries DHCP routes; ARP with a VLAN is in Suricata only.
    assert all("offered_route" in row["event"] for row in ROWS if row["note"] in hidden), hidden
