"""Run one command line: every error becomes one message and an exit code (DESIGN 6)."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys

import click

from imdswatch.cli.codes import BUG, WRONG
from imdswatch.cli.group import main
from imdswatch.cli.output import ReaderGone, visible
from imdswatch.errors import ImdswatchError


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
        click.echo(visible(shown.getvalue().rstrip("\n")), err=True)
        return WRONG
    except click.exceptions.Abort:
        return 128 + signal.SIGINT
    except ImdswatchError as error:
        click.echo(visible(f"error: {error}"), err=True)
        return WRONG
    except ReaderGone:
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        if "-v" in words or "--verbose" in words:
            import traceback

            from imdswatch.redact import redact

            click.echo(visible(redact(traceback.format_exc())), err=True)  # its message may quote a log
        click.echo(
            f"imdswatch has a bug: {type(error).__name__}. Run it with -v and tell us what it shows.",
            err=True,
        )
        return BUG


def run() -> None:
    """Entry point of the console script."""
    _hold_closed_streams()
    code = invoke()
    gc.freeze()  # the interpreter's last look for cycles would take 10 ms, for memory that is given back anyway
    sys.exit(code)


def _hold_closed_streams() -> None:
    """Stand in for standard streams that were closed, else the next file opened has their number and passes for them.

    What stands in for input cannot be read, and for output not written: both are told, not taken for an empty file.
    """
    for fd, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # the lowest number that is free (open(2))
