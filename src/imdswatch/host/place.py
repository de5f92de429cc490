"""Writes below a root without ever leaving it, so that each file is either the old one or the new one, whole.

Every name is opened relative to the folder before it and without following links (openat(2), O_NOFOLLOW). A file is
written beside its place, made durable, and renamed onto it; mode, owner and extended attributes (ACLs, labels) are set
before that. Paths are absolute below the root and have no links in them. Raises OSError. Needs Linux.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
LIMIT = 4 << 20
"""Bytes of a file that is edited; a journal holds them whole."""


@dataclass(frozen=True, slots=True)
class State:
    """All of a file, or of a symbolic link, that a revert has to bring back; times are nanoseconds since 1970."""

    data: bytes
    """What is in the file, or where the link leads."""
    link: bool = False
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    modified: int | None = None
    attributes: tuple[tuple[str, bytes], ...] = ()

    def same(self, other: State | None) -> bool:
        """Say whether two are the same to a reader: content, kind, mode and owner; times and labels do not count."""
        return other is not None and self._key == other._key

    @property
    def _key(self) -> tuple[bytes, bool, int, int, int]:
        return self.data, self.link, 0 if self.link else self.mode, self.uid, self.gid


@dataclass(frozen=True, slots=True)
class FolderTime:
    """When a folder was changed (nanoseconds since 1970), and a digest of its names."""

    modified: int
    names: str


class Place:
    """One root that is written to."""

    def __init__(self, root: Path) -> None:
        """Open the root; raises OSError."""
        self.root = root
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let the root, and the lock on it, go."""
        os.close(self._root)

    def lock(self) -> None:
        """Keep other runs out until `close`; raises BlockingIOError. Locks the folder itself: no lock file is left."""
        fcntl.flock(self._root, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def state(self, path: str) -> State | None:
        """Return what stands at a path, None where nothing does; raises OSError for what is no file and no link."""
        parent, name = _split(path)
        try:
            with self._folder(parent) as folder:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISLNK(found.st_mode):
                    target = os.fsencode(os.readlink(name, dir_fd=folder))
                    return State(target, True, 0o777, found.st_uid, found.st_gid, found.st_mtime_ns)
                if not stat.S_ISREG(found.st_mode):
                    raise OSError(errno.EINVAL, "is no regular file")
                return self._file(name, folder)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _file(self, name: str, folder: int) -> State:
        descriptor = os.open(name, _READ, dir_fd=folder)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "is no regular file")
            if found.st_nlink > 1:
                raise OSError(
                    errno.EMLINK, f"has {found.st_nlink} names (hard links), which an edit would part"
                )
            if found.st_size > LIMIT:
                raise OSError(errno.EFBIG, f"is longer than {LIMIT} bytes")
            data = b"".join(iter(lambda: file.read(1 << 20), b""))
            return State(
                data,
                False,
                stat.S_IMODE(found.st_mode),
                found.st_uid,
                found.st_gid,
                found.st_mtime_ns,
                tuple((one, os.getxattr(descriptor, one)) for one in sorted(_attributes(descriptor))),
            )

    def exists(self, path: str) -> bool:
        """Say whether anything stands at a path."""
        parent, name = _split(path)
        try:
            with self._folder(parent) as folder:
                os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def is_folder(self, path: str) -> bool:
        """Say whether a folder, and no link to one, stands at a path."""
        try:
            with self._folder(path):
                return True
        except (FileNotFoundError, NotADirectoryError):
            return False

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted."""
        with self._folder(path) as folder:
            return sorted(_listed(folder))

    def time(self, path: str) -> FolderTime | None:
        """Return when a folder was last changed, and a digest of the names in it; None where there is none."""
        try:
            with self._folder(path) as folder:
                names = b"\0".join(sorted(map(os.fsencode, _listed(folder))))
                return FolderTime(os.fstat(folder).st_mtime_ns, hashlib.sha256(names).hexdigest())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def set_time(self, path: str, before: FolderTime) -> None:
        """Bring a folder's time back where it holds the same names again; else somebody else has changed it."""
        now = self.time(path)
        if now is None or now.names != before.names or now.modified == before.modified:
            return
        with self._folder(path) as folder:
            descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
            try:
                os.utime(descriptor, ns=(os.fstat(descriptor).st_atime_ns, before.modified))
            finally:
                os.close(descriptor)

    def make_folder(self, path: str, mode: int = 0o755) -> None:
        """Make a folder, whatever the umask is."""
        parent, name = _split(path)
        with self._folder(parent) as folder:
            os.mkdir(name, 0o700, dir_fd=folder)
            os.chmod(name, mode, dir_fd=folder)
            _durable(folder)

    def remove_folder(self, path: str) -> bool:
        """Remove a folder, and say whether it is gone; one with something in it stays."""
        parent, name = _split(path)
        try:
            with self._folder(parent) as folder:
                os.rmdir(name, dir_fd=folder)
                _durable(folder)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        return True

    def put(self, path: str, new: State, beside: str, expected: State | None) -> None:
        """Make a path hold exactly this, by way of the name `beside` in the same folder.

        What stands there must still be as expected, or FileExistsError is raised and it stays. A time of None is now.
        """
        parent, name = _split(path)
        with self._folder(parent) as folder:
            if new.link:
                self._expect(path, expected)
                os.symlink(os.fsdecode(new.data), beside, dir_fd=folder)
                if new.modified is not None:
                    times = (new.modified, new.modified)
                    os.utime(beside, ns=times, dir_fd=folder, follow_symlinks=False)
                found = os.stat(beside, dir_fd=folder, follow_symlinks=False)
                if (found.st_uid, found.st_gid) != (new.uid, new.gid):
                    os.chown(beside, new.uid, new.gid, dir_fd=folder, follow_symlinks=False)
            else:
                _write(beside, new, folder)
                self._expect(path, expected)
            os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
            _durable(folder)

    def _expect(self, path: str, expected: State | None) -> None:
        now = self.state(path)
        if now is not expected and (expected is None or not expected.same(now)):
            raise FileExistsError(errno.EEXIST, "was changed by somebody else at this very moment")

    def remove(self, path: str) -> None:
        """Remove a file or a link; nothing where none is."""
        parent, name = _split(path)
        try:
            with self._folder(parent) as folder:
                os.unlink(name, dir_fd=folder)
                _durable(folder)
        except (FileNotFoundError, NotADirectoryError):
            pass

    def rename(self, old: str, new: str) -> None:
        """Give a file or a folder another name, at once; both parents exist."""
        (from_parent, from_name), (to_parent, to_name) = _split(old), _split(new)
        with self._folder(from_parent) as source, self._folder(to_parent) as target:
            os.rename(from_name, to_name, src_dir_fd=source, dst_dir_fd=target)
            _durable(source)
            _durable(target)

    def remove_tree(self, path: str) -> None:
        """Remove a folder of our own with all that is in it."""
        if not self.is_folder(path):
            return
        for name in self.names(path):
            below = f"{path}/{name}"
            if self.is_folder(below):
                self.remove_tree(below)
            else:
                self.remove(below)
        self.remove_folder(path)

    @contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        descriptor = os.open(".", _FOLDER, dir_fd=self._root)
        try:
            for part in filter(None, path.split("/")):
                deeper = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = deeper
            yield descriptor
        finally:
            os.close(descriptor)


def ours(state: State) -> State:
    """Return a state as a new file of this user has it."""
    return replace(state, uid=os.geteuid(), gid=os.getegid())


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rstrip("/").rpartition("/")
    return parent, name


def _listed(folder: int) -> list[str]:
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def _durable(folder: int) -> None:
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _attributes(descriptor: int) -> list[str]:
    try:
        return os.listxattr(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return []
        raise


def _write(name: str, new: State, folder: int) -> None:
    """Write a new file, whole and durable; owner before mode, because a change of owner takes set-id bits away."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        at = 0
        while at < len(new.data):
            at += os.write(descriptor, new.data[at:])
        found = os.fstat(descriptor)
        if (found.st_uid, found.st_gid) != (new.uid, new.gid):
            os.fchown(descriptor, new.uid, new.gid)
        os.fchmod(descriptor, new.mode)
        there = {one: os.getxattr(descriptor, one) for one in _attributes(descriptor)}
        for one, value in new.attributes:
            if there.get(one) != value:
                os.setxattr(descriptor, one, value)
        if new.modified is not None:
            os.utime(descriptor, ns=(new.modified, new.modified))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
