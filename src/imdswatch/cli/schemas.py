"""`imdswatch schemas`: list the log layouts, show one, or say what a file is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from imdswatch.cli.codes import SKIPPED
from imdswatch.cli.output import refuse_to_overwrite, write
from imdswatch.cli.shared import TEXT_OR_NDJSON
from imdswatch.errors import UsageError


def _written(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that say which schemas, how and where."""
    for option in reversed(
        (
            click.option(
                "--schemas",
                "overlay",
                type=click.Path(path_type=Path),
                metavar="DIR",
                help="Schemas over the built-in.",
            ),
            click.option("--format", "form", type=TEXT_OR_NDJSON, default="text", show_default=True),
            click.option(
                "-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="Write here."
            ),
        )
    ):
        command = option(command)
    return command


@click.group(
    invoke_without_command=True, epilog="Examples: imdswatch schemas | imdswatch schemas detect access.log"
)
@_written
@click.pass_context
def schemas(ctx: click.Context, /, **options: Any) -> int:
    """List the log layouts that are known, show one, or say what a file is."""
    if ctx.invoked_subcommand is not None:
        given = {name: value for name, value in options.items() if value is not None}
        ctx.default_map = dict.fromkeys(schemas.commands, given)  # `schemas --schemas DIR show NAME`
        return 0
    return _list(**options)


def _list(overlay: Path | None, form: str, output: Path | None) -> int:
    from imdswatch.report import catalogue, catalogue_ndjson
    from imdswatch.schema import load_schemas

    known = load_schemas(overlay)
    write(catalogue_ndjson.schemas(known) if form == "ndjson" else catalogue.show_schemas(known), output)
    return 0


@schemas.command("list", epilog="Example: imdswatch schemas list --format ndjson")
@_written
def schemas_list(**options: Any) -> int:
    """List the log layouts, as `imdswatch schemas` alone does."""
    return _list(**options)


@schemas.command("show", epilog="Example: imdswatch schemas show zeek_http")
@click.argument("name")
@_written
def schemas_show(name: str, overlay: Path | None, form: str, output: Path | None) -> int:
    """Show one schema: where each field comes from, what it cannot carry, what switches on what."""
    from imdswatch.report import catalogue, catalogue_ndjson
    from imdswatch.schema import load_schemas

    known = load_schemas(overlay)
    if name not in known.names:
        raise UsageError(f"there is no schema `{name}`", help="`imdswatch schemas` lists them")
    found = known[name]
    write(catalogue_ndjson.schema(found) if form == "ndjson" else catalogue.show_schema(found), output)
    return 0


@schemas.command("detect", epilog="Example: imdswatch schemas detect /var/log/squid/access.log")
@click.argument("file")
@click.option("--rules", type=click.Path(path_type=Path), metavar="DIR", help="Rules over the built-in ones.")
@_written
def schemas_detect(
    file: str, rules: Path | None, overlay: Path | None, form: str, output: Path | None
) -> int:
    """Say what a file is, and which rules it can and cannot ever fire, and why."""
    from imdswatch.report import catalogue, catalogue_ndjson
    from imdswatch.rule import load_rules
    from imdswatch.scan.detect import detect
    from imdswatch.schema import load_schemas

    refuse_to_overwrite([file], output)
    found = detect(file, load_schemas(overlay), load_rules(rules))
    write(catalogue_ndjson.detected(found) if form == "ndjson" else catalogue.show_detected(found), output)
    return 0 if found.schemas else SKIPPED
