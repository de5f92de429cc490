"""Performs what `imdswatch lab run` was asked for, one after the other, and prints each as it ends."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from imdswatch.cli import transcript
from imdswatch.cli.codes import FOUND, SKIPPED
from imdswatch.cli.output import Output, handle_of, refuse_page_on_terminal, unwritable, visible
from imdswatch.errors import UsageError
from imdswatch.finding import STAGE_RANK, STAGES
from imdswatch.report.statement import Statement, counts_from

if TYPE_CHECKING:
    from imdswatch.lab.clients import Client
    from imdswatch.lab.enclosure import Enclosure
    from imdswatch.lab.scenario import Scenario


def rehearse(scenarios: Sequence[Scenario], clients: Sequence[Client], options: dict[str, Any]) -> int:
    """Play all scenarios with all clients in an enclosure, and return the exit code; raises UsageError, `Unsafe`.

    It forks: files are opened before, since the enclosure has a `/run` of its own.
    """
    from imdswatch.lab.enclosure import Unavailable, enter

    _refuse_one_file_for_both(options["keep"], options["output"])
    with ExitStack() as opened:
        keep = opened.enter_context(_open(options["keep"])) if options["keep"] is not None else None
        handle = opened.enter_context(handle_of(options["output"]))
        refuse_page_on_terminal(options["form"], handle)
        try:
            enclosure = enter()
        except Unavailable as error:
            click.echo(visible(f"cannot rehearse here: no namespaces ({error})"), err=True)
            click.echo("  help: as root, or where users may make namespaces (unshare -Urn)", err=True)
            if options["form"] != "text":  # a program that reads it is told in its own way
                telling = transcript.teller(options["form"], cast("TextIO", Output(handle, live=True)))
                for client in clients:
                    telling.missing(client, f"no namespaces can be made ({error})")
                telling.close(Counter(skipped=len(clients)), 0.0)
            return SKIPPED
        if isinstance(enclosure, int):
            return enclosure
        return _play(enclosure, scenarios, clients, options, cast("TextIO", Output(handle, live=True)), keep)


def _play(
    enclosure: Enclosure,
    scenarios: Sequence[Scenario],
    clients: Sequence[Client],
    options: dict[str, Any],
    out: TextIO,
    keep: RawIOBase | None,
) -> int:
    from imdswatch.lab.clients import Missing
    from imdswatch.lab.rehearse import perform, version
    from imdswatch.lab.sensor import HEADER

    start, results, failed = time.monotonic(), Counter[str](), 0
    telling = transcript.teller(options["form"], out)
    threshold = STAGE_RANK[options["fail_on"] or STAGES[0]]
    if keep is not None:
        _write(keep, HEADER)
    alone: set[str] = set()  # scenarios without a victim are played once, whoever the clients are
    for client in clients:
        told = version(enclosure, client, options["folder"])
        if isinstance(told, Missing):
            results["skipped"] += 1
            telling.missing(client, told.why)
            continue
        for scenario in scenarios:
            if scenario.id in alone:
                continue
            if why := scenario.why_not(client):
                telling.silent(scenario, client, why, alone=len(clients) == 1)
                continue
            if not scenario.asks:
                alone.add(scenario.id)
            performance = perform(enclosure, scenario, client, options["folder"])
            results["skipped" if performance.skipped else "passed" if performance.passed else "failed"] += 1
            rank = counts_from(Statement("performance", "", transcript.as_object(performance, told)))
            failed += rank is not None and rank >= threshold
            telling.performed(performance, told)
            if keep is not None:
                _write(keep, performance.capture)
    telling.close(results, time.monotonic() - start)
    out.flush()
    return FOUND if failed else SKIPPED if results["skipped"] or not results else 0


def _refuse_one_file_for_both(keep: Path | None, output: Path | None) -> None:
    if keep is not None and output is not None and keep.resolve() == output.resolve() != Path(os.devnull):
        raise UsageError("`--keep` and `--output` name the same file", file=str(output))


def _open(path: Path) -> RawIOBase:
    try:
        return path.open("wb", buffering=0)  # nothing is left to be written, and to fail, when it is closed
    except OSError as error:
        raise unwritable(error, str(path)) from error


def _write(keep: RawIOBase, octets: bytes) -> None:
    left = memoryview(octets)
    try:
        while left:
            left = left[keep.write(left) or 0 :]
    except OSError as error:
        raise unwritable(error) from error
