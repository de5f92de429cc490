"""Whatever is wrong with the input: findings are kept, what was not read is told with place and reason, and the exit
code says so (DESIGN 6). No trace, no bug, no more than 300 MB: `commandline.run` checks that in every case here.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from bad_lines import CLEAN, FOUND, SKIPPED, Log, hit, miss
from commandline import scan

pytestmark = pytest.mark.slow  # part of `make test`, not of `make check`


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


@pytest.mark.parametrize("before", [b"", miss(1)], ids=["first", "second"])
def test_a_long_record_is_parsed_wherever_it_stands(before: bytes, tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, log(before + hit(2, referrer="x" * (1 << 20))))
    assert (done.code, done.skips) == (FOUND, {})
    assert [finding["victim"]["ip"] for finding in done.of("finding")] == ["10.0.0.2"]


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
