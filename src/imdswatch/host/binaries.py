"""What programs and Java archives carry inside, found in their bytes without running or unpacking anything.

Never raises for what a file holds. Go writes the modules of a program into it as text (debug/buildinfo); a jar names
its files in the directory at its end (PKWARE APPNOTE 4.3.12).
"""

from __future__ import annotations

import re

from imdswatch.host.tree import Tree

_MODULE = re.compile(rb"(?:dep|mod)\t(github\.com/aws/aws-sdk-go(?:-v2(?:/config)?)?)\t(v[0-9][\w.+-]{0,60})")
_PIECE = 4 << 20
_LARGEST = 400 << 20
_DIRECTORY = 8 << 20


def go_modules(tree: Tree, path: str) -> dict[str, str]:
    """Return the AWS modules of a Go program with their versions; {} where it is no such program."""
    file = tree.open(path)
    found: dict[str, str] = {}
    if file is None:
        return found
    try:
        with file:
            if file.read(4) != b"\x7fELF":
                return found
            kept = b""
            for _ in range(_LARGEST // _PIECE):
                piece = file.read(_PIECE)
                if not piece:
                    break
                for match in _MODULE.finditer(kept + piece):
                    found.setdefault(match[1].decode(), match[2].decode())
                kept = piece[-256:]
    except OSError as error:
        tree.skip(path, (error.strerror or "cannot be read").lower())
    return found


def jar_has(tree: Tree, path: str, prefix: str) -> bool:
    """Say whether the directory of a jar names files below a path."""
    meta = tree.meta(path)
    file = tree.open(path) if meta is not None else None
    if meta is None or file is None:
        return False
    try:
        with file:
            file.seek(max(0, meta.size - _DIRECTORY))
            return prefix.encode() in file.read(_DIRECTORY)
    except OSError as error:
        tree.skip(path, (error.strerror or "cannot be read").lower())
        return False
