"""The YAML files of a folder that a user lays over built-in ones, those of its subfolders included, by their stems.

Reads names only, never contents. A folder reached twice, by a symbolic link or around a loop of them, counts once.
Hidden folders (`.git`, or `.github` with its workflows) belong to other tools and are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from imdswatch.errors import ImdswatchError

EVENTS = (".events.yml", ".events.yaml")
"""How the files end that stand beside a rule and hold its events."""


def by_stem(folder: Path, error: type[ImdswatchError]) -> dict[str, Path]:
    """Return stem → `.yml` or `.yaml` file in or below a folder, ordered by path.

    Raises the given error where a folder cannot be read and where two files have one stem: it would depend on their
    order which of them counts.
    """
    found: dict[str, Path] = {}
    try:
        paths = sorted(_walk(folder), key=lambda path: path.relative_to(folder).parts)
    except OSError as wrong:
        raise error(f"the folder cannot be read: {wrong.strerror}", file=str(wrong.filename)) from None
    for path in paths:
        first = found.setdefault(path.stem, path)
        if first is not path:
            raise error(
                f"two files are called `{path.stem}`",
                file=str(path),
                help=f"the other is {first}: the name of a file is the name of what it holds, rename one",
            )
    return found


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        place = here.stat()
        if (place.st_dev, place.st_ino) in seen:
            continue
        seen.add((place.st_dev, place.st_ino))
        with os.scandir(here) as entries:
            # By name, so that of two ways to one folder the same is taken on every machine.
            for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
                if entry.is_dir():
                    if not entry.name.startswith("."):
                        waiting.append(here / entry.name)
                elif entry.name.endswith((".yml", ".yaml")) and not entry.name.endswith(EVENTS):
                    yield here / entry.name
