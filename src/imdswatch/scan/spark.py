"""Tasks go to a Spark cluster, classic or by Spark Connect, and their outcomes come back: the scan is the same.

A task names sources that every worker can open under the same path; what does it there is the worker of a scan here
(search, schema, predicate), so what is found does not depend on where. Only incidents travel back. A task that the
cluster gives no outcome for is a `Skipped`, and so is every task of a job that fails: never a smaller answer.

The rules, the site and the schemas travel with the job; imdswatch itself, of this very version, must be installed where
the tasks are done. Incidents are packed by `marshal` inside, so Python must be of one version, too.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from imdswatch import __version__
from imdswatch.errors import UsageError
from imdswatch.finding import Skipped
from imdswatch.scan.run import Looks, SecondOf
from imdswatch.scan.text import Outcome
from imdswatch.scan.work import Options, Task, Worker

if TYPE_CHECKING:
    import pyarrow
    from pyspark.sql import SparkSession

_JOB = 8192
"""Tasks of one job: half a terabyte of plain text."""
_SPREAD = 2048
"""Partitions of one job at most: a lost one is done again from its first task."""
_CONNECT_PORT = 15002
_PATIENCE = 10.0  # seconds that a server may take to be reached
_RETRIES = 4
_KEPT = 4  # idle workers that a Python process keeps
_RESULT = "number bigint, outcome binary"

Spec = tuple[str, tuple[int, int], Options, SecondOf]
"""Version of imdswatch and of Python, and what makes a worker."""
_idle: list[tuple[bytes, Worker]] = []
"""Workers that are done with their tasks, by the hash of what made them, the one used last at the end."""
_lock = Lock()


def connect(master: str | None, remote: str | None) -> SparkSession:
    """Return a session of the cluster; raises UsageError where there is none, or no client for it."""
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise UsageError(
            "`--engine spark` needs a Spark client",
            help="`pip install 'imdswatch[spark]'` for `--remote sc://…`, "
            "`pip install pyspark` in the cluster's version for `--master`",
        ) from None
    builder = SparkSession.builder.appName("imdswatch")
    try:
        if remote:
            _knock(remote)
        session = (builder.remote(remote) if remote else builder.master(master or "local[*]")).getOrCreate()
        if remote:
            _give_up_after(session)
        session.range(1).collect()
    except _failures() as error:
        place = remote or master or ""
        raise UsageError(f"there is no answer from the cluster {place}: {_first_line(error)}") from None
    return session


def _knock(remote: str) -> None:
    """Raise OSError where nobody listens: the client alone would try for ten minutes."""
    found = urlsplit(remote)
    if found.scheme != "sc" or not found.hostname:
        raise ValueError("it must be spelled sc://host:port")
    socket.create_connection((found.hostname, found.port or _CONNECT_PORT), _PATIENCE).close()


def _give_up_after(session: SparkSession) -> None:
    """Bound how often the client asks again: some seconds, for a server that has gone does not come back."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    policy = DefaultPolicy(max_retries=_RETRIES, initial_backoff=500, backoff_multiplier=2)
    session.client.set_retry_policies([policy])


class SparkCluster:
    """Does tasks on the cluster of a session."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session

    def outcomes(
        self, worker: Worker, options: Options, second: SecondOf, tasks: Iterator[Task]
    ) -> Iterator[tuple[Task, Outcome]]:
        """Yield the tasks with their outcomes, in order; a task that was lost has an outcome that says so."""
        spec = pickle.dumps((__version__, sys.version_info[:2], replace(options, jobs=1), second))
        while batch := list(islice(tasks, _JOB)):
            yield from self._job(worker, spec, batch)

    def _job(self, worker: Worker, spec: bytes, tasks: list[Task]) -> Iterator[tuple[Task, Outcome]]:
        there = [(number, pickle.dumps(anywhere(task))) for number, task in enumerate(tasks) if not task.here]
        done: dict[int, bytes] = {}
        lost = "the cluster gave no answer for this"
        if there:
            try:
                frame = self._session.createDataFrame(there, "number bigint, task binary")
                frame = frame.repartition(min(len(there), _SPREAD))
                for row in frame.mapInArrow(_doing(spec), _RESULT).toLocalIterator():
                    done[row.number] = bytes(row.outcome)
            except _failures() as error:
                lost = f"the cluster gave up on this: {_first_line(error)}"
        for number, task in enumerate(tasks):
            if task.here:
                yield task, worker.do(task, worker.outcome())
            elif number in done:
                yield task, pickle.loads(done.pop(number))
            else:
                place = "" if task.end is None else f"byte {task.start}"
                yield task, Outcome(skipped=[Skipped(source.name, place, lost) for source in task.sources])


def anywhere(task: Task) -> Task:
    """Return the task with paths that mean the same in every working folder: an executor has one of its own."""
    sources = tuple(
        replace(source, path=os.path.abspath(source.path)) if source.path is not None else source
        for source in task.sources
    )
    return replace(task, sources=sources)


def _failures() -> tuple[type[BaseException], ...]:
    """Return what a cluster raises where it does not answer, or answers that a job failed."""
    from pyspark.errors import PySparkException

    found: list[type[BaseException]] = [PySparkException, RuntimeError, OSError, ValueError]
    with suppress(ImportError):  # of the client for Spark Connect
        from grpc import RpcError

        found.append(RpcError)
    with suppress(ImportError):  # of classic Spark
        from py4j.protocol import Py4JError

        found.append(Py4JError)
    return tuple(found)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _doing(spec: bytes) -> Any:
    """Return the function that does tasks on the cluster: batches of tasks in, batches of outcomes out."""

    def do(batches: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        from imdswatch.scan import spark

        return spark.done(spec, batches)

    return do


def done(spec: bytes, batches: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
    """Do the tasks of some batches, each as it comes."""
    import pyarrow

    with worker_of(spec) as worker:
        for batch in batches:
            for number, task in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
                outcome = worker.do(pickle.loads(task), worker.outcome())
                yield pyarrow.RecordBatch.from_pydict(
                    {"number": [number], "outcome": [pickle.dumps(outcome)]}
                )


@contextmanager
def worker_of(spec: bytes) -> Iterator[Worker]:
    """Lend a worker of a job to one thread; raises RuntimeError where versions differ.

    Its searches keep what they found in places of their own, so no two threads may use one; Sail's workers are threads
    of one process. Most jobs find one that was made before.
    """
    key = sha256(spec).digest()
    with _lock:
        free = [place for place, (made_of, _) in enumerate(_idle) if made_of == key]
        worker = _idle.pop(free[-1])[1] if free else None
    if worker is None:
        version, python, options, second = pickle.loads(spec)
        if (version, python) != (__version__, sys.version_info[:2]):
            raise RuntimeError(
                f"imdswatch {__version__} here, {version} asked, Python {sys.version_info[:2]}, {python}"
            )
        worker = Looks(options).worker(second)
    yield worker  # not given back after an exception: who knows what it was in the middle of
    with _lock:
        _idle.append((key, worker))
        del _idle[:-_KEPT]
