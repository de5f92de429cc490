"""Where results go: standard output or a file, and what happens when it cannot be written."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

import click

from imdswatch.errors import UsageError
from imdswatch.finding import STAGE_RANK, STAGES, Finding


@contextmanager
def sink_of(options: dict[str, Any], live: bool = False, *, append: bool = False) -> Iterator[Any]:
    """Open the sink that the options name, for as long as the block lasts; `live`: what is written is seen at once.

    `append`: for a command without an end. A file is added to, and may be rotated meanwhile; the program behind a pipe
    may stop to read. What cannot be written is `Unwritten`, and may be told again.
    """
    from imdswatch.report import open_sink

    with handle_of(options["output"], append=append) as handle:
        terminal = handle.isatty()
        refuse_page_on_terminal(options["form"], handle)
        color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        width = os.get_terminal_size(handle.fileno()).columns if terminal else None
        output = Output(handle, live)
        sink = open_sink(
            options["form"],
            cast("TextIO", output),
            color=color,
            show_suppressed=options["show_suppressed"],
            width=width,
        )
        if options.get("spool") and not options["deliver"]:
            raise UsageError(
                "`--spool` without `--deliver`", help="name the receiver whose results wait there"
            )
        if options.get("deliver"):
            from imdswatch.cli.deliver import delivering

            with delivering(options, sink, live) as sink:
                yield sink
        else:
            yield sink
        output.flush()


def refuse_page_on_terminal(form: str, handle: TextIO) -> None:
    """Raise UsageError where nobody could read what is written."""
    if form == "html" and handle.isatty():
        raise UsageError("a page is of no use on a terminal", help="write it to a file: -o report.html")


def undelivered(sink: Any) -> int:
    """Return how many receivers of `--deliver` did not get everything; known once the sink is closed."""
    return int(getattr(sink, "undelivered", 0))


class Counted:
    """A sink that counts findings of a stage or above which nothing suppresses; the sink below it takes everything."""

    def __init__(self, sink: Any, stage: str | None) -> None:
        self._sink, self._from, self.counted = sink, STAGE_RANK[stage or STAGES[0]], 0

    def finding(self, finding: Finding) -> None:
        """Hand a finding on, and count it."""
        self._sink.finding(finding)
        self.counted += finding.suppressed_by is None and STAGE_RANK[finding.stage] >= self._from

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)


class ReaderGone(Exception):
    """The reader of our output went away, as in `imdswatch … | head`: nothing is wrong."""


class Output:
    """The handle that a sink writes to; an output that cannot be written is no bug of ours and no clean scan.

    `live`: what is written is seen at once. Raises `ReaderGone` or `UsageError`. click would take a broken pipe
    for itself and exit with 1, our "found".
    """

    def __init__(self, handle: TextIO, live: bool = False) -> None:
        self._handle, self.encoding, self._live = handle, handle.encoding, live

    def write(self, text: str) -> int:
        """Write, and return how many characters that were."""
        try:  # not `_writing`, which takes as long as the writing: findings come by the ten thousand
            written = self._handle.write(text)
            if self._live:
                self._handle.flush()
            return written
        except OSError as error:
            raise _unwritten(self._handle, error) from error

    def flush(self) -> None:
        """Hand on what is buffered."""
        with _writing(self._handle):
            self._handle.flush()


@contextmanager
def _writing(handle: TextIO) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritten(handle, error) from error


def _unwritten(handle: TextIO, error: OSError) -> Exception:
    """Return what becomes of a handle that cannot be written to, and write no more to it."""
    # What is still buffered would be written once more at exit, and fail once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), handle.fileno())
    return ReaderGone() if isinstance(error, BrokenPipeError) else unwritable(error)


def show(text: str) -> None:
    """Print a text to standard output, if there is one."""
    if sys.stdout is not None:
        with _writing(sys.stdout):
            click.echo(text)


def write(text: str, output: Path | None) -> None:
    """Write a text that ends in a new line to a file, or to standard output where none is named."""
    with handle_of(output) as handle:
        out = Output(handle)
        out.write(text if text.endswith("\n") or not text else f"{text}\n")
        out.flush()


def unwritable(error: OSError, file: str = "") -> UsageError:
    """Return the error that says why an output cannot be written."""
    return UsageError(f"cannot write the output: {(error.strerror or str(error)).lower()}", file=file)


@contextmanager
def handle_of(output: Path | None, *, append: bool = False) -> Iterator[TextIO]:
    """Open the output, or standard output where none is named; raises UsageError. `append`: see `sink_of`."""
    if output is None:
        if sys.stdout is None:
            raise UsageError("cannot write the output: standard output is closed")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
        if append:
            from imdswatch.cli.piped import Piped, is_read_by_a_program

            if is_read_by_a_program(sys.stdout.fileno()):
                yield cast("TextIO", Piped(sys.stdout.fileno()))
                return
        yield sys.stdout
        return
    if append:
        from imdswatch.cli.appended import Appended

        with closing(Appended(output)) as appended:
            yield cast("TextIO", appended)
        return
    try:
        handle = output.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise unwritable(error, str(output)) from error
    with handle:
        yield handle


def refuse_to_overwrite(paths: Sequence[str], output: Path | None) -> None:
    """Raise UsageError if the output is one of the files to be read: opening it would empty it."""
    if output is None or not output.exists():
        return
    for path in paths:
        if path != "-" and os.path.exists(path) and os.path.samefile(path, output):
            raise UsageError("the output would replace what is to be read", file=path)


def visible(message: str) -> str:
    """Return a message for the terminal: it may quote a file or an argument, and those may be anybody's."""
    from imdswatch.report.escape import visible

    return "\n".join(map(visible, message.split("\n")))
