"""`imdswatch watch`: the same as `scan`, without an end."""

from __future__ import annotations

import gc
import json
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imdswatch.cli.codes import FOUND, SKIPPED
from imdswatch.cli.feeds import check, feeds_of, live_feeds, resume, state_folder
from imdswatch.cli.options import Day, Duration, Zone, deliverable
from imdswatch.cli.output import Counted, refuse_to_overwrite, show, sink_of, visible
from imdswatch.cli.shared import Form
from imdswatch.cli.site import site_of
from imdswatch.errors import UsageError
from imdswatch.finding import STAGES

if TYPE_CHECKING:
    from imdswatch.scan.work import Options
    from imdswatch.watch.loop import Wishes
    from imdswatch.watch.status import Status

_PAGE = (
    "a page has an end, a watch has none: --format ndjson -o FILE, and `imdswatch report FILE` at any time"
)
_FORMATS = Form(("text", "ndjson", "csv", "ocsf", "ecs"), {"html": _PAGE})


@click.command(
    epilog="Examples: imdswatch watch --interface eth0 --user nobody | "
    "imdswatch watch --follow /var/log/squid/access.log | "
    "imdswatch watch --follow /var/log --site site.toml --format ndjson -o findings.ndjson | "
    "imdswatch watch --status"
)
@click.option(
    "--interface", multiple=True, metavar="IF", help="A network interface: span port, trunk, own link."
)
@click.option("--all-http", is_flag=True, help="Look at every packet: proxies, NAT and any port; costs more.")
@click.option("--processes", is_flag=True, help="Name the process of this machine that asked.")
@click.option(
    "--user",
    metavar="NAME",
    help="Become this user once everything is open (root: who called sudo, else nobody).",
)
@click.option("--follow", multiple=True, metavar="PATH", help="A log, or a folder of logs, as they grow.")
@click.option(
    "--from-start", is_flag=True, help="Of a path that was not followed before, read what is there already."
)
@click.option("--schema", metavar="NAME", help="Read every record by this schema (else recognised).")
@click.option("--timezone", type=Zone(), default="UTC", help="Zone of times that name none (default UTC).")
@click.option(
    "--state", type=click.Path(path_type=Path), metavar="DIR", help="Where to remember over restarts."
)
@click.option(
    "--interval", type=Duration(), default="1h", show_default=True, help="Between summaries of a finding."
)
@click.option("--retention", type=Duration(), default="30d", show_default=True, help="Forget what is older.")
@click.option(
    "--max-findings", type=click.IntRange(100), default=100_000, show_default=True, help="To remember."
)
@click.option("--status", is_flag=True, help="Say how the watch with this state goes, and end.")
@click.option(
    "--metrics-listen", metavar="[HOST:]PORT", help="Serve Prometheus metrics here (HOST: 127.0.0.1)."
)
@click.option("--metrics-file", type=click.Path(path_type=Path), metavar="FILE", help="Write them here.")
@click.option("--site", type=click.Path(path_type=Path), metavar="FILE", help="What this network is (TOML).")
@click.option("--rules", type=click.Path(path_type=Path), metavar="DIR", help="Rules over the built-in ones.")
@click.option("--schemas", type=click.Path(path_type=Path), metavar="DIR", help="Schemas over the built-in.")
@click.option("--as-of", type=Day(), help="Day on which suppressions expire or not (default today, UTC).")
@click.option("--format", "form", type=_FORMATS, default="text", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Append here; may be rotated."
)
@deliverable
@click.option("--show-suppressed", is_flag=True, help="List what the site file suppresses, too.")
@click.option(
    "--fail-on",
    type=click.Choice(STAGES),
    metavar="STAGE",
    help="End with 1 if it told a finding of this stage or above.",
)
@click.option("-q", "--quiet", is_flag=True, help="No warnings.")
@click.option("-v", "--verbose", is_flag=True, help="Show the trace of our own bugs.")
def watch(**options: Any) -> int:
    """Watch interfaces, and logs as they grow.

    A finding is told when it is new, when it becomes graver, and once an interval. What was read and found is
    remembered over restarts, so nothing is lost and nothing is told under another name. SIGHUP loads site, rules
    and schemas anew; SIGTERM and SIGINT end the watch in good order, with exit code 0 unless --fail-on says more.
    """
    options["state"] = options["state"] or state_folder()
    if options["status"]:
        return _status(options)
    check(options)
    for written in filter(None, (options["output"], options["metrics_file"])):
        refuse_to_overwrite(options["follow"], written)
    from imdswatch.watch.loop import Outside, Settings, Watch, Wishes

    gc.set_threshold(100_000, 50, 1000)
    wishes = Wishes()
    with _signals(wishes):
        chosen = _options(options)
        from imdswatch.watch.judgement import Judgement
        from imdswatch.watch.ledger import Unwritten
        from imdswatch.watch.library import Library
        from imdswatch.watch.state import State

        judgement = Judgement(chosen)
        if not options["quiet"]:
            for slug in judgement.idle:
                _say(f"{slug} does not apply: the site file lists no expected accounts")
        _open_files()
        form = "lines" if options["form"] == "text" else options["form"]
        with (
            live_feeds(options, judgement, _nothing if options["quiet"] else _say) as live,
            _metrics(options) as status,
            sink_of({**options, "form": form}, live=True, append=True) as opened,
        ):
            sink = Counted(opened, options["fail_on"])
            state = State(options["state"])
            try:
                resume(live, state)
                library = Library(dict(state.logs()), forgotten=bool(state.set_aside))
                run = Watch(
                    [*live, *feeds_of(options, judgement, library)],
                    judgement,
                    library,
                    state,
                    sink,
                    Settings(options["interval"], options["retention"], options["max_findings"]),
                    wishes,
                    Outside(_say, lambda: _options(options), status),
                )
                summary = run.run()
                try:
                    sink.close(summary)
                except Unwritten as error:
                    _say(
                        f"the end could not be written: {error.reason}; what was not told waits in the state"
                    )
            finally:
                state.close()
    return FOUND if options["fail_on"] and sink.counted else 0


def _open_files() -> None:
    """Allow as many open files as the system lets us have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _options(options: dict[str, Any]) -> Options:
    """Load rules, schemas and site; raises what is wrong with them."""
    from imdswatch.rule import load_rules
    from imdswatch.scan.work import Options
    from imdswatch.schema import load_schemas

    rules, schemas = load_rules(options["rules"]), load_schemas(options["schemas"])
    if options["schema"] is not None and options["schema"] not in schemas.names:
        raise UsageError(f"there is no schema `{options['schema']}`", help="`imdswatch schemas` lists them")
    return Options(
        rules=rules,
        site=site_of(options, rules),
        schemas=schemas,
        schema=options["schema"],
        timezone=options["timezone"],
    )


def _nothing(text: str) -> None:
    """Say nothing: no warnings are wanted."""


def _say(text: str) -> None:
    click.echo(visible(f"imdswatch watch: {text}"), err=True)


@contextmanager
def _signals(wishes: Wishes) -> Iterator[None]:
    """Turn signals into wishes for as long as the block lasts."""

    def stop(number: int, frame: object) -> None:
        wishes.stop = True
        wishes.wake()

    def reload(number: int, frame: object) -> None:
        wishes.reload = True
        wishes.wake()

    meant = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    before = {number: signal.signal(number, handler) for number, handler in meant.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _metrics(options: dict[str, Any]) -> Iterator[Callable[[Status], None]]:
    """Yield what hands a status on to whoever wants metrics."""
    from imdswatch.watch.metrics import Server, exposition, write_file

    server = Server(*_address(options["metrics_listen"])) if options["metrics_listen"] else None
    if server is not None and not options["quiet"]:
        _say(f"http://{server.shown}/metrics is served, port {server.port}")
    path: Path | None = options["metrics_file"]
    complained = ""

    def tell(status: Status) -> None:
        nonlocal complained
        if server is None and path is None:
            return
        text = exposition(status)
        if server is not None:
            server.text = text.encode()
        if path is not None:
            try:
                write_file(path, text)
                complained = ""
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                if reason != complained:
                    complained = reason
                    _say(f"the metrics file cannot be written: {reason}")

    try:
        yield tell
    finally:
        if server is not None:
            server.close()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise UsageError(f"`{text}` is no address to listen on", help="write PORT, or HOST:PORT")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if host not in ("127.0.0.1", "::1", "localhost"):
        _say(f"metrics are served on {host}: everybody who reaches it can read them")
    return host, int(port)


def _status(options: dict[str, Any]) -> int:
    """Show how the watch with this state goes."""
    from imdswatch.watch.state import read_status
    from imdswatch.watch.status import Status
    from imdswatch.watch.status import show as shown

    values, held, running = read_status(options["state"])
    stages = {name: held.get(rank, 0) for rank, name in enumerate(STAGES)}
    code = 0 if running else SKIPPED
    if options["form"] == "ndjson":
        head = {"format": "imdswatch/1", "type": "status", "running": running}
        show(json.dumps({**head, **values, "findings": stages}))
        return code
    try:
        status = Status.of(values) if values else None
    except ValueError:
        status = None
    show(visible(shown(status, stages, running=running, now=time.time())))
    return code
