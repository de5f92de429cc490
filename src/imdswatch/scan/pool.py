"""Several processes do the tasks, in order; a process that dies is told as skipped, never a smaller answer.

The processes are forked, so rules and search patterns are compiled once. Imported only where it is needed: a small
scan should not pay for the machinery.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from imdswatch.finding import Skipped
from imdswatch.scan.text import Outcome
from imdswatch.scan.work import Task, Worker

_worker: Worker | None = None  # set before the fork, so that every process has it

_KILLED = "a worker process was killed while it read this (out of memory?)"


def _do(task: Task) -> Outcome:
    assert _worker is not None
    return _worker.do(task, _worker.outcome())


def in_parallel(worker: Worker, tasks: Iterable[Task], jobs: int) -> Iterator[tuple[Task, Outcome]]:
    """Yield the tasks with their outcomes, in the order of the tasks, at most two a process ahead."""
    global _worker
    _worker = worker
    pending: deque[tuple[Task, Future[Outcome] | Outcome]] = deque()
    pool = _Pool(jobs)
    try:
        for task in tasks:
            pending.append((task, worker.do(task, worker.outcome()) if task.here else pool.submit(task)))
            while len(pending) > 2 * jobs:
                yield _done(*pending.popleft())
        while pending:
            yield _done(*pending.popleft())
    finally:
        pool.close()


class _Pool:
    """A process pool that is made anew after one of its processes was killed."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._jobs, mp_context=multiprocessing.get_context("fork"))

    def submit(self, task: Task) -> Future[Outcome]:
        try:
            return self._pool.submit(_do, task)
        except BrokenProcessPool:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = self._new()
            return self._pool.submit(_do, task)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _done(task: Task, result: Future[Outcome] | Outcome) -> tuple[Task, Outcome]:
    if isinstance(result, Outcome):
        return task, result
    try:
        return task, result.result()
    except BrokenProcessPool:
        return task, Outcome(skipped=[Skipped(source.name, _part(task), _KILLED) for source in task.sources])


def _part(task: Task) -> str:
    return "" if task.end is None else f"byte {task.start}"
