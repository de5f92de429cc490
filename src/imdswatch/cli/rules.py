"""`imdswatch rules`: list the rules, or show one."""

from __future__ import annotations

from pathlib import Path

import click

from imdswatch.cli.output import show
from imdswatch.errors import UsageError


@click.command(epilog="Examples: imdswatch rules | imdswatch rules imds-answered")
@click.argument("slug", required=False)
@click.option(
    "--rules", "overlay", type=click.Path(path_type=Path), metavar="DIR", help="Rules over the built-in ones."
)
def rules(slug: str | None, overlay: Path | None) -> int:
    """List the rules, or show one: what it means, what it cannot see, its Sigma text."""
    from imdswatch.report.catalogue import show_rule, show_rules
    from imdswatch.rule import load_rules

    loaded = load_rules(overlay)
    if slug is None:
        show(show_rules(loaded))
        return 0
    for rule in loaded:
        if rule.slug == slug:
            show(show_rule(rule))
            return 0
    raise UsageError(f"there is no rule `{slug}`", help="`imdswatch rules` lists them")
