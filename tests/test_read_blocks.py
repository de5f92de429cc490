"""Blocks and parts deliver every byte and every record exactly once, whatever the sizes."""

from __future__ import annotations

import io
import itertools
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imdswatch.finding import Skipped
from imdswatch.read.blocks import Block, blocks, count_newlines, part_blocks


class Memory:
    """A stream in memory that gives at most `most` bytes a call, as pipes do."""

    def __init__(self, data: bytes, most: int = 1 << 30, origin: int = 0) -> None:
        self._file, self._most, self.origin = io.BytesIO(data), most, origin

    def readinto(self, buffer: memoryview, /) -> int:
        return self._file.readinto(buffer[: self._most])


class Endless:
    """A record of one letter, as long as asked, without holding it."""

    origin = 0

    def __init__(self, length: int) -> None:
        self._left = length

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(self._left, len(buffer))
        buffer[:count] = b"a" * count
        self._left -= count
        return count


def joined(found: list[tuple[Block, bytes]]) -> bytes:
    return b"".join(data[block.repeated :] for block, data in found)


def taken(stream: Memory, **sizes: int) -> list[tuple[Block, bytes]]:
    return [(block, bytes(block.buffer[: block.length])) for block in blocks(stream, **sizes)]


TEXTS = st.lists(
    st.one_of(st.just(b"\n"), st.binary(max_size=12), st.sampled_from([b"x" * 40, b"y" * 200, b"\r\n"])),
    max_size=40,
).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.integers(2, 64), st.integers(2, 128), st.integers(0, 9), st.integers(1, 50))
def test_blocks_put_together_are_the_stream(
    text: bytes, size: int, longest: int, overlap: int, most: int
) -> None:
    found = taken(Memory(text, most), size=size, max_record=longest, overlap=overlap)
    assert joined(found) == text
    assert [block.last for block, _ in found] == [False] * (len(found) - 1) + [True]
    assert sum(count_newlines(data, 0, len(data)) for _, data in found) == text.count(b"\n")
    bound = max(longest, size, 2 * overlap)
    at = 0
    for block, data in found:
        assert block.base + block.repeated == at
        assert text[block.base : block.base + block.length] == data
        assert len(block.buffer) <= bound
        at = block.base + block.length
        assert block.last or block.overlong or data.endswith(b"\n")
        if block.repeated:
            assert block.overlong
            assert b"\n" not in data[: block.repeated]
        if not block.overlong:
            assert max(map(len, data.split(b"\n"))) <= bound
    # A token not longer than the overlap lies whole in some block.
    for start in range(0, max(0, len(text) - overlap), 7):
        token = text[start : start + overlap]
        assert b"\n" in token or any(token in data for _, data in found)


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 600), max_size=6), st.integers(2, 64), st.booleans())
def test_parts_partition_a_file(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, cuts: list[int], size: int, bom: bool
) -> None:
    file = tmp_path_factory.getbasetemp() / "parts"
    mark = b"\xef\xbb\xbf" if bom else b""
    if not bom:
        text = text.lstrip(b"\xef")
    file.write_bytes(mark + text)
    whole = len(mark + text)
    edges = [0, *sorted(min(cut, whole) for cut in cuts), whole]
    every = b""
    for start, end in itertools.pairwise(edges):
        part = []
        for block in part_blocks(str(file), start, end, size=size, max_record=64, overlap=5):
            assert isinstance(block, Block)
            part.append((block, bytes(block.buffer[: block.length])))
        if joined(part):
            first = part[0][0].base
            assert start <= first < end or (bom and start == 0)
            assert first in (0, len(mark)) or (mark + text)[first - 1] == 0x0A
            assert first == len(mark + every)
        every += joined(part)
    assert every == text


def test_record_within_the_limit_is_whole_and_a_longer_one_is_not() -> None:
    text = b"short\n" + b"m" * 900 + b"\n" + b"l" * 5000 + b"END\nnext\nafter"
    found = taken(Memory(text), size=64, max_record=1024, overlap=16)
    whole = [data for block, data in found if not block.overlong]
    assert b"m" * 900 + b"\n" in whole
    assert b"next\nafter" in b"".join(whole)
    pieces = [data for block, data in found if block.overlong]
    assert pieces[-1].endswith(b"END\n")
    assert all(b"m" not in piece and b"next" not in piece for piece in pieces)


def test_a_long_line_takes_no_more_memory_than_the_limit() -> None:
    tracemalloc.start()
    total = lines = 0
    for block in blocks(Endless(64 << 20), max_record=1 << 20):
        total += block.length - block.repeated
        lines += count_newlines(block.buffer, 0, block.length)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (total, lines) == (64 << 20, 0)
    assert peak < 4 << 20


def test_a_view_kept_by_the_consumer_breaks_nothing() -> None:
    views = [memoryview(block.buffer) for block in blocks(Memory(b"x" * 500 + b"\n"), size=16, max_record=64)]
    assert views


def test_empty_stream_is_one_empty_last_block() -> None:
    ((block, data),) = taken(Memory(b""))
    assert (data, block.last, block.overlong) == (b"", True, False)


def test_part_of_a_file_that_grew_shrank_or_vanished(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"one\ntwo\nthree\nfour\n")
    part = list(part_blocks(str(file), 0, 8, limit=8))
    assert [bytes(b.buffer[: b.length]) for b in part if isinstance(b, Block)] == [b"one\ntwo\n", b""]
    *_, skipped = part_blocks(str(file), 0, 30, limit=30)
    assert skipped == Skipped(str(file), "byte 19", "became shorter while it was read: 11 bytes are missing")
    file.unlink()
    assert list(part_blocks(str(file), 0, 8)) == [Skipped(str(file), "", "does not exist (any more)")]
    assert [b.last for b in part_blocks("/dev/null", 0, 8) if isinstance(b, Block)] == [True]


@given(TEXTS, st.integers(0, 300), st.integers(0, 300))
def test_newlines_are_counted(text: bytes, start: int, end: int) -> None:
    buffer = bytearray(text)
    assert count_newlines(buffer, start, min(end, len(text))) == text[start:end].count(b"\n")


def test_newlines_are_counted_in_long_lines_and_short_ones() -> None:
    for line in (b"\n", b"ab\n", b"a" * 500 + b"\n", b"a" * 20_000 + b"\n"):
        buffer = bytearray(line * (200_000 // len(line)) + b"tail")
        assert count_newlines(buffer, 0, len(buffer)) == buffer.count(b"\n")
        assert count_newlines(buffer, 7, len(buffer) - 9) == buffer.count(b"\n", 7, len(buffer) - 9)
