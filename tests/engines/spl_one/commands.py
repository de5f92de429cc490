"""The commands of a pipeline; each takes the rows before it and gives the rows after it.

Every command is answered as its page in the Search Reference says; the page has the command's name. A command,
option or function that is not here is an error that names it. Commands that reshape rows are in `reshape`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engines.readings_one import Readings

from . import reshape
from .aggregate import group_fields, read, statistics
from .datamodel import tstats
from .errors import SplError
from .evaluate import Evaluator
from .expression import Parser as ExpressionParser
from .expression import expression
from .lookups import inputlookup, lookup
from .reshape import assign
from .searching import Parser as SearchParser
from .searching import Scope, matches
from .text import bare, options, pipeline, words
from .values import Event

Rows = list[Event]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a search: what it may look at, and the readings it takes."""

    events: Rows
    lookups: Mapping[str, Any]
    readings: Readings
    now: float | None

    @property
    def scope(self) -> Scope:
        return Scope(self.readings, self.now, self.search)

    @property
    def evaluator(self) -> Evaluator:
        def fits(source: str, event: Event) -> bool:
            return matches(SearchParser(source, self.scope).read(), event, self.scope)

        return Evaluator(self.readings, self.now, fits)

    def search(self, source: str) -> Rows:
        """Answer a whole search, or a subsearch."""
        rows: Rows = []
        for at, segment in enumerate(pipeline(source)):
            if segment.name not in COMMANDS:
                raise SplError(f"unknown command {segment.name}")
            if (at > 0) == (segment.name in GENERATING) and segment.name != "search":
                rule = "stand first" if at else "not stand first"
                if not (segment.name == "inputlookup" and at):
                    raise SplError(f"the command {segment.name} must {rule}")
            before = [dict(event) for event in self.events] if at == 0 else rows
            rows = COMMANDS[segment.name](self, segment.body, before)
        return rows


def search(run: Run, body: str, rows: Rows) -> Rows:
    if not body:
        raise SplError("search needs an expression")
    tree = SearchParser(body, run.scope).read()
    return [row for row in rows if matches(tree, row, run.scope)]


def where(run: Run, body: str, rows: Rows) -> Rows:
    """ "returns only the results for which the eval expression returns true"."""
    tree = expression(body)
    return [row for row in rows if run.evaluator.truth(tree, row) is True]


def evaluate(run: Run, body: str, rows: Rows) -> Rows:
    """Assign left to right; a null clears the field, a Boolean cannot be assigned."""
    steps = ExpressionParser(body).assignments()
    out = []
    for row in rows:
        row = dict(row)
        for name, tree in steps:
            value = run.evaluator.value(tree, row)
            if isinstance(value, bool):
                raise SplError(f"eval {name}: the result of an eval expression cannot be a Boolean")
            assign(row, name, value)
        out.append(row)
    return out


def stats(run: Run, body: str, rows: Rows) -> Rows:
    aggregates, rest = read(body)
    by = re.match(r"by\b(.*)", rest, re.IGNORECASE | re.DOTALL)
    if rest and not by:
        raise SplError("stats: BY is expected", rest, 0)
    return statistics(aggregates, group_fields(by[1]) if by else [], rows, run.evaluator, run.readings)


def look_up(run: Run, body: str, rows: Rows) -> Rows:
    return lookup(body, rows, run.lookups, run.readings)


def input_lookup(run: Run, body: str, rows: Rows) -> Rows:
    body, _, condition = body.partition(" where ")
    opts, rest = options(words(body), {"append", "start", "max", "strict"})
    if len(rest) != 1:
        raise SplError("inputlookup takes one lookup")
    found = inputlookup(bare(rest[0]), run.lookups)[int(opts.get("start", "0")) :]
    found = found[: int(opts["max"])] if "max" in opts else found
    found = search(run, condition, found) if condition else found
    return (rows + found) if opts.get("append", "f").lower() in ("t", "true", "1") else found


def model_statistics(run: Run, body: str, rows: Rows) -> Rows:
    return tstats(body, rows, run.evaluator, run.scope)


def make_results(run: Run, body: str, rows: Rows) -> Rows:
    opts, rest = options(words(body), {"count"})
    if rest and not rest[0].isdigit():
        raise SplError(f"makeresults: {rest[0]!r} is not known to this evaluator")
    count = int(opts.get("count", rest[0] if rest else "1"))
    return [{"_time": run.now} if run.now is not None else {} for _ in range(count)]


GENERATING = {"inputlookup", "tstats", "makeresults"}
COMMANDS: dict[str, Callable[[Run, str, Rows], Rows]] = {
    "bin": reshape.bin_,
    "bucket": reshape.bin_,
    "convert": reshape.convert,
    "dedup": reshape.dedup,
    "eval": evaluate,
    "fields": reshape.fields,
    "fillnull": reshape.fill_null,
    "head": reshape.head,
    "inputlookup": input_lookup,
    "lookup": look_up,
    "makemv": reshape.makemv,
    "makeresults": make_results,
    "mvexpand": reshape.mvexpand,
    "regex": reshape.regex,
    "rename": reshape.rename,
    "rex": reshape.rex,
    "search": search,
    "sort": reshape.sort,
    "spath": reshape.spath,
    "stats": stats,
    "table": reshape.table,
    "tstats": model_statistics,
    "where": where,
}
