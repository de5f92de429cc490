"""The tstats command over data models of the Common Information Model.

Search Reference, "tstats"; field lists and constraints in cim.yml. An event belongs to a data set if its key
`datamodel` names the model or the data set; without that key, if its tags fit the constraint; an event that has
neither key nor tags is taken as belonging, for the caller chose the events. `summariesonly` and the other options
about where summaries live are read and change nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .aggregate import Aggregate, group_fields, read, statistics
from .errors import SplError
from .evaluate import Evaluator
from .searching import Parser, Scope, fields_of, matches
from .text import bare, string_end
from .times import event_time, span
from .values import Event, listed

OPTIONS = {
    "summariesonly",
    "prestats",
    "local",
    "append",
    "allow_old_summaries",
    "chunk_size",
    "include_reduced_buckets",
    "fillnull_value",
}
ALWAYS = {"_time", "host", "source", "sourcetype", "index"}


@functools.lru_cache(maxsize=1)
def models() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load(
        Path(__file__).with_name("cim.yml").read_text(encoding="utf-8")
    )
    return loaded


def tstats(body: str, events: list[Event], of: Evaluator, scope: Scope) -> list[Event]:
    """Answer `tstats <functions> from datamodel=… where … by …`; raises `SplError` for fields no model has."""
    opts, rest = leading_options(body)
    aggregates, rest = read(rest, tstats=True)
    source, where, by = clauses(rest)
    width, by = span_of(by)
    grouped = group_fields(by)
    model, dataset = chosen(source, where)
    rows = [seen(event, dataset) for event in events if belongs(event, model, dataset)]
    names = [one.field for one in aggregates if one.field] + grouped
    if where:
        documented, other = Parser(where, scope).read(), Parser(where, scope, and_first=True).read()
        names += [name for name in fields_of(documented) if name not in ("earliest", "latest", "nodename")]
        # The syntax says WHERE <search-query>, used "in much the same ways" as the search command, so OR binds
        # first; that the search page's order holds here is not said, and users report AND first.
        tree = scope.readings.take(
            "tstats: where binds OR before AND (as search) or AND before OR", documented, other
        )
        rows = [row for row in rows if matches(tree, row, scope)]
    for name in names:
        if name not in ALWAYS and not known(name, dataset, model):
            raise SplError(f"tstats: {name} is no field of data set {dataset or source}")
    if "fillnull_value" in opts:
        rows = [{**dict.fromkeys(grouped, opts["fillnull_value"]), **row} for row in rows]
    if width:
        rows = [
            {**row, "_time": (event_time(row["_time"]) or 0) // width * width}
            for row in rows
            if "_time" in row
        ]
    return statistics(aggregates, grouped, rows, of, scope.readings)


def leading_options(body: str) -> tuple[dict[str, str], str]:
    found: dict[str, str] = {}
    rest = body
    while option := re.match(r"\s*(\w+)\s*=\s*(\"[^\"]*\"|\S+)", rest):
        if option[1] not in OPTIONS:
            raise SplError(f"tstats: unknown option {option[1]}=")
        found[option[1]], rest = bare(option[2]), rest[option.end() :]
    if found.get("prestats", "f").lower() in ("t", "true", "1"):
        raise SplError("tstats: prestats=true is not known to this evaluator")
    return found, rest


def clauses(rest: str) -> tuple[str, str, str]:
    """Split what follows the functions at FROM, WHERE and BY, outside quotation marks."""
    marks: list[tuple[str, int, int]] = []
    here = 0
    keyword = re.compile(r"\b(from|where|by|groupby)\b(?!\s*=)", re.IGNORECASE)
    while here < len(rest):
        if rest[here] == '"':
            here = string_end(rest, here)
        elif (here == 0 or rest[here - 1].isspace() or rest[here - 1] == ")") and (
            found := keyword.match(rest, here)
        ):
            marks.append((found[1].lower(), here, found.end()))
            here = found.end()
        else:
            here += 1
    parts = {"from": "", "where": "", "by": ""}
    for at, (word, _, end) in enumerate(marks):
        stop = marks[at + 1][1] if at + 1 < len(marks) else len(rest)
        parts["by" if word == "groupby" else word] = rest[end:stop].strip()
    if rest and (not marks or rest[: marks[0][1]].strip()):
        raise SplError("tstats: FROM, WHERE or BY is expected", rest, 0)
    return parts["from"], parts["where"], parts["by"]


def span_of(by: str) -> tuple[float, str]:
    """Take `span=` out of a BY clause; it rounds `_time` down."""
    found = re.search(r"\bspan\s*=\s*(\S+)", by)
    if not found:
        return 0, by
    if "_time" not in by:
        raise SplError("tstats: span= is for _time")
    return span(found[1]), (by[: found.start()] + by[found.end() :]).strip()


def chosen(source: str, where: str) -> tuple[str, str]:
    """Return the data model and the root or child data set asked for; both empty for indexed data."""
    if not source:
        return "", ""
    found = re.fullmatch(r"datamodel\s*=\s*\"?(\w+)(?:\.([\w.]+))?\"?", source)
    if not found:
        raise SplError(f"tstats: from {source!r} is not known to this evaluator")
    model, path = found[1], found[2] or ""
    if model not in models():
        raise SplError(f"tstats: unknown data model {model}")
    node = re.search(r"\bnodename\s*=\s*\"?([\w.]+)", where)
    path = path or (node[1] if node else "")
    dataset = path.rpartition(".")[2] or models()[model]["root"]
    if dataset != models()[model]["root"] and dataset not in models()[model].get("children", {}):
        raise SplError(f"tstats: data model {model} has no data set {dataset}")
    return model, dataset


def belongs(event: Event, model: str, dataset: str) -> bool:
    if not model:
        return True
    entry = models()[model]
    stated = listed(event.get("datamodel"))
    if stated:
        inside = bool({model, dataset} & set(stated))
    elif "tag" in event:
        inside = set(entry["tags"]) <= set(listed(event["tag"]))
    else:
        inside = True
    child = entry.get("children", {}).get(dataset)
    if child and not any(name == dataset for name in stated):
        inside = inside and all(
            want in listed(event.get(name)) or (want == "*" and name in event) for name, want in child.items()
        )
    return inside


def seen(event: Event, dataset: str) -> Event:
    """Return an event as the data model shows it: fields carry the name of the root data set."""
    root = next(
        (
            entry["root"]
            for entry in models().values()
            if dataset in (entry["root"], *entry.get("children", {}))
        ),
        "",
    )
    if not root:
        return event
    shown = {name: value for name, value in event.items() if name in ALWAYS or name == "id" or "." in name}
    return {**{f"{root}.{name}": value for name, value in event.items() if "." not in name}, **shown}


def known(name: str, dataset: str, model: str) -> bool:
    if not model:
        return True
    prefix, _, field = name.partition(".")
    return prefix == models()[model]["root"] and field in models()[model]["fields"]


__all__ = ["Aggregate", "tstats"]
