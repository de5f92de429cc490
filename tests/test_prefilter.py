"""The prefilter never loses what the predicate accepts.

Random records of every schema, rewritten in the spellings that logs and URLs allow (`spellings`), are read by the real
reader and judged by the real predicate; whatever matches must be touched by the search. The same for random rules of
a user, and once more through the whole `TextScan`, against a scan that parses everything.

IMDSWATCH_CASES sets the number of cases (checks of one record in the first test, default 120 000; the other tests do a
part of it), IMDSWATCH_SEED the seed, which every failure prints. `python tests/test_prefilter.py` runs the first test
alone, and says what it did: docs/conformance-scan.md keeps the result of the long run.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC
from ipaddress import ip_network
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imdswatch.event import FIELDS, Kind, complete
from imdswatch.finding import Skipped
from imdswatch.layouts.result import Header, Record
from imdswatch.read import unknown
from imdswatch.read.blocks import Block
from imdswatch.rule import And, Cidr, Match, Node, Not, Or, Regex, Rule, Text, Wild, load_rules
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.hints import Hints
from imdswatch.scan.judging import FirstLook, Window
from imdswatch.scan.predicate import compile_conditions, compile_rules
from imdswatch.scan.prefilter import Prefilter, build
from imdswatch.scan.text import Outcome, TextScan
from imdswatch.schema import load_schemas
from imdswatch.site import Site
from spellings import Template, records

CASES = int(os.environ.get("IMDSWATCH_CASES", "120000"))
SEED = int(os.environ.get("IMDSWATCH_SEED", "20261122"))
ACCOUNTS = {"imds_expected_accounts": ("123456789012",)}
SITE = Site(expected_accounts=ACCOUNTS["imds_expected_accounts"])
FILE_TIME = 1.8e9

SCHEMAS = load_schemas()
HINTS = Hints(SCHEMAS)
RULES: tuple[Rule, ...] = tuple(rule for rule in load_rules() if rule.correlation is None)
PACK = build([(rule.slug, rule.condition) for rule in RULES], HINTS)
JUDGE = compile_rules(RULES, ACCOUNTS)


class Reading:
    """Reads records as a scan does: one reader per schema, header lines first, `unknown` where no schema reads."""

    def __init__(self) -> None:
        self._readers: dict[str, Any] = {}

    def read(self, template: Template, raw: bytes) -> tuple[str, dict[str, Any]] | None:
        """Return the schema and the completed event, or None if nothing would be judged."""
        reader = self._readers.get(template.schema)
        if reader is None:
            reader = self._readers[template.schema] = SCHEMAS.reader(UTC, FILE_TIME)
        for line in template.header:
            reader.read(line)
        result = reader.read(raw)
        if isinstance(result, Record):
            return result.schema, complete(result.fields)
        if isinstance(result, Header):
            return None
        fields = unknown.read(raw.decode("utf-8", "backslashreplace"))
        return None if fields is None else ("", complete(fields))


def lost(template: Template, raw: bytes, reading: Reading, tally: Counter[str]) -> str:
    """Return what the prefilter loses of one record, or an empty text."""
    event = reading.read(template, raw)
    if event is None:
        tally["not read"] += 1
        return ""
    schema, fields = event
    matched = JUDGE(fields)
    if not matched:
        return ""
    tally["hits"] += 1
    tally[f"hits of {template.schema}"] += 1
    if PACK.touches(raw):
        return ""
    if schema in PACK.blind:
        tally["blind"] += 1
        return ""
    return f"{schema or 'unknown'}: {[RULES[i].slug for i in matched]} lost in {raw!r}, read as {fields}"


def run(seed: int, cases: int) -> Counter[str]:
    """Check so many cases; fails with the first one that is lost."""
    reading, tally = Reading(), Counter[str]()
    source = records(SCHEMAS, Random(seed))
    for _ in range(cases):
        template, raw = next(source)
        problem = lost(template, raw, reading, tally)
        assert not problem, f"seed {seed}: {problem}"
    return tally


def test_no_spelling_of_any_schema_is_lost() -> None:
    assert not PACK.everything
    tally = run(SEED, CASES)
    written = {name.removeprefix("hits of ") for name in tally if name.startswith("hits of ")}
    # Every schema that can be written takes part, and enough of the cases are such that something could be lost.
    assert len(written) >= 40
    assert tally["hits"] > CASES // 5


def test_every_pattern_is_put_to_the_test() -> None:
    """Take the search patterns away one by one: the cases of this file must notice, or they prove little."""
    database = PACK._database
    assert database is not None
    unnoticed = {
        "address inside IPv6": "a9fe(?::",
        "IPv6 endpoint": "fd00(?::",
        "sockaddr": "fd000ec2",
        "decimal host": "2852039166",
        "octal host": "0251\\.",
        "hex host": "[x0]a9\\.",
        "overflowing host": "937\\.",
        "path": "[/f]meta\\-data",
        "path of two segments": "[/f]api[",
        "token header": "X\\-aws",
        "name": "instance\\-data",
        "percent-encoding": "%(?:25)?(?:2[de]",
        "JSON escape": "\\\\u00",
        "octet escape": "\\\\x(?:",
        "dot segment": "\\.\\.[",
        "full-width digit": "\\xef\\xbc[",
        "wide dot": "[0-9a-f]",
        "journald octets": "MESSAGE",
    }
    reading, source = Reading(), records(SCHEMAS, Random(SEED + 1))
    for _ in range(CASES):
        template, raw = next(source)
        event = reading.read(template, raw)
        if event is None or not JUDGE(event[1]):
            continue
        touched: set[int] = set()
        database.scan(raw, match_event_handler=lambda number, *_, to=touched: to.add(number))
        if len(touched) == 1:
            alone = PACK.patterns[touched.pop()]
            unnoticed = {kind: sign for kind, sign in unnoticed.items() if sign not in alone}
            if not unnoticed:
                break
    assert not unnoticed, f"no case depends on the pattern of: {', '.join(unnoticed)}"


@pytest.mark.parametrize("backslashes", [1, 2, 4, 8])
@pytest.mark.parametrize("dot", ["uff0e", "u3002", "uff61"])
def test_a_wide_dot_may_be_escaped_again_and_again(dot: str, backslashes: int) -> None:
    escaped = "\\" * backslashes + dot
    assert PACK.touches(f"host=425.254{escaped}937{escaped}766 ".encode())


def blocks(lines: list[bytes]) -> Iterator[Block | Skipped]:
    data = bytearray(b"\n".join(lines) + b"\n")
    yield Block(data, len(data), 0, overlong=False, last=True)


def scan(lines: list[bytes], prefilter: Prefilter) -> dict[Any, Any]:
    outcome = Outcome(Incidents(each=True))
    look = FirstLook(RULES, SITE, Window())
    TextScan("x", prefilter, SCHEMAS.reader(UTC, FILE_TIME), look, outcome).run(blocks(lines), SCHEMAS, None)
    return {key: sorted(one.sightings, key=lambda seen: seen.combo) for key, one in outcome.incidents.items()}


EVERYTHING = Prefilter((), True)


def test_a_whole_scan_finds_what_parsing_everything_finds() -> None:
    """Here headers, sniffing, line numbers and the first line take part; one file holds one schema."""
    by_schema: dict[str, list[tuple[Template, bytes]]] = {}
    source = records(SCHEMAS, Random(SEED + 2))
    for _ in range(min(CASES // 12, 20_000)):
        template, raw = next(source)
        by_schema.setdefault(template.schema, []).append((template, raw))
    incidents = 0
    for name, found in by_schema.items():
        header = list(found[0][0].header)
        lines = header + [raw for template, raw in found if list(template.header) == header]
        fast, slow = scan(lines, PACK), scan(lines, EVERYTHING)
        only = {key: value for key, value in slow.items() if fast.get(key) != value}
        assert not only, f"seed {SEED + 2}: {name}: {list(only.items())[:2]}"
        if name not in PACK.blind:
            # What a schema reads alone it may read otherwise as one record among lines that the search passed over:
            # nothing may be found that was not there.
            assert fast == slow
        incidents += len(slow)
    assert incidents > min(CASES // 48, 5_000)


TEXTS = st.sampled_from(
    [
        "/latest/meta-data/",
        "/latest/api/token",
        "169.254.169.254",
        "fd00:ec2::254",
        "X-aws-ec2-metadata-token",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), skip=st.integers(0, 60))
@example(seed=1, skip=0)
def test_shrinkable(seed: int, skip: int) -> None:
    """The same property for Hypothesis, which finds the smallest seed and keeps it in its database."""
    source = records(SCHEMAS, Random(seed), each=1)
    reading, tally = Reading(), Counter[str]()
    for _ in range(skip):
        next(source)
    for _ in range(20):
        problem = lost(*next(source), reading, tally)
        assert not problem, problem


@settings(max_examples=400, deadline=None)
@given(text=TEXTS, noise=st.text(max_size=20), data=st.data())
def test_any_json_spelling_of_a_text_is_touched(text: str, noise: str, data: st.DataObject) -> None:
    """Each character of a text as itself or as its JSON escape, in a record nested up to three times."""
    spelled = "".join(
        data.draw(st.sampled_from([c, f"\\u{ord(c):04x}", f"\\u{ord(c):04X}", "\\/" if c == "/" else c]))
        for c in text
    )
    raw = '"' + spelled + '"'
    for _ in range(data.draw(st.integers(0, 3))):
        raw = '"' + raw.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert PACK.touches(noise.replace("\n", "").encode("utf-8", "replace") + raw.encode())


# Rules of a user: any field, any modifier, texts cut out of real values so that they often match.

_CUT = re.compile(r"[\x00-\x1f]")


def condition(rng: Random, pool: list[dict[str, Any]]) -> Node:
    """Return a random condition of one to four tests."""
    tests = [leaf(rng, pool) for _ in range(rng.choice((1, 1, 1, 2, 3, 4)))]
    if len(tests) == 1:
        return tests[0]
    if rng.random() < 0.5:
        return Or(tuple(tests))
    return And((*tests[:-1], Not(tests[-1]))) if rng.random() < 0.3 else And(tuple(tests))


def leaf(rng: Random, pool: list[dict[str, Any]]) -> Match:
    """Return a random test that some event of the pool is likely to pass."""
    while True:
        event = rng.choice(pool)
        if not event:
            continue
        name = rng.choice(sorted(event))
        value = event[name]
        value = rng.choice(value) if isinstance(value, tuple) else value
        kind = FIELDS[name].kind
        if kind is Kind.ADDRESS and rng.random() < 0.5:
            bits = rng.choice((128, 64, 48)) if ":" in value else rng.choice((32, 24, 16, 12, 8))
            return Match(name, Cidr(str(ip_network(f"{value}/{bits}", strict=False))))
        if not isinstance(value, str) or not value or not value.isascii() or _CUT.search(value):
            continue
        if rng.random() < 0.1:
            return Match(None, Text((piece(rng, value),)))  # a keyword
        return Match(name, text_test(rng, value))


def piece(rng: Random, value: str) -> str:
    start = rng.randrange(len(value))
    return value[start : start + rng.randrange(4, 24)] or value


def text_test(rng: Random, value: str) -> Text | Regex:
    cased = rng.random() < 0.1
    form = rng.choice(("whole", "contains", "contains", "starts", "ends", "wild", "re", "re"))
    at = rng.randrange(1, len(value) + 1)
    if form == "whole":
        return Text((value,), cased)
    if form == "contains":
        return Text((Wild.ANY, piece(rng, value), Wild.ANY), cased)
    if form == "starts":
        return Text((value[:at], Wild.ANY), cased)
    if form == "ends":
        return Text((Wild.ANY, value[at - 1 :]), cased)
    if form == "wild":
        parts: list[str | Wild] = []
        for part in re.split(r"([0-9]+|/)", value):
            if part and rng.random() < 0.3:
                parts += [Wild.ONE] * len(part) if rng.random() < 0.5 else [Wild.ANY]
            elif part and parts and isinstance(parts[-1], str):
                parts[-1] += part
            elif part:
                parts.append(part)
        return Text(tuple(parts) or (Wild.ANY,), cased)
    return Regex(expression(rng, value), rng.choice((0, re.IGNORECASE)))


def expression(rng: Random, value: str) -> str:
    """Return a regular expression made of a value: literals, classes, groups, repeats, alternatives."""
    out = ""
    for char in piece(rng, value) if rng.random() < 0.6 else value:
        draw = rng.random()
        if draw < 0.8:
            out += re.escape(char)
        elif draw < 0.85:
            out += "."
        elif draw < 0.9:
            out += f"(?:{re.escape(char)}|xyz)"
        elif draw < 0.94:
            out += f"[{re.escape(char)}{rng.choice('abc0_')}]"
        elif draw < 0.97:
            out += f"{re.escape(char)}{rng.choice('+?*')}"
        else:
            out += f"(?:{re.escape(char)}){{1,3}}"
    if rng.random() < 0.15:
        out = f"^{out}" if rng.random() < 0.5 else f"{out}$"
    return f"{out}|metadata" if rng.random() < 0.1 else out


def test_rules_of_a_user_lose_nothing() -> None:
    rng = Random(SEED + 3)
    reading, source = Reading(), records(SCHEMAS, rng)
    pool: list[tuple[bytes, str, dict[str, Any]]] = []
    while len(pool) < 3000:
        template, raw = next(source)
        event = reading.read(template, raw)
        if event is not None:
            pool.append((raw, *event))
    events = [fields for _, _, fields in pool]
    checks = hits = searched = 0
    wanted = min(CASES // 2, 1_000_000)
    while checks < wanted:
        node = condition(rng, events)
        prefilter = build([("user", node)], HINTS)
        checks += 40
        if prefilter.everything:
            continue
        searched += 1
        judge = compile_conditions([node], ACCOUNTS)
        for raw, schema, fields in rng.sample(pool, 250):
            checks += 1
            if not judge(fields):
                continue
            hits += 1
            if not prefilter.touches(raw) and schema not in prefilter.blind:
                pytest.fail(
                    f"seed {SEED + 3}: {node}\nsearched as {prefilter.patterns}\nloses {raw!r}\nof {schema}: {fields}"
                )
    assert searched > 50
    assert hits > wanted // 50


def main() -> None:
    """Run the first test alone and print one line for docs/conformance-scan.md."""
    began = time.monotonic()
    tally = run(SEED, CASES)
    print(
        f"{CASES} cases, seed {SEED}: {tally['hits']} matched, none lost; {tally['blind']} of them in layouts that the"
        f" search does not trust and scans parse whole; {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
