"""A tree that lies in a tar file: a root file system, or an image as `docker save` or an OCI tool writes it.

Layers are put on top of one another as a container sees them: whiteouts take away what lower layers have (OCI image
specification, layer.md). Nothing is unpacked into the file system; a compressed layer goes to an anonymous temporary
file, because reading jumps. All sizes are bounded, and what is damaged is told, with everything before it kept.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import zstandard

from imdswatch.finding import Skipped
from imdswatch.host.tree import Kind, Meta

_LARGEST = 16 << 30
"""Bytes that the layers of one image may have unpacked, together."""
_MEMBERS = 3_000_000
_DOCUMENT = 8 << 20
_PIECE = 1 << 20
_OPENERS: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\0", lzma.LZMAFile),
    (
        b"\x28\xb5\x2f\xfd",
        lambda file: zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(file),
    ),
)
_DAMAGE = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, ValueError)


@dataclass(frozen=True, slots=True)
class _Node:
    meta: Meta
    layer: int
    offset: int


class ImageStore:
    """Reads a tar file; `config` is what an image says of how it is run, {} where it says nothing."""

    def __init__(self, path: Path) -> None:
        """Read the names of everything in it; raises OSError or tarfile.TarError if it is no tar file at all."""
        self._open_files = ExitStack()
        self.skipped: list[Skipped] = []
        self.config: Mapping[str, Any] = {}
        self._left, self._members = _LARGEST, 0
        self._nodes: dict[str, _Node] = {}
        self._children: dict[str, dict[str, Kind]] = {"": {}}
        self._layers: list[IO[bytes]] = []
        outer = self._plain(self._open_files.enter_context(path.open("rb")), path.name)
        with tarfile.open(fileobj=outer, mode="r:") as archive:
            layers = self._image(archive)
        for name, file in layers if layers else [(path.name, outer)]:
            self._add(name, file)

    def __del__(self) -> None:
        self._open_files.close()

    def look(self, path: str) -> Meta | None:
        """Return what stands at a path without following it, None where nothing does."""
        node = self._nodes.get(path)
        if node is not None:
            return node.meta
        return Meta(Kind.FOLDER, 0o755, 0, 0, 0) if path in self._children else None

    def names(self, path: str) -> list[tuple[str, Kind]]:
        """Return the entries of a folder, in any order."""
        return list(self._children.get(path.rstrip("/"), {}).items())

    def open(self, path: str) -> BinaryIO:
        """Return a regular file to read and to seek in."""
        node = self._nodes[path]
        view = _View(self._layers[node.layer], node.offset, node.meta.size)
        return cast("BinaryIO", io.BufferedReader(view))

    # The image

    def _image(self, archive: tarfile.TarFile) -> list[tuple[str, IO[bytes]]]:
        """Return the layers of an image, lowest first; none where the archive is a root file system itself."""
        names = {member.name.removeprefix("./"): member for member in archive}
        config, layers = (
            self._docker(archive, names) if "manifest.json" in names else self._oci(archive, names)
        )
        document = self._json(archive, names, config)
        found = document.get("config") if isinstance(document, dict) else None
        self.config = found if isinstance(found, dict) else {}
        files = []
        for name in layers:
            member = names.get(name)
            file = archive.extractfile(member) if member is not None and member.isfile() else None
            if file is None or member is None:
                self.skipped.append(Skipped(name, "", "is a layer that the archive lacks"))
                continue
            view = io.BufferedReader(
                _View(cast("IO[bytes]", archive.fileobj), member.offset_data, member.size)
            )
            try:
                files.append((name, self._plain(cast("IO[bytes]", view), name)))
            except _DAMAGE as error:
                self.skipped.append(Skipped(name, "", f"is a damaged layer: {type(error).__name__}"))
        return files

    def _docker(
        self, archive: tarfile.TarFile, names: Mapping[str, tarfile.TarInfo]
    ) -> tuple[str, list[str]]:
        document = self._json(archive, names, "manifest.json")
        first = document[0] if isinstance(document, list) and document else None
        if not isinstance(first, dict):
            return "", []
        if isinstance(document, list) and len(document) > 1:
            self.skipped.append(
                Skipped("manifest.json", "", f"names {len(document)} images; the first is judged")
            )
        layers = first.get("Layers")
        return str(first.get("Config", "")), [str(one) for one in layers] if isinstance(layers, list) else []

    def _oci(self, archive: tarfile.TarFile, names: Mapping[str, tarfile.TarInfo]) -> tuple[str, list[str]]:
        document = self._json(archive, names, "index.json")
        for _ in range(4):  # an index may name an index
            listed = document.get("manifests") if isinstance(document, dict) else None
            if not isinstance(listed, list) or not listed:
                break
            document = self._json(archive, names, _blob(listed[0]))
        if not isinstance(document, dict) or not isinstance(document.get("layers"), list):
            return "", []
        return _blob(document.get("config")), [_blob(layer) for layer in document["layers"]]

    def _json(self, archive: tarfile.TarFile, names: Mapping[str, tarfile.TarInfo], name: str) -> Any:
        member = names.get(name)
        file = archive.extractfile(member) if member is not None and member.isfile() else None
        if file is None:
            return None
        try:
            return json.loads(file.read(_DOCUMENT))
        except (ValueError, RecursionError):
            self.skipped.append(Skipped(name, "", "is no JSON"))
            return None

    # The layers

    def _plain(self, file: IO[bytes], name: str) -> IO[bytes]:
        """Return a file itself, or what it unpacks to."""
        magic = file.read(6)
        file.seek(0)
        opener = next((opener for begin, opener in _OPENERS if magic.startswith(begin)), None)
        if opener is None:
            return file
        unpacked = self._open_files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  the stack closes it
        try:
            with opener(file) as stream:
                while piece := stream.read(_PIECE):
                    self._left -= len(piece)
                    if self._left < 0:
                        self.skipped.append(Skipped(name, "", "unpacks to too much; the rest is not judged"))
                        break
                    unpacked.write(piece)
        except _DAMAGE as error:
            self.skipped.append(
                Skipped(name, "", f"is damaged: {type(error).__name__}; what comes before is judged")
            )
        unpacked.seek(0)
        return unpacked

    def _add(self, name: str, file: IO[bytes]) -> None:
        """Put a layer on top of what is there."""
        self._layers.append(file)
        at = len(self._layers) - 1
        added: set[str] = set()
        try:
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in self._walk(archive):
                    self._member(member, at, added)
        except _DAMAGE as error:
            self.skipped.append(
                Skipped(name, "", f"is damaged: {type(error).__name__}; what comes before is judged")
            )

    def _walk(self, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # or it keeps all that it ever read
            self._members += 1
            if self._members > _MEMBERS:
                self.skipped.append(
                    Skipped("/", "", f"has more than {_MEMBERS} entries; the rest is not judged")
                )
                return
            yield member

    def _member(self, member: tarfile.TarInfo, layer: int, added: set[str]) -> None:
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if not parts or ".." in parts:
            return
        folder, name = "".join(f"/{part}" for part in parts[:-1]), parts[-1]
        if name == ".wh..wh..opq":
            if f"{folder}/{name}" not in added:  # saying it again hides nothing more, and takes as long
                added.add(f"{folder}/{name}")
                self._hide(folder, added)
            return
        if name.startswith(".wh."):
            if f"{folder}/{name[4:]}" in added:
                self._hide(f"{folder}/{name[4:]}", added)
            else:
                self._remove(folder, name[4:])
            return
        path = f"{folder}/{name}"
        node = self._node(member, layer)
        if node is None:
            return
        if node.meta.kind is not Kind.FOLDER and path in self._children:
            self._remove(folder, name)
        self._parents(folder)
        self._nodes[path] = node
        self._children[folder][name] = node.meta.kind
        if node.meta.kind is Kind.FOLDER:
            self._children.setdefault(path, {})
        while path not in added:
            added.add(path)
            path = path.rpartition("/")[0]

    def _node(self, member: tarfile.TarInfo, layer: int) -> _Node | None:
        if member.islnk():  # another name of a file that came before it
            parts = [part for part in member.linkname.split("/") if part not in ("", ".")]
            return self._nodes.get("".join(f"/{part}" for part in parts))
        kind = (
            Kind.FOLDER
            if member.isdir()
            else Kind.LINK
            if member.issym()
            else Kind.FILE
            if member.isreg() and not member.issparse()
            else Kind.OTHER
        )
        target = member.linkname if kind is Kind.LINK else ""
        meta = Meta(kind, member.mode & 0o7777, member.uid, member.gid, member.size, target)
        return _Node(meta, layer, member.offset_data)

    def _parents(self, folder: str) -> None:
        """Make the folders above an entry, whatever a lower layer had in their place."""
        above = ""
        for name in folder.split("/")[1:]:
            path = f"{above}/{name}"
            if path not in self._children:
                self._nodes.pop(path, None)
                self._children[path] = {}
            self._children[above][name] = Kind.FOLDER
            above = path

    def _hide(self, top: str, added: set[str]) -> None:
        """Take away what lower layers have below a folder: what hides in a layer hides nothing of the layer itself."""
        pending = [top]
        while pending:
            folder = pending.pop()
            for child in list(self._children.get(folder, {})):
                if f"{folder}/{child}" in added:
                    pending.append(f"{folder}/{child}")
                else:
                    self._remove(folder, child)

    def _remove(self, folder: str, name: str) -> None:
        self._children.get(folder, {}).pop(name, None)
        pending = [f"{folder}/{name}"]
        while pending:
            path = pending.pop()
            self._nodes.pop(path, None)
            pending += [f"{path}/{child}" for child in self._children.pop(path, {})]


class _View(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, position: int, whence: int = 0) -> int:
        start = {0: 0, 1: self._at, 2: self._size}[whence]
        self._at = max(0, start + position)
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(0, self._size - self._at))
        self._file.seek(self._offset + self._at)
        data = self._file.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _blob(descriptor: Any) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    return f"blobs/{digest.replace(':', '/', 1)}" if isinstance(digest, str) else ""
