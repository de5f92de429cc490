"""`imdswatch probe`: ask for an IMDS as AWS tools do, and judge what answers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import click

from imdswatch.cli.codes import FOUND, SKIPPED
from imdswatch.cli.options import FAIL_ON, FORMATS, Day, Duration, deliverable
from imdswatch.cli.output import sink_of, undelivered
from imdswatch.cli.site import site_of
from imdswatch.errors import UsageError
from imdswatch.finding import STAGE_RANK, STAGES


@click.command(
    epilog="Examples: imdswatch probe | imdswatch probe --endpoint http://10.0.0.5:1338 | "
    "imdswatch probe --interface eth0.210 --repeat 60s --format ndjson"
)
@click.option(
    "--interface", "interfaces", multiple=True, metavar="IF", help="Ask over this (default: all up)."
)
@click.option("--endpoint", "endpoints", multiple=True, metavar="URL|@FILE", help="Ask this instead.")
@click.option("--timeout", type=Duration(), default="1s", show_default=True, help="For one question.")
@click.option("--repeat", type=Duration(), metavar="DURATION", help="Ask again and again; report changes.")
@click.option("--no-credentials", is_flag=True, help="Never ask for the credentials of a role.")
@click.option("--via-proxy", metavar="URL", help="Ask through this HTTP proxy, as botocore would.")
@click.option("--site", type=click.Path(path_type=Path), metavar="FILE", help="Accounts, responders (TOML).")
@click.option("--as-of", type=Day(), help="Day on which suppressions expire or not (default today, UTC).")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="Write here.")
@deliverable
@click.option("--show-suppressed", is_flag=True, help="List what the site file suppresses, too.")
@click.option("--fail-on", type=click.Choice(STAGES), metavar="STAGE", help=FAIL_ON)
@click.option("-q", "--quiet", is_flag=True, help="No warnings.")
@click.option("-v", "--verbose", is_flag=True, help="Show the trace of our own bugs.")
def probe(**options: Any) -> int:
    """Ask for the Instance Metadata Service as AWS tools do, and judge what answers.

    Says of each endpoint: absent, genuine, other-cloud, local-helper, impostor or undecided, with every reason, who
    answered and whose account it is. Exits with 1 for an impostor, with 3 where something could not be told.
    """
    from imdswatch.probe.plan import plan
    from imdswatch.probe.run import deliver
    from imdswatch.rule import load_rules

    rules = load_rules()
    site = site_of(options, rules)
    if options["repeat"] and options["form"] == "html":
        why = "a page has an end: --format ndjson -o FILE, and `imdswatch report FILE` at any time"
        raise UsageError("`--repeat` has no format `html`", help=why)
    planned = plan(options, rules, site)
    options["form"] = {"text": "verdicts"}.get(options["form"], options["form"])
    if planned.stale and not options["quiet"]:
        click.echo(f"warning: {planned.stale}", err=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how systemd ends a canary
    with sink_of(options, live=True) as sink:
        found, skipped = deliver(
            planned, options["repeat"], sink, STAGE_RANK[options["fail_on"] or STAGES[0]]
        )
    return FOUND if found else SKIPPED if skipped or undelivered(sink) else 0
