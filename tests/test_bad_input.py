"""Whatever is wrong with the input: findings are kept, what was not read is told with place and reason, and the exit
code says so (DESIGN 6). No trace, no bug, no more than 300 MB: `commandline.run` checks that in every case here.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import signal
import socket
import stat
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import zstandard

from commandline import command, environment, run, scan
from imdswatch import cli, rule, schema
from patience import LONG

pytestmark = pytest.mark.slow  # part of `make test`, not of `make check`

CLEAN, FOUND, WRONG, SKIPPED = 0, 1, 2, 3


def hit(number: int = 1, **more: object) -> bytes:
    """Return a Zeek http line: host 10.0.0.`number` asks, nobody answers."""
    return _line(number, "169.254.169.254", "/latest/meta-data/iam/", more)


def miss(number: int = 1, **more: object) -> bytes:
    """Return a Zeek http line about something else."""
    return _line(number, "198.51.100.7", "/index.html", more)


def _line(number: int, host: str, uri: str, more: dict[str, object]) -> bytes:
    record: dict[str, object] = {
        "ts": 1795309301.5 + number, "uid": f"C{number}", "id.orig_h": f"10.0.{number >> 8}.{number & 255}",
        "id.orig_p": 40000, "id.resp_h": host, "id.resp_p": 80, "trans_depth": 1, "method": "GET", "host": host,
        "uri": uri, "request_body_len": 0,
    }  # fmt: skip
    return json.dumps({**record, **more}).encode() + b"\n"


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    def write(data: bytes, name: str = "x.log") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return write


Log = Callable[..., Path]


# --- packed and cut ---------------------------------------------------------------------------------------------------


def _packed(data: bytes, how: str) -> bytes:
    if how == "tar":
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo("inside.log")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        return out.getvalue()
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "zstd": zstandard.ZstdCompressor(level=1).compress,
        "bzip2": lambda text: bz2.compress(text, 1),
    }
    return packers[how](data)


@pytest.mark.parametrize("how", ["gzip", "zstd", "bzip2", "tar"])
def test_a_cut_archive_keeps_what_came_before(how: str, tmp_path: Path, log: Log) -> None:
    body = hit(1) + b"".join(miss(n, pad=os.urandom(64).hex()) for n in range(8000))
    packed = _packed(body, how)
    done = scan(tmp_path, log(packed[: len(packed) * 2 // 3]))
    assert done.code == FOUND
    name = "x.log!inside.log" if how == "tar" else "x.log"
    assert f"{name}:line 1" in done.places
    ((place, reason),) = done.skips.items()
    assert place.startswith(f"{name}:byte ")
    assert int(place.rpartition(" ")[2]) > 100_000
    assert "cut short" in reason or "missing" in reason


def test_a_cut_archive_without_findings_is_not_clean(tmp_path: Path, log: Log) -> None:
    packed = gzip.compress(b"".join(miss(n, pad=os.urandom(64).hex()) for n in range(3000)))
    done = scan(tmp_path, log(packed[:-9]))
    assert (done.code, done.of("finding")) == (SKIPPED, [])
    assert len(done.skips) == 1


def test_a_wrong_checksum_keeps_everything_and_says_so(tmp_path: Path, log: Log) -> None:
    packed = bytearray(gzip.compress(hit(1)))
    packed[-6] ^= 0xFF
    done = scan(tmp_path, log(bytes(packed)))
    assert done.code == FOUND
    assert "checksum is wrong" in str(done.skips)


def _bomb(first: bytes, how: str) -> bytes:
    """1.3 GB of nothing, packed twice: deflate alone gives no more than 1032:1."""
    inner = gzip.compress(first) + gzip.compress(bytes(16 << 20), 9) * 80
    if how == "gzip":
        return gzip.compress(inner, 9)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside.log", inner)
        archive.writestr("after.log", first)
    return out.getvalue()


@pytest.mark.parametrize("how", ["gzip", "zip"])
def test_a_bomb_is_defused_after_its_findings(how: str, tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, log(_bomb(hit(1), how)))
    assert done.code == FOUND
    inside = {"x.log:line 1"} if how == "gzip" else {"x.log!inside.log:line 1", "x.log!after.log:line 1"}
    assert done.places <= inside
    assert done.places
    assert any("decompression bomb" in reason for reason in done.skips.values())


# --- records ----------------------------------------------------------------------------------------------------------


def _feed(pieces: Iterator[bytes]) -> int:
    """Return the reading end of a pipe that a thread fills."""
    reading, writing = os.pipe()

    def work() -> None:
        with open(writing, "wb") as pipe:
            try:
                for piece in pieces:
                    pipe.write(piece)
            except BrokenPipeError:
                pass

    threading.Thread(target=work, daemon=True).start()
    return reading


def _long_line(size: int) -> Iterator[bytes]:
    yield miss(1) + b'{"uid":"'
    filler = b"x" * (1 << 20)
    for _ in range(size >> 21):
        yield filler
    yield b'","host": "169.254.169.254","b":"'
    for _ in range(size >> 21):
        yield filler
    yield b'"}\n' + hit(3)


def _scan_long_line(tmp_path: Path, size: int) -> None:
    reading = _feed(_long_line(size))
    try:
        done = scan(tmp_path, "-", stdin=reading)
    finally:
        os.close(reading)
    assert done.code == FOUND
    assert done.places == {"-:line 2", "-:line 3"}
    ((place, reason),) = done.skips.items()
    assert place == "-:line 2"
    assert "longer than" in reason


def test_a_line_of_64_mb(tmp_path: Path) -> None:
    _scan_long_line(tmp_path, 64 << 20)


@pytest.mark.slow
def test_a_line_of_1_gb(tmp_path: Path) -> None:
    _scan_long_line(tmp_path, 1 << 30)


def test_a_long_line_without_a_sign_costs_nothing_but_time(tmp_path: Path) -> None:
    reading = _feed(iter([b"y" * (1 << 20)] * 64 + [b"\n", miss(2)]))
    done = scan(tmp_path, "-", stdin=reading)
    os.close(reading)
    assert done.code in (CLEAN, SKIPPED)
    assert done.of("summary")[0]["records"] == 2


@pytest.mark.parametrize("border", ["", "\n"], ids=["one line", "a level a line"])
@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_json_a_million_deep(opening: str, border: str, tmp_path: Path, log: Log) -> None:
    deep = (opening + border).encode() * 1_000_000
    closing = (b"}" if opening[0] == "{" else b"]") * 1_000_000
    inner = b'{"dst": "169.254.169.254"}'
    done = scan(tmp_path, log(miss(1).strip() + b"\n" + deep + inner + closing + b"\n" + hit(2)))
    assert done.code == FOUND
    assert any(
        finding["victim"].get("ip") == "10.0.0.2" for finding in done.of("finding") if "victim" in finding
    )


def test_pretty_json_a_million_deep_from_the_start(tmp_path: Path, log: Log) -> None:
    deep = b'{\n"a":' * 1_000_000 + b'{"dst": "169.254.169.254"}' + b"}" * 1_000_000 + b"\n"
    done = scan(tmp_path, log(deep + hit(2)))
    assert done.code == FOUND
    assert any(finding.get("victim", {}).get("ip") == "10.0.0.2" for finding in done.of("finding"))


def test_a_broken_json_line_with_the_endpoint_is_found_and_told(tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, log(miss(1) + hit(2)[:-20] + b"\n" + hit(3)))
    assert done.code == FOUND
    assert done.places == {"x.log:line 2", "x.log:line 3"}
    assert list(done.skips) == ["x.log:line 2"]
    (broken,) = (one for one in done.of("finding") if one["evidence"][0]["position"] == "line 2")
    assert broken["confidence"] == "low"
    assert "victim" not in broken, "nothing may be read out of a record that does not parse"


def test_a_broken_json_line_about_something_else_is_nothing(tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, log(miss(1)[:-9] + b"\n" + miss(2)))
    assert (done.code, done.skips) == (CLEAN, {})


NUL = b"\x00"
MANGLED = {
    "NUL run before the record": (NUL * 4096 + hit(1), {"x.log:line 1"}),
    "NUL run between records": (miss(1) + NUL * 100_000 + b"\n" + hit(3), {"x.log:line 3"}),
    "NUL in the record": (hit(1).replace(b"GET", b"G\x00T") + hit(2), {"x.log:line 1", "x.log:line 2"}),
    "invalid UTF-8": (hit(1, user_agent="Z").replace(b"Z", b"\xff\xfe\xc3"), {"x.log:line 1"}),
    "truncated UTF-8": (hit(1, user_agent="Z").replace(b"Z", b"\xe2\x82"), {"x.log:line 1"}),
    "UTF-8 of surrogates": (hit(1, user_agent="Z").replace(b"Z", b"\xed\xa0\x80"), {"x.log:line 1"}),
    "escaped lone surrogate": (hit(1, user_agent="\ud800"), {"x.log:line 1"}),
    "Latin-1": (hit(1, user_agent="Z").replace(b"Z", "Müller".encode("latin-1")), {"x.log:line 1"}),
    "CRLF": (miss(1).replace(b"\n", b"\r\n") + hit(2).replace(b"\n", b"\r\n"), {"x.log:line 2"}),
    "lone CR": (miss(1).replace(b"\n", b"\r") + hit(2), {"x.log:line 1"}),
    "no end of line": (miss(1) + hit(2).rstrip(), {"x.log:line 2"}),
    "only the record": (hit(1).rstrip(), {"x.log:line 1"}),
    "byte order mark": (b"\xef\xbb\xbf" + hit(1), {"x.log:line 1"}),
    "empty lines": (b"\n\n\r\n" + hit(4) + b"\n\n", {"x.log:line 4"}),
    "junk first": (bytes(range(1, 9)) * 3 + b"\n" + hit(2) * 30, {"x.log:line 2"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MANGLED)
def test_mangled_text(name: str, tmp_path: Path, log: Log) -> None:
    data, places = MANGLED[name]
    done = scan(tmp_path, log(data))
    assert done.code == FOUND
    assert done.places == places


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_encodings(encoding: str, tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, log((miss(1) * 20 + hit(2)).decode().encode(encoding)))
    assert (done.code, done.places, done.skips) == (FOUND, {"x.log:line 21"}, {})


def test_utf_16_with_half_a_character_at_the_end(tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, log((hit(1) + miss(2)).decode().encode("utf-16") + b"\x00"))
    assert (done.code, done.places) == (FOUND, {"x.log:line 1"})


def test_lines_of_several_layouts(tmp_path: Path, log: Log) -> None:
    lines = [
        hit(1),
        b"Nov 22 01:02:03 fw kernel: IN=eth1 OUT=eth0 MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=10.0.0.2 "
        b"DST=169.254.169.254 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=1 DF PROTO=TCP SPT=4000 DPT=80 WINDOW=64240 "
        b"RES=0x00 SYN URGP=0\n",
        b'10.0.0.3 - - [22/Nov/2026:01:02:03 +0000] "GET /latest/meta-data/ HTTP/1.1" 404 153 "-" "curl/8"\n',
        b"who knows what this is: 10.0.0.4 asked 169.254.169.254 again\n",
        b"1795309301.500    100 10.0.0.5 TCP_MISS/200 512 GET http://169.254.169.254/latest/meta-data/ - "
        b"HIER_DIRECT/169.254.169.254 text/plain\n",
        b'{"log":"{\\"a\\":\\"169.254.169.254\\"}\\n","stream":"stdout","time":"2026-11-22T01:02:03Z"}\n',
    ]
    done = scan(tmp_path, log(b"".join(lines)), "--each")
    assert done.code == FOUND
    assert done.places == {f"x.log:line {number}" for number in range(1, 7)}
    known = {one["evidence"][0]["position"]: one.get("victim", {}).get("ip") for one in done.of("finding")}
    assert known == {
        "line 1": "10.0.0.1", "line 2": "10.0.0.2", "line 3": "10.0.0.3", "line 4": None, "line 5": "10.0.0.5",
        "line 6": None,
    }  # fmt: skip


def test_very_many_broken_lines_are_counted_not_kept(tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, log(miss(1) + b'{"uid": "169.254.169.254", \n' * 20_000))
    assert done.code == FOUND
    assert len(done.skips) <= 1001
    assert any("more places could not be read" in reason for reason in done.skips.values())


def test_a_terabyte_of_header_is_not_believed(tmp_path: Path, log: Log) -> None:
    columns = b"#fields\t" + b"\t".join(b"c%d" % n for n in range(100_000)) + b"\n"
    done = scan(tmp_path, log(b"#separator \\x09\n" + columns * 5 + hit(7)))
    assert (done.code, done.places) == (FOUND, {"x.log:line 7"})


# --- the file system --------------------------------------------------------------------------------------------------


def test_an_empty_file_and_dev_null_are_clean(tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, log(b""), "/dev/null")
    assert (done.code, done.skips, done.of("finding")) == (CLEAN, {}, [])
    assert done.of("summary")[0]["sources"] == 2


def test_a_folder_of_nothing_is_clean(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert scan(tmp_path, tmp_path / "empty").code == CLEAN


def test_what_does_not_exist_is_skipped(tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, tmp_path / "nowhere", log(miss(1)))
    assert done.code == SKIPPED
    assert "does not exist" in done.skips["nowhere:"]
    assert scan(tmp_path, tmp_path / "nowhere", log(hit(1))).code == FOUND


def _write_later(path: Path, data: bytes) -> threading.Thread:
    def work() -> None:
        with path.open("wb") as pipe:
            pipe.write(data)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_named_pipe_is_read_if_named(jobs: int, tmp_path: Path, log: Log) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = _write_later(pipe, miss(1) + hit(2))
    done = scan(tmp_path, pipe, log(hit(3)), "--jobs", jobs)
    writer.join(LONG)
    assert (done.code, done.places, done.skips) == (FOUND, {"pipe:line 2", "x.log:line 1"}, {})


def test_a_named_pipe_met_in_a_folder_is_skipped(tmp_path: Path, log: Log) -> None:
    log(hit(1), "in/x.log")
    os.mkfifo(tmp_path / "in" / "pipe")
    done = scan(tmp_path, tmp_path / "in")
    assert (done.code, done.places) == (FOUND, {"x.log:line 1"})
    assert "named pipe" in done.skips["pipe:"]


def test_a_directory_loop_is_cut_and_told(tmp_path: Path, log: Log) -> None:
    log(hit(1), "in/deeper/x.log")
    (tmp_path / "in" / "deeper" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "self").symlink_to("self")
    (tmp_path / "in" / "nothing").symlink_to("gone")
    done = scan(tmp_path, tmp_path / "in")
    assert (done.code, done.places) == (FOUND, {"x.log:line 1"})
    assert done.of("finding")[0]["count"] == 1
    assert "loop" in done.skips["up:"]
    assert set(done.skips) == {"up:", "self:", "nothing:"}


def test_a_socket_and_a_device_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(tmp_path / "in", os.O_RDONLY)
        one.bind(f"/proc/self/fd/{here}/s")
        os.close(here)
        done = scan(tmp_path, tmp_path / "in", "/dev/zero")
    assert done.code == SKIPPED
    assert set(done.skips) == {"s:", "zero:"}


# Root may read everything: without its capabilities it is subject to the permission bits like anyone (capset(2)).
_POWERLESS = """
import ctypes
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
assert ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()) == 0
"""


def test_no_permission(tmp_path: Path, log: Log) -> None:
    log(hit(1), "in/x.log")
    log(hit(2), "in/secret.log").chmod(0)
    log(hit(3), "in/folder/x.log")
    (tmp_path / "in" / "folder").chmod(0)
    try:
        done = scan(tmp_path, tmp_path / "in", driver=_POWERLESS)
        alone = scan(tmp_path, tmp_path / "in" / "secret.log", driver=_POWERLESS)
    finally:
        (tmp_path / "in" / "folder").chmod(stat.S_IRWXU)
    assert (done.code, done.places) == (FOUND, {"x.log:line 1"})
    assert {place: reason for place, reason in done.skips.items() if "permission denied" in reason}.keys() == {
        "secret.log:", "folder:",
    }  # fmt: skip
    assert alone.code == SKIPPED


def test_unknown_binary_is_skipped_if_named_and_ignored_if_met(tmp_path: Path, log: Log) -> None:
    binary = log(b"\xfa\x80\xf8\xff" + os.urandom(5000), "in/thing")
    named, met = scan(tmp_path, binary), scan(tmp_path, tmp_path / "in")
    assert (named.code, list(named.skips)) == (SKIPPED, ["thing:"])
    assert (met.code, met.skips, met.of("summary")[0]["ignored"]) == (CLEAN, {}, 1)


def test_a_file_name_of_any_bytes(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/in"
    os.mkdir(folder)
    with open(folder + b"/\xff\x1b[31m\n.log", "wb") as out:
        out.write(hit(1))
    for form in ("ndjson", "csv", "text"):
        done = run(tmp_path, "scan", tmp_path / "in", "--format", form)
        assert done.code == FOUND
        assert "\x1b" not in done.out + done.err
        assert "[31m" in done.out


# --- files that change while they are read: the first read of the file makes the change -------------------------------

_ON_FIRST_READ = """
import os
real, done = os.readv, []
def readv(fd, buffers):
    if not done and os.readlink(f"/proc/self/fd/{fd}").endswith("moving.log"):
        done.append(1)
        path = os.readlink(f"/proc/self/fd/{fd}")
        CHANGE
    return real(fd, buffers)
os.readv = readv
"""


def _changing(change: str) -> str:
    return _ON_FIRST_READ.replace("CHANGE", change)


def test_a_file_that_grows_is_read_as_long_as_it_was(tmp_path: Path, log: Log) -> None:
    path = log(miss(1) * 50_000 + hit(1), "moving.log")
    grow = f"out = open(path, 'ab'); out.write({hit(2)!r} * 1000); out.close()"
    done = scan(tmp_path, path, driver=_changing(grow))
    assert path.read_bytes().endswith(hit(2)), "the file was not changed while it was read"
    assert (done.code, done.skips) == (FOUND, {})
    assert done.places == {"moving.log:line 50001"}


def test_a_file_that_shrinks_is_told(tmp_path: Path, log: Log) -> None:
    path = log(hit(1) + miss(1) * 50_000, "moving.log")
    done = scan(tmp_path, path, driver=_changing("os.truncate(path, 100_000)"))
    assert (done.code, done.places) == (FOUND, {"moving.log:line 1"})
    ((place, reason),) = done.skips.items()
    assert place.startswith("moving.log:byte ")
    assert "became shorter while it was read" in reason


def test_a_file_that_vanishes_while_read_is_still_read(tmp_path: Path, log: Log) -> None:
    path = log(miss(1) * 50_000 + hit(1), "moving.log")
    done = scan(tmp_path, path, driver=_changing("os.unlink(path)"))
    assert not path.exists()
    assert (done.code, done.places, done.skips) == (FOUND, {"moving.log:line 50001"}, {})


def test_a_file_that_vanishes_before_its_turn_is_told(tmp_path: Path, log: Log) -> None:
    pipe, later = tmp_path / "pipe", log(hit(2), "later.log")
    os.mkfifo(pipe)

    def work() -> None:
        with pipe.open("wb") as out:  # opens when the scan has come to the pipe, which is named first
            later.unlink()
            out.write(hit(1))

    threading.Thread(target=work, daemon=True).start()
    done = scan(tmp_path, pipe, later)
    assert (done.code, done.places) == (FOUND, {"pipe:line 1"})
    assert "does not exist (any more)" in done.skips["later.log:"]


# --- processes --------------------------------------------------------------------------------------------------------


def _read_a_little(words: list[str], count: int) -> tuple[int, bytes]:
    """Run the command, read that many bytes of its output and close the pipe; return exit code and errors."""
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(count)
        process.stdout.close()
        err = process.stderr.read()
    return process.returncode, err


@pytest.mark.parametrize(("form", "count"), [("text", 0), ("ndjson", 10), ("csv", 0)])
def test_a_reader_that_goes_away_is_no_error(form: str, count: int, log: Log) -> None:
    path = log(b"".join(hit(n) for n in range(2000)))
    code, err = _read_a_little(command("scan", path, "--format", form), count)
    assert (code, err) == (128 + signal.SIGPIPE, b"")


def test_a_reader_that_goes_away_before_little_output(log: Log) -> None:
    code, err = _read_a_little(command("scan", log(hit(1)), "--format", "ndjson"), 0)
    assert (code, err) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize(
    ("redirect", "form"),
    [(">&-", "text"), ("> /dev/full", "text"), ("> /dev/full", "ndjson"), ("> /dev/full", "csv")],
)
def test_output_that_cannot_be_written_is_told(redirect: str, form: str, log: Log) -> None:
    path = log(hit(1))
    line = " ".join(command("scan", path, "--format", form)) + " " + redirect
    done = subprocess.run(
        ["sh", "-c", line], capture_output=True, env=environment(), check=False, timeout=LONG
    )
    assert done.returncode == WRONG, done.stderr
    assert done.stderr.startswith(b"error: cannot write the output"), done.stderr
    assert done.stderr.count(b"\n") <= 2


@pytest.mark.parametrize("place", ["none/out", ".", "/dev/full"])
def test_an_output_file_that_cannot_be_written_is_told(place: str, tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, log(hit(1)), "-o", tmp_path / place)
    assert done.code == WRONG
    assert done.err.startswith("error: cannot write the output")


def test_the_output_never_replaces_what_is_read(tmp_path: Path, log: Log) -> None:
    path = log(hit(1))
    (tmp_path / "other").symlink_to(path)
    for output in (path, tmp_path / "other"):
        done = scan(tmp_path, path, "-o", output)
        assert done.code == WRONG
        assert "error: " in done.err
        assert path.read_bytes() == hit(1)


# The worker that opens the poisoned file dies as the kernel's memory killer would have it.
_POISON = """
import os, signal
main, real = os.getpid(), os.open
def poisoned(path, *rest, **more):
    if str(path).endswith("poison.log") and os.getpid() != main:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path, *rest, **more)
os.open = poisoned
"""


def test_a_killed_worker_is_told(tmp_path: Path, log: Log) -> None:
    count = 200
    for number in range(count):
        log(hit(number), f"in/{number:03}.log")
    log(hit(999), "in/190-poison.log")
    done = scan(tmp_path, tmp_path / "in", "--jobs", 2, driver=_POISON)
    found = {place.partition(":")[0] for place in done.places}
    lost = {place.partition(":")[0] for place in done.skips}
    assert done.code == FOUND
    assert "190-poison.log" in lost
    assert "killed" in done.skips["190-poison.log:"]
    assert not found & lost
    assert len(found | lost) == count + 1, "some file was neither searched nor told"
    assert len(found) >= 64


def test_a_killed_worker_of_a_part_is_told(tmp_path: Path) -> None:
    path = tmp_path / "poison.log"
    with path.open("wb") as out:
        out.write(hit(1))
        out.truncate(200 << 20)
    done = scan(tmp_path, path, "--jobs", 2, driver=_POISON)
    assert done.code == SKIPPED
    assert "killed" in str(done.skips)


def test_nothing_is_left_behind(tmp_path: Path, log: Log) -> None:
    (tmp_path / "temporary").mkdir()
    words = command("scan", log(hit(1)), "--jobs", "2")
    env = {**environment(), "TMPDIR": str(tmp_path / "temporary")}
    subprocess.run(words, capture_output=True, env=env, check=False, timeout=LONG)
    assert list((tmp_path / "temporary").iterdir()) == []


# --- exit codes -------------------------------------------------------------------------------------------------------


Call = Callable[..., tuple[int, str]]
_load_rules, _load_schemas = cache(rule.load_rules), cache(schema.load_schemas)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run command lines in this process, where the built-in rules and schemas are loaded once."""
    monkeypatch.setattr(
        rule, "load_rules", lambda given: _load_rules(given) if given is None else rules(given)
    )
    monkeypatch.setattr(
        schema, "load_schemas", lambda given: _load_schemas(given) if given is None else schemas(given)
    )

    def invoke(*words: object) -> tuple[int, str]:
        code = cli.invoke([str(word) for word in words])
        return code, capsys.readouterr().err

    return invoke


rules, schemas = rule.load_rules, schema.load_schemas


SITES = {
    "unknown key": ("[site]\nname = 'x'\ncolour = 'red'\n", 3),
    "not TOML": ("[site]\nname = \n", 2),
    "no network": ("[site]\non_premises = ['10.0.0.0/99']\n", 2),
    "unknown slug": (
        "[[suppress]]\nname = 'a'\nreason = 'b'\nvlans = [1]\nrules = ['imds-contact', 'imds-nothing']\n",
        5,
    ),
    "no name": ("[[suppress]]\nreason = 'b'\nvlans = [1]\n", 1),
    "wrong type": ("[accounts]\nexpected = [123456789012]\n", 2),
}
RULE = """title: x
id: 8f8a1c9e-0f0c-4b5a-9d5e-1d2f3a4b5c6d
status: test
logsource: {category: network}
detection:
    a:
        %s
    condition: %s
level: low
"""


@pytest.mark.parametrize("name", SITES)
def test_a_wrong_site_file_is_exit_2_with_its_line(name: str, tmp_path: Path, log: Log, call: Call) -> None:
    text, line = SITES[name]
    site = log(text.encode(), "site.toml")
    code, err = call("scan", log(hit(1)), "--site", site)
    assert code == WRONG
    assert err.startswith("error: ")
    assert f"--> {site}:{line}" in err


@pytest.mark.parametrize(
    ("line", "condition"),
    [
        ("nonsense_field: 1", "a"),
        ("dst_ip|nomodifier: 1", "a"),
        ("dst_ip: 10.0.0.1", "b"),
        ("dst_ip: [", "a"),
        ("url|re: '('", "a"),
        ("dst_ip: 10.0.0.1", "a | count() > 5"),
    ],
)
def test_a_wrong_rule_is_exit_2(line: str, condition: str, tmp_path: Path, log: Log, call: Call) -> None:
    rule = log((RULE % (line, condition)).encode(), "rules/mine.yml")
    code, err = call("scan", log(hit(1)), "--rules", rule.parent)
    assert code == WRONG
    assert err.startswith("error: ")
    assert "mine.yml" in err


WORDS: dict[str, tuple[list[str], int]] = {
    "clean": (["miss.log"], CLEAN),
    "found": (["hit.log"], FOUND),
    "found and skipped": (["hit.log", "nowhere"], FOUND),
    "only skipped": (["nowhere"], SKIPPED),
    "clean and skipped": (["miss.log", "nowhere"], SKIPPED),
    "stage reached": (["hit.log", "--fail-on", "requested"], FOUND),
    "stage not reached": (["hit.log", "--fail-on", "answered"], CLEAN),
    "stage not reached, something skipped": (["hit.log", "nowhere", "--fail-on", "answered"], SKIPPED),
    "all suppressed": (["hit.log", "--site", "quiet.toml"], CLEAN),
    "all suppressed, shown": (["hit.log", "--site", "quiet.toml", "--show-suppressed"], CLEAN),
    "all suppressed, something skipped": (["hit.log", "nowhere", "--site", "quiet.toml"], SKIPPED),
    "suppression expired": (["hit.log", "--site", "quiet.toml", "--as-of", "2031-01-01"], FOUND),
    "suppression on its last day": (["hit.log", "--site", "quiet.toml", "--as-of", "2030-12-31"], CLEAN),
    "elsewhere": (["hit.log", "--site", "elsewhere.toml"], CLEAN),
    "before": (["hit.log", "--until", "2020-01-01"], CLEAN),
    "since": (["hit.log", "--since", "2020-01-01"], FOUND),
    "a schema that reads nothing of it": (["miss.log", "--schema", "squid"], CLEAN),
    "no paths": ([], WRONG),
    "unknown option": (["hit.log", "--nope"], WRONG),
    "unknown format": (["hit.log", "--format", "xml"], WRONG),
    "unknown stage": (["hit.log", "--fail-on", "high"], WRONG),
    "unknown schema": (["hit.log", "--schema", "nope"], WRONG),
    "bad since": (["hit.log", "--since", "yesterday"], WRONG),
    "bad until": (["hit.log", "--until", "2026-13-01"], WRONG),
    "bad zone": (["hit.log", "--timezone", "Mars/Olympus"], WRONG),
    "zone outside its folder": (["hit.log", "--timezone", "../../etc/passwd"], WRONG),
    "bad day": (["hit.log", "--as-of", "soon"], WRONG),
    "no jobs": (["hit.log", "--jobs", "0"], WRONG),
    "no site file": (["hit.log", "--site", "nowhere"], WRONG),
    "site is a folder": (["hit.log", "--site", "."], WRONG),
    "no rules folder": (["hit.log", "--rules", "nowhere"], WRONG),
    "no schemas folder": (["hit.log", "--schemas", "nowhere"], WRONG),
}


@pytest.mark.parametrize("name", WORDS)
def test_exit_codes(name: str, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    monkeypatch.chdir(tmp_path)
    log(hit(1), "hit.log")
    log(miss(1), "miss.log")
    log(
        b"[[suppress]]\nname = 'a'\nreason = 'b'\nsources = ['10.0.0.0/24']\nexpires = 2030-12-31\n",
        "quiet.toml",
    )
    log(b"[site]\non_premises = ['192.168.0.0/16']\n", "elsewhere.toml")
    words, code = WORDS[name]
    got, err = call("scan", *words, "-q")
    assert got == code, err
    assert "Traceback" not in err
    if code == WRONG:
        assert "rror: " in err
    else:
        assert err == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], WRONG),
        (["nonsense"], WRONG),
        (["--version"], CLEAN),
        (["--help"], CLEAN),
        (["scan", "--help"], CLEAN),
        (["rules"], CLEAN),
        (["rules", "imds-nothing"], WRONG),
        (["schemas"], CLEAN),
        (["schemas", "show", "nothing"], WRONG),
        (["schemas", "detect", "/nowhere"], SKIPPED),
    ],
)
def test_exit_codes_of_the_rest(words: list[str], code: int, call: Call) -> None:
    assert call(*words)[0] == code


def test_our_own_bug_is_exit_70_and_one_line(tmp_path: Path, log: Log) -> None:
    broken = (
        "import imdswatch.scan.text as text\ndef fail(*a): raise ZeroDivisionError('token=hunter2hunter2')\n"
    )
    broken += "text.TextScan.run = fail"
    plain = subprocess.run(
        command("scan", log(hit(1)), driver=broken), capture_output=True, env=environment(), check=False
    )
    told = subprocess.run(
        command("scan", log(hit(1)), "-v", driver=broken), capture_output=True, env=environment(), check=False
    )
    assert (plain.returncode, told.returncode) == (70, 70)
    assert plain.stderr.count(b"\n") == 1
    assert b"hunter2" not in plain.stderr
    assert b"Traceback" in told.stderr
