"""`kept` keeps what was read from the package's own data beside the bytecode, as Python keeps what it compiled.

Reading the built-in rules and schemas takes 100 ms, four times as long as all else that a small scan does; what they
were read into is loaded in 3 ms. What is kept is a pickle, so it lies only where Python's own bytecode lies: whoever
can write there can run anything in this program without it. Even so a file counts only if it is this user's or
root's and nobody else may write it, and if it was made of exactly these texts by exactly this code, told by a digest
over the data, the modules that read it and the releases of what they use; a second digest tells damage. With all else
it is read anew. Nothing is kept where Python writes no bytecode (`-B`, a folder that cannot be written).
"""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_PACKAGE = Path(__file__).parent
_READERS = (_PACKAGE, _PACKAGE / "layouts")
"""Folders whose modules decide what the data is read into."""
_LIBRARIES = ("pysigma-", "pyyaml-")
_DIGEST = hashlib.sha256().digest_size
_LARGEST = 64 << 20


def kept(name: str, data: Iterable[Path], make: Callable[[], T]) -> T:
    """Return what `make` returns, which must depend on nothing but these files and this program, and be fresh.

    Raises what `make` raises, and nothing of its own: where nothing can be kept it is made anew by every process.
    """
    try:
        made_of = _made_of(data)
    except OSError:
        return make()
    if name not in _LOADED or _LOADED[name][0] != made_of:
        _LOADED[name] = made_of, _read(_place(name), made_of, make)
    value: T = _LOADED[name][1]
    return value


_LOADED: dict[str, tuple[bytes, Any]] = {}
"""What this process loaded: name → what it was made of, and itself. Whoever asks again gets the same object."""


def _read(place: str | None, made_of: bytes, make: Callable[[], T]) -> T:
    found = None if place is None else _stored(place)
    if found is not None and found[:_DIGEST] == made_of:
        content = memoryview(found)[2 * _DIGEST :]
        if hashlib.sha256(content).digest() == found[_DIGEST : 2 * _DIGEST]:
            loaded: T = pickle.loads(content)
            return loaded
    made = make()
    if place is not None and not sys.dont_write_bytecode:
        _store(place, made_of, pickle.dumps(made, pickle.HIGHEST_PROTOCOL))
    return made


def _place(name: str) -> str | None:
    """Return the path of a kept file; None where Python has no place for bytecode."""
    bytecode = __spec__.cached
    return None if bytecode is None else f"{bytecode.removesuffix('.pyc')}-{name}"


def _made_of(data: Iterable[Path]) -> bytes:
    """Return the digest of all that decides what is kept; raises OSError."""
    return _digest(_program(), data)


@cache
def _program() -> bytes:
    """Return the digest of the code that reads the data; raises OSError."""
    code = [path for folder in _READERS for path in folder.glob("*.py")]
    if not code:
        raise FileNotFoundError  # installed without its sources: nothing tells one release from another
    return _digest(f"{sys.version} {_PACKAGE} {_releases()}".encode(), code)


def _digest(before: bytes, paths: Iterable[Path]) -> bytes:
    digest = hashlib.sha256(before)
    for path in sorted(paths):
        with open(path, "rb", buffering=0) as file:
            text = file.read()
        digest.update(f"\0{path.name} {len(text)}\0".encode())
        digest.update(text)
    return digest.digest()


def _releases() -> list[str]:
    """Return the releases of the libraries that read the data; `importlib.metadata` would take 20 ms to say them."""
    found = []
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        found += [name for name in names if name.lower().startswith(_LIBRARIES)]
    return sorted(found)


def _stored(place: str) -> bytes | None:
    """Return the content of a kept file that can be trusted, or None."""
    try:
        fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb", buffering=0) as file:
            status = os.fstat(fd)
            mine = status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if not mine or not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                return None
            return file.read()
    except OSError:
        return None


def _store(place: str, made_of: bytes, content: bytes) -> None:
    """Put a kept file in place at once or not at all; that it cannot be written is nobody's business."""
    draft = f"{place}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        with open(fd, "wb") as file:
            file.write(made_of + hashlib.sha256(content).digest() + content)
        os.replace(draft, place)
    except OSError:
        try:
            os.unlink(draft)
        except OSError:
            pass
