"""`imdswatch export`: content for a SIEM or sensor, printed or as a deployable tree."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from imdswatch.cli.options import Day
from imdswatch.cli.output import Output, handle_of, show, unwritable
from imdswatch.cli.shared import TEXT_OR_NDJSON
from imdswatch.cli.site import site_of
from imdswatch.errors import UsageError


@click.command(
    epilog="Examples: imdswatch export sentinel | imdswatch export elastic --language eql --format ndjson | "
    "imdswatch export splunk --site site.toml -o content/"
)
@click.argument("target")
@click.option("--schema", metavar="NAME", help="Only this schema of the target (default: all).")
@click.option("--list", "listing", is_flag=True, help="List the schemas and languages of the target.")
@click.option("--language", metavar="NAME", help="Query language, where the target has several.")
@click.option("--site", type=click.Path(path_type=Path), metavar="FILE", help="What this network is (TOML).")
@click.option("--rules", type=click.Path(path_type=Path), metavar="DIR", help="Rules over the built-in ones.")
@click.option("--schemas", type=click.Path(path_type=Path), metavar="DIR", help="Schemas over the built-in.")
@click.option("--as-of", type=Day(), help="Day on which suppressions expire or not (default today, UTC).")
@click.option("--format", "form", type=TEXT_OR_NDJSON, default="text", show_default=True)
@click.option("--explain", is_flag=True, help="Show what became of each clause, and what the schema lost.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write the deployable tree here."
)
@click.option("-q", "--quiet", is_flag=True, help="No warnings.")
@click.option("-v", "--verbose", is_flag=True, help="Show the trace of our own bugs.")
def export(target: str, **options: Any) -> int:
    """Turn the rules into content for a SIEM or sensor: splunk, qradar, sentinel, elastic, sigma, suricata.

    Queries printed hold the site inside themselves. With -o the files are ready to deploy, and the site lies where
    the SIEM keeps such lists.
    """
    from imdswatch.rule import load_rules
    from imdswatch.schema import load_schemas
    from imdswatch.siem import TARGETS, content_of, tree
    from imdswatch.siem.content import Request
    from imdswatch.siem.explain import show_content, show_list

    if target not in TARGETS:
        raise UsageError(f"there is no target `{target}`", help=f"one of: {', '.join(sorted(TARGETS))}")
    rules, known = load_rules(options["rules"]), load_schemas(options["schemas"])
    if options["listing"]:
        if options["output"] is not None or options["form"] != "text":
            raise UsageError("`--list` goes without -o and --format", help="it shows what can be exported")
        show(show_list(target, known))
        return 0
    as_of = options["as_of"] or datetime.now(UTC).date()
    site = site_of(options, rules)
    request = Request(rules, site, known, as_of, options["schema"], options["language"])
    content = content_of(target, request)
    if options["output"] is not None:
        _write_tree(options["output"], tree(content))
        return 0
    with handle_of(None) as handle:
        output = Output(handle)
        output.write(show_content(content, options["form"], explain=options["explain"]))
        output.flush()
    return 0


def _write_tree(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files of a deployable tree; nothing else in the folder is touched."""
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise unwritable(error, str(path)) from error
