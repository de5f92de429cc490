"""The command line: the only room that prints, exits or reads the arguments.

Commands stay thin: they turn options into values, call one capability, and hand results to a sink. One module for each;
a new command is a module and a line in `group.COMMANDS`.
"""

from imdswatch.cli.group import main
from imdswatch.cli.invoke import invoke, run

__all__ = ["invoke", "main", "run"]
