"""The engines, one judge for each language: it takes the records of all parts of a schema and answers queries on them.

`ENGINES` says plainly what each is: a real parser, a reference engine, or an evaluator of documented semantics.

Longer than most: one small class a language, all of one kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, ClassVar

import qradar_events
import splunk_events
from conformance.corpus import NOW
from conformance.records import flat, label, records, sources
from imdswatch.siem.content import Query, Source

ENGINES = {
    "kusto": (
        "accepted by Microsoft's own parser and binder (`@kusto/language-service-next`) with all columns of the tables; "
        "run by `duckdb-kql` on DuckDB, with the functions it lacks written after Microsoft's reference"
    ),
    "kuery": "read by Kibana's grammar (`kibana-ql`), turned into query DSL as Kibana does, run by `osmem-server`",
    "eql": "run by the language's reference engine (`eql`) in Elasticsearch's syntax",
    "esql": (
        "accepted by Elastic's own parser and type checker (`detection-rules-esql-py`); run by our evaluator, which gives "
        "the rows that Elasticsearch's tests expect"
    ),
    "spl": "documented semantics: two evaluators written independently from Splunk's manuals agree, strictly",
    "aql": "documented semantics: two evaluators written independently from IBM's guides agree, strictly",
}


class Invalid(Exception):
    """A query that an engine refuses, or whose answer the documentation leaves open."""


class Judge:
    """Answers queries on the records of the corpus; a context manager, since some engines are servers."""

    language: str
    target: str

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *found: Any) -> None:
        self._stack.close()

    def _kept(self, resource: AbstractContextManager[Any]) -> Any:
        return self._stack.enter_context(resource)

    def answer(self, source: Source, query: str) -> list[int]:
        """Return the numbers of the events that a query answers; raises Invalid."""
        raise NotImplementedError

    def ask(self, query: Query) -> list[int]:
        """Answer an exported query."""
        return self.answer(query.source, query.query)


class Group:
    """Events that a source holds as the same record: evaluators see one of them, the answer counts for all."""

    def __init__(self, events: Iterable[Mapping[str, Any]]) -> None:
        self._numbers: dict[str, list[int]] = {}
        self.events: list[dict[str, Any]] = []
        for number, event in enumerate(events):
            known = self._numbers.setdefault(json.dumps(event, sort_keys=True, default=str), [])
            if not known:
                self.events.append({**event, "id": number})
            known.append(number)
        self._by_first = {numbers[0]: numbers for numbers in self._numbers.values()}

    def all(self, found: Iterable[int]) -> list[int]:
        """Return the numbers of all events whose records were answered."""
        return sorted(number for first in set(found) for number in self._by_first[first])


class KustoJudge(Judge):
    """Sentinel."""

    language, target = "kusto", "sentinel"

    def __init__(
        self, watchlists: Mapping[str, Sequence[Mapping[str, str]]] | None = None, every_reading: bool = False
    ) -> None:
        super().__init__()
        from engines.kusto import READINGS, Kusto, KustoError
        from engines.kusto.tables import columns

        tables = {
            one.naming.table: [
                {name: value for name, value in flat(record or {}) if name in columns(one.naming.table)}
                for record in records(label(one), "sentinel")
            ]
            for one in sources("sentinel")
        }
        self._error = KustoError
        self._engines = [
            Kusto(tables, NOW, watchlists, one) for one in (READINGS if every_reading else READINGS[:1])
        ]

    def answer(self, source: Source, query: str) -> list[int]:
        try:
            found = [engine.run(query) for engine in self._engines]
        except self._error as error:
            raise Invalid(str(error)[:400]) from error
        if any(one != found[0] for one in found):
            raise Invalid("the answer depends on a reading that Microsoft's reference leaves open")
        return found[0]


class ElasticJudge(Judge):
    """What the three languages of Elastic share: the documents."""

    target = "elastic"

    def __init__(self) -> None:
        super().__init__()
        [source] = sources("elastic")
        self.documents = [dict(flat(record or {})) for record in records(label(source), "elastic")]


class KueryJudge(ElasticJudge):
    """Kibana KQL; `dsl` answers query DSL, as exception lists become it."""

    language = "kuery"

    def __init__(self) -> None:
        super().__init__()
        from engines.elastic.server import Index

        self._index = self._kept(Index(self.documents))

    def answer(self, source: Source, query: str) -> list[int]:
        from engines.elastic.kibana import KueryError, dsl

        try:
            return self.dsl(dsl(query))
        except KueryError as error:
            raise Invalid(str(error)[:400]) from error

    def dsl(self, query: Mapping[str, Any]) -> list[int]:
        """Return the numbers of the documents that query DSL finds; raises Invalid."""
        from engines.elastic.server import SearchError

        try:
            found: list[int] = self._index.search(query)
        except SearchError as error:
            raise Invalid(str(error)[:400]) from error
        return found


class EqlJudge(ElasticJudge):
    """EQL."""

    language = "eql"

    def answer(self, source: Source, query: str) -> list[int]:
        from engines.elastic.sequences import EqlError, run

        try:
            return run(query, self.documents)
        except EqlError as error:
            raise Invalid(str(error)[:400]) from error


class EsqlJudge(ElasticJudge):
    """ES|QL."""

    language = "esql"

    def answer(self, source: Source, query: str) -> list[int]:
        from engines.elastic.esql import Esql, EsqlError
        from engines.elastic.server import field_types

        try:
            return Esql(NOW, field_types()).run(query, self.documents)
        except EsqlError as error:
            raise Invalid(str(error)[:400]) from error


class SplJudge(Judge):
    """Splunk: two evaluators that must agree. Searches over accelerated data group events, so they see them one by one."""

    language, target = "spl", "splunk"

    def __init__(
        self,
        macros: Mapping[str, Any] | None = None,
        lookups: Mapping[str, Any] | None = None,
        strict: bool = True,
    ) -> None:
        super().__init__()
        self._more = {
            "macros": dict(macros or {}),
            "lookups": dict(lookups or {}),
            "now": NOW,
            "strict": strict,
        }
        self._events: dict[str, Group] = {}

    def events(self, source: Source) -> Group:
        """Return the events of one part of a schema as Splunk holds them."""
        name = label(source)
        if name not in self._events:
            held = (splunk_events.event(one or {}, source) for one in records(name, "splunk"))
            self._events[name] = Group({"index": "main", **one} for one in held)
        return self._events[name]

    def answer(self, source: Source, query: str) -> list[int]:
        from engines import spl_one, spl_two

        found = [self._answer(one, self.events(source).events, query) for one in (spl_one, spl_two)]
        if found[0] != found[1]:
            raise Invalid(f"the evaluators disagree on events {sorted(set(found[0]) ^ set(found[1]))}")
        return self.events(source).all(found[0])

    def _answer(self, engine: Any, events: list[dict[str, Any]], query: str) -> list[int]:
        def rows(some: list[dict[str, Any]]) -> list[dict[str, Any]]:
            try:
                found: list[dict[str, Any]] = engine.run(query, some, **self._more)
            except (engine.SplError, engine.Undocumented) as error:
                raise Invalid(f"{engine.__name__.rpartition('.')[2]}: {error}"[:400]) from error
            return found

        if "tstats" in query:
            return [one["id"] for one in events if rows([one])]
        return sorted({row["id"] for row in rows(events)})


class AqlJudge(Judge):
    """QRadar: two evaluators that must agree. Where an address is of the other family, a console may show NULL or all
    zeros: both are asked, and must give the same answer."""

    language, target = "aql", "qradar"
    _ZERO: ClassVar[Mapping[str, str]] = {
        "sourceip": "0.0.0.0",
        "destinationip": "0.0.0.0",
        "postnatdestinationip": "0.0.0.0",
        "sourcev6": "0:0:0:0:0:0:0:0",
        "destinationv6": "0:0:0:0:0:0:0:0",
    }

    def __init__(self, sets: Mapping[str, Any] | None = None, strict: bool = True) -> None:
        super().__init__()
        self._sets, self._strict = dict(sets or {}), strict
        self._events: dict[str, Group] = {}

    def events(self, source: Source) -> Group:
        """Return the events or flows as the console holds them."""
        name = label(source)
        if name not in self._events:
            held = [qradar_events.event(one or {}, source) for one in records(name, "qradar")]
            for one in held:
                if ":" in str(one.get("postnatdestinationip")):
                    one["postnatdestinationip"] = None  # a column of IPv4
            self._events[name] = Group(held)
        return self._events[name]

    def answer(self, source: Source, query: str) -> list[int]:
        from engines import aql_one, aql_two

        plain = self.events(source).events
        table = source.naming.table
        zero = {name: text for name, text in self._ZERO.items() if table == "events" or "nat" not in name}
        filled = [
            {**one, **{name: text for name, text in zero.items() if one.get(name) is None}} for one in plain
        ]
        found = [
            self._answer(one, source, query, held) for one in (aql_one, aql_two) for held in (plain, filled)
        ]
        if any(one != found[0] for one in found):
            differ = sorted(set().union(*found) - set.intersection(*map(set, found)))
            raise Invalid(f"the evaluators, or NULL and zeros, disagree on events {differ}")
        return self.events(source).all(found[0])

    def _answer(self, engine: Any, source: Source, query: str, events: list[dict[str, Any]]) -> list[int]:
        from engines import aql_one

        named = {
            "columns": {source.naming.table: qradar_events.properties(source)},
            "maps": qradar_events.names(source),
            # The second evaluator takes the elements alone.
            "sets": self._sets
            if engine is aql_one
            else {name: one["values"] for name, one in self._sets.items()},
            "now": NOW,
            "strict": self._strict,
        }
        try:
            if source.naming.table == "flows":
                rows = engine.run(query, [], flows=events, **named)
            else:
                rows = engine.run(query, events, **named)
        except (engine.AqlError, engine.Undocumented) as error:
            raise Invalid(f"{engine.__name__.rpartition('.')[2]}: {error}"[:400]) from error
        return sorted({row["id"] for row in rows})


JUDGES: Mapping[str, type[Judge]] = {
    "kusto": KustoJudge,
    "kuery": KueryJudge,
    "eql": EqlJudge,
    "esql": EsqlJudge,
    "spl": SplJudge,
    "aql": AqlJudge,
}
