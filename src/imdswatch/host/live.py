"""The network block on the running host itself: which commands make it, and which take it away.

Nothing here decides to run them: `transaction` does, where the root is `/`. What stands is asked before anything is
taken away, so a revert may come twice, or after a reboot. Sources: nft(8), ip-route(8), systemctl(1).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imdswatch.errors import HostError

UNIT = "imdswatch-block.service"
RELOAD = ("systemctl", "daemon-reload")
RESTART = ("systemctl", "restart", UNIT)
_FIRST = "169.254.169.254/32"
_SECOND = "fd00:ec2::254/128"
_SECONDS = 60
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a block: `there` lists what stands, and has the text `shown` in it where this piece does."""

    there: tuple[str, ...]
    shown: str
    make: tuple[str, ...]
    undo: tuple[str, ...]


def has_systemd() -> bool:
    """Say whether systemd runs this host (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def has_ipv6() -> bool:
    """Say whether this kernel has IPv6; without it there is nothing to route."""
    return os.path.exists("/proc/net/if_inet6")


def parts(kind: str, programs: Mapping[str, str], rules: str) -> tuple[Part, ...]:
    """Return the pieces of a kind of block; `rules` is the path of the nft file."""
    if kind == "nft":
        nft = programs["nft"]
        table = ("table", "inet", "imdswatch")
        return (Part((nft, "list", "tables"), " ".join(table), (nft, "-f", rules), (nft, "delete", *table)),)
    ip = programs["ip"]
    families: list[tuple[tuple[str, ...], str]] = [((), _FIRST)]
    if has_ipv6():
        families.append((("-6",), _SECOND))
    return tuple(
        Part(
            (ip, *six, "route", "show", "type", "unreachable", "exact", to),
            "unreachable",
            (ip, *six, "route", "replace", "unreachable", to),
            (ip, *six, "route", "del", "unreachable", to),
        )
        for six, to in families
    )


def stands(part: Part) -> bool:
    """Say whether a piece is in force; raises HostError where that cannot be found out."""
    return part.shown in run(part.there)


def undo(kind: str, programs: Mapping[str, str], rules: str) -> None:
    """Take a block away where it stands; raises HostError."""
    if has_systemd():
        _run(("systemctl", "stop", UNIT))  # the unit may never have begun: what counts is what stands
    for part in parts(kind, programs, rules):
        if stands(part):
            run(part.undo)


def run(words: Sequence[str]) -> str:
    """Run one command to its end and return what it said; raises HostError with that where it fails."""
    code, out = _run(words)
    if code != 0:
        said = " ".join(out.split())[:_LONGEST]
        raise HostError(f"`{' '.join(words)}` failed with {code}: {said or 'it said nothing'}")
    return out


def _run(words: Sequence[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return 124, f"it did not end within {_SECONDS} s"
    except OSError as error:
        return 127, (error.strerror or str(error)).lower()
    return done.returncode, done.stdout.decode("utf-8", "replace")
