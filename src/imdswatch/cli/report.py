"""`imdswatch report`: findings files of any command become one report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imdswatch.cli.codes import FOUND, SKIPPED
from imdswatch.cli.options import FAIL_ON, FORMATS
from imdswatch.cli.output import refuse_to_overwrite, sink_of
from imdswatch.finding import STAGE_RANK, STAGES


@click.command(
    epilog="Examples: imdswatch report findings.ndjson -o report.html | "
    "imdswatch report hosts/ probe.ndjson.gz -o report.html | "
    "cat *.ndjson | imdswatch report - --format text"
)
@click.argument("findings", nargs=-1, required=True, metavar="FINDINGS... [-]")
@click.option("--format", "form", type=click.Choice(FORMATS), default="html", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="Write here.")
@click.option("--show-suppressed", is_flag=True, help="List what the site file suppressed, too.")
@click.option("--fail-on", type=click.Choice(STAGES), metavar="STAGE", help=FAIL_ON)
@click.option("-q", "--quiet", is_flag=True, help="No warnings.")
@click.option("-v", "--verbose", is_flag=True, help="Show the trace of our own bugs.")
def report(findings: tuple[str, ...], **options: Any) -> int:
    """Join what any command wrote into one report: a page for people, or any other format.

    FINDINGS are what --format ndjson wrote: files, folders, - for standard input; compressed or not, of any number of
    hosts. The same incident in several files is one finding. Exits with 1 if there are findings, tools that ask,
    changes that are needed or alarms that did not ring, with 3 if there are none but something could not be read.
    """
    from imdswatch.report.gather import gather
    from imdswatch.report.join import deliver

    refuse_to_overwrite(findings, options["output"])
    threshold = STAGE_RANK[options["fail_on"] or STAGES[0]]
    with sink_of(options) as sink:
        found, skipped = deliver(gather(findings, options["output"]), sink, threshold)
    return FOUND if found else SKIPPED if skipped else 0
