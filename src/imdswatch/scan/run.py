"""A whole scan: paths in, findings out. Cuts the work into tasks, in one process or several, and merges the results.

The answer does not depend on the number of processes or on how files were cut into parts: tasks come back in order,
line numbers of a part are shifted by the lines before it, incidents merge. Findings of a second look (correlation
rules) need the sources once more; what cannot be read twice is told as skipped.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from pathlib import Path

from imdswatch.finding import SEVERITY_RANK, STAGE_RANK, Finding, Skipped, Summary
from imdswatch.read.blocks import Block, blocks, part_blocks
from imdswatch.read.sources import Ignored, Source, walk
from imdswatch.read.streams import Stream, open_streams
from imdswatch.rule import Rule
from imdswatch.scan.aggregate import Incidents, to_finding
from imdswatch.scan.hints import Hints, sniff
from imdswatch.scan.judging import FirstLook, SecondLook, Window, served_victims
from imdswatch.scan.prefilter import Prefilter, build
from imdswatch.scan.text import Outcome, TextScan
from imdswatch.schema import Schemas
from imdswatch.site import Site

PART = 64 << 20
"""Bytes of a plain file that one task takes."""
_BATCH = 64  # small files a task
_SMALL = 1 << 20

Progress = Callable[[int], None]
"""Called with the number of source bytes that were looked at since the last call."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a scan is asked to do. `year_not_after` and times are epoch seconds."""

    rules: tuple[Rule, ...]
    site: Site
    schemas: Schemas
    schema: str | None = None
    window: Window = Window()
    timezone: tzinfo = UTC
    jobs: int = 1
    each: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """Some work for one process: whole sources, or one part of a plain file."""

    sources: tuple[Source, ...]
    start: int = 0
    end: int | None = None
    size: int = 0


class Scan:
    """One scan. Iterate `results` once; then `summary` is right."""

    def __init__(self, paths: Sequence[str], options: Options, progress: Progress | None = None) -> None:
        self._paths, self._options, self._progress = tuple(paths), options, progress or (lambda count: None)
        self._look: FirstLook | SecondLook = FirstLook(options.rules, options.site, options.window)
        self._hints = Hints(options.schemas)
        used = self._look.used
        self._prefilter = self._build([(rule.slug, rule) for rule in used])
        self._incidents = Incidents(each=options.each)
        self._counts = Summary(notes=self._prefilter.notes + self._unfilled())
        self._once: list[str] = []

    def _unfilled(self) -> tuple[str, ...]:
        idle = [r.slug for r in self._options.rules if r.placeholders - set(self._options.site.values)]
        return tuple(f"{slug} does not apply: the site file lists no expected accounts" for slug in idle)

    def _build(self, rules: list[tuple[str, Rule]], second: bool = False) -> Prefilter:
        conditions = [
            (slug, rule.correlation.base if second and rule.correlation else rule.condition)
            for slug, rule in rules
        ]
        return build(conditions, self._hints)

    def results(self) -> Iterator[Finding | Skipped]:
        """Yield what could not be looked at as it comes up, then the findings, the gravest first.

        With very many incidents (see `aggregate.LIMIT`) findings come ordered by victim instead.
        """
        began = time.monotonic()
        yield from self._pass()
        yield from self._second_looks()
        findings = suppressed = 0
        site, rules = self._options.site, self._options.rules
        found = (to_finding(key, incident, rules, site) for key, incident in self._incidents.items())
        for finding in found if self._incidents.written_out else sorted(found, key=_gravest_first):
            if finding.suppressed_by is None:
                findings += 1
            else:
                suppressed += 1
            yield finding
        self._counts = replace(
            self._counts, findings=findings, suppressed=suppressed, seconds=time.monotonic() - began
        )

    @property
    def summary(self) -> Summary:
        """What was looked at."""
        return self._counts

    def _second_looks(self) -> Iterator[Skipped]:
        options = self._options
        for index, rule in enumerate(options.rules):
            if rule.correlation is None:
                continue
            served = served_victims(self._incidents, options.rules, rule.correlation.timespan)
            if not served:
                continue
            for name in self._once:
                yield self._skip(
                    Skipped(name, "", f"cannot be read twice, so {rule.slug} was not looked for in it")
                )
            self._look = SecondLook(options.rules, index, options.site, options.window, served)
            self._prefilter = self._build([(rule.slug, rule)], second=True)
            for _ in self._pass(counting=False):
                pass  # told in the first pass already

    def _skip(self, skipped: Skipped) -> Skipped:
        self._counts = replace(self._counts, skipped=self._counts.skipped + 1)
        return skipped

    def _pass(self, counting: bool = True) -> Iterator[Skipped]:
        parallel = self._options.jobs > 1
        base, before = 0, ""
        for task, outcome in self._parallel(counting) if parallel else self._serial(counting):
            part = task.end is not None
            name = task.sources[0].name
            if not part or task.start == 0 or name != before:
                base, before = 0, name
            if part and base:
                outcome.incidents.shift(base)
            incidents = outcome.incidents
            if incidents is not self._incidents:
                self._incidents.merge(incidents)
            base += outcome.lines
            if counting:
                shown = (
                    [_shifted(s, base - outcome.lines) for s in outcome.skipped] if part else outcome.skipped
                )
                for skipped in shown:
                    yield self._skip(skipped)
                if outcome.more_skipped:
                    reason = f"{outcome.more_skipped} more places could not be read"
                    yield self._skip(Skipped(name, "", reason))
                counts = self._counts
                self._counts = replace(
                    counts,
                    bytes=counts.bytes + outcome.bytes,
                    records=counts.records + outcome.lines,
                    ignored=counts.ignored + outcome.ignored,
                )
            self._progress(outcome.packed)

    def _tasks(self, counting: bool) -> Iterator[Task | Skipped]:
        batch: list[Source] = []
        for found in walk(self._paths):
            if isinstance(found, Skipped):
                yield found
                continue
            if isinstance(found, Ignored):
                self._ignore(counting)
                continue
            if found.mtime is None:
                if counting:
                    self._once.append(found.name)
                    self._count_source(True)
                    yield Task((found,))
                continue
            self._count_source(counting)
            size = _size(found)
            if size > _SMALL:
                if batch:
                    yield Task(tuple(batch))
                    batch = []
                yield from self._cut(found, size)
                continue
            batch.append(found)
            if len(batch) == _BATCH:
                yield Task(tuple(batch))
                batch = []
        if batch:
            yield Task(tuple(batch))

    def _count_source(self, counting: bool) -> None:
        if counting:
            self._counts = replace(self._counts, sources=self._counts.sources + 1)

    def _ignore(self, counting: bool) -> None:
        if counting:
            self._counts = replace(self._counts, ignored=self._counts.ignored + 1)

    def _cut(self, source: Source, size: int) -> Iterator[Task]:
        if self._options.jobs > 1 and size > 2 * PART and self._cuttable(source):
            for start in range(0, size, PART):
                yield Task((source,), start, min(start + PART, size), size)
        else:
            yield Task((source,))

    def _cuttable(self, source: Source) -> bool:
        """Say whether parts of the file can be read alone: plain text, a record a line, no header lines."""
        assert source.path is not None
        for stream in open_streams(source):
            if not isinstance(stream, Stream) or stream.seekable_path is None:
                return False
            head = bytearray(1 << 16)
            count = stream.readinto(head)
            return not sniff(bytes(head[:count]), self._options.schemas, self._options.schema).header
        return False

    def _serial(self, counting: bool) -> Iterator[tuple[Task, Outcome]]:
        for task in self._tasks(counting):
            if isinstance(task, Skipped):
                yield Task((Source(task.source, None, False, None),)), Outcome(skipped=[task])
                continue
            for source in task.sources:
                outcome = Outcome(self._incidents)
                self._work(Task((source,)), outcome)
                yield Task((source,)), outcome

    def _parallel(self, counting: bool) -> Iterator[tuple[Task, Outcome]]:
        global _worker
        _worker = self  # inherited by the forked processes: rules and search are compiled once
        context = multiprocessing.get_context("fork")
        pending: list[tuple[Task, Future[Outcome] | Outcome]] = []
        with ProcessPoolExecutor(self._options.jobs, mp_context=context) as pool:
            for task in self._tasks(counting):
                if isinstance(task, Skipped):
                    pending.append((Task((Source(task.source, None, False, None),)), Outcome(skipped=[task])))
                elif task.sources[0].path is None or task.sources[0].mtime is None:
                    outcome = Outcome(Incidents(each=self._options.each))
                    self._work(task, outcome)
                    pending.append((task, outcome))
                else:
                    pending.append((task, pool.submit(_run_task, task)))
                while len(pending) > 2 * self._options.jobs:
                    yield self._done(*pending.pop(0))
            while pending:
                yield self._done(*pending.pop(0))

    @staticmethod
    def _done(task: Task, result: Future[Outcome] | Outcome) -> tuple[Task, Outcome]:
        if isinstance(result, Outcome):
            return task, result
        try:
            return task, result.result()
        except BrokenProcessPool:
            reason = "a worker process was killed while it read this (out of memory?)"
            return task, Outcome(skipped=[Skipped(source.name, "", reason) for source in task.sources])

    def _work(self, task: Task, outcome: Outcome) -> None:
        if task.end is not None:
            source = task.sources[0]
            assert source.path is not None
            parts = part_blocks(source.path, task.start, task.end, limit=task.size, name=source.name)
            self._text(source.name, source.mtime, parts, outcome, first=task.start == 0)
            outcome.packed += task.end - task.start
            return
        for source in task.sources:
            for found in open_streams(source):
                if isinstance(found, Skipped):
                    outcome.skip(found)
                elif isinstance(found, Ignored):
                    outcome.ignored += 1
                else:
                    self._text(found.name, found.mtime, blocks(found), outcome)
            outcome.packed += _size(source)

    def _text(
        self,
        name: str,
        mtime: float | None,
        data: Iterator[Block | Skipped] | Iterator[Block],
        outcome: Outcome,
        first: bool = True,
    ) -> None:
        options = self._options
        reader = options.schemas.reader(
            default_timezone=options.timezone, year_not_after=mtime or time.time(), only=options.schema
        )
        TextScan(name, self._prefilter, reader, self._look, outcome).run(
            data, options.schemas, options.schema, first_part=first
        )


_worker: Scan | None = None


def _run_task(task: Task) -> Outcome:
    assert _worker is not None
    outcome = Outcome(Incidents(each=_worker._options.each))
    _worker._work(task, outcome)
    return outcome


def _size(source: Source) -> int:
    if source.path is None:
        return 0
    try:
        return Path(source.path).stat().st_size
    except OSError:
        return 0


def _shifted(skipped: Skipped, lines: int) -> Skipped:
    word, _, number = skipped.position.partition(" ")
    return replace(skipped, position=f"line {int(number) + lines}") if word == "line" else skipped


def _gravest_first(finding: Finding) -> tuple[object, ...]:
    first = finding.first_seen if finding.first_seen is not None else float("inf")
    return (
        -STAGE_RANK[finding.stage],
        -SEVERITY_RANK[finding.severity],
        first,
        finding.fingerprint,
        finding.suppressed_by or "",
        finding.evidence[0].source,
        finding.evidence[0].position,
    )
