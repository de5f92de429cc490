"""The command line: the only module that prints, exits or reads the arguments.

Commands stay thin: they turn options into values, call one capability, and hand results to a sink. Exit codes
(DESIGN 6): 0 clean and complete, 1 findings, 2 wrong usage or configuration, 3 nothing found but something skipped,
70 our own bug. Heavy modules are imported where they are used, so that `--version` and `--help` stay instant.

Longer than most: all commands stand here, so that a reader finds them in one place; what their options hold is in
`options`.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from imdswatch import __version__
from imdswatch.errors import ImdswatchError, UsageError
from imdswatch.finding import STAGE_RANK, STAGES
from imdswatch.options import FAIL_ON, Day, Duration, Moment, Zone, common

if TYPE_CHECKING:
    from imdswatch.rule import Rule
    from imdswatch.scan.run import Scan
    from imdswatch.schema import Schemas
    from imdswatch.site import Site

FOUND, WRONG, SKIPPED, BUG = 1, 2, 3, 70


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: imdswatch scan /var/log/zeek /var/log/squid --site site.toml",
)
@click.version_option(__version__, prog_name="imdswatch", message="%(prog)s %(version)s")
def main() -> None:
    """Find IMDS impersonation outside AWS (bulletin AWS-2025-021).

    On EC2 the Instance Metadata Service answers at 169.254.169.254 and fd00:ec2::254. Outside EC2 nothing does,
    unless somebody on the network wants AWS tools to work in a stranger's account. imdswatch reads the logs that
    a network has and says which hosts asked, whether anything answered, and what to do.
    """


@main.command(
    epilog="Examples: imdswatch scan /var/log | zcat http.log.gz | imdswatch scan - | "
    "imdswatch scan logs --format ndjson -o findings.ndjson"
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH... [-]")
@common
@click.option("--schema", metavar="NAME", help="Read every record by this schema (else recognised).")
@click.option("--since", type=Moment(), help="Only events from this time on; those without a time count.")
@click.option("--until", type=Moment(), help="Only events up to this time.")
@click.option("--timezone", type=Zone(), default="UTC", help="Zone of times that name none (default UTC).")
@click.option("--as-of", type=Day(), help="Day on which suppressions expire or not (default today, UTC).")
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Processes (default: one for each core).")
@click.option("--each", is_flag=True, help="One finding an event, not one a victim and endpoint.")
@click.option(
    "--merge", is_flag=True, help="Read all captures as one, in the order of time (rotated, several sensors)."
)
@click.option("--engine", type=click.Choice(("auto", "local")), default="auto", help="Where to run (here).")
def scan(paths: tuple[str, ...], **options: Any) -> int:
    """Search logs and packet captures for IMDS use: files, folders, - for standard input; compressed or not.

    What a file is, is recognised by content. Findings come with the stage the impersonation reached, who asked,
    who answered, where it stands, and what to do next.
    """
    # Nothing in a scan makes reference cycles; the collector would walk all open incidents again and again.
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    run = _scan_of(paths, options)
    counted = skipped = 0
    threshold = STAGE_RANK[options["fail_on"] or STAGES[0]]
    from imdswatch.finding import Finding

    with _sink_of(options) as sink:
        for result in run.results():
            if isinstance(result, Finding):
                sink.finding(result)
                counted += result.suppressed_by is None and STAGE_RANK[result.stage] >= threshold
            else:
                sink.skipped(result)
                skipped += 1
        sink.close(run.summary)
    return FOUND if counted else SKIPPED if skipped else 0


def _scan_of(paths: tuple[str, ...], options: dict[str, Any]) -> Scan:
    from imdswatch.rule import load_rules
    from imdswatch.scan.judging import Window
    from imdswatch.scan.run import Scan
    from imdswatch.scan.work import Options
    from imdswatch.schema import load_schemas

    if options["output"] is not None:
        _refuse_to_overwrite(paths, options["output"])
    rules = load_rules(options["rules"])
    schemas = load_schemas(options["schemas"])
    if options["schema"] is not None and options["schema"] not in schemas.names:
        raise UsageError(f"there is no schema `{options['schema']}`", help="`imdswatch schemas` lists them")
    if None not in (options["since"], options["until"]) and options["since"] > options["until"]:
        raise UsageError("`--since` is later than `--until`", help="no event can lie between them")
    site = _site(options, rules)
    chosen = Options(
        rules=rules,
        site=site,
        schemas=schemas,
        schema=options["schema"],
        window=Window(options["since"], options["until"]),
        timezone=options["timezone"],
        jobs=options["jobs"] or len(os.sched_getaffinity(0)),
        each=options["each"],
        merge=options["merge"],
    )
    return Scan(paths, chosen, _progress(paths, options))


def _site(options: dict[str, Any], rules: Sequence[Rule]) -> Site:
    """Return the site that the options name, its warnings shown."""
    from imdswatch.site import Site, load_site

    as_of = options["as_of"] or datetime.now(UTC).date()
    site = load_site(options["site"], [r.slug for r in rules], as_of) if options["site"] else Site()
    if not options["quiet"]:
        for warning in site.warnings:
            click.echo(_visible(f"warning: {warning}"), err=True)
    return site


def _progress(paths: tuple[str, ...], options: dict[str, Any]) -> Callable[[int], None] | None:
    if options["quiet"] or sys.stderr is None or not sys.stderr.isatty():
        return None
    from imdswatch.report.progress import progress_bar

    return progress_bar(paths, sys.stderr, [sys.stdout])


@contextmanager
def _sink_of(options: dict[str, Any], live: bool = False) -> Iterator[Any]:
    from imdswatch.report import open_sink

    with _handle(options["output"]) as handle:
        terminal = handle.isatty()
        color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        width = os.get_terminal_size(handle.fileno()).columns if terminal else None
        output = _Output(handle, live)
        yield open_sink(
            options["form"],
            cast("TextIO", output),
            color=color,
            show_suppressed=options["show_suppressed"],
            width=width,
        )
        output.flush()


class _ReaderGone(Exception):
    """The reader of our output went away, as in `imdswatch … | head`: nothing is wrong."""


class _Output:
    """The handle that a sink writes to; an output that cannot be written is no bug of ours and no clean scan.

    `live`: what is written is seen at once. Raises `_ReaderGone` or `UsageError`. click would take a broken pipe
    for itself and exit with 1, our "found".
    """

    def __init__(self, handle: TextIO, live: bool = False) -> None:
        self._handle, self.encoding, self._live = handle, handle.encoding, live

    def write(self, text: str) -> int:
        with _writing(self._handle):
            written = self._handle.write(text)
            if self._live:
                self._handle.flush()
            return written

    def flush(self) -> None:
        with _writing(self._handle):
            self._handle.flush()


@contextmanager
def _writing(handle: TextIO) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # What is still buffered would be written once more at exit, and fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), handle.fileno())
        if isinstance(error, BrokenPipeError):
            raise _ReaderGone from None
        raise _unwritable(error) from error


def _print(text: str) -> None:
    if sys.stdout is not None:
        with _writing(sys.stdout):
            click.echo(text)


def _unwritable(error: OSError, file: str = "") -> UsageError:
    return UsageError(f"cannot write the output: {(error.strerror or str(error)).lower()}", file=file)


def _refuse_to_overwrite(paths: tuple[str, ...], output: Path) -> None:
    """Raise UsageError if the output is one of the files to be read: opening it would empty it."""
    for path in paths:
        if path != "-" and output.exists() and os.path.exists(path) and os.path.samefile(path, output):
            raise UsageError("the output would replace what is to be read", file=path)


@contextmanager
def _handle(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        if sys.stdout is None:
            raise UsageError("cannot write the output: standard output is closed")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
        yield sys.stdout
        return
    try:
        handle = output.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise _unwritable(error, str(output)) from error
    with handle:
        yield handle


@main.command(epilog="Examples: imdswatch rules | imdswatch rules imds-answered")
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
        _print(show_rules(loaded))
        return 0
    for rule in loaded:
        if rule.slug == slug:
            _print(show_rule(rule))
            return 0
    raise UsageError(f"there is no rule `{slug}`", help="`imdswatch rules` lists them")


@main.group(
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

        _print(show_schemas(ctx.obj))
    return 0


@schemas.command("show", epilog="Example: imdswatch schemas show zeek_http")
@click.argument("name")
@click.pass_obj
def schemas_show(known: Schemas, name: str) -> int:
    """Show one schema: where each field comes from, what it cannot carry, what switches on what."""
    from imdswatch.report.catalogue import show_schema

    if name not in known.names:
        raise UsageError(f"there is no schema `{name}`", help="`imdswatch schemas` lists them")
    _print(show_schema(known[name]))
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
    _print(show_detected(found))
    return 0 if found.schemas else SKIPPED


@main.command(
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
@click.option("--format", "form", type=click.Choice(("text", "ndjson")), default="text", show_default=True)
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
        _print(show_list(target, known))
        return 0
    as_of = options["as_of"] or datetime.now(UTC).date()
    site = _site(options, rules)
    request = Request(rules, site, known, as_of, options["schema"], options["language"])
    content = content_of(target, request)
    if options["output"] is not None:
        _write_tree(options["output"], tree(content))
        return 0
    with _handle(None) as handle:
        output = _Output(handle)
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
            raise _unwritable(error, str(path)) from error


@main.command(
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
@click.option("--format", "form", type=click.Choice(("text", "ndjson")), default="text", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="Write here.")
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
    site = _site(options, rules)
    planned = plan(options, rules, site)
    options["form"] = {"text": "verdicts"}.get(options["form"], options["form"])
    if planned.stale and not options["quiet"]:
        click.echo(f"warning: {planned.stale}", err=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how systemd ends a canary
    with _sink_of(options, live=True) as sink:
        found, skipped = deliver(
            planned, options["repeat"], sink, STAGE_RANK[options["fail_on"] or STAGES[0]]
        )
    return FOUND if found else SKIPPED if skipped else 0


def invoke(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; prints errors to stderr. The one place that catches all."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = main.main(args=words, prog_name="imdswatch", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return WRONG
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        click.echo(_visible(shown.getvalue().rstrip("\n")), err=True)
        return WRONG
    except click.exceptions.Abort:
        return 128 + signal.SIGINT
    except ImdswatchError as error:
        click.echo(_visible(f"error: {error}"), err=True)
        return WRONG
    except _ReaderGone:
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        if "-v" in words or "--verbose" in words:
            import traceback

            from imdswatch.redact import redact

            click.echo(_visible(redact(traceback.format_exc())), err=True)  # its message may quote a log
        click.echo(
            f"imdswatch has a bug: {type(error).__name__}. Run it with -v and tell us what it shows.",
            err=True,
        )
        return BUG


def _visible(message: str) -> str:
    """Return a message for the terminal: it may quote a file or an argument, and those may be anybody's."""
    from imdswatch.report.escape import visible

    return "\n".join(map(visible, message.split("\n")))


def run() -> None:
    """Entry point of the console script."""
    sys.exit(invoke())
