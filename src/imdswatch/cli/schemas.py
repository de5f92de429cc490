"""`imdswatch schemas`: list the log layouts, show one, or say what a file is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imdswatch.cli.codes import SKIPPED
from imdswatch.cli.output import show
from imdswatch.errors import UsageError

if TYPE_CHECKING:
    from imdswatch.schema import Schemas


@click.group(
    invoke_without_command=True, epilog="Examples: imdswatch schemas | imdswatch schemas detect access.log"
)
@click.option(
    "--schemas", "overlay", type=click.Path(path_type=Path), metavar="DIR", help="Schemas over the built-in."
)
@click.pass_context
def schemas(ctx: click.Context, overlay: Path | None) -> int:
    """List the log layouts that are known, show one, or say what a file is."""
    from imdswatch.schema import load_schemas

    ctx.obj = load_schemas(overlay)
    if ctx.invoked_subcommand is None:
        from imdswatch.report.catalogue import show_schemas

        show(show_schemas(ctx.obj))
    return 0


@schemas.command("show", epilog="Example: imdswatch schemas show zeek_http")
@click.argument("name")
@click.pass_obj
def schemas_show(known: Schemas, name: str) -> int:
    """Show one schema: where each field comes from, what it cannot carry, what switches on what."""
    from imdswatch.report.catalogue import show_schema

    if name not in known.names:
        raise UsageError(f"there is no schema `{name}`", help="`imdswatch schemas` lists them")
    show(show_schema(known[name]))
    return 0


@schemas.command("detect", epilog="Example: imdswatch schemas detect /var/log/squid/access.log")
@click.argument("file")
@click.option(
    "--rules", "overlay", type=click.Path(path_type=Path), metavar="DIR", help="Rules over the built-in ones."
)
@click.pass_obj
def schemas_detect(known: Schemas, file: str, overlay: Path | None) -> int:
    """Say what a file is, and which rules it can and cannot ever fire, and why."""
    from imdswatch.report.catalogue import show_detected
    from imdswatch.rule import load_rules
    from imdswatch.scan.detect import detect

    found = detect(file, known, load_rules(overlay))
    show(show_detected(found))
    return 0 if found.schemas else SKIPPED
