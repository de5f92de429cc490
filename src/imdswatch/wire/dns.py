"""DNS messages: what was asked and what was answered. mDNS and LLMNR have the same shape.

Pure; it never raises, whatever the octets are; at most MAX_RECORDS records of a message are read, so hostile
compression costs little. Names are lower case without the final dot; octets that are no printable ASCII, and dots and
backslashes inside a label, are escaped as `\\DDD` (RFC 1035 5.1). Clients that mix case to make forging harder
(0x20) are the same to us.
Sources: RFC 1035 4 (format, compression, TCP length), RFC 6891 (EDNS: one more record to pass over), RFC 6762 18 (the
top bit of the class in mDNS), RFC 4795 (LLMNR).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

MAX_RECORDS = 128
MAX_QUESTIONS = 16
_HEADER = 12
_A, _CNAME, _PTR, _AAAA = 1, 5, 12, 28
_INTERNET = 1
_MAX_NAME = 255  # RFC 1035 2.3.4
_POINTER = 0xC0


@dataclass(frozen=True, slots=True)
class Dns:
    """One message.

    queries   names asked, in order (mDNS asks several at once)
    answers   addresses and names of A, AAAA, CNAME and PTR records of the answer section, in order
    names     whom the answers are about, one for each of `answers`
    complete  False if octets are missing (snapshot length, TC bit) or damaged after what was read
    """

    id: int
    response: bool
    rcode: int
    queries: tuple[str, ...]
    answers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    complete: bool = True

    @property
    def query(self) -> str | None:
        """The name asked; of an answer without question (mDNS) the name it is about."""
        return next(iter(self.queries or self.names), None)


def read(octets: bytes) -> Dns | None:
    """Return what a message says, or None if these octets are no DNS query or answer."""
    if len(octets) < _HEADER:
        return None
    flags, questions, records = (int.from_bytes(octets[place : place + 2]) for place in (2, 4, 6))
    if flags & 0x7840 or not 0 <= questions <= MAX_QUESTIONS or not (questions or records):
        return None  # another opcode, the reserved bit, or no content: not a lookup
    place = _HEADER
    queries = []
    for _ in range(questions):
        name = _name(octets, place)
        if name is None or name[1] + 4 > len(octets):
            return None
        queries.append(name[0])
        place = name[1] + 4
    found: list[tuple[str, str]] = []
    complete = not flags & 0x0200 and records <= MAX_RECORDS
    for _ in range(min(records, MAX_RECORDS)):
        record = _record(octets, place)
        if record is None:
            complete = False
            break
        owner, value, place = record
        if value is not None:
            found.append((owner, value))
    return Dns(
        id=int.from_bytes(octets[:2]),
        response=bool(flags & 0x8000),
        rcode=flags & 0x000F,
        queries=tuple(queries),
        answers=tuple(value for _, value in found),
        names=tuple(owner for owner, _ in found),
        complete=complete,
    )


def messages(stream: bytes) -> Iterator[bytes]:
    """Yield the messages of one direction of a TCP connection; the last one may be cut, as the stream is."""
    place = 0
    while place + 2 < len(stream):
        length = int.from_bytes(stream[place : place + 2])
        yield stream[place + 2 : place + 2 + length]
        place += 2 + length


def _record(octets: bytes, place: int) -> tuple[str, str | None, int] | None:
    """Return owner, value (None for types that say nothing here) and the place after; None if it is cut."""
    name = _name(octets, place)
    if name is None or name[1] + 10 > len(octets):
        return None
    owner, place = name
    kind, group = (int.from_bytes(octets[at : at + 2]) for at in (place, place + 2))
    length = int.from_bytes(octets[place + 8 : place + 10])
    place += 10
    end = place + length
    if end > len(octets):
        return None
    value = None
    if group & 0x7FFF != _INTERNET:
        pass
    elif kind == _A and length == 4:
        value = ".".join(str(octet) for octet in octets[place:end])
    elif kind == _AAAA and length == 16:
        address = IPv6Address(octets[place:end])
        value = str(address.ipv4_mapped or address)
    elif kind in (_CNAME, _PTR) and (target := _name(octets, place)) is not None:
        value = target[0]
    return owner, value, end


def _name(octets: bytes, place: int) -> tuple[str, int] | None:
    """Return a name and the place after it, or None if it is damaged or cut.

    A pointer has to lead to before the name it stands in, so there are no loops (RFC 1035 4.1.4: a prior occurrence).
    """
    labels: list[str] = []
    after = None
    size = 0
    limit = place
    while place < len(octets):
        length = octets[place]
        if length & _POINTER == _POINTER:
            if place + 2 > len(octets):
                return None
            target = int.from_bytes(octets[place : place + 2]) & 0x3FFF
            after = place + 2 if after is None else after
            if target >= limit:
                return None
            place = limit = target
            continue
        if length & _POINTER:
            return None
        if length == 0:
            return ".".join(labels), place + 1 if after is None else after
        label = octets[place + 1 : place + 1 + length]
        size += length + 1
        if len(label) < length or size >= _MAX_NAME:
            return None
        labels.append(_label(label))
        place += 1 + length
    return None


def _label(label: bytes) -> str:
    if label.isalnum():
        return label.decode("ascii").lower()
    shown = (
        chr(octet) if 0x21 <= octet <= 0x7E and octet not in b".\\" else f"\\{octet:03d}" for octet in label
    )
    return "".join(shown).lower()
