"""The options that all commands share, and the reason where one has no meaning: it is refused, never ignored.

A command declares those that mean something to it. `complete` adds the rest, hidden: what only leaves something out
(`-q`, `-v`, `--show-suppressed`) is accepted, as there is nothing to leave out; an option whose value would be lost
ends with exit code 2 and the reason: nobody may believe that a site was heeded where none is. docs/commands.md has the
table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from imdswatch import __version__
from imdswatch.cli.options import FORMATS
from imdswatch.errors import UsageError

SHARED: Mapping[str, tuple[str, ...]] = {
    "site": ("--site",),
    "rules": ("--rules",),
    "schemas": ("--schemas",),
    "form": ("--format",),
    "output": ("-o", "--output"),
    "fail_on": ("--fail-on",),
    "show_suppressed": ("--show-suppressed",),
    "quiet": ("-q", "--quiet"),
    "verbose": ("-v", "--verbose"),  # `invoke` looks for it
    "version": ("--version",),
}
"""Name of a shared option and how it is written."""
_FLAGS = ("show_suppressed", "quiet", "verbose")

_OF_HOST = {
    "site": "it looks at a host, not at what is on the network: a site file has nothing to say about that",
    "rules": "rules judge events of logs and captures, and there are none here",
    "schemas": "schemas read logs, and none are read here",
}
_OF_JUDGED = {
    "site": "findings were judged when they were made: give the site to scan, watch or probe, and report that",
    "rules": "findings were judged when they were made: give the rules to scan or watch, and report that",
    "schemas": "findings files have one layout: give the schemas to scan or watch, and report that",
}
_NO_FINDINGS = "it makes no findings, so none can be counted"
_OF_CATALOGUE = {
    "site": "what is shown here does not depend on the network: scan, watch, export and probe take a site",
    "fail_on": _NO_FINDINGS,
}
_NO_RULES = {
    "rules": "schemas are listed by themselves: `imdswatch schemas detect` says what rules make of a log"
}
_LAB = "the lab rehearses what this release brings, in a network of its own"

REFUSED: Mapping[str, Mapping[str, str]] = {
    "scan": {},
    "watch": {},
    "export": {"fail_on": _NO_FINDINGS},
    "probe": {
        "rules": "what answers is judged by its signatures and its place, not by Sigma rules",
        "schemas": _OF_HOST["schemas"],
    },
    "audit": _OF_HOST,
    "harden": _OF_HOST,
    "lab run": dict.fromkeys(("site", "rules", "schemas"), _LAB),
    "lab serve": {
        **dict.fromkeys(("site", "rules", "schemas", "fail_on"), "it answers requests and judges nothing"),
        "output": "it tells each request as it comes: send its standard output where you want it",
    },
    "report": _OF_JUDGED,
    "rules": {
        **_OF_CATALOGUE,
        "schemas": "rules are listed by themselves; docs/rules.md says what each can fire on",
    },
    "schemas": {**_OF_CATALOGUE, **_NO_RULES},
    "schemas list": {**_OF_CATALOGUE, **_NO_RULES},
    "schemas show": {**_OF_CATALOGUE, **_NO_RULES},
    "schemas detect": {
        **_OF_CATALOGUE,
        "site": "it says of each key of a site whether this log lets it apply",
    },
    "completion": {
        **dict.fromkeys(("site", "rules", "schemas", "form", "fail_on"), "it prints one script for a shell"),
        "output": "send its standard output into a file",
    },
}
"""Command, option, and why that option has no meaning there."""


class Refused(click.Option):
    """A shared option that has no meaning for its command; to give it is wrong usage."""

    def __init__(self, command: str, name: str, why: str) -> None:
        self.why = why

        def refuse(context: click.Context, option: click.Parameter, value: Any) -> None:
            if value is not None and not context.resilient_parsing:
                raise UsageError(f"`imdswatch {command}` takes no `{SHARED[name][-1]}`", help=why)

        super().__init__([*SHARED[name], f"refused_{name}"], hidden=True, expose_value=False, callback=refuse)


class Form(click.Choice):  # type: ignore[type-arg]
    """The formats that a command writes; one that only other commands write is refused with the reason."""

    def __init__(self, forms: tuple[str, ...], others: Mapping[str, str]) -> None:
        super().__init__(forms)
        self.others = others

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name of a format."""
        if (
            value in self.others
            and value not in self.choices
            and ctx is not None
            and not ctx.resilient_parsing
        ):
            where = ctx.command_path.removeprefix("imdswatch ")
            raise UsageError(f"`imdswatch {where}` has no format `{value}`", help=self.others[value])
        return str(super().convert(value, param, ctx))


_NO_LIST = "what it shows is no list of findings: text, or ndjson for programs"
TEXT_OR_NDJSON = Form(("text", "ndjson"), dict.fromkeys(FORMATS, _NO_LIST))
"""Of commands that show something else than findings."""


def complete(command: click.Command, path: str) -> click.Command:
    """Let a command, and the commands below it, take all shared options; `path` is how it is called."""
    given = {word for parameter in command.params for word in parameter.opts}
    for name, why in REFUSED.get(path, {}).items():
        if SHARED[name][-1] not in given:
            command.params.append(Refused(path, name, why))
    for name in _FLAGS:
        if SHARED[name][-1] not in given:
            click.option(*SHARED[name], name, is_flag=True, hidden=True, expose_value=False)(command)
    if "--version" not in given:
        shown = "%(prog)s %(version)s"
        click.version_option(__version__, prog_name="imdswatch", message=shown, hidden=True)(command)
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            complete(inner, f"{path} {name}")
    return command
