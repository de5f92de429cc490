"""The command `imdswatch` itself: its commands are imported when they are named, so `--version` stays instant."""

from __future__ import annotations

from importlib import import_module

import click

from imdswatch import __version__
from imdswatch.cli.shared import complete

COMMANDS = {
    "scan": "imdswatch.cli.scan:scan",
    "watch": "imdswatch.cli.watch:watch",
    "export": "imdswatch.cli.export:export",
    "probe": "imdswatch.cli.probe:probe",
    "audit": "imdswatch.cli.audit:audit",
    "harden": "imdswatch.cli.harden:harden",
    "lab": "imdswatch.cli.lab:lab",
    "report": "imdswatch.cli.report:report",
    "rules": "imdswatch.cli.rules:rules",
    "schemas": "imdswatch.cli.schemas:schemas",
    "completion": "imdswatch.cli.completion:completion",
}
"""Name of a command and where it stands, in the order of `--help`; imported when it is named."""


class Commands(click.Group):
    """A group whose commands are the entries of `COMMANDS`, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return complete(command, cmd_name)


@click.group(
    cls=Commands,
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
