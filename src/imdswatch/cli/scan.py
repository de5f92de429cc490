"""`imdswatch scan`: options become a scan, results go to a sink, what was found becomes the exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

import click

from imdswatch.cli.codes import FOUND, SKIPPED
from imdswatch.cli.options import Day, Moment, Zone, common, deliverable
from imdswatch.cli.output import refuse_to_overwrite, sink_of, undelivered
from imdswatch.cli.site import site_of
from imdswatch.errors import UsageError
from imdswatch.finding import STAGE_RANK, STAGES

if TYPE_CHECKING:
    from imdswatch.scan.run import Cluster, Scan


@click.command(
    epilog="Examples: imdswatch scan /var/log | zcat http.log.gz | imdswatch scan - | "
    "imdswatch scan logs --format ndjson -o findings.ndjson"
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH... [-]")
@common
@deliverable
@click.option("--schema", metavar="NAME", help="Read every record by this schema (else recognised).")
@click.option("--since", type=Moment(), help="Only events from this time on; those without a time count.")
@click.option("--until", type=Moment(), help="Only events up to this time.")
@click.option("--timezone", type=Zone(), default="UTC", help="Zone of times that name none (default UTC).")
@click.option("--as-of", type=Day(), help="Day on which suppressions expire or not (default today, UTC).")
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Processes (default: one for each core).")
@click.option("--each", is_flag=True, help="One finding an event, not one a victim and endpoint.")
@click.option(
    "--merge", is_flag=True, help="Read all captures as one, in the order of time (rotated, several sensors)."
)
@click.option(
    "--engine",
    type=click.Choice(("auto", "local", "spark")),
    default="auto",
    help="Where to run (default here).",
)
@click.option("--master", metavar="URL", help="Classic Spark, such as spark://host:7077, yarn or local[4].")
@click.option("--remote", metavar="URL", help="A Spark Connect server, such as sc://host:15002.")
def scan(paths: tuple[str, ...], **options: Any) -> int:
    """Search logs and packet captures for IMDS use: files, folders, - for standard input; compressed or not.

    What a file is, is recognised by content. Findings come with the stage the impersonation reached, who asked,
    who answered, where it stands, and what to do next.
    """
    # Nothing in a scan makes reference cycles; the collector would walk all open incidents again and again.
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    run = _scan_of(paths, options)
    counted = skipped = 0
    threshold = STAGE_RANK[options["fail_on"] or STAGES[0]]
    from imdswatch.finding import Finding

    with sink_of(options) as sink:
        for result in run.results():
            if isinstance(result, Finding):
                sink.finding(result)
                counted += result.suppressed_by is None and STAGE_RANK[result.stage] >= threshold
            else:
                sink.skipped(result)
                skipped += 1
        sink.close(run.summary)
        skipped += undelivered(sink)
    return FOUND if counted else SKIPPED if skipped else 0


def _scan_of(paths: tuple[str, ...], options: dict[str, Any]) -> Scan:
    from imdswatch.rule import load_rules
    from imdswatch.scan.judging import Window
    from imdswatch.scan.run import Scan
    from imdswatch.scan.work import Options
    from imdswatch.schema import load_schemas

    refuse_to_overwrite(paths, options["output"])
    rules = load_rules(options["rules"])
    schemas = load_schemas(options["schemas"])
    if options["schema"] is not None and options["schema"] not in schemas.names:
        raise UsageError(f"there is no schema `{options['schema']}`", help="`imdswatch schemas` lists them")
    zone = options["timezone"]
    since, until = _epoch(options["since"], zone), _epoch(options["until"], zone)
    if since is not None and until is not None and since > until:
        raise UsageError("`--since` is later than `--until`", help="no event can lie between them")
    site = site_of(options, rules)
    cluster = _cluster_of(options)
    chosen = Options(
        rules=rules,
        site=site,
        schemas=schemas,
        schema=options["schema"],
        window=Window(since, until),
        timezone=zone,
        jobs=max(2, options["jobs"] or 0) if cluster else options["jobs"] or len(os.sched_getaffinity(0)),
        each=options["each"],
        merge=options["merge"],
    )
    return Scan(paths, chosen, _progress(paths, options), cluster)


def _epoch(moment: datetime | None, zone: tzinfo) -> float | None:
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def _cluster_of(options: dict[str, Any]) -> Cluster | None:
    """Return the cluster that the options name; raises UsageError where they make no sense or nothing answers."""
    master, remote = options["master"], options["remote"]
    if options["engine"] != "spark":
        if master or remote:
            raise UsageError("`--master` and `--remote` go with `--engine spark`")
        return None
    if bool(master) == bool(remote):
        raise UsageError("`--engine spark` needs `--master URL` or `--remote sc://…`, one of them")
    from imdswatch.scan.spark import SparkCluster, connect

    return SparkCluster(connect(master, remote))


def _progress(paths: tuple[str, ...], options: dict[str, Any]) -> Callable[[int], None] | None:
    if options["quiet"] or sys.stderr is None or not sys.stderr.isatty():
        return None
    from imdswatch.report.progress import progress_bar

    return progress_bar(paths, sys.stderr, [sys.stdout])
