"""The feeds that a command line names: the one place where options become inputs without an end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
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
def live_feeds(
    options: dict[str, Any], judgement: Judgement, say: Callable[[str], None]
) -> Iterator[list[Feed]]:
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
            give_up(options, say)
        yield feeds


def resume(feeds: Sequence[Feed], state: State) -> None:
    """Tell interfaces since when nobody looked: the last status of a watch with this state, or its beginning."""
    from imdswatch.watch.live import LiveFeed
    from imdswatch.watch.state import StateTrouble
    from imdswatch.watch.status import Status

    live = [feed for feed in feeds if isinstance(feed, LiveFeed)]
    looked: dict[str, float] = {}
    try:
        looked = json.loads(state.meta("opened") or "{}")
        before = Status.of(json.loads(state.meta("status") or "null") or {})
        looked |= {
            one.name: max(one.counts.until or before.at, looked.get(one.name, 0.0)) for one in before.feeds
        }
    except (StateTrouble, ValueError):
        pass  # there was none
    for feed in live:
        if feed.name in looked:
            feed.resume(looked[feed.name])
    with suppress(StateTrouble):  # a kill may come before the first status
        state.commit(meta={"opened": json.dumps({feed.name: time.time() for feed in live})})


def give_up(options: dict[str, Any], say: Callable[[str], None]) -> None:
    """Become the user of the options, or somebody, and keep only the powers that are needed from here on."""
    from imdswatch.watch import privileges, syscalls

    keep = {privileges.CAP_NET_RAW} if options["interface"] else set()
    keep |= {privileges.CAP_SYS_PTRACE} if options["processes"] else set()
    keep |= {privileges.CAP_DAC_READ_SEARCH} if options["follow"] else set()
    user = options["user"]
    if user is None and options["interface"]:
        user = _somebody(options, say)
    if os.geteuid() == 0:
        privileges.hand_over(options["state"], user)
    privileges.drop(user, frozenset(keep))
    syscalls.forbid()
    if not privileges.can_go_on():
        raise UsageError(
            f"user {user} cannot read the modules of this program",
            help="install it where everybody can read it, such as /opt",
        )


def _somebody(options: dict[str, Any], say: Callable[[str], None]) -> str | None:
    """Return who root is to become where nobody was named, None to stay what it is; say which, and why."""
    from imdswatch.watch import privileges

    user = privileges.somebody()
    if user is None:
        return None
    why = privileges.hindrance(
        user,
        own=options["state"],
        written=[*map(Path, _written(options)), *filter(None, [options["spool"]])],
        read=filter(None, (options[name] for name in ("site", "rules", "schemas"))),
    )
    if why:
        say(f"goes on as root, without root's powers: user {user} {why} (--user NAME: as another)")
        return None
    say(f"goes on as user {user}, which gives up root (--user NAME: as another; root: as root by name)")
    return user


def _written(options: dict[str, Any]) -> list[str]:
    """Return the files that are written as the watch goes."""
    from imdswatch.delivery.target import read_target

    targets = map(read_target, options["deliver"])
    files = [target.path for target in targets if target.scheme == "file"]
    return [os.fspath(path) for path in (options["output"], options["metrics_file"], *files) if path]


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

    written = [os.path.realpath(path) for path in _written(options)]
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
