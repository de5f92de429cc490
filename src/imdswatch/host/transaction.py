"""Makes the edits of a plan, all of them or none, and takes them back exactly, also after a run that was cut off.

`apply` writes a journal first (`journal`), then each file whole (`place`); where anything fails, everything is put back
before the error is raised. `revert` brings back bytes, modes, owners, times and extended attributes, removes what was
made, and then the journal. What somebody else changed since is left alone and told. One run at a time on a root.
Not brought back: inode numbers and change times, and the time of a folder whose names somebody else has changed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from imdswatch.edit import Command, Edit
from imdswatch.errors import HostError
from imdswatch.host import live
from imdswatch.host.journal import FOLDER, Entry, Journal, Record
from imdswatch.host.place import Place, State, ours
from imdswatch.host.plan import BLOCK, PROGRAMS, Plan, real
from imdswatch.host.tree import Tree

RULES = "/etc/imdswatch/block.nft"
_UNITS = "/etc/systemd/"


@dataclass(frozen=True, slots=True)
class Reverted:
    """What a revert did: paths that are as they were again, and paths that were left alone, with the reason."""

    paths: tuple[str, ...]
    left: Mapping[str, str]
    runs: int


class Hardener:
    """One root that is hardened; use it in a `with` block, inside of which no other run changes the root."""

    def __init__(self, tree: Tree, root: Path, changes: bool) -> None:
        """Open the root, and lock it where it is to be changed; raises HostError."""
        self._live = tree.live
        try:
            self._place = Place(root)
        except OSError as error:
            raise _told(error, str(root)) from error
        try:
            if changes:
                self._place.lock()
        except BlockingIOError:
            self._place.close()
            raise HostError("another run of `imdswatch harden` works on this root", file=str(root)) from None
        self._journal = Journal(self._place, real(tree, FOLDER))

    def __enter__(self) -> Hardener:
        return self

    def __exit__(self, *_: object) -> None:
        self._place.close()

    def obstacles(self, edits: Sequence[Edit]) -> dict[str, str]:
        """Return the paths that cannot be edited, and why."""
        return {edit.path: why for edit in edits if (why := self._obstacle(edit))}

    def unfinished(self) -> bool:
        """Say whether an earlier run was cut off, so that some of its edits stand and some do not."""
        return any(not record.finished for record in self._journal.records())

    def commands(self, plan: Plan) -> tuple[Command, ...]:
        """Return what is to be run on the live host once the files stand; raises HostError where that is unknown."""
        if not self._live:
            return ()
        systemd = live.has_systemd()
        found = []
        units = [edit for edit in plan.edits if edit.path.startswith(_UNITS)]
        if systemd and units:
            found.append(Command(units[0].slugs[0], live.RELOAD))
        if plan.block:
            parts = live.parts(plan.block, plan.programs, RULES)
            changed = any(BLOCK in edit.slugs for edit in plan.edits)
            if changed or not all(map(live.stands, parts)):
                words = [live.RESTART] if systemd else [part.make for part in parts]
                found += [Command(BLOCK, one) for one in words]
        return tuple(found)

    def recover(self) -> bool:
        """Take back a run that was cut off, and say whether there was one; raises HostError where it cannot be."""
        return self._roll_back(True)

    def _roll_back(self, ran: bool) -> bool:
        """Take back what is not finished; `ran` says that a command for the block came to its end, or may have."""
        found = False
        with _errors():
            self._journal.sweep()
            for record in reversed(self._journal.records()):
                if record.finished:
                    continue
                found = True
                done = self._take_back(record, force=False, sure=ran)
                for path, why in done.left.items():
                    raise HostError(
                        f"a run was cut off, and this {why}",
                        file=path,
                        help="`--revert` takes back the rest; `--revert --force` this, too",
                    )
        return found

    def apply(self, edits: Sequence[Edit], commands: Sequence[Command], block: str) -> None:
        """Make all edits, then run the commands; raises HostError, and then everything is as it was."""
        for path, why in self.obstacles(edits).items():
            raise HostError(f"cannot edit this file: it {why}", file=path, help="nothing was changed")
        finished, ran = False, False
        try:
            with _errors():
                entries = tuple(map(self._entry, edits))
                blocks = any(command.slug == BLOCK for command in commands)
                record = self._journal.begin(entries, self._missing(edits), block if blocks else "")
                for folder in record.folders:
                    self._place.make_folder(folder)
                for entry in entries:
                    with _errors(entry.path):
                        self._place.put(entry.path, entry.after, entry.beside, entry.before)
                for command in commands:
                    live.run(command.words)
                    ran = ran or command.slug == BLOCK
                self._journal.finish(record)
                finished = True
        finally:
            if not finished:
                self._roll_back(ran)

    def revert(self, force: bool = False) -> Reverted:
        """Take back every run, the last one first; `force` overwrites what somebody else changed since."""
        paths: dict[str, None] = {}
        left: dict[str, str] = {}
        with _errors():
            self._journal.sweep()
            records = self._journal.records()
            for record in reversed(records):
                done = self._take_back(record, force)
                paths.update(dict.fromkeys(done.paths))
                left.update(done.left)
        return Reverted(tuple(path for path in paths if path not in left), left, len(records))

    def _take_back(self, record: Record, force: bool, sure: bool = True) -> Reverted:
        """Take back one run; where the block is not `sure` to have been made, it may fail to be taken away, too."""
        place = self._place
        paths: list[str] = []
        left: dict[str, str] = {}
        if record.block and self._live:
            programs = {
                name: next((path for path in known if os.path.exists(path)), known[0])
                for name, known in PROGRAMS.items()
            }
            try:
                live.undo(record.block, programs, RULES)
            except HostError as error:
                if sure:
                    left["the network block"] = f"may still stand: {error.what}"
        for entry in reversed(record.entries):
            parent = entry.path.rpartition("/")[0]
            try:
                place.remove(f"{parent}/{entry.beside}")
                why = self._bring_back(entry, force)
            except OSError as error:
                why = f"cannot be put back: {_reason(error)}"
            if why:
                left[entry.path] = why
            else:
                paths.append(entry.path)
        kept = {}
        for folder in reversed(record.folders):
            if any(path.startswith(f"{folder}/") for path in left):
                continue
            try:
                if place.exists(folder) and not place.remove_folder(folder):
                    kept[folder] = (
                        "was made for a file of ours, and stays: somebody else has put something into it"
                    )
            except OSError as error:
                left[folder] = f"cannot be removed: {_reason(error)}"
        if self._live and live.has_systemd() and any(path.startswith(_UNITS) for path in paths):
            try:
                live.run(live.RELOAD)
            except HostError as error:
                kept["systemd"] = f"still has the units that were taken back: {error.what}"
        if not left:
            self._journal.drop(record)
        return Reverted(tuple(paths), left | kept, 1)

    def _bring_back(self, entry: Entry, force: bool) -> str:
        """Put one file back, and return "", or say why it is left alone."""
        now = self._place.state(entry.path)
        if now is None and entry.before is None:
            return ""
        if entry.before is not None and entry.before.same(now):
            return ""
        if not entry.after.same(now) and not force:
            return "was changed by somebody else since, and is left alone"
        if entry.before is None:
            self._place.remove(entry.path)
        else:
            self._place.put(entry.path, entry.before, entry.beside, now)
        return ""

    def _entry(self, edit: Edit) -> Entry:
        before = self._place.state(edit.path)
        if (None if before is None else before.data) != edit.before:
            raise FileExistsError(errno.EEXIST, "a file was changed by somebody else at this very moment")
        if before is None:
            new = State(edit.after, edit.link, 0o777 if edit.link else edit.mode)
            return Entry(edit.path, None, ours(new))
        return Entry(edit.path, before, replace(before, data=edit.after, modified=None))

    def _missing(self, edits: Sequence[Edit]) -> tuple[str, ...]:
        missing: dict[str, None] = {}
        for edit in edits:
            above = []
            folder = edit.path.rpartition("/")[0]
            while folder and not self._place.exists(folder):
                above.append(folder)
                folder = folder.rpartition("/")[0]
            missing.update(dict.fromkeys(reversed(above)))
        return tuple(missing)

    def _obstacle(self, edit: Edit) -> str:
        try:
            now = self._place.state(edit.path)
        except OSError as error:
            return _reason(error)
        if now is None:
            return "" if edit.before is None else "is gone since it was read"
        if now.link:
            return f"is a symbolic link to {os.fsdecode(now.data)}: edit that one by hand"
        if edit.link or edit.before is None:
            return "stands where a file of ours belongs"
        return "" if now.data == edit.before else "was changed while it was read"


@contextmanager
def _errors(path: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _told(error, path) from error


def _told(error: OSError, path: str) -> HostError:
    help = "nothing was changed"
    if error.errno in (errno.EACCES, errno.EPERM):
        help += "; run it as root, and see whether the file is immutable (lsattr)"
    why = (error.strerror or str(error)).lower()
    return HostError(f"cannot change the root: {why}", file=path, help=help)


def _reason(error: OSError) -> str:
    text = (error.strerror or str(error)).lower()
    return text if text.startswith(("is ", "has ", "was ")) else f"cannot be used ({text})"
