"""Rows of a table that may matter: which columns are asked for them, in which order, and how often.

What is likely is asked of the columns that it needs; of the others only likely rows are read, and asked the rest. Where
many rows are likely, one question does it all. Rows come as (number from 0, JSON of the columns asked for), lazily.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from imdswatch.scan.asks import ALWAYS, EVERY_ROW, NEVER, AnyOf, Ask, Question, Span, any_of, columns_of
from imdswatch.scan.columns import Column
from imdswatch.scan.columnsearch import ColumnSearch, Search, split, text_at, true_rows
from imdswatch.scan.duck import Opened
from imdswatch.scan.sql import DUCKDB, condition

_STRETCH = 1 << 22
"""Rows that are asked at once."""
_FEW, _SPARSE = 64, 4096
"""Of so many rows one may be likely for the others to be left out, and for the next stretch to be tried so."""
_VERY_FEW = 1000
"""So many rows are read and judged in the time that DuckDB takes to understand a long question."""
_PIECE = 1 << 19
"""Rows whose long columns are in memory at once, beside the memory of DuckDB."""
_LONGEST = 256
"""Octets of a value that is searched there; longer ones are asked one by one, as a dictionary could repeat them."""


@dataclass(slots=True)
class _Likely:
    """Likely rows by number, with the JSON of those of the columns asked for that are known of each."""

    names: Sequence[str]
    rows: dict[int, str] = field(default_factory=dict)


class TableRows:
    """Reads tables, one after the other; `search` keeps what it compiled. Of one thread."""

    def __init__(self) -> None:
        self._search = ColumnSearch()

    def read(
        self, opened: Opened, names: Sequence[str], span: Span = None, question: Question = EVERY_ROW
    ) -> Iterator[tuple[int, str]]:
        """Yield the rows of the span that the question lets through; raises duck.Unreadable.

        Where very few are likely, `wanted` is left to the reader. `watch` tells what was seen by the end, perhaps more.
        """
        wanted = [name for name in names if name in opened.columns.shapes] or list(opened.columns.shapes)
        # Asked of what the filter lets through: joined with it by AND, DuckDB might ask this first, of every row.
        record, certain = _record(wanted), condition(question.wanted, DUCKDB)
        value = f"CASE WHEN {certain} THEN {record} END" if question.wanted != ALWAYS else record
        quick = f"{condition(question.within, DUCKDB)} AND {condition(question.likely, DUCKDB)}"
        begin, count = span or (0, opened.rows)
        # What is no Parquet is read from its beginning by every query.
        twice = opened.numbered and question.likely != ALWAYS
        stretch = _STRETCH if twice else max(count, 1)
        sparse = True  # as far as the stretch before shows
        for start in range(begin, begin + count, stretch):
            end = min(start + stretch, begin + count)
            here = f"{_between(opened, start, end)} AND {quick}"
            if twice and sparse:
                few = stretch // _FEW
                likely = self._likely(opened, start, end, question, wanted, few)
                if len(likely.rows) <= min(few, _VERY_FEW):
                    yield from _completed(opened, likely, wanted)
                    continue
                if len(likely.rows) <= few:
                    here = _among(opened, likely.rows)
            elif question.watch.ask != NEVER:
                question.watch.seen = True
            let_through = 0
            for number, text in opened.ask(f"{opened.row}, {value}", here):
                let_through += 1
                if text is not None:
                    yield number, text
            sparse = let_through <= stretch // _SPARSE

    def _likely(
        self, opened: Opened, start: int, end: int, question: Question, names: Sequence[str], most: int
    ) -> _Likely:
        """Return the likely rows from `start` to before `end`; where they are more than `most`, not all."""
        searches, rest = split(question.likely, opened.long)
        if searches:
            return self._searched(opened, start, end, question, searches, rest, names, most)
        return _asked(opened, start, end, question, names, most)

    def _searched(
        self,
        opened: Opened,
        start: int,
        end: int,
        question: Question,
        searches: dict[Column, Search],
        others: Ask,
        names: Sequence[str],
        most: int,
    ) -> _Likely:
        columns, within, watch = list(searches), condition(question.within, DUCKDB), question.watch
        rest = [condition(others, DUCKDB)]
        for column in columns:
            nodes = question.likely.nodes if isinstance(question.likely, AnyOf) else (question.likely,)
            too_long = f"strlen({DUCKDB.value(column)}) > {_LONGEST}"
            own = condition(any_of(node for node in nodes if column in columns_of(node)), DUCKDB)
            rest.append(f"CASE WHEN {too_long} THEN {own} ELSE false END")
        texts = [
            f"CASE WHEN strlen({value}) <= {_LONGEST} THEN {value} END"
            for value in map(DUCKDB.value, columns)
        ]
        found: dict[int, list[str | None]] = {}
        for first in range(start, end, _PIECE):
            watched = condition(NEVER if watch.seen else watch.ask, DUCKDB)
            what = ", ".join((opened.row, " OR ".join(rest), watched, *texts))
            here = f"{_between(opened, first, min(first + _PIECE, end))} AND {within}"
            for numbers, asked, met, *values in opened.batches(what, here):
                watch.seen = watch.seen or any(True for _ in true_rows(met))
                rows = set(true_rows(asked))
                for column, value in zip(columns, values, strict=True):
                    rows.update(self._search.rows(value, searches[column]))
                number = memoryview(numbers.buffer(1))
                for row in sorted(rows):
                    few = len(found) < _VERY_FEW
                    found[number[row]] = [text_at(value, row) for value in values] if few else []
            if len(found) > most:
                break
        if len(found) > _VERY_FEW:
            return _Likely((), dict.fromkeys(found, ""))
        known = {
            column.path[0]: place
            for place, column in enumerate(columns)
            if column.path[0] in names and all(texts[place] is not None for texts in found.values())
        }
        records = (
            orjson.dumps({name: texts[place] for name, place in known.items()}) for texts in found.values()
        )
        return _Likely(tuple(known), dict(zip(found, (record.decode() for record in records), strict=True)))


def _asked(
    opened: Opened, start: int, end: int, question: Question, names: Sequence[str], most: int
) -> _Likely:
    """Return the likely rows by one question; what is watched for is asked along until it is met."""
    asks = {column.path[0] for column in columns_of(question.likely)}
    found = _Likely([name for name in names if name in asks])
    within, watch = condition(question.within, DUCKDB), question.watch
    while True:
        watched = NEVER if watch.seen else watch.ask
        quick = condition(any_of((question.likely, watched)), DUCKDB)
        what = f"{opened.row}, {_record(found.names)}, {condition(watched, DUCKDB)}"
        for number, text, met in opened.ask(what, f"{_between(opened, start, end)} AND {within} AND {quick}"):
            if met:
                watch.seen, start = True, number
                break
            found.rows[number] = text if len(found.rows) < _VERY_FEW else ""
            if len(found.rows) > most:
                return found
        else:
            return found


def _completed(opened: Opened, likely: _Likely, names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the rows with all of these columns: what is not known of them is read."""
    missing = [name for name in names if name not in likely.names]
    if not missing:
        yield from likely.rows.items()
    elif likely.rows:
        for number, text in opened.ask(f"{opened.row}, {_record(missing)}", _among(opened, likely.rows)):
            yield number, f"{likely.rows[number][:-1]},{text[1:]}" if likely.names else text


def _between(opened: Opened, start: int, end: int) -> str:
    return f"{opened.row} BETWEEN {start} AND {end - 1}"


def _among(opened: Opened, numbers: Iterable[int]) -> str:
    return f"{opened.row} IN ({', '.join(map(str, numbers))})"


def _record(names: Sequence[str]) -> str:
    """Return the expression of a row's JSON, of these columns."""
    if not names:
        return "'{}'"
    packed = ", ".join(f"{DUCKDB.literal(name)}: {DUCKDB.name_of(name)}" for name in names)
    return f"CAST(to_json({{{packed}}}) AS VARCHAR)"
