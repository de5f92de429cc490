"""Writes the manual page docs/man/imdswatch.1 from the commands themselves: what `--help` says, as man(7) wants it.

`page` is pure and returns the text; `docs/generate.py` writes it. Texts are escaped for troff: a backslash, a leading
dot or quote would be a command, and a bare hyphen would be set as another character than the one that is typed.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import click

from imdswatch import __version__
from imdswatch.cli import main

# A command remembers its help option, by the names that the first context knows; --help has both.
_SHOWN: dict[str, Any] = main.context_settings
_CODES = (
    ("0", "Clean and complete; also where everything was suppressed."),
    ("1", "Something was found. --fail-on decides from which stage on that counts."),
    ("2", "Wrong usage, or a mistake in a site, rule or schema file."),
    ("3", "Nothing was found, but something could not be looked at, or could not be delivered."),
    ("70", "A bug of imdswatch: one line; -v shows the trace."),
)
_VARIABLES = (
    ("NO_COLOR", "Any value: no colours (no-color.org)."),
    ("_IMDSWATCH_COMPLETE", "Set by shell completion; see imdswatch completion."),
)


def page() -> str:
    """Return the manual page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    context = click.Context(main, info_name="imdswatch", **_SHOWN)
    yield '.\\" Made by docs/generate.py (make docs) from the commands. Do not edit.'
    yield f'.TH IMDSWATCH 1 "" "imdswatch {_text(__version__)}" "User Commands"'
    yield from (".SH NAME", f"imdswatch \\- {_text(_first(main)).rstrip('.')}")
    yield from (".SH SYNOPSIS", ".B imdswatch", ".I COMMAND", "[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...")
    yield ".SH DESCRIPTION"
    yield from _paragraphs(main.help or "")
    yield ".SH COMMANDS"
    yield from _commands(main, context)
    yield ".SH EXIT STATUS"
    yield from (line for code, what in _CODES for line in (".TP", f".B {code}", *_wrapped(what)))
    yield ".SH ENVIRONMENT"
    yield from (line for name, what in _VARIABLES for line in (".TP", f".B {_text(name)}", _text(what)))
    yield from (".SH SEE ALSO", "The bulletin that imdswatch answers:")
    yield from (
        ".UR https://aws.amazon.com/security/security-bulletins/AWS-2025-021/",
        "AWS\\-2025\\-021",
        ".UE .",
    )


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, context, name, **_SHOWN)
        usage = " ".join(command.collect_usage_pieces(inner))
        yield from (f".SS {_text(inner.command_path)} {_text(usage)}",)
        yield from _paragraphs(command.help or "")
        for parameter in command.get_params(inner):
            record = parameter.get_help_record(inner)
            if record is not None and record[1] and "--help" not in record[0]:
                yield from (".TP", f".B {_text(record[0])}", *_wrapped(record[1]))
        if command.epilog:
            yield from (".PP", *_paragraphs(command.epilog))
        if isinstance(command, click.Group):
            yield from _commands(command, inner)


def _first(command: click.Command) -> str:
    return (command.help or "").strip().split("\n\n")[0].replace("\n", " ")


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip().replace("\b", ""))):
        yield from (*([".PP"] if number else []), *_wrapped(paragraph))


def _wrapped(text: str) -> Iterator[str]:
    """Yield a text in lines as short as man pages have them; none of them begins like a command of troff."""
    for line in textwrap.wrap(_text(text), 78, break_long_words=False, break_on_hyphens=False):
        yield f"\\&{line}" if line.startswith((".", "'")) else line


def _text(text: str) -> str:
    """Return a text on one line that troff sets as it stands."""
    plain = " ".join(text.split()).replace("\\", "\\(rs").replace("-", "\\-").replace("…", "...")
    plain = plain.replace("^", "\\(ha").replace("~", "\\(ti").replace("`", "\\(ga").replace("→", "\\(->")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain
