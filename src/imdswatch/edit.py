"""What is done to a host so that it would not ask an impostor: the shared noun of `host`, which does it, and `report`.

Frozen. Paths are absolute below the root. `before` and `after` are whole files and may hold secrets of other people:
sinks show what differs, with secrets cut (`imdswatch.redact`), and never the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

STATES = ("needed", "applied", "reverted", "left-alone")
"""What became of an edit: only shown; made; taken back; not taken back, because somebody else changed it since."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One file that is made or changed, or one symbolic link that is made (`after` is where it leads)."""

    slugs: tuple[str, ...]
    """The remedies of `data/host/hardening.yml` that meet in this file."""
    path: str
    before: bytes | None
    """None: nothing stands there yet."""
    after: bytes
    link: bool = False
    mode: int = 0o644
    """Of a new file; one that exists keeps its own."""

    @property
    def action(self) -> str:
        """What happens to the path, in a word."""
        return "link" if self.link else "create" if self.before is None else "change"


@dataclass(frozen=True, slots=True)
class Command:
    """One program that is run on the live host once the files stand."""

    slug: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """What a person should know or do by hand, of one change."""

    slug: str
    text: str


@dataclass(frozen=True, slots=True)
class Left:
    """What would still ask when all is done, and what a person has to do about it."""

    slug: str
    """A key of `data/host/changes.yml`."""
    path: str
    text: str
    reason: str
    """Why it is for a person's hands."""
    cells: tuple[str, ...]
    """The tools that ask, with the place where each is started."""
