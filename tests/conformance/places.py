"""The site in the SIEM's own place, as the tree of `export -o` puts it there, and the queries that read it there.

Each function takes a tree (path → text) and returns the answers of its queries: (schema, part, rule) → numbers of events.
Sentinel: the watchlist's CSV as `_GetWatchlist` returns it. Elastic: exception items as Kibana's `buildExceptionFilter`
makes query DSL of them. Splunk: `macros.conf`, `savedsearches.conf` and the lookup. QRadar: the reference sets of its script. Only files of the tree are read.
"""

from __future__ import annotations

import configparser
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import yaml

from conformance.corpus import NOW
from conformance.judges import AqlJudge, EqlJudge, EsqlJudge, Judge, KueryJudge, KustoJudge, SplJudge
from engines import spl_one
from imdswatch.siem.content import Content, Query

Answers = dict[tuple[str, str, str], list[int]]
Files = Mapping[str, str]


def sentinel(files: Files, content: Content) -> Answers:
    """Answer the analytics rules with the watchlist."""
    lists = {
        path: text for path, text in files.items() if path.startswith("watchlist/") and path.endswith(".csv")
    }
    tables = {
        path.removeprefix("watchlist/").removesuffix(".csv"): [
            {**row, "SearchKey": row["List"]} for row in csv.DictReader(io.StringIO(text))
        ]
        for path, text in lists.items()
    }
    with KustoJudge(tables) as asked:
        return {
            _key(one): asked.answer(one.source, yaml.safe_load(files[one.path])["query"])
            for one in _plain(content)
        }


def elastic(files: Files, content: Content) -> Answers:
    """Answer the detection rules, without what their exception items find."""
    [language] = {one.language for one in content.queries}
    judges: Mapping[str, type[Judge]] = {"kuery": KueryJudge, "eql": EqlJudge, "esql": EsqlJudge}
    lines = [json.loads(line) for text in files.values() for line in _ndjson(text)]
    items = [one for one in lines if "entries" in one]
    rules = {one["name"]: one for one in lines if "query" in one and "rule_id" in one}
    with judges[language]() as asked, KueryJudge() as index:
        out: Answers = {}
        for one in _plain(content):
            [rule] = [found for found in rules.values() if found["rule_id"] == str(one.id)]
            lists = {used["list_id"] for used in rule.get("exceptions_list", [])}
            excepted: set[int] = set()
            for item in items:
                if item["list_id"] in lists and not _ended(item):
                    excepted.update(index.dsl(_exception(item)))
            out[_key(one)] = [n for n in asked.answer(one.source, rule["query"]) if n not in excepted]
        return out


def splunk(files: Files, content: Content) -> Answers:
    """Answer the saved searches with the macros and the lookup of the app."""
    macros: dict[str, Any] = {}
    for name, stanza in _conf(files["default/macros.conf"]).items():
        arguments = stanza.get("args", "")
        macros[name] = (
            {"args": arguments, "definition": stanza["definition"]} if arguments else stanza["definition"]
        )
    transforms = _conf(files["default/transforms.conf"])
    lookups = {
        name: {"csv": files[f"lookups/{stanza['filename']}"], "match_type": stanza.get("match_type", "")}
        for name, stanza in transforms.items()
        if "filename" in stanza
    }
    searches = _conf(files["default/savedsearches.conf"])
    with SplJudge(macros, lookups) as asked:
        return {
            _key(one): asked.answer(one.source, _expanded(searches[_stanza(one)]["search"], macros, lookups))
            for one in _plain(content)
        }


def _expanded(search: str, macros: Mapping[str, Any], lookups: Mapping[str, Any]) -> str:
    """Return a search over accelerated data with its subsearches answered.

    Splunk runs a subsearch first and puts `((field="value") OR …)` in its place ("About subsearches"); the evaluators
    do so by themselves in `search`, but not both of them in the WHERE of `tstats`.
    """
    if "tstats" not in search:
        return search

    def answered(call: re.Match[str]) -> str:
        macro = macros[f"{call[1]}({len(call[2].split(', '))})"]
        text = macro["definition"]
        for name, value in zip(macro["args"].split(", "), call[2].split(", "), strict=True):
            text = text.replace(f"${name}$", value.strip('"'))
        rows = spl_one.run(text.strip("[]"), [], lookups=lookups, now=NOW)
        pairs = [
            f'({key}="{value}")' for row in rows for key, value in row.items() if not key.startswith("_")
        ]
        return f"({' OR '.join(pairs)})"

    return re.sub(r'`(\w+)\(("[^`]*")\)`', answered, search)


def _stanza(one: Query) -> str:
    part = f" {one.part}" if one.part else ""
    return f"IMDS - {one.rule.slug} - {one.schema}{part} - Rule"


def qradar(files: Files, content: Content) -> Answers:
    """Answer the queries of the tree with the reference sets that its script fills."""
    sets: dict[str, Any] = {}
    for text in files.values():
        kinds = dict(re.findall(r'\?name=([^&"]+)&element_type=(\w+)"', text))
        for values, name in re.findall(r"--data '(\[.*\])' \"\S*/bulk_load/(\S+)\"", text):
            sets[unquote(name)] = {"type": kinds[name], "values": json.loads(values)}
    with AqlJudge(sets) as asked:
        return {_key(one): asked.answer(one.source, files[one.path]) for one in _plain(content)}


def _plain(content: Content) -> Iterator[Query]:
    yield from (one for one in content.queries if one.rule.correlation is None)


def _key(one: Query) -> tuple[str, str, str]:
    return one.schema, one.part, one.rule.slug


def _ndjson(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


def _ended(item: Mapping[str, Any]) -> bool:
    end = item.get("expire_time")
    return end is not None and datetime.fromisoformat(end.replace("Z", "+00:00")).timestamp() <= NOW


def _exception(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"bool": {"filter": [_entry(one) for one in item["entries"]]}}


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    field = entry["field"]
    match entry["type"]:
        case "exists":
            base: dict[str, Any] = {"bool": {"must": {"exists": {"field": field}}}}
        case "match":
            base = {"bool": {"filter": [{"match_phrase": {field: entry["value"]}}]}}
        case "match_any":
            each = [{"match_phrase": {field: value}} for value in entry["value"]]
            base = {"bool": {"should": each, "minimum_should_match": 1}}
        case "wildcard":
            base = {"bool": {"filter": [{"wildcard": {field: entry["value"]}}]}}
        case other:
            raise AssertionError(f"an exception entry of type {other}")
    return base if entry["operator"] == "included" else {"bool": {"must_not": base}}


def _conf(text: str) -> dict[str, dict[str, str]]:
    """Read a Splunk conf file: stanzas, `key = value`, a backslash at the end continues on the next line."""
    reader = configparser.RawConfigParser(
        delimiters=("=",), comment_prefixes=("#",), strict=True, interpolation=None
    )
    reader.optionxform = str  # type: ignore[assignment, method-assign]
    joined = text.replace("\\\n", "\x00")
    reader.read_string(joined)
    return {
        name: {key: value.replace("\x00", "\n") for key, value in reader.items(name)}
        for name in reader.sections()
    }
