"""Runs classic BPF as linux/filter.h describes it: an interpreter for tests, which the program does not have.

A load that reaches behind the packet rejects it, and so does a division by zero; memory is zero at first. Kernel
extensions (negative offsets) are not known: a filter that uses them fails here.
"""

from __future__ import annotations

from collections.abc import Sequence

_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}


def run(program: Sequence[tuple[int, int, int, int]], packet: bytes) -> int:
    """Return how many octets of a packet the filter keeps."""
    a = x = at = 0
    memory = [0] * 16
    while True:
        code, true, false, k = program[at]
        at += 1
        kind = code & 0x07
        if kind in (0x00, 0x01):
            value = _loaded(code, k, x, packet, memory)
            if value is None:
                return 0
            a, x = (value, x) if kind == 0x00 else (a, value)
        elif kind == 0x02:
            memory[k] = a
        elif kind == 0x03:
            memory[k] = x
        elif kind == 0x04:
            a = _computed(code & 0xF0, a, x if code & 0x08 else k)
        elif kind == 0x05:
            if code & 0xF0 == 0x00:
                at += k
                continue
            other = x if code & 0x08 else k
            holds = {0x10: a == other, 0x20: a > other, 0x30: a >= other, 0x40: bool(a & other)}[code & 0xF0]
            at += true if holds else false
        elif kind == 0x06:
            return a if code & 0x18 == 0x10 else k
        else:
            a, x = (x, x) if code & 0x80 else (a, a)


def _loaded(code: int, k: int, x: int, packet: bytes, memory: list[int]) -> int | None:
    mode, size = code & 0xE0, _SIZES[code & 0x18]
    if mode == 0x00:
        return k
    if mode == 0x60:
        return memory[k]
    if mode == 0x80:
        return len(packet)
    place = k + (x if mode == 0x40 else 0)
    if mode == 0xA0:
        return (packet[k] & 0x0F) * 4 if k < len(packet) else None
    assert place < 1 << 31, "an extension of Linux"
    return int.from_bytes(packet[place : place + size]) if place + size <= len(packet) else None


def _computed(operation: int, a: int, other: int) -> int:
    return {
        0x00: lambda: a + other,
        0x10: lambda: a - other,
        0x20: lambda: a * other,
        0x30: lambda: a // other,
        0x40: lambda: a | other,
        0x50: lambda: a & other,
        0x60: lambda: a << other,
        0x70: lambda: a >> other,
        0xA0: lambda: a ^ other,
    }[operation]() & 0xFFFFFFFF
