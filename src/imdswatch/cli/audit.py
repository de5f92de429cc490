"""`imdswatch audit`: would AWS tools on this host, or on this root file system, ask an impostor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imdswatch.cli.codes import FOUND, SKIPPED
from imdswatch.cli.options import FAIL_ON_HOST, FORMATS
from imdswatch.cli.output import sink_of
from imdswatch.finding import STAGE_RANK, STAGES

_SINKS = {"text": "matrix_text", "ndjson": "matrix_ndjson", "sarif": "sarif", "junit": "junit"}
"""Formats with a sink of their own; the others show an audit as `report` does."""
_FORMATS = tuple(dict.fromkeys((*_SINKS, *FORMATS)))


@click.command(
    epilog="Examples: imdswatch audit | imdswatch audit --root /mnt/disk --user deploy | "
    "imdswatch audit --root image.tar --format sarif -o audit.sarif"
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default="/",
    show_default=True,
    metavar="DIR|TAR",
    help="Look at this tree: a mounted disk, an unpacked image, or what docker save wrote.",
)
@click.option("--user", default="", metavar="NAME", help="Only what runs as this user.")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="text", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="Write here.")
@click.option("--fail-on", type=click.Choice(STAGES), metavar="STAGE", help=FAIL_ON_HOST)
@click.option("-q", "--quiet", is_flag=True, help="No progress, no warnings.")
@click.option("-v", "--verbose", is_flag=True, help="Show the trace of our own bugs.")
def audit(**options: Any) -> int:
    """Say which AWS tools here would ask an impostor for metadata, and what closes it.

    Each tool, in each place where it is started, for each user: protected, asks only when something changes, asks, or
    unknown; with the file and line that decide, and the one change that helps. Nothing is sent and nothing is changed.
    Exits with 1 where anything asks, with 3 where something could not be told.
    """
    from imdswatch.finding import Skipped
    from imdswatch.host.audit import audit as run
    from imdswatch.matrix import ASKS, UNKNOWN, Audited, Cell, Check, Subject
    from imdswatch.report.statement import ASKED
    from imdswatch.report.stating import OfAudit

    asks = unclear = False
    options = {**options, "form": _SINKS.get(options["form"], options["form"]), "show_suppressed": False}
    counts = STAGE_RANK[options["fail_on"] or STAGES[0]] <= ASKED
    with sink_of(options) as opened:
        sink = opened if options["form"] in _SINKS.values() else OfAudit(opened)
        for result in run(options["root"], options["user"]):
            match result:
                case Subject():
                    sink.subject(result)
                case Cell():
                    asks, unclear = asks or result.state == ASKS, unclear or result.state == UNKNOWN
                    sink.cell(result)
                case Check():
                    sink.check(result)
                case Skipped():
                    unclear = True
                    sink.skipped(result)
                case Audited():
                    sink.close(result)
    return FOUND if asks and counts else SKIPPED if unclear else 0
