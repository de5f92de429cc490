"""The feeds that a command line names: the one place where options become inputs without an end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imdswatch.errors import UsageError

if TYPE_CHECKING:
    from imdswatch.watch.feed import Feed
    from imdswatch.watch.judgement import Judgement
    from imdswatch.watch.library import Library


def check(options: dict[str, Any]) -> None:
    """Raise UsageError unless something is to be watched, and can be."""
    if not options["follow"]:
        raise UsageError("there is nothing to watch", help="name logs or folders of logs with --follow")
    for path in options["follow"]:
        if path == "-":
            raise UsageError("standard input cannot be followed", help="`imdswatch scan -` reads it")
        if not path or "\x00" in path:
            raise UsageError("`--follow` names no possible path")


def feeds_of(options: dict[str, Any], judgement: Judgement, library: Library) -> list[Feed]:
    """Return the feeds of the options, in their order."""
    from imdswatch.watch.follow import Follow

    ours = _ours(options)
    return [
        Follow(path, library, judgement, from_start=options["from_start"], ours=ours)
        for path in dict.fromkeys(os.path.normpath(path) for path in options["follow"])
    ]


def _ours(options: dict[str, Any]) -> Callable[[str], bool]:
    """Return what says whether a file is one that this watch writes: to follow it would have no end."""
    from imdswatch.watch.library import related

    folder = os.path.realpath(options["state"])
    written = [os.path.realpath(path) for path in (options["output"], options["metrics_file"]) if path]

    def ours(path: str) -> bool:
        where, name = os.path.split(path)
        where = os.path.realpath(where or ".")
        if where == folder or where.startswith(folder + "/"):
            return True
        return any(os.path.dirname(one) == where and related(os.path.basename(one), name) for one in written)

    return ours


def state_folder() -> Path:
    """Return where a state is kept unless told: what systemd made for it, the system's place, or the user's."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/imdswatch")
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state") / "imdswatch"
