"""One table in, judged events out: questions to its columns → rows → Schema → predicate, in bounded memory.

Guarantees: a row gives the findings that the same record gives as a line of JSON, with the position `row N`, from 1; a
row of no known schema is searched as that line would be. What cannot be read is skipped by groups of rows, and the
groups around it are judged. Nothing here raises for what stands in a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from typing import Any

import orjson

from imdswatch.event import complete
from imdswatch.finding import Skipped
from imdswatch.layouts.json import parse
from imdswatch.layouts.result import Malformed, Record
from imdswatch.read import unknown
from imdswatch.read.lines import LineReader
from imdswatch.read.partitions import values_in
from imdswatch.read.streams import Table
from imdswatch.rule import Node
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.asks import ALWAYS, EVERY_ROW, NEVER, Fails, Question, Span, Watch, all_of
from imdswatch.scan.columns import Column, Columns
from imdswatch.scan.duck import Engine, Opened, Unreadable
from imdswatch.scan.judging import Window
from imdswatch.scan.prefilter import Prefilter
from imdswatch.scan.tableplan import Plan, plan
from imdswatch.scan.tablerows import TableRows
from imdswatch.scan.text import Look, Outcome
from imdswatch.scan.work import Options
from imdswatch.schema import Schemas

_MOST_PLANS = 256


class TableSearch:
    """What a look searches for in tables: plans by columns, made once for all tables that have the same."""

    def __init__(
        self,
        options: Options,
        conditions: Sequence[tuple[str, Node]],
        watched: Sequence[tuple[str, Node]],
        text: Callable[[], Prefilter],
    ) -> None:
        self.options, self._conditions, self._watched = options, conditions, watched
        self.text = text
        self._plans: dict[str, tuple[Plan, Plan]] = {}
        self.engine: Engine | None = None
        self.rows = TableRows()

    def plan(self, columns: Columns) -> tuple[Plan, Plan]:
        """Return the plans for a table with these columns: of what counts, and of what is watched for."""
        key = repr(columns.shapes)
        if key not in self._plans:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            options = self.options
            schemas = [options.schemas[options.schema]] if options.schema else list(options.schemas.values())
            utc = options.timezone is UTC
            self._plans[key] = (
                plan(self._conditions, schemas, columns, options.window, utc),
                plan(self._watched, schemas, columns, options.window, utc) if self._watched else Plan(),
            )
        return self._plans[key]

    @property
    def watching(self) -> bool:
        """Whether anything is watched for."""
        return bool(self._watched)


class TableScan:
    """Scans one table into the outcome."""

    def __init__(self, search: TableSearch, look: Look, reader: LineReader, outcome: Outcome) -> None:
        self._search, self._look, self._reader, self._outcome = search, look, reader, outcome
        self._name = ""
        self._watch = Watch(NEVER)

    def run(self, table: Table) -> bool:
        """Scan the table; say whether it is worth a second look."""
        self._name = table.name
        search = self._search
        if search.engine is None:
            search.engine = Engine(1)
        try:
            opened = search.engine.open(table, values_in(table.name))
        except Unreadable as error:
            self._outcome.skip(Skipped(table.name, "", error.reason))
            return False
        try:
            return self._judged(opened, table)
        finally:
            opened.close()

    def _judged(self, opened: Opened, table: Table) -> bool:
        self._outcome.bytes += table.size
        self._outcome.lines += opened.rows
        made, later = self._search.plan(opened.columns)
        for slug in made.unasked:
            self._outcome.notes.add(
                f"no question to ask of a column in {slug}: every row is judged, which is slower"
            )
        self._watch = Watch(later.likely, seen=made.wanted == NEVER != later.wanted)
        self._span(opened, made, None)
        return self._watch.seen

    def _span(self, opened: Opened, made: Plan, span: Span) -> None:
        """Judge the rows of a span; where they cannot be read, halve it down to the groups that cannot."""
        attempt = Outcome(Incidents(each=self._search.options.each))
        try:
            for row, text in self._rows(opened, made, span):
                judge_row(text, made.renamed, self._reader, self._look, self._name, row + 1, attempt)
        except Unreadable as error:
            halves = self._halves(opened, span)
            if len(halves) > 1:
                for half in halves:
                    self._span(opened, made, half)
                return
            first, count = span or (0, opened.rows)
            rows = f"; rows {first + 1} to {first + count} are not all judged"
            attempt.skip(Skipped(self._name, f"row {first + 1}", error.reason + rows))
            self._watch.seen = self._search.watching
        self._keep(attempt)

    def _halves(self, opened: Opened, span: Span) -> list[Span]:
        try:
            groups = opened.groups()
        except Unreadable:
            return []
        first, count = span or (0, opened.rows)
        inside = [group for group in groups if first <= group[0] < first + count]
        if len(inside) < 2:
            return []
        parts = inside[: len(inside) // 2], inside[len(inside) // 2 :]
        return [(part[0][0], sum(size for _, size in part)) for part in parts]

    def _keep(self, attempt: Outcome) -> None:
        self._outcome.incidents.merge(attempt.incidents)
        for skipped in attempt.skipped:
            self._outcome.skip(skipped)
        self._outcome.more_skipped += attempt.more_skipped

    def _rows(self, opened: Opened, made: Plan, span: Span) -> Iterator[tuple[int, str]]:
        if made.known != NEVER and made.wanted != NEVER:
            within = all_of((made.known, made.timely))
            question = Question(within, made.likely, made.wanted, self._watch)
            yield from self._search.rows.read(opened, made.names, span, question)
        if made.known == ALWAYS:
            return
        prefilter = whole = None  # compiled only where there is such a row
        others = EVERY_ROW if made.known == NEVER else Question(likely=Fails(made.known))
        for row, text in self._search.rows.read(opened, (), span, others):
            if prefilter is None:
                self._watch.seen = self._search.watching
                prefilter = self._search.text()
                whole = prefilter.everything or bool(prefilter.blind)
            if whole or prefilter.touches(text.encode()):
                yield row, text


def judge_row(
    text: str,
    renamed: dict[str, Column],
    reader: LineReader,
    look: Look,
    source: str,
    row: int,
    outcome: Outcome,
) -> None:
    """Read one row, given as JSON, and judge it into the outcome; `row` is its number from 1."""
    record = _record(text, renamed)
    if judge_record(record, reader, look, source, ("row", row), outcome):
        return
    fields = unknown.read(orjson.dumps(record).decode())
    if fields is not None:
        look.take(outcome.incidents, complete(fields), source, "row", row)


def judge_record(
    record: dict[str, Any],
    reader: LineReader,
    look: Look,
    source: str,
    place: tuple[str, int],
    outcome: Outcome,
) -> bool:
    """Judge a record, its names those of schemas, into the outcome; say whether a schema could read it."""
    result = reader.read_object(record)
    if isinstance(result, Record) and result.schema != unknown.NAME:
        look.take(outcome.incidents, complete(result.fields), source, *place)
        return True
    if isinstance(result, Malformed):
        outcome.skip(Skipped(source, " ".join(map(str, place)), result.reason))
    return False


def first_records(table: Table, schemas: Schemas, most: int) -> Iterator[bytes]:
    """Yield the first rows of a table as lines of JSON, under the names that schemas know; raises Unreadable."""
    opened = Engine().open(table, values_in(table.name))
    try:
        renamed = plan((), schemas.values(), opened.columns, Window(), True).renamed
        for _, text in TableRows().read(opened, (), (0, most)):
            yield orjson.dumps(_record(text, renamed))
    finally:
        opened.close()


def _record(text: str, renamed: dict[str, Column]) -> dict[str, Any]:
    value = parse(text.encode())
    return named_for_schemas(_present(value) if isinstance(value, dict) else {}, renamed)


def named_for_schemas(record: dict[str, Any], renamed: dict[str, Column]) -> dict[str, Any]:
    """Put values of a record where the schemas look for them as well; the record itself is changed."""
    for name, column in renamed.items():
        found = _at(record, column)
        if found is not None:
            _put(record, name.split("."), found)
    return record


def _put(record: dict[str, Any], keys: list[str], value: Any) -> None:
    """Put a value where a path looks for it, unless something else stands in the way."""
    for key in keys[:-1]:
        record = record.setdefault(key, {})
        if record.__class__ is not dict:
            return
    record.setdefault(keys[-1], value)


def _present(value: Any) -> Any:
    """Return a value without what is null: a table has every column in every row, a log only what there is."""
    if value.__class__ is dict:
        return {key: _present(inner) for key, inner in value.items() if inner is not None}
    if value.__class__ is list:
        return [_present(inner) for inner in value if inner is not None]
    return value


def _at(record: dict[str, Any], column: Column) -> Any:
    found: Any = record
    for key in column.path:
        if found.__class__ is not dict:
            return None
        found = found.get(key)
    return found
