"""What a run is about to change, written down before it changes anything, so that a revert can bring all of it back.

A run is one file: `0001.begun`, renamed to `0001.done` once everything stands. It has each file as it was, whole, with
mode, owner, times and extended attributes, so only its owner may read it. It becomes visible by one rename, together
with the folders made for it, and goes by one rename: at no moment are there folders of ours without a journal that
knows of them, except below one reserved name (`ASIDE`), which every run clears first. A journal holds no commands:
what it makes happen stays below its root. Source of the idea: write-ahead logs.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imdswatch.errors import HostError
from imdswatch.host.place import FolderTime, Place, State, ours

FOLDER = "/var/lib/imdswatch/harden"
ASIDE = ".imdswatch-harden.tmp"
"""A name that is ours wherever it stands: files and folders on their way in or out."""
_FORMAT = "imdswatch-harden/1"
_NAME = re.compile(r"([0-9]{4})\.(begun|done)")
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[^/\0]+)+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entry:
    """One path: what stood there (None: nothing), and what the run puts there."""

    path: str
    before: State | None
    after: State

    @property
    def beside(self) -> str:
        """The name in the same folder by way of which it gets there."""
        return f"{ASIDE}.{self.path.rpartition('/')[2]}"[:255]


@dataclass(frozen=True, slots=True)
class Record:
    """One run."""

    number: int
    entries: tuple[Entry, ...]
    folders: tuple[str, ...]
    """Made for the entries, outer ones first."""
    own: tuple[str, ...]
    """Made for the journal itself, outer ones first."""
    block: str
    """The network block that the run makes on the live host; "" for none."""
    times: Mapping[str, FolderTime] = field(default_factory=dict)
    """When each folder was last changed in which something comes or goes."""
    finished: bool = False


class Journal:
    """The records of all runs below one root that were not taken back."""

    def __init__(self, place: Place, folder: str = FOLDER) -> None:
        """Touch nothing; `folder` is where it lies, without links in it."""
        self._place, self._folder = place, folder
        parts = folder.strip("/").split("/")
        self._chain = tuple("/" + "/".join(parts[: at + 1]) for at in range(len(parts)))

    def sweep(self) -> None:
        """Remove what a run that was cut off left on its way in or out."""
        for above in ("", *self._chain):
            aside = f"{above}/{ASIDE}"
            if self._place.is_folder(aside):
                self._place.remove_tree(aside)
            elif self._place.exists(aside):
                self._place.remove(aside)

    def records(self) -> tuple[Record, ...]:
        """Return all runs, the first one first; raises HostError for a journal that is damaged."""
        if not self._place.is_folder(self._folder):
            return ()
        found = [_NAME.fullmatch(name) for name in self._place.names(self._folder)]
        return tuple(self._read(one[0], one[2] == "done") for one in found if one is not None)

    def begin(self, entries: tuple[Entry, ...], folders: tuple[str, ...], block: str) -> Record:
        """Write down what is about to happen, and return it; from now on it can be taken back."""
        place = self._place
        numbers = [record.number for record in self.records()]
        own = tuple(path for path in self._chain if not place.exists(path))
        changed = {one.rpartition("/")[0] for one in (*(entry.path for entry in entries), *folders, *own)}
        times = {path: time for path in sorted(changed) if (time := place.time(path)) is not None}
        record = Record(max(numbers, default=0) + 1, entries, folders, own, block, times)
        state = ours(State(_encoded(record), mode=0o600))
        name = f"{record.number:04d}.begun"
        if not own:
            place.put(f"{self._folder}/{name}", state, ASIDE, None)
            return record
        aside = f"{own[0].rpartition('/')[0]}/{ASIDE}"
        inner = [aside + path[len(own[0]) :] for path in own]
        for path in inner:
            place.make_folder(path, 0o700 if path == inner[-1] else 0o755)
        place.put(f"{inner[-1]}/{name}", state, ASIDE, None)
        place.rename(aside, own[0])
        return record

    def finish(self, record: Record) -> None:
        """Mark that all of a run stands."""
        stem = f"{self._folder}/{record.number:04d}"
        self._place.rename(f"{stem}.begun", f"{stem}.done")

    def set_times(self, record: Record) -> None:
        """Bring back the times of folders that a run changed, where they hold what they held before it."""
        for path, time in record.times.items():
            self._place.set_time(path, time)

    def drop(self, record: Record) -> None:
        """Forget a run that was taken back, with the folders made for the journal where nobody else uses them."""
        self.set_times(record)
        name = f"{record.number:04d}.{'done' if record.finished else 'begun'}"
        top, alone = "", name
        for path in reversed(record.own):
            if self._place.names(path) != [alone]:
                break
            top, alone = path, path.rpartition("/")[2]
        if not top:
            self._place.remove(f"{self._folder}/{name}")
        else:
            aside = f"{top.rpartition('/')[0]}/{ASIDE}"
            self._place.rename(top, aside)
            self._place.remove_tree(aside)
        self.set_times(record)  # of the folder in which the journal was

    def _read(self, name: str, finished: bool) -> Record:
        path = f"{self._folder}/{name}"
        state = self._place.state(path)
        try:
            if state is None or state.link or state.uid not in (0, os.geteuid()):
                raise ValueError("it is not ours")
            return _decoded(state.data, int(name[:4]), finished)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
            raise HostError(
                f"the journal is damaged, so nothing is touched: {error}",
                file=path,
                help="restore it from a backup, or take the changes back by hand and remove it",
            ) from None


def _encoded(record: Record) -> bytes:
    document = {
        "format": _FORMAT,
        "entries": [
            {"path": _name(one.path), "before": _state(one.before), "after": _state(one.after)}
            for one in record.entries
        ],
        "folders": list(map(_name, record.folders)),
        "own": list(map(_name, record.own)),
        "block": record.block,
        "times": {_name(path): [one.modified, one.names] for path, one in record.times.items()},
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _state(state: State | None) -> Mapping[str, Any] | None:
    if state is None:
        return None
    return {
        "data": _base64(state.data),
        "link": state.link,
        "mode": state.mode,
        "uid": state.uid,
        "gid": state.gid,
        "modified": state.modified,
        "attributes": {_name(name): _base64(value) for name, value in state.attributes},
    }


def _decoded(data: bytes, number: int, finished: bool) -> Record:
    document = json.loads(data)
    if document["format"] != _FORMAT:
        raise ValueError(f"its format is not {_FORMAT}")
    return Record(
        number,
        tuple(
            Entry(_path(one["path"]), _state_of(one["before"]), _some(_state_of(one["after"])))
            for one in document["entries"]
        ),
        tuple(map(_path, document["folders"])),
        tuple(map(_path, document["own"])),
        str(document["block"]),
        {
            _folder(path): FolderTime(int(one[0]), str(one[1]))
            for path, one in document.get("times", {}).items()
        },
        finished,
    )


def _state_of(value: Mapping[str, Any] | None) -> State | None:
    if value is None:
        return None
    return State(
        base64.b64decode(value["data"], validate=True),
        bool(value["link"]),
        int(value["mode"]),
        int(value["uid"]),
        int(value["gid"]),
        None if value["modified"] is None else int(value["modified"]),
        tuple(
            (_path_bytes(name), base64.b64decode(data, validate=True))
            for name, data in value["attributes"].items()
        ),
    )


def _some(state: State | None) -> State:
    if state is None:
        raise ValueError("an entry has no content")
    return state


def _folder(text: str) -> str:
    return _path(text) if _path_bytes(text) else ""  # "" is the root


def _path(text: str) -> str:
    path = _path_bytes(text)
    if not _PATH.fullmatch(path):
        raise ValueError("a path leads out of the root")
    return path


# Names may be bytes that are no UTF-8; JSON carries those as base64, and any other behind an equals sign.


def _name(text: str) -> str:
    return _base64(os.fsencode(text)) if any("\ud800" <= one <= "\udfff" for one in text) else f"={text}"


def _path_bytes(text: str) -> str:
    if text.startswith("="):
        return text[1:]
    return os.fsdecode(base64.b64decode(text, validate=True))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
