"""The objects of a hardening in `imdswatch/1`, the stable shape that docs/harden.md describes; pure.

Every one names its host, where that is known. Fields are absent when unknown or empty.
"""

from __future__ import annotations

from imdswatch.edit import Command, Edit, Left, Note
from imdswatch.report.edits import diff
from imdswatch.report.ndjson import FORMAT, known


def edit_document(host: str, edit: Edit, state: str) -> dict[str, object]:
    """Return an edit; `diff` is a unified diff with what may be a secret cut."""
    return known(
        _head("edit", host)
        | {
            "slugs": edit.slugs,
            "path": edit.path,
            "action": edit.action,
            "state": state,
            "diff": "".join(f"{line}\n" for line in diff(edit)),
        }
    )


def reverted_document(host: str, path: str, state: str, reason: str) -> dict[str, object]:
    """Return what became of one path in a revert."""
    return known(_head("edit", host) | {"path": path, "state": state, "reason": reason})


def command_document(host: str, command: Command, state: str) -> dict[str, object]:
    """Return one command of a live host."""
    return known(
        _head("command", host) | {"slug": command.slug, "words": list(command.words), "state": state}
    )


def note_document(host: str, note: Note) -> dict[str, object]:
    """Return what a person should know, or do by hand."""
    return known(_head("note", host) | {"slug": note.slug, "text": note.text})


def left_document(host: str, left: Left) -> dict[str, object]:
    """Return what would still ask; `cells` are the tools and how they are started."""
    names = ("slug", "path", "text", "reason", "cells")
    return known(_head("left", host) | {name: getattr(left, name) for name in names})


def _head(kind: str, host: str) -> dict[str, object]:
    return {"format": FORMAT, "type": kind, "host": host}
