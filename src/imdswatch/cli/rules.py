"""`imdswatch rules`: list the rules, or show one."""

from __future__ import annotations

from pathlib import Path

import click

from imdswatch.cli.output import write
from imdswatch.cli.shared import TEXT_OR_NDJSON
from imdswatch.errors import UsageError


@click.command(epilog="Examples: imdswatch rules list | imdswatch rules show imds-answered")
@click.argument("words", nargs=-1, metavar="[list | [show] SLUG]")
@click.option(
    "--rules", "overlay", type=click.Path(path_type=Path), metavar="DIR", help="Rules over the built-in ones."
)
@click.option("--format", "form", type=TEXT_OR_NDJSON, default="text", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="Write here.")
def rules(words: tuple[str, ...], overlay: Path | None, form: str, output: Path | None) -> int:
    """List the rules, or show one: what it means, what it cannot see, its Sigma text."""
    from imdswatch.report import catalogue, catalogue_ndjson
    from imdswatch.rule import load_rules

    loaded = load_rules(overlay)
    slug = words[-1] if words else "list"
    if words[:-1] not in ((), ("show",)) or slug == "show":
        raise UsageError(
            f"`{' '.join(words)}` is neither `list` nor one rule", help="`imdswatch rules` lists them"
        )
    if slug == "list" and len(words) < 2:
        write(catalogue_ndjson.rules(loaded) if form == "ndjson" else catalogue.show_rules(loaded), output)
        return 0
    for rule in loaded:
        if rule.slug == slug:
            write(catalogue_ndjson.rule(rule) if form == "ndjson" else catalogue.show_rule(rule), output)
            return 0
    raise UsageError(f"there is no rule `{slug}`", help="`imdswatch rules` lists them")
