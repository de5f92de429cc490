"""A whole scan: paths in, findings out. Cuts the work into tasks, in one process or several, and merges the results.

The answer does not depend on the number of processes or on how files were cut into parts: tasks come back in order,
line numbers of a part are shifted by the lines before it, incidents merge. Findings of a second look (correlation
rules) need the sources once more; what cannot be read twice is told as skipped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain, islice
from typing import Protocol

from imdswatch.finding import Finding, Skipped, Summary
from imdswatch.read.partitions import span_of
from imdswatch.read.sources import Dropped, Ignored, Manifest, Outside, PassedOver, Source, walk
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.findings import FindingMaker
from imdswatch.scan.hints import Hints
from imdswatch.scan.judging import FirstLook, SecondLook, Served, served_victims
from imdswatch.scan.prefilter import Prefilter, build
from imdswatch.scan.text import Outcome
from imdswatch.scan.work import BATCH, SMALL, Conditions, Options, Progress, Task, Wanted, Worker, size_of


class Cluster(Protocol):
    """Where tasks are done if not here: `imdswatch.scan.spark`."""

    def outcomes(
        self, worker: Worker, options: Options, second: SecondOf, tasks: Iterator[Task]
    ) -> Iterator[tuple[Task, Outcome]]:
        """Yield the tasks with their outcomes, in order; a task that was lost has an outcome that says so."""


SecondOf = tuple[int, Mapping[str, Sequence[Served]]] | None
"""The number of a correlation rule and the victims that its second look is about; None for the first look."""


class Looks:
    """What makes the workers of a scan, here or on another machine: the first look, and second ones."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._judged = FirstLook(options.rules, options.site, options.window)
        self._first = [(rule.slug, rule.condition) for rule in self._judged.used]

    def worker(self, second: SecondOf = None) -> Worker:
        """Return a worker of the first look, or of a second one."""
        options = self._options
        if second is None:
            later = [(rule.slug, rule.correlation.base) for rule in options.rules if rule.correlation]
            return Worker(
                options, Wanted(self._first, later, partial(self._text, self._first, later)), self._judged
            )
        index, served = second
        rule = options.rules[index]
        assert rule.correlation is not None
        base = [(rule.slug, rule.correlation.base)]
        wanted = Wanted(self._first, base, partial(self._text, base, ()), tuple(served))
        return Worker(options, wanted, SecondLook(options.rules, index, options.site, options.window, served))

    def _text(self, first: Conditions, later: Conditions) -> tuple[Prefilter, bool]:
        """Return the search of the first look at text, and whether all text must be read for the second look.

        What a second look would search for is watched for in the first, so that only those sources are read again.
        """
        hints = self._hints
        second = [build([one], hints) for one in later]
        headers = set(hints.headers(first_line=False))
        watch = [pattern for one in second for pattern in one.patterns if pattern not in headers]
        prefilter = build(first, hints, watch)
        return prefilter, any(one.everything or not one.blind <= prefilter.blind for one in second)

    @cached_property
    def _hints(self) -> Hints:
        return Hints(self._options.schemas)


class Scan:
    """One scan. Iterate `results` once; then `summary` is right."""

    def __init__(
        self,
        paths: Sequence[str],
        options: Options,
        progress: Progress | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        self._cluster = cluster
        self._paths, self._options, self._progress = tuple(paths), options, progress
        self._looks = Looks(options)
        self._second: SecondOf = None
        self._worker = self._looks.worker()
        self._again: set[str] = set()
        self._incidents = Incidents(each=options.each)
        self._counts = Summary(notes=self._unfilled())
        self._once: list[str] = []
        self._notes: set[str] = set()
        self._unread: list[Skipped] = []  # met on the way, not told yet
        self._passed = 0  # folders whose name is of another time
        self._dropped = 0  # files that the log of a table does not list
        self._manifests: dict[str, Manifest] = {}  # by folder, for both looks

    def _unfilled(self) -> tuple[str, ...]:
        idle = [r.slug for r in self._options.rules if r.placeholders - set(self._options.site.values)]
        return tuple(f"{slug} does not apply: the site file lists no expected accounts" for slug in idle)

    def results(self) -> Iterator[Finding | Skipped]:
        """Yield what could not be looked at as it comes up, then the findings, the gravest first.

        With very many incidents (see `aggregate.LIMIT`) findings come ordered by victim instead.
        """
        began = time.monotonic()
        yield from self._pass()
        yield from self._second_looks()
        findings = suppressed = 0
        maker = FindingMaker(self._options.rules, self._options.site)
        for key, incident in self._incidents.sorted():
            finding = maker.make(key, incident)
            if finding.suppressed_by is None:
                findings += 1
            else:
                suppressed += 1
            yield finding
        self._incidents.close()
        if self._passed:
            self._notes.add(f"folders not read: {self._passed}, their names are of another time")
        if self._dropped:
            self._notes.add(f"files not read: {self._dropped}, not in the log of their Delta table")
        self._counts = replace(
            self._counts,
            findings=findings,
            suppressed=suppressed,
            seconds=time.monotonic() - began,
            notes=tuple(sorted(self._notes)) + self._counts.notes,
        )

    @property
    def summary(self) -> Summary:
        """What was looked at."""
        return self._counts

    def _second_looks(self) -> Iterator[Skipped]:
        options = self._options
        if not self._again:
            return  # no source has anything to look at once more, so nobody need be known who was served
        for index, rule in enumerate(options.rules):
            if rule.correlation is None:
                continue
            served = served_victims(self._incidents, options.rules, rule.correlation.timespan)
            if not served:
                continue
            for name in self._once:
                if name not in self._again:
                    continue
                yield self._skip(
                    Skipped(name, "", f"cannot be read twice, so {rule.slug} was not looked for in it")
                )
            self._second = index, served
            self._worker = self._looks.worker(self._second)
            for _ in self._pass(counting=False):
                pass  # told in the first pass already

    def _skip(self, skipped: Skipped) -> Skipped:
        self._counts = replace(self._counts, skipped=self._counts.skipped + 1)
        return skipped

    def _pass(self, counting: bool = True) -> Iterator[Skipped]:
        """Look at all sources once; yield what could not be looked at, if this is the look that counts."""
        base, before = 0, ""
        for task, outcome in self._outcomes(counting):
            name = task.sources[0].name
            if task.end is None or task.start == 0 or name != before:
                base, before = 0, name  # lines of the same file in the parts before this one
            if outcome.incidents is not self._incidents:
                outcome.incidents.shift(base)
                self._incidents.merge(outcome.incidents)
            if counting:
                yield from self._told(outcome, base, name)
            base += outcome.lines
            self._again |= outcome.second
            self._notes |= outcome.notes
            if self._progress is not None:
                self._progress(outcome.packed)
        if counting:
            yield from map(self._skip, self._unread)

    def _told(self, outcome: Outcome, base: int, name: str) -> Iterator[Skipped]:
        for skipped in outcome.skipped:
            yield self._skip(_shifted(skipped, base) if base else skipped)
        if outcome.more_skipped:
            yield self._skip(Skipped(name, "", f"{outcome.more_skipped} more places could not be read"))
        counts = self._counts
        self._counts = replace(
            counts,
            bytes=counts.bytes + outcome.bytes,
            records=counts.records + outcome.lines,
            ignored=counts.ignored + outcome.ignored,
        )

    def _outcomes(self, counting: bool) -> Iterator[tuple[Task, Outcome]]:
        tasks = self._tasks(counting)
        if self._cluster is not None:
            yield from self._cluster.outcomes(self._worker, self._options, self._second, tasks)
            return
        first = list(islice(tasks, 2))
        # One task is done here at once: starting processes would take longer than most of them.
        if self._options.jobs > 1 and len(first) > 1:
            from imdswatch.scan.pool import in_parallel

            _ = self._worker.text  # compiled before the processes part, so that it is done once
            yield from in_parallel(self._worker, chain(first, tasks), self._options.jobs)
            return
        for task in chain(first, tasks):
            if task.merged:
                yield task, self._worker.do(task, Outcome(self._incidents), self._progress)
                continue
            for source in task.sources:
                outcome = Outcome(self._incidents)
                yield Task((source,)), self._worker.do(Task((source,)), outcome, self._progress)

    def _tasks(self, counting: bool) -> Iterator[Task]:
        if self._options.merge:
            yield from self._one_task(counting)
            return
        batch: list[Source] = []
        for found in walk(self._paths, self._outside, self._manifest):
            if isinstance(found, Skipped):
                self._unread.append(found)
                continue
            if isinstance(found, Ignored):
                self._ignore(found, counting)
                continue
            if not counting and found.name not in self._again:
                continue
            if found.mtime is None:
                if counting:
                    self._once.append(found.name)
                    self._count_source(True)
                    yield Task((found,))
                continue
            self._count_source(counting)
            size = size_of(found)
            if size > SMALL:
                if batch:
                    yield Task(tuple(batch))
                    batch = []
                yield from self._worker.cut(found, size)
                continue
            batch.append(found)
            if len(batch) == BATCH:
                yield Task(tuple(batch))
                batch = []
        if batch:
            yield Task(tuple(batch))

    def _one_task(self, counting: bool) -> Iterator[Task]:
        """Yield one task with all sources, which reads their captures as one; in a second look if it can."""
        sources: list[Source] = []
        for found in walk(self._paths, self._outside, self._manifest):
            if isinstance(found, Skipped):
                self._unread.append(found)
            elif isinstance(found, Ignored):
                self._ignore(found, counting)
            elif counting or found.mtime is not None:
                self._count_source(counting)
                sources.append(found)
                if counting and found.mtime is None:
                    self._once.append(found.name)
        if sources and (counting or self._again):
            yield Task(tuple(sources), merged=True)

    def _count_source(self, counting: bool) -> None:
        if counting:
            self._counts = replace(self._counts, sources=self._counts.sources + 1)

    @property
    def _outside(self) -> Outside | None:
        """What says that nothing in a folder is of the time that is asked for, by its name (`day=2026-11-22`)."""
        window, zone = self._options.window, self._options.timezone
        if window.since is None and window.until is None:
            return None

        def outside(folder: str) -> bool:
            span = span_of(folder, zone)
            return span is not None and not window.meets(*span)

        return outside

    def _manifest(self, folder: str) -> Manifest:
        from imdswatch.scan.delta import manifest_of

        if folder not in self._manifests:
            self._manifests[folder] = manifest_of(folder)
        return self._manifests[folder]

    def _ignore(self, ignored: Ignored, counting: bool) -> None:
        if counting and isinstance(ignored, PassedOver):
            self._passed += 1
        elif counting and isinstance(ignored, Dropped):
            self._dropped += 1
        elif counting:
            self._counts = replace(self._counts, ignored=self._counts.ignored + 1)


def _shifted(skipped: Skipped, lines: int) -> Skipped:
    word, _, number = skipped.position.partition(" ")
    return replace(skipped, position=f"line {int(number) + lines}") if word == "line" else skipped
