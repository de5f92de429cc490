"""Assemble classic BPF, the filter language that Linux runs on packets before a socket sees them.

A `Program` is written forwards: tests that accept or reject at once, and jumps to labels that stand further on (the
machine cannot jump back). Pure; the kernel checks what is made here once more, and a load that reaches behind the
packet rejects it. Sources: McCanne and Jacobson 1993, "The BSD Packet Filter"; linux/filter.h and
Documentation/networking/filter.rst for the codes.
"""

from __future__ import annotations

import struct

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand: struct sock_filter."""

_LD, _LDX, _ST, _ALU, _JMP, _RET, _MISC = 0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x07
_SIZES = {4: 0x00, 2: 0x08, 1: 0x10}
_IMM, _ABS, _IND, _MEM = 0x00, 0x20, 0x40, 0x60
_ADD, _OR, _AND, _LSH, _RSH = 0x00, 0x40, 0x50, 0x60, 0x70
_JA, _JEQ, _JGT, _JSET = 0x00, 0x10, 0x20, 0x40
_X = 0x08
_TXA, _TAX = 0x80, 0x00
_MOST = 4096  # BPF_MAXINSNS

ALL = 0x40000
"""What an accepting filter returns: octets to keep, more than any packet has."""


class Program:
    """A filter under construction; `assemble` returns its instructions.

    Loads go to the accumulator, from octet `at` of the packet or, where `index` is set, that far behind register X.
    """

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int | str]] = []
        self._labels: dict[str, int] = {}

    def load(self, size: int, at: int, *, index: bool = True) -> None:
        """Load 1, 2 or 4 octets, as a number with the most significant one first."""
        self._put(_LD | _SIZES[size] | (_IND if index else _ABS), at)

    def number(self, number: int) -> None:
        """Load a number."""
        self._put(_LD | _IMM, number)

    def keep(self, cell: int) -> None:
        """Put the accumulator into a cell of memory."""
        self._put(_ST, cell)

    def recall(self, cell: int) -> None:
        """Load a cell of memory."""
        self._put(_LD | _MEM, cell)

    def move(self, by: int) -> None:
        """Add to X; the accumulator is lost."""
        self._put(_MISC | _TXA, 0)
        self._put(_ALU | _ADD, by)
        self.go()

    def go(self) -> None:
        """Copy the accumulator to X."""
        self._put(_MISC | _TAX, 0)

    def begin_at(self, at: int) -> None:
        """Set X."""
        self._put(_LDX | _IMM, at)

    def mask(self, bits: int) -> None:
        """Keep these bits of the accumulator."""
        self._put(_ALU | _AND, bits)

    def set_bits(self, bits: int) -> None:
        """Set bits of the accumulator; 0x20 in each octet makes letters small."""
        self._put(_ALU | _OR, bits)

    def shift(self, left: int) -> None:
        """Shift the accumulator to the left, or to the right by a negative number."""
        self._put(_ALU | (_LSH if left > 0 else _RSH), abs(left))

    def add_x(self) -> None:
        """Add X to the accumulator."""
        self._put(_ALU | _ADD | _X, 0)

    def add(self, number: int) -> None:
        """Add a number to the accumulator."""
        self._put(_ALU | _ADD, number)

    def accept(self) -> None:
        """Take the packet."""
        self._put(_RET, ALL)

    def reject(self) -> None:
        """Leave the packet to others."""
        self._put(_RET, 0)

    def accept_if(self, *numbers: int) -> None:
        """Take the packet if the accumulator is one of these."""
        for number in numbers:
            self._put(_JMP | _JEQ, number, 0, 1)
            self.accept()

    def reject_if_any(self, bits: int) -> None:
        """Leave the packet if one of these bits is set."""
        self._put(_JMP | _JSET, bits, 0, 1)
        self.reject()

    def goto(self, label: str) -> None:
        """Go on at a label."""
        self._put(_JMP | _JA, label)

    def goto_if(self, label: str, *numbers: int) -> None:
        """Go on at a label if the accumulator is one of these."""
        for number in numbers:
            self._put(_JMP | _JEQ, number, 0, 1)
            self.goto(label)

    def goto_unless(self, label: str, number: int) -> None:
        """Go on at a label if the accumulator is not this."""
        self._put(_JMP | _JEQ, number, 1, 0)
        self.goto(label)

    def goto_above(self, label: str, number: int) -> None:
        """Go on at a label if the accumulator is greater."""
        self._put(_JMP | _JGT, number, 0, 1)
        self.goto(label)

    def label(self, name: str) -> None:
        """Let a label stand here."""
        assert name not in self._labels, name
        self._labels[name] = len(self._code)

    def assemble(self) -> tuple[Instruction, ...]:
        """Return the instructions, every label resolved."""
        out: list[Instruction] = []
        for place, (code, true, false, operand) in enumerate(self._code):
            if isinstance(operand, str):
                ahead = self._labels[operand] - place - 1
                assert ahead >= 0, f"{operand} stands before the jump to it"
                operand = ahead
            out.append((code, true, false, operand))
        assert len(out) <= _MOST
        return tuple(out)

    def _put(self, code: int, operand: int | str, true: int = 0, false: int = 0) -> None:
        self._code.append((code, true, false, operand))


def packed(instructions: tuple[Instruction, ...]) -> bytes:
    """Return instructions as the kernel takes them: an array of struct sock_filter in the order of this machine."""
    return b"".join(struct.pack("=HBBI", *one) for one in instructions)
