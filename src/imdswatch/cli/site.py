"""The site file that a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from imdswatch.cli.output import visible

if TYPE_CHECKING:
    from imdswatch.rule import Rule
    from imdswatch.site import Site


def site_of(options: dict[str, Any], rules: Sequence[Rule]) -> Site:
    """Return the site that the options name, its warnings shown."""
    from imdswatch.rule import built_in_slugs
    from imdswatch.site import Site, load_site

    as_of = options["as_of"] or datetime.now(UTC).date()
    known = sorted({*built_in_slugs(), *(rule.slug for rule in rules)})  # a disabled rule is no unknown one
    site = load_site(options["site"], known, as_of) if options["site"] else Site()
    if not options["quiet"]:
        for warning in site.warnings:
            click.echo(visible(f"warning: {warning}"), err=True)
    return site
