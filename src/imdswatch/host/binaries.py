"""What programs and Java archives carry inside, found in their bytes without running or unpacking anything.

Never raises for what a file holds. Go writes the modules of a program into it as text (debug/buildinfo); a jar names
its files in the directory at its end (PKWARE APPNOTE 4.3.12).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from imdswatch.host.tree import Tree

_MODULE = re.compile(rb"(?:dep|mod)\t(github\.com/aws/aws-sdk-go(?:-v2(?:/config)?)?)\t(v[0-9][\w.+-]{0,60})")
_SIGN = b"\tgithub.com/aws/aws-sdk-go"
_LONGEST = 256
"""Bytes that one line about a module may have."""
_PIECE = 4 << 20
_LARGEST = 400 << 20
_DIRECTORY = 4 << 20


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
                text = kept + piece
                at = text.find(_SIGN)
                while at >= 0:  # a search for plain bytes is many times faster than the expression
                    for match in _MODULE.finditer(text, max(0, at - 4), at + _LONGEST):
                        found.setdefault(match[1].decode(), match[2].decode())
                    at = text.find(_SIGN, at + _LONGEST // 2)
                kept = text[-_LONGEST:]
    except OSError as error:
        tree.skip(path, (error.strerror or "cannot be read").lower())
    return found


def jar_holds(tree: Tree, path: str, prefixes: Sequence[str]) -> frozenset[str]:
    """Return below which of these paths the directory of a jar names files."""
    meta = tree.meta(path)
    file = tree.open(path) if meta is not None else None
    if meta is None or file is None:
        return frozenset()
    try:
        with file:
            file.seek(max(0, meta.size - _DIRECTORY))
            directory = file.read(_DIRECTORY)
    except OSError as error:
        tree.skip(path, (error.strerror or "cannot be read").lower())
        return frozenset()
    return frozenset(prefix for prefix in prefixes if prefix.encode() in directory)
