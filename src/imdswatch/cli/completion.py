"""`imdswatch completion`: the script that completes commands and options in a shell."""

from __future__ import annotations

from typing import Any

import click

from imdswatch.cli.group import main
from imdswatch.cli.output import show

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog='Examples: eval "$(imdswatch completion bash)" in ~/.bashrc | imdswatch completion fish > '
    "~/.config/fish/completions/imdswatch.fish"
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("-v", "--verbose", is_flag=True, help="Show the trace of our own bugs.")
def completion(shell: str, **_: Any) -> int:
    """Print the script that completes commands, options and their values in a shell: bash (4.4 or newer), zsh, fish."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    show(made(main, {}, "imdswatch", "_IMDSWATCH_COMPLETE").source())
    return 0
