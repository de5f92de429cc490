"""Packed, nested, transcoded, damaged: every stream delivers what is readable, then says what is not."""

from __future__ import annotations

import gzip
import io
import os
import random
import resource
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from imdswatch.finding import Skipped
from imdswatch.read.content import COMPRESSED, recognise
from imdswatch.read.sources import Ignored, Source, walk
from imdswatch.read.streams import Stream, open_streams
from imdswatch.read.unpack import UNPACKERS
from packed_streams import LOG, PACKERS, read, tar, zipped, zstd


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "f"


def test_what_counts_as_compressed_can_be_unpacked() -> None:
    assert UNPACKERS.keys() == COMPRESSED


@pytest.mark.parametrize("how", PACKERS)
def test_each_compression_once_and_concatenated_and_padded(file: Path, how: str) -> None:
    pack = PACKERS[how]
    for packed, wanted in (
        (pack(LOG), LOG),
        (pack(b""), b""),
        (pack(LOG) + pack(b"") + pack(b"two\n") * 3, LOG + b"two\n" * 3),
        (pack(LOG) + bytes(1024), LOG),
    ):
        file.write_bytes(packed)
        assert read(file) == ({"f": wanted}, [])
        assert read(file, 7919) == ({"f": wanted}, [])


@pytest.mark.parametrize("how", PACKERS)
def test_trailing_garbage_is_told(file: Path, how: str) -> None:
    packed = PACKERS[how](LOG)
    file.write_bytes(packed + b"garbage")
    reason = f"what follows the {how} data at its byte {len(packed)} is no {how} data and was not read"
    assert read(file) == ({"f": LOG}, [Skipped("f", f"byte {len(LOG)}", reason)])


@pytest.mark.parametrize("how", PACKERS)
def test_cut_anywhere_delivers_a_prefix_and_says_so(file: Path, how: str) -> None:
    packed = PACKERS[how](LOG)
    for end in range(20, len(packed), 100 if how == "gzip" else 997):
        file.write_bytes(packed[:end])
        data, (skipped,) = read(file)
        assert LOG.startswith(data["f"])
        assert isinstance(skipped, Skipped)
        assert (skipped.source, skipped.position) == ("f", f"byte {len(data['f'])}")
        assert "cut short" in skipped.reason
        if how == "gzip":  # ISA-L holds back the last symbol, a match of at most 258 bytes (RFC 1951, 3.2.5)
            readable = zlib.decompressobj(31).decompress(packed[:end])
            assert 0 <= len(readable) - len(data["f"]) <= 258


@pytest.mark.parametrize("how", PACKERS)
def test_a_wrong_checksum_delivers_everything(file: Path, how: str) -> None:
    packed = bytearray(PACKERS[how](LOG))
    packed[{"gzip": -8, "zstd": -1, "bzip2": -5, "xz": -30}[how]] ^= 0x55
    file.write_bytes(packed)
    data, (skipped,) = read(file)
    assert isinstance(skipped, Skipped)
    assert skipped.position == f"byte {len(data['f'])}"
    assert len(data["f"]) >= len(LOG) - 65536
    if how in ("gzip", "zstd"):
        assert data["f"] == LOG


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*PACKERS, "tar", "zip", "zip stream"]), st.randoms(use_true_random=False))
def test_bytes_changed_at_random_never_raise(
    tmp_path_factory: pytest.TempPathFactory, how: str, rng: random.Random
) -> None:
    if how == "tar":
        packed = bytearray(tar(a=LOG[:900], b=gzip.compress(LOG[:900]), c=b"x\n"))
    elif how.startswith("zip"):
        packed = bytearray(zipped(a=LOG[:900], b=gzip.compress(LOG[:900]), c=b"x\n"))
    else:
        packed = bytearray(PACKERS[how](LOG[:3000]))
    for _ in range(rng.randint(1, 4)):
        packed[rng.randrange(len(packed))] = rng.randrange(256)
    packed = packed[: rng.choice([len(packed), rng.randrange(len(packed) + 1)])]
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(packed)
    if how == "zip stream":
        with open(path, "rb") as stream:
            list(_through_a_pipe(stream.read()))
    else:
        list(open_streams(Source("damaged", str(path), True, 0.0)))
        read(path)


def _through_a_pipe(data: bytes) -> tuple[dict[str, bytes], list[Skipped | Ignored]]:
    reading, writing = os.pipe()

    def write() -> None:
        try:
            with open(writing, "wb") as out:
                out.write(data)
        except BrokenPipeError:
            pass

    writer = threading.Thread(target=write)
    writer.start()
    try:
        return read(Source("pipe", f"/dev/fd/{reading}", True, None))
    finally:
        os.close(reading)
        writer.join()


def test_tar_and_zip_hold_streams_in_order(file: Path) -> None:
    members = {"a.log": LOG, "empty": b"", "b.log": b"two\n"}
    wanted = {f"f!{name}": data for name, data in members.items()}
    for archive in (tar(**members), gzip.compress(tar(**members)), zstd(tar(**members)), zipped(**members),
                    zipped(zipfile.ZIP_STORED, **members), zipped(zipfile.ZIP_BZIP2, **members)):  # fmt: skip
        file.write_bytes(archive)
        data, others = read(file)
        assert (data, others) == (wanted, [])
        assert list(data) == list(wanted)
        piped, others = _through_a_pipe(archive)
        assert (list(piped.values()), others) == (list(members.values()), [])


def test_zip_written_to_a_pipe_has_its_sizes_behind(file: Path) -> None:
    class Unseekable(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    out = Unseekable()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", LOG)
        archive.writestr("none", b"")
        archive.writestr("b", b"two\n")
    raw = out.getvalue()
    wanted = ({"pipe!a": LOG, "pipe!none": b"", "pipe!b": b"two\n"}, list[Skipped]())
    assert _through_a_pipe(raw) == wanted
    file.write_bytes(
        raw[:-40]
    )  # without the end of its directory it is read like a pipe: all members are there
    assert read(file) == ({"f!a": LOG, "f!none": b"", "f!b": b"two\n"}, [])
    file.write_bytes(raw[:9000])
    data, (skipped,) = read(file)
    assert LOG.startswith(data["f!a"])
    assert skipped == Skipped("f!a", f"byte {len(data['f!a'])}", "zip member is cut short")


def test_zip_after_other_bytes_and_its_odd_members(file: Path) -> None:
    file.write_bytes(zipped(zipfile.ZIP_LZMA, old=b"x\n"))
    assert read(file)[1] == [Skipped("f!old", "", "is packed with zip method 14, which we do not read")]
    raw = bytearray(zipped(secret=b"x\n" * 50, plain=b"two\n"))
    raw[6] |= 1
    raw[raw.find(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(raw)
    assert read(file) == ({"f!plain": b"two\n"}, [Skipped("f!secret", "", "is encrypted")])
    assert _through_a_pipe(bytes(raw)) == (
        {"pipe!plain": b"two\n"},
        [Skipped("pipe!secret", "", "is encrypted")],
    )


def test_nested(file: Path) -> None:
    inner = gzip.compress(tar(**{"deep.log.gz": gzip.compress(LOG), "d/e.log": b"x\n"}))
    file.write_bytes(zipped(**{"in.tar.gz": inner, "z.zip": zipped(q=b"q\n")}))
    assert read(file) == (
        {"f!in.tar.gz!deep.log.gz": LOG, "f!in.tar.gz!d/e.log": b"x\n", "f!z.zip!q": b"q\n"},
        [],
    )
    data = b"x\n"
    for _ in range(6):
        data = tar(t=data)
    file.write_bytes(data)
    assert read(file) == ({}, [Skipped("f!t!t!t!t", "", "lies in 4 archives already; deeper is not read")])
    data = b"x\n"
    for _ in range(6):
        data = gzip.compress(data)
    file.write_bytes(data)
    assert read(file) == ({}, [Skipped("f", "", "is compressed more than 4 times over; deeper is not read")])


def test_cut_tar_delivers_all_before(file: Path) -> None:
    whole = tar(a=b"a\n" * 600, b=LOG, c=b"c\n")
    for end in (100, 600, 5000, len(whole) - 9000, len(whole) - 10240):
        for pack in (bytes, gzip.compress):
            file.write_bytes(pack(whole[:end]))
            data, others = read(file)
            assert (b"a\n" * 600).startswith(data.get("f!a", b""))
            assert LOG.startswith(data.get("f!b", b""))
            assert len(others) == (1 if end >= 512 else len(others))
    file.write_bytes(whole[:5000])
    data, others = read(file)
    assert data["f!a"] == b"a\n" * 600
    there = len(data["f!b"])
    reason = f"tar member is cut short: {len(LOG) - there} bytes are missing"
    assert others == [Skipped("f!b", f"byte {there}", reason)]
    file.write_bytes(gzip.compress(whole)[:-3000])
    data, others = read(file)
    assert len(others) == 1


def test_tar_names_links_sparse_and_hostile_headers(file: Path) -> None:
    out = io.BytesIO()
    for fmt in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        with tarfile.open(fileobj=out, mode="w", format=fmt) as archive:
            info = tarfile.TarInfo("d" * 90 + "/" + ("é" * 60 if fmt != tarfile.USTAR_FORMAT else "n" * 60))
            info.size = 2
            archive.addfile(info, io.BytesIO(b"x\n"))
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, "elsewhere"
            archive.addfile(link)
        file.write_bytes(out.getvalue())
        assert read(file) == ({f"f!{info.name}": b"x\n"}, [])
        out.seek(0)
        out.truncate()
    # A negative size (CVE-2025-8194) and one beyond the file.
    for field in (b"\xff" * 12, b"\x80" + bytes(3) + b"\x7f" + bytes(7)):
        head = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT)[:512])
        head[124:136] = field
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\x00 " % sum(head)
        file.write_bytes(bytes(head) + b"x\n" * 256)
        _, (skipped,) = read(file)
        assert isinstance(skipped, Skipped)


def test_gnu_sparse_members(tmp_path: Path) -> None:
    with open(tmp_path / "s.log", "wb") as out:
        for i in range(30):
            out.seek(i << 17)
            out.write(b"line %d\n" % i)
    run = subprocess.run(["tar", "-cSf", "s.tar", "s.log"], cwd=tmp_path, check=False, capture_output=True)
    if run.returncode:
        pytest.skip("no GNU tar here")
    data, others = read(tmp_path / "s.tar")
    assert others == []
    assert [line.strip(b"\0") for line in data["s.tar!s.log"].split(b"\n")[:30]] == [
        b"line %d" % i for i in range(30)
    ]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-8-sig", "utf-32"])
def test_encodings_are_recognised_and_arrive_as_utf8(file: Path, encoding: str) -> None:
    text = LOG.decode() + "\u010a\u0a0d 日本 😀\r\nlast"
    file.write_bytes(text.encode(encoding))
    assert read(file) == ({"f": text.encode()}, [])
    assert read(file, 7) == ({"f": text.encode()}, [])
    file.write_bytes(gzip.compress(text.encode(encoding)))
    assert read(file, 777) == ({"f": text.encode()}, [])


def test_byte_order_mark_is_dropped_and_offsets_stay_those_of_the_file(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfone\ntwo\n")
    (stream,) = open_streams(Source("f", str(file), True, 5.0))
    assert isinstance(stream, Stream)
    assert (stream.origin, stream.seekable_path, stream.size, stream.mtime) == (3, str(file), 11, 5.0)


def test_latin1_nul_junk_and_odd_logs_are_text() -> None:
    rng = random.Random(4)
    junk = [rng.randbytes(60).replace(b"\n", b"") for _ in range(800)]
    lines = LOG.splitlines()
    mixed = b"\n".join(line for pair in zip(lines, junk, strict=False) for line in pair) + b"\n"
    for head in (
        LOG,
        mixed,
        LOG.decode().encode("latin-1"),
        bytes(70_000),
        bytes(4096) + LOG,
        LOG[:900] + bytes(60_000),
        LOG.replace(b" ", b"\x00 ", 5),
        b"x",
        b"\n",
        "日本語のログ\n".encode() * 50,
        "日本語のログ\n".encode()[:-2],
        "журнал\n".encode("cp1251") + LOG[:200],
        b"type=SOCKADDR saddr=0\x1dSADDR={ x }\n" * 40,
        b"\x1b[31merror\x1b[0m\n" * 20,
        b"8=FIX.4.2\x019=12\x0135=A\n" * 9,
        b"GIF8 is no picture here, nor is this\n",
        b"ORC line\n" * 20,
        b"PAR1\n" * 5,
    ):
        assert recognise(head[:65536]).kind == "text", head[:60]


def test_binary_is_binary() -> None:
    rng = random.Random(4)
    assert recognise(rng.randbytes(65536)).kind == "binary"
    assert recognise(b"\x7fELF" + rng.randbytes(5000)).kind == "binary"
    assert recognise(Path(sys.executable).resolve().read_bytes()[:65536]).kind == "binary"
    wtmp = (b"\x07\x00\x00\x00\x12\x03\x00\x00pts/0" + bytes(27) + b"ts/0root" + bytes(300)) * 50
    assert recognise(wtmp).kind == "binary" or wtmp.count(0) > 0.8 * len(wtmp)
    assert recognise(b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(40)).kind == "capture"
    assert recognise(b"\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x4d\x3c\x2b\x1a" + bytes(40)).kind == "capture"
    assert recognise(b"PAR1\x15\x00\x15" + rng.randbytes(900)).kind == "table"
    assert recognise(b"PARE\x15\x00\x15" + rng.randbytes(900)).kind == "unread"
    assert recognise(b"FEA1\x00\x00\x00\x00" + rng.randbytes(900)).kind == "unread"
    assert recognise(b"").kind == "empty"


def test_binary_is_skipped_if_named_and_ignored_if_met_and_a_capture_is_a_stream(tmp_path: Path) -> None:
    blob = random.Random(1).randbytes(5000)
    (tmp_path / "blob").write_bytes(blob)
    (tmp_path / "p.pcap").write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(40))
    (tmp_path / "t.tar").write_bytes(tar(blob=blob))
    what = "unknown binary data"
    met = [item for source in walk([str(tmp_path)]) for item in open_streams(source)]  # type: ignore[arg-type]
    assert (met[0], met[2]) == (Ignored(f"{tmp_path}/blob", what), Ignored(f"{tmp_path}/t.tar!blob", what))
    assert isinstance(met[1], Stream)
    assert (met[1].name, met[1].capture) == (f"{tmp_path}/p.pcap", True)
    assert read(tmp_path / "blob") == ({}, [Skipped("blob", "", f"is {what}")])
    assert read(tmp_path / "t.tar") == ({}, [Ignored("t.tar!blob", what)])


def test_empty_file_is_an_empty_stream(file: Path) -> None:
    file.touch()
    assert read(file) == ({"f": b""}, [])


def test_a_growing_file_is_read_to_the_size_it_had(file: Path) -> None:
    file.write_bytes(LOG)
    found = open_streams(Source("f", str(file), True, 0.0))
    stream = next(found)
    assert isinstance(stream, Stream)
    with open(file, "ab") as out:
        out.write(b"later\n")
    buffer, data = bytearray(1000), b""
    while count := stream.readinto(buffer):
        data += buffer[:count]
    assert data == LOG
    assert list(found) == []


def test_a_file_that_shrinks_while_read(file: Path) -> None:
    file.write_bytes(LOG)
    found = open_streams(Source("f", str(file), True, 0.0))
    stream = next(found)
    assert isinstance(stream, Stream)
    buffer = bytearray(100_000)
    assert stream.readinto(buffer) == 100_000
    os.truncate(file, 150_000)
    file.unlink()  # a file that vanishes is still there for who has it open
    assert stream.readinto(buffer) == 50_000
    assert stream.readinto(buffer) == 0
    missing = len(LOG) - 150_000
    wanted = Skipped("f", "byte 150000", f"became shorter while it was read: {missing} bytes are missing")
    assert list(found) == [wanted]
    assert stream.skipped == [wanted]


def test_a_stream_left_unread_and_a_walk_given_up(file: Path) -> None:
    file.write_bytes(gzip.compress(tar(a=LOG * 20, b=b"two\n")))
    found = open_streams(Source("f", str(file), True, 0.0))
    before = len(os.listdir("/proc/self/fd"))
    assert isinstance(next(found), Stream)
    second = next(found)
    assert isinstance(second, Stream)
    assert second.name == "f!b"
    found.close()  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) == before


def test_windows_that_are_too_large_are_refused(file: Path) -> None:
    params = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    packed = zstandard.ZstdCompressor(compression_params=params).compressobj()
    file.write_bytes(packed.compress(LOG) + packed.flush())
    data, (skipped,) = read(file)
    assert data == {"f": b""}
    assert "too much memory" in str(skipped)


_BOMB = """
import resource, sys
from imdswatch.read.sources import Source
from imdswatch.read.streams import Stream, open_streams
total, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for item in open_streams(Source("bomb", sys.argv[1], True, 0.0)):
    if isinstance(item, Stream):
        buffer = bytearray(1 << 19)
        while count := item.readinto(buffer):
            total += count
    else:
        print(item.position, item.reason)
print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("how", ["gzip", "zstd", "tar.gz", "zip of zstd"])
def test_ten_gigabytes_of_zeros(tmp_path: Path, how: str) -> None:
    path = tmp_path / "bomb"
    if how in ("gzip", "tar.gz"):
        # Zeros flushed at a byte border can be repeated: no need to compress ten gigabytes here.
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        info = tarfile.TarInfo("x.log")
        info.size = 10 << 30
        head = packer.compress(info.tobuf(tarfile.GNU_FORMAT) if how == "tar.gz" else b"")
        head += packer.flush(zlib.Z_FULL_FLUSH)
        chunk = packer.compress(bytes(16 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
        again = packer.compress(bytes(16 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
        path.write_bytes(head + chunk + again * 639)
    else:
        # A frame of run-length blocks: 4 bytes are 128 kB (RFC 8878, 3.1.1.2.2).
        frame = b"\x28\xb5\x2f\xfd\x00\x58" + b"\x02\x00\x10\x00" * (10 << 13) + b"\x03\x00\x00\x00"
        path.write_bytes(frame if how == "zstd" else zipped(**{str(i): frame for i in range(30)}))
    run = subprocess.run(
        [sys.executable, "-c", _BOMB, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    *told, last = run.stdout.splitlines()
    total, grown = map(int, last.split())
    assert "decompression bomb" in told[0]
    assert total <= (5 if how == "zip of zstd" else 3) << 30
    assert grown < 40 << 10, "kilobytes"


def test_memory_stays_small_for_large_members(tmp_path: Path) -> None:
    """Read 200 MB out of each packing; the most memory ever used must not show it."""
    path = tmp_path / "big"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chunk = random.Random(3).randbytes(1 << 16).hex().encode() + b"\n"
    with gzip.open(path, "wb", compresslevel=1) as out:
        for _ in range(300):
            out.write(chunk)
    data_length = 0
    for item in open_streams(Source("big", str(path), True, 0.0)):
        assert isinstance(item, Stream)
        buffer = bytearray(1 << 16)
        while count := item.readinto(buffer):
            data_length += count
    assert data_length == 300 * len(chunk)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10
