"""JSON that is not one object a line is framed exactly, with the line each object begins on."""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imdswatch.finding import Skipped
from imdswatch.read.blocks import blocks
from imdswatch.read.records import json_objects, looks_multiline_json


class Memory:
    origin = 0

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readinto(self, buffer: memoryview, /) -> int:
        return self._file.readinto(buffer)


def framed(
    text: bytes, size: int = 64, overlap: int = 8, longest: int = 1 << 20
) -> list[tuple[bytes, int] | Skipped]:
    cut = blocks(Memory(text), size=size, max_record=2 * size, overlap=overlap)
    return list(json_objects(cut, "x.json", longest))


JSON = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(alphabet='ab"\\{}[]\n,é ', max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=4), max_size=6)


@settings(max_examples=300, deadline=None)
@given(OBJECTS, st.sampled_from([None, 0, 1, 4]), st.booleans(), st.booleans(), st.integers(16, 200))
def test_objects_come_whole_with_their_line(
    objects: list[dict[str, object]], indent: int | None, array: bool, ascii: bool, size: int
) -> None:
    if array:
        text = json.dumps(objects, indent=indent, ensure_ascii=ascii)
    else:
        text = "\n".join(json.dumps(each, indent=indent, ensure_ascii=ascii) for each in objects)
    raw = text.encode("utf-8", "surrogatepass")
    found = framed(raw + b"\n", size)
    lines = raw.split(b"\n")
    assert len(found) == len(objects)
    for item, wanted in zip(found, objects, strict=True):
        assert not isinstance(item, Skipped)
        body, line = item
        assert json.loads(body.decode("utf-8", "surrogatepass")) == wanted
        assert body.split(b"\n")[0] in lines[line - 1]
    assert [item[1] for item in found if not isinstance(item, Skipped)] == sorted(
        item[1] for item in found if not isinstance(item, Skipped)
    )


def test_a_one_line_array_of_any_size_in_constant_memory() -> None:
    one = b'{"a":{"b":["}{",1]},"c":"' + b"x" * 400 + b'"},'

    class Array:
        origin, left = 0, 16 << 20

        def readinto(self, buffer: memoryview, /) -> int:
            start = (16 << 20) - self.left
            count = min(self.left, len(buffer), 1 << 16)
            whole = one * (count // len(one) + 2)
            buffer[:count] = whole[start % len(one) :][:count]
            self.left -= count
            return count

    tracemalloc.start()
    count = 0
    for item in json_objects(blocks(Array(), size=1 << 16, max_record=1 << 16)):
        assert not isinstance(item, Skipped)
        count += item[0] == one[:-1]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == (16 << 20) // len(one)
    assert peak < 2 << 20


def test_an_object_too_long_is_skipped_and_the_next_one_is_not() -> None:
    text = b'{"a":1}\n{"b":\n"' + b'\\"{' * 3000 + b'"}\n{"c":2}\n'
    assert framed(text, longest=500) == [
        (b'{"a":1}', 1),
        Skipped("x.json", "line 2", "JSON object is longer than 500 bytes"),
        (b'{"c":2}', 4),
    ]


def test_a_million_levels() -> None:
    deep = b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000
    found = framed(b"[" + deep + b',{"b":1}]', size=1 << 16, longest=16 << 20)
    assert found == [(deep, 1), (b'{"b":1}', 1)]


def test_what_is_no_object_is_not_lost() -> None:
    text = b'{\n "a": 1\n}\nplain line {"x"\n\n17\r\n{"b": "broken\n "c": 1}\n{\n "d": 1\n}\n{"cut": {"e":'
    assert framed(text) == [
        (b'{\n "a": 1\n}', 1),
        (b'plain line {"x"', 4),
        (b"17", 6),
        (b'{"b": "broken', 7),
        (b'"c": 1}', 8),
        (b'{\n "d": 1\n}', 9),
        (b'{"cut": {"e":', 12),
    ]


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        (b'{"a":1}\n{"a":2}\n', False),
        (b'{"a":{"b":"}"}}\r\n', False),
        (b'{"a":1', False),
        (b"", False),
        (b"plain\n", False),
        (b"[2024-01-01 10:00] x\n", False),
        (b"[10.0.0.1]\n", False),
        (b'{unbalanced " text\n', False),
        (b'{\n  "a": 1\n}\n', True),
        (b'{"a": 1,\n "b": 2}\n', True),
        (b'\xef\xbb\xbf\r\n[\r\n{ "a"', True),
        (b'[{"a":1},{"b"', True),
        (b"[]\n", True),
        (b'\x1e{\n"a":1}', True),
    ],
)
def test_what_looks_like_it(head: bytes, wanted: bool) -> None:
    assert looks_multiline_json(head) is wanted
