"""A strict, bounded reader of BER, as far as PKCS#7 messages of AWS need it (ITU-T X.690).

AWS sends `SignedData` in BER with indefinite lengths and constructed octet strings, for which the `cryptography`
library has no verifier. This reader accepts exactly one way of saying a thing wherever DER does: low tag numbers only,
shortest lengths, minimal integers, no octet after the end. Beyond DER it accepts indefinite lengths of constructed
values, and octet strings in pieces. Pure; raises nothing but `Malformed`; linear in the octets; at most `DEEPEST` deep.
"""

from __future__ import annotations

from dataclasses import dataclass

DEEPEST = 16
LONGEST = 1 << 16
"""Octets of a message; a genuine one has about 1100."""
MOST = 512
"""Values of a message; a genuine one has about 60."""

INTEGER, OCTETS, NULL, OID, SEQUENCE, SET = 0x02, 0x04, 0x05, 0x06, 0x30, 0x31
CONTEXT_0 = 0xA0
_OCTETS_IN_PIECES = 0x24
_CONSTRUCTED = 0x20
_INDEFINITE = 0x80


class Malformed(ValueError):
    """The octets are no BER, or not the BER that this reader accepts; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value: its tag octet, where it stands, its octets (primitive), or the values in it (constructed)."""

    tag: int
    start: int
    end: int
    octets: bytes
    inner: tuple[Value, ...] = ()
    closed: bool = True
    """Whether its length was given at its beginning, as DER has it everywhere."""

    def named(self, tag: int, what: str) -> Value:
        """Return this value if it has the tag; raises Malformed."""
        if self.tag != tag:
            raise Malformed(f"byte {self.start}: {what} has tag 0x{self.tag:02x}, not 0x{tag:02x}")
        return self


def read(message: bytes) -> Value:
    """Return the one value that the message is; octets after it are malformed."""
    if len(message) > LONGEST:
        raise Malformed(f"longer than {LONGEST} octets")
    reader = _Reader(message)
    value = reader.value(0, len(message), 0)
    if value.end != len(message):
        raise Malformed(f"byte {value.end}: octets after the end")
    return value


def octet_string(value: Value) -> bytes:
    """Return what an octet string says, whether it stands in one piece or in several."""
    if value.tag == OCTETS:
        return value.octets
    value.named(_OCTETS_IN_PIECES, "an octet string")
    return b"".join(piece.named(OCTETS, "a piece of an octet string").octets for piece in value.inner)


def integer(value: Value) -> int:
    """Return a non-negative integer in its shortest form."""
    octets = value.named(INTEGER, "an integer").octets
    if not octets or (len(octets) > 1 and octets[0] == 0 and octets[1] < 0x80):
        raise Malformed(f"byte {value.start}: an integer that is not in its shortest form")
    if octets[0] & 0x80:
        raise Malformed(f"byte {value.start}: a negative integer")
    return int.from_bytes(octets)


class _Reader:
    """Holds the message and counts the values read."""

    def __init__(self, message: bytes) -> None:
        self._message, self._count = message, 0

    def value(self, at: int, limit: int, depth: int) -> Value:
        """Return the value that begins at `at` and ends at `limit` or before."""
        self._count += 1
        if self._count > MOST:
            raise Malformed(f"byte {at}: more than {MOST} values")
        if depth > DEEPEST:
            raise Malformed(f"byte {at}: nested deeper than {DEEPEST}")
        if limit - at < 2:
            raise Malformed(f"byte {at}: cut short")
        tag = self._message[at]
        if tag & 0x1F == 0x1F:
            raise Malformed(f"byte {at}: a tag of several octets")
        if tag == 0:
            raise Malformed(f"byte {at}: an end where nothing is open")
        if self._message[at + 1] == _INDEFINITE:
            return self._open(tag, at, limit, depth)
        body, end = self._length(at + 1, limit)
        if not tag & _CONSTRUCTED:
            return Value(tag, at, end, self._message[body:end])
        inner: list[Value] = []
        while body < end:
            inner.append(self.value(body, end, depth + 1))
            body = inner[-1].end
        return Value(tag, at, end, b"", tuple(inner))

    def _open(self, tag: int, at: int, limit: int, depth: int) -> Value:
        """Return a value of indefinite length: it ends with two zero octets (X.690 8.1.5)."""
        if not tag & _CONSTRUCTED:
            raise Malformed(f"byte {at}: a primitive value of indefinite length")
        inner: list[Value] = []
        body = at + 2
        while self._message[body : min(body + 2, limit)] != b"\0\0":
            inner.append(self.value(body, limit, depth + 1))
            body = inner[-1].end
        return Value(tag, at, body + 2, b"", tuple(inner), closed=False)

    def _length(self, at: int, limit: int) -> tuple[int, int]:
        """Return where the octets of a value begin and end, from its length at `at` (X.690 10.1: shortest form)."""
        first = self._message[at]
        if first < 0x80:
            body, length = at + 1, first
        else:
            count = first & 0x7F
            body = at + 1 + count
            if count > 4:
                raise Malformed(f"byte {at}: a length of {count} octets")
            if body > limit:
                raise Malformed(f"byte {at}: cut short")
            length = int.from_bytes(self._message[at + 1 : body])
            if length < 0x80 or length < 1 << 8 * (count - 1):
                raise Malformed(f"byte {at}: a length that is not in its shortest form")
        if length > limit - body:
            raise Malformed(f"byte {at}: a length beyond the end")
        return body, body + length
