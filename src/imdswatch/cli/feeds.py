"""The feeds that a command line names: the one place where options become inputs without an end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imdswatch.errors import UsageError

if TYPE_CHECKING:
    from imdswatch.watch.feed import Feed
    from imdswatch.watch.judgement import Judgement
    from imdswatch.watch.library import Library
    from imdswatch.watch.state import State


def check(options: dict[str, Any]) -> None:
    """Raise UsageError unless something is to be watched, and can be."""
    if not options["follow"] and not options["interface"]:
        help = "name an interface with --interface, or logs with --follow"
        raise UsageError("there is nothing to watch", help=help)
    for name in ("all_http", "processes"):
        if options[name] and not options["interface"]:
            raise UsageError(f"--{name.replace('_', '-')} says how to watch an interface, and none is named")
    for path in options["follow"]:
        if path == "-":
            raise UsageError("standard input cannot be followed", help="`imdswatch scan -` reads it")
        if not path or "\x00" in path:
            raise UsageError("`--follow` names no possible path")


@contextmanager
def live_feeds(options: dict[str, Any], judgement: Judgement) -> Iterator[list[Feed]]:
    """Open the interfaces of the options for the block, and give up what that needs no longer."""
    with ExitStack() as opened:
        feeds: list[Feed] = []
        if options["interface"]:
            from imdswatch.watch.live import LiveFeed
            from imdswatch.watch.processes import ProcessFeed

            processes = None
            if options["processes"]:
                processes = opened.enter_context(closing(ProcessFeed()))
                feeds.append(processes)
            for name in dict.fromkeys(options["interface"]):
                feed = LiveFeed(judgement, name, everything=options["all_http"], processes=processes)
                feeds.append(opened.enter_context(closing(feed)))
        if options["interface"] or options["user"] is not None:
            give_up(options)
        yield feeds


def resume(feeds: Sequence[Feed], state: State) -> None:
    """Tell interfaces since when nobody looked: the last status that a watch with this state noted."""
    from imdswatch.watch.live import LiveFeed
    from imdswatch.watch.state import StateTrouble
    from imdswatch.watch.status import Status

    try:
        before = Status.of(json.loads(state.meta("status") or "null") or {})
    except (StateTrouble, ValueError):
        return  # there was none
    known = {one.name for one in before.feeds}
    for feed in feeds:
        if isinstance(feed, LiveFeed) and feed.name in known:
            feed.resume(before.at)


def give_up(options: dict[str, Any]) -> None:
    """Become the user of the options, and keep only the powers that are needed from here on."""
    from imdswatch.watch import privileges

    keep = {privileges.CAP_NET_RAW} if options["interface"] else set()
    keep |= {privileges.CAP_SYS_PTRACE} if options["processes"] else set()
    keep |= {privileges.CAP_DAC_READ_SEARCH} if options["follow"] else set()
    privileges.drop(options["user"], frozenset(keep))
    if not privileges.can_go_on():
        raise UsageError(
            f"user {options['user']} cannot read the modules of this program",
            help="install it where everybody can read it, such as /opt",
        )


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
    from imdswatch.delivery.target import read_target
    from imdswatch.watch.library import related

    targets = map(read_target, options["deliver"])
    files = [target.path for target in targets if target.scheme == "file"]
    written = [
        os.path.realpath(path) for path in (options["output"], options["metrics_file"], *files) if path
    ]
    folders = [os.path.realpath(path) for path in (options["state"], options["spool"]) if path]

    def ours(path: str) -> bool:
        where, name = os.path.split(path)
        where = os.path.realpath(where or ".")
        if any(where == folder or where.startswith(folder + "/") for folder in folders):
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
