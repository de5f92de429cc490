"""`imdswatch harden`: make a host so that AWS tools on it ask no impostor; show it first, do it, take it back."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from imdswatch.cli.codes import FOUND, SKIPPED
from imdswatch.cli.options import FAIL_ON_HOST, FORMATS
from imdswatch.cli.output import Output, handle_of, sink_of
from imdswatch.errors import UsageError
from imdswatch.finding import STAGE_RANK, STAGES

BLOCKS = ("nft", "routes", "none")
EXPORTS = ("ansible", "shell", "dockerfile", "windows-registry", "windows-gpo")


@click.command(
    epilog="Examples: imdswatch harden | imdswatch harden --apply | imdswatch harden --revert | "
    "imdswatch harden --root /mnt/image --skip block-endpoint"
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default="/",
    show_default=True,
    metavar="DIR",
    help="The root of the host's files.",
)
@click.option("--apply", "applied", is_flag=True, help="Do it, not only show it.")
@click.option("--revert", "reverted", is_flag=True, help="Take back all that was done, exactly.")
@click.option(
    "--export", "exported", type=click.Choice(EXPORTS), help="Print it for other tools; looks at no host."
)
@click.option("--only", multiple=True, metavar="SLUG", help="Only this remedy; may be given again.")
@click.option("--skip", multiple=True, metavar="SLUG", help="Not this remedy; may be given again.")
@click.option(
    "--block", type=click.Choice(BLOCKS), help="How to block the network (default: what the host has)."
)
@click.option(
    "--force", is_flag=True, help="Also on EC2; with --revert: also over what others changed since."
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="Write here.")
@click.option("--fail-on", type=click.Choice(STAGES), metavar="STAGE", help=FAIL_ON_HOST)
@click.option("-q", "--quiet", is_flag=True, help="No notes.")
@click.option("-v", "--verbose", is_flag=True, help="Show the trace of our own bugs.")
def harden(**options: Any) -> int:
    """Show what would keep AWS tools on this host from asking an impostor, as a diff; with --apply, do it.

    Sets AWS_EC2_METADATA_DISABLED where services and logins read it, keeps SSM Agent and cloud-init from an EC2
    identity, lets nothing for the two addresses go to a proxy, and blocks them on the network. Exits with 1 if changes
    are needed or something would ask all the same, which it names with what to do by hand; with 0 if nothing asks. What
    stood there before is kept in /var/lib/imdswatch/harden until --revert.
    """
    if options["applied"] and options["reverted"]:
        raise UsageError("`--apply` and `--revert` exclude each other")
    if options["exported"]:
        return _export(options)
    if options["reverted"] and (options["only"] or options["skip"] or options["block"]):
        raise UsageError("`--revert` takes back everything", help="leave out --only, --skip and --block")
    options["form"] = {"text": "edits"}.get(options["form"], options["form"])
    options["show_suppressed"] = False
    return _revert(options) if options["reverted"] else _harden(options)


def _harden(options: dict[str, Any]) -> int:
    from imdswatch.finding import Summary
    from imdswatch.host.catalogue import catalogue, chosen, wanted
    from imdswatch.host.hardening import hardened
    from imdswatch.report.statement import ASKED

    started = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was begun is taken back before the end
    root, applied = options["root"], options["applied"]
    known = catalogue()
    remedies = chosen(known, options["only"], options["skip"])
    on_ec2 = _on_ec2(root)
    if on_ec2 and applied and not options["force"]:
        raise UsageError(
            "this is an EC2 instance: its own tools need the metadata service that this would cut off",
            help="`--force` does it all the same; the EC2 API can switch the service off for the instance",
        )
    with _sink(options) as sink:  # an output that cannot be opened must not come after the changes
        done = hardened(
            root,
            known,
            remedies,
            options["block"],
            apply=applied,
            on_ec2=on_ec2,
            wanted=partial(wanted, known, options["only"], options["skip"], options["block"]),
        )
        state = "applied" if applied else "needed"
        for edit in done.edits:
            sink.edit(edit, state)
        for command in done.commands:
            sink.command(command, state)
        for note in () if options["quiet"] else done.notes:
            sink.note(note)
        for left in done.left:
            sink.left(left)
        for skipped in done.skipped:
            sink.skipped(skipped)
        sink.close(
            Summary(
                sources=done.looked,
                findings=len(done.edits),
                skipped=len(done.skipped),
                seconds=time.monotonic() - started,
            )
        )
    found = bool((done.edits or done.commands) and not applied) or bool(done.left)
    found = found and STAGE_RANK[options["fail_on"] or STAGES[0]] <= ASKED
    return FOUND if found else SKIPPED if done.skipped else 0


def _export(options: dict[str, Any]) -> int:
    from imdswatch.host.catalogue import catalogue, chosen
    from imdswatch.host.export import export

    if options["applied"] or options["reverted"] or options["form"] != "text":
        raise UsageError("`--export` goes without --apply, --revert and --format")
    known = catalogue()
    remedies = chosen(known, options["only"], options["skip"])
    with handle_of(options["output"]) as handle:
        output = Output(handle)
        output.write(export(options["exported"], known, remedies, options["block"]))
        output.flush()
    return 0


def _revert(options: dict[str, Any]) -> int:
    from imdswatch.finding import Summary
    from imdswatch.host.hardening import reverted

    started = time.monotonic()
    with _sink(options) as sink:
        done = reverted(options["root"], options["force"])
        for path in done.paths:
            sink.reverted(path, "reverted", "")
        for path, why in done.left.items():
            sink.reverted(path, "left-alone", why)
        sink.close(
            Summary(sources=len(done.paths), skipped=len(done.left), seconds=time.monotonic() - started)
        )
    return SKIPPED if done.left else 0


@contextmanager
def _sink(options: dict[str, Any]) -> Iterator[Any]:
    """Open the sink of the format: `edits` for a person, else statements that name their host."""
    from imdswatch.host.hardening import name_of
    from imdswatch.report.stating import OfHardening

    with sink_of(options) as sink:
        yield sink if options["form"] == "edits" else OfHardening(sink, name_of(options["root"]))


def _on_ec2(root: Path) -> bool:
    from imdswatch.probe.machine import machine

    return machine(frozenset(), root).is_amazon is True
